"""What every judge does: it is fed predictions and truths, and gives figures, an interval, tables, plots and the worst pictures.

A judge keeps predictions or what it needs of them, never pictures. ``figures`` names its figures in the order of a report.

    onelook val test-photos/ --model mine.onelook --head kind
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor

from onelook.facts import Facts

Prediction = TypeVar("Prediction")
Target = TypeVar("Target")


@dataclass(frozen=True)
class Table:
    """Rows of text under a header. ``shades``: of each cell, 0..1, as rows of the same shape (empty: none)."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    shades: tuple[tuple[float, ...], ...] = ()
    chosen: int = -1  # the row to mark, if any


@dataclass(frozen=True)
class Curves:
    """Lines of a plot: name -> (x values, y values). ``sizes``: of the dots on a line, where they differ (0..1)."""

    title: str
    x: str
    y: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    note: str = ""
    diagonal: bool = False
    sizes: Mapping[str, Sequence[float]] = field(default_factory=dict)


class Judge(ABC, Generic[Prediction, Target]):
    """Collects what a head predicted and what is true, in batches, and gives the figures.

    ``headline``: the key of the figure that counts; ``result`` has its 95 % interval under ``headline_interval``.
    ``lower_is_better``: of the headline.
    """

    headline: ClassVar[str]
    figures: ClassVar[Mapping[str, str]]
    lower_is_better: ClassVar[bool] = False

    @abstractmethod
    def add(self, predictions: Sequence[Prediction], targets: Sequence[Target]) -> None:
        """What was predicted of some pictures, and what is true of each."""

    @abstractmethod
    def result(self) -> Facts:
        """Plain numbers and lists, ready for JSON; ``n`` is the number of pictures."""

    @abstractmethod
    def each(self) -> Tensor:
        """How right each picture is (n,), float64, higher is better; NaN where it has nothing to be judged by."""

    @abstractmethod
    def in_words(self, metrics: Facts) -> str:
        """The headline of ``result`` in one line, for a terminal and for a page."""

    def tables(self, metrics: Facts) -> list[Table]:
        """What ``result`` says class by class, for people."""
        return []

    def curves(self, before: "Judge[Prediction, Target] | None" = None) -> list[Curves]:
        """Plots of what was judged; ``before``: the same judge of the same pictures before calibration, where there was one."""
        return []

    def worst(self, count: int) -> list[tuple[int, str]]:
        """Index and caption of the pictures that were predicted worst, worst first; right ones are left out."""
        return []


def percent(share: float | None, interval: Sequence[float] | None = None) -> str:
    """0.9 -> "90.0 %", with the interval in brackets; a figure that could not be had is a dash."""
    if share is None:
        return "-"
    text = f"{share:.1%}".replace("%", " %")
    return f"{text} (95 % interval {interval[0] * 100:.1f} to {interval[1] * 100:.1f})" if interval else text


AnyJudge = Judge[Any, Any]

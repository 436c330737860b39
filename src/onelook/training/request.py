"""What is asked of a trainer, and what it gives."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from onelook.deadline import NEVER, Deadline
from onelook.facts import Facts
from onelook.heads.base import AnyHead, Embedder
from onelook.training.loop import Step

Callback = Callable[[str, Iterator[Step]], Iterator[Step]]  # title of a fit, its steps -> the same steps, seen on their way


def no_callback(title: str, steps: Iterator[Step]) -> Iterator[Step]:
    """Steps that nobody looks at."""
    return steps


@dataclass(frozen=True)
class Request:
    """How a head is to be trained.

    ``freeze``: "auto" (measured or what is usual), "all", "none", a number of stages, or the name of the last frozen stage. ``budget``:
    seconds that the user gave, if any; ``deadline``: when fitting must be done. ``views``, ``epochs``: what the user insists on.
    ``hold_out``: whether a head that nothing else judges keeps a fold of the pictures out at first. ``network``: for crops.
    """

    head: type[AnyHead]
    options: Any
    freeze: str | int = "auto"
    budget: float | None = None
    deadline: Deadline = NEVER
    views: int | None = None
    epochs: int | None = None
    hold_out: bool = True
    callback: Callback = no_callback
    network: Embedder | None = None


@dataclass(frozen=True)
class Candidate:
    """One way to fit a head and its mean loss on held-out training pictures."""

    form: str
    reads: str
    units: int
    width: float
    penalty: float
    score: float


@dataclass(frozen=True)
class Trial:
    """One depth that was tried: what it cost and how it did on ``n`` held-out training pictures.

    ``loss``: mean log loss (squared error for values, one minus the headline for maps); ``metric``: the headline figure, with its 95 %
    interval. ``bytes``: of looks, all pictures together. ``forecast``: the seconds that were expected. ``remark``: chosen, or what it is. A
    trial for which there was no time has a forecast only: its judging and, behind it, the last epochs with all pictures.
    """

    trial: str
    cut: int
    loss: float | None
    metric: float | None
    interval: tuple[float, float] | None
    n: int
    seconds: float
    forecast: float
    bytes: int = 0
    remark: str = ""

    def to_json(self) -> Facts:
        return asdict(self)


@dataclass(frozen=True)
class DepthSearch:
    """Every trial's evidence, why the winner won in one sentence, seconds planned and taken."""

    evidence: tuple[Trial, ...]
    why: str
    forecast: float
    seconds: float

    def to_json(self) -> Facts:
        return {
            "evidence": [trial.to_json() for trial in self.evidence],
            "why": self.why,
            "forecast_seconds": round(self.forecast, 1),
            "seconds": round(self.seconds, 1),
        }


@dataclass(frozen=True)
class Trained:
    """A fitted head, the number of stages that stayed frozen, and how it did on held-out training pictures.

    ``held_out``: its judge's figures. ``scores`` (m, K): of pooled heads, on the held-out pictures ``where``, from models that had not seen
    them; the temperature fitted to them is in the head. ``tried``: what was compared; ``search``: the evidence for the depth, where it was
    searched. ``interrupted``: training was stopped before its end, and the head is as it was then. ``cut_short``: what was left out for
    lack of time, in words.
    """

    head: AnyHead
    cut: int
    held_out: Facts
    tried: tuple[Candidate, ...] = ()
    scores: Tensor = field(default_factory=lambda: torch.zeros(0))
    where: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    search: DepthSearch | None = None
    interrupted: bool = False
    cut_short: tuple[str, ...] = ()

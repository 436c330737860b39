"""What is asked of a reader, and what a reader is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from onelook.data.samples import Dataset


@dataclass(frozen=True)
class Request:
    """``kinds``: of targets that are wanted (``onelook.data.kinds``). ``columns``: of tables; ``group``: a column (of COCO, a field).

    ``classes``: names that must be used, in this order. ``split``: only this part of the source. ``ignore``: values or classes of masks
    from which nothing is learned. ``masks``: the folder of the masks, where it is said.
    """

    kinds: tuple[str, ...]
    columns: tuple[str, ...] = ()
    group: str | None = None
    classes: tuple[str, ...] = ()
    split: str | None = None
    ignore: tuple[str, ...] = ()
    masks: Path | None = None

    def wants(self, kind: str) -> bool:
        """Whether this kind of targets will do."""
        return kind in self.kinds


@dataclass(frozen=True)
class Reader:
    """``gives``: the kinds of targets that a format can hold; ``expects``: what it looks like, for a message.

    ``recognises``: whether a source, which exists, is of this format. ``holds``: which of those kinds a source really has, the likeliest
    first (default: all).
    """

    gives: tuple[str, ...]
    expects: str
    recognises: Callable[[Path, Request], bool]
    read: Callable[[Path, Request], Dataset]
    holds: Callable[[Path], tuple[str, ...]] | None = None

    def kinds(self, source: Path) -> tuple[str, ...]:
        """The kinds of targets that are in a source, the likeliest first."""
        return self.holds(source) if self.holds else self.gives

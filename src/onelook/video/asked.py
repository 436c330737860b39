"""Which frames of a film are asked about, and how answers are made of them."""

from dataclasses import dataclass
from pathlib import Path

from onelook.data.film import EVERY
from onelook.errors import OnelookError


@dataclass(frozen=True)
class Asked:
    """Which frames, and how answers are made of them.

    ``every``: "0.5s" or "5" frames, None: all; ``start``, ``end``: seconds; ``smooth``: seconds of averaging, 0: none; ``conf``: the
    lowest score of boxes; ``track``: whether things are followed; ``count``: a file of lines and zones at which they are counted.
    """

    every: str | None = EVERY
    start: float = 0.0
    end: float | None = None
    smooth: float = 0.0
    conf: float | None = None
    track: bool = False
    count: Path | None = None

    def check(self) -> None:
        """Raise OnelookError for what cannot be."""
        text = self.every or "1"
        number = text.removesuffix("s")
        try:
            value = float(number) if text.endswith("s") else int(number)
        except ValueError:
            value = 0
        if not 0 < value < float("inf"):
            raise OnelookError(f"--every {text}: use a time such as 0.5s, or a number of frames such as 5")
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise OnelookError(f"--from {self.start:g} --to {self.end}: not a stretch of a film; use seconds, the second one larger")

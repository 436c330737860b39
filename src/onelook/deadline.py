"""The moment by which something must be done: a budget's end, which all parts of a command look at.

A deadline is looked at, never waited for: what runs when it passes is brought to its nearest good end.
"""

import math
import time
from collections.abc import Callable

Clock = Callable[[], float]


class Deadline:
    """``seconds`` from ``begun`` on (default: now); None: never. ``clock``: what tells the time."""

    def __init__(self, seconds: float | None, begun: float | None = None, clock: Clock = time.monotonic) -> None:
        self.seconds, self.clock = seconds, clock
        self.begun = clock() if begun is None else begun

    def taken(self) -> float:
        """Seconds since it began."""
        return self.clock() - self.begun

    def left(self) -> float:
        """Seconds that are left, below 0 when it has passed; infinite if it never comes."""
        return math.inf if self.seconds is None else self.seconds - self.taken()

    def passed(self) -> bool:
        """Whether the time is up."""
        return self.left() <= 0

    def earlier(self, seconds: float) -> "Deadline":
        """One that comes so much earlier, so that time is kept for what comes after; at once if that is past."""
        return self if self.seconds is None else Deadline(max(0.0, self.seconds - seconds), self.begun, self.clock)

    def within(self, seconds: float) -> "Deadline":
        """One that comes ``seconds`` from now, or when this one does, whichever is sooner."""
        now = self.clock()
        return Deadline(min(seconds, self.left()), now, self.clock)


NEVER = Deadline(None)

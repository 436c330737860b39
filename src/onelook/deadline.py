"""The moment by which something must be done: a budget's end, which all parts of a command look at.

A deadline is looked at, never waited for: what runs when it passes is brought to its nearest good end.
"""

import math
import time
from collections.abc import Callable

Clock = Callable[[], float]


class Deadline:
    """``seconds`` from ``begun`` on (default: now); None: never. ``clock``: what tells the time. ``kept``: seconds wanted for later."""

    def __init__(self, seconds: float | None, begun: float | None = None, clock: Clock = time.monotonic, kept: float = 0.0) -> None:
        self.seconds, self.clock, self.kept = seconds, clock, kept
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

    def earlier(self, seconds: float, at_most: float = math.inf) -> "Deadline":
        """One that comes so much earlier, but by ``at_most``, so that time is kept for what comes after; at once if that is past."""
        if self.seconds is None:
            return self
        return Deadline(max(0.0, self.seconds - min(seconds, at_most)), self.begun, self.clock, self.kept + seconds)

    def share(self, part: float) -> "Deadline":
        """One that comes when this part of the time that is left is over."""
        return self if self.seconds is None else self.within(part * self.left())

    def enough(self, seconds: float) -> int:
        """A budget, in whole seconds, that holds ``seconds`` more and what is kept, with a fifth to spare."""
        return math.ceil(1.2 * (self.taken() + seconds + self.kept) + 1)

    def within(self, seconds: float) -> "Deadline":
        """One that comes ``seconds`` from now, or when this one does, whichever is sooner."""
        now = self.clock()
        return Deadline(min(seconds, self.left()), now, self.clock)


NEVER = Deadline(None)

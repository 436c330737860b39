"""How many threads torch should use: all for large work on an idle machine, one where the work is small or another process is busy.

OpenMP's threads wait for each other at the end of every operation. With another process on one of the cores that wait is a hundred times
as long as a small operation takes (docs/diary.md), so what the machine has to spare is measured: the same small operation with all threads
and with one.

    python -c "from onelook.threads import spare; print(spare())"
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

SIZE, REPEATS = 1 << 16, 40  # values of the operation that is timed: enough for torch to share it among threads
BUSY = 2.0  # times as long with all threads as with one, from which on the machine is busy
FRESH = 5.0  # seconds for which a measurement holds
FIXED = "ONELOOK_THREADS"  # set to anything: all threads, always; two trainings are then equal to the bit beside other work, too


def spare() -> bool:
    """Whether all of torch's threads have a core: measured in a few milliseconds, by the clock; yes where ONELOOK_THREADS is set."""
    threads = torch.get_num_threads()
    if os.environ.get(FIXED):
        return True
    if threads == 1:
        return True
    x = torch.ones(SIZE)
    try:
        many = _seconds(x)
        torch.set_num_threads(1)
        one = _seconds(x)
    finally:
        torch.set_num_threads(threads)
    return many < BUSY * one


def _seconds(x: torch.Tensor) -> float:
    x.add_(0.0)
    begun = time.perf_counter()
    for _ in range(REPEATS):
        x.add_(0.0)
    return time.perf_counter() - begun


class Threads:
    """Chooses the number of threads for pieces of work that come one after the other; measures anew from time to time."""

    def __init__(self) -> None:
        self._measured = -FRESH
        self._spare = True

    @contextmanager
    def chosen(self, large: bool = True) -> Iterator[None]:
        """All threads inside if the work is ``large`` and the machine has them to spare, else one."""
        before = torch.get_num_threads()
        if large and time.monotonic() - self._measured > FRESH:
            self._measured, self._spare = time.monotonic(), spare()
        torch.set_num_threads(before if large and self._spare else 1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

"""How many threads torch should use: all on an idle machine, one where another process is busy.

OpenMP's threads wait for each other at the end of every operation. With another process on one of the cores that wait is a hundred times
as long as a small operation takes (docs/diary.md), so what the machine has to spare is measured: the same small operation with all threads
and with one.

    python -c "from onelook.threads import spare; print(spare())"
"""

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch

SIZE, WINDOW = 1 << 16, 0.01  # values of the operation that is timed, enough for torch to share it among threads; for how many seconds
BUSY = 2.0  # times as long with all threads as with one, from which on the machine is busy
FRESH = 5.0  # seconds for which a measurement holds
FIXED = "ONELOOK_THREADS"  # set to anything: all threads, always; two trainings are then equal to the bit beside other work, too
_last = (-math.inf, True)  # when it was measured, and whether there were threads to spare
_lock, _inside, _all = Lock(), 0, 0  # how many choices are under way, and the number of threads before the first of them


def all_threads() -> int:
    """The number of threads that torch has when nothing is chosen."""
    return _all if _inside else torch.get_num_threads()


def spare() -> bool:
    """Whether all of torch's threads have a core: measured in some twenty milliseconds, by the clock."""
    threads = torch.get_num_threads()
    x = torch.ones(SIZE)
    try:
        many = _seconds(x)
        torch.set_num_threads(1)
        one = _seconds(x)
    finally:
        torch.set_num_threads(threads)
    return many < BUSY * one


def _seconds(x: torch.Tensor) -> float:
    """Seconds of one small operation, over long enough that a thread which was asleep has lost its right to be first."""
    x.add_(0.0)
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < WINDOW:
        x.add_(0.0)
        count += 1
    return (time.perf_counter() - begun) / count


@contextmanager
def chosen_threads() -> Iterator[None]:
    """All of torch's threads inside, if the machine has them to spare, else one; that is measured every FRESH seconds at most.

    Choices may lie within each other: a long piece of work is begun with one, and chooses anew where it comes to a new part.
    """
    global _all, _inside
    with _lock:
        _all, _inside = all_threads(), _inside + 1
    try:
        with _lock:
            torch.set_num_threads(_all if _free(_all) else 1)
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                torch.set_num_threads(_all)


def _free(threads: int) -> bool:
    """Whether to use all of them: the user's word, or what was measured a moment ago, or what is measured now."""
    global _last
    if os.environ.get(FIXED) or threads == 1:
        return True
    if time.monotonic() - _last[0] > FRESH:
        torch.set_num_threads(threads)
        _last = (time.monotonic(), spare())
    return _last[1]

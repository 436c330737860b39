"""Ctrl-C and SIGTERM while a command runs: both interrupt it, but not in the middle of an import.

An import that is interrupted ends in whatever error it happens to run into, or swallows the interruption; modules are loaded when they
are first used, also in the middle of a training. So the interruption waits until the import is done.
"""

import _thread
import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGAIN = 0.02  # seconds until an interruption that waits for an import is tried again


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """SIGTERM is Ctrl-C; outside the main thread, where signals cannot be had, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # a job in the background ignores Ctrl-C
    before = {number: signal.signal(number, _interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _importing(frame):
        raise KeyboardInterrupt
    again = threading.Timer(AGAIN, _thread.interrupt_main, (number,))
    again.daemon = True
    again.start()


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being loaded where the program stands."""
    while frame is not None:
        if frame.f_globals.get("__name__") == "importlib._bootstrap":
            return True
        frame = frame.f_back
    return False

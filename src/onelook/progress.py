"""Progress on stderr: a bar with an estimate for anything over two seconds, one-line remarks, silence when asked."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PATIENCE = 2.0  # seconds before a bar appears


@dataclass(frozen=True)
class Progress:
    """Where progress is shown; ``quiet`` shows nothing."""

    quiet: bool = False

    def say(self, line: str) -> None:
        """One remark on stderr."""
        if not self.quiet:
            sys.stderr.write(line + "\n")

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        """Yields a function to call once per step; a bar is drawn on terminals only."""
        if self.quiet or not sys.stderr.isatty():
            yield lambda: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        bar = Bar(*columns, console=console, transient=True)
        task = bar.add_task(title, total=total)
        begun, shown = time.perf_counter(), False

        def advance() -> None:
            nonlocal shown
            bar.advance(task)
            if not shown and time.perf_counter() - begun > PATIENCE:
                bar.start()
                shown = True

        try:
            yield advance
        finally:
            if shown:
                bar.stop()


QUIET = Progress(quiet=True)

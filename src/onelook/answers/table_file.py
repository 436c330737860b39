"""Answers as a CSV: a row for each thing that was found; of pictures in which nothing was found there is none.

onelook predict photos/ --model mine.onelook --csv found.csv
"""

import csv
import json
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Protocol

from onelook.errors import DiskError
from onelook.facts import Facts


class HasRows(Protocol):
    """What says itself in rows of a table."""

    def rows(self) -> list[Facts]: ...


class TableFile:
    """Takes answers one by one and writes them when its ``with`` block is left; only then all columns are known. Raises DiskError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: dict[str, None] = {}
        self._rows = TemporaryFile("w+", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115

    def add(self, answers: HasRows) -> None:
        """Keep the rows of one picture, or of one moment of a film, on the disk."""
        for row in answers.rows():
            self._columns |= dict.fromkeys(row)
            self._rows.write(json.dumps(row) + "\n")

    def __enter__(self) -> "TableFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._rows:
            if kind is None:
                self._write()

    def _write(self) -> None:
        self._rows.seek(0)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
                writer = csv.DictWriter(file, list(self._columns))
                writer.writeheader()
                writer.writerows(map(json.loads, self._rows))
        except OSError as error:
            raise DiskError(f"{self.path}: cannot be written ({error.strerror})") from error

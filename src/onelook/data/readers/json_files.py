"""JSON files of labels: found by what their beginning shows, read with errors that name the file."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from onelook.errors import UnreadableError

HEAD = 4_000_000  # characters in which a file must show what it is
LARGEST = 2_000_000_000  # bytes
SAMPLE = 20  # files that show what a folder holds


def json_files(source: Path, signs: Sequence[str], depth: int = 2) -> list[Path]:
    """The JSON files of a source (a file, or a folder to some depth) whose beginning holds all these signs; hidden ones are not there."""
    if source.is_file():
        return [source] if source.suffix.lower() == ".json" and shows(source, signs) else []
    found = [file for level in range(depth + 1) for file in source.glob("/".join(["*"] * level + ["*.json"]))]
    return [file for file in sorted(found) if not file.name.startswith(".") and shows(file, signs)]


def has_json(source: Path, signs: Sequence[str], depth: int = 2) -> bool:
    """Whether one of the first JSON files of a source holds all these signs."""
    if source.is_file():
        return bool(json_files(source, signs))
    found = (file for level in range(depth + 1) for file in source.glob("/".join(["*"] * level + ["*.json"])))
    return any(shows(file, signs) for file in islice(found, SAMPLE))


def shows(file: Path, signs: Sequence[str]) -> bool:
    """Whether the beginning of a file holds all these signs."""
    try:
        with file.open(encoding="utf-8-sig") as opened:
            head = opened.read(HEAD)
    except (OSError, UnicodeDecodeError):
        return False
    return all(sign in head for sign in signs)


def load_json(file: Path) -> Any:
    """What a JSON file says. Raises UnreadableError."""
    try:
        if file.stat().st_size > LARGEST:
            raise UnreadableError(f"{file}: larger than {LARGEST / 1e9:.0f} GB")
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise UnreadableError(f"{file}: cannot be read as JSON ({str(error)[:100]})") from error

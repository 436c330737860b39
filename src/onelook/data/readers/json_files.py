"""JSON files of labels: found by what their beginning shows, read with errors that name the file."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from onelook.data.sides import side_in, side_word
from onelook.errors import DataError, UnreadableError

HEAD = 4_000_000  # characters in which a file must show what it is
LARGEST = 2_000_000_000  # bytes
SAMPLE = 20  # files that show what a folder holds


def json_files(source: Path, signs: Sequence[str], depth: int = 2) -> list[Path]:
    """The JSON files of a source (a file, or a folder to some depth) whose beginning holds all these signs; hidden ones are not there."""
    if source.is_file():
        return [source] if source.suffix.lower() == ".json" and shows(source, signs) else []
    return [file for file in sorted(_below(source, depth)) if not file.name.startswith(".") and shows(file, signs)]


def sides_of_files(source: Path, files: Sequence[Path], split: str | None, tool: str, whole: bool) -> dict[Path, str | None]:
    """The files that are read, each with the side (train, val, test) that its folders name. Raises DataError for a split that is not there.

    ``whole``: whether a file is of many pictures, so that its own name may name a side. ``split``: a folder's name, or such a file's.
    """
    root = source if source.is_dir() else source.parent
    inner = {file: file.relative_to(root) if whole else file.relative_to(root).parent for file in files}
    sides = {file: side_in(path) for file, path in inner.items()}
    if split is None:
        return sides
    chosen = {
        file: side
        for file, side in sides.items()
        if split in (*inner[file].parts, inner[file].stem) or side == side_word(split) is not None
    }
    if not chosen:
        raise DataError(
            f"{source}: no {tool} files of {split!r}; there is {', '.join(sorted({side for side in sides.values() if side})) or 'none'}"
        )
    return chosen


def has_json(source: Path, signs: Sequence[str], depth: int = 2) -> bool:
    """Whether one of the first JSON files of a source holds all these signs."""
    if source.is_file():
        return bool(json_files(source, signs))
    return any(shows(file, signs) for file in islice(_below(source, depth), SAMPLE))


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """The JSON files in a folder and in the folders in it, to some depth."""
    for level in range(depth + 1):
        yield from folder.glob("/".join(["*"] * level + ["*.json"]))


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

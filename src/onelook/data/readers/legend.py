"""A legend: which value or colour of a mask is which class, in any of the files that annotation tools write.

Read are ``legend.csv``, ``class_dict.csv``, ``classes.txt``, ``label_colors.txt``, ``labelmap.txt`` (CVAT) and ``legend.json``. A line
holds a name and one number (a value), three (a colour) or none (values count the lines from 0). Names such as void and unlabeled are
ignored.

    legend.csv:  road,128,64,128
"""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onelook.errors import DataError, UnreadableError

FILES = (
    "legend.csv", "legend.json", "legend.txt", "class_dict.csv", "classes.csv", "classes.txt", "labels.txt", "labels.csv", "labelmap.txt",
    "label_colors.txt", "classes.json",
)  # fmt: skip
IGNORED = {"void", "ignore", "ignored", "unlabeled", "unlabelled", "unknown", "255"}
LARGEST_FILE = 1_000_000


@dataclass(frozen=True)
class Legend:
    """``entries``: (name, value), colours as 0xRRGGBB; ``numbered``: whether values are written, not only counted from 0.

    ``ignored``: those names that count as nothing known.
    """

    path: Path
    entries: tuple[tuple[str, int], ...]
    coloured: bool
    numbered: bool = True

    @property
    def ignored(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.entries if name.lower() in IGNORED)


def read_legend(folders: Sequence[Path], above: Path) -> Legend | None:
    """The first legend in these folders, or the one called legend ``above`` them. Raises DataError for one that says nothing of use."""
    files = [folder / name for folder in folders for name in FILES] + [above / name for name in FILES if name.startswith("legend")]
    for file in files:
        if file.is_file() and (legend := _parse(file, file.name.startswith("legend"))) is not None:
            return legend
    return None


def write_legend(path: Path, classes: Sequence[str]) -> None:
    """Write which class id is which class, so that ``read_legend`` reads it back."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows((name, index) for index, name in enumerate(classes))


def colour_name(value: int) -> str:
    """#rrggbb of a packed colour."""
    return f"#{value:06x}"


def _parse(path: Path, strict: bool) -> Legend | None:
    """``strict``: a file that is no legend is an error; under another name it may be something else."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise DataError(f"{path}: larger than a legend can be")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path}: cannot be read ({error})") from error
    lines = _of_json(path, text) if path.suffix == ".json" else _of_table(text) if path.suffix == ".csv" else _of_text(text)
    counts = {len(numbers) for _, numbers in lines}
    if not lines or len(counts) != 1 or not counts <= {0, 1, 3}:
        if not strict:
            return None
        raise DataError(f"{path}: not a legend; write a line name,value or name,red,green,blue for each class")
    entries = []
    for index, (name, numbers) in enumerate(lines):
        if any(not 0 <= number <= 255 for number in numbers):
            raise DataError(f"{path}: {name}: {numbers} is outside 0..255")
        colour = numbers[0] << 16 | numbers[1] << 8 | numbers[2] if len(numbers) == 3 else 0
        entries.append((name, colour if len(numbers) == 3 else numbers[0] if numbers else index))
    twice = next((name for name, value in entries if sum(other == value for _, other in entries) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: {twice} has the value of another class")
    return Legend(path, tuple(entries), counts == {3}, counts != {0})


def _of_json(path: Path, text: str) -> list[tuple[str, list[int]]]:
    """{"name": value}, {"name": [r, g, b]}, {"value": "name"} or ["name", ...]."""
    try:
        facts = json.loads(text)
    except ValueError as error:
        raise UnreadableError(f"{path}: cannot be read as JSON ({error})") from error
    if isinstance(facts, list):
        return [(str(name), []) for name in facts if isinstance(name, str)]
    found = []
    for key, value in facts.items() if isinstance(facts, dict) else ():
        if isinstance(value, str) and str(key).isdecimal():
            found.append((value, [int(key)]))
        elif isinstance(value, int):
            found.append((str(key), [value]))
        elif isinstance(value, list) and all(isinstance(part, int) for part in value):
            found.append((str(key), value))
    return found


def _of_table(text: str) -> list[tuple[str, list[int]]]:
    """name,numbers... or value,name a row, with or without a header; nothing for a table of other things."""
    found = []
    for number, row in enumerate(csv.reader(text.splitlines())):
        name, *rest = [cell.strip() for cell in row] or [""]
        if not name or name.startswith("#"):
            continue
        if all(cell.isdecimal() for cell in rest):
            found.append((name, [int(cell) for cell in rest]))
        elif name.isdecimal() and len(rest) == 1:
            found.append((rest[0], [int(name)]))
        elif number:
            return []
    return found


def _of_text(text: str) -> list[tuple[str, list[int]]]:
    """Lines of a name and numbers in any order, parted by spaces, tabs, commas or colons."""
    found = []
    for line in text.splitlines():
        parts = [part for part in re.split(r"[,;:\t]+|\s+(?=\d)|(?<=\d)\s+", line.strip()) if part.strip()]
        numbers = [int(part) for part in parts if part.strip().isdecimal()]
        words = [part.strip() for part in parts if not part.strip().isdecimal()]
        if not words or line.lstrip().startswith("#"):
            continue
        if {word.lower() for word in words} & {"r", "red", "value", "id", "color_rgb"}:  # the header of a table
            continue
        found.append((words[0], numbers))
    return found

"""YOLO's text files: one a picture, a line an object: class id, centre x, centre y, width, height as shares of the picture.

``data.yaml`` names the classes and the folders (or lists) of each split; darknet's ``obj.data`` and ``obj.names`` do the same; without
either ``classes.txt`` names the classes. Labels lie where ``images`` in a picture's path becomes ``labels``, or beside the picture. Lines
of more numbers are polygons or, where ``kpt_shape`` says so, key points.

    onelook train dataset/ --task detect --name things --model mine.onelook       # dataset/data.yaml
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from onelook.data.pictures import find_pictures, is_picture, picture_size
from onelook.data.readers.annotations import Annotated, Annotations, Point, Written, assemble, kinds_in
from onelook.data.readers.locate import Locator
from onelook.data.readers.request import Reader, Request
from onelook.data.readers.shapes import Shape
from onelook.data.readers.table import read_text
from onelook.data.samples import Dataset, Finding
from onelook.data.sides import side_in, side_word
from onelook.errors import DataError, PictureError, UnreadableError
from onelook.facts import Facts
from onelook.geometry.objects import Layout

NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt", "Labels/classes.txt", "predefined_classes.txt")
NOT_LABELS = {"classes", "train", "val", "valid", "test", "trainval", "predefined_classes", "readme", "notes"}
PIXELS = 2.0  # a share of a picture is never so large
NOTHING = ("", "null", "~")


@dataclass(frozen=True)
class Described:
    """A set as its own file (or its folders) describe it. ``parts``: name of a split -> its pictures; "" where there are none."""

    form: str
    names: tuple[str, ...]
    parts: dict[str, list[Path]]
    layout: Layout | None = None


def yaml_of(source: Path) -> Path | None:
    """The YAML file that describes a YOLO data set: the file itself, or ``data.yaml`` (or the only one) in a folder."""
    if source.is_file():
        return source if source.suffix.lower() in (".yaml", ".yml") else None
    files = sorted([*source.glob("*.yaml"), *source.glob("*.yml")])
    named = [file for file in files if file.stem in ("data", "dataset")]
    found = named or files
    return found[0] if found else None


def is_yolo(source: Path) -> bool:
    """Whether this is a YOLO data set: a YAML file with names, darknet's obj.data, or text files beside pictures and their classes."""
    file = yaml_of(source)
    if file is not None:
        try:
            return "names" in _load(file)
        except UnreadableError:
            return source.is_file() or file.stem in ("data", "dataset")
    if _darknet_of(source) is not None:
        return True
    if source.is_file():
        return False
    pictures, labels = _folder(source, "images"), _folder(source, "labels")
    if pictures is not None and labels is not None and any(True for _ in labels.rglob("*.txt")):
        return True
    return _names_file(source) is not None and any(is_picture(file) and file.with_suffix(".txt").is_file() for file in source.iterdir())


def read_yolo(source: Path, split: str | None) -> Annotations:
    """Every picture of the chosen splits. ``split``: a key of the YAML file, such as ``test``; without it, the sides that are used."""
    _folder.cache_clear()
    findings: list[Finding] = []
    file, darknet = yaml_of(source), _darknet_of(source)
    if file is not None:
        described = _of_yaml(file, source, findings)
    else:
        described = _of_darknet(darknet, source, findings) if darknet else _of_folders(source)
    parts = described.parts
    if split is not None:
        named = [key for key in parts if split in (key, side_word(key))]
        if not named:
            raise DataError(f"{source}: no split {split!r}; there is {', '.join(filter(None, parts)) or 'none'}")
        parts = {key: parts[key] for key in named}
    pictures: list[Annotated] = []
    read: set[Path] = set()
    for key, paths in parts.items():
        for path in _without_twins(paths, findings):
            pictures += _read(path, side_word(key), described, read, findings)
    everywhere = [path for paths in described.parts.values() for path in paths]
    if everywhere and not any(_label_file(path).is_file() for path in everywhere):
        raise DataError(
            f"{source}: none of {len(everywhere)} pictures has a label file; that of the first would be {_label_file(everywhere[0])}"
        )
    findings += _orphans(everywhere, read)
    return Annotations(source, described.form, tuple(pictures), described.names, described.layout, tuple(findings))


# --- what describes the set


def _of_yaml(file: Path, source: Path, findings: list[Finding]) -> Described:
    facts = _load(file)
    root = _root(file, facts)
    named = {key: facts[key] for key in ("train", "val", "valid", "test") if facts.get(key) and facts[key] not in NOTHING}
    if not named:
        parts = _of_folders(root, _names(file, facts, root)).parts
    else:
        parts = {
            key: [
                path for part in (where if isinstance(where, list) else [where]) for path in _listed(root, str(part), file, key, findings)
            ]
            for key, where in named.items()
        }
    return Described(f"YOLO ({file.name})", _names(file, facts, root), parts, _layout(facts))


def _load(file: Path) -> Facts:
    """What the file says, every value as it is written: ``no`` is a name, not false, and 010 is not 8."""
    try:
        facts = yaml.load(read_text(file), Loader=yaml.BaseLoader)  # it makes nothing but text, lists and dictionaries
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        hint = "; within double quotes a backslash must be doubled, or use /" if "escape" in str(error) else ""
        problem = getattr(error, "problem", None) or (str(error).splitlines() or ["?"])[0]
        raise UnreadableError(f"{file}{where}: cannot be read as YAML ({problem}{hint})") from error
    if not isinstance(facts, dict):
        raise UnreadableError(f"{file}: not a YOLO data set; it needs names and train")
    return facts


def _root(file: Path, facts: Facts) -> Path:
    """The folder that paths are relative to: ``path`` if it is there, else where the YAML file lies."""
    named = file.parent / str(facts.get("path") or ".")
    return named if named.is_dir() else file.parent


def _names(where: Path, facts: Facts, root: Path) -> tuple[str, ...]:
    names = facts.get("names")
    if isinstance(names, dict):
        try:
            ids = sorted((int(key), str(name)) for key, name in names.items())
        except ValueError as error:
            raise UnreadableError(f"{where}: names must be numbered from 0 ({error})") from error
        if [index for index, _ in ids] != list(range(len(ids))):
            raise UnreadableError(f"{where}: names must be numbered from 0 without gaps")
        names = [name for _, name in ids]
    if isinstance(names, list) and names:
        return tuple(map(str, names))
    listed = _names_file(root)
    if listed is None:
        raise UnreadableError(f"{where}: no class names; give names in data.yaml, or a classes.txt")
    return _lines(listed)


def _names_file(root: Path) -> Path | None:
    return next((root / name for name in NAME_FILES if (root / name).is_file()), None)


def _layout(facts: Facts) -> Layout | None:
    shape = facts.get("kpt_shape")
    if not isinstance(shape, list) or not shape:
        return None
    count, order = int(shape[0]), facts.get("flip_idx") or []
    listed = (facts.get("kpt_names") or {}).get("0") or []
    names = tuple(map(str, listed)) if len(listed) == count else tuple(f"point {number}" for number in range(count))
    pairs = tuple((index, int(other)) for index, other in enumerate(order) if index < int(other) < count)
    return Layout(names, pairs, ())


def _darknet_of(source: Path) -> Path | None:
    """darknet's ``obj.data``: the file itself, or the one in a folder."""
    files = [source] if source.is_file() else sorted(source.glob("*.data"))
    return next((file for file in files if file.suffix == ".data" and "names" in _settings(file)), None)


def _settings(file: Path) -> dict[str, str]:
    pairs = [line.split("=", 1) for line in _lines(file) if "=" in line]
    return {key.strip(): value.strip() for key, value in pairs}


def _of_darknet(file: Path, source: Path, findings: list[Finding]) -> Described:
    facts = _settings(file)
    listed = _within(file.parent, facts["names"])
    if listed is None:
        raise UnreadableError(f"{file}: names {facts['names']}, which is not there")
    parts = {key: _listed(file.parent, facts[key], file, key, findings) for key in ("train", "valid", "val", "test") if facts.get(key)}
    return Described(f"YOLO (darknet, {file.name})", _lines(listed), parts)


def _of_folders(root: Path, names: tuple[str, ...] = ()) -> Described:
    """Pictures in ``images`` (in folders of splits, or not), in ``SPLIT/images``, or beside their labels."""
    images = _folder(root, "images")
    inside = {folder.name: folder for folder in sorted((images or root).iterdir()) if folder.is_dir() and side_word(folder.name)}
    split = {key: list(find_pictures([_folder(folder, "images") or folder])) for key, folder in inside.items()}
    parts = {key: paths for key, paths in split.items() if paths} or {"": list(find_pictures([images or root]))}
    return Described("YOLO", names or _names(root, {}, root), parts)


def _listed(root: Path, part: str, file: Path, key: str, findings: list[Finding]) -> list[Path]:
    """The pictures of a folder or of a list of paths."""
    where = _within(root, part)
    if where is None:
        raise DataError(f"{file}: {key} names {part}, which is not there")
    if where.is_dir():
        return list(find_pictures([where]))
    locator = Locator(root)
    found = [
        locator.find(line, where.parent, f"{where}:{number}", findings, side_word(key) or side_in(Path(where.name)))
        for number, line in enumerate(_lines(where), start=1)
        if is_picture(Path(line))
    ]
    return [path for path in found if path is not None]


def _within(root: Path, written: str) -> Path | None:
    """The folder or file that is written so: as it is, below ``root``, or by its last parts where it was written on another machine."""
    parts = [part for part in written.replace("\\", "/").split("/") if part not in (".", "")]
    tries = [Path(written), root / "/".join(parts), *(root / "/".join(parts[at:]) for at in range(1, len(parts)))]
    return next((path for path in tries[1:] if path.exists()), tries[0] if tries[0].is_absolute() and tries[0].exists() else None)


def _lines(file: Path) -> tuple[str, ...]:
    return tuple(line.strip() for line in read_text(file).splitlines() if line.strip())


@cache
def _folder(root: Path, name: str) -> Path | None:
    """The folder of this name, in whatever case."""
    return (
        next((child for child in sorted(root.iterdir()) if child.is_dir() and child.name.lower() == name), None) if root.is_dir() else None
    )


# --- labels


def _label_file(picture: Path) -> Path:
    """Where a picture's labels lie, or should."""
    parts = picture.with_suffix(".txt").parts
    beside = picture.with_suffix(".txt")
    for index in range(len(parts) - 2, -1, -1):
        if parts[index].lower() == "images":
            labels = _folder(Path(*parts[:index]), "labels")
            below = (labels or Path(*parts[:index], "labels")).joinpath(*parts[index + 1 :])
            return beside if beside.is_file() and not below.is_file() else below
    return beside


def _without_twins(paths: Sequence[Path], findings: list[Finding]) -> Iterator[Path]:
    """Pictures that have a label file for themselves: a.jpg and a.png would share one."""
    by_stem: dict[Path, list[Path]] = {}
    for path in paths:
        by_stem.setdefault(path.with_suffix(""), []).append(path)
    for same in by_stem.values():
        if len(set(same)) > 1 and _label_file(same[0]).is_file():
            names = " and ".join(path.name for path in same)
            findings.append(
                Finding("ambiguous-label", str(_label_file(same[0])), f"may be of {names}; they are left out", tuple(map(str, same)))
            )
        else:
            yield from dict.fromkeys(same)


def _orphans(pictures: Iterable[Path], read: set[Path]) -> Iterator[Finding]:
    """Label files without a picture, in the folders where labels were found."""
    known = {path.with_suffix("") for path in pictures}
    expected = {_label_file(path) for path in pictures}
    for folder in sorted({file.parent for file in read}):
        for file in sorted(folder.glob("*.txt")):
            if file not in expected and file.stem.lower() not in NOT_LABELS and file.with_suffix("") not in known and _has_numbers(file):
                yield Finding("missing-picture", str(file), "holds labels, but there is no picture of this name; they are left out")


def _has_numbers(file: Path) -> bool:
    words = file.read_text(encoding="utf-8", errors="replace").split()[:5]
    return len(words) == 5 and all(word.replace(".", "", 1).isdecimal() for word in words)


def _read(path: Path, side: str | None, described: Described, read: set[Path], findings: list[Finding]) -> Iterator[Annotated]:
    labels = _label_file(path)
    if not labels.is_file():
        findings.append(Finding("no-label-file", str(path), f"has no {labels.name}; it is taken for a picture without objects"))
        yield Annotated(path, (), None, side, where=str(path))
        return
    read.add(labels)
    try:
        text, size = read_text(labels), picture_size(path)
    except UnreadableError as error:
        findings.append(Finding("unreadable", str(labels), f"cannot be read ({error}); the picture is left out"))
        return
    except PictureError:
        yield Annotated(path, (), None, side, where=str(labels))  # reported when it is looked at
        return
    objects = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            entry = _line(line, f"{labels}:{number}", size, described, findings)
            if entry is not None:
                objects.append(entry)
    yield Annotated(path, tuple(objects), size, side, where=str(labels))


def _line(line: str, where: str, size: tuple[int, int], described: Described, findings: list[Finding]) -> Written | None:
    names, layout = described.names, described.layout
    try:
        label, *values = [float(word) for word in line.split()]
    except ValueError:
        hint = " (numbers are parted by spaces, not commas)" if "," in line else ""
        findings.append(Finding("not-a-number", where, f"{line.strip()[:40]!r}{hint}; it is left out"))
        return None
    if not 0 <= label < len(names) or label != int(label):
        findings.append(Finding("unknown-class", where, f"class id {label:g}, names has 0 to {len(names) - 1}; it is left out"))
        return None
    width, height = size
    points: tuple[Point, ...] = ()
    count = len(layout.names) if layout else 0
    if count and len(values) in (4 + 2 * count, 4 + 3 * count):
        step = (len(values) - 4) // count
        points = tuple(
            (values[at] * width, values[at + 1] * height, values[at + 2] if step == 3 else 2.0) for at in range(4, len(values), step)
        )
        values = values[:4]
    if len(values) not in (4, 5) and (len(values) < 6 or len(values) % 2):
        findings.append(Finding("malformed", where, f"{len(values) + 1} numbers; 5 are wanted; it is left out"))
        return None
    if max(values[:4]) > PIXELS:
        shown = " ".join(f"{value:g}" for value in values[:4])
        findings.append(Finding("in-pixels", where, f"{shown} are pixels; shares of the picture, 0 to 1, are wanted; it is left out"))
        return None
    if len(values) > 5:
        polygon = tuple(value * (height if at % 2 else width) for at, value in enumerate(values))
        return Written(names[int(label)], None, where, shape=Shape((polygon,)))
    x, y, wide, high = values[:4]
    box = ((x - wide / 2) * width, (y - high / 2) * height, (x + wide / 2) * width, (y + high / 2) * height)
    return Written(names[int(label)], box, where, points=points)


def _recognised(source: Path, request: Request) -> bool:
    return is_yolo(source)


def _read_dataset(source: Path, request: Request) -> Dataset:
    return assemble(read_yolo(source, request.split), request)


def _holds(source: Path) -> tuple[str, ...]:
    return kinds_in(read_yolo(source, None))


READER = Reader(("objects", "points", "masks"), "a YOLO data.yaml", _recognised, _read_dataset, _holds)

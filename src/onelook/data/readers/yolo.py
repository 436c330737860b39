"""YOLO's text files: one a picture, a line an object: class id, centre x, centre y, width, height as shares of the picture.

``data.yaml`` names the classes and the folders (or lists) of each split; labels lie where ``images`` in a picture's path becomes
``labels``. Lines of more numbers are polygons (their bounds are taken) or, where ``kpt_shape`` says so, key points.

    onelook train dataset/ --task detect --name things --model mine.onelook       # dataset/data.yaml
"""

from collections.abc import Iterator
from pathlib import Path

import yaml

from onelook.data.pictures import SUFFIXES, find_pictures, picture_size
from onelook.data.readers.annotations import Annotated, Annotations, Point, Written, assemble
from onelook.data.readers.request import Reader, Request
from onelook.data.samples import TRAIN_NAMES, VAL_NAMES, Dataset, Finding
from onelook.errors import DataError, PictureError, UnreadableError
from onelook.facts import Facts
from onelook.geometry.objects import Layout


def yaml_of(source: Path) -> Path | None:
    """The YAML file that describes a YOLO data set: the file itself, or ``data.yaml`` (or the only one) in a folder."""
    if source.is_file():
        return source if source.suffix.lower() in (".yaml", ".yml") else None
    files = sorted([*source.glob("*.yaml"), *source.glob("*.yml")])
    named = [file for file in files if file.stem in ("data", "dataset")]
    found = named or files
    return found[0] if found else None


def is_yolo(source: Path) -> bool:
    """Whether this is a YOLO data set: a YAML file with names, or folders ``images`` and ``labels``."""
    file = yaml_of(source)
    if file is not None:
        try:
            return "names" in _load(file)
        except UnreadableError:
            return source.is_file()
    return source.is_dir() and (source / "images").is_dir() and (source / "labels").is_dir()


def read_yolo(source: Path, split: str | None) -> Annotations:
    """Every picture of the chosen splits. ``split``: a key of the YAML file, such as ``test``; without it, train and val."""
    file = yaml_of(source)
    facts = _load(file) if file else {}
    root = _root(source, file, facts)
    names = _names(file or source, facts, root)
    layout = _layout(facts)
    findings: list[Finding] = []
    pictures = [
        picture
        for side, paths in _sides(root, facts, split, source)
        for path in paths
        for picture in _read(path, side, names, layout, findings)
    ]
    form = f"YOLO ({file.name})" if file else "YOLO"
    return Annotations(source, form, tuple(pictures), names, layout, tuple(findings))


def _load(file: Path) -> Facts:
    try:
        facts = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UnreadableError(f"{file}: cannot be read as YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(facts, dict):
        raise UnreadableError(f"{file}: not a YOLO data set; it needs names and train")
    return facts


def _root(source: Path, file: Path | None, facts: Facts) -> Path:
    """The folder that paths are relative to: ``path`` if it is there, else where the YAML file lies."""
    base = file.parent if file else source
    named = base / str(facts.get("path") or ".")
    return named if named.is_dir() else base


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
    for listed in (root / "classes.txt", root / "labels" / "classes.txt"):
        if listed.is_file():
            return tuple(line.strip() for line in listed.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    raise UnreadableError(f"{where}: no class names; give names in data.yaml, or a classes.txt")


def _layout(facts: Facts) -> Layout | None:
    shape = facts.get("kpt_shape")
    if not isinstance(shape, list) or not shape:
        return None
    count, order = int(shape[0]), facts.get("flip_idx") or []
    listed = (facts.get("kpt_names") or {}).get(0) or []
    names = tuple(map(str, listed)) if len(listed) == count else tuple(f"point {number}" for number in range(count))
    pairs = tuple((index, int(other)) for index, other in enumerate(order) if index < int(other) < count)
    return Layout(names, pairs, ())


def _sides(root: Path, facts: Facts, split: str | None, source: Path) -> Iterator[tuple[str | None, list[Path]]]:
    named = {key: facts[key] for key in ("train", "val", "test") if facts.get(key)}
    if not named:
        folders = {folder.name.lower(): folder for folder in (root / "images").iterdir() if folder.is_dir()}
        named = {
            side: str(folders[name].relative_to(root))
            for side, names in (("train", TRAIN_NAMES), ("val", ("val", "valid", "validation")), ("test", ("test",)))
            for name in names
            if name in folders
        } or {"": "images"}
    if split is not None and split not in named:
        raise DataError(f"{source}: no split {split!r}; there is {', '.join(filter(None, named)) or 'none'}")
    for key, where in named.items():
        if split is None and key == "test" and len(named) > 1:
            continue
        if split is None or key == split:
            side = None if split is not None or key in ("", "test") else "val" if key in VAL_NAMES else "train"
            yield side, [path for part in (where if isinstance(where, list) else [where]) for path in _listed(root, str(part), source)]


def _listed(root: Path, part: str, source: Path) -> list[Path]:
    """The pictures of a folder or of a list of paths."""
    tries = [root / part, root / part.removeprefix("../")]
    where = next((path for path in tries if path.exists()), None)
    if where is None:
        raise DataError(f"{source}: names {part}, which is not there")
    if where.is_dir():
        return list(find_pictures([where]))
    lines = [line.strip() for line in where.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    return [where.parent / line for line in lines]


def _label_file(picture: Path) -> Path:
    parts = list(picture.with_suffix(".txt").parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            return Path(*parts)
    return picture.with_suffix(".txt")


def _read(path: Path, side: str | None, names: tuple[str, ...], layout: Layout | None, findings: list[Finding]) -> Iterator[Annotated]:
    if path.suffix.lower() not in SUFFIXES:
        return
    labels = _label_file(path)
    try:
        text = labels.read_text(encoding="utf-8-sig") if labels.is_file() else ""
        size = picture_size(path)
    except (OSError, UnicodeDecodeError) as error:
        findings.append(Finding("unreadable", str(labels), f"cannot be read ({error}); the picture is left out"))
        return
    except PictureError:
        yield Annotated(path, (), None, side)  # reported when it is looked at
        return
    objects = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            entry = _line(line, f"{labels}:{number}", size, names, layout, findings)
            if entry is not None:
                objects.append(entry)
    yield Annotated(path, tuple(objects), size, side)


def _line(
    line: str, where: str, size: tuple[int, int], names: tuple[str, ...], layout: Layout | None, findings: list[Finding]
) -> Written | None:
    try:
        label, *values = [float(word) for word in line.split()]
    except ValueError:
        findings.append(Finding("not-a-number", where, f"{line.strip()[:40]!r}; it is left out"))
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
    if len(values) > 5 and len(values) % 2 == 0:  # a polygon
        xs, ys = values[0::2], values[1::2]
        return Written(names[int(label)], (min(xs) * width, min(ys) * height, max(xs) * width, max(ys) * height), where)
    if len(values) not in (4, 5):
        findings.append(Finding("malformed", where, f"{len(values) + 1} numbers; 5 are wanted; it is left out"))
        return None
    x, y, wide, high = values[:4]
    box = ((x - wide / 2) * width, (y - high / 2) * height, (x + wide / 2) * width, (y + high / 2) * height)
    return Written(names[int(label)], box, where, points=points)


def _recognised(source: Path, request: Request) -> bool:
    return is_yolo(source)


def _read_dataset(source: Path, request: Request) -> Dataset:
    points = request.wants("points")
    return assemble(read_yolo(source, request.split), points, request.classes)


READER = Reader(("objects", "points"), "a YOLO data.yaml", _recognised, _read_dataset)

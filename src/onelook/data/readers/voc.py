"""Pascal VOC: one XML file a picture, as the devkit lays them out or loose beside their pictures.

Everingham et al. 2010, "The Pascal Visual Object Classes challenge". The devkit counts pixels from 1 and includes the last; where a
devkit's boxes never touch 0 they are read so, else (and always for loose files) as they stand. ``difficult`` objects are ignored.

    onelook data check VOCdevkit/VOC2007 --task detect
"""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

from onelook.data.readers.annotations import Annotated, Annotations, Written, assemble, kinds_in
from onelook.data.readers.locate import Locator
from onelook.data.readers.request import Reader, Request
from onelook.data.readers.shapes import Shape, Xyxy, polygon_of
from onelook.data.readers.table import read_text
from onelook.data.samples import Dataset, Finding
from onelook.data.sides import side_in, side_word
from onelook.errors import DataError

FOLDERS = ("Annotations", "annotations")
HEAD = 2000  # bytes in which a file shows what it is


def is_voc(root: Path) -> bool:
    """Whether a folder holds VOC annotations: in ``Annotations``, or XML files beside pictures."""
    return any(_looks_right(file) for folder in _folders(root) for file in sorted(folder.glob("*.xml"))[:3])


def read_voc(root: Path, split: str | None) -> Annotations:
    """Every picture that an XML file describes. ``split``: a list in ``ImageSets/Main``, such as ``trainval``, or a folder's name;
    without it, the lists ``train`` and ``val`` where both are there, else the sides that folders name, else all.
    """
    files = [file for folder in _folders(root) for file in sorted(folder.glob("*.xml"))]
    sides, lists = _sides(root, files, split), sorted(path.stem for path in (root / "ImageSets" / "Main").glob("*.txt"))
    findings: list[Finding] = []
    stems = {file.stem for file in files}
    for stem in sides:
        if isinstance(stem, str) and stem not in stems:
            findings.append(Finding("missing-annotation", str(root / "ImageSets" / "Main"), f"names {stem}, which has no XML file"))
    locator = Locator(root)
    order = {key: place for place, key in enumerate(sides)}
    files.sort(key=lambda file: order.get(file, order.get(file.stem, len(order))))
    pictures = []
    for file in files:
        key = file if file in sides else file.stem
        picture = _read_file(file, locator, sides[key], stems, findings) if key in sides else None
        if picture is not None:
            pictures.append(picture)
    if (root / "ImageSets" / "Main").is_dir():
        pictures = _from_one(pictures)
    left = sum(file not in sides and file.stem not in sides for file in files)
    left_out = f", {left} pictures are on no side that is used" if left > 0 and split is None else ""
    form = f"VOC with {split}" if split else "VOC" + (f" with lists {', '.join(lists)}" if lists else "")
    return Annotations(root, form, tuple(pictures), findings=tuple(findings), left_out=left_out)


def _looks_right(file: Path) -> bool:
    """Whether an XML file is one of VOC's; CVAT's own is not."""
    try:
        with file.open("rb") as opened:
            return b"<annotations" not in opened.read(HEAD)
    except OSError:
        return False


def _folders(root: Path) -> list[Path]:
    named = [root / name for name in FOLDERS if (root / name).is_dir()]
    children = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and not folder.name.startswith(".")]
    return named or [root, *children, *(folder / name for folder in children for name in FOLDERS[:1] if (folder / name).is_dir())]


def _sides(root: Path, files: list[Path], split: str | None) -> dict[str | Path, str | None]:
    """Stem (of lists) or file -> side of those that are used."""
    lists = {path.stem: path for path in (root / "ImageSets" / "Main").glob("*.txt")}
    folders: dict[str | Path, str | None] = {file: side_in(file.relative_to(root).parent) for file in files}
    if split is not None:
        if split not in lists and split == "trainval" and {"train", "val"} <= lists.keys():
            return dict.fromkeys([*_stems(lists["train"]), *_stems(lists["val"])], None)
        if split in lists:
            return dict.fromkeys(_stems(lists[split]), None)
        inside: dict[str | Path, str | None] = {
            file: side
            for file, side in folders.items()
            if isinstance(file, Path) and (split in file.relative_to(root).parts[:-1] or side == side_word(split) is not None)
        }
        if not inside:
            known = [*lists, *dict.fromkeys(side for side in folders.values() if side)]
            raise DataError(f"{root}: no list {split!r} in ImageSets/Main; there is {', '.join(sorted(known)) or 'none'}")
        return inside
    if {"train", "val"} <= lists.keys():
        return {stem: side for side in ("train", "val") for stem in _stems(lists[side])}
    return folders


def _stems(path: Path) -> list[str]:
    return [line.split()[0] for line in read_text(path).splitlines() if line.strip()]


def _read_file(path: Path, locator: Locator, side: str | None, stems: set[str], findings: list[Finding]) -> Annotated | None:
    try:
        content = path.read_bytes()
        tree = ElementTree.fromstring(content)  # in the encoding that it declares
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as error:
        findings.append(Finding("unreadable", str(path), f"cannot be read as XML ({error}); it is left out"))
        return None
    picture = _picture_of(path, (tree.findtext("filename") or "").strip(), locator, side, stems, findings)
    if picture is None:
        return None
    lines = [content[: match.start()].count(b"\n") + 1 for match in re.finditer(rb"<object\b", content)]
    objects = []
    for number, entry in enumerate(tree.findall("object")):
        where = f"{path}:{lines[number]}" if number < len(lines) else str(path)
        shape, box = _shape(entry), _box(entry)
        label = (entry.findtext("name") or "").strip()
        if box is None and shape is None:
            findings.append(Finding("not-a-number", where, "an object without four numbers in its bndbox; it is left out"))
        elif not label:
            findings.append(Finding("no-name", where, "an object without a name; it is left out"))
        else:
            ignored = (entry.findtext("difficult") or "0").strip() == "1"
            objects.append(Written(label, box, where, ignored, shape=shape))
    return Annotated(picture, tuple(objects), _size(tree), side, where=str(path))


def _picture_of(path: Path, name: str, locator: Locator, side: str | None, stems: set[str], findings: list[Finding]) -> Path | None:
    """The picture of an XML file: what it names, unless it is called otherwise itself and there is a picture called like it."""
    own_name = Path(name).stem == path.stem or not name
    own = locator.find(path.stem, path.parent, str(path), [] if name else findings, side)
    if not name:
        return own if own is None or own.is_file() else path.with_suffix(".jpg")
    named = locator.find(name, path.parent, str(path), findings if own_name else [], side)
    if own_name:
        return named if named is None or named.is_file() or own is None or not own.is_file() else own
    if own is not None and own.is_file():
        findings.append(Finding("renamed", str(path), f"names {name}; taken for {own.name}, which is called like it"))
        return own
    if Path(name).stem in stems:
        findings.append(Finding("labelled-twice", str(path), f"names {name}, which has an XML file of its own; it is left out"))
        return None
    return named


def _box(entry: ElementTree.Element) -> Xyxy | None:
    try:
        left, top, right, bottom = (float(entry.findtext(f"bndbox/{tag}", "")) for tag in ("xmin", "ymin", "xmax", "ymax"))
    except ValueError:
        return None
    return left, top, right, bottom


def _shape(entry: ElementTree.Element) -> Shape | None:
    """The outline of an object: ``polygon`` with x1, y1, x2, y2 ... in it."""
    written = entry.find("polygon")
    if written is None:
        return None
    cells = {child.tag: child.text or "" for child in written}
    numbers = [cells[f"{axis}{at}"] for at in range(1, len(cells) // 2 + 1) for axis in "xy" if f"{axis}{at}" in cells]
    polygon = polygon_of(numbers)
    return Shape((polygon,)) if polygon else None


def _size(tree: ElementTree.Element) -> tuple[int, int] | None:
    try:
        return int(tree.findtext("size/width", "")), int(tree.findtext("size/height", ""))
    except ValueError:
        return None


def _from_one(pictures: list[Annotated]) -> list[Annotated]:
    """Boxes that count pixels from 1 as boxes from the corner; as they stand if one of them touches 0."""
    boxes = [entry.box for picture in pictures for entry in picture.objects if entry.box is not None]
    if any(min(box[:2]) < 1 for box in boxes):
        return pictures
    return [replace(picture, objects=tuple(map(_moved, picture.objects))) for picture in pictures]


def _moved(entry: Written) -> Written:
    """An object with its box from the corner; a box without area is found out later, and not mended here."""
    if entry.box is None or entry.box[2] <= entry.box[0] or entry.box[3] <= entry.box[1]:
        return entry
    return replace(entry, box=(entry.box[0] - 1, entry.box[1] - 1, *entry.box[2:]))


def _recognised(source: Path, request: Request) -> bool:
    return source.is_dir() and is_voc(source)


def _read_dataset(source: Path, request: Request) -> Dataset:
    return assemble(read_voc(source, request.split), request)


def _holds(source: Path) -> tuple[str, ...]:
    return kinds_in(read_voc(source, None))


READER = Reader(("objects", "points", "masks"), "Pascal VOC's Annotations", _recognised, _read_dataset, _holds)

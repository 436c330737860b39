"""CVAT for images: one XML file with the boxes, polygons, ellipses and masks of all pictures.

Turned boxes become the boxes that enclose them, with a finding; lines, points and cuboids are left out, each kind counted once a picture.

    onelook data check set/ --task detect        # set/annotations.xml, set/images/
"""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import numpy as np

from onelook.data.readers.annotations import Annotated, Annotations, Written, assemble, kinds_in
from onelook.data.readers.locate import Locator
from onelook.data.readers.request import Reader, Request
from onelook.data.readers.shapes import Shape, Xyxy, ellipse, polygon_of, shape_of_pixels, turned_box
from onelook.data.samples import Dataset, Finding
from onelook.data.sides import side_in, side_word
from onelook.errors import DataError, UnreadableError

HEAD = 2000  # bytes in which a file shows what it is
DRAWN = ("box", "polygon", "ellipse", "mask")


def cvat_files(source: Path) -> list[Path]:
    """The XML files of CVAT: the file itself, or those in a folder."""
    files = [source] if source.is_file() else sorted([*source.glob("*.xml"), *source.glob("annotations/*.xml")])
    return [file for file in files if file.suffix.lower() == ".xml" and _looks_right(file)]


def read_cvat(source: Path, split: str | None) -> Annotations:
    """Every picture that a file lists. ``split``: a subset, or a folder in the pictures' names."""
    findings: list[Finding] = []
    pictures: list[Annotated] = []
    locator, files = Locator(source), cvat_files(source)
    for file in files:
        for entry in _tree(file).iter("image"):
            name = entry.get("name", "")
            side = side_word(entry.get("subset") or "") or side_in(Path(name.replace("\\", "/")).parent)
            if split is not None and split not in (entry.get("subset"), side, *Path(name).parts[:-1]):
                continue
            where = f"{file}: image {name}"
            path = locator.find(name, file.parent, where, findings, side)
            if path is not None:
                pictures.append(Annotated(path, tuple(_objects(entry, where, findings)), _size(entry), side, where=where))
    if split is not None and not pictures:
        raise DataError(f"{source}: no picture of {split!r} in {', '.join(file.name for file in files)}")
    return Annotations(source, f"CVAT, {', '.join(file.name for file in files)}", tuple(pictures), findings=tuple(findings))


def _looks_right(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            head = opened.read(HEAD)
    except OSError:
        return False
    return b"<annotations" in head


def _tree(file: Path) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(file.read_bytes())
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as error:
        raise UnreadableError(f"{file}: cannot be read as XML ({error})") from error


def _size(entry: ElementTree.Element) -> tuple[int, int] | None:
    try:
        return int(entry.get("width", "")), int(entry.get("height", ""))
    except ValueError:
        return None


def _objects(image: ElementTree.Element, where: str, findings: list[Finding]) -> list[Written]:
    found = []
    for number, entry in enumerate(entry for entry in image if entry.tag in DRAWN):
        place, label = f"{where}, {entry.tag} {number + 1}", entry.get("label", "")
        try:
            box, shape = _area(entry, _size(image))
        except (TypeError, ValueError):
            findings.append(Finding("not-a-number", place, f"a {entry.tag} whose numbers cannot be read; it is left out"))
            continue
        if not label or (box is None and shape is None):
            findings.append(Finding("malformed", place, f"a {entry.tag} without a label or an area; it is left out"))
            continue
        if float(entry.get("rotation") or 0):
            findings.append(Finding("turned-box", place, f"a turned {entry.tag} ({label}): the upright box around it is taken"))
        found.append(Written(label, box, place, shape=shape))
    others = Counter(entry.tag for entry in image if entry.tag not in DRAWN and entry.tag != "tag")
    for tag, count in others.items():
        findings.append(Finding("no-area", where, f"{count} {tag} without an inside; they are left out"))
    return found


def _area(entry: ElementTree.Element, size: tuple[int, int] | None) -> tuple[Xyxy | None, Shape | None]:
    """The box and the outline of an entry. Raises ValueError."""
    numbers = {key: float(value) for key, value in entry.attrib.items() if key in NUMBERS}
    if entry.tag == "polygon":
        polygon = polygon_of([value for point in entry.get("points", "").split(";") for value in point.split(",")])
        return None, Shape((polygon,)) if polygon else None
    if entry.tag == "ellipse":
        return None, Shape((ellipse(numbers["cx"], numbers["cy"], numbers["rx"], numbers["ry"]),))
    if entry.tag == "mask":
        return None, _mask(entry, size) if size else None
    if not {"xtl", "ytl", "xbr", "ybr"} <= numbers.keys():
        raise ValueError
    left, top, right, bottom = (numbers[key] for key in ("xtl", "ytl", "xbr", "ybr"))
    middle = ((left + right) / 2, (top + bottom) / 2)
    corners = turned_box(left, top, right - left, bottom - top, numbers.get("rotation", 0.0), middle)
    return None if numbers.get("rotation") else (left, top, right, bottom), Shape((corners,))


def _mask(entry: ElementTree.Element, size: tuple[int, int]) -> Shape:
    """Run lengths of a part of the picture, row by row, nothing first."""
    left, top, wide, high = (int(float(entry.get(key, ""))) for key in ("left", "top", "width", "height"))
    runs = [int(run) for run in entry.get("rle", "").split(",")]
    part = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    if len(part) != wide * high:
        raise ValueError
    inside = np.zeros((size[1], size[0]), dtype=bool)
    room = inside[top : top + high, left : left + wide]
    room[:] = part.reshape(high, wide)[: room.shape[0], : room.shape[1]]
    return shape_of_pixels(inside)


NUMBERS = frozenset({"xtl", "ytl", "xbr", "ybr", "rotation", "cx", "cy", "rx", "ry"})


def _recognised(source: Path, request: Request) -> bool:
    return bool(cvat_files(source))


def _read_dataset(source: Path, request: Request) -> Dataset:
    return assemble(read_cvat(source, request.split), request)


def _holds(source: Path) -> tuple[str, ...]:
    return kinds_in(read_cvat(source, None))


READER = Reader(("objects", "masks"), "CVAT's annotations.xml", _recognised, _read_dataset, _holds)

"""What every reader of boxes and key points gives: pictures with their objects as they are written, and how they become samples.

Boxes that cannot be used are left out, each with a finding that names its file and place; boxes that reach over the picture's edge are cut
to it. Readers do not raise for one bad file among many.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onelook.data.pictures import picture_size
from onelook.data.samples import Dataset, Finding, Sample
from onelook.errors import DataError, PictureError
from onelook.geometry.objects import Layout, Objects

SLACK = 1.0  # pixels by which a box may reach over the edge before it is called outside
PICTURE_FOLDERS = ("", "images", "JPEGImages", "imgs", "pictures")

Xyxy = tuple[float, float, float, float]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Written:
    """One object as a file has it: the class's name, xyxy in pixels from the picture's corner, key points, and its place in the file."""

    label: str
    box: Xyxy
    where: str
    ignored: bool = False
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Annotated:
    """One picture as a file has it. ``size``: width and height, where the file says so; else the picture is asked."""

    path: Path
    objects: tuple[Written, ...]
    size: tuple[int, int] | None = None
    side: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Annotations:
    """All that a reader found. ``classes``: their order where the format has one; ``layout``: of the key points, if there are any."""

    path: Path
    form: str
    pictures: tuple[Annotated, ...]
    classes: tuple[str, ...] = ()
    layout: Layout | None = None
    findings: tuple[Finding, ...] = ()
    left_out: str = ""


def assemble(source: Annotations, points: bool, classes: Sequence[str]) -> Dataset:
    """The data set of what a reader found: of boxes, or of key points. Raises DataError where nothing can be used.

    ``classes``: names that must be used, in this order (those of a trained head).
    """
    if not source.pictures:
        reason = f" ({source.findings[0].reason})" if source.findings else ""
        raise DataError(f"{source.path}: no pictures in this {source.form}{reason}")
    if points and source.layout is None:
        raise DataError(
            f"{source.path}: {source.form} without key points; keypoints needs COCO key points, a CSV with NAME_x and NAME_y, or .mat"
        )
    found = {entry.label for picture in source.pictures for entry in picture.objects}
    known = source.classes or tuple(sorted(found))
    if points:
        assert source.layout is not None
        names = source.layout.names
        if classes and tuple(classes) != names:
            raise DataError(f"{source.path}: its key points are {', '.join(names)}; this head knows {', '.join(classes)}")
    else:
        names = tuple(classes) or known
        unknown = sorted(found - set(names))
        if unknown:
            raise DataError(f"{source.path}: {', '.join(unknown[:5])} is no class of this head; it knows {', '.join(names)}")
    ids = {name: 0 if points else index for index, name in enumerate(known if points else names)}
    findings = list(source.findings)
    samples = []
    for picture in source.pictures:
        objects, wrong = _usable(picture, ids)
        findings += wrong
        samples.append(Sample(picture.path, objects, picture.group, picture.side))
    found_line = f"{source.path}: {source.form}{source.left_out}"
    kind = "points" if points else "objects"
    layout = source.layout if points else None
    return Dataset(tuple(samples), names, kind, source.path, found_line, layout, tuple(findings))


def _usable(picture: Annotated, ids: dict[str, int]) -> tuple[Objects, list[Finding]]:
    size = picture.size
    if size is None:
        try:
            size = picture_size(picture.path)
        except PictureError:  # reported when it is looked at
            size = None
    kept: list[tuple[Xyxy, Written]] = []
    findings = []
    for entry in picture.objects:
        box, wrong = _mended(entry, size)
        if wrong is not None:
            findings.append(wrong)
        if box is not None:
            kept.append((box, entry))
    same: dict[tuple[str, Xyxy], Written] = {}
    for box, entry in kept:
        if not entry.points and (entry.label, box) in same:
            findings.append(Finding("duplicate-box", entry.where, f"the same {entry.label} box as at {same[entry.label, box].where}"))
        same.setdefault((entry.label, box), entry)
    unique = [(box, entry) for box, entry in kept if entry.points or same[entry.label, box] is entry]
    points = [entry.points for _, entry in unique]
    objects = Objects.of(
        [box for box, _ in unique], [ids[entry.label] for _, entry in unique], [entry.ignored for _, entry in unique],
        points if any(points) else None,
    )  # fmt: skip
    return objects, findings


def _mended(entry: Written, size: tuple[int, int] | None) -> tuple[Xyxy | None, Finding | None]:
    """A box that can be used, and what was wrong with it."""
    left, top, right, bottom = entry.box
    said = f"{entry.label} box ({left:g}, {top:g}, {right:g}, {bottom:g})"
    if not all(map(math.isfinite, entry.box)):
        return None, Finding("not-a-number", entry.where, f"{said} is not finite; it is left out")
    if right < left or bottom < top:
        return None, Finding("inverted", entry.where, f"{said} has its corners the wrong way round; it is left out")
    if right == left or bottom == top:
        return None, Finding("zero-area", entry.where, f"{said} has no area; it is left out")
    if size is None:
        return entry.box, None
    width, height = size
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        return None, Finding("outside", entry.where, f"{said} lies outside the picture ({width}x{height}); it is left out")
    cut = (max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom))
    if max(abs(a - b) for a, b in zip(cut, entry.box, strict=True)) > SLACK:
        return cut, Finding("outside", entry.where, f"{said} reaches over the picture ({width}x{height}); it is cut to it")
    return cut, None


def locate(name: str, roots: Iterable[Path]) -> Path:
    """The picture that a file names, looked for in these folders and their usual subfolders; where it should be if it is nowhere."""
    roots = list(roots)
    for root in roots:
        for folder in PICTURE_FOLDERS:
            for candidate in (root / folder / name, root / folder / Path(name).name):
                if candidate.is_file():
                    return candidate
    return roots[0] / name

"""What every reader of boxes and key points gives: pictures with their objects as they are written, and how they become samples.

Boxes that cannot be used are left out, each with a finding that names its file and place; boxes that reach over the picture's edge are cut
to it. Readers do not raise for one bad file among many.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from onelook.data.kinds import Masks, Target
from onelook.data.readers.request import Request
from onelook.data.readers.shapes import Shape, Xyxy, decode, mask_of_shapes
from onelook.data.readers.written_size import Fit, fit_to_picture
from onelook.data.samples import Dataset, Finding, Sample, objects_of
from onelook.data.sides import left_out, used_sides
from onelook.errors import DataError, PictureError
from onelook.geometry.limbs import find_limbs
from onelook.geometry.masks import IGNORE, MOST_CLASSES
from onelook.geometry.mirror_pairs import find_pairs
from onelook.geometry.objects import Layout, Objects

SLACK = 1.0  # pixels by which a box may reach over the edge before it is called outside
BACKGROUND = "background"

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Written:
    """One object as a file has it, in pixels from the picture's corner: the class's name, xyxy, key points, outline, and where it stands.

    ``box``: None where the file has none; then what encloses the outline is.
    """

    label: str
    box: Xyxy | None
    where: str
    ignored: bool = False
    points: tuple[Point, ...] = ()
    shape: Shape | None = None


@dataclass(frozen=True)
class Annotated:
    """One picture as a file has it. ``size``: width and height that its objects are written for, where the file says so.

    ``side``: train, val or test, where the files say so. ``where``: its place in the file.
    """

    path: Path
    objects: tuple[Written, ...]
    size: tuple[int, int] | None = None
    side: str | None = None
    group: str | None = None
    where: str = ""


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


def kinds_in(source: Annotations) -> tuple[str, ...]:
    """What could be learned from what a reader found: key points, boxes, masks."""
    objects = [entry for picture in source.pictures for entry in picture.objects]
    points = ("points",) if source.layout and any(entry.points for entry in objects) else ()
    return (*points, "objects", *(("masks",) if any(entry.shape for entry in objects) else ()))


def assemble(source: Annotations, request: Request) -> Dataset:
    """The data set of what a reader found: of boxes, of key points, or of masks. Raises DataError where nothing can be used."""
    findings = list(source.findings)
    if not source.pictures:
        reason = f" ({findings[0].reason})" if findings else ""
        raise DataError(f"{source.path}: no pictures in this {source.form}{reason}")
    build = next((kind for kind in (_Points, _Masks) if request.wants(kind.kind)), _Boxes)(source, request)
    pictures = _once(source.pictures, findings)
    used = used_sides(picture.side for picture in pictures)
    rest = left_out(Counter(picture.side for picture in pictures), used)
    samples = []
    for picture in pictures:
        if picture.side not in used:
            continue
        try:
            fit = fit_to_picture(picture.path, picture.size, picture.where or str(picture.path), findings)
        except PictureError as error:
            if build.kind == Masks.name:  # a mask has its picture's size
                findings.append(Finding("unreadable", str(picture.path), str(error).removeprefix(f"{picture.path}: ")))
            else:  # reported when it is looked at
                samples.append(Sample(picture.path, build.target(picture, None, findings), picture.group, used[picture.side]))
            continue
        if fit is not None:
            samples.append(Sample(picture.path, build.target(picture, fit, findings), picture.group, used[picture.side]))
    build.refuse_empty(samples, findings)
    layout, mirrored = _mirrored(_joined(source.layout), samples) if build.kind == "points" else (None, "")
    found = f"{source.path}: {source.form}{source.left_out}{rest}{mirrored}"
    return Dataset(tuple(samples), build.names, build.kind, source.path, found, layout, tuple(findings))


def _joined(layout: Layout | None) -> Layout | None:
    """The layout with its limbs by the points' names, where it says none."""
    return layout if layout is None or layout.skeleton else replace(layout, skeleton=find_limbs(layout.names))


def _mirrored(layout: Layout | None, samples: Sequence[Sample]) -> tuple[Layout | None, str]:
    """The layout with its pairs of left and right points, found from the data where it has none; and what there is to say."""
    if layout is None or layout.mirrors:
        return layout, ""
    points = [objects_of(sample).points[0].numpy() for sample in samples if len(objects_of(sample))]
    pairs = find_pairs(np.stack(points)) if points else ()
    if not pairs:
        return layout, "; which points are left and right is not known: nothing is mirrored"
    shown = ", ".join(f"{layout.names[one]}-{layout.names[other]}" for one, other in pairs[:3])
    said = f"; {len(pairs)} pairs of left and right points found from the data ({shown}{' ...' * (len(pairs) > 3)})"
    return replace(layout, pairs=pairs), said


class _Boxes:
    """Builds boxes. ``names``: the classes that ids refer to."""

    kind = "objects"

    def __init__(self, source: Annotations, request: Request) -> None:
        self.source = source
        found = {entry.label for picture in source.pictures for entry in picture.objects}
        self.known = source.classes or tuple(sorted(found))
        self.names = self._names(found, request)
        self.ids = self._ids(request)

    def _names(self, found: set[str], request: Request) -> tuple[str, ...]:
        names = request.classes or self.known
        self._refuse_unknown(found - set(names), names)
        return names

    def _ids(self, request: Request) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names)}

    def _refuse_unknown(self, unknown: set[str], names: Sequence[str]) -> None:
        if unknown:
            raise DataError(f"{self.source.path}: {', '.join(sorted(unknown)[:5])} is no class of this head; it knows {', '.join(names)}")

    def target(self, picture: Annotated, fit: Fit | None, findings: list[Finding]) -> Target:
        """What is learned from a picture."""
        objects, wrong = _usable(picture, fit, self.ids)
        findings += wrong
        return objects

    def refuse_empty(self, samples: Sequence[Sample], findings: Sequence[Finding]) -> None:
        """Raise DataError where no picture can be used."""
        if not samples:
            reason = f" ({findings[0].file}: {findings[0].reason})" if findings else ""
            raise DataError(
                f"{self.source.path}: none of {len(self.source.pictures)} pictures in this {self.source.form} can be used{reason}"
            )


class _Points(_Boxes):
    """Builds key points: the names are those of the points, and all objects are of one class."""

    kind = "points"

    def _names(self, found: set[str], request: Request) -> tuple[str, ...]:
        if self.source.layout is None:
            raise DataError(
                f"{self.source.path}: {self.source.form} without key points; keypoints needs COCO key points, "
                "a CSV with NAME_x and NAME_y, or .mat"
            )
        names = self.source.layout.names
        if request.classes and request.classes != names:
            raise DataError(f"{self.source.path}: its key points are {', '.join(names)}; this head knows {', '.join(request.classes)}")
        return names

    def _ids(self, request: Request) -> dict[str, int]:
        return dict.fromkeys(self.known, 0)


class _Masks(_Boxes):
    """Builds masks of the objects' outlines."""

    kind = "masks"

    def _names(self, found: set[str], request: Request) -> tuple[str, ...]:
        there = tuple(dict.fromkeys((BACKGROUND, *self.known)))
        for word in request.ignore:
            if word not in there and not request.classes:
                raise DataError(f"--ignore {word}: no class of this name; there is {', '.join(there)}")
        names = request.classes or tuple(name for name in there if name not in request.ignore)
        if len(names) > MOST_CLASSES:
            raise DataError(f"{self.source.path}: {len(names)} classes; at most {MOST_CLASSES} can be told apart")
        self._refuse_unknown(found - set(names) - set(request.ignore), names)
        return names

    def _ids(self, request: Request) -> dict[str, int]:
        return {name: self.names.index(name) if name in self.names else IGNORE for name in self.known}

    def target(self, picture: Annotated, fit: Fit | None, findings: list[Finding]) -> Target:
        assert fit is not None
        drawn: list[tuple[int, Shape]] = []
        for entry in picture.objects:
            if entry.shape is None:
                findings.append(Finding("no-shape", entry.where, f"a {entry.label} without polygons or run lengths; it is left out"))
                continue
            try:
                decode(entry.shape, fit)
            except Exception as error:  # the decoder of run lengths raises whatever it likes
                findings.append(Finding("malformed", entry.where, f"its shape cannot be drawn ({error}); it is left out"))
                continue
            drawn.append((self.ids[entry.label], entry.shape))
            if entry.shape.lost:
                findings.append(Finding("malformed", entry.where, f"{entry.shape.lost} of its polygons have no three points; left out"))
        return mask_of_shapes(fit, drawn, len(self.names))

    def refuse_empty(self, samples: Sequence[Sample], findings: Sequence[Finding]) -> None:
        super().refuse_empty(samples, findings)
        if not any(entry.shape for picture in self.source.pictures for entry in picture.objects):
            reason = f" ({findings[0].file}: {findings[0].reason})" if findings else ""
            raise DataError(f"{self.source.path}: no polygons or run lengths in this {self.source.form}{reason}")


def _once(pictures: Sequence[Annotated], findings: list[Finding]) -> list[Annotated]:
    """Each picture with the first that labels it on its side; others that label it differently are findings."""
    first: dict[tuple[Path, str | None], Annotated] = {}
    for picture in pictures:
        other = first.setdefault((picture.path, picture.side), picture)
        if other is not picture and other.objects != picture.objects:
            where = picture.where or str(picture.path)
            findings.append(Finding("labelled-twice", where, f"labels {picture.path.name}, as {other.where} does already; it is left out"))
    return list(first.values())


def _usable(picture: Annotated, fit: Fit | None, ids: dict[str, int]) -> tuple[Objects, list[Finding]]:
    kept: list[tuple[Xyxy, Written]] = []
    findings: list[Finding] = []
    for entry in picture.objects:
        written = entry.box or (entry.shape.bounds if entry.shape else None)
        if written is None:
            findings.append(Finding("no-box", entry.where, f"a {entry.label} without a box; it is left out"))
            continue
        if fit is not None and fit.moves:
            written, moved = fit.box(written), tuple((*fit.point(x, y), seen) for x, y, seen in entry.points)
            entry = replace(entry, points=moved)
        box, wrong = _mended(entry, written, fit.size if fit else None)
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


def _mended(entry: Written, written: Xyxy, size: tuple[int, int] | None) -> tuple[Xyxy | None, Finding | None]:
    """A box that can be used, and what was wrong with it."""
    left, top, right, bottom = written
    said = f"{entry.label} box ({left:g}, {top:g}, {right:g}, {bottom:g})"
    if not all(map(math.isfinite, written)):
        return None, Finding("not-a-number", entry.where, f"{said} is not finite; it is left out")
    if right < left or bottom < top:
        return None, Finding("inverted", entry.where, f"{said} has its corners the wrong way round; it is left out")
    if right == left or bottom == top:
        return None, Finding("zero-area", entry.where, f"{said} has no area; it is left out")
    if size is None:
        return written, None
    width, height = size
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        return None, Finding("outside", entry.where, f"{said} lies outside the picture ({width}x{height}); it is left out")
    cut = (max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom))
    if max(abs(a - b) for a, b in zip(cut, written, strict=True)) > SLACK:
        return cut, Finding("outside", entry.where, f"{said} reaches over the picture ({width}x{height}); it is cut to it")
    return cut, None

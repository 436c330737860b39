"""labelme's JSON: a file a picture, with rectangles, polygons and circles.

Lines and strips have no inside and are left out, with a finding; single points are key points where a picture has one of each name.

    onelook data check photos/ --task detect       # photo.jpg beside photo.json
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onelook.data.readers.annotations import Annotated, Annotations, Point, Written, assemble, kinds_in
from onelook.data.readers.json_files import has_json, json_files, load_json, sides_of_files
from onelook.data.readers.locate import Locator
from onelook.data.readers.object_table import around
from onelook.data.readers.request import Reader, Request
from onelook.data.readers.shapes import Shape, Xyxy, ellipse, polygon_of
from onelook.data.samples import Dataset, Finding, paired_names
from onelook.errors import UnreadableError
from onelook.geometry.objects import Layout

SIGNS = ('"shapes"', '"imagePath"')


def read_labelme(source: Path, split: str | None, points: bool = False) -> Annotations:
    """Every picture that has a file. ``split``: a folder's name. ``points``: whether points are wanted, rather than areas."""
    files = sides_of_files(source, json_files(source, SIGNS), split, "labelme", whole=False)
    findings: list[Finding] = []
    locator, pictures = Locator(source), []
    loaded = [(file, _load(file, findings)) for file in files]
    names = _point_names([facts for _, facts in loaded if facts]) if points else ()
    for file, facts in loaded:
        side = files[file]
        picture = _picture(file, facts, side, locator, findings) if facts else None
        if picture is None or not facts:
            continue
        size = _size(facts)
        if points:
            pictures.append(_with_points(picture, facts, names, str(file), side, findings))
        else:
            objects = tuple(_objects(file, facts["shapes"], findings))
            pictures.append(Annotated(picture, objects, size, side, where=str(file)))
    layout = Layout(names, paired_names(names), ()) if names else None
    return Annotations(source, f"labelme, {len(files)} files", tuple(pictures), layout=layout, findings=tuple(findings))


def _load(file: Path, findings: list[Finding]) -> dict[str, Any] | None:
    try:
        facts = load_json(file)
    except UnreadableError as error:
        findings.append(Finding("unreadable", str(file), str(error).removeprefix(f"{file}: ")))
        return None
    if not isinstance(facts, dict) or not isinstance(facts.get("shapes"), list):
        findings.append(Finding("malformed", str(file), "has no list of shapes; it is left out"))
        return None
    return facts


def _picture(file: Path, facts: dict[str, Any], side: str | None, locator: Locator, findings: list[Finding]) -> Path | None:
    """The picture that lies beside its file, or the one that the file names."""
    beside = locator.find(file.stem, file.parent, str(file), [], side)
    if beside is not None and beside.is_file():
        return beside
    return locator.find(str(facts.get("imagePath") or file.stem), file.parent, str(file), findings, side)


def _size(facts: dict[str, Any]) -> tuple[int, int] | None:
    try:
        return int(facts["imageWidth"]), int(facts["imageHeight"])
    except (KeyError, TypeError, ValueError):
        return None


def _objects(file: Path, shapes: Sequence[Any], findings: list[Finding]) -> list[Written]:
    found = []
    for number, entry in enumerate(shapes):
        where = f"{file}: shapes[{number}]"
        try:
            label, kind = str(entry["label"]), entry.get("shape_type") or "polygon"
            flat = [float(value) for point in entry["points"] for value in point]
        except (AttributeError, KeyError, TypeError, ValueError):
            findings.append(Finding("malformed", where, "needs a label and points; it is left out"))
            continue
        box, shape = _area(kind, flat)
        if box is None and shape is None:
            findings.append(Finding("no-area", where, f"a {kind} of {len(flat) // 2} points ({label}) has no inside; it is left out"))
        else:
            found.append(Written(label, box, where, shape=shape))
    return found


def _area(kind: str, flat: list[float]) -> tuple[Xyxy | None, Shape | None]:
    if kind in ("rectangle", "mask") and len(flat) >= 4:
        box = min(flat[0::2]), min(flat[1::2]), max(flat[0::2]), max(flat[1::2])
        corners = (box[0], box[1], box[2], box[1], box[2], box[3], box[0], box[3])
        return box, Shape((corners,)) if kind == "rectangle" else None
    if kind == "circle" and len(flat) == 4:
        radius = math.hypot(flat[2] - flat[0], flat[3] - flat[1])
        return (flat[0] - radius, flat[1] - radius, flat[0] + radius, flat[1] + radius), Shape((ellipse(flat[0], flat[1], radius, radius),))
    polygon = polygon_of(flat) if kind in ("polygon", "rotation", "oriented_rectangle") else None
    return None, Shape((polygon,)) if polygon else None


def _point_names(every: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    labels = {str(shape.get("label")) for facts in every for shape in facts["shapes"] if _is_point(shape)}
    return tuple(sorted(labels))


def _is_point(shape: Any) -> bool:
    return isinstance(shape, dict) and shape.get("shape_type") == "point" and bool(shape.get("points"))


def _with_points(
    picture: Path, facts: dict[str, Any], names: Sequence[str], where: str, side: str | None, findings: list[Finding]
) -> Annotated:
    found: dict[str, Point] = {}
    for shape in filter(_is_point, facts["shapes"]):
        x, y = shape["points"][0][:2]
        if str(shape["label"]) in found:
            findings.append(Finding("two-points", where, f"two points are called {shape['label']}; the first is taken"))
        found.setdefault(str(shape["label"]), (float(x), float(y), 2.0))
    return around(picture, tuple(found.get(name, (0.0, 0.0, 0.0)) for name in names), where, side, findings)


def _recognised(source: Path, request: Request) -> bool:
    return has_json(source, SIGNS)


def _read_dataset(source: Path, request: Request) -> Dataset:
    return assemble(read_labelme(source, request.split, request.wants("points")), request)


def _holds(source: Path) -> tuple[str, ...]:
    found = kinds_in(read_labelme(source, None))
    return found if "masks" in found else ("points",)


READER = Reader(("objects", "points", "masks"), "labelme's JSON files", _recognised, _read_dataset, _holds)

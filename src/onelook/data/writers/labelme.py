"""labelme: a JSON file beside every picture, a rectangle an object, or a point a key point.

onelook data convert dataset/ --to labelme --out labelme/
"""

import json
from collections.abc import Iterator
from pathlib import Path

from onelook.data.pictures import picture_size
from onelook.data.samples import Dataset, place_picture
from onelook.errors import DataError
from onelook.facts import Facts
from onelook.geometry.objects import Objects

VERSION = "5.5.0"  # of labelme, whose files these are like


def write_labelme(data: Dataset, folder: Path) -> None:
    """Write the pictures, those of a side into a folder of its name, each with its file; ignored objects are left out.

    Raises DataError for key points of several objects in a picture: labelme's points belong to no object.
    """
    for sample in data.samples:
        assert isinstance(sample.target, Objects)
        placed = place_picture(sample.path, folder / (sample.side or ""))
        width, height = picture_size(placed)
        objects = sample.target.pick(~sample.target.ignored)
        if data.layout is not None and len(objects) > 1:
            raise DataError(f"{sample.path}: key points of {len(objects)} objects; labelme knows one object a picture, use --to coco")
        shapes = list(_rectangles(objects, data.classes) if data.layout is None else _points(objects, data.classes))
        facts: Facts = {"version": VERSION, "flags": {}, "shapes": shapes, "imagePath": placed.name, "imageData": None}
        text = json.dumps(facts | {"imageHeight": height, "imageWidth": width}, indent=1)
        placed.with_suffix(".json").write_text(text, encoding="utf-8")


def _rectangles(objects: Objects, classes: tuple[str, ...]) -> Iterator[Facts]:
    for label, (left, top, right, bottom) in zip(objects.labels.tolist(), objects.boxes.tolist(), strict=True):
        yield _shape(classes[label], "rectangle", [[left, top], [right, bottom]])


def _points(objects: Objects, names: tuple[str, ...]) -> Iterator[Facts]:
    for points in objects.points.tolist():
        for name, (x, y, seen) in zip(names, points, strict=True):
            if seen:
                yield _shape(name, "point", [[x, y]])


def _shape(label: str, kind: str, points: list[list[float]]) -> Facts:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}}

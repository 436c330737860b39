"""Supervisely's folders: ``ann/photo.jpg.json`` beside ``img/photo.jpg``, with rectangles, polygons and bitmaps.

onelook data check project/ --task detect        # project/DATASET/ann, project/DATASET/img
"""

import base64
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onelook.data.readers.annotations import Annotated, Annotations, Written, assemble, kinds_in
from onelook.data.readers.json_files import has_json, json_files, load_json, sides_of_files
from onelook.data.readers.locate import Locator
from onelook.data.readers.request import Reader, Request
from onelook.data.readers.shapes import Shape, Xyxy, polygon_of, shape_of_pixels
from onelook.data.samples import Dataset, Finding
from onelook.errors import UnreadableError

SIGNS = ('"objects"', '"classTitle"', '"size"')


def read_supervisely(source: Path, split: str | None) -> Annotations:
    """Every picture that has a file. ``split``: a data set's folder."""
    files = sides_of_files(source, json_files(source, ('"objects"', '"size"')), split, "Supervisely", whole=False)
    findings: list[Finding] = []
    locator, pictures = Locator(source), []
    for file, side in files.items():
        try:
            facts = load_json(file)
            size = int(facts["size"]["width"]), int(facts["size"]["height"])
        except UnreadableError as error:
            findings.append(Finding("unreadable", str(file), str(error).removeprefix(f"{file}: ")))
            continue
        except (KeyError, TypeError, ValueError):
            findings.append(Finding("malformed", str(file), "needs a size and objects; it is left out"))
            continue
        near = file.parent.parent / "img"
        path = locator.find(file.stem, near if near.is_dir() else file.parent, str(file), findings, side)
        if path is not None:
            objects = tuple(_objects(file, facts.get("objects"), size, findings))
            pictures.append(Annotated(path, objects, size, side, where=str(file)))
    return Annotations(source, f"Supervisely, {len(files)} files", tuple(pictures), findings=tuple(findings))


def _objects(file: Path, entries: Any, size: tuple[int, int], findings: list[Finding]) -> Iterator[Written]:
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        place = f"{file}: objects[{number}]"
        try:
            label, kind = str(entry["classTitle"]), entry.get("geometryType", "polygon")
            box, shape = _area(kind, entry, size)
        except (AttributeError, KeyError, OSError, TypeError, ValueError, zlib.error):
            findings.append(Finding("malformed", place, "needs classTitle and points; it is left out"))
            continue
        if box is None and shape is None:
            findings.append(Finding("no-area", place, f"a {kind} ({label}) has no inside; it is left out"))
        else:
            yield Written(label, box, place, shape=shape)


def _area(kind: str, entry: dict[str, Any], size: tuple[int, int]) -> tuple[Xyxy | None, Shape | None]:
    if kind == "bitmap":
        left, top = map(int, entry["bitmap"]["origin"])
        packed = zlib.decompress(base64.b64decode(entry["bitmap"]["data"]))
        part = np.asarray(Image.open(BytesIO(packed)).convert("RGBA"))[..., 3] > 0
        inside = np.zeros((size[1], size[0]), dtype=bool)
        room = inside[top : top + part.shape[0], left : left + part.shape[1]]
        room[:] = part[: room.shape[0], : room.shape[1]]
        return None, shape_of_pixels(inside)
    flat = [float(value) for point in entry["points"]["exterior"] for value in point]
    if kind == "rectangle":
        box = min(flat[0::2]), min(flat[1::2]), max(flat[0::2]), max(flat[1::2])
        return box, Shape(((box[0], box[1], box[2], box[1], box[2], box[3], box[0], box[3]),))
    polygon = polygon_of(flat) if kind == "polygon" else None
    return None, Shape((polygon,)) if polygon else None


def _recognised(source: Path, request: Request) -> bool:
    return has_json(source, SIGNS)


def _read_dataset(source: Path, request: Request) -> Dataset:
    return assemble(read_supervisely(source, request.split), request)


def _holds(source: Path) -> tuple[str, ...]:
    return kinds_in(read_supervisely(source, None))


READER = Reader(("objects", "masks"), "Supervisely's ann and img", _recognised, _read_dataset, _holds)

"""Label Studio's JSON: a list of tasks with rectangles, polygons, ellipses and brush strokes, in percent of the picture.

Turned rectangles become the boxes that enclose them, with a finding. Of several annotations of a picture the last that was not cancelled
counts.

    onelook data check set/ --task detect        # set/project.json, set/images/
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from onelook.data.readers.annotations import Annotated, Annotations, Written, assemble, kinds_in
from onelook.data.readers.json_files import has_json, json_files, load_json, sides_of_files
from onelook.data.readers.locate import Locator
from onelook.data.readers.request import Reader, Request
from onelook.data.readers.shapes import Polygon, Shape, Xyxy, ellipse, polygon_of, shape_of_pixels, turned_box
from onelook.data.samples import Dataset, Finding

SIGNS = ('"annotations"', '"result"', '"data"')
PREFIX = re.compile(r"^[0-9a-f]{8}-")  # of uploaded pictures' names


def read_label_studio(source: Path, split: str | None) -> Annotations:
    """Every picture that the files list. ``split``: a folder's or a file's name."""
    files = sides_of_files(source, json_files(source, SIGNS, depth=1), split, "Label Studio", whole=True)
    findings: list[Finding] = []
    locator, pictures = Locator(source), []
    for file, side in files.items():
        tasks = load_json(file)
        for number, task in enumerate(tasks if isinstance(tasks, list) else [tasks]):
            where = f"{file}: [{number}]"
            name = _name(task)
            if name is None:
                findings.append(Finding("malformed", where, "names no picture in its data; it is left out"))
                continue
            path = _find(locator, name, file.parent, where, side, findings)
            results = _results(task, where, findings)
            if path is not None:
                objects = tuple(_objects(results, where, findings))
                pictures.append(Annotated(path, objects, _size(results), side, where=where))
    return Annotations(source, f"Label Studio, {', '.join(file.name for file in files)}", tuple(pictures), findings=tuple(findings))


def _name(task: Any) -> str | None:
    """The picture's path: what a URL or ``?d=`` of local files ends in."""
    data = task.get("data") if isinstance(task, dict) else None
    values = [value for key, value in data.items() if isinstance(value, str) and _is_path(value)] if isinstance(data, dict) else []
    if not values:
        return None
    parts = urlsplit(values[0])
    return unquote(parse_qs(parts.query).get("d", [parts.path])[0])


def _is_path(value: str) -> bool:
    return "/" in value or "." in value


def _find(locator: Locator, name: str, near: Path, where: str, side: str | None, findings: list[Finding]) -> Path | None:
    """The picture, with or without what uploading put before its name."""
    path = locator.find(name, near, where, findings, side)
    plain = PREFIX.sub("", Path(name).name)
    if path is None or path.is_file() or plain == Path(name).name:
        return path
    return locator.find(plain, near, where, findings, side)


def _results(task: dict[str, Any], where: str, findings: list[Finding]) -> list[Any]:
    done = [entry for entry in task.get("annotations") or [] if isinstance(entry, dict) and not entry.get("was_cancelled")]
    if len(done) > 1:
        findings.append(Finding("several-annotations", where, f"was annotated {len(done)} times; the last one counts"))
    results = done[-1].get("result") if done else []
    return results if isinstance(results, list) else []


def _size(results: list[Any]) -> tuple[int, int] | None:
    return next(((int(r["original_width"]), int(r["original_height"])) for r in results if r.get("original_width")), None)


def _objects(results: list[Any], where: str, findings: list[Finding]) -> Iterator[Written]:
    for number, entry in enumerate(results):
        place = f"{where}.result[{number}]"
        try:
            kind, value = entry["type"], entry["value"]
            if kind in ("choices", "textarea", "rating", "relation", "number"):
                continue
            label = str((value.get(kind) or value.get("labels") or [""])[0])
            width, height = int(entry["original_width"]), int(entry["original_height"])
            box, shape = _area(kind, value, width, height)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            findings.append(Finding("malformed", place, "needs type, value, original_width and original_height; it is left out"))
            continue
        if not label:
            findings.append(Finding("no-name", place, f"a {kind} without a label; it is left out"))
        elif box is None and shape is None:
            findings.append(Finding("no-area", place, f"a {kind} ({label}) has no inside; it is left out"))
        else:
            if value.get("rotation"):
                findings.append(Finding("turned-box", place, f"a turned {label}: the upright box around it is taken"))
            yield Written(label, box, place, shape=shape)


def _area(kind: str, value: dict[str, Any], width: int, height: int) -> tuple[Xyxy | None, Shape | None]:
    """The box and the outline in pixels. Raises KeyError, ValueError."""
    across, down = width / 100, height / 100
    if kind.startswith("rectangle"):
        x, y, wide, high = value["x"] * across, value["y"] * down, value["width"] * across, value["height"] * down
        turn = float(value.get("rotation") or 0)
        corners = turned_box(x, y, wide, high, turn, (x, y))
        return None if turn else (x, y, x + wide, y + high), Shape((corners,))
    if kind.startswith("ellipse"):
        x, y, wide, high = value["x"] * across, value["y"] * down, value["radiusX"] * across, value["radiusY"] * down
        return None, Shape((_turned(ellipse(0, 0, wide, high), float(value.get("rotation") or 0), x, y),))
    if kind.startswith("polygon"):
        polygon = polygon_of([number for x, y in value["points"] for number in (x * across, y * down)])
        return None, Shape((polygon,)) if polygon else None
    if kind.startswith("brush"):
        inside = decode_brush(bytes(value["rle"])).reshape(height, width, 4)[..., 3] > 0
        return None, shape_of_pixels(inside)
    return None, None


def _turned(polygon: Polygon, degrees: float, x: float, y: float) -> Polygon:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    pairs = zip(polygon[0::2], polygon[1::2], strict=True)
    return tuple(value for px, py in pairs for value in (x + px * cos - py * sin, y + px * sin + py * cos))


def decode_brush(content: bytes) -> np.ndarray:
    """The bytes (uint8) that a brush's run lengths stand for: four a pixel, the last its opacity. Raises ValueError.

    A bit stream: 32 bits how many, 5 bits the word's length less one, four times 4 bits the lengths of run counts less one; then runs,
    each a bit (1: one word repeated), 2 bits which length, the count less one, and the word or words.
    """
    bits = np.unpackbits(np.frombuffer(content, dtype=np.uint8))
    weights = 1 << np.arange(63, -1, -1, dtype=np.uint64)
    place = 0

    def take(count: int) -> int:
        nonlocal place
        if place + count > len(bits):
            raise ValueError("run lengths end too soon")
        value = int((bits[place : place + count] * weights[64 - count :]).sum())
        place += count
        return value

    total, word = take(32), take(5) + 1
    lengths = [take(4) + 1 for _ in range(4)]
    found = np.zeros(total, dtype=np.uint8)
    at = 0
    while at < total:
        repeated, end = take(1), at + 1 + take(lengths[take(2)])
        if repeated:
            found[at:end] = take(word)
        else:
            for index in range(at, min(end, total)):
                found[index] = take(word)
        at = end
    return found


def _recognised(source: Path, request: Request) -> bool:
    return has_json(source, SIGNS, depth=1)


def _read_dataset(source: Path, request: Request) -> Dataset:
    return assemble(read_label_studio(source, request.split), request)


def _holds(source: Path) -> tuple[str, ...]:
    return kinds_in(read_label_studio(source, None))


READER = Reader(("objects", "masks"), "Label Studio's JSON", _recognised, _read_dataset, _holds)

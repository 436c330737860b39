"""VIA's JSON and CSV (VGG Image Annotator): pictures with rectangles, polygons, circles and ellipses.

The class is the region's attribute called class, label, name or type, else its only one.

    onelook data check set/ --task detect        # set/via_region_data.json
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onelook.data.readers.annotations import Annotated, Annotations, Written, assemble, kinds_in
from onelook.data.readers.json_files import has_json, json_files, load_json, sides_of_files
from onelook.data.readers.locate import Locator
from onelook.data.readers.request import Reader, Request
from onelook.data.readers.shapes import Shape, Xyxy, ellipse, polygon_of
from onelook.data.readers.table import header_of, read_rows
from onelook.data.samples import Dataset, Finding

SIGNS = ('"regions"', '"shape_attributes"')
COLUMNS = ("filename", "region_shape_attributes", "region_attributes")  # of the CSV, the first perhaps with a # before it
NAMES = ("class", "label", "name", "type", "object", "category")


def read_via(source: Path, split: str | None) -> Annotations:
    """Every picture that the files list. ``split``: a folder's or a file's name."""
    files = sides_of_files(source, [*json_files(source, SIGNS, depth=1), *_tables(source)], split, "VIA", whole=True)
    findings: list[Finding] = []
    locator, pictures = Locator(source), []
    for file, side in files.items():
        for where, entry in _entries(file):
            if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str):
                findings.append(Finding("malformed", where, "needs a filename; it is left out"))
                continue
            path = locator.find(entry["filename"], file.parent, where, findings, side)
            if path is not None:
                objects = tuple(_objects(entry.get("regions"), where, findings))
                pictures.append(Annotated(path, objects, None, side, where=where))
    return Annotations(source, f"VIA, {', '.join(file.name for file in files)}", tuple(pictures), findings=tuple(findings))


def _tables(source: Path) -> list[Path]:
    """The CSV files of VIA: the file itself, or those in a folder and in the folders in it."""
    files = [source] if source.is_file() else sorted([*source.glob("*.csv"), *source.glob("*/*.csv")])
    return [file for file in files if file.suffix.lower() == ".csv" and _columns(header_of(file)).keys() >= set(COLUMNS)]


def _columns(header: list[str]) -> dict[str, str]:
    return {name.lstrip("#"): name for name in header}


def _rows(table: Path) -> Iterator[tuple[str, Any]]:
    """A table's pictures as the JSON has them; a cell that is no JSON becomes a region that cannot be read."""
    header, rows = read_rows(table)
    columns = _columns(header)
    entries: dict[str, tuple[str, list[Any]]] = {}
    for number, row in rows:
        name, *cells = (row[columns[column]] for column in COLUMNS)
        _, regions = entries.setdefault(name, (f"{table}:{number}", []))
        try:
            shape, attributes = (json.loads(cell or "{}") for cell in cells)
        except ValueError:
            shape, attributes = None, None
        if shape != {}:  # a picture without regions has an empty one
            regions.append({"shape_attributes": shape, "region_attributes": attributes})
    for name, (where, regions) in entries.items():
        yield where, {"filename": name, "regions": regions}


def _entries(file: Path) -> Iterator[tuple[str, Any]]:
    if file.suffix.lower() == ".csv":
        yield from _rows(file)
        return
    facts = load_json(file)
    listed = facts.get("_via_img_metadata", facts) if isinstance(facts, dict) else {}
    for key, entry in listed.items() if isinstance(listed, dict) else ():
        yield f"{file}: {key}", entry


def _objects(regions: Any, where: str, findings: list[Finding]) -> Iterator[Written]:
    listed = list(regions.values()) if isinstance(regions, dict) else regions if isinstance(regions, list) else []
    for number, region in enumerate(listed):
        place = f"{where}, region {number}"
        try:
            box, shape = _area(region["shape_attributes"])
            label = _label(region.get("region_attributes") or {})
        except (AttributeError, KeyError, TypeError, ValueError):
            findings.append(Finding("malformed", place, "its shape or its attributes cannot be read; it is left out"))
            continue
        if not label:
            findings.append(Finding("no-name", place, "a region without a class; it is left out"))
        elif box is None and shape is None:
            findings.append(Finding("no-area", place, f"a {region['shape_attributes'].get('name')} has no inside; it is left out"))
        else:
            yield Written(label, box, place, shape=shape)


def _label(attributes: dict[str, Any]) -> str:
    """The class that a region's attributes name; ``{"cat": true}`` of check boxes names cat."""
    lower = {key.lower(): value for key, value in attributes.items()}
    value = next((lower[name] for name in NAMES if lower.get(name)), None)
    if value is None and len(lower) == 1:
        value = next(iter(lower.values()))
    if isinstance(value, dict):
        ticked = [str(key) for key, on in value.items() if on]
        return ticked[0] if len(ticked) == 1 else ""
    return str(value).strip() if value is not None else ""


def _area(facts: dict[str, Any]) -> tuple[Xyxy | None, Shape | None]:
    kind = facts["name"]
    if kind == "rect":
        x, y, wide, high = (float(facts[key]) for key in ("x", "y", "width", "height"))
        return (x, y, x + wide, y + high), Shape(((x, y, x + wide, y, x + wide, y + high, x, y + high),))
    if kind in ("circle", "ellipse"):
        wide, high = (float(facts[key]) for key in (("r", "r") if kind == "circle" else ("rx", "ry")))
        return None, Shape((ellipse(float(facts["cx"]), float(facts["cy"]), wide, high),))
    if kind == "polygon":
        pairs = zip(facts["all_points_x"], facts["all_points_y"], strict=True)
        polygon = polygon_of([value for pair in pairs for value in pair])
        return None, Shape((polygon,)) if polygon else None
    return None, None


def _recognised(source: Path, request: Request) -> bool:
    return has_json(source, SIGNS, depth=1) or bool(_tables(source))


def _read_dataset(source: Path, request: Request) -> Dataset:
    return assemble(read_via(source, request.split), request)


def _holds(source: Path) -> tuple[str, ...]:
    return kinds_in(read_via(source, None))


READER = Reader(("objects", "masks"), "VIA's JSON or CSV", _recognised, _read_dataset, _holds)

"""CreateML's JSON: a list of pictures with boxes by their centres, in pixels.

onelook data check set/ --task detect        # set/_annotations.createml.json
"""

from pathlib import Path

from onelook.data.readers.annotations import Annotated, Annotations, Written, assemble
from onelook.data.readers.json_files import has_json, json_files, load_json, sides_of_files
from onelook.data.readers.locate import Locator
from onelook.data.readers.request import Reader, Request
from onelook.data.samples import Dataset, Finding

SIGNS = ('"image"', '"annotations"', '"coordinates"')


def read_createml(source: Path, split: str | None) -> Annotations:
    """Every picture that the files list. ``split``: a folder's or a file's name."""
    files = sides_of_files(source, json_files(source, SIGNS, depth=1), split, "CreateML", whole=True)
    findings: list[Finding] = []
    locator, pictures = Locator(source), []
    for file, side in files.items():
        entries = load_json(file)
        for number, entry in enumerate(entries if isinstance(entries, list) else []):
            where = f"{file}: [{number}]"
            if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
                findings.append(Finding("malformed", where, "needs an image; it is left out"))
                continue
            path = locator.find(entry["image"], file.parent, where, findings, side)
            if path is not None:
                objects = tuple(_objects(entry.get("annotations"), where, findings))
                pictures.append(Annotated(path, objects, None, side, where=where))
    return Annotations(source, f"CreateML, {', '.join(file.name for file in files)}", tuple(pictures), findings=tuple(findings))


def _objects(entries: object, where: str, findings: list[Finding]) -> list[Written]:
    found = []
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        place = f"{where}.annotations[{number}]"
        try:
            x, y, wide, high = (float(entry["coordinates"][key]) for key in ("x", "y", "width", "height"))
            label = str(entry["label"])
        except (KeyError, TypeError, ValueError):
            findings.append(Finding("malformed", place, "needs a label and coordinates x, y, width, height; it is left out"))
            continue
        found.append(Written(label, (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2), place))
    return found


def _recognised(source: Path, request: Request) -> bool:
    return has_json(source, SIGNS, depth=1)


def _read_dataset(source: Path, request: Request) -> Dataset:
    return assemble(read_createml(source, request.split), request)


READER = Reader(("objects",), "CreateML's JSON", _recognised, _read_dataset)

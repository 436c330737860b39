"""COCO JSON: boxes and key points, one file a split.

Lin et al. 2014, "Microsoft COCO". Boxes are left, top, width, height; crowds are ignored; category ids become contiguous from 0 in the
order of the file. A picture with several people's key points is learned from the largest of them.

    onelook data check coco/ --task detect
"""

import json
from pathlib import Path

from onelook.data.readers.annotations import Annotated, Annotations, Point, Written, assemble, locate
from onelook.data.readers.request import Reader, Request
from onelook.data.samples import TRAIN_NAMES, VAL_NAMES, Dataset, Finding, paired_names
from onelook.errors import DataError, UnreadableError
from onelook.facts import Facts
from onelook.geometry.objects import Layout

LARGEST_FILE = 2_000_000_000  # bytes
HEAD = 4_000_000  # characters in which a file must show what it is
Id = int | str  # of a picture or a category
KEYS = {"images", "annotations", "categories"}


def coco_files(source: Path) -> list[Path]:
    """The JSON files that look like COCO's: the file itself, or those in a folder, its ``annotations`` and its subfolders."""
    if source.is_file():
        return [source] if source.suffix.lower() == ".json" and _looks_right(source) else []
    found = [
        *source.glob("*.json"),
        *source.glob("annotations/*.json"),
        *source.glob("*/_annotations*.json"),
        *source.glob("*/*.coco.json"),
    ]
    return [file for file in sorted(set(found)) if _looks_right(file)]


def read_coco(source: Path, split: str | None, points: bool) -> Annotations:
    """Every picture that the chosen files list. ``split``: part of a file's or its folder's name, such as ``val2017``; without it,
    the files named for training and validation, or the only one. ``points``: whether key points are wanted.
    """
    files = chosen_files(source, split, points)
    findings: list[Finding] = []
    pictures: list[Annotated] = []
    names: dict[str, None] = {}
    layout: Layout | None = None
    for file, side in files:
        facts = load_coco(file)
        categories = {entry["id"]: str(entry["name"]) for entry in sorted(facts["categories"], key=lambda entry: entry["id"])}
        names |= dict.fromkeys(categories.values())
        layout = layout or _layout(facts["categories"])
        pictures += _pictures(file, facts, categories, side, layout.names if layout and points else (), findings)
    form = f"COCO, {', '.join(file.name for file, _ in files)}"
    return Annotations(source, form, tuple(pictures), tuple(names), layout, tuple(findings))


def _looks_right(file: Path) -> bool:
    """Whether a JSON file starts as COCO's do; only its first part is read."""
    try:
        with file.open(encoding="utf-8-sig") as opened:
            head = opened.read(HEAD)
    except (OSError, UnicodeDecodeError):
        return False
    keys = sum(f'"{key}"' in head for key in KEYS)
    return head.lstrip().startswith("{") and (keys == len(KEYS) or (len(head) == HEAD and keys > 0))


def chosen_files(source: Path, split: str | None, points: bool) -> list[tuple[Path, str | None]]:
    """The files of a source that are read, each with its side. Raises DataError for a split that is not there."""
    files = coco_files(source)
    if points and len(files) > 1:
        files = [file for file in files if "keypoint" in file.stem] or files
    elif any("instances" in file.stem for file in files):
        files = [file for file in files if "instances" in file.stem]
    if split is not None:
        chosen = [file for file in files if split in (file.name, file.stem, file.parent.name) or file.stem.endswith(f"_{split}")]
        if not chosen:
            raise DataError(f"{source}: no COCO file of split {split!r}; there is {', '.join(file.stem for file in files)}")
        return [(chosen[0], None)]
    sides = {file: _side_of(file) for file in files}
    train = [file for file in files if sides[file] == "train"]
    if len(files) == 1 or not train:
        return [(file, None) for file in files]
    return [(file, sides[file]) for file in files if sides[file] is not None]


def _side_of(file: Path) -> str | None:
    words = f"{file.parent.name}_{file.stem}".lower()
    if any(name in words for name in TRAIN_NAMES):
        return "train"
    return "val" if any(name in words for name in VAL_NAMES if name != "test") else None


def load_coco(file: Path) -> Facts:
    """What a COCO file says, its lists checked. Raises UnreadableError."""
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise UnreadableError(f"{file}: larger than {LARGEST_FILE / 1e9:.0f} GB")
        facts = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise UnreadableError(f"{file}: cannot be read as JSON ({str(error)[:100]})") from error
    if not isinstance(facts, dict) or not facts.keys() >= KEYS or not all(isinstance(facts[key], list) for key in KEYS):
        raise UnreadableError(f"{file}: not COCO; it needs the lists {', '.join(sorted(KEYS))}")
    for category in facts["categories"]:
        if not isinstance(category, dict) or "id" not in category or "name" not in category:
            raise UnreadableError(f"{file}: a category without id and name")
    return facts


def _pictures(
    file: Path, facts: Facts, categories: dict[Id, str], side: str | None, points: tuple[str, ...], findings: list[Finding]
) -> list[Annotated]:
    by_image: dict[Id, list[Written]] = {}
    images = {image["id"]: image for image in facts["images"] if isinstance(image, dict) and "id" in image and "file_name" in image}
    for number, entry in enumerate(facts["annotations"]):
        where = f"{file}: annotations[{number}]"
        try:
            image, category, box = entry["image_id"], entry["category_id"], [float(value) for value in entry["bbox"]]
            left, top, width, height = box
        except (KeyError, TypeError, ValueError):
            findings.append(Finding("malformed", where, "needs image_id, category_id and a bbox of four numbers; it is left out"))
            continue
        if category not in categories:
            findings.append(Finding("unknown-class", where, f"category_id {category} is not among the categories; it is left out"))
            continue
        if image not in images:
            findings.append(Finding("unknown-picture", where, f"image_id {image} is not among the images; it is left out"))
            continue
        flat = entry.get("keypoints") or []
        joints = _points(flat) if points and len(flat) == 3 * len(points) else ()
        if points and not any(point[2] for point in joints):
            continue
        crowd = bool(entry.get("iscrowd"))
        by_image.setdefault(image, []).append(Written(categories[category], (left, top, left + width, top + height), where, crowd, joints))
    roots = [file.parent, file.parent.parent, *sorted(folder for folder in file.parent.parent.iterdir() if folder.is_dir())]
    roots += sorted(folder for root in roots[:2] for folder in root.glob("images/*") if folder.is_dir())
    pictures = []
    for key, image in images.items():
        size = (int(image["width"]), int(image["height"])) if image.get("width") and image.get("height") else None
        pictures.append(Annotated(locate(str(image["file_name"]), roots), tuple(by_image.get(key, ())), size, side))
    return pictures


def _points(flat: list[float]) -> tuple[Point, ...]:
    values = [float(value) for value in flat]
    return tuple((values[index], values[index + 1], values[index + 2]) for index in range(0, len(values), 3))


def _layout(categories: list[Facts]) -> Layout | None:
    for category in categories:
        names = tuple(map(str, category.get("keypoints") or ()))
        if names:
            skeleton = tuple((int(one) - 1, int(other) - 1) for one, other in category.get("skeleton") or ())
            return Layout(names, paired_names(names), skeleton)
    return None


def _recognised(source: Path, request: Request) -> bool:
    return bool(coco_files(source))


def _read_dataset(source: Path, request: Request) -> Dataset:
    points = request.wants("points")
    return assemble(read_coco(source, request.split, points), points, request.classes)


READER = Reader(("objects", "points"), "a COCO JSON", _recognised, _read_dataset)

"""COCO JSON: boxes, key points and outlines, one file a split.

Lin et al. 2014, "Microsoft COCO". Boxes are left, top, width, height; crowds are ignored (of outlines they count as their class);
category ids become contiguous in their order. A picture with several people's key points is learned from the largest of them.

    onelook data check coco/ --task detect
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from onelook.data.readers.annotations import Annotated, Annotations, Point, Written, assemble, kinds_in
from onelook.data.readers.json_files import HEAD, load_json, shows
from onelook.data.readers.locate import Locator
from onelook.data.readers.request import Reader, Request
from onelook.data.readers.shapes import Xyxy, shape_of
from onelook.data.samples import Dataset, Finding, paired_names
from onelook.data.sides import side_in, side_word
from onelook.errors import DataError, UnreadableError
from onelook.facts import Facts
from onelook.geometry.objects import Layout

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
        *(file for folder in source.iterdir() if side_word(folder.name) and folder.is_dir() for file in folder.glob("*.json")),
    ]
    return [file for file in sorted(set(found)) if _looks_right(file)]


def read_coco(source: Path, split: str | None, points: bool, group: str | None = None) -> Annotations:
    """Every picture that the chosen files list. ``split``: part of a file's or its folder's name, such as ``val2017``; without it,
    all files of sides that are used, or the only one. ``points``: whether key points are wanted. ``group``: a field of its images.
    """
    files = chosen_files(source, split, points)
    findings: list[Finding] = []
    pictures: list[Annotated] = []
    names: dict[str, None] = {}
    layout: Layout | None = None
    locator = Locator(source)
    for file, side in files:
        facts = load_coco(file)
        categories = categories_of(file, facts, findings)
        names |= dict.fromkeys(categories.values())
        if points:
            layout = layout or _layout(facts)
            categories = _of_layout(file, facts, categories, layout, findings)
        images = images_of(file, facts, side, locator, findings, group)
        objects = _objects(file, facts, images, categories, layout.names if layout else (), findings)
        pictures += [replace(image, objects=tuple(objects.get(key, ()))) for key, image in images.items()]
    form = f"COCO, {', '.join(file.name for file, _ in files)}"
    return Annotations(source, form, tuple(pictures), tuple(names), layout, tuple(findings))


def _looks_right(file: Path) -> bool:
    """Whether a JSON file starts as COCO's do; only its first part is read."""
    signs = [f'"{key}"' for key in sorted(KEYS)]
    return shows(file, signs) or (file.stat().st_size > HEAD and any(shows(file, [sign]) for sign in signs))


def chosen_files(source: Path, split: str | None, points: bool) -> list[tuple[Path, str | None]]:
    """The files of a source that are read, each with its side (train, val, test). Raises DataError for a split that is not there."""
    files = coco_files(source)
    if points and len(files) > 1:
        files = [file for file in files if "keypoint" in file.stem] or files
    elif any("instances" in file.stem for file in files):
        files = [file for file in files if "instances" in file.stem]
    root = source if source.is_dir() else source.parent
    sides = {file: side_in(file.relative_to(root)) for file in files}
    if split is not None:
        chosen = [file for file in files if split in (file.name, file.stem, file.parent.name) or file.stem.endswith(f"_{split}")]
        chosen = chosen or [file for file in files if sides[file] == split]
        if not chosen:
            raise DataError(f"{source}: no COCO file of split {split!r}; there is {', '.join(file.stem for file in files)}")
        return [(chosen[0], sides[chosen[0]])]
    return list(sides.items())


def load_coco(file: Path) -> Facts:
    """What a COCO file says, its lists checked. Raises UnreadableError."""
    facts = load_json(file)
    if not isinstance(facts, dict) or not facts.keys() >= KEYS or not all(isinstance(facts[key], list) for key in KEYS):
        raise UnreadableError(f"{file}: not COCO; it needs the lists {', '.join(sorted(KEYS))}")
    for category in facts["categories"]:
        if not isinstance(category, dict) or "id" not in category or "name" not in category:
            raise UnreadableError(f"{file}: a category without id and name")
    return facts


def categories_of(file: Path, facts: Facts, findings: list[Finding]) -> dict[Id, str]:
    """Category id -> name, in the order of the ids; a group's name that no object has is no class."""
    entries = {key: entry for entry in facts["categories"] if (key := id_of(entry["id"])) is not None}
    used = {id_of(entry.get("category_id")) for entry in facts["annotations"] if isinstance(entry, dict)}
    groups = {str(entry.get("supercategory")) for entry in entries.values()}
    found: dict[Id, str] = {}
    for key in sorted(entries, key=lambda key: (isinstance(key, str), key if isinstance(key, int) else 0, str(key))):
        name = str(entries[key]["name"])
        if name in groups and key not in used and used & entries.keys():
            findings.append(
                Finding("group-name", f"{file}: categories", f"{name} is what the others are grouped by, and no object's; no class")
            )
        else:
            found[key] = name
    return found


def id_of(value: object) -> Id | None:
    """An id as it is compared: 3, 3.0 and "3" are the same one; None for what can be none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) else None
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def images_of(
    file: Path, facts: Facts, side: str | None, locator: Locator, findings: list[Finding], group: str | None = None
) -> dict[Id, Annotated]:
    """Image id -> the picture, its objects still to come, for those that can be told; the others are findings."""
    found: dict[Id, Annotated] = {}
    for number, entry in enumerate(facts["images"]):
        where = f"{file}: images[{number}]"
        key = id_of(entry.get("id")) if isinstance(entry, dict) else None
        if key is None or not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
            findings.append(Finding("malformed", where, "needs an id and a file_name; it is left out"))
            continue
        if key in found:
            findings.append(Finding("malformed", where, f"has the id {key} of {found[key].where}; it is left out"))
            continue
        path = locator.find(entry["file_name"], file.parent, where, findings, side)
        if path is not None:
            belongs = None if group is None or entry.get(group) in (None, "") else str(entry[group])
            found[key] = Annotated(path, (), _size(entry), side, belongs, where)
    return found


def annotations_of(
    file: Path, facts: Facts, images: dict[Id, Annotated], categories: dict[Id, str], findings: list[Finding]
) -> Iterator[tuple[Id, str, Facts, str]]:
    """Image id, class, entry and place of every annotation whose picture and class are known; the others are findings."""
    listed = {id_of(entry.get("id")) for entry in facts["images"] if isinstance(entry, dict)}
    known = {id_of(entry["id"]) for entry in facts["categories"]}
    for number, entry in enumerate(facts["annotations"]):
        where = f"{file}: annotations[{number}]"
        image, category = (id_of(entry.get(key)) for key in ("image_id", "category_id")) if isinstance(entry, dict) else (None, None)
        if image is None or category is None:
            findings.append(Finding("malformed", where, "needs image_id and category_id; it is left out"))
        elif category in known and category not in categories:
            continue  # which is a finding already
        elif category not in categories:
            findings.append(Finding("unknown-class", where, f"category_id {category} is not among the categories; it is left out"))
        elif image not in listed:
            findings.append(Finding("unknown-picture", where, f"image_id {image} is not among the images; it is left out"))
        elif image in images:  # else its picture was left out, which is a finding already
            yield image, categories[category], entry, where


def _size(entry: Facts) -> tuple[int, int] | None:
    try:
        return int(entry["width"]), int(entry["height"])
    except (KeyError, TypeError, ValueError):
        return None


def _objects(
    file: Path, facts: Facts, images: dict[Id, Annotated], categories: dict[Id, str], points: tuple[str, ...], findings: list[Finding]
) -> dict[Id, list[Written]]:
    by_image: dict[Id, list[Written]] = {}
    for image, name, entry, where in annotations_of(file, facts, images, categories, findings):
        joints: tuple[Point, ...] = ()
        if points:
            found = _points(entry.get("keypoints"), len(points))
            if found is None:
                findings.append(Finding("malformed", where, f"its keypoints are not {len(points)} times x, y, v; it is left out"))
                continue
            joints = found
            if not any(point[2] for point in joints):
                continue
        shape = shape_of(entry.get("segmentation"))
        box = _box(entry) or (_around(joints) if joints and shape is None else None)
        if box is None and shape is None:
            findings.append(Finding("malformed", where, "has neither a bbox of four numbers nor an outline; it is left out"))
            continue
        by_image.setdefault(image, []).append(Written(name, box, where, bool(entry.get("iscrowd")), joints, shape))
    return by_image


def _box(entry: Facts) -> Xyxy | None:
    """The box as xyxy, if there are four numbers."""
    try:
        left, top, width, height = (float(value) for value in entry["bbox"])
    except (KeyError, TypeError, ValueError):
        return None
    return left, top, left + width, top + height


def _points(written: object, count: int) -> tuple[Point, ...] | None:
    """Key points of a flat list or of a list of triples; null is a point without a label. None for what is no such list."""
    if written is None or written == []:
        return tuple([(0.0, 0.0, 0.0)] * count)
    if not isinstance(written, list):
        return None
    triples = written if all(isinstance(point, list) for point in written) else [written[at : at + 3] for at in range(0, len(written), 3)]
    if len(triples) != count or not all(len(point) in (2, 3) for point in triples):
        return None
    try:
        return tuple(_point(point) for point in triples)
    except (TypeError, ValueError):
        return None


def _point(triple: list[object]) -> Point:
    x, y, seen = (*triple, 2)[:3]
    if x is None or y is None:
        return (0.0, 0.0, 0.0)
    values = tuple(float(value or 0) for value in (x, y, seen))  # type: ignore[arg-type]
    return values if all(map(math.isfinite, values)) else (0.0, 0.0, 0.0)  # type: ignore[return-value]


def _around(points: tuple[Point, ...]) -> Xyxy:
    known = [point for point in points if point[2] > 0]
    xs, ys = [point[0] for point in known], [point[1] for point in known]
    return min(xs), min(ys), max(xs) + 1e-3, max(ys) + 1e-3


def _layout(facts: Facts) -> Layout | None:
    """The key points of the category that most annotations are of."""
    counts = Counter(id_of(entry.get("category_id")) for entry in facts["annotations"] if isinstance(entry, dict))
    named = [category for category in facts["categories"] if category.get("keypoints")]
    if not named:
        return None
    category = max(named, key=lambda category: counts[id_of(category["id"])])
    names = tuple(map(str, category["keypoints"]))
    skeleton = tuple((int(one) - 1, int(other) - 1) for one, other in category.get("skeleton") or ())
    return Layout(names, paired_names(names), skeleton)


def _of_layout(file: Path, facts: Facts, categories: dict[Id, str], layout: Layout | None, findings: list[Finding]) -> dict[Id, str]:
    """The categories that have these key points; those with others are findings, each with the number of its annotations."""
    counts = Counter(id_of(entry.get("category_id")) for entry in facts["annotations"] if isinstance(entry, dict))
    kept = {}
    for category in facts["categories"]:
        key, names = id_of(category["id"]), tuple(map(str, category.get("keypoints") or ()))
        if key not in categories or key is None:
            continue
        if layout is None or not names or names == layout.names:
            kept[key] = categories[key]
        else:
            reason = (
                f"{categories[key]} has other key points ({len(names)}): one head learns one kind; {counts[key]} annotations are left out"
            )
            findings.append(Finding("other-points", f"{file}: categories", reason))
    return kept


def _recognised(source: Path, request: Request) -> bool:
    return bool(coco_files(source))


def _read_dataset(source: Path, request: Request) -> Dataset:
    return assemble(read_coco(source, request.split, request.wants("points"), request.group), request)


def _holds(source: Path) -> tuple[str, ...]:
    found = kinds_in(read_coco(source, None, False))
    pointed = any(category.get("keypoints") for file, _ in chosen_files(source, None, True) for category in load_coco(file)["categories"])
    return ("points", *found) if pointed else found


READER = Reader(("objects", "points", "masks"), "a COCO JSON", _recognised, _read_dataset, _holds)

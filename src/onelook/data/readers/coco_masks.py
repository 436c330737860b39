"""COCO polygons and run lengths as masks: what every pixel shows, the smaller object in front of the larger.

Lin et al. 2014, "Microsoft COCO"; shapes are decoded by the COCO tools' own code. Class 0 is the background, the others are the
categories in the order of their ids; crowds count as their class.

    onelook data check coco/ --task segment
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onelook.data.pictures import picture_size
from onelook.data.readers.annotations import locate
from onelook.data.readers.coco import Id, chosen_files, coco_files, load_coco
from onelook.data.readers.masks import BINARY
from onelook.data.readers.request import Reader, Request
from onelook.data.samples import Dataset, Finding, Sample
from onelook.errors import DataError, PictureError
from onelook.facts import Facts
from onelook.geometry.masks import IGNORE, MOST_CLASSES, Mask

Shape = list[list[float]] | Facts  # polygons, or run lengths


def read_coco_masks(source: Path, split: str | None, ignore: Sequence[str], classes: Sequence[str]) -> Dataset:
    """Every picture that the chosen files list, with a mask of its shapes. Raises DataError where there are none."""
    findings: list[Finding] = []
    samples: list[tuple[Path, str | None, tuple[int, int], list[tuple[str, Shape]]]] = []
    names: dict[str, None] = {BINARY[0]: None}
    files = chosen_files(source, split, points=False)
    for file, side in files:
        facts = load_coco(file)
        categories = {entry["id"]: str(entry["name"]) for entry in sorted(facts["categories"], key=lambda entry: entry["id"])}
        names |= dict.fromkeys(categories.values())
        shapes = _shapes(file, facts, categories, findings)
        for image in facts["images"]:
            if not isinstance(image, dict) or "id" not in image or "file_name" not in image:
                continue
            path = locate(str(image["file_name"]), [file.parent, file.parent.parent, source if source.is_dir() else source.parent])
            try:
                size = picture_size(path)
            except PictureError as error:
                findings.append(Finding("unreadable", str(path), str(error).removeprefix(f"{path}: ")))
                continue
            samples.append((path, side, size, shapes.get(image["id"], [])))
    if not any(shapes for *_, shapes in samples):
        reason = f" ({findings[0].file}: {findings[0].reason})" if findings else ""
        raise DataError(f"{source}: no polygons or run lengths in {', '.join(file.name for file, _ in files)}{reason}")
    for word in ignore:
        if word not in names and not classes:
            raise DataError(f"--ignore {word}: no class of this name; there is {', '.join(names)}")
    known = tuple(classes) or tuple(name for name in names if name not in ignore)
    if len(known) > MOST_CLASSES:
        raise DataError(f"{source}: {len(known)} classes; at most {MOST_CLASSES} can be told apart")
    unknown = sorted({name for *_, shapes in samples for name, _ in shapes} - set(known) - set(ignore))
    if unknown:
        raise DataError(f"{source}: {', '.join(unknown[:5])} is no class of this head; it knows {', '.join(known)}")
    ids = {name: known.index(name) if name in known else IGNORE for name in names}
    masks = []
    for path, side, size, drawn in samples:
        load = partial(_draw, size, [(ids[name], shape) for name, shape in drawn])
        try:
            counts = np.bincount(load().numpy().ravel(), minlength=256)[: len(known)]
        except Exception as error:  # the decoder of run lengths raises whatever it likes
            findings.append(Finding("malformed", str(path), f"its shapes cannot be drawn ({error}); it is left out"))
            continue
        masks.append(Sample(path, Mask(size, tuple(map(int, counts)), load), side=side))
    return Dataset(
        tuple(masks), known, "masks", source, f"{source}: COCO shapes, {', '.join(f.name for f, _ in files)}", findings=tuple(findings)
    )


def _shapes(file: Path, facts: Facts, categories: Mapping[Id, str], findings: list[Finding]) -> dict[Id, list[tuple[str, Shape]]]:
    """Image id -> (class, shape) of its annotations."""
    found: dict[Id, list[tuple[str, Shape]]] = {}
    for number, entry in enumerate(facts["annotations"]):
        where = f"{file}: annotations[{number}]"
        if not isinstance(entry, dict) or "image_id" not in entry or not entry.get("segmentation"):
            findings.append(Finding("malformed", where, "has no segmentation; it is left out"))
        elif entry.get("category_id") not in categories:
            findings.append(Finding("unknown-class", where, f"category_id {entry.get('category_id')} is no category; left out"))
        elif not _is_shape(entry["segmentation"]):
            findings.append(Finding("malformed", where, "its segmentation is no polygons nor run lengths; left out"))
        else:
            found.setdefault(entry["image_id"], []).append((categories[entry["category_id"]], entry["segmentation"]))
    return found


def _is_shape(shape: object) -> bool:
    if isinstance(shape, dict):
        return isinstance(shape.get("counts"), str | list) and isinstance(shape.get("size"), list) and len(shape["size"]) == 2
    return isinstance(shape, list) and all(
        isinstance(polygon, list)
        and len(polygon) >= 6
        and len(polygon) % 2 == 0
        and all(isinstance(value, int | float) for value in polygon)
        for polygon in shape
    )


def _draw(size: tuple[int, int], shapes: Sequence[tuple[int, Shape]]) -> Tensor:
    """Class ids (H, W) uint8: larger shapes first, so that what lies in front stays whole."""
    drawn = [(label, _decode(shape, size)) for label, shape in shapes]
    mask = np.zeros((size[1], size[0]), dtype=np.uint8)
    for label, inside in sorted(drawn, key=lambda entry: -int(entry[1].sum())):
        mask[inside] = label
    return torch.from_numpy(mask)


def _decode(shape: Shape, size: tuple[int, int]) -> np.ndarray:
    """A shape (H, W) of booleans; run lengths of another size are drawn at theirs and cut to the picture."""
    from faster_coco_eval.core import mask as coco

    width, height = size
    if isinstance(shape, dict):
        runs = coco.frPyObjects(shape, *shape["size"]) if isinstance(shape["counts"], list) else shape
    else:
        runs = coco.merge(coco.frPyObjects([[float(value) for value in polygon] for polygon in shape], height, width))
    inside = np.zeros((height, width), dtype=bool)
    found = np.asarray(coco.decode(runs), dtype=bool)[:height, :width]
    inside[: found.shape[0], : found.shape[1]] = found
    return inside


def _recognised(source: Path, request: Request) -> bool:
    return bool(coco_files(source))


def _read_dataset(source: Path, request: Request) -> Dataset:
    return read_coco_masks(source, request.split, request.ignore, request.classes)


READER = Reader(("masks",), "a COCO JSON with polygons or run lengths", _recognised, _read_dataset)

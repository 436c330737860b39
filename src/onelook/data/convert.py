"""Boxes and key points from one format into another, pictures included (hard links where the disk allows them).

onelook data convert VOCdevkit/VOC2007 --to yolo --out yolo/ --task detect
"""

import csv
from collections.abc import Callable
from pathlib import Path

from onelook.data.coco import write_coco
from onelook.data.read import read
from onelook.data.samples import Dataset, objects_of, place_picture
from onelook.data.voc import write_voc
from onelook.data.yolo import write_yolo
from onelook.errors import DataError, DiskError


def convert(source: Path, out: Path, form: str, *, task: str = "detect", split: str | None = None) -> Dataset:
    """Write what ``source`` holds as ``form`` (coco, voc, yolo, csv) into the empty folder ``out``; what was read.

    Raises DataError for what cannot be written so, DiskError.
    """
    if form not in WRITERS:
        raise DataError(f"--to {form}: unknown; use one of {', '.join(WRITERS)}")
    data = read(source, task=task, split=split)
    if form == "voc" and data.kind == "points":
        raise DataError("--to voc: VOC files have no key points; use coco, yolo or csv")
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out}: is not empty; name a new folder")
    lacking = [sample.path for sample in data.samples if not sample.path.is_file()]
    if lacking:
        raise DataError(f"{lacking[0]}: no such picture ({len(lacking)} are missing); run: onelook data check {source} --task {task}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        WRITERS[form](data, out)
    except OSError as error:
        raise DiskError(f"{out}: cannot be written ({error.strerror})") from error
    return data


def write_csv(data: Dataset, folder: Path) -> None:
    """Write ``images`` and ``labels.csv``, a line an object, or a picture with its points; ignored objects are left out."""
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        points = [f"{name}_{axis}" for name in data.layout.names for axis in "xyv"] if data.layout else []
        writer.writerow(["path", *(points or ["class", "xmin", "ymin", "xmax", "ymax"]), "split"])
        for sample in data.samples:
            name = f"images/{place_picture(sample.path, folder / 'images').name}"
            objects = objects_of(sample).pick(~objects_of(sample).ignored)
            side = [sample.side or ""]
            if points:
                flat = objects.points[0].flatten().tolist() if len(objects) else [""] * len(points)
                writer.writerow([name, *flat, *side])
                continue
            for label, box in zip(objects.labels.tolist(), objects.boxes.tolist(), strict=True):
                writer.writerow([name, data.classes[label], *(f"{value:.7g}" for value in box), *side])
            if not len(objects):
                writer.writerow([name, *[""] * 5, *side])


WRITERS: dict[str, Callable[[Dataset, Path], None]] = {"coco": write_coco, "voc": write_voc, "yolo": write_yolo, "csv": write_csv}

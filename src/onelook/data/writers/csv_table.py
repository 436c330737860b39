"""A CSV: a line an object, or a picture with its points.

onelook data convert dataset/ --to csv --out csv/
"""

import csv
from pathlib import Path

from onelook.data.samples import Dataset, objects_of, place_picture


def write_csv(data: Dataset, folder: Path) -> None:
    """Write ``images`` and ``labels.csv``, a line an object, or a picture with its points; ignored objects are left out."""
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
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

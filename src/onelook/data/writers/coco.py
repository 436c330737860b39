"""COCO JSON: one file a split, boxes and key points.

onelook data convert dataset/ --to coco --out coco/
"""

import json
from collections.abc import Iterator
from pathlib import Path

from onelook.data.pictures import picture_size
from onelook.data.samples import Dataset, place_picture
from onelook.facts import Facts
from onelook.geometry.objects import Objects


def write_coco(data: Dataset, folder: Path) -> None:
    """Write ``images`` and one ``annotations/instances_SIDE.json`` a side."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for side in dict.fromkeys(sample.side for sample in data.samples):
        images: list[Facts] = []
        annotations: list[Facts] = []
        for number, sample in enumerate((sample for sample in data.samples if sample.side == side), start=1):
            assert isinstance(sample.target, Objects)
            placed = place_picture(sample.path, folder / "images")
            width, height = picture_size(placed)
            images.append({"id": number, "file_name": placed.name, "width": width, "height": height})
            annotations += list(_annotations(sample.target, number, len(annotations) + 1))
        facts = {"images": images, "annotations": annotations, "categories": _categories(data)}
        (folder / "annotations" / f"instances_{side or 'all'}.json").write_text(json.dumps(facts), encoding="utf-8")


def _annotations(objects: Objects, image: int, first: int) -> Iterator[Facts]:
    columns = zip(objects.boxes.tolist(), objects.labels.tolist(), objects.ignored.tolist(), objects.points.tolist(), strict=True)
    for number, (box, label, ignored, points) in enumerate(columns, start=first):
        wide, high = box[2] - box[0], box[3] - box[1]
        entry = {"id": number, "image_id": image, "category_id": label + 1, "bbox": [box[0], box[1], wide, high], "area": wide * high}
        if points:
            entry |= {"keypoints": [value for point in points for value in point], "num_keypoints": sum(point[2] > 0 for point in points)}
        yield entry | {"iscrowd": int(ignored)}


def _categories(data: Dataset) -> list[Facts]:
    if data.layout is None:
        return [{"id": index, "name": name} for index, name in enumerate(data.classes, start=1)]
    skeleton = [[one + 1, other + 1] for one, other in data.layout.skeleton]
    return [{"id": 1, "name": "object", "keypoints": list(data.layout.names), "skeleton": skeleton}]

"""YOLO: a text file a picture and ``data.yaml``.

onelook data convert dataset/ --to yolo --out yolo/
"""

from pathlib import Path

import yaml

from onelook.data.pictures import picture_size
from onelook.data.samples import Dataset, place_picture
from onelook.facts import Facts
from onelook.geometry.boxes import xyxy_to_cxcywh
from onelook.geometry.objects import Objects


def write_yolo(data: Dataset, folder: Path) -> None:
    """Write ``images/SIDE``, ``labels/SIDE`` and ``data.yaml``; ignored objects are left out, as the form cannot mark them."""
    sides = list(dict.fromkeys(sample.side or "train" for sample in data.samples))
    for sample in data.samples:
        assert isinstance(sample.target, Objects)
        side = sample.side or "train"
        placed = place_picture(sample.path, folder / "images" / side)
        width, height = picture_size(placed)
        lines = []
        objects = sample.target.pick(~sample.target.ignored)
        shares = xyxy_to_cxcywh(objects.boxes) / objects.boxes.new_tensor([width, height, width, height])
        for label, share, points in zip(objects.labels.tolist(), shares.tolist(), objects.points.tolist(), strict=True):
            joints = [value for x, y, seen in points for value in (x / width, y / height, seen)]
            lines.append(" ".join([str(label), *(f"{value:.6f}" for value in [*share, *joints])]))
        labels = folder / "labels" / side / f"{placed.stem}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("".join(line + "\n" for line in lines))
    facts: Facts = {"path": ".", **{side: f"images/{side}" for side in sides}}
    facts["names"] = dict(enumerate(data.classes if data.layout is None else ("object",)))
    if data.layout is not None:
        facts["kpt_shape"] = [len(data.layout.names), 3]
        order = list(range(len(data.layout.names)))
        for left, right in data.layout.pairs:
            order[left], order[right] = right, left
        facts["flip_idx"] = order
        facts["kpt_names"] = {0: list(data.layout.names)}
    (folder / "data.yaml").write_text(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True), encoding="utf-8")

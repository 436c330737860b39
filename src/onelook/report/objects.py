"""Pictures for a report on boxes and key points: what is there in green, what was said in red, where they differ most."""

from typing import Any

import torch
from PIL import Image, ImageDraw

from onelook.boxes import box_iou
from onelook.data.pictures import open_picture
from onelook.heads import ObjectHead
from onelook.measure_boxes import CONF, Found
from onelook.measure_points import main_person
from onelook.model import Evaluated
from onelook.objects import Objects
from onelook.report.page import Picture, shown

GREEN, RED = (40, 160, 70), (215, 45, 45)
COUNT, SIZE = 12, 360


def worst_objects(head: ObjectHead, found: Evaluated, count: int = COUNT) -> tuple[Picture, ...]:
    """The pictures on which most was missed and invented (or whose points lie furthest off), worst first."""
    entries = []
    for index, (said, truth) in enumerate(zip(found.raw, found.targets, strict=True)):
        wrong, caption = _points_apart(said, truth) if head.task == "keypoints" else _boxes_apart(said, truth)
        if wrong > 0:
            entries.append((wrong, index, caption))
    entries.sort(key=lambda entry: -entry[0])
    pictures = []
    for _, index, caption in entries[:count]:
        drawn = _drawn(found.paths[index], found.raw[index], found.targets[index])
        pictures.append(shown(drawn, found.paths[index].name, caption, SIZE))
    return tuple(pictures)


def _boxes_apart(said: Found, truth: Objects) -> tuple[float, str]:
    """How many objects were missed and answers invented, at CONF and IoU 0.5, and in words."""
    sure = said.scores >= CONF
    boxes, labels, objects = said.boxes[sure], said.labels[sure], truth.pick(~truth.ignored)
    same = (box_iou(boxes, objects.boxes) >= 0.5) & (labels[:, None] == objects.labels[None])
    missed, invented = int((~same.any(0)).sum()), int((~same.any(1)).sum())
    return missed + invented, f"{missed} missed, {invented} invented, of {len(objects)}"


def _points_apart(said: torch.Tensor, truth: Objects) -> tuple[float, str]:
    person = main_person(truth)
    if person is None:
        return 0.0, ""
    known = person[:, 2] > 0
    error = (said[known, :2] - person[known, :2]).norm(dim=1)
    extent = float((person[known, :2].amax(0) - person[known, :2].amin(0)).max())
    return float(error.mean()) / max(extent, 1.0), f"{float(error.mean()):.0f} pixels off on average"


def _drawn(path: Any, said: Any, truth: Objects) -> Image.Image:
    picture = open_picture(path)
    pen, width = ImageDraw.Draw(picture), max(1, max(picture.size) // 80)
    if isinstance(said, Found):
        for colour, boxes in ((GREEN, truth.boxes), (RED, said.boxes[said.scores >= CONF])):
            for box in boxes.tolist():
                pen.rectangle(box, outline=colour, width=width)
        return picture
    person = main_person(truth)
    if person is not None:
        for (x, y, seen), (u, v, _) in zip(person.tolist(), said.tolist(), strict=True):
            if seen:
                pen.line([(x, y), (u, v)], fill=RED, width=width)
                for colour, a, b in ((GREEN, x, y), (RED, u, v)):
                    pen.ellipse([a - 2 * width, b - 2 * width, a + 2 * width, b + 2 * width], fill=colour)
    return picture

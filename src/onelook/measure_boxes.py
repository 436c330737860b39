"""How well boxes are found: average precision as COCO and as Pascal VOC count it, and the figures of a single box a picture.

COCO's rules (Lin et al. 2014) are faster-coco-eval's; VOC's 11 points (Everingham et al. 2010, section 4.2) and the area under the whole
curve are written here. Crowds and difficult objects are neither right nor wrong.

    onelook val dataset/ --model mine.onelook --head cells
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onelook.boxes import box_iou, xyxy_to_xywh
from onelook.measure import wilson_interval
from onelook.objects import Objects

CONF = 0.2  # lowest score of a box that counts as an answer, where no other is given
SIZES = ("small", "medium", "large")  # areas under 32^2, under 96^2, and above


@dataclass(frozen=True, eq=False)
class Found:
    """Boxes that a head found in one picture, best first: (N, 4) xyxy in its pixels, scores 0..1 (N,), class ids (N,)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class BoxJudge:
    """AP (mean over IoU 0.50 to 0.95), AP50, AP75 and AR as COCO, AP50 as VOC 2007, all per class, and by size of object."""

    headline = "ap50"

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.found: list[Found] = []
        self.truths: list[Objects] = []

    def add(self, found: Sequence[Found], truths: Sequence[Objects]) -> None:
        """What was found in some pictures, and what is in them, both in their own pixels."""
        self.found += found
        self.truths += truths

    def result(self) -> dict[str, Any]:
        boxes = sum(int((~truth.ignored).sum()) for truth in self.truths)
        facts: dict[str, Any] = {"n": len(self.truths), "boxes": boxes}
        precision, recall = _coco(self.found, self.truths, len(self.classes))
        present = [index for index in range(len(self.classes)) if (precision[:, :, index, 0, -1] > -1).any()]
        per_class = {self.classes[k]: {"ap": _mean(precision[:, :, k, 0, -1]), "ap50": _mean(precision[0, :, k, 0, -1])} for k in present}
        scores = average_precisions(self.found, self.truths, len(self.classes), iou=0.5, points=11)
        by_size = {name: _mean(precision[:, :, :, 1 + index, -1]) for index, name in enumerate(SIZES)}
        return facts | {
            "ap50": _mean(precision[0, :, :, 0, -1]),
            "ap50_interval": list(self._interval()),
            "ap": _mean(precision[:, :, :, 0, -1]),
            "ap75": _mean(precision[5, :, :, 0, -1]),
            "ar": _mean(recall[:, :, 0, -1]),
            "ap50_voc07": float(np.mean([scores[k] for k in present])) if present else 0.0,
            "per_class": per_class,
            "ap_by_size": {name: value for name, value in by_size.items() if value is not None},
        }

    def each(self) -> Tensor:
        """How right each picture is (n,), 0..1: F1 of boxes that score CONF or more, at IoU 0.5; 1 if nothing is there nor was said."""
        return torch.tensor([_f1(found, truth) for found, truth in zip(self.found, self.truths, strict=True)], dtype=torch.float64)

    def curves(self) -> dict[str, tuple[list[float], list[float]]]:
        """Class -> recall and precision at IoU 0.5, over falling scores."""
        lines = {}
        for index, name in enumerate(self.classes):
            _, right, positives = match(self.found, self.truths, index, 0.5)
            if positives:
                hits = np.cumsum(right)
                lines[name] = ((hits / positives).tolist(), (hits / np.arange(1, len(hits) + 1)).tolist())
        return lines

    def _interval(self, draws: int = 200) -> tuple[float, float]:
        """95 % of the AP50 of sets of pictures drawn with replacement from these (seeded)."""
        parts = [
            [_matched(one, truth, k, 0.5) for one, truth in zip(self.found, self.truths, strict=True)] for k in range(len(self.classes))
        ]
        draw = np.random.default_rng(0)
        means: list[float] = []
        for _ in range(draws):
            chosen = draw.integers(len(self.truths), size=len(self.truths))
            values = []
            for classed in parts:
                positives = sum(classed[index][2] for index in chosen)
                if positives:
                    scores = np.concatenate([classed[index][0] for index in chosen])
                    right = np.concatenate([classed[index][1] for index in chosen])
                    values.append(area_under(right[np.argsort(-scores, kind="stable")], positives))
            means.append(float(np.mean(values)) if values else 0.0)
        return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


class PlaceJudge:
    """One box a picture: share with the right class, mean IoU, share with the right class and IoU above 0.5 (``correct_loc``).

    A picture without an object counts as right, with IoU 1, if none was said; truth is the largest object. IoU is 0 where only one of both
    has a box.
    """

    headline = "mean_iou"

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.rows: list[tuple[bool, float]] = []

    def add(self, found: Sequence[Found], truths: Sequence[Objects]) -> None:
        """The single box (or none) said of each picture, and its objects, in its own pixels."""
        for one, truth in zip(found, truths, strict=True):
            target = largest(truth)
            if not len(one.boxes) or not len(target):
                self.rows.append((len(one.boxes) == len(target), float(len(one.boxes) == len(target))))
            else:
                right = int(one.labels[0]) == int(target.labels[0])
                self.rows.append((right, float(box_iou(one.boxes[:1].float(), target.boxes)[0, 0])))

    def each(self) -> Tensor:
        """The IoU of each picture (n,)."""
        return torch.tensor([iou for _, iou in self.rows], dtype=torch.float64)

    def result(self) -> dict[str, Any]:
        right = [hit for hit, _ in self.rows]
        overlap = np.array([iou for _, iou in self.rows])
        located = int(sum(hit and iou > 0.5 for hit, iou in self.rows))
        half = 1.96 * float(overlap.std()) / max(len(overlap), 1) ** 0.5
        return {
            "n": len(self.rows),
            "mean_iou": float(overlap.mean()),
            "mean_iou_interval": [float(overlap.mean()) - half, float(overlap.mean()) + half],
            "correct_loc": located / len(self.rows),
            "correct_loc_interval": list(wilson_interval(located, len(self.rows))),
            "accuracy": sum(right) / len(right),
        }


def _f1(found: Found, truth: Objects) -> float:
    sure = Found(*(part[found.scores >= CONF] for part in (found.boxes, found.scores, found.labels)))
    right, said, there = 0.0, 0, 0
    for label in set(sure.labels.tolist()) | set(truth.labels.tolist()):
        _, hits, positives = _matched(sure, truth, label, 0.5)
        right, said, there = right + float(hits.sum()), said + len(hits), there + positives
    return 2 * right / (said + there) if said + there else 1.0


def largest(objects: Objects) -> Objects:
    """The largest object that can be learned from, alone; none if there is none."""
    usable = objects.learnable
    if len(usable) < 2:
        return usable
    sides = usable.boxes[:, 2:] - usable.boxes[:, :2]
    return usable.pick(sides.prod(1).argmax()[None])


# --- Pascal VOC


def match(found: Sequence[Found], truths: Sequence[Objects], label: int, iou: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores and rightness of all boxes of a class over many pictures, best first, and how many objects of it there are.

    VOC's rule: a box belongs to the object that it overlaps most; it is right if that is at least ``iou`` and no better box has it.
    """
    parts = [_matched(one, truth, label, iou) for one, truth in zip(found, truths, strict=True)]
    scores, right = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    order = np.argsort(-scores, kind="stable")
    return scores[order], right[order], sum(part[2] for part in parts)


def area_under(right: np.ndarray, positives: int, points: int | None = None) -> float:
    """Average precision of answers in falling order, ``right`` or not, for ``positives`` objects.

    ``points``: 11 for the mean of the best precision from each of 11 recalls on; None for the whole area under that best precision.
    """
    hits = np.cumsum(right)
    recall, precision = hits / positives, hits / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1] if len(precision) else precision
    if points is not None:
        places = np.searchsorted(recall, np.linspace(0, 1, points) - 1e-12)
        return float(np.mean([best[place] if place < len(best) else 0.0 for place in places]))
    steps = np.diff(np.concatenate([[0.0], recall]))
    return float((steps * best).sum())


def average_precisions(
    found: Sequence[Found], truths: Sequence[Objects], classes: int, *, iou: float, points: int | None = None
) -> list[float]:
    """Average precision of every class by VOC's rules; 0 for a class without objects."""
    values = []
    for label in range(classes):
        _, right, positives = match(found, truths, label, iou)
        values.append(area_under(right, positives, points) if positives else 0.0)
    return values


def _matched(found: Found, truth: Objects, label: int, iou: float) -> tuple[np.ndarray, np.ndarray, int]:
    """``match`` for one picture."""
    mine, objects = found.labels == label, truth.pick(truth.labels == label)
    boxes, scores = found.boxes[mine].float(), found.scores[mine]
    order = scores.argsort(descending=True, stable=True)
    boxes, scores = boxes[order], scores[order]
    positives = int((~objects.ignored).sum())
    if not len(boxes) or not len(objects):
        return scores.numpy(), np.zeros(len(boxes)), positives
    overlap, place = box_iou(boxes, objects.boxes).max(1)
    taken: set[int] = set()
    right, counted = [], []
    for value, index in zip(overlap.tolist(), place.tolist(), strict=True):
        near = value >= iou
        counted.append(not (near and bool(objects.ignored[index])))
        right.append(float(near and index not in taken and not bool(objects.ignored[index])))
        if near:
            taken.add(index)
    keep = np.array(counted)
    return scores.numpy()[keep], np.array(right)[keep], positives


# --- COCO


def _coco(found: Sequence[Found], truths: Sequence[Objects], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision (IoU, recall, class, size, most) and recall (IoU, class, size, most) as COCO's evaluation has them."""
    from faster_coco_eval import COCO, COCOeval_faster

    whole = COCO(to_coco(truths, classes))
    results = coco_results(found)
    if not results:  # an answer that is certainly wrong: the evaluation wants one at least
        results = [{"image_id": 1, "category_id": 1, "bbox": [-9.0, -9.0, 1.0, 1.0], "score": 0.0}]
    judged = COCOeval_faster(whole, whole.loadRes(results), "bbox", print_function=lambda *_: None)
    judged.evaluate()
    judged.accumulate()
    return judged.eval["precision"], judged.eval["recall"]


def to_coco(truths: Sequence[Objects], classes: int) -> dict[str, Any]:
    """Objects as COCO's JSON has them; pictures and classes are numbered from 1."""
    annotations: list[dict[str, Any]] = []
    for image, truth in enumerate(truths, start=1):
        columns = zip(xyxy_to_xywh(truth.boxes).tolist(), truth.labels.tolist(), truth.ignored.tolist(), strict=True)
        for box, label, ignored in columns:
            facts = {"id": len(annotations) + 1, "image_id": image, "category_id": label + 1, "bbox": box, "area": box[2] * box[3]}
            annotations.append(facts | {"iscrowd": int(ignored)})
    images = [{"id": image} for image in range(1, len(truths) + 1)]
    return {"info": {}, "images": images, "annotations": annotations, "categories": [{"id": k + 1, "name": str(k)} for k in range(classes)]}


def coco_results(found: Sequence[Found]) -> list[dict[str, Any]]:
    """Found boxes as COCO's results have them."""
    return [
        {"image_id": image, "category_id": label + 1, "bbox": box, "score": score}
        for image, one in enumerate(found, start=1)
        for box, score, label in zip(xyxy_to_xywh(one.boxes).tolist(), one.scores.tolist(), one.labels.tolist(), strict=True)
    ]


def _mean(values: np.ndarray) -> Any:
    """The mean of what was measured; None where nothing was."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None


def empty() -> Found:
    """Nothing found."""
    return Found(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))

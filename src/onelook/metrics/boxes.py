"""How well boxes are found: average precision as COCO and as Pascal VOC count it, and the figures of a single box a picture.

COCO's figures (Lin et al. 2014) are faster-coco-eval's; its matching at one IoU is written here too, because an interval needs it picture
by picture. VOC's 11 points (Everingham et al. 2010, section 4.2) and the area under the whole curve are written here. Crowds and
difficult objects are neither right nor wrong.

    onelook val dataset/ --model mine.onelook --head cells
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from onelook.facts import Facts
from onelook.geometry.boxes import ScoredBoxes, box_iou, xyxy_to_xywh
from onelook.geometry.objects import Objects, largest
from onelook.metrics.intervals import bootstrap_interval, normal_interval, wilson_interval
from onelook.metrics.judge import Curves, Judge, Table, percent

CONF = 0.2  # lowest score of a box that counts as an answer, where no other is given
SIZES = ("small", "medium", "large")  # areas under 32^2, under 96^2, and above
MOST_BOXES = 100  # of a class in a picture that COCO's figures look at
RECALLS = np.linspace(0, 1, 101)  # at which COCO reads precision


class BoxJudge(Judge[ScoredBoxes, Objects]):
    """AP (mean over IoU 0.50 to 0.95), AP50, AP75 and AR as COCO, AP50 as VOC 2007, all per class, and by size of object.

    Figures are None where no object is there to be found.
    """

    headline = "ap50"
    figures = {  # noqa: RUF012
        "ap50": "average precision at IoU 0.5 (AP50)",
        "ap": "average precision, mean over IoU 0.5 to 0.95 (AP)",
        "ap75": "average precision at IoU 0.75",
        "ar": "average recall",
        "ap50_voc07": "average precision at IoU 0.5, VOC 2007",
    }

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.found: list[ScoredBoxes] = []
        self.truths: list[Objects] = []

    def add(self, predictions: Sequence[ScoredBoxes], targets: Sequence[Objects]) -> None:
        """What was found in some pictures, and what is in them, both in their own pixels."""
        self.found += predictions
        self.truths += targets

    def result(self) -> Facts:
        boxes = sum(int((~truth.ignored).sum()) for truth in self.truths)
        precision, recall = _coco(self.found, self.truths, len(self.classes))
        present = [index for index in range(len(self.classes)) if (precision[:, :, index, 0, -1] > -1).any()]
        per_class = {self.classes[k]: {"ap": _mean(precision[:, :, k, 0, -1]), "ap50": _mean(precision[0, :, k, 0, -1])} for k in present}
        scores = average_precisions(self.found, self.truths, len(self.classes), iou=0.5, points=11)
        by_size = {name: _mean(precision[:, :, :, 1 + index, -1]) for index, name in enumerate(SIZES)}
        return {
            "n": len(self.truths),
            "boxes": boxes,
            "ap50": _mean(precision[0, :, :, 0, -1]),
            "ap50_interval": list(self._interval()),
            "ap": _mean(precision[:, :, :, 0, -1]),
            "ap75": _mean(precision[5, :, :, 0, -1]),
            "ar": _mean(recall[:, :, 0, -1]),
            "ap50_voc07": float(np.mean([scores[k] for k in present])) if present else None,
            "per_class": per_class,
            "ap_by_size": {name: value for name, value in by_size.items() if value is not None},
        }

    def each(self) -> Tensor:
        """How right each picture is (n,), 0..1: F1 of boxes that score CONF or more, at IoU 0.5; 1 if nothing is there nor was said."""
        return torch.tensor([_f1(found, truth) for found, truth in zip(self.found, self.truths, strict=True)], dtype=torch.float64)

    def in_words(self, metrics: Facts) -> str:
        ap50 = percent(metrics["ap50"], metrics["ap50_interval"])
        return f"AP50 {ap50}, AP {percent(metrics['ap'])} on {metrics['boxes']} boxes in {metrics['n']} pictures"

    def tables(self, metrics: Facts) -> list[Table]:
        rows = tuple((name, percent(one["ap50"]), percent(one["ap"])) for name, one in metrics["per_class"].items())
        return [Table("Class by class", ("class", "AP50", "AP"), rows)]

    def curves(self, before: "Judge[ScoredBoxes, Objects] | None" = None) -> list[Curves]:
        """Recall and precision at IoU 0.5 of every class, over falling scores."""
        lines = {}
        for index, name in enumerate(self.classes):
            parts = [coco_matched(one, truth, index) for one, truth in zip(self.found, self.truths, strict=True)]
            hits, positives = _sorted_hits(parts)
            if positives:
                right = np.cumsum(hits)
                lines[name] = ((right / positives).tolist(), (right / np.arange(1, len(right) + 1)).tolist())
        note = "At IoU 0.5. To the right: more of the objects are found; up: more of the answers are right."
        return [Curves("Precision and recall", "recall", "precision", lines, note)]

    def worst(self, count: int) -> list[tuple[int, str]]:
        """The pictures on which most was missed and invented, at CONF and IoU 0.5."""
        found = []
        for index, (said, truth) in enumerate(zip(self.found, self.truths, strict=True)):
            sure = said.scores >= CONF
            objects = truth.pick(~truth.ignored)
            same = (box_iou(said.boxes[sure].float(), objects.boxes) >= 0.5) & (said.labels[sure][:, None] == objects.labels[None])
            missed, invented = int((~same.any(0)).sum()), int((~same.any(1)).sum())
            if missed + invented:
                found.append((missed + invented, index, f"{missed} missed, {invented} invented, of {len(objects)}"))
        found.sort(key=lambda entry: (-entry[0], entry[1]))
        return [(index, caption) for _, index, caption in found[:count]]

    def _interval(self) -> tuple[float, float]:
        """95 % of the AP50 of sets of pictures drawn with replacement from these, by the matching that AP50 itself has."""
        pairs = list(zip(self.found, self.truths, strict=True))
        parts = [[coco_matched(one, truth, k) for one, truth in pairs] for k in range(len(self.classes))]
        return bootstrap_interval(len(pairs), lambda chosen: coco_ap([[part[index] for index in chosen] for part in parts]))


class PlaceJudge(Judge[ScoredBoxes, Objects]):
    """One box a picture: share with the right class, mean IoU, share with the right class and IoU above 0.5 (``correct_loc``).

    A picture without an object counts as right, with IoU 1, if none was said; truth is the largest object. IoU is 0 where only one of both
    has a box.
    """

    headline = "mean_iou"
    figures = {"mean_iou": "mean IoU", "correct_loc": "right class and IoU above 0.5", "accuracy": "right class"}  # noqa: RUF012

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.rows: list[tuple[bool, float]] = []

    def add(self, predictions: Sequence[ScoredBoxes], targets: Sequence[Objects]) -> None:
        """The single box (or none) said of each picture, and its objects, in its own pixels."""
        for one, truth in zip(predictions, targets, strict=True):
            target = largest(truth)
            if not len(one.boxes) or not len(target):
                self.rows.append((len(one.boxes) == len(target), float(len(one.boxes) == len(target))))
            else:
                right = int(one.labels[0]) == int(target.labels[0])
                self.rows.append((right, float(box_iou(one.boxes[:1].float(), target.boxes)[0, 0])))

    def each(self) -> Tensor:
        """The IoU of each picture (n,)."""
        return torch.tensor([iou for _, iou in self.rows], dtype=torch.float64)

    def result(self) -> Facts:
        right = [hit for hit, _ in self.rows]
        overlap = np.array([iou for _, iou in self.rows])
        located = int(sum(hit and iou > 0.5 for hit, iou in self.rows))
        return {
            "n": len(self.rows),
            "mean_iou": float(overlap.mean()),
            "mean_iou_interval": list(normal_interval(overlap)),
            "correct_loc": located / len(self.rows),
            "correct_loc_interval": list(wilson_interval(located, len(self.rows))),
            "accuracy": sum(right) / len(right),
        }

    def in_words(self, metrics: Facts) -> str:
        low, high = metrics["mean_iou_interval"]
        located = percent(metrics["correct_loc"], metrics["correct_loc_interval"])
        mean = f"mean IoU {metrics['mean_iou']:.3f} (95 % interval {low:.3f} to {high:.3f})"
        return f"{mean}, right class and IoU over 0.5 {located} on {metrics['n']} pictures"

    def worst(self, count: int) -> list[tuple[int, str]]:
        """The pictures whose box overlaps its object least, or has another class."""
        order = sorted(range(len(self.rows)), key=lambda index: (self.rows[index][1], self.rows[index][0]))
        wrong = [index for index in order if not (self.rows[index][0] and self.rows[index][1] > 0.5)]
        return [(i, f"IoU {self.rows[i][1]:.2f}, {'right' if self.rows[i][0] else 'wrong'} class") for i in wrong[:count]]


def _f1(found: ScoredBoxes, truth: Objects) -> float:
    sure = ScoredBoxes(*(part[found.scores >= CONF] for part in (found.boxes, found.scores, found.labels)))
    right, said, there = 0.0, 0, 0
    for label in set(sure.labels.tolist()) | set(truth.labels.tolist()):
        _, hits, positives = coco_matched(sure, truth, label)
        right, said, there = right + float((hits == 1).sum()), said + int((hits >= 0).sum()), there + positives
    return 2 * right / (said + there) if said + there else 1.0


# --- COCO


def coco_matched(found: ScoredBoxes, truth: Objects, label: int, iou: float = 0.5) -> tuple[np.ndarray, np.ndarray, int]:
    """COCO's matching of one picture's boxes of one class: scores, and 1 (right), 0 (wrong) or -1 (counts for nothing), best first.

    A box takes, of the objects that no better box has, the one that it overlaps most, if that is at least ``iou``; ignored objects only
    where no other is left. The third value: how many objects there are to be found.
    """
    mine = found.labels == label
    boxes, scores = found.boxes[mine].float(), found.scores[mine]
    order = scores.argsort(descending=True, stable=True)[:MOST_BOXES]
    boxes, scores = boxes[order], scores[order]
    objects = truth.pick(truth.labels == label)
    objects = objects.pick(objects.ignored.long().argsort(stable=True))  # ignored ones last
    ignored = objects.ignored.numpy()
    hits = np.zeros(len(boxes), dtype=np.int64)
    overlaps = _overlaps(boxes, objects).numpy()
    taken = np.zeros(len(objects), dtype=bool)
    for index in range(len(boxes)):
        best, match = min(iou, 1 - 1e-10), -1
        for other in range(len(objects)):
            if taken[other] and not ignored[other]:
                continue
            if match > -1 and not ignored[match] and ignored[other]:
                break
            if overlaps[index, other] >= best:
                best, match = overlaps[index, other], other
        if match > -1:
            taken[match] = True
            hits[index] = -1 if ignored[match] else 1
    return scores.numpy(), hits, int((~ignored).sum())


def _overlaps(boxes: Tensor, objects: Objects) -> Tensor:
    """IoU (N, M); of ignored objects, which are crowds, the share of the box that lies in them."""
    overlap: Tensor = box_iou(boxes, objects.boxes)
    if not bool(objects.ignored.any()):
        return overlap
    corner = torch.minimum(boxes[:, None, 2:], objects.boxes[None, :, 2:]) - torch.maximum(boxes[:, None, :2], objects.boxes[None, :, :2])
    inside = corner.clamp_min(0).prod(-1) / (boxes[:, 2:] - boxes[:, :2]).prod(1).clamp_min(1e-9)[:, None]
    return inside.where(objects.ignored[None], overlap)


def _sorted_hits(parts: Sequence[tuple[np.ndarray, np.ndarray, int]]) -> tuple[np.ndarray, int]:
    """Rightness of many pictures' boxes of one class by falling score, those that count, and how many objects there are."""
    scores = np.concatenate([part[0] for part in parts]) if parts else np.zeros(0)
    hits = np.concatenate([part[1] for part in parts]) if parts else np.zeros(0)
    order = np.argsort(-scores, kind="mergesort")
    sorted_hits = hits[order]
    return sorted_hits[sorted_hits >= 0], sum(part[2] for part in parts)


def coco_ap(classes: Sequence[Sequence[tuple[np.ndarray, np.ndarray, int]]]) -> float:
    """COCO's average precision at one IoU, mean over the classes that are there, from ``coco_matched`` of every picture; NaN for none."""
    values = []
    for parts in classes:
        hits, positives = _sorted_hits(parts)
        if not positives:
            continue
        right = np.cumsum(hits)
        precision = right / np.arange(1, len(right) + 1)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(right / positives, RECALLS, side="left")
        values.append(float(np.mean([best[place] if place < len(best) else 0.0 for place in places])))
    return float(np.mean(values)) if values else float("nan")


# --- Pascal VOC


def match(found: Sequence[ScoredBoxes], truths: Sequence[Objects], label: int, iou: float) -> tuple[np.ndarray, np.ndarray, int]:
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
    found: Sequence[ScoredBoxes], truths: Sequence[Objects], classes: int, *, iou: float, points: int | None = None
) -> list[float]:
    """Average precision of every class by VOC's rules; 0 for a class without objects."""
    values = []
    for label in range(classes):
        _, right, positives = match(found, truths, label, iou)
        values.append(area_under(right, positives, points) if positives else 0.0)
    return values


def _matched(found: ScoredBoxes, truth: Objects, label: int, iou: float) -> tuple[np.ndarray, np.ndarray, int]:
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


def _coco(found: Sequence[ScoredBoxes], truths: Sequence[Objects], classes: int) -> tuple[np.ndarray, np.ndarray]:
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


def to_coco(truths: Sequence[Objects], classes: int) -> Facts:
    """Objects as COCO's JSON has them; pictures and classes are numbered from 1."""
    annotations: list[Facts] = []
    for image, truth in enumerate(truths, start=1):
        columns = zip(xyxy_to_xywh(truth.boxes).tolist(), truth.labels.tolist(), truth.ignored.tolist(), strict=True)
        for box, label, ignored in columns:
            facts = {"id": len(annotations) + 1, "image_id": image, "category_id": label + 1, "bbox": box, "area": box[2] * box[3]}
            annotations.append(facts | {"iscrowd": int(ignored)})
    images = [{"id": image} for image in range(1, len(truths) + 1)]
    return {"info": {}, "images": images, "annotations": annotations, "categories": [{"id": k + 1, "name": str(k)} for k in range(classes)]}


def coco_results(found: Sequence[ScoredBoxes]) -> list[Facts]:
    """ScoredBoxes boxes as COCO's results have them."""
    return [
        {"image_id": image, "category_id": label + 1, "bbox": box, "score": score}
        for image, one in enumerate(found, start=1)
        for box, score, label in zip(xyxy_to_xywh(one.boxes).tolist(), one.scores.tolist(), one.labels.tolist(), strict=True)
    ]


def _mean(values: np.ndarray) -> float | None:
    """The mean of what was measured; None where nothing was."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None

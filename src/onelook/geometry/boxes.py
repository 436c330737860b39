"""Boxes: conversions, overlap, suppression, fusion, coding. Inside onelook a box is xyxy in float pixels, and nothing has a +1.

Conversions carry both conventions in their names. Overlap, plain suppression and clipping are torchvision's; written here are the
steps that it lacks: soft suppression (Bodla et al. 2017, "Soft-NMS", Gaussian form), weighted fusion (Solovyev et al. 2021,
"Weighted boxes fusion"), the greedy merging of OverFeat (Sermanet et al. 2014, section 4.3), and R-CNN's box coding (Girshick et al.
2014, appendix C).

    python -c "import torch; from onelook.geometry import boxes; print(boxes.xywh_to_xyxy(torch.tensor([1.0, 2, 3, 4])))"
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, distance_box_iou, generalized_box_iou

LARGEST_GROWTH = math.log(1000 / 16)  # of a side when decoding: keeps exp() finite

__all__ = [
    "box_iou", "clip", "cxcywh_to_xyxy", "decode", "distance_box_iou", "encode", "fuse", "generalized_box_iou", "merge_greedily", "mirror",
    "paired_iou", "suppress", "xywh_to_xyxy", "xyxy_to_cxcywh", "xyxy_to_xywh",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class ScoredBoxes:
    """Boxes that a head found in one picture, best first: (N, 4) xyxy in its pixels, scores 0..1 (N,), class ids (N,)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def no_boxes() -> ScoredBoxes:
    """Nothing found."""
    return ScoredBoxes(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))


# --- conversions, (..., 4) -> (..., 4)


def xywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Left, top, width, height (as COCO writes boxes) -> two corners."""
    return torch.cat([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], dim=-1)


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """Two corners -> left, top, width, height."""
    return torch.cat([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], dim=-1)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Centre, width, height (as YOLO writes boxes) -> two corners."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], dim=-1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """Two corners -> centre, width, height."""
    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], dim=-1)


def clip(boxes: Tensor, width: float, height: float) -> Tensor:
    """Corners (N, 4) moved into a picture of this size."""
    return torch.stack([boxes[:, 0::2].clamp(0, width), boxes[:, 1::2].clamp(0, height)], dim=2).flatten(1)


def mirror(boxes: Tensor, across: bool, down: bool, frame: tuple[int, int]) -> Tensor:
    """Corners (N, 4) in a picture of size ``frame`` (width, height) whose left and right, or top and bottom, have changed places."""
    left, top, right, bottom = boxes.unbind(-1)
    if across:
        left, right = frame[0] - right, frame[0] - left
    if down:
        top, bottom = frame[1] - bottom, frame[1] - top
    return torch.stack([left, top, right, bottom], dim=-1)


# --- overlap


def paired_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of each box (N, 4) with the box beside it (N, 4): (N,), 0 where neither has an area."""
    corner = torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])
    inside = corner.clamp_min(0).prod(1)
    whole = (first[:, 2:] - first[:, :2]).prod(1) + (second[:, 2:] - second[:, :2]).prod(1) - inside
    return inside / whole.clamp_min(1e-9)


# --- suppression


def suppress(boxes: Tensor, scores: Tensor, labels: Tensor, *, conf: float, iou: float, most: int = 300) -> Tensor:
    """Indices of the boxes (N, 4) that remain, best first, at most ``most``.

    The three steps: boxes that score less than ``conf`` are dropped; the best remaining box is kept, and those of its class that overlap
    it by more than ``iou`` are dropped; the second step is repeated until none is left. Each class by itself.
    """
    chosen = (scores >= conf).nonzero().flatten()
    if len(chosen) > 20 * most:
        chosen = chosen[scores[chosen].topk(20 * most).indices]
    return chosen[batched_nms(boxes[chosen].float(), scores[chosen].float(), labels[chosen], iou)][:most]


# --- fusion


def fuse(
    boxes: Sequence[Tensor], scores: Sequence[Tensor], labels: Sequence[Tensor], *, iou: float = 0.55
) -> tuple[Tensor, Tensor, Tensor]:
    """Several models' (or looks') boxes for one picture as one set: boxes (M, 4), scores (M,), labels (M,), best first.

    Boxes of a class that overlap a cluster's box by more than ``iou`` join it; a cluster's box is the mean of its members weighted by their
    scores, its score their mean, lowered by the share of models that have none in it.
    """
    count = len(boxes)
    every, score, label = torch.cat(list(boxes)), torch.cat(list(scores)), torch.cat(list(labels))
    members: list[list[int]] = []
    fused = every.new_zeros(len(every), 4)
    ids: list[int] = []
    for index in score.argsort(descending=True, stable=True).tolist():
        same = [place for place, kind in enumerate(ids) if kind == int(label[index])]
        overlap = box_iou(every[index : index + 1], fused[same])[0] if same else every.new_zeros(0)
        if len(overlap) and float(overlap.max()) > iou:
            place = same[int(overlap.argmax())]
            members[place].append(index)
        else:
            place = len(members)
            members.append([index])
            ids.append(int(label[index]))
        weight = score[members[place]].clamp_min(1e-9)
        fused[place] = (every[members[place]] * weight[:, None]).sum(0) / weight.sum()
    means = [float(score[group].mean()) * min(len(group), count) / count for group in members]
    found = score.new_tensor(means)
    order = found.argsort(descending=True, stable=True)
    return fused[: len(members)][order], found[order], torch.tensor(ids, dtype=torch.long)[order]


def merge_greedily(boxes: Tensor, scores: Tensor, *, stop: float = 0.5) -> tuple[Tensor, Tensor]:
    """OverFeat's merging of the boxes (N, 4) of one class: the closest pair becomes its mean until no two are close.

    Two boxes are close by the distance between their centres plus what they do not share, both as a share of their size; ``stop`` is the
    largest such distance at which boxes are merged. A merged box has the sum of its parts' scores. Boxes (M, 4) and scores (M,), best
    first.
    """
    boxes, scores = boxes.clone().float(), scores.clone().float()
    while len(boxes) > 1:
        middle, side = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp_min(1e-6)
        size = (side[:, None].prod(-1) * side[None].prod(-1)) ** 0.25
        apart = torch.cdist(middle, middle) / size + 1 - box_iou(boxes, boxes)
        apart.fill_diagonal_(float("inf"))
        place = int(apart.argmin())
        one, other = sorted((place // len(boxes), place % len(boxes)))
        if float(apart[one, other]) > stop:
            break
        boxes[one], scores[one] = (boxes[one] + boxes[other]) / 2, scores[one] + scores[other]
        keep = torch.arange(len(boxes)) != other
        boxes, scores = boxes[keep], scores[keep]
    order = scores.argsort(descending=True, stable=True)
    return boxes[order], scores[order]


# --- coding


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """How boxes (N, 4) differ from anchors (N, 4): shift in units of the anchor's size, logarithm of the ratio of sides."""
    box, anchor = xyxy_to_cxcywh(boxes), xyxy_to_cxcywh(anchors)
    return torch.cat([(box[:, :2] - anchor[:, :2]) / anchor[:, 2:], (box[:, 2:] / anchor[:, 2:]).log()], dim=1)


def decode(codes: Tensor, anchors: Tensor) -> Tensor:
    """The boxes (N, 4) that differ from the anchors (N, 4) as ``encode`` says."""
    anchor = xyxy_to_cxcywh(anchors)
    middle = anchor[:, :2] + codes[:, :2] * anchor[:, 2:]
    side = anchor[:, 2:] * codes[:, 2:].clamp_max(LARGEST_GROWTH).exp()
    return cxcywh_to_xyxy(torch.cat([middle, side], dim=1))

"""The second stage that Fast and Faster R-CNN share: what is in each region, and how its box should be moved.

Girshick 2015, "Fast R-CNN", sections 2.1 and 2.3: a quarter of the regions of a picture that count are objects (IoU of at least 0.5), the
rest background; softmax over classes and background, smooth absolute error of a box per class.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from onelook.geometry.boxes import box_iou, decode, encode
from onelook.geometry.objects import Objects

SAMPLE, OBJECTS_SHARE = 64, 0.25  # regions of a picture that count while learning
FOREGROUND = 0.5  # IoU from which a region is an object
WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # of the four numbers of a box, as in the paper's code


@dataclass(frozen=True)
class Regions:
    """``boxes`` (B, R, 4) xyxy in input pixels, those without an area are none; ``logits`` (B, R, 1 + classes), background first.

    ``codes`` (B, R, classes, 4): how each class would move the box, in units of WEIGHTS.
    """

    boxes: Tensor
    logits: Tensor
    codes: Tensor


class RegionReader(nn.Module):
    """Pooled regions (N, inputs) -> logits (N, 1 + classes) and codes (N, classes, 4), through one hidden layer."""

    def __init__(self, inputs: int, classes: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.2))
        self.kind, self.box = nn.Linear(hidden, 1 + classes), nn.Linear(hidden, 4 * classes)
        nn.init.normal_(self.kind.weight, std=0.01)
        nn.init.normal_(self.box.weight, std=0.001)
        nn.init.zeros_(self.kind.bias)
        nn.init.zeros_(self.box.bias)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        read = self.hidden(pooled)
        return self.kind(read), self.box(read).view(read.shape[0], -1, 4)


def spread(boxes: Tensor) -> Tensor:
    """Boxes (B, R, 4) as torchvision's pooling wants them: (B * R, 5), the picture's number first."""
    numbers = torch.arange(boxes.shape[0]).to(boxes).view(-1, 1, 1).expand(-1, boxes.shape[1], 1)
    return torch.cat([numbers, boxes], dim=2).flatten(0, 1)


def region_losses(raw: Regions, target: Sequence[Objects], seed: int = 0) -> dict[str, Tensor]:
    """Softmax cross entropy and smooth absolute error of the boxes, over a sample of the regions of each picture."""
    entropy, errors, count = [], [], 0
    for boxes, logits, codes, truth in zip(raw.boxes.detach(), raw.logits, raw.codes, target, strict=True):
        kinds, nearest = label_regions(boxes, truth)
        chosen = draw(kinds)
        entropy.append(functional.cross_entropy(logits[chosen], kinds[chosen], reduction="sum"))
        count += len(chosen)
        mine = chosen[kinds[chosen] > 0]
        if len(mine):
            wanted = encode(truth.learnable.boxes[nearest[mine]], boxes[mine]) * boxes.new_tensor(WEIGHTS)
            errors.append(functional.smooth_l1_loss(codes[mine, kinds[mine] - 1], wanted, reduction="sum", beta=1.0))
    nothing = raw.codes.sum() * 0
    return {"region class": torch.stack(entropy).sum() / max(count, 1), "region box": sum(errors, nothing) / max(count, 1)}


def label_regions(boxes: Tensor, truth: Objects) -> tuple[Tensor, Tensor]:
    """For each region (R, 4) its class, background 0, and the learnable object that it overlaps most; -1: it does not count."""
    kinds = torch.zeros(len(boxes), dtype=torch.long)
    nearest = torch.zeros(len(boxes), dtype=torch.long)
    objects = truth.learnable
    if len(objects):
        overlap, nearest = box_iou(boxes, objects.boxes).max(1)
        kinds = torch.where(overlap >= FOREGROUND, objects.labels[nearest] + 1, kinds)
    crowd = truth.boxes[truth.ignored]
    if len(crowd):
        kinds[(box_iou(boxes, crowd).amax(1) >= FOREGROUND) & (kinds == 0)] = -1
    kinds[((boxes[:, 2:] - boxes[:, :2]) <= 0).any(1)] = -1
    return kinds, nearest


def draw(kinds: Tensor, sample: int = SAMPLE, share: float = OBJECTS_SHARE) -> Tensor:
    """Indices of up to ``sample`` regions that count, at most ``share`` of them objects."""
    objects, rest = (kinds > 0).nonzero().flatten(), (kinds == 0).nonzero().flatten()
    objects = objects[torch.randperm(len(objects))][: int(sample * share)]
    return torch.cat([objects, rest[torch.randperm(len(rest))][: sample - len(objects)]])


def region_boxes(raw: Regions) -> tuple[Tensor, Tensor]:
    """Every region's box for every class (B, R * classes, 4), and scores (B, R * classes, classes), zero but for that class."""
    there = ((raw.boxes[..., 2:] - raw.boxes[..., :2]) > 0).all(2)
    scores = raw.logits.softmax(2)[..., 1:] * there[..., None]
    each = scores[..., None] * torch.eye(scores.shape[2]).to(scores)
    return moved_boxes(raw.boxes, raw.codes / raw.codes.new_tensor(WEIGHTS)), each.flatten(1, 2)


def moved_boxes(boxes: Tensor, codes: Tensor) -> Tensor:
    """Regions (B, R, 4), each moved as ``codes`` (B, R, classes, 4) says for every class: (B, R * classes, 4)."""
    batch, regions, count = codes.shape[:3]
    moved = decode(codes.flatten(0, 2), boxes[:, :, None].expand(-1, -1, count, -1).flatten(0, 2))
    return moved.view(batch, regions * count, 4)

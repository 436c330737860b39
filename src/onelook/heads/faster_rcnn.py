"""Which objects, and where: a small network on the look proposes regions, a second one reads them; no search on pixels.

Ren et al. 2015, "Faster R-CNN", section 3; on several maps as Lin et al. 2017 (feature pyramid networks, section 4). Differs: regions are
pooled by RoIAlign (He et al. 2017, "Mask R-CNN", section 3); both stages are learned at once from the start (the paper's approximate
joint training), and the labelled boxes are not added to the proposals; separable convolutions.

    onelook train dataset/ --task detect --method faster_rcnn --name things --model mine.onelook
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import MultiScaleRoIAlign, batched_nms

from onelook.facts import Facts
from onelook.geometry.anchors import cells
from onelook.geometry.boxes import box_iou, cxcywh_to_xyxy, decode, encode
from onelook.geometry.objects import Objects
from onelook.heads.box_head import BoxHead
from onelook.heads.context import Context
from onelook.heads.options import NoOptions
from onelook.heads.pyramid import Pyramid, flat, separable
from onelook.heads.roi_head import RegionReader, Regions, draw, region_boxes, region_losses
from onelook.looks.features import Look, Needs

WIDTH, HIDDEN, GRID = 64, 256, 7
STRIDES = (8, 16, 32)
SIZES, RATIOS = (4, 6), (0.5, 1.0, 2.0)  # anchors of a cell: square roots of areas in strides, heights over widths
OBJECT, BACKGROUND = 0.6, 0.3  # IoU from which an anchor is an object, and below which it is not
BEFORE, SAME, PROPOSALS = 400, 0.7, 100  # anchors a map before suppression, its IoU, regions that are read
RPN_SAMPLE = 128


@dataclass(frozen=True)
class Staged(Regions):
    """What both stages say: ``anchors`` (A, 4), ``objectness`` (B, A) logits and ``shifts`` (B, A, 4) are the first's."""

    anchors: Tensor
    objectness: Tensor
    shifts: Tensor


class FasterRcnn(BoxHead[Staged]):
    """Look -> ``Staged``. Targets: ``Objects``."""

    method = "faster_rcnn"
    overlap = 0.4
    no_graph = "which regions it reads again is chosen for every picture by itself; train it by fcos or yolo"

    def __init__(self, classes: Sequence[str], *, channels: Mapping[str, int], width: int = WIDTH) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.width = width
        self.pyramid = Pyramid(channels, width)
        self.each = len(SIZES) * len(RATIOS)
        self.proposer = separable(width, width)
        self.objectness, self.shifts = nn.Conv2d(width, self.each, 1), nn.Conv2d(width, 4 * self.each, 1)
        for layer in (self.objectness, self.shifts):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(cast(Tensor, layer.bias))
        names = [str(stride) for stride in self.pyramid.strides]
        self.align = MultiScaleRoIAlign(names, GRID, 2)
        self.reader = RegionReader(GRID * GRID * width, len(classes), HIDDEN)

    @classmethod
    def fresh(cls, context: Context, options: NoOptions) -> "FasterRcnn":
        """An untrained head."""
        return FasterRcnn(context.classes, channels=context.pick(STRIDES))

    @property
    def needs(self) -> Needs:
        return Needs(maps=self.pyramid.strides)

    def config(self) -> Facts:
        """Plain values that rebuild this head: ``FasterRcnn(**config)``."""
        return {"classes": list(self.classes), "channels": self.pyramid.channels, "width": self.width}

    def forward(self, look: Look) -> Staged:
        look.require(self.needs)
        levels = self.pyramid(look.maps)
        wide, high = look.placements[0].input
        anchors = [anchors_of(level.shape[2], level.shape[3], stride) for level, stride in zip(levels, self.pyramid.strides, strict=True)]
        read = [self.proposer(level) for level in levels]
        objectness = [flat([self.objectness(level)]).flatten(1) for level in read]
        shifts = [flat([self.shifts(level)]).reshape(len(level), -1, 4) for level in read]
        every, logits, codes = torch.cat(anchors), torch.cat(objectness, dim=1), torch.cat(shifts, dim=1)
        counts = [len(one) for one in anchors]
        boxes = torch.stack(
            [choose_proposals(every, *pair, counts, (wide, high)) for pair in zip(logits.detach(), codes.detach(), strict=True)]
        )
        maps = {str(stride): level for stride, level in zip(self.pyramid.strides, levels, strict=True)}
        pooled = self.align(maps, list(boxes), [(high, wide)] * len(boxes)).flatten(1)
        kinds, moves = self.reader(pooled)
        return Staged(boxes, kinds.view(*boxes.shape[:2], -1), moves.view(*boxes.shape[:2], -1, 4), every, logits, codes)

    def boxes_and_scores(self, raw: Staged) -> tuple[Tensor, Tensor]:
        return region_boxes(raw)

    def loss(self, raw: Staged, target: Sequence[Objects]) -> dict[str, Tensor]:
        """Both stages' losses."""
        return proposal_losses(raw, target) | region_losses(raw, target)


def anchors_of(height: int, width: int, stride: int) -> Tensor:
    """Boxes (height * width * anchors, 4) in input pixels around every cell of a map."""
    shapes = torch.tensor([[size * stride / ratio**0.5, size * stride * ratio**0.5] for size in SIZES for ratio in RATIOS])
    middle = cells(height, width, stride)[:, None].expand(-1, len(shapes), -1)
    return cxcywh_to_xyxy(torch.cat([middle, shapes.expand(len(middle), -1, -1)], dim=2)).flatten(0, 1)


@torch.no_grad()
def choose_proposals(anchors: Tensor, objectness: Tensor, shifts: Tensor, counts: Sequence[int], frame: tuple[int, int]) -> Tensor:
    """PROPOSALS boxes (PROPOSALS, 4) of one picture, likeliest first, zeros where there are fewer; ``counts``: anchors of every map."""
    chosen, levels, start = [], [], 0
    for level, count in enumerate(counts):
        best = objectness[start : start + count].topk(min(BEFORE, count)).indices + start
        chosen.append(best)
        levels.append(torch.full((len(best),), level))
        start += count
    index, level_of = torch.cat(chosen), torch.cat(levels)
    boxes = decode(shifts[index], anchors[index])
    boxes = torch.stack([boxes[:, 0::2].clamp(0, frame[0]), boxes[:, 1::2].clamp(0, frame[1])], dim=2).flatten(1)
    whole = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1)
    boxes, scores, level_of = boxes[whole], objectness[index][whole], level_of[whole]
    kept = batched_nms(boxes, scores, level_of, SAME)[:PROPOSALS]
    return functional.pad(boxes[kept], (0, 0, 0, PROPOSALS - len(kept)))


def proposal_losses(raw: Staged, target: Sequence[Objects]) -> dict[str, Tensor]:
    """Logistic loss of a sample of anchors, half of them objects at most, and smooth absolute error of the objects' boxes."""
    entropy, errors, count = [], [], 0
    for logits, shifts, truth in zip(raw.objectness, raw.shifts, target, strict=True):
        kinds, nearest = label_anchors(raw.anchors, truth)
        chosen = draw(kinds, RPN_SAMPLE, 0.5)
        entropy.append(functional.binary_cross_entropy_with_logits(logits[chosen], (kinds[chosen] > 0).float(), reduction="sum"))
        count += len(chosen)
        mine = chosen[kinds[chosen] > 0]
        if len(mine):
            wanted = encode(truth.learnable.boxes[nearest[mine]], raw.anchors[mine])
            errors.append(functional.smooth_l1_loss(shifts[mine], wanted, reduction="sum", beta=1 / 9))
    nothing = raw.shifts.sum() * 0
    return {"proposal": torch.stack(entropy).sum() / max(count, 1), "proposal box": sum(errors, nothing) / max(count, 1)}


@torch.no_grad()
def label_anchors(anchors: Tensor, truth: Objects) -> tuple[Tensor, Tensor]:
    """1 for anchors that are an object (or the best one for some object), 0 for background, -1 for neither; and the nearest object."""
    objects = truth.learnable
    kinds, nearest = torch.zeros(len(anchors), dtype=torch.long), torch.zeros(len(anchors), dtype=torch.long)
    if len(objects):
        overlap = box_iou(anchors, objects.boxes)
        best, nearest = overlap.max(1)
        kinds = torch.where(best >= OBJECT, 1, torch.where(best < BACKGROUND, 0, -1))
        top, first = overlap.max(0)
        kinds[first[top > 0]], nearest[first[top > 0]] = 1, torch.arange(len(objects))[top > 0]
    crowd = truth.boxes[truth.ignored]
    if len(crowd):
        kinds[(box_iou(anchors, crowd).amax(1) >= BACKGROUND) & (kinds == 0)] = -1
    return kinds, nearest

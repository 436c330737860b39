"""Which objects, and where: a small network on the look proposes regions, a second one reads them; no search on pixels.

Ren et al. 2015, "Faster R-CNN", section 3; on several maps as Lin et al. 2017 (feature pyramid networks, section 4). Differs: regions are
pooled by RoIAlign (He et al. 2017, "Mask R-CNN", section 3); both stages are learned at once from the start (the paper's approximate
joint training), and the labelled boxes are not added to the proposals; separable convolutions.

    onelook train dataset/ --task detect --method faster_rcnn --name things --model mine.onelook
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import nms, roi_align

from onelook.facts import Facts
from onelook.geometry.anchors import cells
from onelook.geometry.boxes import box_iou, cxcywh_to_xyxy, decode, encode
from onelook.geometry.objects import Objects
from onelook.geometry.placement import as_tensor
from onelook.heads.box_head import BoxHead
from onelook.heads.context import Context
from onelook.heads.options import NoOptions
from onelook.heads.pyramid import Pyramid, flat, separable
from onelook.heads.roi_head import RegionReader, Regions, draw, region_boxes, region_losses, spread
from onelook.looks.features import Look, Needs

WIDTH, HIDDEN, GRID = 64, 256, 7
STRIDES = (8, 16, 32)
SIZES, RATIOS = (4, 6), (0.5, 1.0, 2.0)  # anchors of a cell: square roots of areas in strides, heights over widths
OBJECT, BACKGROUND = 0.6, 0.3  # IoU from which an anchor is an object, and below which it is not
BEFORE, SAME, PROPOSALS = 400, 0.7, 100  # anchors a map before suppression, its IoU, regions that are read
RPN_SAMPLE = 128
NEVER = -1e4  # a score below all others


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
        levels, strides = self.pyramid(look.maps), self.pyramid.strides
        anchors = [anchors_of(level.shape[2], level.shape[3], stride) for level, stride in zip(levels, strides, strict=True)]
        read = [self.proposer(level) for level in levels]
        objectness = [flat([self.objectness(level)]).flatten(1) for level in read]
        shifts = [flat([self.shifts(level)]).reshape(level.shape[0], -1, 4) for level in read]
        boxes = choose_proposals(anchors, objectness, shifts, as_tensor(look.placements[0].input, levels[0]))
        kinds, moves = self.reader(pool_regions(levels, strides, boxes))
        kinds, moves = (part.view(-1, PROPOSALS, *part.shape[1:]) for part in (kinds, moves))
        return Staged(boxes, kinds, moves, torch.cat(anchors), torch.cat(objectness, dim=1), torch.cat(shifts, dim=1))

    def boxes_and_scores(self, raw: Staged) -> tuple[Tensor, Tensor]:
        return region_boxes(raw)

    def loss(self, raw: Staged, target: Sequence[Objects]) -> dict[str, Tensor]:
        """Both stages' losses."""
        return proposal_losses(raw, target) | region_losses(raw, target)


def anchors_of(height: int, width: int, stride: int) -> Tensor:
    """Boxes (height * width * anchors, 4) in input pixels around every cell of a map."""
    shapes = torch.tensor([[size * stride / ratio**0.5, size * stride * ratio**0.5] for size in SIZES for ratio in RATIOS])
    middle = cells(height, width, stride)[:, None].expand(-1, len(shapes), -1)
    return cxcywh_to_xyxy(torch.cat([middle, shapes.expand_as(middle)], dim=2)).flatten(0, 1)


@torch.no_grad()
def choose_proposals(anchors: Sequence[Tensor], objectness: Sequence[Tensor], shifts: Sequence[Tensor], frame: Tensor) -> Tensor:
    """PROPOSALS boxes (B, PROPOSALS, 4) a picture, likeliest first, zeros where there are fewer.

    Of every map anchors (A, 4), how likely each is an object (B, A), and how it is moved (B, A, 4). ``frame``: width and height of the
    input. Sizes may be computed ones, so that a graph can be traced; then all pictures are suppressed at once, else one by one: quicker.
    """
    found = [_likely(*level) for level in zip(anchors, objectness, shifts, strict=True)]
    boxes, scores = (torch.cat([part[place] for part in found], dim=1) for place in (0, 1))
    levels = torch.cat([torch.full_like(part[1], number) for number, part in enumerate(found)], dim=1)
    boxes = torch.minimum(boxes.clamp_min(0), frame.repeat(2))
    scores = scores.masked_fill(((boxes[..., 2:] - boxes[..., :2]) < 1).any(2), NEVER)
    apart = boxes + levels[..., None] * (2 * frame.max())  # boxes of other maps do not meet
    if torch.jit.is_tracing() or torch.compiler.is_compiling():  # type: ignore[attr-defined, no-untyped-call]  # batches of any size
        apart = apart + torch.arange(boxes.shape[0], device=boxes.device)[:, None, None] * (2 * len(found) * frame.max())
        left = _unsuppressed(apart.reshape(-1, 4), scores.flatten()).view_as(scores)
    else:
        left = torch.stack([_unsuppressed(*picture) for picture in zip(apart, scores, strict=True)])
    likely, best = left.topk(PROPOSALS)
    return boxes.gather(1, best[..., None].expand(-1, -1, 4)) * (likely > NEVER)[..., None]


def _unsuppressed(boxes: Tensor, scores: Tensor) -> Tensor:
    """The scores (N,) of boxes that no likelier one overlaps by SAME; NEVER for the others."""
    kept = nms(boxes, scores, SAME)
    return torch.full_like(scores, NEVER).scatter(0, kept, scores[kept])


def _likely(anchors: Tensor, objectness: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
    """The BEFORE likeliest boxes (B, BEFORE, 4) of a map, and how likely they are; without an area where there are fewer."""
    scores, best = functional.pad(objectness.float(), (0, BEFORE), value=NEVER).topk(BEFORE)
    moved, still = functional.pad(shifts, (0, 0, 0, BEFORE)), functional.pad(anchors, (0, 0, 0, BEFORE)).to(shifts)
    codes = moved.gather(1, best[..., None].expand(-1, -1, 4))
    return decode(codes.flatten(0, 1), still[best].flatten(0, 1)).view_as(codes), scores


def pool_regions(levels: Sequence[Tensor], strides: Sequence[int], boxes: Tensor) -> Tensor:
    """Regions (B, R, 4), each pooled from the map that suits its size (Lin et al. 2017, eq. 1): (B * R, channels * GRID * GRID)."""
    regions = spread(boxes)
    sizes = ((regions[:, 3] - regions[:, 1]) * (regions[:, 4] - regions[:, 2])).sqrt()
    lowest, highest = (int(math.log2(stride)) for stride in (strides[0], strides[-1]))
    level = torch.floor(4 + torch.log2(sizes / 224) + 1e-6).clamp(lowest, highest) - lowest
    pooled = regions.new_zeros(regions.shape[0], levels[0].shape[1], GRID, GRID)
    for number, (one, stride) in enumerate(zip(levels, strides, strict=True)):
        mine = (level == number).nonzero()[:, 0]
        pooled = pooled.index_copy(0, mine, roi_align(one, regions[mine], GRID, 1 / stride, 2))
    return pooled.flatten(1)


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

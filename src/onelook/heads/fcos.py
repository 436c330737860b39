"""Which objects, and where: every cell of three maps says what is there and how far it is to the four sides of its box; no anchors.

Tian et al. 2019, "FCOS: fully convolutional one-stage object detection", section 3. Differs: which cells answer for an object is decided
by how well they do it already, score times IoU to the sixth (Feng et al. 2021, "TOOD", section 3.3), and the score to be learned is that
quality, so there is no centre-ness; a distance is the mean of a distribution over whole strides (Li et al. 2020, "Generalized focal
loss", section 3.1); separable convolutions.

    onelook train dataset/ --task detect --method fcos --name things --model mine.onelook
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss

from onelook.facts import Facts
from onelook.geometry.anchors import cells
from onelook.geometry.boxes import box_iou
from onelook.geometry.objects import Objects
from onelook.heads.box_head import BoxHead
from onelook.heads.context import Context
from onelook.heads.options import NoOptions
from onelook.heads.pyramid import Pyramid, flat, separable
from onelook.looks.features import Look, Needs

WIDTH, DEPTH = 64, 2
STRIDES = (8, 16, 32)
BEST = 10  # cells that may answer for one object
RARE = -4.6  # the logit from which scores start: one cell in a hundred
BOX_WEIGHT, DISTANCE_WEIGHT = 3.0, 1.0
BINS = 17  # of the distribution of a distance: 0, 1 ... 16 strides


@dataclass(frozen=True)
class Cells:
    """What the cells of all maps say: ``centres`` (A, 2) and ``strides`` (A,) in input pixels, ``boxes`` (B, A, 4) xyxy, ``logits`` (B,
    A, classes).

    ``reach`` (B, A, 4, BINS): logits of the distance to each side, in strides.
    """

    centres: Tensor
    strides: Tensor
    boxes: Tensor
    logits: Tensor
    reach: Tensor


class Fcos(BoxHead[Cells]):
    """Look -> ``Cells``. Targets: ``Objects``."""

    method = "fcos"

    def __init__(self, classes: Sequence[str], *, channels: Mapping[str, int], width: int = WIDTH, depth: int = DEPTH) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.width, self.depth = width, depth
        self.pyramid = Pyramid(channels, width)
        strides = self.pyramid.strides
        self.what = nn.ModuleList([nn.Sequential(*(separable(width, width) for _ in range(depth))) for _ in strides])
        self.where = nn.ModuleList([nn.Sequential(*(separable(width, width) for _ in range(depth))) for _ in strides])
        self.logits = nn.ModuleList([nn.Conv2d(width, len(classes), 1) for _ in strides])
        self.reach = nn.ModuleList([nn.Conv2d(width, 4 * BINS, 1) for _ in strides])
        near = -0.4 * torch.arange(BINS, dtype=torch.float32).repeat(4)  # boxes start two strides to each side
        for logits, reach in zip(self.logits, self.reach, strict=True):
            logits.bias = nn.Parameter(torch.full((len(classes),), RARE))
            reach.bias = nn.Parameter(near.clone())

    @classmethod
    def fresh(cls, context: Context, options: NoOptions) -> "Fcos":
        """An untrained head."""
        return Fcos(context.classes, channels=context.pick(STRIDES))

    @property
    def needs(self) -> Needs:
        return Needs(maps=self.pyramid.strides)

    def config(self) -> Facts:
        """Plain values that rebuild this head: ``Fcos(**config)``."""
        return {"classes": list(self.classes), "channels": self.pyramid.channels, "width": self.width, "depth": self.depth}

    def forward(self, look: Look) -> Cells:
        look.require(self.needs)
        levels, strides = self.pyramid(look.maps), self.pyramid.strides
        places = [cells(level.shape[2], level.shape[3], stride) for level, stride in zip(levels, strides, strict=True)]
        centres = torch.cat(places).to(levels[0])
        steps = torch.cat([torch.full_like(place[:, 0], float(stride)) for place, stride in zip(places, strides, strict=True)]).to(
            levels[0]
        )
        logits = flat([read(tower(level)) for level, tower, read in zip(levels, self.what, self.logits, strict=True)])
        reach = flat([read(tower(level)) for level, tower, read in zip(levels, self.where, self.reach, strict=True)])
        reach = reach.view(*reach.shape[:2], 4, BINS)
        sides = reach.softmax(3) @ torch.arange(BINS).to(reach) * steps[:, None]  # left, top, right, bottom
        boxes = torch.cat([centres - sides[..., :2], centres + sides[..., 2:]], dim=2)
        return Cells(centres, steps, boxes, logits, reach)

    def boxes_and_scores(self, raw: Cells) -> tuple[Tensor, Tensor]:
        return raw.boxes, raw.logits.sigmoid()

    def loss(self, raw: Cells, target: Sequence[Objects]) -> dict[str, Tensor]:
        """Cross entropy of each cell's quality; generalised IoU and cross entropy of the distances, weighted by quality."""
        wanted, weights, rows, boxes, shares = [], [], [], [], []
        for said, scores, truth in zip(raw.boxes.detach(), raw.logits.detach().sigmoid(), target, strict=True):
            quality, mine, ignored = assign(raw.centres, said, scores, truth)
            answering = mine >= 0
            wanted.append(quality)
            weights.append((~ignored | answering).float()[:, None])
            rows.append(answering)
            boxes.append(truth.learnable.boxes[mine[answering]])
            shares.append(quality[answering].sum(1))
        qualities, answering, share, true = torch.stack(wanted), torch.stack(rows), torch.cat(shares), torch.cat(boxes)
        total = qualities.sum().clamp_min(1.0)
        weight = torch.stack(weights).expand_as(qualities)
        entropy = functional.binary_cross_entropy_with_logits(raw.logits, qualities, weight, reduction="sum") / total
        overlap = (generalized_box_iou_loss(raw.boxes[answering], true) * share).sum() / total
        centres, steps = (part.expand(len(answering), *part.shape)[answering] for part in (raw.centres, raw.strides))
        reach = torch.cat([centres - true[:, :2], true[:, 2:] - centres], dim=1) / steps[:, None]
        distance = (reach_loss(raw.reach[answering], reach) * share).sum() / total
        return {"class": entropy, "box": BOX_WEIGHT * overlap, "distance": DISTANCE_WEIGHT * distance}


def reach_loss(logits: Tensor, reach: Tensor) -> Tensor:
    """Cross entropy (N,) of distances' logits (N, 4, BINS) against the two bins on both sides of the true distances (N, 4), in strides."""
    reach = reach.clamp(0, BINS - 1.01)
    below = reach.long()
    share = reach - below
    logs = logits.log_softmax(2)
    low, high = (logs.gather(2, index[..., None])[..., 0] for index in (below, below + 1))
    return -(low * (1 - share) + high * share).mean(1)


@torch.no_grad()
def assign(centres: Tensor, boxes: Tensor, scores: Tensor, truth: Objects) -> tuple[Tensor, Tensor, Tensor]:
    """Which cells answer for which object of a picture.

    ``centres`` (A, 2), ``boxes`` (A, 4), ``scores`` (A, classes) as they are now. The quality wanted of each cell (A, classes), its
    object among the learnable (A,), -1 for none, and whether it lies in an ignored object (A,).
    """
    quality, mine = torch.zeros_like(scores), torch.full((len(centres),), -1, dtype=torch.long)
    ignored = inside(centres, truth.boxes[truth.ignored]).any(1)
    objects = truth.learnable
    if not len(objects):
        return quality, mine, ignored
    within = inside(centres, objects.boxes)
    missed = ~within.any(0)  # smaller than a cell: the nearest answers
    if bool(missed.any()):
        middle = (objects.boxes[:, :2] + objects.boxes[:, 2:]) / 2
        within[torch.cdist(centres, middle[missed]).argmin(0), missed.nonzero().flatten()] = True
    overlap = box_iou(boxes, objects.boxes)
    fitness = (scores[:, objects.labels] + 1e-6) * (overlap + 1e-3) ** 6 * within
    best = fitness.topk(min(BEST, len(fitness)), dim=0).indices
    may = torch.zeros_like(within).scatter_(0, best, True) & within
    fitness, overlap = fitness * may, overlap * may
    mine = torch.where(may.any(1), (overlap + may * 1e-3).argmax(1), mine)
    rows = (mine >= 0).nonzero().flatten()
    fit = fitness[rows, mine[rows]] / fitness.amax(0).clamp_min(1e-30)[mine[rows]]
    quality[rows, objects.labels[mine[rows]]] = fit * overlap.amax(0)[mine[rows]]
    return quality, mine, ignored


def inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Which points (A, 2) lie in which boxes (N, 4): (A, N)."""
    after, before = points[:, None] - boxes[None, :, :2], boxes[None, :, 2:] - points[:, None]
    return torch.minimum(after, before).amin(2) > 0

"""Which objects, and where: a classifier of windows, run once over the whole look instead of window by window.

Sermanet et al. 2014, "OverFeat: integrated recognition, localization and detection using convolutional networks", sections 3.3 and 4:
fully connected layers become convolutions, the last pooling is done at every offset so that windows are not apart by its stride, every
window says a class and a box per class, several scales, and boxes are merged greedily instead of suppressed. Differs: scales are those of
the look's map, resampled, because a picture is looked at once; background is a class; a merged box's score s (a sum) is given as s / (1 +
s).

    onelook train dataset/ --task detect --method overfeat --name things --model mine.onelook
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from onelook.facts import Facts
from onelook.geometry.boxes import ScoredBoxes, merge_greedily, no_boxes
from onelook.geometry.objects import Objects
from onelook.geometry.placement import Placement
from onelook.heads.box_head import CANDIDATES, BoxHead
from onelook.heads.context import Context
from onelook.heads.options import NoOptions
from onelook.heads.pyramid import Pyramid
from onelook.heads.roi_head import Regions, region_boxes, region_losses
from onelook.looks.features import Look, Needs

WIDTH, HIDDEN = 64, 256
STRIDES = (16, 32)
SIDE = 3  # cells of a window after pooling by POOL
POOL = 2
SCALES = (2.0, 2**0.5, 1.0, 0.5**0.5, 0.5, 0.5**1.5)  # of the map: the first sees the smallest objects
UNSURE, CLOSE = 0.05, 0.5  # score below which a window's box is not merged, distance up to which boxes are
MOST = 60  # boxes of a class that are merged


class OverFeat(BoxHead[Regions]):
    """Look -> ``Regions`` whose boxes are the windows of all scales. Targets: ``Objects``."""

    method = "overfeat"
    no_graph = "its boxes are merged pair by pair; train it by fcos or yolo"

    def __init__(self, classes: Sequence[str], *, channels: Mapping[str, int], width: int = WIDTH, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.width, self.hidden = width, hidden
        self.pyramid = Pyramid(channels, width, finest=True)
        self.connected = nn.Conv2d(width, hidden, SIDE, dilation=POOL)
        self.normal = nn.BatchNorm2d(hidden)
        self.kind, self.box = nn.Conv2d(hidden, 1 + len(classes), 1), nn.Conv2d(hidden, 4 * len(classes), 1)
        nn.init.normal_(self.box.weight, std=0.001)

    @classmethod
    def fresh(cls, context: Context, options: NoOptions) -> "OverFeat":
        """An untrained head."""
        return OverFeat(context.classes, channels=context.pick(STRIDES))

    @property
    def needs(self) -> Needs:
        return Needs(maps=self.pyramid.strides)

    def config(self) -> Facts:
        """Plain values that rebuild this head: ``OverFeat(**config)``."""
        return {"classes": list(self.classes), "channels": self.pyramid.channels, "width": self.width, "hidden": self.hidden}

    def forward(self, look: Look) -> Regions:
        look.require(self.needs)
        level, stride = self.pyramid(look.maps)[0], self.pyramid.strides[0]
        boxes, kinds, codes = [], [], []
        for scale in SCALES:
            size = [max(SIDE * POOL, round(side * scale)) for side in level.shape[2:]]
            scaled = functional.interpolate(level, size=size, mode="bilinear", align_corners=False) if scale != 1 else level
            if min(scaled.shape[2:]) < SIDE * POOL:
                scaled = functional.pad(scaled, (0, max(0, SIDE * POOL - scaled.shape[3]), 0, max(0, SIDE * POOL - scaled.shape[2])))
            read = functional.relu(self.normal(self.connected(pool_everywhere(scaled))))
            kinds.append(self.kind(read).flatten(2).transpose(1, 2))
            codes.append(self.box(read).flatten(2).transpose(1, 2))
            ratio = (level.shape[3] / scaled.shape[3] * stride, level.shape[2] / scaled.shape[2] * stride)
            boxes.append(windows_of(read.shape[2], read.shape[3], ratio).to(level))
        every = torch.cat(boxes).expand(len(level), -1, -1)
        return Regions(every, torch.cat(kinds, dim=1), torch.cat(codes, dim=1).view(*every.shape[:2], -1, 4))

    def boxes_and_scores(self, raw: Regions) -> tuple[Tensor, Tensor]:
        return region_boxes(raw)

    def loss(self, raw: Regions, target: Sequence[Objects]) -> dict[str, Tensor]:
        """Cross entropy of the windows' classes and smooth absolute error of their boxes, see ``onelook.heads.roi_head``."""
        return region_losses(raw, target)

    def choose(self, boxes: Tensor, scores: Tensor, placement: Placement) -> ScoredBoxes:
        """The boxes of one picture, merged greedily instead of suppressed."""
        likely = scores.flatten()
        chosen = (likely >= UNSURE).nonzero().flatten()
        chosen = chosen[likely[chosen].topk(min(CANDIDATES, len(chosen))).indices]
        places = placement.boxes_to_original(boxes[chosen // scores.shape[1]])
        labels, likely = chosen % scores.shape[1], likely[chosen]
        parts = []
        for label in sorted(set(labels.tolist())):
            mine = (labels == label).nonzero().flatten()[:MOST]
            merged, total = merge_greedily(places[mine], likely[mine], stop=CLOSE)
            parts.append(ScoredBoxes(merged, total / (1 + total), torch.full((len(merged),), label)))
        if not parts:
            return no_boxes()
        found = ScoredBoxes(*(torch.cat([getattr(part, name) for part in parts]) for name in ("boxes", "scores", "labels")))
        order = found.scores.argsort(descending=True, stable=True)
        return ScoredBoxes(found.boxes[order], found.scores[order], found.labels[order])


def fully_convolutional(layer: nn.Linear, channels: int, side: int) -> nn.Conv2d:
    """A dense layer on a flattened map (channels, side, side) as the convolution that does the same at every place of a larger map."""
    convolution = nn.Conv2d(channels, layer.out_features, side, bias=layer.bias is not None)
    with torch.no_grad():
        convolution.weight.copy_(layer.weight.view(layer.out_features, channels, side, side))
        if layer.bias is not None and convolution.bias is not None:
            convolution.bias.copy_(layer.bias)
    return convolution


def pool_everywhere(level: Tensor) -> Tensor:
    """Maxima over POOL x POOL cells at every offset (B, C, h - POOL + 1, w - POOL + 1): what pooling at each offset apart gives,
    interleaved.

    A convolution with dilation POOL on it reads what an ordinary one reads of each of those pooled maps.
    """
    return functional.max_pool2d(level, POOL, stride=1)


def windows_of(rows: int, columns: int, cell: tuple[float, float]) -> Tensor:
    """The windows (rows * columns, 4) xyxy in input pixels that a map of scores has, row by row, a cell apart.

    ``cell``: width and height in input pixels of a cell of the map on which windows slide; a window is SIDE * POOL cells wide and high.
    """
    top, left = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    start = torch.stack([left, top], dim=-1).reshape(-1, 2) * torch.tensor(cell)
    return torch.cat([start, start + SIDE * POOL * torch.tensor(cell)], dim=1)

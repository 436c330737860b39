"""Which objects, and where, crop by crop: every proposed region, or every window of a grid, is cut out, brought to one size and looked at
by itself.

``Rcnn``: Girshick et al. 2014, "Rich feature hierarchies for accurate object detection and semantic segmentation", sections 2 and 3,
appendices A and C: selective search, crops warped to a square with context around them, one linear SVM a class with hard negatives mined,
ridge regression of the box.
Differs: crops are cut from the network's input (not from the picture) and are smaller, the network is not fine-tuned, margins become
scores by Platt's logistic curve. ``Windows``: the sliding windows that all of these replaced (Sermanet et al. 2014, section 3.1): windows
of a few typical shapes, one classifier, no regression. Both are slow on purpose: they are what the others are measured against.
``onelook.training.region_svm`` trains them.

    onelook train dataset/ --task detect --method rcnn --name things --model mine.onelook
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torchvision.ops import roi_align

from onelook.errors import HeadError
from onelook.facts import Facts
from onelook.geometry.anchors import cluster_shapes
from onelook.geometry.objects import Objects, has_area
from onelook.geometry.placement import PIXELS
from onelook.heads.base import Claim, Embedder, Usual
from onelook.heads.box_head import BoxHead
from onelook.heads.context import Context
from onelook.heads.options import NoOptions
from onelook.heads.roi_head import moved_boxes
from onelook.looks.features import Look, Needs

CROP = 96  # pixels of a side of a crop
CONTEXT = 16 / 227  # share of a crop, on each side, that shows what is around the region
PROPOSALS = 300
SHAPES, STEP, SMALLEST_STEP = 4, 0.25, 8  # of windows: typical shapes, step as a share of a side, in pixels at least
BATCH = 64  # crops that the network looks at together


@dataclass(frozen=True)
class Crops:
    """``boxes`` (B, R, 4) xyxy in input pixels, those without an area are none; each class has a margin and a way to move the box.

    ``margins`` (B, R, classes), ``codes`` (B, R, classes, 4).
    """

    boxes: Tensor
    margins: Tensor
    codes: Tensor


class Rcnn(BoxHead[Crops]):
    """Look with pixels and proposed regions -> ``Crops``. ``bind`` it to a network before it is asked.

    A margin is ``features @ weight.T + bias``; ``curve`` (classes, 2) makes it a score: sigmoid(curve[0] * margin + curve[1]).
    """

    method = "rcnn"
    trainer = "region_svm"
    usual = Usual(views=1)
    crops = True
    no_graph = "it cuts crops out of the picture and looks at each by itself; train it by fcos or yolo"
    overlap = 0.3
    weight: Tensor
    bias: Tensor
    ridge: Tensor
    curve: Tensor

    def __init__(self, classes: Sequence[str], *, inputs: int, proposals: int = PROPOSALS, shapes: Sequence[Sequence[float]] = ()) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.inputs, self.proposals = inputs, proposals
        self.shapes = [[float(width), float(height)] for width, height in shapes]
        count = len(classes)
        self.register_buffer("weight", torch.zeros(count, inputs))
        self.register_buffer("bias", torch.zeros(count))
        self.register_buffer("ridge", torch.zeros(count, 4, inputs + 1))
        self.register_buffer("curve", torch.tensor([[1.0, 0.0]]).repeat(count, 1))
        self._network: list[Embedder] = []

    @classmethod
    def fresh(cls, context: Context, options: NoOptions) -> "Rcnn":
        """An untrained head."""
        return cls(context.classes, inputs=context.embedding_size)

    def bind(self, network: Embedder) -> None:
        """Give it the network that looks at crops; it is not part of the head."""
        self._network = [network]

    def looks_at(self, look: Look) -> list[int]:
        """How many crops of each picture are looked at."""
        return [int(there) for there in has_area(self.boxes_of(look).flatten(0, 1)).view(len(look), -1).sum(1)]

    @property
    def needs(self) -> Needs:
        return Needs(maps=(PIXELS,), regions=self.proposals)

    def config(self) -> Facts:
        """Plain values that rebuild this head."""
        return {"classes": list(self.classes), "inputs": self.inputs, "proposals": self.proposals, "shapes": self.shapes}

    def boxes_of(self, look: Look) -> Tensor:
        """The boxes (B, R, 4) that are looked at."""
        assert look.regions is not None
        return look.regions[:, : self.proposals]

    def features(self, pixels: Tensor, boxes: Tensor) -> Tensor:
        """Embeddings (R, D) of the crops of one picture's pixels (3, H, W) around ``boxes`` (R, 4)."""
        if not self._network:
            raise HeadError(f"a head by {type(self).__name__.lower()} looks at crops itself; ask it through its model")
        crops = cut(pixels, boxes)
        return torch.cat([self._network[0](part) for part in torch.split(crops, BATCH)]) if len(crops) else pixels.new_zeros(0, self.inputs)

    @torch.no_grad()
    def forward(self, look: Look) -> Crops:
        look.require(self.needs)
        boxes = self.boxes_of(look)
        margins = torch.full((*boxes.shape[:2], len(self.classes)), -torch.inf)
        codes = torch.zeros(*margins.shape, 4)
        for index, (pixels, mine) in enumerate(zip(look.maps[PIXELS], boxes, strict=True)):
            there = has_area(mine)
            features = self.features(pixels, mine[there])
            margins[index, there] = features @ self.weight.T + self.bias
            codes[index, there] = torch.einsum("rd,kcd->rkc", features, self.ridge[..., :-1]) + self.ridge[..., -1]
        return Crops(boxes, margins, codes)

    def boxes_and_scores(self, raw: Crops) -> tuple[Tensor, Tensor]:
        scores = torch.sigmoid(self.curve[:, 0] * raw.margins + self.curve[:, 1]) * torch.isfinite(raw.margins)
        return moved_boxes(raw.boxes, raw.codes), torch.diag_embed(scores).flatten(1, 2)

    def claim(self, raw: Crops, about: Any = None) -> Claim[Crops]:
        """Raises HeadError: it would be looked at some thousand crops anew for each changed picture, and has no gradient."""
        raise HeadError(
            f"a head by {self.method} looks at every crop itself and ends in support vectors: it has no gradient, and hiding parts would "
            "take hours; ask a head by fcos, yolo or faster_rcnn, trained on the same data, why"
        )

    def loss(self, raw: Crops, target: Sequence[Objects]) -> dict[str, Tensor]:
        """It is not learned by descent, see ``onelook.training.region_svm``; raises HeadError."""
        raise HeadError("this head is fitted by least squares and support vectors, not by descent")


class Windows(Rcnn):
    """Look with pixels -> ``Crops`` of all windows of the given shapes (width, height in input pixels)."""

    method = "windows"

    @classmethod
    def fresh(cls, context: Context, options: NoOptions) -> "Windows":
        """An untrained head whose windows have the typical shapes of the examples' boxes."""
        sides = [objects.learnable.boxes[:, 2:] - objects.learnable.boxes[:, :2] for objects in context.examples]
        shapes = cluster_shapes(torch.cat(sides), SHAPES) if any(map(len, sides)) else torch.tensor([[64.0, 64.0]])
        return cls(context.classes, inputs=context.embedding_size, proposals=0, shapes=shapes.round().tolist())

    @property
    def needs(self) -> Needs:
        return Needs(maps=(PIXELS,))

    def boxes_of(self, look: Look) -> Tensor:
        every = torch.cat([slide(look.placements[0].input, (width, height)) for width, height in self.shapes])
        return every.expand(len(look), -1, -1)


def slide(frame: tuple[int, int], shape: tuple[float, float]) -> Tensor:
    """Windows (N, 4) of one shape over a frame (width, height), row by row, a quarter of their side apart; the last touch the edges."""
    width, height = (min(side, float(whole)) for side, whole in zip(shape, frame, strict=True))
    lefts, tops = (_starts(float(whole), side) for whole, side in zip(frame, (width, height), strict=True))
    top, left = torch.meshgrid(tops, lefts, indexing="ij")
    corner = torch.stack([left, top], dim=-1).reshape(-1, 2)
    return torch.cat([corner, corner + torch.tensor([width, height])], dim=1)


def _starts(whole: float, side: float) -> Tensor:
    """Where windows of this side start on a line, the last one at its end."""
    last = max(whole - side, 0.0)
    starts = torch.arange(0, last, max(float(SMALLEST_STEP), side * STEP)).float() if last else torch.zeros(0)
    return torch.cat([starts, torch.tensor([last])])


def cut(pixels: Tensor, boxes: Tensor, size: int = CROP, context: float = CONTEXT) -> Tensor:
    """Crops (R, 3, size, size), each a box with ``context`` of the crop on every side, warped; what lies outside the picture is zero."""
    grow = context / (1 - 2 * context)
    margin = (boxes[:, 2:] - boxes[:, :2]) * grow
    wider = torch.cat([boxes[:, :2] - margin, boxes[:, 2:] + margin], dim=1)
    return cast(Tensor, roi_align(pixels[None], [wider], size, sampling_ratio=2, aligned=True))

"""Which objects, and where: one look, regions proposed by selective search, each pooled from the map and read.

Girshick 2015, "Fast R-CNN", section 2: the look is shared by all regions, class and box are learned together. ``pool="pyramid"`` is He et
al. 2014, "Spatial pyramid pooling in deep convolutional networks", section 2.1: maxima over 4 x 4, 2 x 2 and 1 x 1 parts of a region.
Differs: the map that is pooled is a pyramid's at stride 16; regions with an object are those proposed, the labelled boxes are not added
to them.

    onelook train dataset/ --task detect --method fast_rcnn --name things --model mine.onelook
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torchvision.ops import roi_pool

from onelook.facts import Facts
from onelook.geometry.objects import Objects
from onelook.heads.box_head import BoxHead
from onelook.heads.context import Context
from onelook.heads.options import NoOptions
from onelook.heads.pyramid import Pyramid
from onelook.heads.roi_head import RegionReader, Regions, region_boxes, region_losses, spread
from onelook.looks.features import Look, Needs

Pool = Literal["region", "pyramid"]
WIDTH, HIDDEN, GRID = 64, 256, 7
PARTS = (4, 2, 1)  # of spatial pyramid pooling
STRIDES = (16, 32)
PROPOSALS = 300


class FastRcnn(BoxHead[Regions]):
    """Look with proposed regions -> ``Regions``. Targets: ``Objects``."""

    method = "fast_rcnn"
    no_graph = "its regions are proposed by selective search, outside of any network; train it by fcos or yolo"
    overlap = 0.4
    pool_usual: ClassVar[Pool] = "region"

    def __init__(
        self, classes: Sequence[str], *, channels: Mapping[str, int], pool: Pool = "region", proposals: int = PROPOSALS, width: int = WIDTH
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.pool, self.proposals, self.width = pool, proposals, width
        self.pyramid = Pyramid(channels, width, finest=True)
        cells = GRID * GRID if pool == "region" else sum(part * part for part in PARTS)
        self.reader = RegionReader(cells * width, len(classes), HIDDEN)

    @classmethod
    def fresh(cls, context: Context, options: NoOptions) -> "FastRcnn":
        """An untrained head."""
        return cls(context.classes, channels=context.pick(STRIDES), pool=cls.pool_usual)

    @property
    def needs(self) -> Needs:
        return Needs(maps=self.pyramid.strides, regions=self.proposals)

    def config(self) -> Facts:
        """Plain values that rebuild this head: ``FastRcnn(**config)``."""
        shape = {"pool": self.pool, "proposals": self.proposals, "width": self.width}
        return {"classes": list(self.classes), "channels": self.pyramid.channels, **shape}

    def forward(self, look: Look) -> Regions:
        look.require(self.needs)
        assert look.regions is not None
        boxes = look.regions[:, : self.proposals]
        level = self.pyramid(look.maps)[0]
        scale = 1 / self.pyramid.strides[0]
        parts = (GRID,) if self.pool == "region" else PARTS
        pooled = torch.cat([roi_pool(level, spread(boxes), part, scale).flatten(1) for part in parts], dim=1)
        logits, codes = self.reader(pooled)
        return Regions(boxes, logits.view(*boxes.shape[:2], -1), codes.view(*boxes.shape[:2], -1, 4))

    def boxes_and_scores(self, raw: Regions) -> tuple[Tensor, Tensor]:
        return region_boxes(raw)

    def loss(self, raw: Regions, target: Sequence[Objects]) -> dict[str, Tensor]:
        """The second stage's losses, see ``onelook.heads.roi_head``."""
        return region_losses(raw, target)


class SppNet(FastRcnn):
    """Fast R-CNN with spatial pyramid pooling of its regions."""

    method = "sppnet"
    pool_usual: ClassVar[Pool] = "pyramid"

"""Which pixels: a U-Net whose first half is the look, and whose second half enlarges it step by step, joined by the look's finer maps.

Ronneberger et al. 2015, "U-Net: convolutional networks for biomedical image segmentation", section 2: at every step the map is doubled,
laid beside the map of that size from the way down, and two 3x3 convolutions follow. Differs: the way down is the look (frozen, or behind
a tail); convolutions are padded and batch normalised; ``up`` is bilinear enlargement (docs/diary.md) or the paper's transposed
convolution; the last step is at the finest map that is read, and scores are enlarged from there.

    onelook train people/ --task segment --name people --model mine.onelook
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from onelook.backbones.bfloat16 import bfloat16_autocast
from onelook.backbones.layout import channels_last
from onelook.facts import Facts
from onelook.heads.base import Usual
from onelook.heads.context import Context
from onelook.heads.pixel_head import Loss, PixelHead, PixelOptions, Scores
from onelook.looks.features import Look, Needs

STRIDES = (4, 8, 16, 32)
WIDTHS = {2: 32, 4: 64, 8: 96, 16: 128, 32: 128}  # of the joined map at each stride
Up = Literal["bilinear", "transposed"]


def double(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, each batch normalised and rectified; the map keeps its size."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Join(nn.Module):
    """One step up: a coarse map, enlarged to the size of a finer one and laid beside it, through two convolutions."""

    def __init__(self, coarse: int, fine: int, width: int, up: Up) -> None:
        super().__init__()
        self.grow = nn.ConvTranspose2d(coarse, width, 2, stride=2) if up == "transposed" else None
        self.mix = double((width if self.grow else coarse) + fine, width)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        grown = self.grow(coarse) if self.grow else coarse
        if grown.shape[-2:] != fine.shape[-2:]:
            grown = functional.interpolate(grown, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        mixed: Tensor = self.mix(torch.cat([grown, fine], dim=1))
        return mixed


class UNet(PixelHead):
    """Look -> ``Scores`` at the finest stride that it reads. Targets: class ids (H, W) of the input's pixels."""

    method = "unet"
    usual = Usual(8, "photo", "stride8", ("all", "stride8", "none"), pictures_seen=8_000, epochs_in_time=2.5, batch=8, steps=12)
    Options = PixelOptions

    def __init__(
        self,
        classes: Sequence[str],
        *,
        channels: Mapping[str, int],
        up: Up = "bilinear",
        kind: Loss = "ce",
        borders: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.channels, self.up, self.kind, self.borders, self.scale = dict(channels), up, kind, borders, scale
        self.strides = tuple(sorted(map(int, channels)))
        *finer, coarsest = self.strides
        self.bottom = nn.Sequential(
            nn.Conv2d(channels[str(coarsest)], _width(coarsest), 1, bias=False), nn.BatchNorm2d(_width(coarsest)), nn.ReLU(inplace=True)
        )
        steps, width = [], _width(coarsest)
        for stride in reversed(finer):
            steps.append(Join(width, channels[str(stride)], _width(stride), up))
            width = _width(stride)
        self.steps = nn.ModuleList(steps)
        self.output = nn.Conv2d(width, len(classes), 1)
        self.register_buffer("weights", torch.ones(len(classes)))
        channels_last(self)

    @classmethod
    def fresh(cls, context: Context, options: PixelOptions) -> "UNet":
        """An untrained head."""
        head = UNet(context.classes, channels=context.pick(STRIDES), kind=options.loss, borders=options.borders, scale=context.scale)
        head.weigh(context.masks)
        return head

    @property
    def needs(self) -> Needs:
        return Needs(maps=self.strides)

    def config(self) -> Facts:
        """Plain values that rebuild this head: ``UNet(**config)``."""
        return {
            "classes": list(self.classes), "channels": self.channels, "up": self.up, "kind": self.kind, "borders": self.borders,
            "scale": self.scale,
        }  # fmt: skip

    def forward(self, look: Look) -> Scores:
        look.require(self.needs)
        maps = [look.maps[stride].contiguous(memory_format=torch.channels_last) for stride in self.strides]
        with bfloat16_autocast():
            x = self.bottom(maps[-1])
            for step, fine in zip(self.steps, reversed(maps[:-1]), strict=True):
                x = step(x, fine)
            return Scores(self.output(x), self.strides[0])


def _width(stride: int) -> int:
    return WIDTHS.get(stride, max(WIDTHS.values()))

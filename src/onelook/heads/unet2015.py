"""Which pixels, for pictures unlike photographs: the original U-Net, trained from scratch on the pixels themselves.

Ronneberger et al. 2015. Elastic deformations, turns and mirrors (section 3.1) are the views of ``--augment microscope``, which is this
method's usual recipe. It reads nothing of the backbone: its look is the pixels. ``width`` is 16 where the paper has 64, so that a laptop
trains it; without padding the input's edges are mirrored, as in the paper's overlap-tile strategy (figure 2).

    onelook train cells/ --task segment --method unet2015 --name cells --model mine.onelook
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onelook.backbones.bfloat16 import bfloat16_autocast
from onelook.backbones.layout import channels_last
from onelook.backbones.nets.unet import UNet2015, valid_input
from onelook.facts import Facts
from onelook.geometry.masks import mirrored
from onelook.geometry.placement import PIXELS
from onelook.heads.base import Usual
from onelook.heads.context import Context
from onelook.heads.options import option
from onelook.heads.pixel_head import Loss, PixelHead, PixelOptions, Scores
from onelook.looks.features import Look, Needs


@dataclass(frozen=True)
class UNet2015Options(PixelOptions):
    """``width``: channels of the first maps."""

    width: int = option(16, "Channels of the first maps of unet2015 (64 in the paper).", low=4, high=64)


class FromPixels(PixelHead):
    """Look with pixels -> ``Scores`` for every pixel of the input."""

    method = "unet2015"
    usual = Usual(8, "microscope", pictures_seen=8_000, epochs_in_time=2.5, batch=8, steps=12)
    Options = UNet2015Options

    def __init__(
        self,
        classes: Sequence[str],
        *,
        width: int = 16,
        padded: bool = True,
        kind: Loss = "ce",
        borders: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.width, self.padded, self.kind, self.borders, self.scale = width, padded, kind, borders, scale
        self.net = UNet2015(len(classes), width=width, padded=padded)
        self.register_buffer("weights", torch.ones(len(classes)))
        channels_last(self)

    @classmethod
    def fresh(cls, context: Context, options: UNet2015Options) -> "FromPixels":
        """An untrained head."""
        head = FromPixels(context.classes, width=options.width, kind=options.loss, borders=options.borders, scale=context.scale)
        head.weigh(context.masks)
        return head

    @property
    def needs(self) -> Needs:
        return Needs(maps=(PIXELS,))

    def config(self) -> Facts:
        """Plain values that rebuild this head: ``FromPixels(**config)``."""
        return {
            "classes": list(self.classes), "width": self.width, "padded": self.padded, "kind": self.kind, "borders": self.borders,
            "scale": self.scale,
        }  # fmt: skip

    def forward(self, look: Look) -> Scores:
        look.require(self.needs)
        x = look.maps[PIXELS].contiguous(memory_format=torch.channels_last)
        with bfloat16_autocast():
            return Scores(self.net(x) if self.padded else self._unpadded(x), PIXELS)

    def _unpadded(self, x: Tensor) -> Tensor:
        """Scores for every pixel from unpadded convolutions: the edges are mirrored outwards first."""
        height, width = x.shape[-2:]
        down, across = ((valid_input(side) - side) // 2 for side in (height, width))
        rows = mirrored(torch.arange(valid_input(height)) - down, height)
        columns = mirrored(torch.arange(valid_input(width)) - across, width)
        scores: Tensor = self.net(x[:, :, rows][..., columns])
        top, left = ((have - want) // 2 for have, want in zip(scores.shape[-2:], (height, width), strict=True))
        return scores[..., top : top + height, left : left + width]

"""U-Net as published: a way down of five steps, a way up of four, each joined by the map of its size from the way down.

Ronneberger et al. 2015, "U-Net: convolutional networks for biomedical image segmentation", section 2 and figure 1: 3x3 convolutions
without padding (572x572 pixels in, 388x388 scores out), 2x2 max pooling, 64 to 1024 channels, up-convolutions that halve the channels.
Differs where asked for: ``padded`` convolutions keep the size; ``width`` is the number of the first maps (64 in the paper); batch
normalisation (Ioffe & Szegedy 2015) stands behind every convolution, without which a narrow net needs many times the steps.

    python -c "from onelook.backbones.nets.unet import UNet2015; print(UNet2015(2, channels=1))"
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS = 5
SHORTER = 184  # pixels by which scores of unpadded convolutions are fewer than the input's, on every side


class UNet2015(nn.Module):
    """Pixels (B, channels, H, W) -> scores (B, classes, H', W'); padded: H' = H, a multiple of 16; else H' = H - 184 = 16 k + 4."""

    def __init__(self, classes: int, *, channels: int = 3, width: int = 64, padded: bool = False, normalised: bool = True) -> None:
        super().__init__()
        widths = [width * 2**step for step in range(STEPS)]
        self.padded = padded
        self.down = nn.ModuleList([_double(a, b, padded, normalised) for a, b in pairwise([channels, *widths])])
        self.grow = nn.ModuleList([nn.ConvTranspose2d(wide, wide // 2, 2, stride=2) for wide in reversed(widths[1:])])
        self.up = nn.ModuleList([_double(wide, wide // 2, padded, normalised) for wide in reversed(widths[1:])])
        self.output = nn.Conv2d(width, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")  # deviation sqrt(2 / N), as in section 3

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for step, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if step else x)
            kept.append(x)
        for grow, block, fine in zip(self.grow, self.up, reversed(kept[:-1]), strict=True):
            x = grow(x)
            x = block(torch.cat([_middle(fine, x), x], dim=1))
        scores: Tensor = self.output(x)
        return scores


def valid_input(side: int) -> int:
    """The smallest input side of unpadded convolutions whose scores cover ``side`` pixels."""
    return -(-max(0, side - 4) // 16) * 16 + 4 + SHORTER


def _double(inputs: int, outputs: int, padded: bool, normalised: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers.append(nn.Conv2d(channels, outputs, 3, padding=int(padded), bias=not normalised))
        layers += [nn.BatchNorm2d(outputs)] if normalised else []
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _middle(fine: Tensor, coarse: Tensor) -> Tensor:
    """The middle of a map, as large as another."""
    top, left = ((fine.shape[axis] - coarse.shape[axis]) // 2 for axis in (2, 3))
    return fine[:, :, top : top + coarse.shape[2], left : left + coarse.shape[3]]

"""What heads that read maps have in common: a pyramid of the look's maps, all of one width, coarse ones added to finer ones.

Lin et al. 2017, "Feature pyramid networks for object detection", section 3. Differs: the convolution that smooths each sum is separable (a
filter per channel, then 1x1), because on a CPU it costs a tenth.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from onelook.geometry.placement import Placement


def convolve(inputs: int, outputs: int, size: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, activation; the map keeps its size."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False), nn.BatchNorm2d(outputs), nn.SiLU())


def separable(inputs: int, outputs: int, size: int = 3) -> nn.Sequential:
    """A filter per channel, then 1x1 over channels, each normalised; the map keeps its size."""
    depthwise = nn.Conv2d(inputs, inputs, size, padding=size // 2, groups=inputs, bias=False)
    return nn.Sequential(depthwise, nn.BatchNorm2d(inputs), *convolve(inputs, outputs))


class Pyramid(nn.Module):
    """Maps by stride (B, C, h, w) -> as many maps (B, width, h, w), fine to coarse; with ``finest`` only the first of them."""

    def __init__(self, channels: Mapping[str, int], width: int, *, finest: bool = False) -> None:
        super().__init__()
        self.channels = dict(channels)  # by stride, in words, as a head's configuration has them
        self.strides = tuple(sorted(map(int, channels)))
        self.sides = nn.ModuleList([convolve(channels[str(stride)], width) for stride in self.strides])
        self.smooth = nn.ModuleList([separable(width, width) for _ in (self.strides[:1] if finest else self.strides)])

    def forward(self, maps: Mapping[int, Tensor]) -> list[Tensor]:
        levels = [side(maps[stride]) for stride, side in zip(self.strides, self.sides, strict=True)]
        for fine, coarse in reversed(list(pairwise(range(len(levels))))):
            grown = functional.interpolate(levels[coarse], size=levels[fine].shape[-2:], mode="nearest")
            levels[fine] = levels[fine] + grown
        return [smooth(level) for smooth, level in zip(self.smooth, levels, strict=False)]


def flat(levels: Sequence[Tensor]) -> Tensor:
    """Outputs (B, V, h, w) of several levels as rows (B, cells, V), level after level, cells row by row."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)


def padding(size: tuple[int, int], stride: int, placements: Sequence[Placement]) -> Tensor:
    """Which cells (B, h * w) of a map of ``size`` show nothing of their picture."""
    rows, columns = torch.arange(size[0]) * stride, torch.arange(size[1]) * stride
    masks = [(rows >= placement.content[1])[:, None] | (columns >= placement.content[0])[None] for placement in placements]
    return torch.stack(masks).flatten(1)

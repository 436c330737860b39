"""What is known of every pixel of a picture: the class that it shows, as a map of integers that is read when it is needed.

python -c "import torch; from onelook.geometry.masks import nearest; print(nearest(torch.eye(2), (4, 4)))"
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

IGNORE = 255  # what a mask says where nobody knows: nothing is learned there, and nothing judged
MOST_CLASSES = 255
STRIP = 4_000_000  # values that are enlarged at once


@dataclass(frozen=True, eq=False)
class Mask:
    """The mask of one picture, as a target.

    ``size``: width and height of the upright picture. ``pixels``: how many pixels of the mask show each class. ``load`` gives the mask as
    it is stored, (H, W) uint8, class ids and IGNORE; ``read`` in the picture's own size.
    """

    size: tuple[int, int]
    pixels: tuple[int, ...]
    load: Callable[[], Tensor]

    def read(self) -> Tensor:
        """Class ids (height, width) uint8 of the upright picture's pixels, IGNORE where nothing is known."""
        return nearest(self.load(), self.size)


@dataclass(frozen=True)
class ProbabilityMap:
    """How much of each class every place of one picture is.

    ``values`` (K, h, w), 0..1, over the whole picture of ``size`` (width, height).
    """

    values: Tensor
    size: tuple[int, int]

    def mask(self) -> Tensor:
        """The likeliest class (height, width) uint8 of each of the picture's pixels; made strip by strip, so that memory is bounded."""
        return self.surest()[0]

    def surest(self) -> tuple[Tensor, Tensor]:
        """The likeliest class (height, width) uint8 of each pixel, and its share (height, width) uint8 in steps of 1/255."""
        width, height = self.size
        label = torch.empty(height, width, dtype=torch.uint8)
        share = torch.empty(height, width, dtype=torch.uint8)
        for top, strip in self.strips():
            best, which = strip.max(0)
            label[top : top + strip.shape[1]] = which.to(torch.uint8)
            share[top : top + strip.shape[1]] = (best * 255).round().to(torch.uint8)
        return label, share

    def strips(self) -> Iterator[tuple[int, Tensor]]:
        """(top, shares (K, rows, width)) over the picture's rows, bilinear between the places' centres."""
        width, height = self.size
        classes, high, _ = self.values.shape
        rows = max(1, STRIP // (classes * width))
        for top in range(0, height, rows):
            centres = (torch.arange(top, min(top + rows, height)) + 0.5) * (high / height) - 0.5
            first, last = max(0, math.floor(float(centres[0]))), min(high - 1, math.floor(float(centres[-1])) + 1)
            part = functional.interpolate(
                self.values[None, :, first : last + 1].float(), size=(last + 1 - first, width), mode="bilinear", align_corners=False
            )[0]
            lower = centres.floor().clamp(first, last)
            upper = (lower + 1).clamp_max(last)
            weight = (centres - lower).clamp(0, 1)[:, None]
            yield top, part[:, lower.long() - first] * (1 - weight) + part[:, upper.long() - first] * weight


def nearest(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A map (H, W) in another ``size`` (width, height), by nearest neighbour; the same if it has that size."""
    height, width = mask.shape
    if (width, height) == size:
        return mask
    rows = ((torch.arange(size[1]) + 0.5) * (height / size[1])).long().clamp_max(height - 1)
    columns = ((torch.arange(size[0]) + 0.5) * (width / size[0])).long().clamp_max(width - 1)
    return mask[rows[:, None], columns[None]]


def mirrored(places: Tensor, length: int) -> Tensor:
    """Places (N,) on a line of ``length`` cells that goes on, mirrored, beyond both ends -> indices 0..length - 1.

    Edge cells are not doubled.
    """
    if length == 1:
        return torch.zeros_like(places)
    around = places.remainder(2 * (length - 1))
    return torch.minimum(around, 2 * (length - 1) - around)

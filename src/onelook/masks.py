"""What is known of every pixel of a picture: the class that it shows, as a map of integers that is read when it is needed.

python -c "import torch; from onelook.masks import nearest; print(nearest(torch.eye(2), (4, 4)))"
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

IGNORE = 255  # what a mask says where nobody knows: nothing is learned there, and nothing judged
MOST_CLASSES = 255


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

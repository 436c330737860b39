"""How a picture is brought to the network's input, and the way back.

``Geometry`` says how pictures are scaled and padded; ``Placement`` is what that did to one picture, and undoes it.

    python -c "from onelook import Geometry; print(Geometry(224, 'fit').place(640, 480))"
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from PIL import Image
from torch import Tensor

from onelook.errors import OnelookError
from onelook.geometry.masks import IGNORE

Mode = Literal["fit", "stretch", "crop"]
PIXELS = 1  # the stride under which a look holds the normalised pixels


@dataclass(frozen=True)
class Placement:
    """How one picture lies in the network's input.

    All sizes are (width, height) in pixels. ``x_input = x_original * scale - offset``, per axis, for continuous
    coordinates whose origin is the picture's top left corner.
    """

    original: tuple[int, int]
    input: tuple[int, int]
    content: tuple[int, int]  # the part of the input that shows the picture; the rest, right and below, is padding
    scale: tuple[float, float]
    offset: tuple[float, float]
    alone: tuple[int, int] | None = None  # the input without what a batch of several sizes was filled up with, where it was

    @property
    def frame(self) -> tuple[int, int]:
        """The input as it is for this picture alone: what shares of the input are shares of, whatever batch it is in."""
        return self.alone or self.input

    def shares(self, points: Tensor) -> Tensor:
        """Points (..., 2) as x, y in input pixels -> shares of what is shown of the picture, 0..1; in a graph, too (``as_tensor``)."""
        return torch.minimum((points / as_tensor(self.content, points)).clamp_min(0), points.new_ones(()))

    def points_to_input(self, points: Tensor) -> Tensor:
        """Points (..., 2) as x, y in original pixels -> input pixels."""
        return points * points.new_tensor(self.scale) - points.new_tensor(self.offset)

    def points_to_original(self, points: Tensor) -> Tensor:
        """Points (..., 2) as x, y in input pixels -> original pixels; not clipped."""
        return (points + points.new_tensor(self.offset)) / points.new_tensor(self.scale)

    def boxes_to_input(self, boxes: Tensor) -> Tensor:
        """Boxes (N, 4) as xyxy in original pixels -> input pixels."""
        return self.points_to_input(boxes.reshape(-1, 2, 2)).reshape(-1, 4)

    def boxes_to_original(self, boxes: Tensor) -> Tensor:
        """Boxes (N, 4) as xyxy in input pixels -> original pixels, clipped to the picture."""
        corners = self.points_to_original(boxes.reshape(-1, 2, 2))
        return torch.minimum(corners.clamp_min(0), corners.new_tensor(self.original)).reshape(-1, 4)

    def mask_to_input(self, mask: Tensor) -> Tensor:
        """An integer mask (h, w) of the original, in any size -> (H, W) over the input, by nearest neighbour; padding is IGNORE."""
        height, width = mask.shape
        xs = (torch.arange(self.content[0]) + 0.5 + self.offset[0]) / self.scale[0] * (width / self.original[0])
        ys = (torch.arange(self.content[1]) + 0.5 + self.offset[1]) / self.scale[1] * (height / self.original[1])
        whole = mask.new_full((self.input[1], self.input[0]), IGNORE)
        whole[: self.content[1], : self.content[0]] = mask[ys.long().clamp(0, height - 1)[:, None], xs.long().clamp(0, width - 1)[None]]
        return whole


@dataclass(frozen=True)
class Geometry:
    """How every picture of a model is brought to the network's input; one per model, because one look serves all heads.

    ``fit``: the longer side becomes ``size``, aspect kept, each side padded (right, below) to a multiple of ``multiple``;
    ``stretch``: both sides become ``size``; ``crop``: the shorter side becomes ``size / crop_share``, the centre is cut out
    (what ImageNet classifiers were evaluated with). ``size`` is rounded up to a multiple of ``multiple``.
    """

    size: int = 224
    mode: Mode = "fit"
    multiple: int = 32
    crop_share: float = 1.0

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise OnelookError(f"geometry {self.mode!r} is unknown; use one of {', '.join(get_args(Mode))}")
        if not 16 <= self.size <= 4096:
            raise OnelookError(f"size {self.size} is outside 16..4096 pixels; 224 suits most networks")
        object.__setattr__(self, "size", _round_up(self.size, self.multiple))

    def place(self, width: int, height: int) -> Placement:
        """The placement of a picture of ``width`` x ``height`` pixels."""
        size = self.size
        if self.mode == "stretch":
            return Placement((width, height), (size, size), (size, size), (size / width, size / height), (0.0, 0.0))
        if self.mode == "crop":
            short = max(size, round(size / self.crop_share))
            ratio = short / min(width, height)
            wide, high = max(size, round(width * ratio)), max(size, round(height * ratio))
            offset = (float(round((wide - size) / 2)), float(round((high - size) / 2)))
            return Placement((width, height), (size, size), (size, size), (wide / width, high / height), offset)
        ratio = size / max(width, height)
        content = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        padded = (_round_up(content[0], self.multiple), _round_up(content[1], self.multiple))
        return Placement((width, height), padded, content, (content[0] / width, content[1] / height), (0.0, 0.0))

    def apply(self, picture: Image.Image, interpolation: Image.Resampling, original: tuple[int, int] | None = None) -> Image.Image:
        """The part of the input that shows the picture, as an RGB picture of ``place(*original).content`` size.

        ``original``: width and height of the picture before it was decoded smaller.
        """
        original = original or picture.size
        placement = self.place(*original)
        (x0, y0), (sx, sy) = placement.offset, placement.scale
        (width, height), (fx, fy) = placement.content, (picture.width / original[0], picture.height / original[1])
        right, below = min((x0 + width) / sx, original[0]), min((y0 + height) / sy, original[1])
        return picture.resize(placement.content, interpolation, box=(x0 / sx * fx, y0 / sy * fy, right * fx, below * fy))


def as_tensor(numbers: Sequence[float], like: Tensor) -> Tensor:
    """Numbers as a tensor; where a graph is traced, those that it computes stay computed."""
    return torch.stack([torch.as_tensor(number) for number in numbers]).to(like)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple

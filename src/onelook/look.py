"""What one pass over a picture leaves behind, and the way back to the picture.

``Geometry`` says how pictures are brought to the network's input; ``Placement`` is what it did to one picture and how
to undo it; ``Needs`` is what a head asks for; ``Look`` is the immutable result that heads read.

    python -c "from onelook import Geometry; print(Geometry(224, 'fit').place(640, 480))"
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from PIL import Image
from torch import Tensor

from onelook.errors import HeadError, OnelookError
from onelook.masks import IGNORE

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

    def mask_to_original(self, mask: Tensor) -> Tensor:
        """An integer mask (H, W) over the whole input -> (height, width) of the original, by nearest neighbour.

        What a ``crop`` geometry cut away was not seen and is IGNORE.
        """
        width, height = self.original
        xs = (torch.arange(width) + 0.5) * self.scale[0] - self.offset[0]
        ys = (torch.arange(height) + 0.5) * self.scale[1] - self.offset[1]
        seen = ((ys >= 0) & (ys < self.content[1]))[:, None] & ((xs >= 0) & (xs < self.content[0]))[None]
        rows = ys.long().clamp(0, self.content[1] - 1)[:, None]
        columns = xs.long().clamp(0, self.content[0] - 1)[None]
        return torch.where(seen, mask[rows, columns], mask.new_tensor(IGNORE))


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


@dataclass(frozen=True)
class Needs:
    """What a head reads of a look: whole maps by stride, pooled statistics by stride, the embedding, how many proposed regions."""

    maps: tuple[int, ...] = ()
    pooled: tuple[int, ...] = ()
    embedding: bool = False
    regions: int = 0

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(
            tuple(sorted({*self.maps, *other.maps})),
            tuple(sorted({*self.pooled, *other.pooled})),
            self.embedding or other.embedding,
            max(self.regions, other.regions),
        )


def union(all_needs: Iterable[Needs]) -> Needs:
    """All that any of these needs names."""
    whole = Needs()
    for needs in all_needs:
        whole = whole | needs
    return whole


@dataclass(frozen=True)
class Look:
    """The immutable result of one pass over a batch of B pictures.

    ``maps``: stride -> (B, C, ~H/stride, ~W/stride); stride 1 is the normalised pixels themselves. ``pooled``: stride -> (B, 3, C):
    mean, maximum and standard deviation of that stride's map over the picture, padding left out. ``embedding``: (B, D), what
    the network's own classifier reads. ``regions``: (B, R, 4) boxes that selective search proposes, xyxy in input pixels, without an area
    where there are fewer. ``placements``: one per picture.
    """

    placements: tuple[Placement, ...]
    maps: Mapping[int, Tensor] = field(default_factory=dict)
    pooled: Mapping[int, Tensor] = field(default_factory=dict)
    embedding: Tensor | None = None
    regions: Tensor | None = None

    def __len__(self) -> int:
        return len(self.placements)

    def require(self, needs: Needs) -> None:
        """Raise HeadError, listing what there is, if this look lacks something that ``needs`` names."""
        for kind, wanted, there in (("maps", needs.maps, self.maps), ("pooled", needs.pooled, self.pooled)):
            missing = [stride for stride in wanted if stride not in there]
            if missing:
                raise HeadError(f"the head reads {kind} of strides {missing}, this look has {sorted(there) or 'none'}")
        if needs.embedding and self.embedding is None:
            raise HeadError("the head reads the embedding, this look has none")
        if needs.regions and (self.regions is None or self.regions.shape[1] < needs.regions):
            raise HeadError(
                f"the head reads {needs.regions} proposed regions, this look has {0 if self.regions is None else len(self.regions[0])}"
            )

    def to(self, device: torch.device | str) -> "Look":
        """The same look on another device."""
        return self._each(lambda value: value.to(device), self.placements)

    def pick(self, indices: Sequence[int]) -> "Look":
        """The look at these pictures only, in this order."""
        return self._each(lambda value: value[list(indices)], tuple(self.placements[index] for index in indices))

    def beside(self, other: "Look") -> "Look":
        """This look with the parts of another look at the same pictures added."""
        embedding = self.embedding if other.embedding is None else other.embedding
        regions = self.regions if other.regions is None else other.regions
        return Look(self.placements, {**self.maps, **other.maps}, {**self.pooled, **other.pooled}, embedding, regions)

    def _each(self, change: Callable[[Tensor], Tensor], placements: tuple[Placement, ...]) -> "Look":
        maps = {stride: change(value) for stride, value in self.maps.items()}
        pooled = {stride: change(value) for stride, value in self.pooled.items()}
        embedding, regions = (None if part is None else change(part) for part in (self.embedding, self.regions))
        return Look(placements, maps, pooled, embedding, regions)


def join(looks: Sequence[Look]) -> Look:
    """Looks with the same parts, one after the other."""
    first = looks[0]
    if len(looks) == 1:
        return first
    maps = {stride: torch.cat([look.maps[stride] for look in looks]) for stride in first.maps}
    pooled = {stride: torch.cat([look.pooled[stride] for look in looks]) for stride in first.pooled}
    embedding = None if first.embedding is None else torch.cat([look.embedding for look in looks if look.embedding is not None])
    regions = None if first.regions is None else torch.cat([look.regions for look in looks if look.regions is not None])
    return Look(tuple(placement for look in looks for placement in look.placements), maps, pooled, embedding, regions)


def pool_statistics(feature_map: Tensor) -> Tensor:
    """A map (B, C, H, W) -> (B, 3, C): mean, maximum and (population) standard deviation over H and W."""
    flat = feature_map.flatten(2)
    deviation, mean = torch.std_mean(flat, dim=2, correction=0)
    return torch.stack([mean, flat.amax(dim=2), deviation], dim=1)


def summarize(
    maps: Mapping[int, Tensor], final: Tensor, placements: Sequence[Placement], needs: Needs, embed: Callable[[Tensor], Tensor]
) -> Look:
    """The look that ``needs`` names, from a network's maps (stride -> (B, C, H, W)) and its final stage's output.

    ``embed``: final stage's output -> embedding. Padding is left out of statistics and embedding: pictures are taken in runs of equal
    content, so that a picture's part does not depend on the others.
    """
    pooled: dict[int, list[Tensor]] = {stride: [] for stride in needs.pooled}
    embeddings = []
    for start, stop in _runs([(placement.content, placement.input) for placement in placements]):
        for stride in needs.pooled:
            pooled[stride].append(pool_statistics(_shown(maps[stride][start:stop], placements[start])))
        if needs.embedding:
            embeddings.append(embed(_shown(final[start:stop], placements[start])))
    return Look(
        tuple(placements),
        {stride: maps[stride] for stride in needs.maps},
        {stride: torch.cat(parts) for stride, parts in pooled.items()},
        torch.cat(embeddings) if needs.embedding else None,
    )


def _shown(feature_map: Tensor, placement: Placement) -> Tensor:
    """The part of a map (B, C, h, w) that shows the picture."""
    if placement.content == placement.input:
        return feature_map
    high = -(-feature_map.shape[2] * placement.content[1] // placement.input[1])
    wide = -(-feature_map.shape[3] * placement.content[0] // placement.input[0])
    return feature_map[:, :, :high, :wide]


def _runs(keys: Sequence[object]) -> list[tuple[int, int]]:
    """Start and stop of each stretch of equal keys."""
    starts = [index for index, key in enumerate(keys) if index == 0 or key != keys[index - 1]]
    return list(zip(starts, [*starts[1:], len(keys)], strict=True))


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple

"""What one pass over a picture leaves behind: ``Needs`` is what a head asks for, ``Look`` the immutable result that heads read.

python -c "from onelook import Needs; print(Needs(maps=(8,)) | Needs(embedding=True))"
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

from onelook.errors import HeadError
from onelook.geometry.placement import PIXELS, Placement


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


def usually_kept(strides: Sequence[int]) -> Needs:
    """What the store keeps of every look, so that a second question costs no second look: all statistics, and the embedding."""
    return Needs(pooled=tuple(strides), embedding=True)


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


def padded(look: Look, size: tuple[int, int], map_sizes: Mapping[int, tuple[int, int]]) -> Look:
    """A look as if its pictures lay in a larger input of ``size`` (width, height): maps are filled up with zeros, right and below.

    ``map_sizes``: stride -> (height, width) of its map at that input. Statistics and embedding stay what they are.
    """
    maps = {
        stride: functional.pad(value, (0, map_sizes[stride][1] - value.shape[3], 0, map_sizes[stride][0] - value.shape[2]))
        for stride, value in look.maps.items()
    }
    placements = tuple(replace(placement, input=size, alone=placement.frame) for placement in look.placements)
    return replace(look, maps=maps, placements=placements)


def pool_statistics(feature_map: Tensor) -> Tensor:
    """A map (B, C, H, W) -> (B, 3, C): mean, maximum and (population) standard deviation over H and W."""
    flat = feature_map.flatten(2)
    deviation, mean = torch.std_mean(flat, dim=2, correction=0)
    return torch.stack([mean, flat.amax(dim=2), deviation], dim=1)


def summarize(
    maps: Mapping[int, Tensor], final: Tensor, placements: Sequence[Placement], needs: Needs, embed: Callable[[Tensor], Tensor]
) -> Look:
    """The look that ``needs`` names, from a network's maps (stride -> (B, C, H, W)) and its final stage's output.

    ``embed``: final stage's output -> embedding. One placement stands for a whole batch that lies alike. Padding is left out of
    statistics and embedding, so that a picture's part does not depend on the others.
    """
    return Look(
        tuple(placements),
        {stride: maps[stride] for stride in needs.maps},
        {stride: _of_shown(pool_statistics, maps[stride], placements) for stride in needs.pooled},
        _of_shown(embed, final, placements) if needs.embedding else None,
    )


def look_from(
    x: Tensor, outputs: Sequence[Tensor], strides: Sequence[int], placements: Sequence[Placement], needs: Needs,
    embed: Callable[[Tensor], Tensor],
) -> Look:  # fmt: skip
    """The look that ``needs`` names, from the network's input and its stages' outputs: one for each stride, and the final one."""
    maps = {PIXELS: x, **dict(zip(strides, outputs, strict=False))}
    return summarize(maps, outputs[-1], placements, needs, embed)


def shown(feature_map: Tensor, placement: Placement) -> Tensor:
    """The part of a map (B, C, h, w) that shows the picture."""
    high, wide = _shown_size(feature_map, placement)
    return feature_map[:, :, :high, :wide]


def _shown_size(feature_map: Tensor, placement: Placement) -> tuple[int, int]:
    (wide, high), (across, down) = placement.content, placement.input
    high = (feature_map.shape[2] * high + down - 1) // down  # rounded up, without negative numbers: graphs divide those otherwise
    return high, (feature_map.shape[3] * wide + across - 1) // across


def _of_shown(read: Callable[[Tensor], Tensor], feature_map: Tensor, placements: Sequence[Placement]) -> Tensor:
    """``read`` of the parts of a map that show the pictures, those of one size at once (dense layers are slow one by one), in order."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, placement in enumerate(placements):
        groups.setdefault(_shown_size(feature_map, placement), []).append(index)
    if len(groups) == 1:
        return read(shown(feature_map, placements[0]))
    found = [read(feature_map[rows, :, :high, :wide]) for (high, wide), rows in groups.items()]
    order = torch.tensor([row for rows in groups.values() for row in rows]).argsort()
    return torch.cat(found)[order.to(found[0].device)]

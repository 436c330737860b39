"""What excites a unit: the nine regions of all pictures, one a picture, where a channel of a layer is largest.

Zeiler, Fergus 2014, "Visualizing and understanding convolutional networks", section 4 (course notes 001, 4.7). One pass over the
pictures, as they come; kept are nine values and places for each channel, so that memory does not grow. A region is exactly what the
place sees (``receptive_field.py``), cut off at the picture's border: nothing outside of it can change the value.

    onelook patches efficientnet_lite0 photos/ --layer stride8 --out sheet.png
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from onelook.data.pictures import picture_size
from onelook.errors import DataError, HeadError
from onelook.facts import Facts
from onelook.geometry.placement import PIXELS, Placement
from onelook.inside.layers import Layer, field_of, find_layer, run_to
from onelook.inside.receptive_field import Field
from onelook.looks.extractor import Extractor, Refused, look_at
from onelook.looks.features import Needs, shown
from onelook.model import Model
from onelook.modelparts import READY
from onelook.progress import QUIET, Progress

COUNT = 9  # regions of a unit


@dataclass(frozen=True)
class Patch:
    """A region that excites a unit. ``box``: xyxy in pixels of the picture; ``centre``: what the place lies on (x, y), likewise;
    ``seen``: the box in pixels of the network's input; ``place``: row and column of the layer's map.
    """

    path: Path
    box: tuple[float, float, float, float]
    centre: tuple[float, float]
    value: float
    seen: tuple[int, int, int, int]
    place: tuple[int, int]

    def to_json(self) -> Facts:
        return {"path": str(self.path), "box": [round(value, 1) for value in self.box], "value": self.value}


@dataclass(frozen=True)
class Unit:
    """A channel of a layer, and the regions that excite it most, the strongest first; fewer where it is 0 all over in most pictures."""

    unit: int
    patches: tuple[Patch, ...]

    def to_json(self) -> Facts:
        return {"unit": self.unit, "pictures": [patch.to_json() for patch in self.patches]}


@dataclass(frozen=True)
class Patches:
    """The units of a layer; ``field``: pixels of the input that a place sees, of the larger side (None: all)."""

    layer: str
    field: int | None
    units: tuple[Unit, ...]
    pictures: int
    refused: tuple[Refused, ...]

    @property
    def sees(self) -> str:
        """What a place sees, in words."""
        return "the whole picture" if self.field is None else f"{self.field} pixels"

    @property
    def dead(self) -> int:
        """How many units are above 0 in no picture: behind a rectifier they never say anything."""
        return sum(not unit.patches or unit.patches[0].value <= 0 for unit in self.units)

    def to_json(self) -> Facts:
        refused = [{"path": str(one.path), "error": one.reason} for one in self.refused]
        units = [unit.to_json() for unit in self.units]
        return {
            "layer": self.layer,
            "receptive_field": self.field,
            "pictures": self.pictures,
            "dead": self.dead,
            "refused": refused,
            "units": units,
        }


def patches(model: Model, paths: Sequence[Path], layer: str, *, units: Sequence[int] | None = None, progress: Progress = QUIET) -> Patches:
    """The regions that excite the units of a layer of the backbone most; ``units``: which channels (default: all).

    Raises HeadError for a layer or unit that is not there, DataError without pictures.
    """
    return patches_by_layer(model, paths, [layer], units=units, progress=progress)[layer]


def patches_by_layer(
    model: Model, paths: Sequence[Path], names: Sequence[str], *, units: Sequence[int] | None = None,
    progress: Progress = QUIET,
) -> dict[str, Patches]:  # fmt: skip
    """The same for several layers, in one pass over the pictures."""
    layers = [find_layer(model.backbone, name) for name in names]
    extractor = model.extractor(model.geometry_of(READY))
    best: dict[str, _Best] = {}
    refused: list[Refused] = []
    with progress.task("looking", len(paths)) as advance:
        for seen in _maps(extractor, layers, paths):
            if isinstance(seen, Refused):
                refused.append(seen)
                advance()
                continue
            number, layer, feature_map = seen
            best.setdefault(layer.name, _Best(feature_map.shape[0])).add(number, feature_map)
            if layer is layers[-1]:
                advance()
    if not best:
        raise DataError(f"none of {len(paths)} pictures can be read" + (f" ({refused[0].reason})" if refused else ""))
    return {layer.name: _patches(extractor, layer, best[layer.name], paths, units, refused) for layer in layers}


def _patches(
    extractor: Extractor, layer: Layer, best: "_Best", paths: Sequence[Path], units: Sequence[int] | None, refused: Sequence[Refused]
) -> Patches:
    chosen = list(range(len(best.values))) if units is None else list(units)
    outside = [unit for unit in chosen if not 0 <= unit < len(best.values)]
    if outside:
        raise HeadError(f"unit {outside[0]}: {layer.name} has units 0 to {len(best.values) - 1}")
    regions = _Regions(extractor, layer, paths)
    found = tuple(Unit(unit, tuple(regions.patch(*row) for row in best.rows(unit))) for unit in chosen)
    return Patches(layer.name, regions.largest, found, len(paths) - len(refused), tuple(refused))


def _maps(extractor: Extractor, layers: Sequence[Layer], paths: Iterable[Path]) -> Iterator[tuple[int, Layer, Tensor] | Refused]:
    """For each picture and layer the picture's number, the layer, and the part of its map (C, h, w) that shows the picture."""
    numbers = {path: number for number, path in enumerate(paths)}
    strides = tuple(sorted({layer.stride or PIXELS for layer in layers}))
    for seen in look_at(extractor, numbers, Needs(maps=strides)):
        if isinstance(seen, Refused):
            yield seen
            continue
        for layer in layers:
            maps = seen.look.maps[layer.stride or PIXELS]
            with torch.inference_mode():
                maps = maps if layer.stride else run_to(extractor.backbone, layer, maps)
            for index, path in enumerate(seen.paths):
                yield numbers[path], layer, shown(maps[index : index + 1], seen.look.placements[index])[0]


class _Best:
    """The COUNT largest values of every unit, at most one a picture: (C, COUNT), with their pictures and places."""

    def __init__(self, units: int) -> None:
        self.values = torch.full((units, COUNT), -torch.inf)
        self.pictures = torch.full((units, COUNT), -1)
        self.places = torch.zeros(units, COUNT, 2, dtype=torch.long)

    def add(self, number: int, feature_map: Tensor) -> None:
        """Take in a picture's map (C, h, w)."""
        largest, flat = feature_map.flatten(1).max(1)
        better = largest > self.values[:, -1]
        width = feature_map.shape[2]
        units = better.nonzero().flatten()
        self.values[units, -1], self.pictures[units, -1] = largest[units], number
        self.places[units, -1] = torch.stack([flat[units] // width, flat[units] % width], 1)
        order = self.values[units].argsort(dim=1, descending=True, stable=True)
        self.values[units] = self.values[units].gather(1, order)
        self.pictures[units] = self.pictures[units].gather(1, order)
        self.places[units] = self.places[units].gather(1, order[..., None].expand(-1, -1, 2))

    def rows(self, unit: int) -> list[tuple[int, int, int, float]]:
        """Picture, row, column and value of a unit's regions; where a rectifier lets nothing pass (0) there is none."""
        kept = (self.pictures[unit] >= 0) & (self.values[unit] != 0)
        places = self.places[unit][kept].tolist()
        pairs = zip(self.pictures[unit][kept].tolist(), places, self.values[unit][kept].tolist(), strict=True)
        return [(picture, row, column, value) for picture, (row, column), value in pairs]


class _Regions:
    """From places of a layer's map to boxes in pictures."""

    def __init__(self, extractor: Extractor, layer: Layer, paths: Sequence[Path]) -> None:
        self.extractor, self.layer, self.paths = extractor, layer, paths
        self._placements: dict[int, Placement] = {}
        self._fields: dict[tuple[int, int], Field] = {}

    def patch(self, number: int, row: int, column: int, value: float) -> Patch:
        """The region of one place."""
        if number not in self._placements:
            self._placements[number] = self.extractor.geometry.place(*picture_size(self.paths[number]))
        placement = self._placements[number]
        down, across = self.field(placement.input)
        (top, bottom), (left, right) = down.seen(row, placement.input[1]), across.seen(column, placement.input[0])
        seen = (left, top, right, bottom)
        box = placement.boxes_to_original(torch.tensor([seen], dtype=torch.float32))[0].tolist()
        x, y = (
            axis.middle(index, length) for axis, index, length in ((across, column, placement.input[0]), (down, row, placement.input[1]))
        )
        centre = placement.points_to_original(torch.tensor([x, y])).tolist()
        return Patch(self.paths[number], (box[0], box[1], box[2], box[3]), (centre[0], centre[1]), value, seen, (row, column))

    def field(self, size: tuple[int, int]) -> Field:
        """What a place sees of an input of this size."""
        if size not in self._fields:
            self._fields[size] = field_of(self.extractor.backbone, self.layer, size)
        return self._fields[size]

    @property
    def largest(self) -> int | None:
        """Pixels of the larger side of the field; None: all."""
        sizes = [axis.size for field in self._fields.values() for axis in field]
        return None if None in sizes else max(size for size in sizes if size is not None)

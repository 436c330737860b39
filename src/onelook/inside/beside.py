"""Two networks beside each other on the same pictures: frozen against fine-tuned, or two architectures trained on the same data.

Of every stage that both have: how many units are dead (above 0 in no picture), at how many places units are active, and how alike the two
networks see the pictures (linear CKA: Kornblith et al. 2019, "Similarity of neural network representations revisited", without bias as
in Nguyen et al. 2021, of maps averaged over places; 1: the same but for a rotation of the units, 0: nothing in common). Of the first
convolution: its filters' frequencies (``filters.spectrum``), and how much of what it finds is finer than its stride can hold, which folds
over into patterns that are not in the picture: aliasing, for which Zeiler and Fergus 2013 (section 4.1) made AlexNet's stride smaller.

    onelook anatomy frozen.onelook:kind --beside tuned.onelook:kind --over photos/ --report page
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from onelook.errors import DataError, HeadError
from onelook.facts import Facts
from onelook.geometry.placement import PIXELS
from onelook.inside.filters import Spectrum, first_convolution, spectrum
from onelook.looks.extractor import Extractor, Refused, look_at
from onelook.looks.features import Needs, shown
from onelook.model import Model
from onelook.progress import QUIET, Progress

MOST, LEAST = 500, 4  # pictures that are looked at; what likeness can be told of
FOLDED = 24  # pictures of which it is measured what folds over
HEADER = ("stage", "units", "dead", "active", "units there", "dead there", "active there", "alike")


@dataclass(frozen=True)
class First:
    """The first convolution: its filters, its ``stride``, and the share of what it finds that is finer than that stride can hold."""

    filters: Spectrum
    stride: int
    folded: float

    def __str__(self) -> str:
        one = self.filters
        return (
            f"{one.filters} first filters of {one.size[0]} x {one.size[1]}, {one.dead:.0%} dead; energy low {one.low:.0%}, middle "
            f"{one.middle:.0%}, high {one.high:.0%}; finer than stride {self.stride} holds: {self.folded:.0%} of what they find"
        )


@dataclass(frozen=True)
class Stage:
    """A stage of one network: how many units, the share of dead ones, and the share of places at which units are above 0."""

    units: int
    dead: float
    active: float

    def row(self) -> list[str]:
        return [str(self.units), f"{self.dead:.1%}", f"{self.active:.0%}"]


@dataclass(frozen=True)
class Beside:
    """Two networks on the same pictures. ``stages``: name -> the one's, the other's, and how alike they see (None: too few pictures)."""

    names: tuple[str, str]
    first: tuple[First, First]
    stages: dict[str, tuple[Stage, Stage, float | None]]
    pictures: int

    def rows(self) -> list[list[str]]:
        """A line for every stage in words."""
        return [
            [name, *one.row(), *other.row(), "" if alike is None else f"{alike:.2f}"] for name, (one, other, alike) in self.stages.items()
        ]

    def to_json(self) -> Facts:
        stages = {name: {"stages": [asdict(one), asdict(other)], "alike": alike} for name, (one, other, alike) in self.stages.items()}
        return {"networks": list(self.names), "first": [asdict(one) for one in self.first], "stages": stages, "pictures": self.pictures}


def beside(one: Model, other: Model, paths: Sequence[Path], names: tuple[str, str], *, progress: Progress = QUIET) -> Beside:
    """Both networks on the same pictures (of many, MOST drawn), each looking as its heads do; one without heads looks as the other.

    Raises HeadError without a common stage, DataError without pictures.
    """
    common = [stride for stride in one.backbone.strides if stride in other.backbone.strides]
    if not common:
        raise HeadError(f"{names[0]} and {names[1]} have no stage in common: strides {one.backbone.strides} and {other.backbone.strides}")
    chosen = list(dict.fromkeys(paths))
    if len(chosen) > MOST:
        chosen = [chosen[index] for index in sorted(np.random.default_rng(0).choice(len(chosen), MOST, replace=False))]
    extractors = [_as_its_heads(one, other), _as_its_heads(other, one)]
    with progress.task("looking", 2 * len(chosen)) as advance:
        sides = []
        for extractor in extractors:
            side = _Side(common)
            for path, maps in _looks(extractor, chosen, common):
                side.add(path, maps)
                advance()
            sides.append(side)
    read = list(sides[0].means[common[0]])
    if not read:
        raise DataError(f"none of {len(chosen)} pictures can be read")
    stages = {}
    for stride in common:
        first, second = (torch.stack([side.means[stride][path] for path in read]) for side in sides)
        alike = likeness(first, second) if len(first) >= LEAST else None
        stages[f"stride{stride}"] = (sides[0].stage(stride), sides[1].stage(stride), alike)
    some = read[:: max(1, len(read) // FOLDED)][:FOLDED]
    return Beside(names, (_first(extractors[0], some), _first(extractors[1], some)), stages, len(read))


def _looks(extractor: Extractor, paths: Sequence[Path], strides: Sequence[int]) -> Iterator[tuple[Path, dict[int, Tensor]]]:
    """Each picture that can be read, with the parts of its maps (C, h, w) that show it; pictures of one size come together."""
    for seen in look_at(extractor, paths, Needs(maps=tuple(strides))):
        if not isinstance(seen, Refused):
            for index, (path, placement) in enumerate(zip(seen.paths, seen.look.placements, strict=True)):
                yield path, {stride: shown(seen.look.maps[stride][index : index + 1], placement)[0].float() for stride in strides}


class _Side:
    """What is kept of one network: of every stage the largest value of each unit, and each picture's means."""

    def __init__(self, strides: Sequence[int]) -> None:
        self.means: dict[int, dict[Path, Tensor]] = {stride: {} for stride in strides}
        self.peaks: dict[int, Tensor] = {}
        self.active: dict[int, float] = dict.fromkeys(strides, 0.0)

    def add(self, path: Path, maps: dict[int, Tensor]) -> None:
        """Take in a picture's maps."""
        for stride, values in maps.items():
            peaks = values.flatten(1).amax(1)
            self.peaks[stride] = torch.maximum(self.peaks.get(stride, peaks), peaks)
            self.means[stride][path] = values.mean((1, 2))
            self.active[stride] += float((values > 0).float().mean())

    def stage(self, stride: int) -> Stage:
        peaks = self.peaks[stride]
        return Stage(len(peaks), float((peaks <= 0).float().mean()), self.active[stride] / len(self.means[stride]))


def _as_its_heads(model: Model, other: Model) -> Extractor:
    geometry = model.geometry or other.geometry or model.backbone.own_geometry()
    return model.extractor(replace(geometry, multiple=max(geometry.multiple, model.backbone.size_multiple)))


def _first(extractor: Extractor, paths: Sequence[Path]) -> First:
    layer = first_convolution(extractor.backbone.network)
    shares = [folded(layer, maps[PIXELS]) for _, maps in _looks(extractor, paths, [PIXELS])]
    return First(spectrum(layer.weight.detach()), max(layer.stride), float(np.mean(shares)))


def folded(layer: nn.Conv2d, x: Tensor) -> float:
    """The share of the energy of what a convolution finds in ``x`` (C, H, W) that lies above what its stride can hold, its mean left out.

    It is laid on with stride 1, and of its spectrum (a Hann window keeps the border out) counted what is finer than half a cycle a stride.
    """
    with torch.inference_mode():
        found = functional.conv2d(x[None], layer.weight.detach(), None, 1, 0, layer.dilation, layer.groups)[0]
        found = found - found.mean((1, 2), keepdim=True)
        high, wide = found.shape[1:]
        window = torch.hann_window(high)[:, None] * torch.hann_window(wide)
        power = torch.fft.rfft2(found * window).abs().square()
        down, across = torch.fft.fftfreq(high).abs()[:, None], torch.fft.rfftfreq(wide)[None]
        fine = (down > 0.5 / layer.stride[0]) | (across > 0.5 / layer.stride[1])
        return float(power[..., fine].sum() / power.sum().clamp_min(1e-30))


def likeness(x: Tensor, y: Tensor) -> float:
    """Linear CKA, without bias, of what two networks say of the same n >= 4 pictures: (n, C) and (n, D)."""
    one, other = (_without_diagonal(values.double()) for values in (x, y))
    size = math.sqrt(max(1e-30, _hsic(one, one) * _hsic(other, other)))
    return _hsic(one, other) / size


def _without_diagonal(x: Tensor) -> Tensor:
    x = x - x.mean(0)
    products = x @ x.T
    return products - torch.diag(products.diagonal())


def _hsic(one: Tensor, other: Tensor) -> float:
    """Song et al. 2012, "Feature selection via dependence maximization", equation 4: of products with a diagonal of 0."""
    n = len(one)
    together = float((one * other).sum())
    sums = float(one.sum() * other.sum()) / ((n - 1) * (n - 2))
    return (together + sums - 2 * float(one.sum(0) @ other.sum(0)) / (n - 2)) / (n * (n - 3))

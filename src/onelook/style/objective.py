"""What a painter goes down: a network, a sum of losses, what is kept of content and styles, and the gradient for a picture, whole or in
tiles.

Pictures beyond memory are looked at tile by tile. A first pass adds up the statistics of all tiles (Gram matrices are means over places),
so that there is one style target for the whole picture; a second one sends back each tile's share of the gradient. Tiles overlap, so that
no seam is left.

    onelook style photo.jpg painting.jpg --size 2000 --out large.jpg
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from onelook.backbones.bfloat16 import bfloat16_autocast
from onelook.style.losses import Features, Loss, Term
from onelook.style.networks import GRID, StyleNetwork

OVERLAP = 96  # pixels by which tiles reach into each other; their corners are multiples of GRID, so that no layer's places shift


@dataclass(frozen=True)
class Region:
    """Styles and where they belong: pictures (1, 3, h, w) with weights that add up to 1; ``places`` (H, W), 0 to 1, None: everywhere."""

    pictures: Sequence[tuple[float, Tensor]]
    places: Tensor | None = None


@dataclass(frozen=True)
class Tile:
    """A part of a picture: pixels that are seen (left, top, right, bottom), and those of them that count."""

    seen: tuple[int, int, int, int]
    inner: tuple[int, int, int, int]

    def of(self, picture: Tensor) -> Tensor:
        """Its pixels of a picture (..., H, W)."""
        left, top, right, bottom = self.seen
        return picture[..., top:bottom, left:right]

    def counts(self, places: Tensor | None) -> Tensor | None:
        """How much each seen pixel counts (h, w); None: all alike."""
        left, top, right, bottom = self.seen
        if self.seen == self.inner:
            return places if places is None else self.of(places)
        own = torch.zeros(bottom - top, right - left)
        own[self.inner[1] - top : self.inner[3] - top, self.inner[0] - left : self.inner[2] - left] = 1
        return own if places is None else own * self.of(places)


def tiles(height: int, width: int, side: int | None) -> list[Tile]:
    """A picture in tiles of at most ``side`` pixels a side, overlap included; None: one for all."""
    if side is None or max(height, width) <= side:
        return [Tile((0, 0, width, height), (0, 0, width, height))]
    step = max(GRID, (side - 2 * OVERLAP) // GRID * GRID)
    found = []
    for top in range(0, height, step):
        for left in range(0, width, step):
            right, bottom = min(width, left + step), min(height, top + step)
            seen = (max(0, left - OVERLAP), max(0, top - OVERLAP), min(width, right + OVERLAP), min(height, bottom + OVERLAP))
            found.append(Tile(seen, (left, top, right, bottom)))
    return found


@dataclass(frozen=True)
class _Wanted:
    """One loss and what it is to come to. ``places``: where it counts."""

    weight: float
    loss: Loss
    target: Tensor
    places: Tensor | None = None


class _Mean:
    """A mean that is added up."""

    def __init__(self) -> None:
        self._sum, self.count = torch.zeros(()), 0.0

    def add(self, mean: Tensor, count: float) -> None:
        self._sum, self.count = self._sum + mean * count, self.count + count

    @property
    def value(self) -> Tensor:
        return self._sum / max(self.count, 1e-6)


class Objective:
    """The loss of pictures of one size (H, W), and its gradient. ``side``: of tiles; None: the picture as a whole."""

    def __init__(self, network: StyleNetwork, terms: Term, content: Tensor, regions: Sequence[Region], side: int | None = None) -> None:
        self.network, self.side = network, side
        self.layers = {loss.layer for _, loss in terms.parts()}
        self.tiles = tiles(content.shape[-2], content.shape[-1], side)
        self.kept = [self._kept(terms, tile.of(content)) for tile in self.tiles]
        self.wanted = self._targets(terms, regions)

    def gradient(self, picture: Tensor, shift: tuple[int, int] = (0, 0)) -> tuple[Tensor, dict[str, float]]:
        """The gradient (1, 3, H, W) of the loss for a picture, and every loss, weighted, by name.

        ``shift``: by how many pixels, down and across, it is looked at moved round. A network that halves its maps by strides sees some
        pixels more than others; looked at from other places every time, all are seen alike.
        """
        gradient, losses = self._gradient(picture.roll(shift, (2, 3)))
        return gradient.roll((-shift[0], -shift[1]), (2, 3)), losses

    def _gradient(self, picture: Tensor) -> tuple[Tensor, dict[str, float]]:
        if len(self.tiles) == 1:
            x = picture.detach().requires_grad_(True)
            found = self._statistics(x, 0)
            losses = [self._loss(wanted, mean, count) for wanted, (mean, count) in zip(self.wanted, found, strict=True)]
            gradient = torch.autograd.grad(torch.stack(losses).sum(), x)[0]
            return gradient, self._named(losses)
        means, counts = self._whole(picture)
        leaves = [mean.requires_grad_(True) for mean in means]
        losses = [self._loss(*each) for each in zip(self.wanted, leaves, counts, strict=True)]
        pulls = torch.autograd.grad(torch.stack(losses).sum(), leaves)
        gradient = torch.zeros_like(picture)
        for number, tile in enumerate(self.tiles):
            x = tile.of(picture).detach().requires_grad_(True)
            found = self._statistics(x, number)
            shares = [(pull * mean).sum() * (count / whole) for pull, (mean, count), whole in zip(pulls, found, counts, strict=True)]
            tile.of(gradient).add_(torch.autograd.grad(torch.stack(shares).sum(), x)[0])
        return gradient, self._named(losses)

    def _whole(self, picture: Tensor) -> tuple[list[Tensor], list[float]]:
        """The statistics of all tiles together, and of how many places they are."""
        means = [_Mean() for _ in self.wanted]
        for number, tile in enumerate(self.tiles):
            with torch.no_grad():
                for mean, found in zip(means, self._statistics(tile.of(picture), number), strict=True):
                    mean.add(*found)
        return [mean.value for mean in means], [mean.count for mean in means]

    def _statistics(self, pixels: Tensor, number: int) -> list[tuple[Tensor, float]]:
        """Of one tile, for everything that is wanted: the mean over its own places, and how many they are."""
        features = self._look(pixels)
        found = []
        for wanted in self.wanted:
            x = features[wanted.loss.layer]
            places, count = _resized(self.tiles[number].counts(wanted.places), x)
            kept = self.kept[number].get(wanted.loss.layer, x)
            found.append((wanted.loss.statistics(x, places, kept), count))
        return found

    def _look(self, pixels: Tensor) -> Features:
        with bfloat16_autocast(self.network.facts.half):
            found: Features = self.network(pixels, self.layers)
        return found

    def _kept(self, terms: Term, pixels: Tensor) -> dict[str, Tensor]:
        """The content's own outputs at the layers of its losses."""
        layers = {loss.layer for _, loss in terms.parts() if loss.like == "content"}
        with torch.no_grad(), bfloat16_autocast(self.network.facts.half):
            return dict(self.network(pixels, layers)) if layers else {}

    def _targets(self, terms: Term, regions: Sequence[Region]) -> list[_Wanted]:
        """What losses are to come to: in the content for content, in every region's styles for style."""
        found = []
        styles = [(weight, loss) for weight, loss in terms.parts() if loss.like == "style"]
        for weight, loss in terms.parts():
            if loss.like == "nothing":
                found.append(_Wanted(weight, loss, torch.zeros(())))
            elif loss.like == "content":
                mean = _Mean()
                for kept, tile in zip(self.kept, self.tiles, strict=True):
                    x = kept[loss.layer]
                    places, count = _resized(tile.counts(None), x)
                    mean.add(loss.statistics(x, places, torch.zeros_like(x)), count)
                found.append(_Wanted(weight, loss, mean.value))
        for region in regions:
            shown = [(share, self._styles([loss for _, loss in styles], picture)) for share, picture in region.pictures]
            for place, (weight, loss) in enumerate(styles):
                target = torch.stack([share * targets[place] for share, targets in shown]).sum(0)
                found.append(_Wanted(weight / len(regions), loss, target, region.places))
        return found

    def _styles(self, losses: Sequence[Loss], picture: Tensor) -> list[Tensor]:
        """The statistics of a style picture for every loss, in tiles where those are used."""
        means = [_Mean() for _ in losses]
        for tile in tiles(picture.shape[-2], picture.shape[-1], self.side):
            with torch.no_grad():
                features = self._look(tile.of(picture))
                for loss, mean in zip(losses, means, strict=True):
                    x = features[loss.layer]
                    places, count = _resized(tile.counts(None), x)
                    mean.add(loss.statistics(x, places, x), count)
        return [mean.value for mean in means]

    @staticmethod
    def _loss(wanted: _Wanted, mean: Tensor, count: float) -> Tensor:
        return wanted.weight * wanted.loss.distance(mean, wanted.target, count)

    def _named(self, losses: Sequence[Tensor]) -> dict[str, float]:
        found: dict[str, float] = {}
        for wanted, loss in zip(self.wanted, losses, strict=True):
            found[wanted.loss.name] = found.get(wanted.loss.name, 0.0) + float(loss.detach())
        return found


def _resized(places: Tensor | None, x: Tensor) -> tuple[Tensor | None, float]:
    """How much places count, from pixels to a layer's places (1, C, H, W), and how many they are together."""
    if places is None:
        return None, float(x.shape[2] * x.shape[3])
    if places.shape != x.shape[-2:]:
        places = functional.interpolate(places[None, None], x.shape[-2:], mode="area")[0, 0]
    return places, float(places.sum())

"""From paths to looks: decode in threads, batch pictures of one input size, run the engine, pool what heads need.

The same way is taken in training (``collect.py``, into the cache) and in prediction, so the two cannot drift apart.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import torch
from PIL import Image
from torch import Tensor

from onelook.backbones.backbone import Backbone
from onelook.backbones.engines import Engine
from onelook.data.augment import RECIPES, Recipe, View, make_view, move_objects
from onelook.data.pictures import ahead, open_picture, picture_size, read_bytes
from onelook.errors import PictureError
from onelook.geometry.masks import nearest
from onelook.geometry.objects import Objects
from onelook.geometry.placement import PIXELS, Geometry, Placement
from onelook.geometry.selective_search import selective_search
from onelook.looks.cache import RowId
from onelook.looks.features import Look, Needs, look_from
from onelook.looks.tta import PLAIN as PLAIN_VIEW
from onelook.looks.tta import TtaView

Item = TypeVar("Item")
BATCH = 16
PLAIN = RECIPES["none"]


@dataclass(frozen=True)
class Pixels:
    """One decoded view: bytes (3, h, w) that show the picture, and where they lie in the network's input."""

    row: RowId
    content: Tensor
    placement: Placement


@dataclass(frozen=True)
class Refused:
    """A picture that could not be read, and why."""

    path: Path
    reason: str


class Extractor:
    """A backbone with an engine and a geometry: it looks at pictures and gives heads what they need."""

    def __init__(self, backbone: Backbone, engine: Engine, geometry: Geometry) -> None:
        self.backbone = backbone
        self.engine = engine
        self.geometry = geometry
        self.interpolation = Image.Resampling[backbone.preprocess.interpolation.upper()]

    def decode(
        self, path: Path, content: bytes, digest: str, numbers: Sequence[int] = (0,), recipe: Recipe = PLAIN, seed: int = 0
    ) -> list[Pixels]:
        """The views ``numbers`` of one picture as bytes, scaled as ``geometry`` says. Raises PictureError."""
        original = picture_size(path, content)
        picture = open_picture(path, content=content, at_least=2 * self.geometry.size)
        small: Image.Image | None = None
        found = []
        for number in numbers:
            if number < recipe.fixed:
                found.append(self.scale(make_view(View(picture), recipe, number, digest, seed).picture, (digest, number), original))
                continue
            size = self.drawn_from(original)
            small = small or (picture if picture.size == size else picture.resize(size, Image.Resampling.BOX))
            view = make_view(View(small), recipe, number, digest, seed).picture
            found.append(self.scale(view, (digest, number), view.size))
        return found

    def drawn_from(self, original: tuple[int, int]) -> tuple[int, int]:
        """The size to which a picture of this size is brought before views are drawn: large ones are made smaller first."""
        factor = max(1, min(original) // (2 * self.geometry.size))
        return -(-original[0] // factor), -(-original[1] // factor)

    def move(
        self, objects: Objects, original: tuple[int, int], row: RowId, recipe: Recipe, seed: int, pairs: Sequence[tuple[int, int]]
    ) -> Objects:
        """Where the objects of a picture of size ``original`` lie in the network's input that shows the view ``row``."""
        digest, number = row
        if number >= recipe.fixed:
            size = self.drawn_from(original)
            ratio = objects.boxes.new_tensor([size[0] / original[0], size[1] / original[1]])
            objects, original = objects.moved(lambda points: points * ratio, lambda boxes: boxes * ratio.repeat(2)), size
        moved, size = move_objects(objects, original, recipe, number, digest, seed, pairs)
        placement = self.geometry.place(*size)
        return moved.moved(placement.points_to_input, placement.boxes_to_input, placement.input)

    def move_mask(self, mask: Tensor, original: tuple[int, int], row: RowId, recipe: Recipe, seed: int) -> Tensor:
        """The mask (height, width) of a picture over the network's input (H, W) that shows the view ``row``.

        IGNORE where nothing is known.
        """
        digest, number = row
        mask = nearest(mask, self.drawn_from(original))
        blank = View(Image.new("L", (mask.shape[1], mask.shape[0])), mask=mask)
        moved = make_view(blank, recipe, number, digest, seed, colours=False).mask
        assert moved is not None
        shown = original if number < recipe.fixed else (moved.shape[1], moved.shape[0])
        return self.geometry.place(*shown).mask_to_input(moved)

    def at(self, factor: float) -> "Extractor":
        """The same at another input size, as a multiple of this one's."""
        if factor == 1:
            return self
        return Extractor(self.backbone, self.engine, replace(self.geometry, size=round(self.geometry.size * factor)))

    def scale(self, picture: Image.Image, row: RowId, original: tuple[int, int]) -> Pixels:
        """A picture as bytes of the size that ``geometry`` gives it; ``original``: its size before it was decoded smaller."""
        placement = self.geometry.place(*original)
        scaled = self.geometry.apply(picture, self.interpolation, original)
        pixels = torch.frombuffer(bytearray(scaled.tobytes()), dtype=torch.uint8).reshape(scaled.height, scaled.width, 3)
        return Pixels(row, pixels.permute(2, 0, 1), placement)

    @torch.inference_mode()
    def look(self, batch: Sequence[Pixels], needs: Needs) -> Look:
        """One look at pictures that share an input size; each picture's part does not depend on the others."""
        x = self.input(batch)
        placements = tuple(pixels.placement for pixels in batch)
        regions = torch.stack([selective_search(pixels.content, needs.regions) for pixels in batch]) if needs.regions else None
        if set(needs.maps) <= {PIXELS} and not needs.pooled and not needs.embedding:  # nothing of the network: it is brought by a tail
            return Look(placements, {PIXELS: x} if needs.maps else {}, regions=regions)
        outputs = self.engine(x)
        found = look_from(x.to(outputs[0].device), outputs, self.backbone.strides, placements, needs, self.engine.embed)
        return replace(found, regions=regions).to("cpu")  # where heads are

    def input(self, batch: Sequence[Pixels]) -> Tensor:
        """What the network reads of pictures that share an input size (B, 3, H, W): normalised, filled up with zeros."""
        wide, high = batch[0].placement.input
        mean, deviation = self.backbone.colours
        x = mean.expand(len(batch), 3, high, wide).clone()
        for row, pixels in zip(x, batch, strict=True):
            row[:, : pixels.content.shape[1], : pixels.content.shape[2]] = pixels.content
        return x.sub_(mean).div_(deviation)


class Batcher(Generic[Item]):
    """Collects items by key (pictures by input size) and gives back full batches; ``rest`` empties what is left."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.waiting: dict[object, list[Item]] = {}

    def add(self, item: Item, key: object) -> list[Item] | None:
        """A full batch that ``item`` completes, if it does."""
        bucket = self.waiting.setdefault(key, [])
        bucket.append(item)
        return self.waiting.pop(key) if len(bucket) == self.size else None

    def rest(self) -> Iterator[list[Item]]:
        """The batches that did not fill."""
        yield from self.waiting.values()
        self.waiting.clear()


@dataclass(frozen=True)
class Seen:
    """One look at a few pictures in one version of them (``tta_view``: its number), their paths, the milliseconds it took per picture."""

    paths: tuple[Path, ...]
    tta_view: int
    look: Look
    ms: float


def look_at(
    extractor: Extractor, paths: Iterable[Path], needs: Needs, views: Sequence[TtaView] = (PLAIN_VIEW,)
) -> Iterator[Seen | Refused]:
    """Looks at pictures as they come, a batch at a time, in every version, without a cache; unreadable ones are yielded as Refused."""
    extractors = [extractor.at(tta_view.size) for tta_view in views]

    def prepare(path: Path) -> tuple[Path, list[Pixels]] | Refused:
        try:
            content, digest = read_bytes(path)
            original = picture_size(path, content)
            picture = open_picture(path, content=content, at_least=2 * max(other.geometry.size for other in extractors))
            made = [tta_view.make(picture) for tta_view in views]
            sizes = [original if one.size == picture.size else one.size for one in made]
            return path, [other.scale(one, (digest, 0), size) for other, one, size in zip(extractors, made, sizes, strict=True)]
        except PictureError as error:
            return Refused(path, str(error))

    def look(group: list[tuple[Path, list[Pixels]]], tta_view: int) -> Iterator[Seen]:
        by_size: dict[tuple[int, int], list[tuple[Path, Pixels]]] = {}
        for path, versions in group:
            by_size.setdefault(versions[tta_view].placement.input, []).append((path, versions[tta_view]))
        for same in by_size.values():
            begun = time.perf_counter()
            found = extractors[tta_view].look([pixels for _, pixels in same], needs)
            yield Seen(tuple(path for path, _ in same), tta_view, found, (time.perf_counter() - begun) * 1000 / len(same))

    group: list[tuple[Path, list[Pixels]]] = []
    for result in ahead(prepare, paths):
        if isinstance(result, Refused):
            yield result
            continue
        group.append(result)
        if len(group) == BATCH:
            for tta_view in range(len(views)):
                yield from look(group, tta_view)
            group = []
    for tta_view in range(len(views)):
        yield from look(group, tta_view)

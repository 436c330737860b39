"""From paths to looks: decode in threads, batch pictures of one input size, run the engine, pool what heads need.

The same way is taken in training (through the cache) and in prediction, so the two cannot drift apart.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from onelook.backbone import Backbone
from onelook.cache import CacheKey, RowId, Shelf, check_room
from onelook.data.augment import RECIPES, Recipe, View, make_view, move_objects
from onelook.data.pictures import ahead, open_picture, picture_size, read_bytes
from onelook.engines import Engine
from onelook.errors import PictureError
from onelook.look import PIXELS, Geometry, Look, Needs, Placement, summarize
from onelook.masks import nearest
from onelook.objects import Objects
from onelook.progress import Progress
from onelook.proposals import propose
from onelook.tta import PLAIN as PLAIN_SHOT
from onelook.tta import Shot

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


class Looker:
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

    def at(self, factor: float) -> "Looker":
        """The same at another input size, as a multiple of this one's."""
        if factor == 1:
            return self
        return Looker(self.backbone, self.engine, replace(self.geometry, size=round(self.geometry.size * factor)))

    def scale(self, picture: Image.Image, row: RowId, original: tuple[int, int]) -> Pixels:
        """A picture as bytes of the size that ``geometry`` gives it; ``original``: its size before it was decoded smaller."""
        placement = self.geometry.place(*original)
        scaled = self.geometry.apply(picture, self.interpolation, original)
        pixels = torch.frombuffer(bytearray(scaled.tobytes()), dtype=torch.uint8).reshape(scaled.height, scaled.width, 3)
        return Pixels(row, pixels.permute(2, 0, 1), placement)

    @torch.inference_mode()
    def look(self, batch: Sequence[Pixels], needs: Needs) -> Look:
        """One look at pictures that share an input size; each picture's part does not depend on the others."""
        x = torch.stack([self._input(pixels) for pixels in batch])
        placements = tuple(pixels.placement for pixels in batch)
        regions = torch.stack([propose(pixels.content, needs.regions) for pixels in batch]) if needs.regions else None
        if set(needs.maps) <= {PIXELS} and not needs.pooled and not needs.embedding:  # nothing of the network: it is brought by a tail
            return Look(placements, {PIXELS: x} if needs.maps else {}, regions=regions)
        outputs = self.engine(x)
        maps = {PIXELS: x, **dict(zip(self.backbone.strides, outputs, strict=False))}
        found = summarize(maps, outputs[-1], placements, needs, self.backbone.embed)
        return replace(found, regions=regions).to("cpu")  # where heads are

    def _input(self, pixels: Pixels) -> Tensor:
        normal = self.backbone.normalize(pixels.content)
        right = pixels.placement.input[0] - normal.shape[2]
        below = pixels.placement.input[1] - normal.shape[1]
        return functional.pad(normal, (0, right, 0, below)) if right or below else normal


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
class Collected:
    """What ``collect`` found: per readable picture its content hash, the refused ones, views kept, time."""

    digests: dict[Path, str]
    refused: tuple[Refused, ...]
    views: int
    seconds: float
    looked: int  # views that had to be looked at now


def collect(looker: Looker, cache: Shelf, recipe: Recipe, paths: Sequence[Path], view_count: int, progress: Progress) -> Collected:
    """Make sure that the cache holds all views of all readable pictures; what is there is not looked at again.

    Prints the disk need before writing, and keeps fewer views where it would fill the disk. Raises DiskError.
    """
    begun = time.perf_counter()
    unique = list(dict.fromkeys(paths))
    needed = len(unique) * view_count * cache.row_values((looker.geometry.size, looker.geometry.size)) * 2
    if needed:
        fitting = check_room(cache.root, needed, view_count)
        if fitting < view_count:
            progress.say(f"only {fitting} of {view_count} views fit on the disk")
            view_count = fitting
        progress.say(f"looks at {len(unique)} pictures, {view_count} views each: at most {needed / 1e6:.1f} MB in {cache.root}")
    digests: dict[Path, str] = {}
    refused: list[Refused] = []
    batcher: Batcher[Pixels] = Batcher(BATCH)
    looked = 0

    def prepare(path: Path) -> tuple[Path, str, list[Pixels]] | Refused:
        try:
            content, digest = read_bytes(path)
            wanted = [number for _, number in cache.missing([(digest, number) for number in range(view_count)])]
            if not cache.kinds:  # nothing is kept: see now whether the picture can be read at all
                open_picture(path, content=content, at_least=looker.geometry.size)
            return path, digest, looker.decode(path, content, digest, wanted, recipe, cache.key.seed) if wanted else []
        except PictureError as error:
            return Refused(path, str(error))

    def write(batch: list[Pixels]) -> None:
        fresh = {pixels.row: pixels for pixels in batch}
        todo = [fresh[row] for row in cache.missing(list(fresh))]
        if todo:
            cache.append([pixels.row for pixels in todo], looker.look(todo, cache.key.needs))

    with progress.task("looking", len(unique)) as advance:
        for result in ahead(prepare, unique):
            if isinstance(result, Refused):
                refused.append(result)
            else:
                path, digest, pixels_of_views = result
                digests[path] = digest
                looked += len(pixels_of_views)
                for pixels in pixels_of_views:
                    batch = batcher.add(pixels, pixels.placement.input)
                    if batch:
                        write(batch)
            advance()
        for batch in batcher.rest():
            write(sorted(batch, key=lambda pixels: pixels.placement.content))
    return Collected(digests, tuple(refused), view_count, time.perf_counter() - begun, looked)


@dataclass(frozen=True)
class Seen:
    """One look at a few pictures in one version of them (``shot``: its number), their paths, the milliseconds it took per picture."""

    paths: tuple[Path, ...]
    shot: int
    look: Look
    ms: float


def look_at(looker: Looker, paths: Iterable[Path], needs: Needs, shots: Sequence[Shot] = (PLAIN_SHOT,)) -> Iterator[Seen | Refused]:
    """Looks at pictures as they come, a batch at a time, in every version, without a cache; unreadable ones are yielded as Refused."""
    lookers = [looker.at(shot.size) for shot in shots]

    def prepare(path: Path) -> tuple[Path, list[Pixels]] | Refused:
        try:
            content, digest = read_bytes(path)
            original = picture_size(path, content)
            picture = open_picture(path, content=content, at_least=2 * max(other.geometry.size for other in lookers))
            made = [shot.make(picture) for shot in shots]
            sizes = [original if one.size == picture.size else one.size for one in made]
            return path, [other.scale(one, (digest, 0), size) for other, one, size in zip(lookers, made, sizes, strict=True)]
        except PictureError as error:
            return Refused(path, str(error))

    def look(group: list[tuple[Path, list[Pixels]]], shot: int) -> Iterator[Seen]:
        by_size: dict[tuple[int, int], list[tuple[Path, Pixels]]] = {}
        for path, versions in group:
            by_size.setdefault(versions[shot].placement.input, []).append((path, versions[shot]))
        for same in by_size.values():
            begun = time.perf_counter()
            found = lookers[shot].look([pixels for _, pixels in same], needs)
            yield Seen(tuple(path for path, _ in same), shot, found, (time.perf_counter() - begun) * 1000 / len(same))

    group: list[tuple[Path, list[Pixels]]] = []
    for result in ahead(prepare, paths):
        if isinstance(result, Refused):
            yield result
            continue
        group.append(result)
        if len(group) == BATCH:
            for shot in range(len(shots)):
                yield from look(group, shot)
            group = []
    for shot in range(len(shots)):
        yield from look(group, shot)


def open_shelf(root: Path, looker: Looker, needs: Needs, recipe: Recipe, seed: int) -> Shelf:
    """The shelf on which this looker's looks at the views of ``recipe`` lie."""
    stages = len(looker.backbone.stages)
    key = CacheKey(looker.backbone.fingerprint, stages, needs, looker.geometry, recipe.key, seed)
    return Shelf(root, key, looker.backbone, recipe.fixed)

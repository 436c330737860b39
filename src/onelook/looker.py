"""From paths to looks: decode in threads, batch pictures of one input size, run the engine, pool what heads need.

The same way is taken in training (through the cache) and in prediction, so the two cannot drift apart.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from onelook.backbone import Backbone
from onelook.cache import CacheKey, FeatureCache, RowId, check_room
from onelook.data import views
from onelook.data.pictures import ahead, open_picture, read_bytes
from onelook.engines import Engine
from onelook.errors import PictureError
from onelook.look import Geometry, Look, Needs, Placement, pool_statistics
from onelook.progress import Progress

BATCH = 16


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

    def decode(self, path: Path, content: bytes, digest: str, numbers: Sequence[int] = (0,), seed: int = 0) -> list[Pixels]:
        """The views ``numbers`` of one picture as bytes, scaled as ``geometry`` says. Raises PictureError."""
        at_least = 2 * self.geometry.size
        picture = open_picture(path, content=content, at_least=at_least)
        decoded = []
        for number in numbers:
            view = views.make_view(picture, number, digest, seed)
            placement = self.geometry.place(*view.size)
            scaled = self.geometry.apply(view, self.interpolation)
            pixels = torch.frombuffer(bytearray(scaled.tobytes()), dtype=torch.uint8).reshape(scaled.height, scaled.width, 3)
            decoded.append(Pixels((digest, number), pixels.permute(2, 0, 1), placement))
        return decoded

    @torch.inference_mode()
    def look(self, batch: Sequence[Pixels], needs: Needs) -> Look:
        """One look at pictures that share an input size; each picture's part does not depend on the others."""
        outputs = self.engine(torch.stack([self._input(pixels) for pixels in batch]))
        placements = tuple(pixels.placement for pixels in batch)
        maps = dict(zip(self.backbone.strides, outputs, strict=False))
        runs = _runs([placement.content for placement in placements])
        parts = [
            self._parts({s: m[start:stop] for s, m in maps.items()}, outputs[-1][start:stop], placements[start], needs)
            for start, stop in runs
        ]
        pooled = {stride: torch.cat([part.pooled[stride] for part in parts]) for stride in needs.pooled}
        embedding = torch.cat([part.embedding for part in parts if part.embedding is not None]) if needs.embedding else None
        return Look(placements, {stride: maps[stride] for stride in needs.maps}, pooled, embedding).to("cpu")  # where heads are

    def _input(self, pixels: Pixels) -> Tensor:
        normal = self.backbone.normalize(pixels.content)
        right = pixels.placement.input[0] - normal.shape[2]
        below = pixels.placement.input[1] - normal.shape[1]
        return functional.pad(normal, (0, right, 0, below)) if right or below else normal

    def _parts(self, maps: dict[int, Tensor], final: Tensor, placement: Placement, needs: Needs) -> Look:
        """Pooled parts of pictures that share their content size, padding left out."""

        def shown(feature_map: Tensor) -> Tensor:
            if placement.content == placement.input:
                return feature_map
            high = -(-feature_map.shape[2] * placement.content[1] // placement.input[1])
            wide = -(-feature_map.shape[3] * placement.content[0] // placement.input[0])
            return feature_map[:, :, :high, :wide]

        pooled = {stride: pool_statistics(shown(maps[stride])) for stride in needs.pooled}
        return Look((), {}, pooled, self.backbone.embed(shown(final)) if needs.embedding else None)


def _runs(keys: Sequence[object]) -> list[tuple[int, int]]:
    """Start and stop of each stretch of equal keys."""
    starts = [index for index, key in enumerate(keys) if index == 0 or key != keys[index - 1]]
    return list(zip(starts, [*starts[1:], len(keys)], strict=True))


class Batcher:
    """Collects pictures by input size and gives back full batches; ``rest`` empties what is left."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.waiting: dict[tuple[int, int], list[Pixels]] = {}

    def add(self, pixels: Pixels) -> list[Pixels] | None:
        """A full batch that ``pixels`` completes, if it does."""
        bucket = self.waiting.setdefault(pixels.placement.input, [])
        bucket.append(pixels)
        if len(bucket) < self.size:
            return None
        return self.waiting.pop(pixels.placement.input)

    def rest(self) -> Iterator[list[Pixels]]:
        """The batches that did not fill."""
        for bucket in self.waiting.values():
            yield sorted(bucket, key=lambda pixels: pixels.placement.content)
        self.waiting.clear()


@dataclass(frozen=True)
class Collected:
    """What ``collect`` found: per readable picture its content hash, the refused ones, views kept, time."""

    digests: dict[Path, str]
    refused: tuple[Refused, ...]
    views: int
    seconds: float
    looked: int  # views that had to be looked at now


def collect(looker: Looker, cache: FeatureCache, paths: Sequence[Path], view_count: int, progress: Progress) -> Collected:
    """Make sure that the cache holds all views of all readable pictures; what is there is not looked at again.

    Prints the disk need before writing, and keeps fewer views where it would fill the disk. Raises DiskError.
    """
    begun = time.perf_counter()
    unique = list(dict.fromkeys(paths))
    needed = len(unique) * view_count * cache.row_values((looker.geometry.size, looker.geometry.size)) * 2
    fitting = check_room(cache.folder, needed, view_count)
    if fitting < view_count:
        progress.say(f"only {fitting} of {view_count} views fit on the disk")
        view_count = fitting
    progress.say(f"looks at {len(unique)} pictures, {view_count} views each: at most {needed / 1e6:.1f} MB in {cache.folder}")
    digests: dict[Path, str] = {}
    refused: list[Refused] = []
    batcher = Batcher(BATCH)
    looked = 0

    def prepare(path: Path) -> tuple[Path, str, list[Pixels]] | Refused:
        try:
            content, digest = read_bytes(path)
            wanted = [number for _, number in cache.missing([(digest, number) for number in range(view_count)])]
            return path, digest, looker.decode(path, content, digest, wanted, cache.key.seed) if wanted else []
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
                    batch = batcher.add(pixels)
                    if batch:
                        write(batch)
            advance()
        for batch in batcher.rest():
            write(batch)
    return Collected(digests, tuple(refused), view_count, time.perf_counter() - begun, looked)


@dataclass(frozen=True)
class Seen:
    """One look at a few pictures, with their paths and the milliseconds it took per picture."""

    paths: tuple[Path, ...]
    look: Look
    ms: float


def look_at(looker: Looker, paths: Iterable[Path], needs: Needs) -> Iterator[Seen | Refused]:
    """Looks at pictures as they come, a batch at a time, without a cache; unreadable ones are yielded as Refused."""

    def prepare(path: Path) -> tuple[Path, Pixels] | Refused:
        try:
            content, digest = read_bytes(path)
            return path, looker.decode(path, content, digest)[0]
        except PictureError as error:
            return Refused(path, str(error))

    def look(group: list[tuple[Path, Pixels]]) -> Iterator[Seen]:
        by_size: dict[tuple[int, int], list[tuple[Path, Pixels]]] = {}
        for path, pixels in group:
            by_size.setdefault(pixels.placement.input, []).append((path, pixels))
        for same in by_size.values():
            begun = time.perf_counter()
            found = looker.look([pixels for _, pixels in same], needs)
            yield Seen(tuple(path for path, _ in same), found, (time.perf_counter() - begun) * 1000 / len(same))

    group: list[tuple[Path, Pixels]] = []
    for result in ahead(prepare, paths):
        if isinstance(result, Refused):
            yield result
            continue
        group.append(result)
        if len(group) == BATCH:
            yield from look(group)
            group = []
    yield from look(group)


def cache_key(looker: Looker, needs: Needs, seed: int, view_count: int) -> CacheKey:
    """The key under which this looker's looks are kept; the seed matters to views that are drawn at random only."""
    seed = seed if view_count > views.FIXED else 0
    return CacheKey(looker.backbone.fingerprint, len(looker.backbone.stages), needs, looker.geometry, views.RECIPE, seed)

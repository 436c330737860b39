"""Looks at all views of all pictures, kept on disk: what is there is not looked at again, what does not fit is not begun.

This is what training reads, and what a second question costs no second look for.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from onelook.data.augment import Recipe
from onelook.data.pictures import ahead, open_picture, read_bytes
from onelook.deadline import NEVER, Deadline
from onelook.errors import PictureError
from onelook.looks.cache import CacheKey
from onelook.looks.extractor import BATCH, Batcher, Extractor, Pixels, Refused
from onelook.looks.features import Needs
from onelook.looks.store import FeatureStore, check_room
from onelook.progress import Progress

SAMPLE = 64  # pictures by which it is guessed how many looks are there already
LEAST_LOOKED = 32  # pictures that are looked at even if there is no time


def open_store(root: Path, extractor: Extractor, needs: Needs, recipe: Recipe, seed: int) -> FeatureStore:
    """The store on which this extractor's looks at the views of ``recipe`` lie."""
    stages = len(extractor.backbone.stages)
    key = CacheKey(extractor.backbone.fingerprint, stages, needs, extractor.geometry, recipe.key, seed, extractor.engine.name)
    return FeatureStore(root, key, extractor.backbone, recipe.fixed)


@dataclass(frozen=True)
class Collected:
    """What ``collect`` found: per readable picture its content hash, the refused ones, views kept, time.

    ``left``: pictures that were not looked at because the time was up.
    """

    digests: dict[Path, str]
    refused: tuple[Refused, ...]
    views: int
    seconds: float
    looked: int  # views that had to be looked at now
    left: tuple[Path, ...] = ()


def collect(
    extractor: Extractor,
    store: FeatureStore,
    recipe: Recipe,
    paths: Sequence[Path],
    view_count: int,
    progress: Progress,
    deadline: Deadline = NEVER,
) -> Collected:
    """Make sure that the store holds all views of all readable pictures; what is there is not looked at again.

    Prints the disk need of what is missing before writing, and keeps fewer views where it would fill the disk. Where ``deadline`` comes too
    soon for all views it keeps fewer, and for all pictures some of them, drawn at random. Raises DiskError.
    """
    begun = time.perf_counter()
    unique = list(dict.fromkeys(paths))
    if deadline.seconds is not None:
        order = torch.randperm(len(unique), generator=torch.Generator().manual_seed(0)).tolist()
        unique = [unique[index] for index in order]
    view_count = _fitting_views(extractor, store, unique, view_count, progress)
    digests: dict[Path, str] = {}
    refused: list[Refused] = []
    left: list[Path] = []
    batcher: Batcher[Pixels] = Batcher(BATCH)
    looked = 0

    with progress.task("looking", len(unique)) as advance:
        results = ahead(lambda path: _decoded(extractor, store, recipe, path, view_count), unique)
        for done, result in enumerate(results):
            if deadline.passed() and len(digests) >= LEAST_LOOKED:
                left = unique[done:]
                results.close()
                break
            if isinstance(result, Refused):
                refused.append(result)
            else:
                path, digest, views = result
                digests[path] = digest
                views = [pixels for pixels in views if pixels.row[1] < view_count]
                looked += len(views)
                for pixels in views:
                    batch = batcher.add(pixels, pixels.placement.input)
                    if batch:
                        _look_and_keep(extractor, store, batch)
                view_count = _views_in_time(view_count, done + 1, len(unique), looked, time.perf_counter() - begun, deadline)
            advance()
        for batch in batcher.rest():
            _look_and_keep(extractor, store, batch)
    return Collected(digests, tuple(refused), view_count, time.perf_counter() - begun, looked, tuple(left))


def _decoded(extractor: Extractor, store: FeatureStore, recipe: Recipe, path: Path, views: int) -> tuple[Path, str, list[Pixels]] | Refused:
    """A picture with its content hash and those of its views that the store lacks, or why it cannot be read."""
    try:
        content, digest = read_bytes(path)
        rows = [(digest, number) for number in range(views)]
        store.check(rows, store.key.needs)
        wanted = [number for _, number in store.missing(rows)]
        if not store.kinds:  # nothing is kept: see now whether the picture can be read at all
            open_picture(path, content=content, at_least=extractor.geometry.size)
        return path, digest, extractor.decode(path, content, digest, wanted, recipe, store.key.seed) if wanted else []
    except PictureError as error:
        return Refused(path, str(error))


def _look_and_keep(extractor: Extractor, store: FeatureStore, batch: Sequence[Pixels]) -> None:
    """Look at views of one input size; pictures of equal content are looked at once."""
    fresh = {pixels.row: pixels for pixels in batch}
    todo = [fresh[row] for row in store.missing(list(fresh))]
    if todo:
        store.append([pixels.row for pixels in todo], extractor.look(todo, store.key.needs))


def _fitting_views(extractor: Extractor, store: FeatureStore, paths: Sequence[Path], view_count: int, progress: Progress) -> int:
    """How many views fit on the disk, said where anything is to be written; looks that are there already need no room."""
    lacking = checked = 0
    for path in paths[:: max(1, len(paths) // SAMPLE)]:
        with suppress(PictureError):
            rows = [(read_bytes(path)[1], number) for number in range(view_count)]
            lacking, checked = lacking + len(store.missing(rows)), checked + len(rows)
    missing = len(paths) * view_count * lacking // max(1, checked)
    needed = missing * store.row_values((extractor.geometry.size, extractor.geometry.size)) * 2
    if not needed:
        return view_count
    fitting = check_room(store.root, needed, view_count)
    if fitting < view_count:
        progress.say(f"only {fitting} of {view_count} views fit on the disk")
    progress.say(f"looks at {len(paths)} pictures, {fitting} views each: at most {needed / 1e6:.1f} MB in {store.root}")
    return fitting


def _views_in_time(views: int, done: int, total: int, looked: int, seconds: float, deadline: Deadline) -> int:
    """How many views of the pictures that are still to come can be looked at in time, at the pace so far."""
    if deadline.seconds is None or views == 1 or done % BATCH or not looked:
        return views
    pace = seconds / looked
    return max(1, min(views, int(deadline.left() / max(1e-9, pace * (total - done))))) if total > done else views

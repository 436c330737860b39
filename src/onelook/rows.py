"""Training rows: for every picture its content hash, target, fold and weight, and the looks at its views.

Looks come from the shelf; where a head reads pixels (a tail from cut 0), they are decoded and augmented on the way, a new view
every time. What trains from them cannot tell.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onelook.cache import RowId, Shelf
from onelook.data.augment import Recipe
from onelook.data.pictures import ahead, read_bytes
from onelook.look import PIXELS, Look, Needs, join
from onelook.looker import Batcher, Looker, Pixels
from onelook.masks import Mask, nearest
from onelook.objects import Objects

CHUNK, MAPS_CHUNK = 512, 64  # looks read at once, without and with maps
KEPT_MASKS = 10_000  # some 10 kB each
ENDLESS = 1_000_000  # views to draw from where none is kept


@dataclass(frozen=True)
class ObjectTargets:
    """Objects in pixels of the original pictures (``sizes``: width, height), and which key points change places in a mirror (``pairs``)."""

    truths: tuple[Objects, ...]
    sizes: tuple[tuple[int, int], ...]
    pairs: tuple[tuple[int, int], ...] = ()

    def moved(self, index: int, row: RowId, looker: Looker, recipe: Recipe, seed: int) -> Objects:
        """The objects of picture ``index`` in pixels of the input that shows the view ``row``."""
        return looker.move(self.truths[index], self.sizes[index], row, recipe, seed, self.pairs)


@dataclass(frozen=True)
class MaskTargets:
    """A mask for every picture, read when it is first needed, then kept small and packed; of very many only some are kept."""

    truths: tuple[Mask, ...]
    _kept: dict[int, bytes] = field(default_factory=dict, repr=False)

    def moved(self, index: int, row: RowId, looker: Looker, recipe: Recipe, seed: int) -> Tensor:
        """The mask of picture ``index`` (H, W) over the input that shows the view ``row``."""
        return looker.move_mask(self._mask(index, looker), self.truths[index].size, row, recipe, seed)

    def _mask(self, index: int, looker: Looker) -> Tensor:
        """The mask of picture ``index`` in the size from which views are drawn."""
        width, height = looker.drawn_from(self.truths[index].size)
        if index in self._kept:
            return torch.frombuffer(bytearray(zlib.decompress(self._kept[index])), dtype=torch.uint8).reshape(height, width)
        mask = nearest(self.truths[index].load(), (width, height))
        if len(self._kept) < KEPT_MASKS:
            self._kept[index] = zlib.compress(mask.numpy().tobytes(), 1)
        return mask


@dataclass(frozen=True)
class Rows:
    """``views``: how many views of each picture are on the shelf. Only readable pictures are here.

    ``targets`` of objects are how many there are, of masks 0; what moves with the view, objects and masks, is in ``moving``.
    """

    shelf: Shelf
    looker: Looker
    recipe: Recipe
    paths: tuple[Path, ...]
    digests: tuple[str, ...]
    views: int
    targets: Tensor  # (n,) class ids, or (n, K) zeros and ones, or values
    folds: Tensor  # (n,)
    weights: Tensor  # (n,)
    moving: ObjectTargets | MaskTargets | None = None
    _moved: dict[tuple[int, int], Objects] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.digests)

    def pictures(self, needs: Needs, views: int = 1) -> Iterator[tuple[Look, Tensor]]:
        """Looks at the first ``views`` views of all pictures, in order, with the pictures' indices; for heads without maps."""
        for view in range(views):
            for index in torch.split(torch.arange(len(self)), CHUNK):
                yield self.shelf.read([(self.digests[i], view) for i in index.tolist()], needs), index

    def looks(self, needs: Needs, index: Tensor) -> Iterator[tuple[Look, Tensor]]:
        """Looks at view 0 of the pictures ``index`` with their indices, in order; with maps, a few of one input size at a time."""
        yield from self._looks(needs, index.tolist(), [0] * len(index), MAPS_CHUNK if needs.maps else CHUNK)

    def bytes_of(self, needs: Needs) -> int:
        """Disk space of what ``needs`` names of all looks at these rows, if the pictures filled the input."""
        size = (self.looker.geometry.size, self.looker.geometry.size)
        return 2 * self.views * len(self) * self.shelf.row_values(size, needs)

    def sample(self, needs: Needs, count: int = 64) -> Look:
        """A look at a few pictures spread over the rows, made afresh; for vectors only."""
        chosen = range(0, len(self), max(1, len(self) // count))
        pixels = [self.looker.decode(self.paths[i], read_bytes(self.paths[i])[0], self.digests[i])[0] for i in chosen]
        return join([self.looker.look([one], needs) for one in pixels])

    def moved(self, index: int, view: int) -> Any:
        """The objects or the mask of picture ``index`` in pixels of the input that shows this view of it."""
        assert self.moving is not None
        if (index, view) in self._moved:
            return self._moved[index, view]
        found = self.moving.moved(index, (self.digests[index], view), self.looker, self.recipe, self.shelf.key.seed)
        if isinstance(found, Objects) and view < self.views:  # else one of endlessly many, or too large to keep
            self._moved[index, view] = found
        return found

    def batches(self, keep: Tensor, needs: Needs, seed: int, size: int) -> Callable[[int], Iterator[tuple[Look, Any]]]:
        """For ``fit``: an epoch's shuffled batches of the pictures where ``keep`` is true, each in a view drawn anew."""
        kept = keep.nonzero().flatten()
        most = ENDLESS if PIXELS in needs.maps and self.recipe.name != "none" else self.views

        def epoch(number: int) -> Iterator[tuple[Look, Any]]:
            draw = torch.Generator().manual_seed(seed * 100_003 + number)
            order = kept[torch.randperm(len(kept), generator=draw)].tolist()
            views = torch.randint(most, (len(order),), generator=draw).tolist()
            view_of = dict(zip(order, views, strict=True))
            for look, index in self._looks(needs, order, views, size, least=2):
                if self.moving is None:
                    yield look, self.targets[index]
                else:
                    yield look, [self.moved(picture, view_of[picture]) for picture in index.tolist()]

        return epoch

    def _looks(self, needs: Needs, order: Sequence[int], views: Sequence[int], size: int, least: int = 1) -> Iterator[tuple[Look, Tensor]]:
        """Looks in batches of one input size; a batch of fewer than ``least`` is filled with its own (batch statistics need two)."""
        if PIXELS in needs.maps:
            yield from self._decoded(needs, order, views, size, least)
            return
        batcher: Batcher[tuple[int, int]] = Batcher(size)
        for index, view in zip(order, views, strict=True):
            place = self.shelf.place((self.digests[index], view)).input if needs.maps else None
            batch = batcher.add((index, view), place)
            if batch:
                yield self._read(needs, batch)
        for batch in batcher.rest():
            yield self._read(needs, batch * least if len(batch) < least else batch)

    def _read(self, needs: Needs, batch: list[tuple[int, int]]) -> tuple[Look, Tensor]:
        look = self.shelf.read([(self.digests[index], view) for index, view in batch], needs)
        return look, torch.tensor([index for index, _ in batch])

    def _decoded(self, needs: Needs, order: Sequence[int], views: Sequence[int], size: int, least: int) -> Iterator[tuple[Look, Tensor]]:
        def decode(item: tuple[int, int]) -> tuple[int, Pixels]:
            index, view = item
            path = self.paths[index]
            content, _ = read_bytes(path)
            return index, self.looker.decode(path, content, self.digests[index], [view], self.recipe, self.shelf.key.seed)[0]

        def read(batch: list[tuple[int, Pixels]]) -> tuple[Look, Tensor]:
            return self.looker.look([pixels for _, pixels in batch], needs), torch.tensor([index for index, _ in batch])

        batcher: Batcher[tuple[int, Pixels]] = Batcher(size)
        for index, pixels in ahead(decode, list(zip(order, views, strict=True))):
            batch = batcher.add((index, pixels), pixels.placement.input)
            if batch:
                yield read(batch)
        for batch in batcher.rest():
            yield read(batch * least if len(batch) < least else batch)

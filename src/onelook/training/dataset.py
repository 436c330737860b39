"""The training set: for every picture its content hash, target, fold and weight, and the looks at its views.

Looks come from the store; where a head reads pixels (a tail from cut 0), they are decoded and augmented on the way, a new view
every time. What trains from them cannot tell.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from onelook.data.augment import Recipe
from onelook.data.pictures import ahead, read_bytes
from onelook.geometry.masks import IGNORE, Mask, nearest
from onelook.geometry.objects import Objects
from onelook.geometry.placement import PIXELS, Placement
from onelook.looks.cache import RowId
from onelook.looks.extractor import Batcher, Extractor, Pixels
from onelook.looks.features import Look, Needs, join, padded
from onelook.looks.store import FeatureStore
from onelook.training.batching import SizeBatcher, Targets

CHUNK, MAPS_CHUNK = 512, 64  # looks read at once, without and with maps
KEPT_MASKS = 10_000  # some 10 kB each
Row = tuple[int, int]  # index of a picture, number of a view
ENDLESS = 1_000_000  # views to draw from where none is kept


@dataclass(frozen=True)
class ObjectTargets:
    """Objects in pixels of the original pictures (``sizes``: width, height), and which key points change places in a mirror (``pairs``)."""

    truths: tuple[Objects, ...]
    sizes: tuple[tuple[int, int], ...]
    pairs: tuple[tuple[int, int], ...] = ()

    def moved(self, index: int, row: RowId, extractor: Extractor, recipe: Recipe, seed: int) -> Objects:
        """The objects of picture ``index`` in pixels of the input that shows the view ``row``."""
        return extractor.move(self.truths[index], self.sizes[index], row, recipe, seed, self.pairs)


@dataclass(frozen=True)
class MaskTargets:
    """A mask for every picture, read when it is first needed, then kept small and packed; of very many only some are kept."""

    truths: tuple[Mask, ...]
    _kept: dict[int, bytes] = field(default_factory=dict, repr=False)

    def moved(self, index: int, row: RowId, extractor: Extractor, recipe: Recipe, seed: int) -> Tensor:
        """The mask of picture ``index`` (H, W) over the input that shows the view ``row``."""
        return extractor.move_mask(self._mask(index, extractor), self.truths[index].size, row, recipe, seed)

    def _mask(self, index: int, extractor: Extractor) -> Tensor:
        """The mask of picture ``index`` in the size from which views are drawn."""
        width, height = extractor.drawn_from(self.truths[index].size)
        if index in self._kept:
            return torch.frombuffer(bytearray(zlib.decompress(self._kept[index])), dtype=torch.uint8).reshape(height, width)
        mask = nearest(self.truths[index].load(), (width, height))
        if len(self._kept) < KEPT_MASKS:
            self._kept[index] = zlib.compress(mask.numpy().tobytes(), 1)
        return mask


Moving = ObjectTargets | MaskTargets


@dataclass(frozen=True)
class TrainingSet:
    """``views``: how many views of each picture are in the store. Only readable pictures are here.

    ``targets``: class ids (n,), zeros and ones or values (n, K); of objects how many there are, of masks 0: what moves with a view is in
    ``moving``. ``folds``, ``weights``: of each picture (n,).
    """

    store: FeatureStore
    extractor: Extractor
    recipe: Recipe
    paths: tuple[Path, ...]
    digests: tuple[str, ...]
    views: int
    targets: Tensor
    folds: Tensor
    weights: Tensor
    moving: Moving | None = None
    _moved: dict[tuple[int, int], Objects] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.digests)

    def pictures(self, needs: Needs, views: int = 1) -> Iterator[tuple[Look, Tensor]]:
        """Looks at the first ``views`` views of all pictures, in order, with the pictures' indices; for heads without maps."""
        for view in range(views):
            for index in torch.split(torch.arange(len(self)), CHUNK):
                yield self.stored(needs, [(i, view) for i in index.tolist()]), index

    def looks(self, needs: Needs, index: Tensor) -> Iterator[tuple[Look, Tensor]]:
        """Looks at view 0 of the pictures ``index`` with their indices; with maps, a few of one input size at a time."""
        batcher: Batcher[Row] = Batcher(MAPS_CHUNK if needs.maps else CHUNK)
        for items in self._sized(needs, [(i, 0) for i in index.tolist()]):
            batch = batcher.add(items[0], items[1] if needs.maps else None)
            if batch:
                yield self._joined(needs, batch)
        for batch in batcher.rest():
            yield self._joined(needs, batch)

    @property
    def has_objects(self) -> bool:
        """Whether boxes or points move with a view."""
        return isinstance(self.moving, ObjectTargets)

    def bytes_of(self, needs: Needs) -> int:
        """Disk space of what ``needs`` names of all looks at these pictures, if they filled the input."""
        size = (self.extractor.geometry.size, self.extractor.geometry.size)
        return 2 * self.views * len(self) * self.store.row_values(size, needs)

    def sample(self, needs: Needs, count: int = 64) -> Look:
        """A look at a few pictures spread over the set, made afresh; for vectors only."""
        chosen = range(0, len(self), max(1, len(self) // count))
        return join([self.extractor.look([self._decode((index, 0))], needs) for index in chosen])

    def moved(self, index: int, view: int) -> Objects | Tensor:
        """The objects or the mask of picture ``index`` in pixels of the input that shows this view of it."""
        assert self.moving is not None
        if (index, view) in self._moved:
            return self._moved[index, view]
        found = self.moving.moved(index, (self.digests[index], view), self.extractor, self.recipe, self.store.key.seed)
        if isinstance(found, Objects) and view < self.views:
            self._moved[index, view] = found
        return found

    def truths(self, index: Sequence[int]) -> Sequence[object]:
        """What judges compare predictions for these pictures with."""
        return [self.targets[i] for i in index] if self.moving is None else [self.moving.truths[i] for i in index]

    def batches(self, keep: Tensor, needs: Needs, seed: int, size: int) -> Callable[[int], Iterator[tuple[Look, Targets]]]:
        """For ``fit``: an epoch's shuffled batches of the pictures where ``keep`` is true, each in a view drawn anew.

        An epoch has ``batch_count(kept, size)`` batches; a batch whose pictures have several input sizes is padded to the largest.
        """
        kept = keep.nonzero().flatten()
        most = ENDLESS if PIXELS in needs.maps and self.recipe.name != "none" else self.views

        def epoch(number: int) -> Iterator[tuple[Look, Targets]]:
            draw = torch.Generator().manual_seed(seed * 100_003 + number)
            order = kept[torch.randperm(len(kept), generator=draw)].tolist()
            views = torch.randint(most, (len(order),), generator=draw).tolist()
            view_of = dict(zip(order, views, strict=True))
            for look, index in self._batched(needs, list(view_of.items()), size):
                if self.moving is None:
                    yield look, self.targets[index]
                else:
                    targets = (self.moved(picture, view_of[picture]) for picture in index.tolist())
                    yield look, [_framed(target, placement) for target, placement in zip(targets, look.placements, strict=True)]

        return epoch

    def _batched(self, needs: Needs, rows: Sequence[Row], size: int) -> Iterator[tuple[Look, Tensor]]:
        batcher: SizeBatcher[Row | tuple[Row, Pixels]] = SizeBatcher(len(rows), size)
        for item, place in self._sized(needs, rows):
            batch = batcher.add(item, place)
            if batch:
                yield self._joined(needs, batch)
        for batch in batcher.rest():
            yield self._joined(needs, batch if len(batch) > 1 else batch * 2)  # batch statistics need two

    def _sized(self, needs: Needs, rows: Sequence[Row]) -> Iterator[tuple[Any, tuple[int, int]]]:
        """Rows with their input sizes; decoded already where pixels are read."""
        if PIXELS in needs.maps:
            for row, pixels in ahead(lambda row: (row, self._decode(row)), rows):
                yield (row, pixels), pixels.placement.input
        else:
            for row in rows:
                yield row, self.store.place((self.digests[row[0]], row[1])).input if needs.maps else (0, 0)

    def _joined(self, needs: Needs, batch: Sequence[Any]) -> tuple[Look, Tensor]:
        """One look at a batch of rows, padded to the largest input where they differ, and the pictures' indices."""
        groups: dict[tuple[int, int], list[Any]] = {}
        decoded = PIXELS in needs.maps
        for item in batch:
            place = (
                item[1].placement.input if decoded else self.store.place((self.digests[item[0]], item[1])).input if needs.maps else (0, 0)
            )
            groups.setdefault(place, []).append(item)
        looks, order = [], []
        for items in groups.values():
            looks.append(self.extractor.look([pixels for _, pixels in items], needs) if decoded else self.stored(needs, items))
            order += [row[0] for row, _ in items] if decoded else [index for index, _ in items]
        if len(looks) > 1:
            wide, high = (max(place[axis] for place in groups) for axis in (0, 1))
            sizes = {PIXELS: (high, wide), **self.extractor.backbone.map_sizes(high, wide)}
            looks = [padded(look, (wide, high), sizes) for look in looks]
        return join(looks), torch.tensor(order)

    def stored(self, needs: Needs, rows: Sequence[Row]) -> Look:
        """A look from the store; what is damaged there is looked at again."""
        wanted = [(self.digests[index], view) for index, view in rows]
        damaged = set(self.store.check(wanted, needs))
        for row, name in zip(rows, wanted, strict=True):
            if name in damaged:
                self.store.append([name], self.extractor.look([self._decode(row)], self.store.key.needs))
        return self.store.read(wanted, needs)

    def _decode(self, row: Row) -> Pixels:
        index, view = row
        path = self.paths[index]
        content, _ = read_bytes(path)
        return self.extractor.decode(path, content, self.digests[index], [view], self.recipe, self.store.key.seed)[0]


def _framed(target: Objects | Tensor, placement: Placement) -> Objects | Tensor:
    """A target as its look lies in a batch: objects say the frame that shares are shares of, masks are filled up with IGNORE."""
    if isinstance(target, Objects):
        return replace(target, frame=placement.frame)
    high, wide = placement.input[1] - target.shape[0], placement.input[0] - target.shape[1]
    return functional.pad(target, (0, wide, 0, high), value=IGNORE) if high or wide else target

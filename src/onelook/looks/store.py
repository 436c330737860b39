"""All caches that together hold the looks at one set of views, and the room that they take.

onelook cache list
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from onelook.backbones.backbone import Backbone
from onelook.errors import DiskError
from onelook.geometry.placement import PIXELS, Placement
from onelook.looks.cache import CacheKey, FeatureCache, RowId
from onelook.looks.features import Look, Needs, join

DISK_SHARE = 0.2  # of the free disk that one training run may fill


class FeatureStore:
    """The caches that together hold the looks at one set of views; same verbs as ``FeatureCache``.

    Every map lies by itself, as do pooled statistics with the embedding: heads that read statistics only are not slowed by maps, and
    one pass over the pictures fills all. Views below ``fixed`` are the same for every recipe and seed and lie under the key's
    plain twin, so that more views need looks at those only that are new.
    """

    def __init__(self, root: Path, key: CacheKey, backbone: Backbone, fixed: int) -> None:
        self.root, self.key, self.backbone, self.fixed = root, key, backbone, fixed
        needs = key.needs
        vectors = [Needs(pooled=needs.pooled, embedding=needs.embedding)] if needs.pooled or needs.embedding else []
        regions = [Needs(regions=needs.regions)] if needs.regions else []
        self.kinds = [*vectors, *(Needs(maps=(stride,)) for stride in needs.maps if stride != PIXELS), *regions]
        self._open: dict[tuple[Needs, bool], FeatureCache] = {}

    def cache(self, kind: Needs, drawn: bool) -> FeatureCache:
        """The cache that keeps ``kind`` of the views that are drawn, or of those that are fixed; opened when first asked for."""
        if (kind, drawn) not in self._open:
            key = replace(self.key, needs=kind) if drawn else replace(self.key, needs=kind, recipe="mirrors-2", seed=0)
            self._open[kind, drawn] = FeatureCache(self.root, key, self.backbone)
        return self._open[kind, drawn]

    def missing(self, rows: Sequence[RowId]) -> list[RowId]:
        """Those of ``rows`` that a cache lacks, each once, in order."""
        parts = self._split(rows)
        lacking = {
            row for kind in self.kinds for drawn, where in parts for row in self.cache(kind, drawn).missing([rows[i] for i in where])
        }
        return [row for row in dict.fromkeys(rows) if row in lacking]

    def check(self, rows: Sequence[RowId], needs: Needs) -> list[RowId]:
        """Those of ``rows`` that are damaged in what ``needs`` names of them, each once, in order; they are missing from now on."""
        parts = self._split(rows)
        kinds = [kind for kind in self.kinds if _serves(kind, needs)]
        damaged = {row for kind in kinds for drawn, where in parts for row in self.cache(kind, drawn).check([rows[i] for i in where])}
        return [row for row in dict.fromkeys(rows) if row in damaged]

    def row_values(self, size: tuple[int, int], needs: Needs | None = None) -> int:
        """How many float16 values a look (or what ``needs`` names of it) takes at an input of ``size`` (width, height)."""
        return sum(self.cache(kind, False).row_values(size) for kind in self.kinds if needs is None or _serves(kind, needs))

    def append(self, rows: Sequence[RowId], look: Look) -> None:
        """Add what is missing of ``look``, one row per picture. Raises DiskError when full."""
        for drawn, where in self._split(rows):
            part = look.pick(where)
            for kind in self.kinds:
                self.cache(kind, drawn).append([rows[index] for index in where], part)

    def place(self, row: RowId) -> Placement:
        """How the view of this row lies in the network's input."""
        return self.cache(self.kinds[0], self._is_drawn(row)).place(row)

    def read(self, rows: Sequence[RowId], needs: Needs) -> Look:
        """The look of these rows with the kinds of parts that ``needs`` names; maps need rows of one input size."""
        parts = self._split(rows)
        back = inverse([index for _, where in parts for index in where])
        found = Look(tuple(map(self.place, rows)))
        for kind in self.kinds:
            if _serves(kind, needs):
                whole = join([self.cache(kind, drawn).read([rows[index] for index in where]) for drawn, where in parts])
                found = found.beside(whole if len(parts) == 1 else whole.pick(back))
        return found

    def _is_drawn(self, row: RowId) -> bool:
        return row[1] >= self.fixed

    def _split(self, rows: Sequence[RowId]) -> list[tuple[bool, list[int]]]:
        """The places of fixed and of drawn views among ``rows``, those that there are."""
        sides = [(drawn, [index for index, row in enumerate(rows) if self._is_drawn(row) == drawn]) for drawn in (False, True)]
        return [(drawn, where) for drawn, where in sides if where]


def _serves(kept: Needs, needs: Needs) -> bool:
    """Whether a cache that keeps ``kept`` holds anything that ``needs`` names."""
    if kept.regions:
        return bool(needs.regions)
    return bool(set(kept.maps) & set(needs.maps)) or (not kept.maps and bool(needs.pooled or needs.embedding))


def inverse(order: Sequence[int]) -> list[int]:
    """The permutation that undoes ``order``."""
    back = [0] * len(order)
    for place, index in enumerate(order):
        back[index] = place
    return back


def check_room(folder: Path, needed: int, views: int) -> int:
    """How many of ``views`` views fit into DISK_SHARE of the free disk, for ``needed`` bytes with all of them.

    Raises DiskError if not even one does.
    """
    free = shutil.disk_usage(folder).free
    fitting = views if needed <= free * DISK_SHARE else int(views * free * DISK_SHARE / needed)
    if fitting < 1:
        raise DiskError(
            f"{folder}: looks would take {needed / views / 1e6:.0f} MB a view, free are {free / 1e6:.0f} MB of which "
            f"{DISK_SHARE:.0%} may be filled; set ONELOOK_CACHE to a larger disk or run: onelook cache clear"
        )
    return fitting

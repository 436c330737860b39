"""Looks on disk, so that no picture is looked at twice: float16, memory-mapped, added to, never stale.

A cache folder is named by a hash of everything that changes a look (``CacheKey``). In it:

    key.json     the key in words
    looks.f16    rows of float16, appended; a row is one view of one picture, its parts one after the other
    index.bin    one 44-byte record a row: content hash, view, picture width and height, offset, checksum

A row is written and flushed to the disk before its index record, so after a kill every record names a whole row;
a torn record at the end is cut off by the next writer. Writers take a file lock per batch and skip rows that another
process wrote meanwhile.

    onelook cache list
"""

import errno
import hashlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from onelook.backbone import Backbone
from onelook.errors import DiskError
from onelook.look import PIXELS, Geometry, Look, Needs, Placement, join

_RECORD = struct.Struct("<16sIIIQI4x")  # digest, view, width, height, offset in values, crc of what is before it
_CHECKED = struct.Struct("<16sIIIQ")
LARGEST = 65504.0  # float16's largest finite value; activations above it are cut to it
DISK_SHARE = 0.2  # of the free disk that one training run may fill

RowId = tuple[str, int]  # content hash of the picture (32 hex digits), view number


def default_root() -> Path:
    """Where looks are kept: $ONELOOK_CACHE, else $XDG_CACHE_HOME/onelook, else ~/.cache/onelook."""
    own = os.environ.get("ONELOOK_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onelook"


@dataclass(frozen=True)
class CacheKey:
    """Everything that changes the numbers of a look."""

    fingerprint: str
    cut: int
    needs: Needs
    geometry: Geometry
    recipe: str
    seed: int
    dtype: str = "float16"

    def text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def digest(self) -> str:
        return hashlib.sha256(self.text().encode()).hexdigest()[:16]


class FeatureCache:
    """The looks of one ``CacheKey``; open it, ``missing`` and ``append`` to fill it, ``read`` to train from it."""

    def __init__(self, root: Path, key: CacheKey, backbone: Backbone) -> None:
        self.folder = root / "looks" / key.digest()
        self.key = key
        self.backbone = backbone
        self._rows: dict[RowId, tuple[int, int, int]] = {}  # -> offset, picture width, picture height
        self._indexed = 0  # bytes of the index that have been read
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "key.json").exists():
                (self.folder / "key.json").write_text(json.dumps({"backbone": backbone.name, **asdict(key)}, indent=1))
            for name in ("looks.f16", "index.bin"):
                (self.folder / name).touch()
        except OSError as error:
            raise DiskError(f"{self.folder}: cannot be written ({error.strerror}); set ONELOOK_CACHE to another folder") from error
        self._lock = FileLock(self.folder / "lock")
        self.refresh()

    def __len__(self) -> int:
        return len(self._rows)

    def refresh(self) -> None:
        """Read what this or another process has added to the index."""
        with (self.folder / "index.bin").open("rb") as file:
            file.seek(self._indexed)
            content = file.read()
        for start in range(0, len(content) - _RECORD.size + 1, _RECORD.size):
            digest, view, width, height, offset, crc = _RECORD.unpack_from(content, start)
            if crc != zlib.crc32(content[start : start + _CHECKED.size]):
                break
            self._rows[digest.hex(), view] = (offset, width, height)
            self._indexed += _RECORD.size

    def missing(self, rows: Sequence[RowId]) -> list[RowId]:
        """Those of ``rows`` that are not here, each once, in order."""
        return [row for row in dict.fromkeys(rows) if row not in self._rows]

    def row_values(self, size: tuple[int, int]) -> int:
        """How many float16 values a row of an input of ``size`` (width, height) takes."""
        return sum(int(np.prod(shape)) for _, _, shape in self._parts(size))

    def place(self, row: RowId) -> Placement:
        """How the view of this row lies in the network's input."""
        return self.key.geometry.place(*self._rows[row][1:])

    def append(self, rows: Sequence[RowId], look: Look) -> None:
        """Add one row per picture of ``look``; rows that are already here are skipped. Raises DiskError when full."""
        parts = self._flatten(look)
        with self._lock:
            self.refresh()
            try:
                with (self.folder / "looks.f16").open("r+b") as data, (self.folder / "index.bin").open("r+b") as index:
                    end = self._end()
                    data.truncate(end * 2)
                    data.seek(end * 2)
                    records = []
                    for row, values, placement in zip(rows, parts, look.placements, strict=True):
                        if row in self._rows:
                            continue
                        data.write(values.tobytes())
                        width, height = placement.original
                        record = _CHECKED.pack(bytes.fromhex(row[0]), row[1], width, height, end)
                        records.append(record + struct.pack("<I4x", zlib.crc32(record)))
                        self._rows[row] = (end, width, height)
                        end += len(values)
                    data.flush()
                    os.fsync(data.fileno())
                    index.truncate(self._indexed)
                    index.seek(self._indexed)
                    index.write(b"".join(records))
                    self._indexed += len(records) * _RECORD.size
            except OSError as error:
                self._rows.clear()
                self._indexed = 0
                self.refresh()
                raise _disk_error(self.folder, error, len(self._rows)) from error

    def read(self, rows: Sequence[RowId]) -> Look:
        """The look of these rows, as float32; all must be of one input size if there are maps."""
        where = [self._rows[row] for row in rows]
        placements = tuple(map(self.place, rows))
        parts = self._parts(placements[0].input)
        length = sum(int(np.prod(shape)) for _, _, shape in parts)
        values = np.memmap(self.folder / "looks.f16", dtype=np.float16, mode="r")
        offsets = np.array([offset for offset, _, _ in where])
        if not (offsets % length).any() and len(values) % length == 0:
            block = np.asarray(values.reshape(-1, length)[offsets // length])
        else:
            block = np.stack([values[offset : offset + length] for offset in offsets])
        tensor = torch.from_numpy(block).float()
        return _unflatten(tensor, parts, placements)

    def _flatten(self, look: Look) -> list[np.ndarray]:
        pieces: list[Tensor] = [look.maps[stride].flatten(1) for stride in self.key.needs.maps]
        pieces += [look.pooled[stride].flatten(1) for stride in self.key.needs.pooled]
        if self.key.needs.embedding:
            assert look.embedding is not None
            pieces.append(look.embedding)
        if self.key.needs.regions:
            assert look.regions is not None
            pieces.append(look.regions[:, : self.key.needs.regions].flatten(1))
        block = torch.cat(pieces, dim=1)
        if not bool(torch.isfinite(block).all()):
            raise DiskError("a look holds values that are not finite; the backbone's weights are damaged")
        return list(block.clamp(-LARGEST, LARGEST).half().cpu().numpy())

    def _parts(self, size: tuple[int, int]) -> list[tuple[str, int, tuple[int, ...]]]:
        """What a row consists of: kind, stride and shape of each part, for an input of ``size`` (width, height)."""
        channels = self.backbone.channels
        parts: list[tuple[str, int, tuple[int, ...]]] = []
        if self.key.needs.maps:
            sizes = self.backbone.map_sizes(size[1], size[0])
            parts += [("maps", stride, (channels[stride], *sizes[stride])) for stride in self.key.needs.maps]
        parts += [("pooled", stride, (3, channels[stride])) for stride in self.key.needs.pooled]
        if self.key.needs.embedding:
            parts.append(("embedding", 0, (self.backbone.embedding_size,)))
        if self.key.needs.regions:
            parts.append(("regions", 0, (self.key.needs.regions, 4)))
        return parts

    def _end(self) -> int:
        """Where the last whole row ends, in values."""
        if not self._rows:
            return 0
        offset, width, height = next(reversed(self._rows.values()))
        return offset + self.row_values(self.key.geometry.place(width, height).input)


class Shelf:
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


def _unflatten(tensor: Tensor, parts: list[tuple[str, int, tuple[int, ...]]], placements: tuple[Placement, ...]) -> Look:
    found: dict[str, dict[int, Tensor]] = {"maps": {}, "pooled": {}, "embedding": {}, "regions": {}}
    start = 0
    for kind, stride, shape in parts:
        stop = start + int(np.prod(shape))
        found[kind][stride] = tensor[:, start:stop].reshape(len(tensor), *shape)
        start = stop
    return Look(placements, found["maps"], found["pooled"], found["embedding"].get(0), found["regions"].get(0))


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


@dataclass(frozen=True)
class CacheEntry:
    """One cache folder, as ``onelook cache list`` shows it."""

    key: str
    backbone: str
    rows: int
    bytes: int
    description: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def list_caches(root: Path) -> Iterator[CacheEntry]:
    """Every cache folder under ``root``."""
    for folder in sorted((root / "looks").glob("*/")):
        try:
            facts = json.loads((folder / "key.json").read_text())
            size = sum(file.stat().st_size for file in folder.iterdir())
            rows = (folder / "index.bin").stat().st_size // _RECORD.size
        except (OSError, ValueError):
            continue
        needs = facts["needs"]
        parts = [f"{kind} {needs[kind]}" for kind in ("maps", "pooled") if needs[kind]] + ["embedding"] * needs["embedding"]
        geometry = facts["geometry"]
        yield CacheEntry(folder.name, facts["backbone"], rows, size, f"{geometry['mode']} {geometry['size']}, {', '.join(parts)}")


def clear_caches(root: Path, key: str | None = None) -> int:
    """Delete one cache (by key) or all, exported networks included; returns the bytes freed."""
    targets = [root / "looks" / key] if key else [root / "looks", root / "engines"]
    freed = 0
    for target in targets:
        if target.is_dir():
            freed += sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
            shutil.rmtree(target)
    return freed


def _disk_error(folder: Path, error: OSError, kept: int) -> DiskError:
    what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else str(error.strerror)
    return DiskError(f"{folder}: {what}; {kept} looks are kept and will be used again. Free some room or set ONELOOK_CACHE to another disk")

"""Looks on disk, so that no picture is looked at twice: float16, memory-mapped, added to, never stale.

A cache folder is named by a hash of everything that changes a look (``CacheKey``). In it:

    key.json     the key in words
    looks.f16    rows of float16, appended; a row is one view of one picture, its parts one after the other
    index.bin    one 48-byte record a row: content hash, view, picture width and height, offset, checksum of the row, of the record

A row is written and flushed to the disk before its index record, so after a kill every record names a whole row;
a torn record at the end is cut off by the next writer. Writers take a file lock per batch and skip rows that another
process wrote meanwhile. A row whose bytes have changed since, or that the file does not reach, is missing: it is looked at again.

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
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from onelook.backbones.backbone import Backbone
from onelook.errors import DiskError
from onelook.facts import Facts
from onelook.files import write_atomically
from onelook.geometry.placement import Geometry, Placement
from onelook.looks.features import Look, Needs

_RECORD = struct.Struct("<16sIIIQII4x")  # digest, view, width, height, offset in values, crc of the row, crc of what is before it
_CHECKED = struct.Struct("<16sIIIQI")
VERSION = 2  # of the files
LARGEST = 65504.0  # float16's largest finite value; activations above it are cut to it

RowId = tuple[str, int]  # content hash of the picture (32 hex digits), view number


@dataclass(frozen=True)
class CacheKey:
    """Everything that changes the numbers of a look."""

    fingerprint: str
    cut: int
    needs: Needs
    geometry: Geometry
    recipe: str
    seed: int
    engine: str = "onnxruntime"
    dtype: str = "float16"
    version: int = VERSION

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
        self._rows: dict[RowId, tuple[int, int, int, int]] = {}  # -> offset, picture width, picture height, checksum
        self._intact: set[RowId] = set()  # rows whose bytes were compared with their checksum
        self._sizes: dict[tuple[int, int], int] = {}  # values of a row by input size
        self._indexed = 0  # bytes of the index that have been read
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "key.json").exists() or not (self.folder / "key.json").stat().st_size:
                write_atomically(self.folder / "key.json", json.dumps({"backbone": backbone.name, **asdict(key)}, indent=1).encode())
            for name in ("looks.f16", "index.bin"):
                (self.folder / name).touch()
        except OSError as error:
            raise DiskError(f"{self.folder}: cannot be written ({error.strerror}); set ONELOOK_CACHE to another folder") from error
        self._lock = FileLock(self.folder / "lock")
        self.refresh()

    def __len__(self) -> int:
        return len(self._rows)

    def refresh(self) -> None:
        """Read the index records that were added since."""
        with (self.folder / "index.bin").open("rb") as file:
            file.seek(self._indexed)
            content = file.read()
        end = (self.folder / "looks.f16").stat().st_size // 2
        for start in range(0, len(content) - _RECORD.size + 1, _RECORD.size):
            digest, view, width, height, offset, crc, own = _RECORD.unpack_from(content, start)
            if own != zlib.crc32(content[start : start + _CHECKED.size]):
                break
            self._indexed += _RECORD.size
            row = (digest.hex(), view)
            self._intact.discard(row)  # written anew: what was found damaged may be whole now
            if offset + self._length(width, height) <= end:
                self._rows[row] = (offset, width, height, crc)
            else:
                self._rows.pop(row, None)

    def missing(self, rows: Sequence[RowId]) -> list[RowId]:
        """Those of ``rows`` that are not here, each once, in order."""
        return [row for row in dict.fromkeys(rows) if row not in self._rows]

    def check(self, rows: Sequence[RowId]) -> list[RowId]:
        """Compare rows with their checksums, each once a process; those that are damaged are missing from now on, and returned."""
        unknown = [row for row in dict.fromkeys(rows) if row not in self._intact and row in self._rows]
        if not unknown:
            return []
        damaged = []
        values = np.memmap(self.folder / "looks.f16", dtype=np.float16, mode="r")
        for row in unknown:
            offset, width, height, crc = self._rows[row]
            if zlib.crc32(values[offset : offset + self._length(width, height)].data) == crc:
                self._intact.add(row)
            else:
                damaged.append(row)
                del self._rows[row]
        return damaged

    def _length(self, width: int, height: int) -> int:
        """How many values a row of a picture of this size takes."""
        return self.row_values(self.key.geometry.place(width, height).input)

    def row_values(self, size: tuple[int, int]) -> int:
        """How many float16 values a row of an input of ``size`` (width, height) takes."""
        if size not in self._sizes:
            self._sizes[size] = sum(int(np.prod(shape)) for _, _, shape in self._parts(size))
        return self._sizes[size]

    def place(self, row: RowId) -> Placement:
        """How the view of this row lies in the network's input."""
        return self.key.geometry.place(*self._rows[row][1:3])

    def append(self, rows: Sequence[RowId], look: Look) -> None:
        """Add one row per picture of ``look``; rows that are already here are skipped. Raises DiskError when full."""
        parts = self._flatten(look)
        with self._lock:
            self.refresh()
            added: dict[RowId, tuple[int, int, int, int]] = {}
            try:
                with (self.folder / "looks.f16").open("r+b") as data, (self.folder / "index.bin").open("r+b") as index:
                    end = self._end()
                    data.truncate(end * 2)
                    data.seek(end * 2)
                    records = []
                    for row, values, placement in zip(rows, parts, look.placements, strict=True):
                        if row in self._rows or row in added:
                            continue
                        content = values.tobytes()
                        data.write(content)
                        added[row] = (end, *placement.original, zlib.crc32(content))
                        record = _CHECKED.pack(bytes.fromhex(row[0]), row[1], *placement.original, end, added[row][3])
                        records.append(record + struct.pack("<I4x", zlib.crc32(record)))
                        end += len(values)
                    data.flush()
                    os.fsync(data.fileno())
                    index.truncate(self._indexed)
                    index.seek(self._indexed)
                    index.write(b"".join(records))
            except OSError as error:
                raise _disk_error(self.folder, error, len(self._rows)) from error
            self._rows |= added  # only now: an interruption before leaves no row that is not there
            self._intact |= added.keys()
            self._indexed += len(records) * _RECORD.size

    def read(self, rows: Sequence[RowId]) -> Look:
        """The look of these rows, as float32; all must be of one input size if there are maps."""
        where = [self._rows[row] for row in rows]
        placements = tuple(map(self.place, rows))
        parts = self._parts(placements[0].input)
        length = sum(int(np.prod(shape)) for _, _, shape in parts)
        values = np.memmap(self.folder / "looks.f16", dtype=np.float16, mode="r")
        offsets = np.array([place[0] for place in where])
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
        return max((offset + self._length(width, height) for offset, width, height, _ in self._rows.values()), default=0)


def _unflatten(tensor: Tensor, parts: list[tuple[str, int, tuple[int, ...]]], placements: tuple[Placement, ...]) -> Look:
    found: dict[str, dict[int, Tensor]] = {"maps": {}, "pooled": {}, "embedding": {}, "regions": {}}
    start = 0
    for kind, stride, shape in parts:
        stop = start + int(np.prod(shape))
        found[kind][stride] = tensor[:, start:stop].reshape(len(tensor), *shape)
        start = stop
    return Look(placements, found["maps"], found["pooled"], found["embedding"].get(0), found["regions"].get(0))


@dataclass(frozen=True)
class CacheEntry:
    """One cache folder, as ``onelook cache list`` shows it."""

    key: str
    backbone: str
    rows: int
    bytes: int
    description: str

    def to_json(self) -> Facts:
        return asdict(self)


def list_caches(root: Path) -> Iterator[CacheEntry]:
    """Every cache folder under ``root``."""
    for folder in sorted((root / "looks").glob("*/")):
        try:
            facts = json.loads((folder / "key.json").read_text())
            size = sum(file.stat().st_size for file in folder.iterdir())
            rows = (folder / "index.bin").stat().st_size // _RECORD.size
        except (OSError, ValueError, KeyError, TypeError):
            continue
        needs = facts["needs"]
        parts = [f"{kind} {needs[kind]}" for kind in ("maps", "pooled") if needs[kind]] + ["embedding"] * needs["embedding"]
        geometry = facts["geometry"]
        yield CacheEntry(folder.name, facts["backbone"], rows, size, f"{geometry['mode']} {geometry['size']}, {', '.join(parts)}")


def clear_caches(root: Path, key: str | None = None) -> int:
    """Delete one cache (by key) or all, exported networks and frames of films included; returns the bytes freed."""
    targets = [root / "looks" / key] if key else [root / "looks", root / "engines", root / "frames"]
    freed = 0
    for target in targets:
        if target.is_dir():
            freed += sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
            shutil.rmtree(target)
    return freed


def _disk_error(folder: Path, error: OSError, kept: int) -> DiskError:
    what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else str(error.strerror)
    return DiskError(f"{folder}: {what}; {kept} looks are kept and will be used again. Free some room or set ONELOOK_CACHE to another disk")

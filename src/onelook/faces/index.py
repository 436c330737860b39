"""The nearest of very many vectors: a graph of neighbours (HNSW) over a gallery, kept beside its file (extra ``faces-large``).

Malkov, Yashunin 2016, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World graphs", by the
package usearch, vectors in 8 bits. The graph finds candidates, which are compared by their exact vectors. Nothing in it is not in the
gallery, so it can be thrown away at any time: it is made again. A gallery that somebody was taken out of has a new generation, and the
graphs of older ones are deleted, as they hold what was removed.

    onelook faces identify large.gallery photo.jpg
"""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from onelook.errors import DiskError
from onelook.progress import Progress

FROM = 200_000  # entries up to which they are compared one by one
CANDIDATES = 64  # nearest entries by the graph, of which the nearest by exact vectors is taken
EXPANSION = {"expansion_add": 64, "expansion_search": 512}  # nodes looked at while adding and while searching; measured (docs/diary.md)
BATCH = 20_000  # entries that are read at a time
ASKED = 200  # entries whose nearest other one is looked for both ways, to know how often the graph finds it


def has_index() -> bool:
    """Whether the package is installed."""
    return find_spec("usearch") is not None


class Index:
    """A graph over the entries that a gallery's ``connection`` reaches; ``prepare`` before the first question."""

    def __init__(self, gallery: Path, connection: sqlite3.Connection, dimensions: int) -> None:
        self._gallery, self._connection, self._dimensions = gallery, connection, dimensions
        self._graph: Any = None
        self._generation = ""
        self._last = 0  # the largest id in the graph

    def prepare(self, generation: str, progress: Progress) -> None:
        """Open the graph, or make it, and take in what was enrolled since. Raises DiskError."""
        if self._graph is None or self._generation != generation:
            self._graph = _opened(_file(self._gallery, generation), self._dimensions)
            self._generation, self._last = generation, int(np.max(self._graph.keys)) if len(self._graph) else 0
        before = len(self._graph)
        (missing,) = self._connection.execute("SELECT COUNT(*) FROM entries WHERE id > ?", (self._last,)).fetchone()
        if missing:
            with progress.task("building the index", -(-missing // BATCH)) as advance:
                for ids, vectors in self._batches(self._last):
                    self._graph.add(ids.astype(np.uint64), vectors)
                    self._last = int(ids[-1])
                    advance()
        if missing > before / 100:  # fewer are sooner added again than written
            self._save()

    def nearest(self, vector: np.ndarray) -> tuple[str, float]:
        """Name and squared distance of the nearest entry to a vector (D,) of length 1."""
        ids = self._graph.search(vector, CANDIDATES).keys.tolist()
        rows = self._connection.execute(f"SELECT name, vector FROM entries WHERE id IN ({_listed(ids)})").fetchall()
        likeness = _matrix([row[1] for row in rows]) @ np.asarray(vector, dtype=np.float32)
        best = int(likeness.argmax())
        return rows[best][0], float(max(0.0, 2 - 2 * likeness[best]))

    @property
    def recall(self) -> float | None:
        """How often the graph found the nearest other entry (0..1), measured when it was made."""
        row = self._connection.execute("SELECT value FROM facts WHERE name = 'recall'").fetchone()
        return float(row[0]) if row else None

    def _batches(self, after: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids (N,) and vectors (N, D) of the entries behind ``after``, BATCH at a time."""
        rows = self._connection.execute("SELECT id, vector FROM entries WHERE id > ? ORDER BY id", (after,))
        while batch := rows.fetchmany(BATCH):
            yield np.array([row[0] for row in batch]), _matrix([row[1] for row in batch])

    def _save(self) -> None:
        """Write the graph, whole or not at all, and how often it finds the nearest; not if somebody was taken out meanwhile."""
        file = _file(self._gallery, self._generation)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}.", suffix=".tmp")
        os.close(handle)
        try:
            self._graph.save(temporary)
            Path(temporary).replace(file)
            (now,) = self._connection.execute("SELECT value FROM facts WHERE name = 'generation'").fetchone()
            delete_indexes(self._gallery, but=now)
            if now == self._generation:
                self._connection.execute("INSERT OR REPLACE INTO facts VALUES ('recall', ?)", (str(self._measured_recall()),))
        except (OSError, RuntimeError, sqlite3.Error) as error:
            Path(temporary).unlink(missing_ok=True)
            raise DiskError(f"{file}: the index cannot be written ({error}); the gallery is as it was") from error

    def _measured_recall(self) -> float:
        """Of how many of ASKED entries the graph finds the nearest other one."""
        drawn = np.random.default_rng(0).choice(np.asarray(self._graph.keys, dtype=np.int64), min(ASKED, len(self._graph)), replace=False)
        rows = self._connection.execute(f"SELECT id, vector FROM entries WHERE id IN ({_listed(drawn.tolist())})").fetchall()
        asked, vectors = np.array([row[0] for row in rows]), _matrix([row[1] for row in rows])
        best, nearest = np.full(len(asked), -np.inf, dtype=np.float32), np.zeros(len(asked), dtype=np.int64)
        for ids, known in self._batches(0):
            likeness = vectors @ known.T
            likeness[asked[:, None] == ids[None]] = -np.inf
            better = likeness.max(1) > best
            best[better], nearest[better] = likeness.max(1)[better], ids[likeness.argmax(1)][better]
        found = (self._graph.search(vector, CANDIDATES + 1).keys.tolist() for vector in vectors)
        return float(np.mean([one in keys for one, keys in zip(nearest.tolist(), found, strict=True)]))


def _opened(file: Path, dimensions: int) -> Any:
    """The graph in a file; an empty one where there is none, or it cannot be read."""
    from usearch.index import Index as Graph

    graph = Graph(ndim=dimensions, metric="cos", dtype="i8", **EXPANSION)
    try:
        if file.is_file():
            graph.load(str(file))
    except (RuntimeError, ValueError, OSError):  # cut short, or of another version: it is made again
        return Graph(ndim=dimensions, metric="cos", dtype="i8", **EXPANSION)
    return graph


def _file(gallery: Path, generation: str) -> Path:
    """Where the graph of a gallery's generation lies."""
    return gallery.with_name(f"{gallery.name}.index-{generation}")


def delete_indexes(gallery: Path, but: str | None = None) -> None:
    """Delete all graphs beside a gallery, unfinished ones too, or all but those of one generation."""
    for file in list(gallery.parent.iterdir()):
        kept = but is not None and file.name.startswith(_file(gallery, but).name)
        if file.name.startswith(f"{gallery.name}.index-") and not kept:
            file.unlink(missing_ok=True)


def _matrix(vectors: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1)


def _listed(ids: list[int]) -> str:
    return ",".join(map(str, ids))

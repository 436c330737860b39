"""A gallery: who is known, as unit vectors, in one SQLite file.

Course notes 4.5: vectors are computed once, when somebody is enrolled, and no picture is kept. A row has the identity's name, the vector
(float32), the hash of the picture that it was made of and the time; the encoder's fingerprint stands in the file, and vectors of
another encoder are refused. Every enrolment is a transaction of its own, so that a kill at any moment loses at most the picture in
hand, and several processes may enrol at once. Searching is exact, one matrix product over all vectors in memory, up to 200,000 of them;
beyond, an index finds the candidates (``index.py``), where its package is installed.

Forgetting is real: deleted bytes are overwritten (secure_delete), the write-ahead log is emptied, the file rewritten (VACUUM), and the
index deleted.

    onelook faces enroll people.gallery photos/          # a folder a person
"""

import hashlib
import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import numpy as np

from onelook.errors import DataError, DiskError, UnreadableError
from onelook.faces.index import FROM, Index, delete_indexes, has_index
from onelook.facts import Facts
from onelook.progress import QUIET, Progress

VERSION = 1
APPLICATION = 0x1A00C  # SQLite's application id: a gallery of ours
WAIT = 30.0  # seconds that a process waits for another one's transaction
TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, vector BLOB NOT NULL, picture TEXT NOT NULL, enrolled REAL NOT NULL, UNIQUE (name, picture)
);
CREATE INDEX by_name ON entries (name);
"""


@dataclass(frozen=True)
class Encoder:
    """What makes vectors: its name, the fingerprint of its weights, how long they are, the licence of the weights."""

    name: str
    fingerprint: str
    dimensions: int
    licence: str = "not stated"


@dataclass(frozen=True)
class Entry:
    """One enrolled picture: ``vector`` (D,) of length 1, ``picture``: the hash of its bytes (SHA-256, hex)."""

    name: str
    vector: np.ndarray
    picture: str


@dataclass(frozen=True)
class Match:
    """An enrolled identity and its squared distance (0 to 4) to what was asked for."""

    name: str
    distance: float


class Gallery:
    """An open gallery; closes at the end of a ``with`` block. ``open`` or ``create`` makes one."""

    def __init__(self, path: Path, connection: sqlite3.Connection, encoder: Encoder) -> None:
        self.path, self.encoder, self._connection = path, encoder, connection
        self._seen: tuple[int, int] | None = None  # the file's data version when ``_names`` and ``_vectors`` were read
        self._names: list[str] = []
        self._vectors = np.zeros((0, encoder.dimensions), dtype=np.float32)
        self._counted = (self._version(), len(self))
        self._index = Index(path, connection, encoder.dimensions)

    @staticmethod
    def open(path: Path | str, encoder: Encoder | None = None) -> "Gallery":
        """Open a gallery; with ``encoder`` it must be of that one. Raises UnreadableError, DataError."""
        path = Path(path)
        if not path.is_file():
            raise UnreadableError(f"{path}: no such gallery; enrol somebody: onelook faces enroll {path} NAME PICTURE")
        try:
            connection = _connected(path)
            if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
                raise UnreadableError(f"{path}: is no gallery of onelook")
            facts = dict(connection.execute("SELECT name, value FROM facts"))
            version = int(facts["version"])
            there = Encoder(facts["encoder"], facts["fingerprint"], int(facts["dimensions"]), facts["licence"])
        except (sqlite3.Error, KeyError, ValueError) as error:
            raise UnreadableError(f"{path}: cannot be read as a gallery ({error})") from error
        if version != VERSION:
            raise UnreadableError(f"{path}: is of version {version}, this onelook reads {VERSION}; update it, or enrol anew")
        if encoder is not None and encoder.fingerprint != there.fingerprint:
            raise DataError(
                f"{path}: its vectors are of {there.name} ({there.fingerprint}), not of {encoder.name} ({encoder.fingerprint}); "
                "they cannot be compared: use that encoder (--encoder), or enrol into a new gallery"
            )
        return Gallery(path, connection, there)

    @staticmethod
    def create(path: Path | str, encoder: Encoder) -> "Gallery":
        """A new, empty gallery, or the one that is there already, if it is of this encoder. Raises DiskError, DataError."""
        path = Path(path)
        if path.exists():
            return Gallery.open(path, encoder)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=path.parent, prefix=".gallery-") as folder:
                _write_empty(Path(folder) / "new", encoder)
                _put(Path(folder) / "new", path)
        except (OSError, sqlite3.Error) as error:
            raise DiskError(f"{path}: cannot be made ({error})") from error
        return Gallery.open(path, encoder)

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was enrolled is in it already."""
        self._connection.close()

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT COUNT(*) FROM entries").fetchone()[0])

    def counts(self) -> dict[str, int]:
        """Name -> pictures enrolled, in the order of names."""
        return dict(self._connection.execute("SELECT name, COUNT(*) FROM entries GROUP BY name ORDER BY name"))

    # --- changes

    def enrol(self, entries: Iterable[Entry]) -> int:
        """Add pictures, all together or none; those that their identity has already are passed over. How many are new. Raises DiskError."""
        rows = [(one.name, self._bytes_of(one.vector), one.picture, time.time()) for one in entries]
        before = self._connection.total_changes
        with _transaction(self.path, self._connection):
            self._connection.executemany("INSERT OR IGNORE INTO entries (name, vector, picture, enrolled) VALUES (?, ?, ?, ?)", rows)
        return self._connection.total_changes - before

    def names_of(self, picture: str) -> list[str]:
        """Under which names a picture, by its hash, is enrolled."""
        return [
            name for (name,) in self._connection.execute("SELECT DISTINCT name FROM entries WHERE picture = ? ORDER BY name", (picture,))
        ]

    def rename(self, name: str, new: str) -> int:
        """Call an identity otherwise; one of that name that is there already takes its pictures in. How many pictures it had."""
        self._require(name)
        with _transaction(self.path, self._connection):
            self._connection.execute("UPDATE OR IGNORE entries SET name = ? WHERE name = ?", (new, name))
            self._delete(name)  # pictures that both had
        delete_indexes(self.path, but=self.generation)
        return self.counts().get(new, 0)

    def remove(self, name: str, forget: bool = False) -> int:
        """Take an identity out; with ``forget`` neither its name nor its vectors' bytes stay in the file. How many pictures it had."""
        self._require(name)
        with _transaction(self.path, self._connection):
            removed = self._delete(name)
        delete_indexes(self.path)
        if forget:
            self._rewrite()
        return removed

    def merge(self, other: "Gallery") -> int:
        """Take over the entries of another gallery of the same encoder. How many are new. Raises DataError."""
        if other.encoder.fingerprint != self.encoder.fingerprint:
            raise DataError(f"{other.path}: its vectors are of {other.encoder.name}, those of {self.path} of {self.encoder.name}")
        return self.enrol(other.entries())

    # --- questions

    def entries(self) -> Iterator[Entry]:
        """All enrolled pictures, in their order."""
        for name, vector, picture in self._connection.execute("SELECT name, vector, picture FROM entries ORDER BY id"):
            yield Entry(name, np.frombuffer(vector, dtype="<f4"), picture)

    def table(self) -> tuple[list[str], np.ndarray]:
        """Names and vectors (N, D) of all entries, in memory; read again when the file has changed."""
        version = self._version()
        if version != self._seen:
            rows = self._connection.execute("SELECT name, vector FROM entries ORDER BY id").fetchall()
            self._names = [name for name, _ in rows]
            joined = b"".join(vector for _, vector in rows)
            self._vectors = np.frombuffer(joined, dtype="<f4").reshape(-1, self.encoder.dimensions)
            self._seen = version
        return self._names, self._vectors

    def nearest(self, vectors: np.ndarray) -> list[Match]:
        """The nearest entry to each of vectors (M, D) of length 1. Raises DataError for an empty gallery."""
        if not self._count():
            raise DataError(f"{self.path}: nobody is enrolled yet; onelook faces enroll {self.path} NAME PICTURE")
        if self.prepare():
            return [Match(*self._index.nearest(vector)) for vector in vectors]
        names, known = self.table()
        likeness = known @ np.asarray(vectors, dtype=np.float32).T
        best = likeness.argmax(0)
        return [Match(names[index], float(max(0.0, 2 - 2 * likeness[index, row]))) for row, index in enumerate(best)]

    def sample(self, count: int) -> tuple[list[str], np.ndarray]:
        """Names and vectors (n, D) of all entries or, of more, of about ``count`` drawn at random."""
        if len(self) <= count:
            return self.table()
        first, last = self._connection.execute("SELECT MIN(id), MAX(id) FROM entries").fetchone()
        drawn = np.unique(np.random.default_rng(0).integers(first, last + 1, count)).tolist()
        rows = self._connection.execute(f"SELECT name, vector FROM entries WHERE id IN ({','.join(map(str, drawn))})").fetchall()
        return [name for name, _ in rows], np.frombuffer(b"".join(vector for _, vector in rows), dtype="<f4").reshape(len(rows), -1)

    @property
    def generation(self) -> str:
        """Changes when entries are taken out."""
        return str(self._connection.execute("SELECT value FROM facts WHERE name = 'generation'").fetchone()[0])

    def prepare(self, progress: Progress = QUIET) -> bool:
        """Make the index that a gallery of more than 200,000 entries is searched by, or bring it up to date; whether there is one."""
        if self._count() <= FROM or not has_index():
            return False
        self._index.prepare(self.generation, progress)
        return True

    @property
    def recall(self) -> float | None:
        """How often the index found the nearest other entry (0..1), measured when it was made; None where the search is exact."""
        return self._index.recall if self._count() > FROM and has_index() else None

    def identities(self) -> int:
        """How many are enrolled."""
        return int(self._connection.execute("SELECT COUNT(DISTINCT name) FROM entries").fetchone()[0])

    def to_json(self) -> Facts:
        return {
            "file": str(self.path), "identities": self.counts(), "entries": len(self), "encoder": self.encoder.name,
            "fingerprint": self.encoder.fingerprint, "dimensions": self.encoder.dimensions, "licence": self.encoder.licence,
            "index_recall": self.recall,
        }  # fmt: skip

    # --- inside

    def _version(self) -> tuple[int, int]:
        """Changes when this process, or another one, has changed the file."""
        return self._connection.execute("PRAGMA data_version").fetchone()[0], self._connection.total_changes

    def _count(self) -> int:
        """How many entries there are; counted again when the file has changed."""
        version = self._version()
        if version != self._counted[0]:
            self._counted = (version, len(self))
        return self._counted[1]

    def _require(self, name: str) -> None:
        counts = self.counts()
        if name not in counts:
            shown = ", ".join(list(counts)[:10]) + (" ..." if len(counts) > 10 else "")
            raise DataError(f"{self.path}: nobody is called {name!r}; there is {shown or 'nobody'}")

    def _bytes_of(self, vector: np.ndarray) -> bytes:
        if vector.shape != (self.encoder.dimensions,):
            raise DataError(f"{self.path}: a vector of {vector.shape} for {self.encoder.dimensions} numbers")
        return np.asarray(vector, dtype="<f4").tobytes()

    def _delete(self, name: str) -> int:
        """Within a transaction, delete somebody's entries: how many. Indexes that were made before are those of an older generation."""
        removed = self._connection.execute("DELETE FROM entries WHERE name = ?", (name,)).rowcount
        if removed:
            self._connection.execute("UPDATE facts SET value = ? WHERE name = 'generation'", (secrets.token_hex(8),))
        return removed

    def _rewrite(self) -> None:
        """Leave nothing of what was deleted in the file or its log. Raises DiskError."""
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.execute("VACUUM")
            busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.Error as error:
            raise DiskError(f"{self.path}: removed, but its bytes may still be in the file ({error}); run it again") from error
        if busy:
            raise DiskError(
                f"{self.path}: removed, but another process reads the file, which keeps its log; run it again when that has ended"
            )


def picture_hash(content: bytes) -> str:
    """What a picture is known by: SHA-256 of its bytes."""
    return hashlib.sha256(content).hexdigest()


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _write_empty(path: Path, encoder: Encoder) -> None:
    """A new gallery that nobody else knows of yet. Raises sqlite3.Error."""
    connection = _connected(path)
    connection.execute("PRAGMA journal_mode = WAL")  # stays with the file
    connection.executescript(TABLES)
    facts = {
        "version": VERSION, "encoder": encoder.name, "fingerprint": encoder.fingerprint, "dimensions": encoder.dimensions,
        "licence": encoder.licence, "generation": secrets.token_hex(8),
    }  # fmt: skip
    connection.executemany("INSERT INTO facts VALUES (?, ?)", [(name, str(value)) for name, value in facts.items()])
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.close()


def _put(new: Path, path: Path) -> None:
    """Give a file its place, unless another process was quicker. Raises OSError."""
    try:
        os.link(new, path)
    except FileExistsError:
        return
    except OSError:  # a disk without hard links
        if not path.exists():
            new.rename(path)


@contextmanager
def _transaction(path: Path, connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. Raises DiskError."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise DiskError(f"{path}: cannot be written ({error}); nothing of this was enrolled, the rest is as it was") from error
        raise

"""Who is who: enrolling, verifying, identifying, judging; what ``onelook faces`` does.

import onelook
from onelook.workflows import faces
faces.enroll("people.gallery", ["photos/"])
for found in faces.identify("people.gallery", ["party.jpg"]):
    print(found.path, [one.name for one in found.faces])
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image

from onelook.answers.people import Named, People
from onelook.data.film import EVERY, Film, FilmError
from onelook.data.pictures import files_in, find_pictures, is_film, is_picture, open_picture, read_bytes
from onelook.data.readers.table import read_rows
from onelook.errors import DataError, PictureError
from onelook.faces.evaluate import NOBODY, Seen, by_tag, fold_accuracy, protocol, read_pairs
from onelook.faces.gallery import Entry, Gallery, Match, picture_hash
from onelook.faces.subjects import Subject, Subjects, largest, subjects
from onelook.faces.threshold import MOST, Threshold, fit_threshold
from onelook.facts import Facts
from onelook.progress import QUIET, Progress

FAR = 0.001  # rate of false accepts for which thresholds are fitted


@dataclass(frozen=True)
class Refused:
    """A picture that was not enrolled, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Enrolled:
    """``added``: pictures that are new, by name; ``known``: pictures that were there; ``warnings``: what to look at."""

    added: dict[str, int]
    known: int
    refused: tuple[Refused, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> Facts:
        refused = [{"path": str(one.path), "error": one.reason} for one in self.refused]
        return {"added": self.added, "known": self.known, "refused": refused, "warnings": list(self.warnings)}


@dataclass(frozen=True)
class Identified:
    """Who is in a picture; ``error``: why it cannot be said. ``time``: of a film's frame in seconds, ``picture``: that frame."""

    path: Path
    people: People = People(())
    error: str | None = None
    time: float | None = None
    picture: Image.Image | None = field(default=None, repr=False, compare=False)

    @property
    def faces(self) -> tuple[Named, ...]:
        """Everybody in it."""
        return self.people.faces

    @property
    def at(self) -> str:
        """The moment of a film's frame, in words behind its name."""
        return "" if self.time is None else f" {self.time:.2f}s"

    def to_json(self) -> Facts:
        time = {} if self.time is None else {"time": round(self.time, 6)}
        return {"path": str(self.path), **time} | ({"error": self.error} if self.error is not None else self.people.to_json())

    def draw(self) -> Image.Image:
        """The picture with everybody's box and name."""
        return self.people.draw(self.picture or open_picture(self.path))


def enroll(
    gallery: Path | str, items: Sequence[Path | str], *, name: str | None = None, encoder: str = "dlib", pick_largest: bool = False,
    cache: Path | None = None, progress: Progress = QUIET,
) -> Enrolled:  # fmt: skip
    """Enrol pictures under ``name``, or, without one, the folders in a folder, each under its own name.

    A picture with several faces is refused, unless ``pick_largest``. Every picture is its own transaction. Raises DataError, DiskError.
    """
    who = subjects(encoder, cache=cache)
    added: dict[str, int] = {}
    known, refused, warnings = 0, [], []
    pictures = list(_named(items, name))
    if not pictures:
        raise DataError(f"{' '.join(map(str, items))}: no pictures found; give NAME and pictures, or a folder with a folder for everybody")
    with Gallery.create(gallery, who.encoder) as opened, progress.task("enrolling", len(pictures)) as advance:
        for path, called in pictures:
            try:
                content, _ = read_bytes(path)
                subject = _one(who, path, content, pick_largest)
            except PictureError as error:
                refused.append(Refused(path, str(error).removeprefix(f"{path}: ")))
                advance()
                continue
            picture = picture_hash(content)
            others = [other for other in opened.names_of(picture) if other != called]
            if others:
                warnings.append(f"{path}: is enrolled as {' and '.join(others)} already, now as {called} too")
            new = opened.enrol([Entry(called, subject.vector, picture)])
            added[called] = added.get(called, 0) + new
            known += 1 - new
            advance()
    return Enrolled(added, known, tuple(refused), tuple(warnings))


def _named(items: Sequence[Path | str], name: str | None) -> Iterator[tuple[Path, str]]:
    """Pictures with the name under which each is enrolled. Raises DataError."""
    if name is not None:
        for path in find_pictures(items):
            yield path, name
        return
    for item in map(Path, items):
        if not item.is_dir():
            raise DataError(f"{item}: is no folder with a folder for everybody; to enrol one person: NAME PICTURE...")
        for folder in sorted(inner for inner in item.iterdir() if inner.is_dir() and not inner.name.startswith(".")):
            for path in filter(is_picture, files_in(folder)):
                yield path, folder.name


def _one(who: Subjects, path: Path, content: bytes, pick_largest: bool) -> Subject:
    """The only subject of a picture. Raises PictureError for none, or several."""
    found = who.of(path, content)
    if not found:
        raise PictureError(f"{path}: no {who.noun} found; a larger or sharper picture may do")
    if len(found) > 1 and not pick_largest:
        boxes = ", ".join("(" + " ".join(f"{value:.0f}" for value in one.box) + ")" for one in found[:4])
        raise PictureError(f"{path}: {len(found)} {who.noun}s, at {boxes}; crop it, or take the largest: --largest")
    return largest(found)


def threshold_of(gallery: Gallery, who: Subjects, rate: float = FAR) -> Threshold:
    """The threshold for this gallery, fitted where it can be."""
    names, vectors = gallery.sample(MOST)
    return fit_threshold(names, vectors, rate, who.threshold, who.rate)


class Identifier:
    """An open gallery, what finds subjects in pictures, and the threshold up to which they are taken for somebody; for ``with`` blocks."""

    def __init__(self, gallery: Gallery, who: Subjects, threshold: Threshold) -> None:
        self.gallery, self.who, self.threshold = gallery, who, threshold

    @staticmethod
    def open(
        path: Path | str, *, rate: float = FAR, encoder: str = "dlib", cache: Path | None = None, progress: Progress = QUIET
    ) -> "Identifier":
        """Raises DataError for an empty gallery, or one of another encoder."""
        Gallery.open(path).close()  # before the networks are loaded
        who = subjects(encoder, cache=cache)
        gallery = Gallery.open(path, who.encoder)
        gallery.prepare(progress)
        return Identifier(gallery, who, threshold_of(gallery, who, rate))

    def __enter__(self) -> "Identifier":
        return self

    def __exit__(self, *_: object) -> None:
        self.gallery.close()

    def __call__(self, items: Iterable[Path | str], pick_largest: bool = False, every: str = EVERY) -> Iterator[Identified]:
        """Who is in each picture, and in the frames of films (one ``every`` "0.5s", or every "5"), in order, lazily."""
        for films, some in groupby(items, is_film):
            for path in map(Path, some) if films else find_pictures(some):
                try:
                    if films:
                        yield from self._filmed(path, pick_largest, every)
                    else:
                        yield Identified(path, self.people(open_picture(path), pick_largest))
                except (PictureError, FilmError) as error:
                    yield Identified(path, error=str(error))

    def _filmed(self, path: Path, pick_largest: bool, every: str) -> Iterator[Identified]:
        film = Film.open(path)
        for frame in film.frames(film.chosen(every)):
            yield Identified(path, self.people(frame.picture, pick_largest), time=frame.time, picture=frame.picture)

    def people(self, picture: Image.Image, pick_largest: bool = False) -> People:
        """Who is in an upright RGB picture."""
        found = self.who(picture)
        found = [largest(found)] if pick_largest and found else found
        matches = self.gallery.nearest(np.stack([one.vector for one in found])) if found else []
        limit = self.threshold.distance
        return People(tuple(_named_as(one, match, limit) for one, match in zip(found, matches, strict=True)))


def identify(
    gallery: Path | str, items: Iterable[Path | str], *, rate: float = FAR, encoder: str = "dlib", pick_largest: bool = False,
    cache: Path | None = None,
) -> Iterator[Identified]:  # fmt: skip
    """Who is in each picture, in order, lazily. Raises DataError for an empty gallery or one of another encoder."""
    with Identifier.open(gallery, rate=rate, encoder=encoder, cache=cache) as ask:
        yield from ask(items, pick_largest)


def _named_as(one: Subject, match: Match, limit: float) -> Named:
    score = round(1 - match.distance / limit, 4) if limit > 0 else 0.0
    return Named(one.box, match.name if match.distance <= limit else None, match.name, round(match.distance, 4), score)


@dataclass(frozen=True)
class Verified:
    """Whether two pictures show the same one. ``far``: rate of false accepts at the threshold, about, where it is known."""

    same: bool
    distance: float
    threshold: float
    far: float | None

    def to_json(self) -> Facts:
        return asdict(self)


def verify(one: Path, other: Path, *, encoder: str = "dlib", pick_largest: bool = False, cache: Path | None = None) -> Verified:
    """Whether two pictures show the same one, by the encoder's own threshold. Raises PictureError for none or several in one."""
    who = subjects(encoder, cache=cache)
    vectors = [_one(who, path, read_bytes(path)[0], pick_largest).vector for path in (one, other)]
    distance = float(max(0.0, 2 - 2 * vectors[0] @ vectors[1]))
    return Verified(distance <= who.threshold, round(distance, 4), who.threshold, who.rate)


def look_at_people(folder: Path, *, encoder: str = "dlib", cache: Path | None = None, progress: Progress = QUIET) -> Seen:
    """A vector for every picture in a folder with a folder for everybody; of several faces the largest. Raises DataError."""
    who = subjects(encoder, cache=cache)
    pictures = list(_named([folder], None))
    if not pictures:
        raise DataError(f"{folder}: no pictures in folders; expected {folder}/NAME/picture.jpg for everybody")
    vectors, missed = [], []
    with progress.task("looking", len(pictures)) as advance:
        for path, _ in pictures:
            try:
                found = who.of(path)
            except PictureError:
                found = []
            missed.append(not found)
            vectors.append(largest(found).vector if found else np.zeros(who.encoder.dimensions, dtype=np.float32))
            advance()
    return Seen(tuple(path for path, _ in pictures), tuple(name for _, name in pictures), np.stack(vectors), np.array(missed))


def evaluate(
    folder: Path, *, pairs: Path | None = None, tags: dict[str, str] | None = None, encoder: str = "dlib", cache: Path | None = None,
    progress: Progress = QUIET,
) -> tuple[Facts, Seen]:  # fmt: skip
    """The protocols of ``onelook.faces.evaluate`` on a folder of people, and what was seen. Raises DataError."""
    listed = read_pairs(pairs, folder) if pairs is not None else []
    seen = look_at_people(folder, encoder=encoder, cache=cache, progress=progress)
    facts = protocol(seen) | {"encoder": encoder}
    if listed:
        place = {path: index for index, path in enumerate(seen.paths)}
        distances = seen.distances()
        values = np.array([distances[place[one.one], place[one.other]] for one in listed])
        same, folds = np.array([one.same for one in listed]), np.array([one.fold for one in listed])
        accuracy, deviation, _ = fold_accuracy(values, same, folds)
        missed = int((values == NOBODY).sum())
        facts |= {"accuracy": accuracy, "accuracy_std": deviation, "pairs": len(listed), "pairs_missed": missed}
    if tags:
        facts["groups"] = by_tag(seen, tags)
    return facts, seen


def read_tags(file: Path) -> dict[str, str]:
    """Person -> group, from a table with columns name and group. Raises DataError."""
    header, rows = read_rows(file)
    if not {"name", "group"} <= set(header):
        raise DataError(f"{file}: needs columns name and group; it has {', '.join(header)}")
    return {row["name"]: row["group"] for _, row in rows}

"""Answers for the frames of a film: looks are kept like those of pictures, so that a second question costs a head only.

What is answered comes from kept looks in any case, so the same film says the same the first time and the second.

    onelook video film.mp4 --model mine.onelook --every 0.5s --json
"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from onelook.answers.answer import Answer, in_words, rows_of
from onelook.asker import Asker
from onelook.data.augment import RECIPES
from onelook.data.film import Film, Frame
from onelook.facts import Facts
from onelook.geometry.placement import PIXELS
from onelook.heads.base import AnswerOptions, AnyHead
from onelook.inference.predict import predict_once, unlike
from onelook.looks.cache import RowId
from onelook.looks.collect import open_store
from onelook.looks.extractor import Pixels
from onelook.looks.features import Look, Needs, join, union, usually_kept
from onelook.looks.store import FeatureStore

CHUNK = 16  # frames that are looked at together


@dataclass(frozen=True)
class Moment:
    """What is said of one frame, ``time`` in seconds; ``ms``: what decoding and looking, and each head, took.

    ``unlike``: heads that have learned from pictures unlike this one.
    """

    number: int
    time: float
    answers: Mapping[str, Answer]
    ms: Mapping[str, float]
    unlike: tuple[str, ...] = ()

    def rows(self) -> list[Facts]:
        """A row for each thing that was found."""
        moment = {"time": round(self.time, 6), "frame": self.number}
        return [{**moment, **row} for row in rows_of(self.answers, self.unlike)]

    def __str__(self) -> str:
        return f"{self.time:.2f} s: {in_words(self.answers, self.unlike)}"

    def to_json(self) -> Facts:
        answers = {name: answer.to_json() for name, answer in self.answers.items()}
        ms = {name: round(spent, 3) for name, spent in self.ms.items()}
        marks: Facts = {"unlike": list(self.unlike)} if self.unlike else {}
        return {"time": round(self.time, 6), "frame": self.number, "answers": answers, **marks, "ms": ms}


class Watcher:
    """Heads of an asker that watch one film, all at one look a frame where they share it."""

    def __init__(self, asker: Asker, film: Film, *, embeddings: bool = False) -> None:
        """``embeddings``: whether they are wanted beside what heads read, for shots and matches."""
        self.asker, self.film = asker, film
        self.decoding = 0.0  # seconds that were waited for frames
        self.looked = 0  # frames that were looked at now
        self._fresh: dict[tuple[int, RowId], Look] = {}
        self.reads_pixels = any(PIXELS in shared_needs(shared.heads).maps for shared in asker.looks)
        self.stores = [self._store(number, embeddings and number == 0) for number in range(len(asker.looks))]

    def _store(self, number: int, embedding: bool) -> tuple[FeatureStore, Needs]:
        shared = self.asker.looks[number]
        needs = shared_needs(shared.heads) | Needs(embedding=embedding)
        keep = needs | usually_kept(shared.wide.backbone.strides)
        root = next(iter(self.asker.owner.values())).cache_root
        return open_store(root, shared.wide, keep, RECIPES["none"], 0), needs

    def row(self, number: int) -> RowId:
        """The name of a frame's look."""
        return hashlib.sha256(f"{self.film.digest} {number}".encode()).hexdigest()[:32], 0

    def moments(self, numbers: Sequence[int], options: AnswerOptions = AnswerOptions()) -> Iterator[Moment]:
        """What all heads say of these frames (ascending), a few at a time."""
        for some, ms in self.looked_at(numbers):
            answers: dict[int, dict[str, Answer]] = {number: {} for number in some}
            spent = {number: dict(ms) for number in some}
            marks: dict[int, tuple[str, ...]] = dict.fromkeys(some, ())
            for index, shared in enumerate(self.asker.looks):
                for alike, look in self.read(index, some):
                    found, cost = predict_once(shared.heads, look)
                    for number, names in zip(alike, unlike(shared.heads, look), strict=True):
                        marks[number] += names
                    for place, number in enumerate(alike):
                        spent[number] |= cost
                        answers[number] |= {name: head.answer(found[name][place], options) for name, head in shared.heads.items()}
            for number in some:
                yield Moment(number, float(self.film.times[number]), answers[number], spent[number], marks[number])

    def looked_at(self, numbers: Sequence[int]) -> Iterator[tuple[list[int], dict[str, float]]]:
        """Groups of frames whose looks are kept, those that cannot be decoded left out, and the milliseconds of decoding and looking."""
        lacking = list(numbers) if self.reads_pixels else self._lacking(numbers)
        frames = self.film.frames(lacking, self.asker.least) if lacking else iter(())
        try:
            missing, gone = set(lacking), set()
            for start in range(0, len(numbers), CHUNK):
                some, begun, waited = list(numbers[start : start + CHUNK]), time.perf_counter(), self.decoding
                wanted = [number for number in some if number in missing]
                came = self._take(frames, wanted)
                gone |= {number for number in wanted if number not in {frame.number for frame in came}}
                self._keep(came)
                there = [number for number in some if number not in gone]
                decode = (self.decoding - waited) * 1000 / len(some)
                look = (time.perf_counter() - begun) * 1000 / len(some) - decode
                if there:
                    yield there, {"decode": decode, "look": look}
        finally:
            close = getattr(frames, "close", None)
            if close is not None:
                close()

    def _lacking(self, numbers: Sequence[int]) -> list[int]:
        """Those of the frames whose looks are not kept, or are damaged."""
        rows = {self.row(number): number for number in numbers}
        lacking: set[int] = set()
        for store, needs in self.stores:
            store.check(list(rows), needs)
            lacking |= {rows[row] for row in store.missing(list(rows))}
        return [number for number in numbers if number in lacking]

    def _take(self, frames: Iterator[Frame], wanted: Sequence[int]) -> list[Frame]:
        """Those of the wanted frames that come."""
        begun = time.perf_counter()
        came: list[Frame] = []
        while len(came) < len(wanted):
            frame = next(frames, None)
            if frame is None:
                break
            came.append(frame)
        self.decoding += time.perf_counter() - begun
        return came

    def _keep(self, frames: Sequence[Frame]) -> None:
        """Look at frames and keep the looks; what heads read of pixels is not kept longer than for these frames."""
        self.looked += len(frames)
        self._fresh = {}
        for index, (store, needs) in enumerate(self.stores):
            extractor = self.asker.looks[index].wide
            by_size: dict[tuple[int, int], list[Pixels]] = {}
            for frame in frames:
                view = extractor.scale(frame.picture, self.row(frame.number), frame.size)
                by_size.setdefault(view.placement.input, []).append(view)
            for same in by_size.values():
                look = extractor.look(same, store.key.needs)
                if PIXELS in needs.maps:
                    self._fresh |= {(index, view.row): look.pick([place]) for place, view in enumerate(same)}
                store.append([view.row for view in same], look)

    def read(self, index: int, numbers: Sequence[int]) -> Iterator[tuple[list[int], Look]]:
        """Kept looks of frames, as far as heads read them, by input sizes."""
        store, needs = self.stores[index]
        by_size: dict[tuple[int, int], list[int]] = {}
        for number in numbers:
            by_size.setdefault(store.place(self.row(number)).input, []).append(number)
        for alike in by_size.values():
            rows = [self.row(number) for number in alike]
            found = [self._fresh[index, row] for row in rows if (index, row) in self._fresh]
            yield alike, join(found) if len(found) == len(rows) else store.read(rows, needs)

    def embeddings(self, numbers: Sequence[int]) -> Iterator[tuple[int, torch.Tensor]]:
        """The embedding (D,) of each frame, of length 1, looked at if need be."""
        for some, _ in self.looked_at(numbers):
            for alike, look in self.read(0, some):
                assert look.embedding is not None
                yield from zip(alike, torch.nn.functional.normalize(look.embedding, dim=1), strict=True)


def shared_needs(heads: Mapping[str, AnyHead]) -> Needs:
    """What heads read together."""
    return union(head.reads for head in heads.values())


def share_of_time(moments: Iterable[Moment]) -> Facts:
    """Head -> label -> share of the frames in which it is said."""
    counts: dict[str, dict[str, int]] = {}
    frames = 0
    for moment in moments:
        frames += 1
        for name, answer in moment.answers.items():
            for label in dict.fromkeys(str(row["label"]) for row in answer.rows() if "label" in row and "value" not in row):
                counts.setdefault(name, {})[label] = counts.setdefault(name, {}).get(label, 0) + 1
    return {name: {label: count / max(1, frames) for label, count in sorted(found.items())} for name, found in counts.items()}

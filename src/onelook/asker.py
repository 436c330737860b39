"""Models that are asked picture by picture, as a server and a film ask: what does not change is prepared once.

The answers are those of ``Model.predict``, to the byte. Several models are asked as one: heads of one network and geometry share a look.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from onelook.answers.answer import Answer, Answers
from onelook.backbones.engines import make_engine
from onelook.data.pictures import open_picture, picture_size
from onelook.errors import HeadError
from onelook.heads.base import AnswerOptions, AnyHead
from onelook.inference.predict import predict_once, unlike
from onelook.looks.extractor import Extractor, Pixels
from onelook.looks.features import Look, union
from onelook.model import Model
from onelook.modelparts import READY
from onelook.threads import all_threads


@dataclass(frozen=True)
class Decoded:
    """A picture as every look of an asker reads it; ``ms``: what decoding took."""

    name: str
    pixels: tuple[Pixels, ...]
    ms: float


@dataclass(frozen=True)
class SharedLook:
    """Heads that share a look: with all threads, and with one for when several pictures are in work at once."""

    wide: Extractor
    narrow: Extractor
    heads: Mapping[str, AnyHead]


class Asker:
    """Heads of several models, ready to be asked. Thread-safe: pictures may be decoded and answered in several threads at once."""

    def __init__(self, models: Sequence[Model], heads: Sequence[str] = ()) -> None:
        self.threads = all_threads()
        self.owner: dict[str, Model] = {}
        for model in models:
            for name in model.heads or [READY]:
                if name in self.owner:
                    raise HeadError(f"two models have a head {name!r}; rename one: onelook head rename FILE {name} OTHER")
                self.owner[name] = model
        for name in heads:
            if name not in self.owner:
                raise HeadError(f"no head {name!r}; there are {', '.join(self.owner)}")
        self.heads = {name: model.head(name) for name, model in self.owner.items() if not heads or name in heads}
        grouped: dict[tuple[object, ...], list[str]] = {}
        for name in self.heads:
            model = self.owner[name]
            grouped.setdefault((model.backbone.fingerprint, model.geometry_of(name)), []).append(name)
        self.looks = [self._shared(names) for names in grouped.values()]

    def _shared(self, names: list[str]) -> SharedLook:
        model = self.owner[names[0]]
        wide, narrow = (
            Extractor(
                model.backbone, make_engine(model.backbone, model.cache_root / "engines", model.device, count), model.geometry_of(names[0])
            )
            for count in (self.threads, 1)
        )
        return SharedLook(wide, narrow, {name: self.heads[name] for name in names})

    def decode(self, name: str, content: bytes) -> Decoded:
        """The bytes of a picture, upright, scaled for every look. Raises PictureError."""
        begun = time.perf_counter()
        original = picture_size(name, content)
        return self.prepare(name, open_picture(name, content=content, at_least=self.least), original, begun)

    @property
    def least(self) -> int:
        """Pixels that the shorter side of a picture may be shrunk to while it is decoded."""
        return 2 * max(look.wide.geometry.size for look in self.looks)

    def prepare(self, name: str, picture: Image.Image, original: tuple[int, int] | None = None, begun: float | None = None) -> Decoded:
        """An RGB picture, scaled for every look; ``original``: its size before it was decoded smaller."""
        begun = time.perf_counter() if begun is None else begun
        pixels = tuple(look.wide.scale(picture, ("", 0), original or picture.size) for look in self.looks)
        return Decoded(name, pixels, (time.perf_counter() - begun) * 1000)

    def look(self, batch: Sequence[Decoded], number: int, alone: bool = True) -> Look:
        """Look ``number`` at pictures that share an input size."""
        shared = self.looks[number]
        needs = union(head.reads for head in shared.heads.values())
        return (shared.wide if alone else shared.narrow).look([one.pixels[number] for one in batch], needs)

    def answer(
        self, batch: Sequence[Decoded], heads: Sequence[str] = (), options: AnswerOptions = AnswerOptions(), alone: bool = True
    ) -> list[Answers]:
        """Answers for pictures, in order; ``alone``: whether nothing else is in work, so that all threads may be used."""
        torch.set_num_threads(self.threads if alone else 1)  # of this thread of Python
        answers: list[dict[str, Answer]] = [{} for _ in batch]
        ms: list[dict[str, float]] = [{"decode": one.ms, "look": 0.0} for one in batch]
        marks: list[tuple[str, ...]] = [() for _ in batch]
        for number, shared in enumerate(self.looks):
            asked = {name: head for name, head in shared.heads.items() if not heads or name in heads}
            if not asked:
                continue
            for group in _by_size([one.pixels[number] for one in batch]):
                begun = time.perf_counter()
                look = self.look([batch[index] for index in group], number, alone)
                spent = (time.perf_counter() - begun) * 1000 / len(group)
                found, cost = predict_once(asked, look)
                for index, names in zip(group, unlike(asked, look), strict=True):
                    marks[index] += names
                for place, index in enumerate(group):
                    ms[index]["look"] += spent
                    ms[index] |= cost
                    answers[index] |= {name: head.answer(found[name][place], options) for name, head in asked.items()}
        order = [name for name in self.heads if not heads or name in heads]
        return [
            Answers(Path(one.name), {name: found[name] for name in order}, spent, unlike=names)
            for one, found, spent, names in zip(batch, answers, ms, marks, strict=True)
        ]


def _by_size(pixels: Sequence[Pixels]) -> list[list[int]]:
    """Numbers of pictures that share an input size."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, one in enumerate(pixels):
        groups.setdefault(one.placement.input, []).append(index)
    return list(groups.values())

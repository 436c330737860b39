"""What every answer does: it says itself in a few words, as plain values, and on its picture.

A model's answers to one picture stand together in ``Answers``.

for answers in model.predict(["photo.jpg"]):
    print(answers["imagenet"].label, answers["imagenet"].probability)
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from onelook.answers.canvas import Colour, with_caption, with_key
from onelook.data.pictures import open_picture
from onelook.facts import Facts

SMALL, LARGE = 320, 4e7  # pixels of a side up to which pictures are enlarged, of all of them above which they are not


class Answer(ABC):
    """One head's answer to one picture. ``overlay``: whether another answer can be drawn over it, so that both are seen."""

    overlay: ClassVar[bool] = False

    @abstractmethod
    def to_json(self) -> Facts:
        """Plain values; places are in pixels of the original picture."""

    @abstractmethod
    def __str__(self) -> str:
        """A few words."""

    def rows(self) -> list[Facts]:
        """The answer as rows of a table, each of plain values: one, or one for each thing that was found."""
        return [{name: value for name, value in self.to_json().items() if isinstance(value, str | int | float)}]

    def draw(self, picture: Image.Image, grow: float = 1.0, colour: Colour | None = None) -> Image.Image:
        """The answer on a picture that was enlarged ``grow`` times, all in one ``colour`` if given; nothing to draw: as it is."""
        return picture

    def spots(self) -> Sequence[tuple[float, float, str]]:
        """Words for places (x, y) in the picture, shown under the pointer."""
        return ()

    def key(self) -> Sequence[tuple[str, Colour | None]]:
        """What the colours of the drawing mean, where words alone do not say it."""
        return ()


@dataclass(frozen=True)
class Answers:
    """All that a model says of one picture; ``ms``: milliseconds of the look and of each head; ``error``: why there is none.

    ``picture``: of a picture that is no file. ``unlike``: heads that have learned from pictures unlike this one: doubt them.
    """

    path: Path
    answers: Mapping[str, Answer] = field(default_factory=dict)
    ms: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    picture: Image.Image | None = None
    unlike: tuple[str, ...] = ()

    def __getitem__(self, head: str) -> Any:
        return self.answers[head]

    def __str__(self) -> str:
        return self.error or in_words(self.answers, self.unlike)

    def rows(self) -> list[Facts]:
        """What all heads say as rows with ``path`` and ``head``; one with ``error`` for a picture that cannot be read."""
        if self.error is not None:
            return [{"path": str(self.path), "error": self.error}]
        return [{"path": str(self.path), **row} for row in rows_of(self.answers, self.unlike)]

    def draw(self) -> Image.Image:
        """The picture with one line per head in a band below it; small pictures are enlarged to be read. Raises PictureError."""
        picture = self.picture or open_picture(self.path)
        grow = max(1, math.ceil(SMALL / max(picture.width, 1)))
        if grow > 1 and picture.width * grow * picture.height * grow < LARGE:
            picture = picture.resize((picture.width * grow, picture.height * grow), Image.Resampling.NEAREST)
        else:
            grow = 1
        for answer in self.answers.values():
            picture = answer.draw(picture, grow)
        for name, answer in self.answers.items():
            key = answer.key()
            picture = with_key(with_caption(picture, [f"{name}:"]), key) if key else with_caption(picture, [f"{name}: {answer}"])
        if self.unlike:
            picture = with_caption(picture, [unlike_in_words(self.unlike)])
        return picture

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows."""
        if self.error is not None:
            return None
        buffer = BytesIO()
        self.draw().save(buffer, "PNG")
        return buffer.getvalue()

    def to_json(self) -> Facts:
        if self.error is not None:
            return {"path": str(self.path), "error": self.error}
        answers = {name: answer.to_json() for name, answer in self.answers.items()}
        marks: Facts = {"unlike": list(self.unlike)} if self.unlike else {}
        return {"path": str(self.path), "answers": answers, **marks, "ms": {name: round(ms, 3) for name, ms in self.ms.items()}}


def in_words(answers: Mapping[str, Answer], unlike: Sequence[str]) -> str:
    """What all heads say in a line, and which of them are to be doubted."""
    return "; ".join([*(f"{name} {answer}" for name, answer in answers.items()), *([unlike_in_words(unlike)] if unlike else [])])


def rows_of(answers: Mapping[str, Answer], unlike: Sequence[str]) -> list[Facts]:
    """What all heads say as rows with ``head``, and ``unlike`` where they are to be doubted."""
    marks: dict[str, Facts] = {name: {"unlike": True} for name in unlike}
    return [{"head": name, **row, **marks.get(name, {})} for name, answer in answers.items() for row in answer.rows()]


def unlike_in_words(heads: Sequence[str]) -> str:
    """A warning that answers of these heads are to be doubted."""
    return f"unlike the pictures that {' and '.join(heads)} learned from"


def rows(answers: Iterable[Answers]) -> list[Facts]:
    """Rows of a table for many pictures, for ``pandas.DataFrame(onelook.rows(model.predict("photos/")))``."""
    return [row for found in answers for row in found.rows()]

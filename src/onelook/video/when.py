"""Expressions about answers over time, and the stretches of film in which they hold.

    dunk > 0.7                          probability of a class, or the best score of its boxes
    kind.dunk > 0.7 and not crowd > 0.5
    count(person) >= 3                  boxes of a class
    share(road) < 0.2                   of the pixels
    weight > 12.5                       a value

onelook video game.mp4 --model mine.onelook --highlights best.mp4 --when "dunk > 0.7"
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from onelook.answers.answer import Answer
from onelook.answers.labels import Label, Labels, Values
from onelook.answers.segmentation import Segmentation
from onelook.errors import OnelookError
from onelook.facts import Facts
from onelook.heads.base import AnyHead
from onelook.video.shots import Shot

TOKEN = re.compile(r"\s*(?:(>=|<=|==|>|<|\(|\))|(\d+(?:\.\d*)?|\.\d+)|\"([^\"]+)\"|([^\s()<>=\"]+))")
SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
}
DEEPEST = 30  # brackets within brackets
GAP = 1.0  # seconds between two stretches up to which they are one


@dataclass(frozen=True)
class When:
    """A condition. ``holds``: of the answers of a moment; ``score``: how strongly the first thing that it names is there."""

    text: str
    holds: Callable[[Mapping[str, Answer]], bool]
    score: Callable[[Mapping[str, Answer]], float]


@dataclass(frozen=True)
class Clip:
    """A stretch of film in seconds; ``score``: the mean of what was asked for, while it held."""

    start: float
    end: float
    score: float

    def to_json(self) -> Facts:
        return {"start": round(self.start, 3), "end": round(self.end, 3), "score": round(self.score, 6)}


def parse_when(text: str, heads: Mapping[str, AnyHead]) -> When:
    """A condition about these heads. Raises OnelookError that shows where it cannot be understood, and names what could be asked."""
    return _Parser(text, heads).whole()


class _Parser:
    def __init__(self, text: str, heads: Mapping[str, AnyHead]) -> None:
        self.text, self.heads = text, heads
        self.tokens = self._cut(text)
        self.at = self.depth = 0
        self.values: list[Callable[[Mapping[str, Answer]], float]] = []

    def _cut(self, text: str) -> list[tuple[str, str]]:
        found, at = [], 0
        while text[at:].strip():
            match = TOKEN.match(text, at)
            if match is None:
                raise OnelookError(f"--when {text!r}: cannot be understood at {text[at:].strip()[:20]!r}; use something like 'dunk > 0.7'")
            kinds = ("sign", "number", "name", "name")
            found.append(next((kind, part) for kind, part in zip(kinds, match.groups(), strict=True) if part is not None))
            at = match.end()
        return found

    def whole(self) -> When:
        holds = self._any()
        if self.at < len(self.tokens):
            raise self._wrong("and, or, or its end")
        return When(self.text, holds, self.values[0])

    def _any(self) -> Callable[[Mapping[str, Answer]], bool]:
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        return lambda answers: any(part(answers) for part in parts)

    def _all(self) -> Callable[[Mapping[str, Answer]], bool]:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return lambda answers: all(part(answers) for part in parts)

    def _one(self) -> Callable[[Mapping[str, Answer]], bool]:
        if self._take("not"):
            negated = self._one()
            return lambda answers: not negated(answers)
        if self._take("("):
            self.depth += 1
            if self.depth > DEEPEST:
                raise OnelookError(f"--when {self.text[:40]!r}: more than {DEEPEST} brackets within each other")
            inner = self._any()
            if not self._take(")"):
                raise self._wrong("a closing bracket")
            self.depth -= 1
            return inner
        value = self._value()
        kind, sign = self._next()
        if kind != "sign" or sign not in SIGNS:
            raise self._wrong("one of > < >= <= ==", back=1)
        kind, number = self._next()
        if kind != "number":
            raise self._wrong("a number", back=1)
        compare, bound = SIGNS[sign], float(number)
        return lambda answers: compare(value(answers), bound)

    def _value(self) -> Callable[[Mapping[str, Answer]], float]:
        kind, name = self._next()
        if kind not in ("name", "number"):
            raise self._wrong("a class", back=1)
        how = "score"
        if name in ("count", "share") and self._take("("):
            how, (_, name) = name, self._next()
            if not self._take(")"):
                raise self._wrong("a closing bracket")
        head, label = self._named(name)
        value = _VALUES[how]

        def read(answers: Mapping[str, Answer]) -> float:
            return value(answers[head], label) if head in answers else 0.0

        self.values.append(read)
        return read

    def _named(self, name: str) -> tuple[str, str]:
        """The head and the class of "class" or "head.class"."""
        owners = [(head, name) for head, one in self.heads.items() if name in one.classes]
        head, dot, label = name.partition(".")
        if dot and head in self.heads and label in self.heads[head].classes:
            owners = [(head, label)]
        if len(owners) > 1:
            raise OnelookError(
                f"--when: {name} is a class of {', '.join(head for head, _ in owners)}; say which, as in {owners[0][0]}.{name}"
            )
        if not owners:
            known = [label for one in self.heads.values() for label in one.classes]
            raise OnelookError(f"--when: no head knows {name!r}; there are {', '.join(known[:20])}")
        return owners[0]

    def _next(self) -> tuple[str, str]:
        if self.at >= len(self.tokens):
            raise OnelookError(f"--when {self.text!r}: ends too early; use something like 'dunk > 0.7'")
        self.at += 1
        return self.tokens[self.at - 1]

    def _take(self, word: str) -> bool:
        there = self.at < len(self.tokens) and self.tokens[self.at][1] == word
        self.at += there
        return there

    def _wrong(self, wanted: str, back: int = 0) -> OnelookError:
        place = self.at - back
        found = repr(self.tokens[place][1]) if place < len(self.tokens) else "the end"
        return OnelookError(f"--when {self.text!r}: {found} stands where {wanted} is expected")


def _score(answer: Answer, label: str) -> float:
    """A probability, a value, or the best score of a thing of this name."""
    if isinstance(answer, Label | Labels):
        return float(answer.probabilities[label])
    if isinstance(answer, Values):
        return float(answer.values[label])
    if isinstance(answer, Segmentation):
        return answer.shares.get(label, 0.0)
    return max((float(row["score"]) for row in answer.rows() if row.get("label") == label), default=0.0)


def _count(answer: Answer, label: str) -> float:
    return float(sum(row.get("label") == label for row in answer.rows()))


_VALUES: Mapping[str, Callable[[Answer, str], float]] = {"score": _score, "count": _count, "share": _score}


def find_clips(
    moments: Sequence[tuple[float, bool, float]], step: float, pad: tuple[float, float], shots: Sequence[Shot], seconds: float
) -> list[Clip]:
    """Stretches in which a condition held, of (time, whether it held, its score): joined over short gaps, padded, and ended at cuts.

    ``step``: seconds between moments.
    """
    stretches: list[list[tuple[float, float]]] = []
    for time, holds, score in moments:
        if holds:
            if stretches and time - stretches[-1][-1][0] <= max(GAP, 1.5 * step):
                stretches[-1].append((time, score))
            else:
                stretches.append([(time, score)])
    clips: list[Clip] = []
    for stretch in stretches:
        start, end = _snapped(stretch[0][0], stretch[-1][0], step, pad, shots, seconds)
        score = sum(score for _, score in stretch) / len(stretch)
        if clips and start < clips[-1].end:
            before = clips.pop()
            start, score = before.start, max(before.score, score)
        clips.append(Clip(start, end, score))
    return clips


def _snapped(
    first: float, last: float, step: float, pad: tuple[float, float], shots: Sequence[Shot], seconds: float
) -> tuple[float, float]:
    """The stretch from one moment to another, padded, cut back to the shots that these lie in."""
    cuts = [shot.start for shot in shots[1:]]
    left = max([0.0, first - pad[0], *(cut for cut in cuts if cut <= first)])
    right = min([seconds, last + step + pad[1], *(cut for cut in cuts if cut > last)])
    return left, right


def best(clips: Sequence[Clip], top: int | None) -> list[Clip]:
    """The ``top`` clips by score, in the film's order."""
    chosen = sorted(clips, key=lambda clip: -clip.score)[:top] if top else list(clips)
    return sorted(chosen, key=lambda clip: clip.start)

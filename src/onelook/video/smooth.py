"""Labels that do not flicker: probabilities averaged over time, and a label that only gives way to one that is clearly likelier.

onelook video film.mp4 --model mine.onelook --smooth 0.5s
"""

import math
from dataclasses import replace

from onelook.answers.answer import Answer
from onelook.answers.labels import Label, Labels, Values
from onelook.video.watch import Moment

CLEARLY = 0.1  # by which another class must be likelier than the one that is said
ON, OFF = 0.6, 0.4  # probability from which one label of several is said, and below which no longer


class Smoother:
    """Smooths moments in their order. ``seconds``: after which a change has reached 63 % of its size; boxes, points and pixels stay."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._before: dict[str, tuple[float, Answer]] = {}

    def __call__(self, moment: Moment) -> Moment:
        """The moment with smooth labels and values."""
        return replace(moment, answers={name: self._smooth(name, moment.time, answer) for name, answer in moment.answers.items()})

    def _smooth(self, name: str, time: float, answer: Answer) -> Answer:
        if not isinstance(answer, Label | Labels | Values):
            return answer
        if name in self._before:
            then, before = self._before[name]
            answer = _mixed(before, answer, 1 - math.exp(-max(0.0, time - then) / self.seconds))
        self._before[name] = time, answer
        return answer


def _mixed(before: Answer, now: Answer, share: float) -> Answer:
    """The answer before, moved towards the one now by a share of the way."""
    if isinstance(now, Values) and isinstance(before, Values):
        return Values({name: before.values[name] + share * (value - before.values[name]) for name, value in now.values.items()})
    assert isinstance(now, Label | Labels)
    assert isinstance(before, Label | Labels)
    mixed = {name: before.probabilities[name] + share * (p - before.probabilities[name]) for name, p in now.probabilities.items()}
    if isinstance(now, Label) and isinstance(before, Label):
        best = max(mixed, key=mixed.__getitem__)
        said = best if mixed[best] > mixed[before.label] + CLEARLY else before.label
        return Label(said, mixed[said], mixed)
    said_before = before.labels if isinstance(before, Labels) else ()
    return Labels(tuple(name for name, p in mixed.items() if p >= (OFF if name in said_before else ON)), mixed)

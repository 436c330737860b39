"""Shots: stretches of film between two cuts, found by how far looks lie apart.

Looks are compared a quarter of a second apart; where two differ, the frames between are halved until the one is found at which the picture
becomes another from one frame to the next. So a film costs four looks a second and some five more a cut; fades are no cuts.

    onelook video summary film.mp4
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from onelook.facts import Facts
from onelook.video.watch import Watcher

STEP = 0.25  # seconds between looks that are compared
APART = 0.3  # distance (1 - cosine) of embeddings from which there may be a cut between two looks
ABRUPT = 0.35  # of two frames in a row from which there is one: cuts measured 0.49 to 0.76, fast motion up to 0.22 (docs/diary.md)
SHORTEST = 0.1  # seconds of a shot: a flash is none


@dataclass(frozen=True)
class Shot:
    """Frames ``first`` to ``last``, seconds ``start`` to ``end`` (of the next shot's first frame)."""

    first: int
    last: int
    start: float
    end: float

    @property
    def key(self) -> int:
        """The frame that stands for it: the middle one."""
        return (self.first + self.last) // 2

    def to_json(self) -> Facts:
        return {"start": self.start, "end": self.end, "first": self.first, "last": self.last}


def find_shots(watcher: Watcher, start: float = 0.0, end: float | None = None) -> list[Shot]:
    """All shots of a film, in order."""
    film = watcher.film
    inside = film.chosen(None, start, end)
    sampled = sorted({*film.chosen(f"{STEP}s", start, end), *inside[-1:]})
    looks = dict(watcher.embeddings(sampled))
    cuts: list[int] = []
    for left, right in pairwise(number for number in sampled if number in looks):
        cuts += _cuts_between(watcher, range(left, right + 1), looks)
    return _between(film.times.tolist(), inside, sorted(cuts), film.seconds if end is None else end)


def _cuts_between(watcher: Watcher, frames: Sequence[int], looks: dict[int, Tensor]) -> list[int]:
    """The first frames behind cuts among ``frames``, of whose first and last there are looks."""
    first, last = frames[0], frames[-1]
    if len(frames) < 2 or _distance(looks[first], looks[last]) < APART:
        return []
    low, high = 0, len(frames) - 1
    while high - low > 1:  # what is nearer to the first gives way to what is nearer to the last
        middle = (low + high) // 2
        looks |= dict(watcher.embeddings([frames[middle]]))
        here = looks.get(frames[middle])
        if here is not None and _distance(here, looks[first]) <= _distance(here, looks[last]):
            low = middle
        else:
            high = middle
    if frames[low] not in looks or frames[high] not in looks or _distance(looks[frames[low]], looks[frames[high]]) < ABRUPT:
        return []
    return [*_cuts_between(watcher, frames[:high], looks), frames[high], *_cuts_between(watcher, frames[high:], looks)]


def _between(times: Sequence[float], inside: Sequence[int], cuts: Sequence[int], end: float) -> list[Shot]:
    """Shots from the first frames of each; what is shorter than SHORTEST belongs to the one before."""
    if not inside:
        return []
    starts = [inside[0]]
    for cut in cuts:
        if times[cut] - times[starts[-1]] >= SHORTEST:
            starts.append(cut)
    lasts = [number - 1 for number in starts[1:]] + [inside[-1]]
    ends = [times[number] for number in starts[1:]] + [end]
    return [Shot(first, last, times[first], stop) for first, last, stop in zip(starts, lasts, ends, strict=True)]


def _distance(one: Tensor, other: Tensor) -> Tensor:
    return 1 - one @ other

"""Who is when in a film: the stretches in which somebody is seen, of the frames that were looked at.

onelook faces identify people.gallery party.mp4
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from onelook.answers.people import Named
from onelook.facts import Facts

GAP = 2.0  # seconds between two frames with somebody up to which it is one appearance, if frames are not farther apart


@dataclass
class Appearance:
    """Somebody from one moment to another (seconds), seen in ``frames`` of those that were looked at; ``score``: the best one's."""

    name: str
    start: float
    end: float
    frames: int
    score: float

    def to_json(self) -> Facts:
        return asdict(self) | {"start": round(self.start, 3), "end": round(self.end, 3)}


class Appearances:
    """Takes moments in their order; who is unknown is not among them."""

    def __init__(self) -> None:
        self.found: list[Appearance] = []
        self._last: dict[str, Appearance] = {}
        self._step = 0.0
        self._before: float | None = None

    def add(self, time: float, faces: Sequence[Named]) -> None:
        """Who is seen at a moment."""
        self._step = max(self._step, 0.0 if self._before is None else time - self._before)
        self._before = time
        best: dict[str, float] = {}
        for face in faces:
            if face.name is not None:
                best[face.name] = max(face.score, best.get(face.name, face.score))
        for name, score in best.items():
            last = self._last.get(name)
            if last is None or time - last.end > max(GAP, 1.5 * self._step):
                last = self._last[name] = Appearance(name, time, time, 0, score)
                self.found.append(last)
            last.end, last.frames, last.score = time, last.frames + 1, max(last.score, score)

"""Which pictures fit which shot of a film, by looks: advertisements to what is shown, slides to a lecture.

onelook video match film.mp4 --gallery pictures/
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onelook.asker import Asker
from onelook.data.film import Film
from onelook.errors import DataError
from onelook.facts import Facts
from onelook.model import Model
from onelook.modelparts import READY
from onelook.video.asked import Asked
from onelook.video.shots import Shot, find_shots
from onelook.video.watch import Watcher


@dataclass(frozen=True)
class Match:
    """A picture that fits a shot. ``score``: cosine of their looks, ``time``: of the frame that is nearest; ``reason``: what both show."""

    shot: Shot
    picture: Path
    score: float
    time: float
    reason: str

    def to_json(self) -> Facts:
        return {**self.shot.to_json(), "picture": str(self.picture), "score": self.score, "time": self.time, "reason": self.reason}


def match(source: str, gallery: Sequence[str], *, top: int = 3, asked: Asked = Asked()) -> list[Match]:
    """Which pictures fit which shot best, by looks of the ready network, best first, ``top`` a shot. Raises DataError without pictures."""
    asked.check()
    model = Model.new()
    asker = Asker([model], [READY])
    found = model.embeddings(list(gallery))
    if not len(found.paths):
        raise DataError(f"{' '.join(gallery)}: no pictures found to match")
    pictures = found.vectors / np.linalg.norm(found.vectors, axis=1, keepdims=True).clip(1e-12)
    film = Film.open(source)
    watcher = Watcher(asker, film, embeddings=True)
    shots = find_shots(watcher, asked.start, asked.end)
    looks = {number: look.numpy() for number, look in watcher.embeddings(film.chosen(asked.every, asked.start, asked.end))}
    names = dict(zip(found.paths, (answers[READY].label for answers in model.predict(list(found.paths))), strict=True))
    matches = []
    for shot in shots:
        numbers = [number for number in looks if shot.first <= number <= shot.last] or [shot.key]
        inside = {number: looks[number] if number in looks else dict(watcher.embeddings([number]))[number].numpy() for number in numbers}
        scores = np.stack(list(inside.values())) @ pictures.T
        for place in np.argsort(-scores.max(0), kind="stable")[:top]:
            number = list(inside)[int(scores[:, place].argmax())]
            seen = next(watcher.moments([number])).answers[READY]
            path, label = found.paths[int(place)], seen.to_json()["label"]
            reason = f"{label} in both" if names[path] == label else f"{label} in the film, {names[path]} in the picture"
            matches.append(Match(shot, path, float(scores[:, place].max()), float(film.times[number]), reason))
    return matches

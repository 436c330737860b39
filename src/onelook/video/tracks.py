"""Objects followed through a film: what is the same thing has the same number in every frame.

By ByteTrack (Zhang et al. 2022), as the package ``trackers`` has it: boxes that are sure are joined to tracks first; what scores too
little to be an answer by itself is one where a track leads to it. Objects are followed by where they are, so frames must lie close
together; a thing that is hidden for more than a second has another number afterwards.

    onelook video film.mp4 --model mine.onelook --track --out drawn.mp4
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from onelook.answers.detections import Detections
from onelook.errors import OnelookError
from onelook.facts import Facts
from onelook.geometry.supervision import supervision
from onelook.heads.base import AnyHead
from onelook.video.watch import Moment

LOW = 0.5  # share of the lowest score of an answer down to which a box continues a track
RATE = 30.0  # frames a second by which ByteTrack counts; times are the film's own


class Tracker:
    """Numbers the boxes of moments, taken in their order; ``conf``: the lowest score of a box, where it is not the head's own."""

    def __init__(self, heads: Mapping[str, AnyHead], conf: float | None = None) -> None:
        """Raises OnelookError where no head gives boxes, or without the package ``trackers``."""
        own = {name: head.core.reading().get("conf") for name, head in heads.items()}
        self.conf = {name: float(lowest if conf is None else conf) for name, lowest in own.items() if lowest is not None}
        if not self.conf:
            raise OnelookError(f"--track: follows boxes, and none of the heads gives any ({', '.join(heads)}); train one: --task detect")
        byte_track = _byte_track()
        self._trackers = {name: byte_track(frame_rate=RATE, **_levels(lowest)) for name, lowest in self.conf.items()}
        self._labels: dict[tuple[str, int], Counter[str]] = {}

    @property
    def asked(self) -> float:
        """The score down to which boxes must be given to it."""
        return LOW * min(self.conf.values())

    def __call__(self, moment: Moment) -> Moment:
        """The moment with numbered boxes; those that are in no track yet have -1, and those that score too little for that are gone."""
        numbered = {name: self._follow(name, moment) for name in self._trackers if name in moment.answers}
        return replace(moment, answers={**moment.answers, **numbered})

    def _follow(self, name: str, moment: Moment) -> Detections:
        answer = moment.answers[name]
        assert isinstance(answer, Detections)
        places = {"place": np.arange(len(answer))}
        boxes = supervision.Detections(answer.xyxy, confidence=answer.confidence, class_id=answer.class_id, data=places)
        found = self._trackers[name].update(boxes, timestamp=moment.time)
        numbers = np.full(len(answer), -1)
        if len(found):
            numbers[found.data["place"]] = found.tracker_id
        for number, label, score in zip(numbers.tolist(), answer.data["class_name"].tolist(), answer.confidence.tolist(), strict=True):
            if number >= 0:
                self._labels.setdefault((name, number), Counter())[label] += score
        return answer.numbered(numbers).where((answer.confidence >= self.conf[name]) | (numbers >= 0))

    def label(self, head: str, number: int) -> str:
        """What a track is, by the scores of all its boxes so far."""
        return self._labels[head, number].most_common(1)[0][0]

    def to_json(self) -> Facts:
        """Head -> label -> number of tracks."""
        counts: dict[str, Counter[str]] = {name: Counter() for name in self._trackers}
        for head, number in self._labels:
            counts[head][self.label(head, number)] += 1
        return {name: dict(sorted(found.items())) for name, found in counts.items()}


def _levels(lowest: float) -> Facts:
    """A box begins a track where it is an answer; what scores less only continues one."""
    return {"track_activation_threshold": lowest, "high_conf_det_threshold": lowest}


def _byte_track() -> Any:
    """ByteTrack's class. Raises OnelookError where it is not installed."""
    if find_spec("trackers") is None:
        raise OnelookError("--track: needs the package trackers; pip install 'onelook[video]'")
    return import_module("trackers").ByteTrackTracker

"""Lines that tracks cross and zones that they stay in: how many, which way, for how long.

    zones.json:  {"lines": {"gate": [[320, 0], [320, 360]]}, "zones": {"court": [[0, 0], [300, 0], [300, 360], [0, 360]]}, "at": "foot"}

Points are x, y in pixels of the upright film. A box is where its middle is, or with "at": "foot" the middle of its lower side. A line is
crossed where the way of a track cuts it; "in" is to the left of who goes from its first point to its second. Whoever stands on it and
sways does not cross it: each crossing takes a tenth of the box's size on either side.

    onelook video film.mp4 --model mine.onelook --count zones.json
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from onelook.answers.canvas import COLOURS, Colour
from onelook.answers.detections import Detections
from onelook.data.readers.table import read_text
from onelook.errors import DataError
from onelook.facts import Facts
from onelook.video.tracks import Tracker
from onelook.video.watch import Moment

MARGIN = 0.1  # of a box's size (square root of its area) that its middle must lie beyond a line
WAYS = ("in", "out")
Point = tuple[float, float]
Track = tuple[str, int]  # head, number


@dataclass(frozen=True)
class Places:
    """Lines (two points each) and zones (three or more) of a picture, by name. ``foot``: whether a box is where its lower side is."""

    lines: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    zones: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    foot: bool = False

    @staticmethod
    def read(path: Path) -> "Places":
        """Of a JSON file. Raises DataError that names what is wrong in it, UnreadableError."""
        try:
            facts = json.loads(read_text(path))
        except ValueError as error:
            raise DataError(f"{path}: cannot be read as JSON ({error})") from error
        if not isinstance(facts, dict) or not (facts.get("lines") or facts.get("zones")):
            raise DataError(f'{path}: has neither lines nor zones; expected {{"lines": {{"gate": [[320, 0], [320, 360]]}}}}')
        unknown = sorted(set(facts) - {"lines", "zones", "at"})
        if unknown:
            raise DataError(f"{path}: {unknown[0]!r} is not known here; there are lines, zones, at")
        at = facts.get("at", "middle")
        if at not in ("middle", "foot"):
            raise DataError(f"{path}: at is {at!r}; use middle or foot")
        lines, zones = (_points(path, name, facts.get(name) or {}, least) for name, least in (("lines", 2), ("zones", 3)))
        twice = sorted(set(lines) & set(zones))
        if twice:
            raise DataError(f"{path}: {twice[0]!r} is a line and a zone; names must differ")
        return Places(lines, zones, at == "foot")

    def check(self, size: tuple[int, int], path: Path) -> None:
        """Raise DataError for what lies outside a film of this size altogether."""
        for name, points in {**self.lines, **self.zones}.items():
            xs, ys = zip(*points, strict=True)
            if max(xs) < 0 or max(ys) < 0 or min(xs) > size[0] or min(ys) > size[1]:
                raise DataError(f"{path}: {name} lies outside the film, which has {size[0]} x {size[1]} pixels")

    def of(self, box: np.ndarray) -> Point:
        """Where a box xyxy is."""
        left, top, right, bottom = box.tolist()
        return (left + right) / 2, bottom if self.foot else (top + bottom) / 2


class Counts:
    """Counts the tracks of moments, taken in their order, at places."""

    def __init__(self, places: Places, tracker: Tracker) -> None:
        self.places, self.tracker = places, tracker
        self.crossings: list[Facts] = []
        self._crossed: dict[str, Counter[tuple[str, str]]] = {name: Counter() for name in places.lines}
        self._sides: dict[tuple[str, Track], tuple[Point, bool]] = {}
        self._stays: dict[str, dict[Track, _Stay]] = {name: {} for name in places.zones}
        self._now = dict.fromkeys(places.zones, 0)
        self._most = dict(self._now)
        self._time = 0.0

    def add(self, moment: Moment) -> None:
        """Count what has moved since the moment before."""
        self._time, self._now = moment.time, dict.fromkeys(self._now, 0)
        for head, answer in moment.answers.items():
            if isinstance(answer, Detections) and answer.tracker_id is not None:
                for box, number in zip(answer.xyxy, answer.tracker_id.tolist(), strict=True):
                    if number >= 0:
                        self._cross((head, number), box)
                        self._stay((head, number), self.places.of(box))
        self._most = {name: max(most, self._now[name]) for name, most in self._most.items()}

    def _cross(self, track: Track, box: np.ndarray) -> None:
        here, size = self.places.of(box), math.sqrt(max(0.0, float((box[2] - box[0]) * (box[3] - box[1]))))
        for name, (start, end) in self.places.lines.items():
            distance = _beside(start, end, here) / math.dist(start, end)
            if abs(distance) <= MARGIN * size:
                continue
            before = self._sides.get((name, track))
            self._sides[name, track] = here, distance < 0
            if before is not None and before[1] != (distance < 0) and _beside(before[0], here, start) * _beside(before[0], here, end) <= 0:
                way, label = WAYS[distance >= 0], self.tracker.label(*track)
                self._crossed[name][label, way] += 1
                facts = {"time": round(self._time, 3), "line": name, "way": way}
                self.crossings.append(facts | {"head": track[0], "track": track[1], "label": label})

    def _stay(self, track: Track, here: Point) -> None:
        from skimage.measure import points_in_poly

        for name, corners in self.places.zones.items():
            inside = bool(points_in_poly([here], corners)[0])
            self._now[name] += inside
            stay = self._stays[name].get(track)
            if inside and stay is None:
                self._stays[name][track] = _Stay(self._time)
            elif stay is not None:
                stay.go_on(self._time, inside)

    def to_json(self) -> Facts:
        """Name -> ``in``, ``out`` and ``labels`` of a line; ``tracks``, ``now``, ``most`` at once and seconds (``dwell``) of a zone."""
        return {name: self._line(name) for name in self.places.lines} | {name: self._zone(name) for name in self.places.zones}

    def _line(self, name: str) -> Facts:
        found = self._crossed[name]
        labels = {label: {way: found[label, way] for way in WAYS} for label in sorted({label for label, _ in found})}
        return {**{way: sum(counts[way] for counts in labels.values()) for way in WAYS}, "labels": labels}

    def _zone(self, name: str) -> Facts:
        stays = self._stays[name]
        seconds = [stay.seconds for stay in stays.values()]
        each = [
            {"head": head, "track": number, "label": self.tracker.label(head, number), "seconds": round(stay.seconds, 3)}
            for (head, number), stay in stays.items()
        ]
        dwell = {"mean": round(float(np.mean(seconds)), 3), "longest": round(max(seconds), 3)} if seconds else None
        return {"tracks": len(stays), "now": self._now[name], "most": self._most[name], "dwell": dwell, "each": each}

    def draw(self, picture: Image.Image) -> Image.Image:
        """A frame with the lines and zones."""
        picture = picture.copy()
        pen, width = ImageDraw.Draw(picture), max(2, picture.width // 320)
        for name, colour in self._colours():
            points = self.places.lines.get(name) or (*self.places.zones[name], self.places.zones[name][0])
            pen.line(list(points), fill=colour, width=width, joint="curve")
        return picture

    def key(self) -> list[tuple[str, Colour]]:
        """What was counted so far, in words, with the colour of each place."""
        return [(self._words(name), colour) for name, colour in self._colours()]

    def _colours(self) -> list[tuple[str, Colour]]:
        return [(name, COLOURS[place % len(COLOURS)]) for place, name in enumerate([*self.places.lines, *self.places.zones])]

    def _words(self, name: str) -> str:
        if name in self.places.lines:
            facts = self._line(name)
            return f"{name}: {facts['in']} in, {facts['out']} out"
        return f"{name}: {self._now[name]} now, {len(self._stays[name])} in all"


@dataclass
class _Stay:
    """A track in a zone: when it was seen last, whether inside, and for how long altogether."""

    seen: float
    inside: bool = True
    seconds: float = 0.0

    def go_on(self, time: float, inside: bool) -> None:
        self.seconds += time - self.seen if self.inside and inside else 0.0
        self.seen, self.inside = time, inside


def _beside(start: Point, end: Point, point: Point) -> float:
    """Twice the area between a line and a point; negative to the left of who goes from start to end (y points down)."""
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])


def _points(path: Path, what: str, entries: Any, least: int) -> dict[str, tuple[Point, ...]]:
    if not isinstance(entries, dict):
        raise DataError(f"{path}: {what} must be names with points each")
    found = {}
    for name, points in entries.items():
        try:
            array = np.array(points, dtype=float)
        except (TypeError, ValueError):
            array = np.zeros(0)
        right = array.ndim == 2 and array.shape[1:] == (2,) and np.isfinite(array).all()
        if not right or (len(array) != 2 if what == "lines" else len(array) < least) or len(np.unique(array, axis=0)) < least:
            raise DataError(f"{path}: {what}: {name} needs {'two' if what == 'lines' else 'three or more'} different points [x, y]")
        found[str(name)] = tuple((float(x), float(y)) for x, y in array)
    return found

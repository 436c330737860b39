"""Single objects out of what every pixel shows: connected regions, or regions that touch parted where they are narrow (watershed).

Beucher & Lantuejoul 1979 ("Use of watersheds in contour detection") on the map of distances to the border, weighed by how sure the class
is. Two basins stay one object unless the pass between them is lower than PASS of the lower peak, which keeps single objects of uneven
width whole.

    onelook predict cells/ --model mine.onelook --instances watershed --json
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage

from onelook.facts import Facts

if TYPE_CHECKING:
    import supervision

How = Literal["components", "watershed"]
PASS = 0.75
SMALLEST = 0.0001  # of the picture's pixels, and at least SPECK: what is smaller is no object
SPECK = 9
BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class Instances:
    """N objects of one picture: ``regions`` (H, W) int32, 0 for none and else an object's number from 1.

    Class ids, boxes (N, 4) xyxy, areas (N,).
    """

    regions: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> dict[str, int]:
        """Class -> number of objects, those that are there."""
        return dict(Counter(self.classes[label] for label in self.labels.tolist()))

    def to_json(self) -> Facts:
        columns = zip(self.labels.tolist(), self.boxes.tolist(), self.areas.tolist(), strict=True)
        objects = [{"label": self.classes[label], "box": box, "area": area} for label, box, area in columns]
        return {"counts": self.counts, "objects": objects}

    def rows(self) -> list[Facts]:
        """The objects as rows of a table, by their numbers."""
        columns = zip(self.labels.tolist(), self.boxes.tolist(), self.areas.tolist(), strict=True)
        corners = ("xmin", "ymin", "xmax", "ymax")
        return [
            {"object": number, "label": self.classes[label], **dict(zip(corners, box, strict=True)), "area": area}
            for number, (label, box, area) in enumerate(columns, start=1)
        ]

    def to_supervision(self) -> "supervision.Detections":
        """A ``supervision.Detections`` with a mask for each object; its memory is N times the picture's pixels."""
        from onelook.geometry.supervision import supervision

        masks = (
            np.stack([self.regions == number for number in range(1, len(self) + 1)])
            if len(self)
            else np.zeros((0, *self.regions.shape), bool)
        )
        names = np.array([self.classes[label] for label in self.labels.tolist()], dtype=str)
        return supervision.Detections(
            xyxy=self.boxes.reshape(-1, 4), mask=masks, class_id=self.labels.astype(int), confidence=np.ones(len(self), np.float32),
            data={"class_name": names},
        )  # fmt: skip


def find_instances(mask: np.ndarray, sure: np.ndarray, classes: Sequence[str], how: How) -> Instances:
    """The objects of every class but the background in class ids (H, W); ``sure`` (H, W): how likely each pixel's class is."""
    least = max(SPECK, round(SMALLEST * mask.size))
    regions, labels, boxes, areas = np.zeros(mask.shape, dtype=np.int32), [], [], []
    for label, name in enumerate(classes):
        inside = mask == label
        if name == BACKGROUND or not inside.any():
            continue
        found, _ = ndimage.label(inside)
        for number, place in enumerate(ndimage.find_objects(found), start=1):
            own = found[place] == number
            if int(own.sum()) < least:
                continue
            parts = parted(own, sure[place]) if how == "watershed" else own.astype(np.int32)
            for part, spot in enumerate(ndimage.find_objects(parts), start=1):
                shape = parts[spot] == part if spot is not None else np.zeros((0, 0), bool)
                if int(shape.sum()) < least:
                    continue
                labels.append(label)
                areas.append(int(shape.sum()))
                top, left = (outer.start + inner.start for outer, inner in zip(place, spot, strict=True))
                boxes.append((left, top, left + shape.shape[1], top + shape.shape[0]))
                regions[top : top + shape.shape[0], left : left + shape.shape[1]][shape] = len(labels)
    table = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return Instances(regions, np.array(labels, dtype=int), table, np.array(areas, dtype=int), tuple(classes))


def parted(inside: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """One connected region (h, w) as numbered parts (h, w) int32: its basins, shallow ones united; 0 outside."""
    height = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] * (sure.astype(np.float32) / max(1, int(sure.max())))
    height = np.where(inside, ndimage.gaussian_filter(height, 1.0), 0)
    basins, count = _climbed(height, inside)
    top = ndimage.maximum(height, basins, np.arange(count + 1))
    return _united(basins, height, np.asarray(top))


def _climbed(height: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, int]:
    """Basins (h, w) numbered from 1, and their number: every pixel belongs to the peak that the steepest way up from it leads to."""
    rows, columns = height.shape
    padded = np.pad(height, 1, constant_values=-1.0)
    best, to = height.copy(), np.arange(height.size).reshape(height.shape)
    for down, across in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        there = padded[1 + down : 1 + down + rows, 1 + across : 1 + across + columns]
        higher = there > best
        best = np.where(higher, there, best)
        to = np.where(higher, np.arange(height.size).reshape(height.shape) + down * columns + across, to)
    way = to.ravel()
    while not np.array_equal(further := way[way], way):
        way = further
    peaks, basins = np.unique(way[inside.ravel()], return_inverse=True)
    found = np.zeros(height.shape, dtype=np.int32)
    found[inside] = basins + 1
    return found, len(peaks)


def _united(basins: np.ndarray, height: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Neighbouring basins made one, highest pass first, where the pass is at least PASS of the lower peak; numbered anew from 1."""
    passes: dict[tuple[int, int], float] = {}
    for here, there in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        a, b = basins[here].ravel(), basins[there].ravel()
        level = np.minimum(height[here], height[there]).ravel()
        for index in np.nonzero((a != b) & (a > 0) & (b > 0))[0]:
            pair = (min(int(a[index]), int(b[index])), max(int(a[index]), int(b[index])))
            passes[pair] = max(passes.get(pair, 0.0), float(level[index]))
    owner = list(range(len(top)))

    def root(basin: int) -> int:
        while owner[basin] != basin:
            basin = owner[basin]
        return basin

    peak = [float(value) for value in top]
    for (one, other), level in sorted(passes.items(), key=lambda item: -item[1]):
        low, high = sorted((root(one), root(other)), key=lambda basin: peak[basin])
        if low != high and level >= PASS * peak[low]:
            owner[low] = high
    roots = np.array([root(basin) for basin in range(len(top))])
    return np.unique(roots[basins], return_inverse=True)[1].reshape(basins.shape).astype(np.int32)

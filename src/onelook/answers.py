"""What a user reads: labels and values with their probabilities, boxes, key points and masks, one set of answers per picture.

Boxes are ``supervision.Detections`` and key points ``supervision.KeyPoints``, in pixels of the original picture, so that they can be
filtered like arrays and handed to that library's trackers and annotators.

for answers in model.predict(["photo.jpg"]):
    print(answers["imagenet"].label, answers["imagenet"].probability)
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from onelook.instances import How, Instances, find_instances
from onelook.objects import Layout


@dataclass(frozen=True)
class Label:
    """One class out of several: the most probable, its probability (0..1), and that of every class."""

    label: str
    probability: float
    probabilities: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return {"label": self.label, "probability": self.probability, "probabilities": dict(self.probabilities)}

    def to_supervision(self) -> Any:
        """A ``supervision.Classifications`` whose class ids follow the order of ``probabilities``."""
        import supervision

        confidence = np.array(list(self.probabilities.values()))
        return supervision.Classifications(class_id=np.arange(len(confidence)), confidence=confidence)

    def __str__(self) -> str:
        return f"{self.label} {self.probability:.0%}"


@dataclass(frozen=True)
class Labels:
    """Any number of labels: those with a probability of at least one half, and the probability of every class."""

    labels: tuple[str, ...]
    probabilities: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return {"labels": list(self.labels), "probabilities": dict(self.probabilities)}

    def to_supervision(self) -> Any:
        """A ``supervision.Classifications`` of the labels that are present."""
        import supervision

        names = list(self.probabilities)
        present = [names.index(label) for label in self.labels]
        confidence = np.array([self.probabilities[label] for label in self.labels])
        return supervision.Classifications(class_id=np.array(present, dtype=int), confidence=confidence)

    def __str__(self) -> str:
        return ", ".join(f"{label} {self.probabilities[label]:.0%}" for label in self.labels) or "none"


@dataclass(frozen=True)
class Values:
    """One number per column, in the column's own unit."""

    values: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return {"values": dict(self.values)}

    def to_supervision(self) -> Any:
        """Numbers are not something that supervision draws; raises TypeError."""
        raise TypeError("supervision has no type for plain numbers; read .values")

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:.4g}" for name, value in self.values.items())


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What every pixel of a picture shows.

    ``mask`` (H, W) uint8 class ids, ``sure`` (H, W) uint8 the share of that class in steps of 1/255.
    """

    mask: np.ndarray
    sure: np.ndarray
    classes: tuple[str, ...]
    instances: Instances | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Class -> share of the picture's pixels (0..1), those that are there, largest first."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.classes)) / max(1, self.mask.size)
        order = sorted(range(len(self.classes)), key=lambda index: -counts[index])
        return {self.classes[index]: float(counts[index]) for index in order if counts[index] > 0}

    def with_instances(self, how: How) -> "Segmentation":
        """The same with the single objects in it, see ``onelook.instances``."""
        return replace(self, instances=find_instances(self.mask, self.sure, self.classes, how))

    def polygons(self) -> list[dict[str, Any]]:
        """The outlines of all regions, largest class first: label, points [[x, y], ...] in pixels.

        Corners off by less than a pixel are left out.
        """
        import supervision

        found = []
        for name in self.shares:
            inside = self.mask == self.classes.index(name)
            for polygon in supervision.mask_to_polygons(inside):
                found.append({"label": name, "points": _straightened(polygon).tolist()})
        return found

    def to_json(self) -> dict[str, Any]:
        height, width = self.mask.shape
        objects = {"instances": self.instances.to_json()} if self.instances is not None else {}
        return {"size": [width, height], "shares": self.shares, **objects, "polygons": self.polygons()}

    def to_supervision(self) -> Any:
        """A ``supervision.Detections``: a mask a class, or one an object where they were asked for."""
        import supervision

        if self.instances is not None:
            return self.instances.to_supervision()
        ids = [self.classes.index(name) for name in self.shares]
        masks = np.stack([self.mask == label for label in ids])
        sure = np.array([float(self.sure[mask].mean()) / 255 for mask in masks], dtype=np.float32)
        names = np.array([self.classes[label] for label in ids], dtype=str)
        boxes = supervision.mask_to_xyxy(masks).astype(np.float32)
        return supervision.Detections(xyxy=boxes, mask=masks, class_id=np.array(ids), confidence=sure, data={"class_name": names})

    def __str__(self) -> str:
        if self.instances is not None:
            return ", ".join(f"{count} {name}" for name, count in self.instances.counts.items()) or "no objects"
        return ", ".join(f"{name} {share:.0%}" for name, share in list(self.shares.items())[:6])


def _straightened(polygon: np.ndarray, tolerance: float = 0.7) -> np.ndarray:
    """A closed outline (N, 2) without corners nearer than ``tolerance`` to the line past them (Douglas & Peucker 1973)."""
    keep = np.zeros(len(polygon), dtype=bool)
    far = int(np.abs(polygon - polygon[0]).sum(1).argmax())
    keep[[0, far]] = True
    stack = [(0, far), (far, len(polygon))]
    closed = np.concatenate([polygon, polygon[:1]]).astype(np.float64)
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        line, between = closed[last] - closed[first], closed[first + 1 : last] - closed[first]
        length = float(np.hypot(*line))
        distance = np.abs(line[0] * between[:, 1] - line[1] * between[:, 0]) / length if length else np.hypot(*between.T)
        worst = int(distance.argmax())
        if distance[worst] > tolerance:
            middle = first + 1 + worst
            keep[middle] = True
            stack += [(first, middle), (middle, last)]
    return polygon[keep]


def make_detections(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Any:
    """A ``supervision.Detections`` with ``data["class_name"]``: boxes (N, 4) xyxy, scores (N,), class ids (N,)."""
    import supervision

    names = np.array([classes[label] for label in labels], dtype=object).astype(str) if len(labels) else np.array([], dtype=str)
    return supervision.Detections(
        xyxy=boxes.reshape(-1, 4).astype(np.float32),
        confidence=scores.astype(np.float32),
        class_id=labels.astype(int),
        data={"class_name": names},
    )


def make_key_points(points: np.ndarray, scores: np.ndarray, layout: Layout) -> Any:
    """A ``supervision.KeyPoints`` of one object: points (K, 2), scores (K,); ``data`` has the points' names."""
    import supervision

    found = supervision.KeyPoints(
        xy=points[None].astype(np.float32), keypoint_confidence=scores[None].astype(np.float32), class_id=np.zeros(1, dtype=int)
    )
    found.data["names"] = np.array([layout.names])
    found.data["skeleton"] = np.array([layout.skeleton], dtype=int).reshape(1, -1, 2)
    return found


def to_json(answer: "Answer") -> dict[str, Any]:
    """Any answer as plain values; boxes best first, in pixels of the original picture."""
    if hasattr(answer, "to_json"):
        return cast(dict[str, Any], answer.to_json())
    if hasattr(answer, "xyxy"):
        columns = zip(answer.xyxy.tolist(), answer.confidence.tolist(), answer.class_id.tolist(), answer.data["class_name"], strict=True)
        return {"boxes": [{"label": str(name), "class_id": k, "score": score, "box": box} for box, score, k, name in columns]}
    return {
        "points": [
            {"name": str(name), "x": x, "y": y, "score": score}
            for name, (x, y), score in zip(
                answer.data["names"][0], answer.xy[0].tolist(), answer.keypoint_confidence[0].tolist(), strict=True
            )
        ]
    }


def in_words(answer: "Answer") -> str:
    """Any answer in a few words: how many boxes of each class, how many key points."""
    if not hasattr(answer, "xyxy") and not hasattr(answer, "xy"):
        return str(answer)
    if hasattr(answer, "xyxy"):
        counts = Counter(map(str, answer.data["class_name"]))
        return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"
    return f"{int((answer.keypoint_confidence[0] >= 0.5).sum())} of {answer.xy.shape[1]} points sure"


Answer = Any  # Label, Labels, Values, Segmentation, supervision.Detections or supervision.KeyPoints


@dataclass(frozen=True)
class Answers:
    """All that a model says of one picture; ``ms``: milliseconds of the look and of each head; ``error``: why there is none."""

    path: Path
    answers: Mapping[str, Answer] = field(default_factory=dict)
    ms: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None

    def __getitem__(self, head: str) -> Answer:
        return self.answers[head]

    def to_json(self) -> dict[str, Any]:
        if self.error is not None:
            return {"path": str(self.path), "error": self.error}
        answers = {name: to_json(answer) for name, answer in self.answers.items()}
        return {"path": str(self.path), "answers": answers, "ms": {name: round(ms, 3) for name, ms in self.ms.items()}}

"""What a user reads: labels and values with their probabilities, boxes and key points, one set of answers per picture.

Boxes are ``supervision.Detections`` and key points ``supervision.KeyPoints``, in pixels of the original picture, so that they can be
filtered like arrays and handed to that library's trackers and annotators.

for answers in model.predict(["photo.jpg"]):
    print(answers["imagenet"].label, answers["imagenet"].probability)
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

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


Answer = Any  # Label, Labels, Values, supervision.Detections or supervision.KeyPoints


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

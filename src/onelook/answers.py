"""What a user reads: labels and values with their probabilities, one set of answers per picture.

for answers in model.predict(["photo.jpg"]):
    print(answers["imagenet"].label, answers["imagenet"].probability)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


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


Answer = Label | Labels | Values


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
        answers = {name: answer.to_json() for name, answer in self.answers.items()}
        return {"path": str(self.path), "answers": answers, "ms": {name: round(ms, 3) for name, ms in self.ms.items()}}

"""Answers about a whole picture: a class, several labels, values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from onelook.answers.answer import Answer
from onelook.facts import Facts

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True)
class Label(Answer):
    """One class out of several: the most probable, its probability (0..1), and that of every class."""

    label: str
    probability: float
    probabilities: Mapping[str, float]

    def to_json(self) -> Facts:
        return {"label": self.label, "probability": self.probability, "probabilities": dict(self.probabilities)}

    def to_supervision(self) -> "supervision.Classifications":
        """A ``supervision.Classifications`` whose class ids follow the order of ``probabilities``."""
        from onelook.geometry.supervision import supervision

        confidence = np.array(list(self.probabilities.values()))
        return supervision.Classifications(class_id=np.arange(len(confidence)), confidence=confidence)

    def __str__(self) -> str:
        return f"{self.label} {self.probability:.0%}"


@dataclass(frozen=True)
class Labels(Answer):
    """Any number of labels: those with a probability of at least one half, and the probability of every class."""

    labels: tuple[str, ...]
    probabilities: Mapping[str, float]

    def to_json(self) -> Facts:
        return {"labels": list(self.labels), "probabilities": dict(self.probabilities)}

    def rows(self) -> list[Facts]:
        return [{"label": label, "probability": self.probabilities[label]} for label in self.labels]

    def to_supervision(self) -> "supervision.Classifications":
        """A ``supervision.Classifications`` of the labels that are present."""
        from onelook.geometry.supervision import supervision

        names = list(self.probabilities)
        present = [names.index(label) for label in self.labels]
        confidence = np.array([self.probabilities[label] for label in self.labels])
        return supervision.Classifications(class_id=np.array(present, dtype=int), confidence=confidence)

    def __str__(self) -> str:
        return ", ".join(f"{label} {self.probabilities[label]:.0%}" for label in self.labels) or "none"


@dataclass(frozen=True)
class Values(Answer):
    """One number per column, in the column's own unit."""

    values: Mapping[str, float]

    def to_json(self) -> Facts:
        return {"values": dict(self.values)}

    def rows(self) -> list[Facts]:
        return [{"label": name, "value": value} for name, value in self.values.items()]

    def to_supervision(self) -> NoReturn:
        """Numbers are not something that supervision draws; raises TypeError."""
        raise TypeError("supervision has no type for plain numbers; read .values")

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:.4g}" for name, value in self.values.items())

"""Heads that tell whether two pictures show the same one (a person, a tool, a plant), also of those that they have not learned from.

Their prediction for a picture is a vector; two vectors are compared by ``distances``. Pictures are split by identity, never by picture:
who is judged was not learned from.

    onelook train people/ --task embed --model people.onelook --val 0.25
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from onelook.answers.vector import Vector
from onelook.errors import HeadError
from onelook.facts import Facts
from onelook.geometry.placement import Placement
from onelook.heads.base import AnswerOptions, Claim, Head, Usual
from onelook.looks.features import Needs
from onelook.metrics.verification import IdentityJudge


class IdentityHead(Head[Tensor, Tensor, int]):
    """A vector (D,) a picture. ``threshold``: the distance up to which two pictures are taken for the same one."""

    learns_from = ("single",)
    trainer = "identity"
    placed = False
    named_only = True
    by_identity = True
    usual = Usual(views=2, freeze="all")
    rate: ClassVar[float] = 1e-3  # the learning rate

    def __init__(self, classes: Sequence[str], threshold: float) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.threshold = threshold

    @abstractmethod
    def distances(self, one: Tensor, other: Tensor) -> Tensor:
        """Vectors (M, D) and (N, D) -> how different each pair is (M, N)."""

    @abstractmethod
    def observe(self, vectors: Tensor, targets: Tensor, mean: Tensor, deviation: Tensor) -> None:
        """Learn what is known before training: raw vectors (n, inputs) of training pictures, who they are of, and statistics over all."""

    @property
    @abstractmethod
    def raw_needs(self) -> Needs:
        """What the raw vectors are made of."""

    def extra(self) -> nn.Module | None:
        """What learns beside the head and is dropped after training, if anything does."""
        return None

    @property
    def needs(self) -> Needs:
        return self.raw_needs

    def postprocess(self, raw: Tensor, placements: Sequence[Placement]) -> list[Tensor]:
        """The vector (D,) of each picture."""
        return list(raw)

    def merge(self, predictions: Sequence[Tensor]) -> Tensor:
        """The mean of several looks' vectors."""
        return torch.stack(list(predictions)).mean(0)

    def answer(self, prediction: Tensor, options: AnswerOptions = AnswerOptions()) -> Vector:
        """The vector of a picture."""
        return Vector(prediction.detach().float().numpy())

    def reading(self) -> Facts:
        return {"threshold": self.threshold}

    def tensors(self, raw: Tensor, placement: Placement) -> dict[str, Tensor]:
        return {"vector": raw}

    def claim(self, raw: Tensor, about: Any = None) -> Claim[Tensor]:
        """That the picture shows the same one as another, whose raw output (1, D) is ``about``. Raises HeadError without it."""
        if not isinstance(about, Tensor):
            raise HeadError("it is asked why two pictures are alike: name the other one, --other PICTURE")
        distance = float(self.distances(raw[:1], about)[0, 0].detach())
        name = "the same" if distance <= self.threshold else "not the same"
        return Claim(name, lambda found: -self.distances(found, about)[:, 0], detail=f"(distance {distance:.3f})")

    def judge(self) -> IdentityJudge:
        """A fresh judge that compares as this head does."""
        return IdentityJudge(self.distances, self.threshold)

    def config(self) -> Facts:
        return {"classes": list(self.classes), "threshold": self.threshold, **self.shape()}

    @abstractmethod
    def shape(self) -> dict[str, Any]:
        """The rest of the keyword arguments that rebuild it."""

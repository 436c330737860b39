"""How much: one or more numbers per picture, from pooled statistics of a look.

Least squares on standardised values; the answer is in the table's own unit.

    onelook train weights.csv --task regress --name weight --model mine.onelook
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from onelook.answers.labels import Values
from onelook.geometry.placement import Placement
from onelook.heads.base import AnswerOptions, Usual
from onelook.heads.pooled import PooledHead
from onelook.looks.features import Look
from onelook.metrics.regression import ValueJudge


class Regress(PooledHead):
    """Look -> values (B, columns). Targets: values (B, columns)."""

    task = method = "regress"
    learns_from = ("values",)
    question = "how much"
    usual = Usual(views=2, freeze="all", pictures_seen=12_000, batch=32)
    centre: Tensor
    spread: Tensor

    def __init__(self, classes: Sequence[str], **shape: Any) -> None:
        super().__init__(classes, **shape)
        self.register_buffer("centre", torch.zeros(len(classes)))
        self.register_buffer("spread", torch.ones(len(classes)))

    def observe(self, targets: Tensor, weights: Tensor) -> None:
        """Mean and deviation of each column."""
        self.centre.copy_(targets.float().mean(0))
        self.spread.copy_(targets.float().std(0, correction=0).clamp_min(1e-6))

    def forward(self, look: Look) -> Tensor:
        return super().forward(look) * self.spread + self.centre

    def loss(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Squared error in units of each column's spread."""
        return {"squared_error": functional.mse_loss(self.scores_of(raw), self.scores_of(target))}

    def answer(self, prediction: Tensor, options: AnswerOptions = AnswerOptions()) -> Values:
        """The value of every column."""
        return Values(dict(zip(self.classes, prediction.double().tolist(), strict=True)))

    def tensors(self, raw: Tensor, placement: Placement) -> dict[str, Tensor]:
        return {"values": raw}

    def judge(self) -> ValueJudge:
        """A fresh judge for this head's answers."""
        return ValueJudge(self.classes)

    # --- scores

    def code(self, targets: Tensor) -> Tensor:
        return self.scores_of(targets)

    def scores_of(self, raw: Tensor) -> Tensor:
        """Values in units of each column's spread, around its mean."""
        return (raw - self.centre) / self.spread

    def raw_of(self, scores: Tensor) -> Tensor:
        return scores * self.spread + self.centre

    def losses(self, scores: Tensor, targets: Tensor, count: int) -> Tensor:
        """Squared error in units of the spread."""
        return (scores - self.scores_of(targets)).square().mean(1)

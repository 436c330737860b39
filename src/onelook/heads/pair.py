"""The same or not, as a logistic unit says of two pictures' vectors: sigmoid(sum of w_k times how they differ in number k, plus b).

Taigman, Yang, Ranzato, Wolf 2014 (DeepFace: weighted chi-square similarity and the Siamese form on |difference|). Different here: the
vectors are the frozen network's embeddings, all of one length, so that only w and b are learned, on all pairs of a batch of P identities
with K pictures each; both kinds of pairs weigh the same, and large weights are penalised. In chi-square the sum below is that of
magnitudes, for networks whose values may be negative.

    onelook train people/ --task verify --features chi_square --model people.onelook --val 0.25
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from onelook.heads.base import Usual
from onelook.heads.context import Context
from onelook.heads.identity_head import IdentityHead
from onelook.heads.options import option
from onelook.looks.features import Look, Needs

Features = Literal["difference", "chi_square"]
TINY = 1e-6
PENALTY = 0.1  # on the squared weights
RARE = 0.1  # of the median deviation: what hardly ever differs is not blown up further
ROWS = 16  # compared with all others at once


@dataclass(frozen=True)
class PairOptions:
    """How two vectors are compared number by number."""

    features: Features = option("difference", "What the unit reads of two vectors: |a - b|, or (a - b)^2 / (|a| + |b|).")


class Pair(IdentityHead):
    """Look -> embedding (B, D); two of them -> minus the logit of being the same. Targets: class ids (B,)."""

    task, method = "verify", "pair"
    question = "the same or not:"
    usual = Usual(views=2, freeze="all", pictures_seen=20_000, batch=64)
    Options = PairOptions
    rate = 1e-3
    mean: Tensor
    deviation: Tensor

    def __init__(self, classes: Sequence[str], *, inputs: int, features: Features = "difference", threshold: float = 0.0) -> None:
        super().__init__(classes, threshold)
        self.features: Features = features
        self.unit = nn.Linear(inputs, 1)
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("deviation", torch.ones(inputs))

    @classmethod
    def fresh(cls, context: Context, options: PairOptions) -> "Pair":
        """An untrained unit: every difference counts the same."""
        return cls(context.classes, inputs=context.embedding_size, features=options.features)

    @property
    def raw_needs(self) -> Needs:
        return Needs(embedding=True)

    def observe(self, vectors: Tensor, targets: Tensor, mean: Tensor, deviation: Tensor) -> None:
        """The mean and the deviation of what is read of two pictures drawn at random; the unit begins at their mean."""
        order = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))
        vectors = _scaled(vectors)
        between = self.compare(vectors, vectors[order])
        self.mean.copy_(between.mean(0))
        deviation = between.std(0)
        self.deviation.copy_(deviation.clamp_min(float(RARE * deviation.median()) + TINY))
        with torch.no_grad():
            self.unit.weight.fill_(-1 / vectors.shape[1])
            self.unit.bias.zero_()

    def forward(self, look: Look) -> Tensor:
        look.require(self.needs)
        assert look.embedding is not None
        return _scaled(look.embedding)

    def compare(self, one: Tensor, other: Tensor) -> Tensor:
        """Vectors (..., D) -> how they differ, number by number (..., D)."""
        if self.features == "difference":
            return (one - other).abs()
        return (one - other).square() / (one.abs() + other.abs() + TINY)

    def logits(self, one: Tensor, other: Tensor) -> Tensor:
        """Vectors (..., D) -> the logit of being the same (...)."""
        logit: Tensor = self.unit((self.compare(one, other) - self.mean) / self.deviation)
        return logit[..., 0]

    def distances(self, one: Tensor, other: Tensor) -> Tensor:
        """Minus the logit of being the same: at most 0 where it is more likely than not."""
        return torch.cat([-self.logits(rows[:, None], other[None]) for rows in one.split(ROWS)])

    def loss(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Cross entropy over all pairs of the batch; same and different ones weigh the same together."""
        one, other = torch.triu_indices(len(raw), len(raw), 1)
        same = (target[one] == target[other]).float()
        each = functional.binary_cross_entropy_with_logits(self.logits(raw[one], raw[other]), same, reduction="none")
        shares = [(each * kind).sum() / kind.sum().clamp_min(1) for kind in (same, 1 - same)]
        return {"cross_entropy": torch.stack(shares).mean(), "penalty": PENALTY * self.unit.weight.square().sum()}

    def shape(self) -> dict[str, Any]:
        return {"inputs": self.unit.in_features, "features": self.features}


def _scaled(vectors: Tensor) -> Tensor:
    """Vectors (B, D) brought to length sqrt(D)."""
    scaled: Tensor = functional.normalize(vectors, dim=1) * vectors.shape[1] ** 0.5
    return scaled

"""A look as a unit vector: near for pictures of the same one, far for others, also for those that were never learned from.

Schroff, Kalenichenko, Philbin 2015 (FaceNet: triplets, semi-hard ones mined in the batch), Hermans, Beyer, Leibe 2017 (the hardest of a
batch of P identities with K pictures each), Hadsell, Chopra, LeCun 2006 (contrastive), Deng, Guo, Xue, Zafeiriou 2019 (ArcFace).
Different here: one linear layer on the standardised statistics of the frozen network's two coarsest maps. It begins as the whitening of
what differs within an identity (Hatch, Kajarekar, Stolcke 2006: within-class covariance normalisation, shrunken), which is a good
embedding already: on ORL's faces no triplet is left that is wrong, and nothing does better (docs/diary.md). Losses and miners are those
of pytorch-metric-learning, distances squared as FaceNet has them.

    onelook train people/ --task embed --model people.onelook --val 0.25
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from onelook.backbones.weights import fingerprint
from onelook.heads.base import Usual
from onelook.heads.context import Context
from onelook.heads.identity_head import IdentityHead
from onelook.heads.options import option
from onelook.heads.pooled import Readout, equal_weights, part_lengths
from onelook.looks.features import Look, Needs

Loss = Literal["triplet", "contrastive", "arcface", "softmax", "none"]
Start = Literal["whitened", "principal"]
Mining = Literal["batch_hard", "semi_hard", "none"]
LARGEST = 4.0  # squared distance of opposite unit vectors
COARSEST = 2  # maps whose statistics are read; with finer ones and the embedding it was worse (docs/diary.md)
SHRINK = 0.4  # share of what differs within an identity that is taken to differ alike in all directions


@dataclass(frozen=True)
class EmbedOptions:
    """What is minimised, which triplets, where it begins, and how long the vector is."""

    loss: Loss = option("triplet", "What is minimised (none: it stays where it begins).")
    mining: Mining = option("batch_hard", "Which triplets of a batch are learned from.")
    start: Start = option("whitened", "Where it begins: differences within an identity evened out, or principal directions.")
    dimensions: int = option(512, "Numbers in the vector.", low=2, high=4096)
    margin: float = option(0.3, "By how much a different one must be further away, in squared distance.", low=0.0, high=LARGEST)


class Embed(IdentityHead):
    """Look -> unit vector (B, dimensions). Targets: class ids (B,), at least two pictures each."""

    task = method = "embed"
    question = "who or which one, by its likeness:"
    usual = Usual(views=2, freeze="all", pictures_seen=12_000, batch=64)
    rate = 1e-5
    Options = EmbedOptions

    def __init__(
        self, classes: Sequence[str], *, strides: Sequence[int], embedding: bool, inputs: int, dimensions: int = 512,
        loss: Loss = "triplet", mining: Mining = "batch_hard", start: Start = "whitened", margin: float = 0.3, threshold: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__(classes, threshold)
        self.options = EmbedOptions(loss, mining, start, dimensions, margin)
        self.readout = Readout(strides, embedding, inputs)
        self.project = nn.Linear(inputs, dimensions)
        self._learned: list[nn.Module] = []  # the loss, with weights of its own in some; no part of the head

    @classmethod
    def fresh(cls, context: Context, options: EmbedOptions) -> "Embed":
        """An untrained head on the statistics of the coarsest maps."""
        needs = Needs(pooled=tuple(sorted(context.channels)[-COARSEST:]))
        inputs = sum(part_lengths(needs, context.channels, context.embedding_size))
        head = cls(
            context.classes, strides=needs.pooled, embedding=False, inputs=inputs, dimensions=options.dimensions, loss=options.loss,
            mining=options.mining, start=options.start, margin=options.margin,
        )  # fmt: skip
        head.readout.weight.copy_(equal_weights(part_lengths(needs, context.channels, context.embedding_size)))
        return head

    @property
    def raw_needs(self) -> Needs:
        return self.readout.needs

    def observe(self, vectors: Tensor, targets: Tensor, mean: Tensor, deviation: Tensor) -> None:
        """Standardise by the training pictures, and begin where what differs within an identity weighs as little as can be."""
        self.readout.mean.copy_(mean)
        self.readout.deviation.copy_(deviation)
        read = self.readout.standardized(vectors).double()
        middle = read.mean(0)
        _, lengths, directions = torch.linalg.svd(read - middle, full_matrices=False)
        begun = directions[lengths > 1e-6 * lengths[0]].T
        if self.options.start == "whitened":
            begun = begun @ _whitening((read - middle) @ begun, targets)
        found = (read - middle) @ begun
        _, _, order = torch.linalg.svd(found, full_matrices=False)
        begun = begun @ order[: self.options.dimensions].T
        begun /= ((read - middle) @ begun).norm(dim=1).mean().clamp_min(1e-12)
        with torch.no_grad():
            self.project.weight.zero_()
            self.project.weight[: begun.shape[1]] = begun.T.float()
            self.project.bias.zero_()
            self.project.bias[: begun.shape[1]] = -(middle @ begun).float()

    def forward(self, look: Look) -> Tensor:
        return functional.normalize(self.project(self.readout(look)), dim=1)

    def distances(self, one: Tensor, other: Tensor) -> Tensor:
        """Squared distances of unit vectors, 0 to 4."""
        return (2 - 2 * one @ other.T).clamp(0, LARGEST)

    def merge(self, predictions: Sequence[Tensor]) -> Tensor:
        return functional.normalize(super().merge(predictions), dim=0)

    def extra(self) -> nn.Module:
        """The loss: with ArcFace and softmax a direction for every class learns beside the head."""
        if not self._learned:
            self._learned.append(_loss(self.options, len(self.classes)))
        return self._learned[0]

    def loss(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The mean over the triplets (pairs, pictures) of a batch that are not right yet."""
        mined = _mined(self.options, raw, target) if self.options.loss == "triplet" else None
        return {self.options.loss: self.extra()(raw, target, mined) if mined is not None else self.extra()(raw, target)}

    def fingerprint(self) -> str:
        """What tells this head's vectors from those of any other."""
        return fingerprint(self.state_dict(), "embed")

    def shape(self) -> dict[str, Any]:
        o = self.options
        reads = {"strides": list(self.needs.pooled), "embedding": self.needs.embedding, "inputs": self.project.in_features}
        return {**reads, "dimensions": o.dimensions, "loss": o.loss, "mining": o.mining, "start": o.start, "margin": o.margin}


def _whitening(vectors: Tensor, targets: Tensor) -> Tensor:
    """The directions (D, D) in which what differs within an identity has the same size, of centred vectors (n, D)."""
    names, identities = targets.unique(return_inverse=True)
    means = torch.stack([vectors[identities == number].mean(0) for number in range(len(names))])
    rest = vectors - means[identities]
    within = rest.T @ rest / len(rest)
    size = len(within)
    within = (1 - SHRINK) * within + SHRINK * within.trace() / size * torch.eye(size, dtype=within.dtype)
    values, vectors = torch.linalg.eigh(within)
    whitening: Tensor = vectors / values.clamp_min(1e-12).sqrt()
    return whitening


def _loss(options: EmbedOptions, classes: int) -> nn.Module:
    from pytorch_metric_learning import losses

    found: nn.Module
    if options.loss == "none":
        return _Nothing()
    if options.loss == "contrastive":
        found = losses.ContrastiveLoss(pos_margin=0, neg_margin=1, distance=_squared())
    elif options.loss == "arcface":
        found = losses.ArcFaceLoss(classes, options.dimensions, margin=28.6, scale=16)
    elif options.loss == "softmax":
        found = losses.NormalizedSoftmaxLoss(classes, options.dimensions, temperature=0.1)
    else:
        found = losses.TripletMarginLoss(options.margin, distance=_squared())
    return found


class _Nothing(nn.Module):
    """The loss of a head that is not to be trained: 0."""

    def forward(self, raw: Tensor, target: Tensor) -> Tensor:
        return 0 * raw.sum()


def _mined(options: EmbedOptions, raw: Tensor, target: Tensor) -> Any:
    """The triplets of a batch that are learned from; None: all of them."""
    from pytorch_metric_learning import miners

    if options.mining == "batch_hard":
        return miners.BatchHardMiner(distance=_squared())(raw, target)
    if options.mining == "semi_hard":
        return miners.TripletMarginMiner(options.margin, "semihard", distance=_squared())(raw, target)
    return None


def _squared() -> Any:
    from pytorch_metric_learning.distances import LpDistance

    return LpDistance(power=2)

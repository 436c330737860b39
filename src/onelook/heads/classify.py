"""What is it: one class out of several, or any number of labels, from pooled statistics of a look.

Reads all the strides it asks for and not only the last map, as Hariharan et al. 2015 ("Hypercolumns", section 3) argue for
pixels and Guo et al. 2016 for whole pictures; differs in pooling the maximum and the standard deviation beside the mean.

    onelook train photos/ --task classify --name kind --model mine.onelook
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from onelook.answers.labels import Label, Labels
from onelook.data.samples import Dataset
from onelook.errors import HeadError
from onelook.facts import Facts
from onelook.geometry.placement import Placement
from onelook.heads.base import AnswerOptions, Claim, Usual
from onelook.heads.context import Context
from onelook.heads.options import option
from onelook.heads.pooled import PooledHead, PooledOptions, Shape
from onelook.metrics.calibration import each_log_loss, fit_temperature
from onelook.metrics.classification import MultiLabelJudge, SingleLabelJudge
from onelook.metrics.judge import Judge


@dataclass(frozen=True)
class ClassifyOptions(PooledOptions):
    """``balance``: of one class out of several only."""

    balance: bool = option(False, "Let every class count the same, however many pictures it has.")


class Classify(PooledHead):
    """Look -> logits (B, classes). Targets: class ids (B,) or, with ``multi``, zeros and ones (B, classes)."""

    task = method = "classify"
    learns_from = ("single", "multi")
    question = "which of"
    usual = Usual(views=2, freeze="all", pictures_seen=12_000, batch=32)
    Options = ClassifyOptions
    calibrated = True
    class_weights: Tensor

    def __init__(self, classes: Sequence[str], *, multi: bool = False, smoothing: float = 0.0, **shape: Any) -> None:
        super().__init__(classes, **shape)
        self.multi = multi
        self.smoothing = smoothing
        self.register_buffer("class_weights", torch.ones(len(classes)))

    @classmethod
    def specific(cls, context: Context, shape: Shape) -> Facts:
        return {"multi": context.kind == "multi", "smoothing": shape.smoothing}

    @classmethod
    def weights(cls, data: Dataset, options: ClassifyOptions) -> Tensor:
        """1, or with ``balance`` the same for all classes together. Raises HeadError where pictures have several labels."""
        if not options.balance:
            return torch.ones(len(data))
        if data.kind != "single":
            raise HeadError("--balance: counts pictures of one class each; these have several labels")
        targets = [sample.target for sample in data.samples]
        counts = Counter(targets)
        return torch.tensor([len(data) / len(counts) / counts[target] for target in targets])

    def observe(self, targets: Tensor, weights: Tensor) -> None:
        """The mean weight of each class's pictures."""
        if not self.multi:
            for index in range(len(self.classes)):
                mine = targets == index
                self.class_weights[index] = weights[mine].mean() if bool(mine.any()) else 1.0

    def config(self) -> Facts:
        """Plain values that rebuild this head: ``Classify(**config)``."""
        return {"multi": self.multi, "smoothing": self.smoothing, **super().config()}

    def loss(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Cross entropy, weighted by class, truths softened by ``smoothing``; per label and binary with ``multi``."""
        if self.multi:
            target = target * (1 - self.smoothing) + self.smoothing / 2
            return {"cross_entropy": functional.binary_cross_entropy_with_logits(raw, target.float(), pos_weight=self.class_weights)}
        return {"cross_entropy": functional.cross_entropy(raw, target, weight=self.class_weights, label_smoothing=self.smoothing)}

    def answer(self, prediction: Tensor, options: AnswerOptions = AnswerOptions()) -> Label | Labels:
        """A Label (or Labels); probabilities sum to 1 over the classes (each its own with ``multi``)."""
        if self.multi:
            named = dict(zip(self.classes, prediction.double().sigmoid().tolist(), strict=True))
            return Labels(tuple(name for name, p in named.items() if p >= 0.5), named)
        row = prediction.double().softmax(dim=0).tolist()
        best = max(range(len(row)), key=row.__getitem__)
        return Label(self.classes[best], row[best], dict(zip(self.classes, row, strict=True)))

    def tensors(self, raw: Tensor, placement: Placement) -> dict[str, Tensor]:
        return {"probabilities": raw.sigmoid() if self.multi else raw.softmax(1), "logits": raw}

    def claim(self, raw: Tensor, about: Any = None) -> Claim[Tensor]:
        """Of one class the log odds against all others; of one label of several its own."""
        claim = super().claim(raw, about)
        if self.multi or len(self.classes) < 2:
            return claim
        number = self.classes.index(claim.name)
        others = torch.arange(len(self.classes)) != number
        return replace(claim, evidence=lambda found: found[:, number] - found[:, others].logsumexp(1))

    def mean(self, raws: Tensor) -> Tensor:
        """Several logits for the same pictures (V, B, classes) -> the logits of their mean probabilities (B, classes)."""
        if self.multi:
            return torch.logit(raws.double().sigmoid().mean(0), eps=1e-9).float()
        return (raws.double().log_softmax(2).logsumexp(0) - math.log(len(raws))).float()

    def judge(self) -> Judge[Tensor, Tensor]:
        """A fresh judge for this head's answers."""
        return MultiLabelJudge(self.classes) if self.multi else SingleLabelJudge(self.classes)

    # --- scores

    def code(self, targets: Tensor) -> Tensor:
        """One column per class, centred."""
        return targets - 0.5 if self.multi else functional.one_hot(targets, len(self.classes)).float() - 1 / len(self.classes)

    def losses(self, scores: Tensor, targets: Tensor, count: int) -> Tensor:
        """The log loss of each picture at the best temperature."""
        return each_log_loss(scores / self.best_temperature(scores, targets), targets, count)

    def best_temperature(self, scores: Tensor, targets: Tensor) -> float:
        return fit_temperature(scores, targets)

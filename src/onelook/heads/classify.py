"""What is it: one class out of several, or any number of labels, from pooled statistics of a look.

Reads all the strides it asks for and not only the last map, as Hariharan et al. 2015 ("Hypercolumns", section 3) argue for
pixels and Guo et al. 2016 for whole pictures; differs in pooling the maximum and the standard deviation beside the mean.

    onelook train photos/ --task classify --name kind --model mine.onelook
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from onelook.answers import Answer, Label, Labels
from onelook.heads.readout import Form, PooledHead
from onelook.look import Placement
from onelook.measure import Judge, MultiLabelJudge, SingleLabelJudge


class Classify(PooledHead):
    """Look -> logits (B, classes). Targets: class ids (B,) or, with ``multi``, zeros and ones (B, classes)."""

    task = "classify"
    class_weights: Tensor

    def __init__(
        self,
        classes: Sequence[str],
        *,
        multi: bool = False,
        smoothing: float = 0.0,
        strides: Sequence[int] = (),
        embedding: bool = False,
        inputs: int,
        form: Form = "radial",
        units: int = 0,
        width: float = 0.0,
        temperature: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            len(classes), strides=strides, embedding=embedding, inputs=inputs, form=form, units=units, width=width,
            temperature=temperature, dropout=dropout,
        )  # fmt: skip
        self.classes = tuple(classes)
        self.multi = multi
        self.smoothing = smoothing
        self.register_buffer("class_weights", torch.ones(len(classes)))

    def config(self) -> dict[str, Any]:
        """Plain values that rebuild this head: ``Classify(**config)``."""
        return {"classes": list(self.classes), "multi": self.multi, "smoothing": self.smoothing, **self.shape()}

    def loss(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Cross entropy, weighted by class, truths softened by ``smoothing``; per label and binary with ``multi``."""
        if self.multi:
            target = target * (1 - self.smoothing) + self.smoothing / 2
            return {"cross_entropy": functional.binary_cross_entropy_with_logits(raw, target.float(), pos_weight=self.class_weights)}
        return {"cross_entropy": functional.cross_entropy(raw, target, weight=self.class_weights, label_smoothing=self.smoothing)}

    def answer(self, raw: Tensor, placements: Sequence[Placement]) -> list[Answer]:
        """One Label (or Labels) per picture; probabilities sum to 1 over the classes (each its own with ``multi``)."""
        if self.multi:
            rows = torch.sigmoid(raw.double()).tolist()
            named = [dict(zip(self.classes, row, strict=True)) for row in rows]
            return [Labels(tuple(name for name, p in row.items() if p >= 0.5), row) for row in named]
        answers: list[Answer] = []
        for row in raw.double().softmax(dim=1).tolist():
            best = max(range(len(row)), key=row.__getitem__)
            answers.append(Label(self.classes[best], row[best], dict(zip(self.classes, row, strict=True))))
        return answers

    def merge(self, raws: Tensor) -> Tensor:
        """Several logits for the same pictures (V, B, classes) -> the logits of their mean probabilities (B, classes)."""
        if self.multi:
            return torch.logit(raws.double().sigmoid().mean(0), eps=1e-9).float()
        return (raws.double().log_softmax(2).logsumexp(0) - math.log(len(raws))).float()

    def judge(self) -> Judge:
        """A fresh judge for this head's answers."""
        return MultiLabelJudge(self.classes) if self.multi else SingleLabelJudge(self.classes)

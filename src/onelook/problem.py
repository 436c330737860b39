"""What is to be learned, and how held-out answers are scored: the accounting that every way of fitting a head shares.

Scores are what a head says before its temperature; lower losses are better. Nothing here sees validation pictures.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from onelook.backbone import Backbone
from onelook.calibrate import each_log_loss, fit_temperature
from onelook.heads import HEADS, Head, Regress
from onelook.heads.readout import Form, PooledHead, equal_weights, part_lengths, read_vector
from onelook.look import Needs
from onelook.rows import Rows


@dataclass(frozen=True)
class Problem:
    """Training rows and what they are labelled with. ``kind``: "single", "multi" or "values", as in ``Dataset``."""

    task: str
    kind: str
    classes: tuple[str, ...]
    rows: Rows
    seed: int = 0

    @property
    def backbone(self) -> Backbone:
        return self.rows.looker.backbone

    @property
    def folds(self) -> int:
        """How many folds there are."""
        return int(self.rows.folds.max()) + 1

    @property
    def readouts(self) -> tuple[Needs, ...]:
        """What pooled heads may read: all strides; all strides and the embedding."""
        return candidate_needs(self.backbone.strides)

    @cached_property
    def centre(self) -> Tensor:
        """Mean of each column of values; zeros for classes."""
        return self.rows.targets.float().mean(0) if self.kind == "values" else torch.zeros(len(self.classes))

    @cached_property
    def spread(self) -> Tensor:
        """Deviation of each column of values; ones for classes."""
        if self.kind != "values":
            return torch.ones(len(self.classes))
        return self.rows.targets.float().std(0, correction=0).clamp_min(1e-6)

    def coded(self, index: Tensor) -> Tensor:
        """Targets for least squares, centred: one column per class or value."""
        targets = self.rows.targets[index]
        if self.kind == "single":
            return functional.one_hot(targets, len(self.classes)).float() - 1 / len(self.classes)
        return targets - 0.5 if self.kind == "multi" else (targets - self.centre) / self.spread

    # --- held-out scores

    def temperature(self, scores: Tensor, where: Tensor) -> float:
        """What scores (m, K) on the pictures ``where`` must be divided by to become logits; 1 for values."""
        return 1.0 if self.kind == "values" else fit_temperature(scores, self.rows.targets[where])

    def losses(self, scores: Tensor, where: Tensor) -> Tensor:
        """Each picture's loss (m,): log loss at the best temperature, or squared error in units of the spread."""
        targets = self.rows.targets[where]
        if self.kind == "values":
            return (scores - (targets - self.centre) / self.spread).square().mean(1)
        return each_log_loss(scores / self.temperature(scores, where), targets)

    def judge(self, head: Head, scores: Tensor, where: Tensor) -> dict[str, Any]:
        """The figures of the head's own judge on held-out scores."""
        raw = scores * self.spread + self.centre if self.kind == "values" else scores / self.temperature(scores, where)
        judge = head.judge()
        judge.add(raw, self.rows.targets[where])
        return cast(dict[str, Any], judge.result())

    @torch.inference_mode()
    def predict(self, head: Head, where: Tensor) -> Tensor:
        """The scores (m, K) of ``head`` (whose temperature is still 1) for view 0 of the pictures ``where``."""
        parts, found = zip(*((head(look), index) for look, index in self.rows.looks(head.needs, where)), strict=True)
        order = torch.cat(found)
        raw = torch.empty(len(order), parts[0].shape[1])
        place = torch.empty(len(self.rows), dtype=torch.long)
        place[where] = torch.arange(len(where))
        raw[place[order]] = torch.cat(parts)
        return (raw - self.centre) / self.spread if self.kind == "values" else raw

    # --- heads

    def head(self, needs: Needs, form: Form, units: int = 0, width: float = 0.0) -> PooledHead:
        """An unfitted pooled head with its readout standardised on the training pictures."""
        head = self.plain_head(needs, form, units, width)
        mean, deviation = self._statistics(needs)
        head.readout.mean.copy_(mean)
        head.readout.deviation.copy_(deviation)
        head.readout.weight.copy_(equal_weights(part_lengths(needs, self.backbone.channels, self.backbone.embedding_size)))
        return head

    def plain_head(self, needs: Needs, form: Form, units: int = 0, width: float = 0.0, **regularisation: float) -> PooledHead:
        """An unfitted pooled head that knows the classes' weights, or the values' centre and spread."""
        inputs = sum(part_lengths(needs, self.backbone.channels, self.backbone.embedding_size))
        options: dict[str, Any] = dict(regularisation)
        if self.kind == "values":
            options.pop("smoothing", None)
        else:
            options["multi"] = self.kind == "multi"
        torch.manual_seed(self.seed)
        make = cast(type[Any], HEADS[self.task])
        head: PooledHead = make(
            self.classes, strides=needs.pooled, embedding=needs.embedding, inputs=inputs, form=form, units=units, width=width, **options
        )
        if isinstance(head, Regress):
            head.centre.copy_(self.centre)
            head.spread.copy_(self.spread)
        elif self.kind == "single":
            weights = cast(Tensor, head.class_weights)
            for index in range(len(self.classes)):
                mine = self.rows.targets == index
                weights[index] = self.rows.weights[mine].mean() if bool(mine.any()) else 1.0
        return head.eval()

    @cached_property
    def embedding_scale(self) -> float:
        """The root mean square of the embedding's values over a few training pictures; 1 for a network with random weights."""
        if self.backbone.source.kind == "random":
            return 1.0
        embedding = self.rows.sample(Needs(embedding=True)).embedding
        assert embedding is not None
        return float(embedding.square().mean().sqrt().clamp_min(1e-6))

    def _statistics(self, needs: Needs) -> tuple[Tensor, Tensor]:
        """Mean and deviation of a readout over view 0 of the training pictures."""
        mean, deviation, place = *self._whole_statistics, 0
        chosen = []
        widest = self.readouts[-1]
        for stride, length in zip((*widest.pooled, None), self._lengths, strict=True):
            if stride in needs.pooled or (stride is None and needs.embedding):
                chosen.append(torch.arange(place, place + length))
            place += length
        index = torch.cat(chosen)
        return mean[index], deviation[index]

    @property
    def _lengths(self) -> list[int]:
        return part_lengths(self.readouts[-1], self.backbone.channels, self.backbone.embedding_size)

    @cached_property
    def _whole_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the widest readout, from one pass."""
        widest, length = self.readouts[-1], sum(self._lengths)
        total, squares = torch.zeros(length, dtype=torch.float64), torch.zeros(length, dtype=torch.float64)
        for look, _ in self.rows.pictures(widest):
            vector = read_vector(look, widest).double()
            total, squares = total + vector.sum(0), squares + (vector * vector).sum(0)
        mean = total / len(self.rows)
        deviation = (squares / len(self.rows) - mean**2).clamp_min(0).sqrt()
        deviation = deviation.clamp_min(1e-3 * float(deviation.median()) + 1e-6)
        return mean.float(), deviation.float()


def candidate_needs(strides: tuple[int, ...]) -> tuple[Needs, ...]:
    """The readouts that are compared: all strides; all strides and the embedding."""
    return Needs(pooled=strides), Needs(pooled=strides, embedding=True)


@dataclass(frozen=True)
class Candidate:
    """One way to fit a head and its mean loss on held-out training pictures."""

    form: str
    reads: str
    units: int
    width: float
    penalty: float
    score: float


@dataclass(frozen=True)
class Selected:
    """A fitted head, what was compared, its judge's figures, and its scores (m, K) on the held-out pictures ``where``.

    The scores are those of models that had not seen the pictures; the temperature fitted to them is in the head. ``interrupted``: training
    was stopped before its end, and the head is as it was then.
    """

    head: Head
    tried: tuple[Candidate, ...]
    held_out: dict[str, Any]
    scores: Tensor
    where: Tensor
    interrupted: bool = False


def names_of(needs: Needs) -> str:
    """What a readout reads, in words."""
    parts = ["strides " + " ".join(map(str, needs.pooled))] if needs.pooled else []
    return " + ".join([*parts, *["embedding"] * needs.embedding])


def best_of(losses: list[Tensor]) -> int:
    """The index of the smallest mean loss."""
    return int(np.argmin([float(loss.mean()) for loss in losses]))

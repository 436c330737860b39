"""What is to be learned: a method, its options, and the training set; and how held-out scores of pooled heads are compared.

Scores are what a pooled head says before its temperature; lower losses are better. Nothing here sees validation pictures.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from onelook.backbones.backbone import Backbone
from onelook.facts import Facts
from onelook.geometry.objects import Objects
from onelook.heads.base import AnyHead
from onelook.heads.context import Context
from onelook.heads.pooled import PooledHead, Shape, equal_weights, part_lengths, read_vector
from onelook.looks.features import Needs, usually_kept
from onelook.training.dataset import TrainingSet
from onelook.training.request import Request


@dataclass(frozen=True)
class Problem:
    """A method, what its untrained heads are told, and the training set."""

    request: Request
    context: Context
    data: TrainingSet
    seed: int = 0

    @property
    def backbone(self) -> Backbone:
        return self.data.extractor.backbone

    @property
    def folds(self) -> int:
        """How many folds there are."""
        return int(self.data.folds.max()) + 1

    def fresh(self) -> AnyHead:
        """An untrained head that has seen examples of its targets."""
        torch.manual_seed(self.seed)
        moved = [self.data.moved(index, 0) for index in range(len(self.data))] if self.data.has_objects else []
        examples = [target for target in moved if isinstance(target, Objects)]
        return self.request.head.fresh(replace(self.context, examples=examples), self.request.options)

    # --- pooled heads

    @cached_property
    def prototype(self) -> PooledHead:
        """A head of this kind that knows the training targets: it codes targets and compares scores."""
        assert issubclass(self.request.head, PooledHead)
        return self.shaped(Shape(Needs(embedding=True)))

    @property
    def readouts(self) -> tuple[Needs, ...]:
        """What pooled heads may read: all strides; all strides and the embedding."""
        return candidate_needs(self.backbone.strides)

    def shaped(self, shape: Shape) -> PooledHead:
        """An unfitted pooled head that knows the training targets."""
        assert issubclass(self.request.head, PooledHead)
        torch.manual_seed(self.seed)
        head = self.request.head.shaped(self.context, shape)
        head.observe(self.data.targets, self.data.weights)
        return head.eval()

    def standardized(self, shape: Shape) -> PooledHead:
        """The same with its readout standardised on the training pictures."""
        head = self.shaped(shape)
        mean, deviation = self.statistics(shape.needs)
        head.readout.mean.copy_(mean)
        head.readout.deviation.copy_(deviation)
        head.readout.weight.copy_(equal_weights(part_lengths(shape.needs, self.backbone.channels, self.backbone.embedding_size)))
        return head

    def losses(self, scores: Tensor, where: Tensor) -> Tensor:
        """The loss (m,) of each picture's scores (m, K), for the pictures ``where``."""
        return self.prototype.losses(scores, self.data.targets[where], len(self.data))

    def temperature(self, scores: Tensor, where: Tensor) -> float:
        """What scores (m, K) on the pictures ``where`` must be divided by to become logits; 1 for values."""
        return self.prototype.best_temperature(scores, self.data.targets[where])

    def judge(self, scores: Tensor, where: Tensor) -> Facts:
        """The figures of the method's own judge on held-out scores."""
        raw = self.prototype.raw_of(scores / self.temperature(scores, where))
        judge = self.prototype.judge()
        judge.add(list(raw), list(self.data.targets[where]))
        return judge.result()

    @torch.inference_mode()
    def predict(self, head: AnyHead, where: Tensor) -> Tensor:
        """The scores (m, K) of ``head`` (whose temperature is still 1) for view 0 of the pictures ``where``."""
        parts, found = zip(*((head(look), index) for look, index in self.data.looks(head.needs, where)), strict=True)
        order = torch.cat(found)
        raw = torch.empty(len(order), parts[0].shape[1])
        place = torch.empty(len(self.data), dtype=torch.long)
        place[where] = torch.arange(len(where))
        raw[place[order]] = torch.cat(parts)
        return self.prototype.scores_of(raw)

    @cached_property
    def embedding_scale(self) -> float:
        """The root mean square of the embedding's values over a few training pictures; 1 for a network with random weights."""
        if self.backbone.source.kind == "random":
            return 1.0
        embedding = self.data.sample(Needs(embedding=True)).embedding
        assert embedding is not None
        return float(embedding.square().mean().sqrt().clamp_min(1e-6))

    def statistics(self, needs: Needs) -> tuple[Tensor, Tensor]:
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
        for look, _ in self.data.pictures(widest):
            vector = read_vector(look, widest).double()
            total, squares = total + vector.sum(0), squares + (vector * vector).sum(0)
        mean = total / len(self.data)
        deviation = (squares / len(self.data) - mean**2).clamp_min(0).sqrt()
        deviation = deviation.clamp_min(1e-3 * float(deviation.median()) + 1e-6)
        return mean.float(), deviation.float()


def candidate_needs(strides: tuple[int, ...]) -> tuple[Needs, ...]:
    """The readouts that are compared: all strides; all strides and the embedding."""
    return Needs(pooled=strides), usually_kept(strides)


def names_of(needs: Needs) -> str:
    """What a readout reads, in words."""
    parts = ["strides " + " ".join(map(str, needs.pooled))] if needs.pooled else []
    return " + ".join([*parts, *["embedding"] * needs.embedding])

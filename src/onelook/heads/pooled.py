"""From a look to an answer vector: what pooled heads read, and the three forms that they can take.

``Readout``: the pooled statistics (mean, maximum, standard deviation) of the strides it asks for, and the embedding if
asked, standardised with the training pictures' mean and deviation, every part (a stride, the embedding) scaled to weigh
the same however many channels it has.
Forms: ``linear``; ``hidden`` (one hidden layer of rectified units, dropout); ``radial`` (one hidden layer of Gaussian
units centred on training pictures: Broomhead & Lowe 1988, "Multivariable functional interpolation and adaptive
networks").
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from onelook.data.samples import Dataset
from onelook.facts import Facts
from onelook.geometry.placement import Placement
from onelook.heads.base import Claim, Head
from onelook.heads.context import Context
from onelook.heads.options import option
from onelook.looks.features import Look, Needs

Form = Literal["radial", "linear", "hidden"]
OUTLIER = 8.0  # standard deviations at which a value is cut


class Readout(nn.Module):
    """A look as one vector (B, inputs): pooled strides in ascending order, then the embedding.

    With ``standardize`` every value is centred, divided by its deviation, cut at OUTLIER and weighed; without it is only weighed.
    """

    mean: Tensor
    deviation: Tensor
    weight: Tensor

    def __init__(self, strides: Sequence[int], embedding: bool, inputs: int, standardize: bool = True) -> None:
        super().__init__()
        self.needs = Needs(pooled=tuple(strides), embedding=embedding)
        self.standardize = standardize
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("deviation", torch.ones(inputs))
        self.register_buffer("weight", torch.ones(inputs))

    def forward(self, look: Look) -> Tensor:
        return self.standardized(read_vector(look, self.needs))

    def standardized(self, vector: Tensor) -> Tensor:
        """Raw vectors (B, inputs) as the head reads them."""
        if self.standardize:
            vector = ((vector - self.mean) / self.deviation).clamp(-OUTLIER, OUTLIER)
        return vector * self.weight


def read_vector(look: Look, needs: Needs) -> Tensor:
    """The parts of a look that ``needs`` names, as one raw vector (B, inputs)."""
    look.require(needs)
    parts = [look.pooled[stride].flatten(1) for stride in needs.pooled]
    if needs.embedding:
        assert look.embedding is not None
        parts.append(look.embedding)
    return torch.cat(parts, dim=1)


def part_lengths(needs: Needs, channels: Mapping[int, int], embedding_size: int) -> list[int]:
    """How many values each part of ``read_vector``'s result has on a backbone with these channels."""
    return [3 * channels[stride] for stride in needs.pooled] + [embedding_size] * needs.embedding


def equal_weights(lengths: Sequence[int]) -> Tensor:
    """One factor per value, (sum of lengths,): parts of any length get the same share of a squared distance."""
    total = sum(lengths)
    return torch.cat([torch.full((length,), (total / (len(lengths) * length)) ** 0.5) for length in lengths])


class Radial(nn.Module):
    """Gaussian units: exp(-width * mean squared difference to each centre), (B, inputs) -> (B, centres)."""

    centres: Tensor

    def __init__(self, inputs: int, centres: int, width: float) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("centres", torch.zeros(centres, inputs))

    def forward(self, x: Tensor) -> Tensor:
        centres = self.centres
        squared = (x * x).sum(1)[:, None] + (centres * centres).sum(1)[None] - 2 * x @ centres.T
        return torch.exp(-self.width / x.shape[1] * squared.clamp_min(0))


class Cancelling(nn.Linear):
    """A linear layer whose terms are large and nearly cancel: units (B, inputs) -> (B, outputs).

    What all units of a picture have in common is taken out before they are added up, which makes the terms some ten times smaller: two ways
    to add up, such as two runtimes', then differ by 2e-5 of the largest sum, otherwise by up to 9e-4 (docs/diary.md).
    """

    settled: Tensor | None = None

    def forward(self, units: Tensor) -> Tensor:
        common = units.mean(1, keepdim=True)
        return super().forward(units - common) + common * (self._whole() if self.settled is None else self.settled)

    def settle(self) -> None:
        """Take the weights as they are from now on, so that a graph that is traced holds their sum as a number."""
        self.settled = self._whole().detach()

    def _whole(self) -> Tensor:
        """The sum of each output's weights (outputs,)."""
        return self.weight.double().sum(1).to(self.weight.dtype)


def make_body(form: Form, inputs: int, outputs: int, units: int, width: float) -> nn.Sequential:
    """What stands behind a readout; its last layer is linear. ``units``: centres or hidden units. Raises ValueError for another form."""
    if form not in get_args(Form) or min(inputs, outputs, units if form != "linear" else 1) < 1:
        raise ValueError(f"no body has form {form!r}, {inputs} inputs, {outputs} outputs and {units} units")
    if form == "linear":
        return nn.Sequential(nn.Linear(inputs, outputs))
    if form == "hidden":
        return nn.Sequential(nn.Dropout(0.2), nn.Linear(inputs, units), nn.ReLU(), nn.Dropout(0.5), nn.Linear(units, outputs))
    return nn.Sequential(Radial(inputs, units, width), Cancelling(units, outputs))


@dataclass(frozen=True)
class PooledOptions:
    """``form``: of a head on the frozen backbone, see ``onelook.training.pooled``."""

    form: Form = option("radial", "What stands behind the readout of a frozen head.")


@dataclass(frozen=True)
class Shape:
    """What of a look a pooled head reads and what stands behind it; see ``make_body`` for ``units`` and ``width``."""

    needs: Needs
    form: Form = "linear"
    units: int = 0
    width: float = 0.0
    dropout: float = 0.0
    smoothing: float = 0.0
    standardize: bool = True


class PooledHead(Head[Tensor, Tensor, Tensor]):
    """Readout and body: what heads of one answer for the whole picture have in common. Predictions are rows (K,) of the raw answers.

    Beside a head's verbs it has those of its scores: what it says before its temperature, in which candidates are compared.
    """

    trainer = "pooled"
    placed = False
    Options = PooledOptions

    def __init__(
        self,
        classes: Sequence[str],
        *,
        strides: Sequence[int] = (),
        embedding: bool = False,
        inputs: int,
        form: Form = "radial",
        units: int = 0,
        width: float = 0.0,
        temperature: float = 1.0,
        dropout: float = 0.0,
        standardize: bool = True,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.form: Form = form
        self.readout = Readout(strides, embedding, inputs, standardize)
        self.body = make_body(form, inputs, len(self.classes), units, width)
        self.temperature = temperature  # what scores are divided by, so that they become logits
        self.dropout = nn.Dropout(dropout)
        self._sizes = {"inputs": inputs, "units": units, "width": width}

    @classmethod
    def fresh(cls, context: Context, options: Any) -> "PooledHead":
        """A linear head on the embedding."""
        return cls.shaped(context, Shape(Needs(embedding=True)))

    @classmethod
    def shaped(cls, context: Context, shape: Shape) -> "PooledHead":
        """An untrained head of this shape; no body is filled yet."""
        inputs = sum(part_lengths(shape.needs, context.channels, context.embedding_size))
        return cls(
            context.classes, strides=shape.needs.pooled, embedding=shape.needs.embedding, inputs=inputs, form=shape.form, units=shape.units,
            width=shape.width, dropout=shape.dropout, standardize=shape.standardize, **cls.specific(context, shape),
        )  # fmt: skip

    @classmethod
    def specific(cls, context: Context, shape: Shape) -> Facts:
        """Keyword arguments that only this class has."""
        return {}

    @classmethod
    def weights(cls, data: Dataset, options: Any) -> Tensor:
        """How much each picture counts (n,), in learning."""
        return torch.ones(len(data))

    def claim(self, raw: Tensor, about: Any = None) -> Claim[Tensor]:
        """Of the class (value) of this name, else of the one with the highest score, its raw score."""
        named = self.named(about)
        number = int(raw[0].argmax()) if named is None else named
        return Claim(self.classes[number], lambda found: found[:, number])

    def observe(self, targets: Tensor, weights: Tensor) -> None:
        """Learn what is known of the training targets (n, ...) as a whole: their spread, or the weights of classes."""

    @property
    def needs(self) -> Needs:
        return self.readout.needs

    @property
    def last(self) -> nn.Linear:
        """The linear layer that makes the raw answers."""
        layer = self.body[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, look: Look) -> Tensor:
        scores: Tensor = self.body(self.dropout(self.readout(look)))
        return scores / self.temperature

    def postprocess(self, raw: Tensor, placements: Sequence[Placement]) -> list[Tensor]:
        """The raw answer (K,) of each picture."""
        return list(raw)

    def merge(self, predictions: Sequence[Tensor]) -> Tensor:
        """Several raw answers (K,) to one picture as one."""
        return self.mean(torch.stack(list(predictions))[:, None])[0]

    def mean(self, raws: Tensor) -> Tensor:
        """Several raw answers to the same pictures (V, B, K) -> one (B, K): their mean."""
        return raws.mean(0)

    def config(self) -> Facts:
        """Plain values that rebuild this head."""
        regularised = {"temperature": self.temperature, "dropout": self.dropout.p, "standardize": self.readout.standardize}
        reads = {"strides": list(self.needs.pooled), "embedding": self.needs.embedding}
        return {"classes": list(self.classes), **reads, "form": self.form, **regularised, **self._sizes}

    # --- scores: what is said before the temperature, in the units in which candidates are compared

    @abstractmethod
    def code(self, targets: Tensor) -> Tensor:
        """Targets (n, ...) as least squares learns them (n, K), centred."""

    def scores_of(self, raw: Tensor) -> Tensor:
        """Raw answers (m, K) at temperature 1 -> scores."""
        return raw

    def raw_of(self, scores: Tensor) -> Tensor:
        """Scores (m, K) -> raw answers at temperature 1."""
        return scores

    @abstractmethod
    def losses(self, scores: Tensor, targets: Tensor, count: int) -> Tensor:
        """The loss (m,) of each picture's scores (m, K), at the best temperature; ``count``: pictures of the whole training set."""

    def best_temperature(self, scores: Tensor, targets: Tensor) -> float:
        """What scores must be divided by to become logits."""
        return 1.0

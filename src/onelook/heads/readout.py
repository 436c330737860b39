"""From a look to an answer vector: what pooled heads read, and the three forms that they can take.

``Readout``: the pooled statistics (mean, maximum, standard deviation) of the strides it asks for, and the embedding if
asked, standardised with the training pictures' mean and deviation, every part (a stride, the embedding) scaled to weigh
the same however many channels it has.
Forms: ``linear``; ``hidden`` (one hidden layer of rectified units, dropout); ``radial`` (one hidden layer of Gaussian
units centred on training pictures: Broomhead & Lowe 1988, "Multivariable functional interpolation and adaptive
networks").
"""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from onelook.look import Look, Needs

Form = Literal["radial", "linear", "hidden"]
OUTLIER = 8.0  # standard deviations at which a value is cut
NO_OUTLIER = 2.0**20


class Readout(nn.Module):
    """A look as one standardised vector (B, inputs): pooled strides in ascending order, then the embedding."""

    mean: Tensor
    deviation: Tensor
    weight: Tensor

    def __init__(self, strides: Sequence[int], embedding: bool, inputs: int) -> None:
        super().__init__()
        self.needs = Needs(pooled=tuple(strides), embedding=embedding)
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("deviation", torch.ones(inputs))
        self.register_buffer("weight", torch.ones(inputs))

    def leave(self, scale: float = 1.0) -> None:
        """Read values as they are but for one ``scale``: nothing is centred, weighed or cut."""
        self.mean.zero_()
        self.deviation.fill_(NO_OUTLIER)  # a power of two: with scale 1 values come through to the bit
        self.weight.fill_(NO_OUTLIER / scale)

    def forward(self, look: Look) -> Tensor:
        standard = (read_vector(look, self.needs) - self.mean) / self.deviation
        return standard.clamp(-OUTLIER, OUTLIER) * self.weight


def read_vector(look: Look, needs: Needs) -> Tensor:
    """The parts of a look that ``needs`` names, as one raw vector (B, inputs)."""
    look.require(needs)
    parts = [look.pooled[stride].flatten(1) for stride in needs.pooled]
    if needs.embedding:
        parts.append(cast(Tensor, look.embedding))
    return torch.cat(parts, dim=1)


def part_lengths(needs: Needs, channels: dict[int, int], embedding_size: int) -> list[int]:
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


def make_body(form: Form, inputs: int, outputs: int, units: int, width: float) -> nn.Sequential:
    """What stands behind a readout; its last layer is linear. ``units``: centres or hidden units."""
    if form == "linear":
        return nn.Sequential(nn.Linear(inputs, outputs))
    if form == "hidden":
        return nn.Sequential(nn.Dropout(0.2), nn.Linear(inputs, units), nn.ReLU(), nn.Dropout(0.5), nn.Linear(units, outputs))
    return nn.Sequential(Radial(inputs, units, width), nn.Linear(units, outputs))


class PooledHead(nn.Module):
    """Readout and body: what ``Classify`` and ``Regress`` have in common."""

    vector = True

    def __init__(
        self,
        outputs: int,
        *,
        strides: Sequence[int],
        embedding: bool,
        inputs: int,
        form: Form,
        units: int,
        width: float,
        temperature: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.form: Form = form
        self.readout = Readout(strides, embedding, inputs)
        self.body = make_body(form, inputs, outputs, units, width)
        self.temperature = temperature  # what scores are divided by, so that they become logits
        self.dropout = nn.Dropout(dropout)
        self._sizes = {"inputs": inputs, "units": units, "width": width}

    @property
    def needs(self) -> Needs:
        return self.readout.needs

    @property
    def last(self) -> nn.Linear:
        """The linear layer that makes the raw answers."""
        return cast(nn.Linear, self.body[-1])

    def forward(self, look: Look) -> Tensor:
        return cast(Tensor, self.body(self.dropout(self.readout(look)))) / self.temperature

    def merge(self, raws: Tensor) -> Tensor:
        """Several raw answers to the same pictures (V, B, outputs) -> one (B, outputs): their mean."""
        return raws.mean(0)

    def shape(self) -> dict[str, object]:
        """The keyword arguments that rebuild readout and body."""
        regularised = {"temperature": self.temperature, "dropout": self.dropout.p}
        return {"strides": list(self.needs.pooled), "embedding": self.needs.embedding, "form": self.form, **regularised, **self._sizes}

"""What a painting is judged by while it is made, as an algebra: losses are values that add, take weights and print themselves.

Gatys, Ecker, Bethge, "A Neural Algorithm of Artistic Style" (2015): content is half the sum of squared differences of a layer's outputs
(eq. 1); style is the squared difference of Gram matrices over 4 N^2 M^2 (eq. 4, N channels, M places). Course notes 001, 4.8 to 4.10. What
differs: Gram matrices are means over places, not sums, which is the same for pictures of one size and comparable for others; ``relative``
losses are divided by what they would be for outputs of 0, so that layers, networks and sizes weigh alike; ``Wasserstein`` compares mean
and deviation of every channel instead of products of pairs.

Every loss is a mean over places (``statistics``) and how far that is from what is wanted (``distance``): so tiles of a picture can be
added.

    python -c "from onelook.style.losses import *; print(0.001 * Content('relu4_2') + 0.2 * Style('relu1_1') + TotalVariation())"
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

Features = Mapping[str, Tensor]  # layer -> outputs (1, C, H, W); under PICTURE the pixels (1, 3, H, W), 0 to 1
PICTURE = "picture"
TINY = 1e-12


class Term(ABC):
    """A weighted sum of losses; ``+`` adds, ``*`` weighs, ``str`` shows the formula."""

    @abstractmethod
    def parts(self) -> tuple[tuple[float, "Loss"], ...]:
        """(weight, loss) pairs."""

    def __add__(self, other: "Term") -> "Sum":
        return Sum((*self.parts(), *other.parts()))

    def __mul__(self, factor: float) -> "Sum":
        return Sum(tuple((weight * factor, loss) for weight, loss in self.parts()))

    __rmul__ = __mul__

    def __str__(self) -> str:
        return " + ".join(loss.name if weight == 1 else f"{weight:.3g} {loss.name}" for weight, loss in self.parts()) or "0"


@dataclass(frozen=True)
class Sum(Term):
    """What adding and weighing give."""

    pairs: tuple[tuple[float, "Loss"], ...] = ()
    __str__ = Term.__str__

    def parts(self) -> tuple[tuple[float, "Loss"], ...]:
        return self.pairs


@dataclass(frozen=True)
class Loss(Term):
    """One loss. ``layer``: whose outputs it reads; ``like``: what a picture is to be like by it."""

    layer: str = PICTURE
    relative: bool = False
    like: ClassVar[Literal["content", "style", "nothing"]] = "nothing"
    __str__ = Term.__str__

    def parts(self) -> tuple[tuple[float, "Loss"], ...]:
        return ((1.0, self),)

    @property
    def name(self) -> str:
        """How it is printed."""
        return f"{type(self).__name__.lower()}({self.layer})"

    @abstractmethod
    def statistics(self, x: Tensor, places: Tensor | None, kept: Tensor) -> Tensor:
        """A mean over places of outputs (1, C, H, W). ``places`` (H, W): how much each counts, None: alike; ``kept``: the content's own."""

    @abstractmethod
    def distance(self, found: Tensor, target: Tensor, count: float) -> Tensor:
        """How far statistics are from the target's, one number; ``count``: of how many places they are the mean."""

    def value(self, features: Features, other: Features) -> Tensor:
        """The loss of one picture whose target is another one: 0 for the same."""
        x, kept = features[self.layer], other[self.layer].detach()
        target = self.statistics(kept, None, torch.zeros_like(kept))
        return self.distance(self.statistics(x, None, kept), target, x.shape[2] * x.shape[3])


@dataclass(frozen=True)
class Content(Loss):
    """Half the squared difference of a layer's outputs (eq. 1)."""

    like = "content"
    __str__ = Term.__str__

    def statistics(self, x: Tensor, places: Tensor | None, kept: Tensor) -> Tensor:
        return _mean((_exact(x) - _exact(kept)).square().sum(1)[0] / 2, places)

    def distance(self, found: Tensor, target: Tensor, count: float) -> Tensor:
        return found / target.clamp_min(TINY) if self.relative else found * count


@dataclass(frozen=True)
class Style(Loss):
    """The squared difference of Gram matrices over 4 N^2 (eq. 4); relative: over the squares of the target."""

    like = "style"
    __str__ = Term.__str__

    def statistics(self, x: Tensor, places: Tensor | None, kept: Tensor) -> Tensor:
        return gram(x, places)

    def distance(self, found: Tensor, target: Tensor, count: float) -> Tensor:
        squares = (found - target).square().sum()
        return squares / target.square().sum().clamp_min(TINY) if self.relative else squares / (4 * len(target) ** 2)


@dataclass(frozen=True)
class Wasserstein(Loss):
    """The squared Wasserstein-2 distance of every channel's outputs, taken as normal: of means and of deviations, per channel.

    Relative: over the mean squares of the target.
    """

    like = "style"
    __str__ = Term.__str__

    def statistics(self, x: Tensor, places: Tensor | None, kept: Tensor) -> Tensor:
        return torch.stack([_mean(_exact(x)[0], places), _mean(_exact(x)[0].square(), places)], 1)  # (C, 2)

    def distance(self, found: Tensor, target: Tensor, count: float) -> Tensor:
        squares = (found[:, 0] - target[:, 0]).square().sum() + (_deviation(found) - _deviation(target)).square().sum()
        return squares / target[:, 1].sum().clamp_min(TINY) if self.relative else squares / len(target)


@dataclass(frozen=True)
class TotalVariation(Loss):
    """The mean squared difference of neighbouring pixels, down and across."""

    __str__ = Term.__str__

    def statistics(self, x: Tensor, places: Tensor | None, kept: Tensor) -> Tensor:
        down = functional.pad(x.diff(dim=2), (0, 0, 0, 1)).square()
        across = functional.pad(x.diff(dim=3), (0, 1, 0, 0)).square()
        return _mean((down + across).mean(1)[0], places)

    def distance(self, found: Tensor, target: Tensor, count: float) -> Tensor:
        return found


def gram(x: Tensor, places: Tensor | None = None) -> Tensor:
    """The Gram matrix (C, C) of outputs (1, C, H, W): products of two channels, mean over places (eq. 3, over M).

    ``places`` (H, W): how much each place counts; None: all alike.
    """
    flat = x.permute(0, 2, 3, 1).flatten(0, 2)  # (M, C): as channels_last lies in memory, and so does its gradient
    if places is None:
        return _exact(flat.T @ flat) / len(flat)
    weight = (places.flatten()[:, None] / places.sum().clamp_min(TINY)).to(x.dtype)
    return _exact((flat * weight).T @ flat)


def _exact(x: Tensor) -> Tensor:
    """In single precision at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _mean(values: Tensor, places: Tensor | None) -> Tensor:
    """The mean over the last two axes."""
    return values.mean((-2, -1)) if places is None else (values * places).sum((-2, -1)) / places.sum().clamp_min(TINY)


def _deviation(statistics: Tensor) -> Tensor:
    return (statistics[:, 1] - statistics[:, 0].square()).clamp_min(TINY).sqrt()

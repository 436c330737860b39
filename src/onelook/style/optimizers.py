"""How a picture goes downhill: Adam whose state outlives a change of size, L-BFGS, or plain gradient descent.

Adam (Kingma and Ba 2015) with second moments of 0.99, a rate that falls along half a cosine at every size, and the mean of the pictures
passed (an exponential one of 0.95) as its answer, after the recipe of crowsonkb/style-transfer-pytorch; there the rate stays the same.
L-BFGS is what the paper's authors used, gradient descent is the notes' ``G = G - dJ/dG``.

    onelook style photo.jpg painting.jpg --optimizer lbfgs
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

Gradient = Callable[[Tensor], tuple[Tensor, dict[str, float]]]
BETAS, AVERAGE, LAST = (0.9, 0.99), 0.95, 0.1  # Adam's; how much of the mean stays at a step; the last rate as a part of the first
TINY = 1e-12
REMEMBERED = 10  # steps of which L-BFGS keeps pictures and gradients


class Optimizer(ABC):
    """A picture (1, 3, H, W) on its way. ``rate``: about how far a pixel (0..1) moves at a step."""

    rate = 0.02
    shifts: ClassVar[bool] = False  # whether it bears gradients of a picture that is looked at from elsewhere at every step

    def __init__(self, picture: Tensor, rate: float | None = None) -> None:
        self.picture = picture.clone()
        self.rate = rate or type(self).rate

    @abstractmethod
    def step(self, gradient: Gradient, share: float) -> dict[str, float]:
        """Go one step; ``share``: how much of the way at this size is done (0..1). Returns the losses of where it stood.

        Raises FloatingPointError where the gradient is not finite; the picture is then as it was.
        """

    @property
    def best(self) -> Tensor:
        """What to show: the picture, or the mean of the last ones."""
        return self.picture

    def resize(self, height: int, width: int) -> None:
        """Go on at another size."""
        self.picture = resized(self.picture, height, width).clamp(0, 1)

    def state(self) -> dict[str, Tensor]:
        """All that is needed to go on later."""
        return {"picture": self.picture.detach(), "rate": torch.tensor(self.rate, dtype=torch.float64)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from ``state``."""
        self.picture, self.rate = state["picture"], float(state["rate"])

    def calm(self) -> None:
        """Start again from the best picture, at half the rate."""
        self.picture, self.rate = self.best.clone(), self.rate / 2


class Adam(Optimizer):
    """Adam, its state resized with the picture, and the mean of the pictures that it passes."""

    shifts = True

    def __init__(self, picture: Tensor, rate: float | None = None) -> None:
        super().__init__(picture, rate)
        self._begin()

    def _begin(self) -> None:
        """No steps yet."""
        self.first, self.second, self.steps = torch.zeros_like(self.picture), torch.zeros_like(self.picture), 0
        self._forget()

    def _forget(self) -> None:
        """Begin a new mean; ``left``: how much of it is still empty."""
        self.mean, self.left = torch.zeros_like(self.picture), 1.0

    def step(self, gradient: Gradient, share: float) -> dict[str, float]:
        found, losses = finite(*gradient(self.picture))
        steps = self.steps + 1
        first, second = self.first.lerp(found, 1 - BETAS[0]), self.second.lerp(found.square(), 1 - BETAS[1])
        deviation = (second / (1 - BETAS[1] ** steps)).sqrt_().add_(TINY)
        rate = self.rate * (LAST + (1 - LAST) * (1 + math.cos(math.pi * share)) / 2)
        picture = (self.picture - rate / (1 - BETAS[0] ** steps) * first / deviation).clamp_(0, 1)
        mean = self.mean.lerp(picture, 1 - AVERAGE)
        # all at once: an interruption leaves the state of before or of after
        self.picture, self.first, self.second, self.mean, self.steps, self.left = picture, first, second, mean, steps, self.left * AVERAGE
        return losses

    @property
    def best(self) -> Tensor:
        return self.mean / (1 - self.left) if self.left < 1 else self.picture

    def resize(self, height: int, width: int) -> None:
        self.picture = self.best.clone()
        super().resize(height, width)
        self.first = resized(self.first, height, width)
        self.second = resized(self.second, height, width).clamp_min(0)
        self._forget()

    def state(self) -> dict[str, Tensor]:
        numbers = torch.tensor([self.steps, self.left], dtype=torch.float64)
        return {**super().state(), "first": self.first, "second": self.second, "mean": self.mean, "numbers": numbers}

    def load(self, state: dict[str, Tensor]) -> None:
        super().load(state)
        self.first, self.second, self.mean = state["first"], state["second"], state["mean"]
        self.steps, self.left = int(state["numbers"][0]), float(state["numbers"][1])

    def calm(self) -> None:
        super().calm()
        self._begin()


class Lbfgs(Optimizer):
    """Torch's L-BFGS, one iteration a step. ``rate``: as part of a whole Newton step."""

    rate = 1.0

    def __init__(self, picture: Tensor, rate: float | None = None) -> None:
        super().__init__(picture, rate)
        self._inner: torch.optim.LBFGS | None = None

    def step(self, gradient: Gradient, share: float) -> dict[str, float]:
        losses: dict[str, float] = {}
        before = self.picture.clone()
        if self._inner is None:
            self.picture.requires_grad_(True)
            self._inner = torch.optim.LBFGS([self.picture], lr=self.rate, max_iter=1, history_size=REMEMBERED)

        def closure() -> float:
            found, parts = finite(*gradient(self.picture.detach()))
            losses.update(parts)
            self.picture.grad = found.contiguous()
            return sum(parts.values())

        try:
            self._inner.step(closure)  # type: ignore[arg-type]
            if not bool(self.picture.isfinite().all()):
                raise FloatingPointError
        except FloatingPointError:
            self.picture, self._inner = before.detach(), None
            raise
        return losses

    @property
    def best(self) -> Tensor:
        return self.picture.detach().clamp(0, 1)

    def resize(self, height: int, width: int) -> None:
        self.picture, self._inner = self.best, None
        super().resize(height, width)

    def load(self, state: dict[str, Tensor]) -> None:
        super().load(state)
        self._inner = None

    def calm(self) -> None:
        super().calm()
        self._inner = None


class Descent(Optimizer):
    """Plain gradient descent; the first step moves pixels by ``rate`` on average, and the factor found there stays."""

    rate = 0.01

    def __init__(self, picture: Tensor, rate: float | None = None) -> None:
        super().__init__(picture, rate)
        self._factor = 0.0

    def step(self, gradient: Gradient, share: float) -> dict[str, float]:
        found, losses = finite(*gradient(self.picture))
        self._factor = self._factor or self.rate / max(float(found.abs().mean()), TINY)
        self.picture = (self.picture - self._factor * found).clamp_(0, 1)
        return losses

    def resize(self, height: int, width: int) -> None:
        super().resize(height, width)
        self._factor = 0.0

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), "factor": torch.tensor(self._factor, dtype=torch.float64)}

    def load(self, state: dict[str, Tensor]) -> None:
        super().load(state)
        self._factor = float(state["factor"])

    def calm(self) -> None:
        super().calm()
        self._factor = 0.0


OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "lbfgs": Lbfgs, "descent": Descent}


def resized(x: Tensor, height: int, width: int) -> Tensor:
    """(1, C, H, W) at another size, smoothly."""
    return functional.interpolate(x, (height, width), mode="bicubic", align_corners=False, antialias=True)


def finite(gradient: Tensor, losses: dict[str, float]) -> tuple[Tensor, dict[str, float]]:
    """Both, if all their numbers are finite. Raises FloatingPointError."""
    if not math.isfinite(sum(losses.values())) or not bool(gradient.isfinite().all()):
        raise FloatingPointError
    return gradient, losses

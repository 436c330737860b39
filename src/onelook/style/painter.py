"""The painter: from coarse to fine, one step at a time, each of which can be looked at, kept, and gone on from.

Gatys, Ecker, Bethge 2015 (course notes 001, 4.6 to 4.10; 003, 3): C is the photo, S the painting, G what is made; G is improved by the
gradient of J(G) = alpha J_content(C, G) + beta J_style(S, G). What differs: it is painted small at first and then larger by the square
root of 2 each time, so that strokes of all lengths come into being (after Gatys et al. 2017 and crowsonkb/style-transfer-pytorch); a scale
costs twice the one before, so all the small ones cost as much as the last.

    onelook style photo.jpg painting.jpg --out painted.jpg
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from onelook.errors import OnelookError
from onelook.style.losses import Term
from onelook.style.networks import StyleNetwork
from onelook.style.objective import Objective, Region
from onelook.style.optimizers import OPTIMIZERS, Gradient, Optimizer

COARSEST, GROWTH = 128, 2**0.5  # pixels of the longer side at first; by how much it grows
SHORTEST = 32  # pixels of the shorter side with which anything is seen
SHIFTS = [(7 * place % 16 // 4, 7 * place % 4) for place in range(16)]  # by up to 3 pixels, far from the last: see Objective.gradient
PATIENCE = 3  # times that numbers may overflow


@dataclass(frozen=True)
class Strokes:
    """Paintings that lend their style, with weights that add up to 1, and where: ``mask`` (grey, of any size), or everywhere."""

    pictures: Sequence[tuple[float, Image.Image]]
    mask: Image.Image | None = None


@dataclass(frozen=True)
class Stage:
    """A size to paint at (width, height), and for how many steps."""

    width: int
    height: int
    steps: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass(frozen=True)
class Step:
    """Where the painter stands. ``losses``: weighted, by name, of the picture before this step; ``total``: of all stages."""

    stage: Stage
    number: int
    done: int
    total: int
    losses: dict[str, float]
    picture: Callable[[], Image.Image]

    @property
    def loss(self) -> float:
        return sum(self.losses.values())


@dataclass
class State:
    """A painter that can go on: the stage and the steps made in it, and the optimizer's own numbers."""

    stage: int = 0
    made: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)


def stages(picture: tuple[int, int], size: int, steps: int, coarsest: int = COARSEST) -> list[Stage]:
    """The sizes that lead to a longer side of ``size``, each for an equal share of ``steps``. Raises OnelookError for a strip.

    ``picture``: width and height of the content.
    """
    longest, shortest = max(picture), min(picture)
    if size * shortest < SHORTEST * longest:
        least = -(-SHORTEST * longest // shortest)
        raise OnelookError(f"--size {size}: the shorter side would have {size * shortest / longest:.0f} pixels; use --size {least} or more")
    coarsest = max(coarsest, -(-SHORTEST * longest // shortest))
    sides = [size]
    while sides[0] / GROWTH >= coarsest * 0.99:
        sides.insert(0, round(size / GROWTH ** len(sides)))
    sides = sides[-steps:]
    share, left = divmod(steps, len(sides))
    scales = [(side / longest, share + (number < left)) for number, side in enumerate(sides)]
    return [Stage(round(picture[0] * scale), round(picture[1] * scale), count) for scale, count in scales]


class Painter:
    """Paints ``content`` in the style of ``strokes``; iterate to go on, step by step. ``side``: of tiles, None for none.

    ``begin``: the picture to begin with, None for noise. ``base``: what shows through where no mask lets the style be.
    """

    def __init__(
        self, network: StyleNetwork, terms: Term, content: Image.Image, strokes: Sequence[Strokes], plan: Sequence[Stage], *,
        begin: Image.Image | None, optimizer: str = "adam", rate: float | None = None, seed: int = 0, side: int | None = None,
        base: Image.Image | None = None,
    ) -> None:  # fmt: skip
        self.network, self.terms, self.content, self.strokes, self.plan = network, terms, content, strokes, list(plan)
        self.begin, self.optimizer, self.rate, self.seed, self.side, self.base = begin, optimizer, rate, seed, side, base
        self.state = State()
        self.remarks: list[str] = []
        self._best: Callable[[], Tensor] | None = None

    @property
    def total(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.plan)

    @property
    def left(self) -> list[Stage]:
        """The stages that are not done, the first one with the steps that are left of it."""
        now = self.plan[self.state.stage]
        return [replace(now, steps=now.steps - self.state.made), *self.plan[self.state.stage + 1 :]]

    def picture(self) -> Image.Image:
        """The best so far, at the size that it has. Raises OnelookError before the first step."""
        if self._best is None:
            raise OnelookError("nothing is painted yet")
        return to_picture(self._best())

    def __iter__(self) -> Iterator[Step]:
        """Steps, from where ``state`` stands. Raises OnelookError where numbers overflow again and again."""
        first, made = self.state.stage, self.state.made
        brush = self._brush(self.plan[first])
        done = sum(stage.steps for stage in self.plan[:first]) + made
        for number, stage in enumerate(self.plan[first:], first):
            if number > first:
                brush.resize(stage.height, stage.width)
                made = 0
            allowed = self._allowed(stage)
            gradient = self._gradient(stage, allowed)
            self._best = self._shown(brush, stage, allowed)
            while made < stage.steps:
                shift = SHIFTS[made % len(SHIFTS)] if brush.shifts else (0, 0)
                losses = self._step(brush, partial(gradient, shift=shift), made / stage.steps)
                made, done = made + 1, done + 1
                self.state = State(number, made, brush.state())
                yield Step(stage, made, done, self.total, losses, self.picture)

    def objective(self, stage: Stage) -> Objective:
        """What is gone down at this size."""
        content = to_tensor(scaled(self.content, stage))
        regions = [self._region(strokes, stage) for strokes in self.strokes]
        return Objective(self.network, self.terms, content, regions, self.side)

    def brush(self, stage: Stage) -> Optimizer:
        """A fresh optimizer with the picture to begin with."""
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.rand(1, 3, stage.height, stage.width, generator=generator)
        return OPTIMIZERS[self.optimizer](noise if self.begin is None else to_tensor(scaled(self.begin, stage)), self.rate)

    def _brush(self, stage: Stage) -> Optimizer:
        brush = self.brush(stage)
        if self.state.tensors:
            brush.load(self.state.tensors)
        return brush

    def _gradient(self, stage: Stage, allowed: Tensor | None) -> Callable[..., tuple[Tensor, dict[str, float]]]:
        """The gradient at this size; nothing pulls at pixels where no style may be."""
        objective = self.objective(stage)
        if allowed is None:
            return objective.gradient

        def masked(picture: Tensor, shift: tuple[int, int]) -> tuple[Tensor, dict[str, float]]:
            gradient, losses = objective.gradient(picture, shift)
            return gradient * allowed, losses

        return masked

    def _shown(self, brush: Optimizer, stage: Stage, allowed: Tensor | None) -> Callable[[], Tensor]:
        """What is shown of a brush: its best, and the base where no style may be."""
        if allowed is None or self.base is None:
            return lambda: brush.best
        base = to_tensor(scaled(self.base, stage))
        return lambda: base + allowed * (brush.best - base)

    def _step(self, brush: Optimizer, gradient: Gradient, share: float) -> dict[str, float]:
        """One step; where numbers overflow, again from the best picture at half the rate."""
        while True:
            try:
                return brush.step(gradient, share)
            except FloatingPointError:
                brush.calm()
                self.remarks.append(f"numbers overflowed; went on from the best picture with rate {brush.rate:.2g}")
                if len(self.remarks) > PATIENCE:
                    raise OnelookError("numbers overflow again and again; use weights nearer to 1, or --strength") from None

    def _region(self, strokes: Strokes, stage: Stage) -> Region:
        pictures = [(weight, to_tensor(as_large(picture, stage.pixels))) for weight, picture in strokes.pictures]
        return Region(pictures, None if strokes.mask is None else _places(strokes.mask, stage))

    def _allowed(self, stage: Stage) -> Tensor | None:
        """Where any style may be (H, W); None: everywhere."""
        masks = [None if strokes.mask is None else _places(strokes.mask, stage) for strokes in self.strokes]
        if any(mask is None for mask in masks):
            return None
        return torch.stack([mask for mask in masks if mask is not None]).amax(0)


def scaled(picture: Image.Image, stage: Stage) -> Image.Image:
    """A picture at the size of a stage."""
    return picture.resize((stage.width, stage.height), Image.Resampling.LANCZOS)


def as_large(picture: Image.Image, pixels: int) -> Image.Image:
    """A painting at its own shape with about so many pixels, as what is painted: strokes keep their size relative to the picture."""
    scale = (pixels / (picture.width * picture.height)) ** 0.5
    sides = (max(SHORTEST, round(side * scale)) for side in picture.size)
    return picture.resize(tuple(sides), Image.Resampling.LANCZOS)  # type: ignore[arg-type]


def _places(mask: Image.Image, stage: Stage) -> Tensor:
    return to_tensor(scaled(mask.convert("L"), stage).convert("RGB"))[0, 0]


def to_tensor(picture: Image.Image) -> Tensor:
    """RGB -> (1, 3, H, W), 0 to 1."""
    return torch.from_numpy(np.array(picture, dtype=np.float32)).permute(2, 0, 1)[None].contiguous() / 255


def to_picture(x: Tensor) -> Image.Image:
    """(1, 3, H, W), 0 to 1 -> RGB."""
    return Image.fromarray((x[0].detach().clamp(0, 1).permute(1, 2, 0) * 255 + 0.5).byte().numpy())

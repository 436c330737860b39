"""Intervals of figures, and what one way of answering brings over another on the same pictures."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

DRAWS = 200  # of sets of pictures, for a bootstrap interval


def wilson_interval(correct: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share of ``correct`` in ``n`` (Wilson 1927), each 0..1; (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    share = correct / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return centre - half, centre + half


def normal_interval(values: np.ndarray | Tensor) -> tuple[float, float]:
    """The 95 % interval of the mean of values (n,) by the normal approximation; of no values (nan, nan)."""
    numbers = np.asarray(values, dtype=np.float64)
    if not len(numbers):
        return math.nan, math.nan
    half = 1.96 * float(numbers.std(ddof=1)) / math.sqrt(len(numbers)) if len(numbers) > 1 else 0.0
    mean = float(numbers.mean())
    return mean - half, mean + half


def bootstrap_interval(count: int, figure: Callable[[np.ndarray], float], draws: int = DRAWS) -> tuple[float, float]:
    """95 % of a figure over sets of ``count`` pictures drawn with replacement (Efron 1979), seeded.

    ``figure``: indices of a drawn set -> its figure; draws where it is not a number are left out. (0, 1) for fewer than two pictures.
    """
    if count < 2:
        return 0.0, 1.0
    draw = np.random.default_rng(0)
    found = [figure(draw.integers(count, size=count)) for _ in range(draws)]
    known = [value for value in found if not math.isnan(value)]
    if not known:
        return 0.0, 1.0
    return float(np.quantile(known, 0.025)), float(np.quantile(known, 0.975))


@dataclass(frozen=True)
class Gain:
    """What a way of answering brings over another on the same n pictures: difference of the shares right, its 95 % interval, its cost.

    ``gain`` and ``interval`` in -1..1 (for values: of mean absolute errors, in the values' unit, positive when better).
    """

    what: str
    over: str
    n: int
    gain: float
    interval: tuple[float, float]
    ms: float
    ms_over: float


def paired_gain(ours: Tensor, theirs: Tensor) -> tuple[float, tuple[float, float]]:
    """Mean of the paired differences of two scores (n,), and its 95 % interval by the normal approximation."""
    pairs = ours.double() - theirs.double()
    return float(pairs.mean()), normal_interval(pairs)


def paired_error(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Mean of the paired differences of two losses (n,), ours minus theirs, and its standard error (0 for fewer than two)."""
    pairs = ours.double() - theirs.double()
    if len(pairs) < 2:
        return float(pairs.sum()), 0.0
    return float(pairs.mean()), float(torch.std(pairs) / len(pairs) ** 0.5)

"""Calibration: a temperature that turns scores into probabilities one can bet on, and how far they can be believed.

Guo, Pleiss, Sun, Weinberger 2017, "On calibration of modern neural networks", sections 2 (expected calibration error) and 4.2
(temperature scaling). Differs: the temperature is fitted on held-out scores of the training pictures, so that what is reported on
validation pictures is honest; truths are softened by one pseudo-count (Platt 1999), so that few pictures stay modest.

    onelook val test-photos/ --model mine.onelook --head kind --report report/
"""

from dataclasses import asdict, dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional

from onelook.facts import Facts

BINS = 15


@dataclass(frozen=True)
class Bin:
    """Answers whose confidence lies in [low, high): how many, their mean confidence, the share that is right."""

    low: float
    high: float
    count: int
    confidence: float
    right: float

    def to_json(self) -> Facts:
        return asdict(self)


def fit_temperature(scores: Tensor, targets: Tensor) -> float:
    """The T (0.02 to 20) for which scores / T make the truth most probable.

    ``scores``: logits (n, K). ``targets``: class ids (n,), or zeros and ones (n, K) for several labels.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(lambda log: log_loss(scores * float(np.exp(-log)), targets), bounds=(-4, 3), method="bounded")
    return float(np.exp(found.x))


def log_loss(logits: Tensor, targets: Tensor) -> float:
    """Mean log loss, truths softened by one pseudo-count over all pictures."""
    return float(each_log_loss(logits, targets).mean())


def each_log_loss(logits: Tensor, targets: Tensor, count: int | None = None) -> Tensor:
    """The softened log loss of every picture (n,); for several labels the mean over labels.

    ``count``: over how many pictures the pseudo-count is spread (default: these); losses of parts of one set are compared with one count.
    """
    logits = logits.double()
    softness = 1 / ((count or len(targets)) + 2)
    if targets.ndim == 1:
        return functional.cross_entropy(logits, targets, label_smoothing=softness, reduction="none")
    soft = targets.double() * (1 - 2 * softness) + softness
    return functional.binary_cross_entropy_with_logits(logits, soft, reduction="none").mean(1)


def reliability(logits: Tensor, targets: Tensor, bins: int = BINS) -> tuple[Bin, ...]:
    """Answers by confidence, in ``bins`` equal steps over 0..1; steps without answers are left out.

    Of one class out of several the most probable counts; of several labels every label does, with its probability of being there.
    """
    if targets.ndim == 1:
        confidence, said = logits.double().softmax(1).max(1)
        right = said == targets
    else:
        confidence, right = logits.double().sigmoid().flatten(), targets.flatten() >= 0.5
    where = (confidence * bins).long().clamp(0, bins - 1)
    found = []
    for index in range(bins):
        inside = where == index
        if bool(inside.any()):
            share = float(right[inside].double().mean())
            found.append(Bin(index / bins, (index + 1) / bins, int(inside.sum()), float(confidence[inside].mean()), share))
    return tuple(found)


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """Expected calibration error, 0..1: the mean distance between confidence and share of right answers, by number of answers."""
    total = sum(entry.count for entry in bins)
    return sum(entry.count * abs(entry.confidence - entry.right) for entry in bins) / max(total, 1)

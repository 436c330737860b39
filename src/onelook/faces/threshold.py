"""The threshold of a gallery: fitted on its own people for a stated rate of false accepts, with what that rate will be for others.

For new people the rate differs from that of the people it was fitted on. The interval is that of people who are left out: identities
are drawn with replacement, the threshold is fitted on those, and the rate is counted on the others (Efron 1979; out-of-bag).
Identification among N is N comparisons: a stranger is taken for somebody in about N times as many cases as in one comparison.

    onelook faces identify people.gallery photo.jpg --far 0.001
"""

from dataclasses import dataclass

import numpy as np

from onelook.facts import Facts
from onelook.metrics.verification import Pairs, pairs_of, threshold_at

ENOUGH = 10  # different pairs beyond the threshold, expected, without which it cannot be fitted
FEWEST = 8  # identities, likewise
DRAWS = 200
MOST = 1_500  # entries that a threshold is fitted on; of a larger gallery, so many are drawn


@dataclass(frozen=True)
class Threshold:
    """``distance``: squared, up to which two are the same. ``rate``: of false accepts in one comparison, with a 95 % interval where it
    was fitted; ``fitted``: whether it was, or is the encoder's own; ``why``: in words.
    """

    distance: float
    rate: float | None
    interval: tuple[float, float] | None
    fitted: bool
    why: str

    def among(self, count: int) -> float | None:
        """The rate at which a stranger is taken for one of ``count`` enrolled."""
        return None if self.rate is None else 1 - (1 - self.rate) ** count

    def to_json(self) -> Facts:
        return {
            "threshold": self.distance, "far": self.rate, "far_interval": list(self.interval) if self.interval else None,
            "fitted": self.fitted, "why": self.why,
        }  # fmt: skip


def fit_threshold(names: list[str], vectors: np.ndarray, rate: float, usual: float, usual_rate: float | None) -> Threshold:
    """The threshold at which ``rate`` of the comparisons of different identities are accepted; ``usual``: where there are too few."""
    identities = np.unique(np.array(names), return_inverse=True)[1]
    distances = np.clip(2 - 2 * vectors @ vectors.T, 0, 4) if len(vectors) else np.zeros((0, 0))
    pairs = pairs_of(distances, identities)
    people = len(np.unique(identities))
    if people < FEWEST or rate * len(pairs.different) < ENOUGH:
        why = (
            f"{people} identities with {len(pairs.different)} comparisons are too few for a rate of {rate:g} "
            f"({max(FEWEST, 2)} identities and {ENOUGH / rate:.0f} comparisons are needed): the encoder's own threshold is used"
        )
        return Threshold(usual, usual_rate, None, False, why)
    distance = threshold_at(pairs.different, rate)
    found = float((pairs.different <= distance).mean())
    why = f"fitted on {people} identities, {len(pairs.different)} comparisons"
    return Threshold(distance, found, _left_out(pairs, people, rate), True, why)


def _left_out(pairs: Pairs, people: int, rate: float) -> tuple[float, float]:
    """95 % of the rates of identities that the threshold was not fitted on."""
    draw = np.random.default_rng(0)
    rates = []
    for _ in range(DRAWS):
        drawn = np.zeros(people, dtype=bool)
        drawn[draw.integers(people, size=people)] = True
        inside, outside = drawn[pairs.different_of].all(1), ~drawn[pairs.different_of].any(1)
        if inside.any() and outside.any():
            rates.append(float((pairs.different[outside] <= threshold_at(pairs.different[inside], rate)).mean()))
    return (float(np.quantile(rates, 0.025)), float(np.quantile(rates, 0.975))) if rates else (0.0, 1.0)

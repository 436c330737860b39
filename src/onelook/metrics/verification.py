"""Whether two pictures show the same one: figures from the distances of pairs, and of finding one among many.

A pair is accepted where its distance is at most a threshold. False accepts: pairs of different ones that are; false rejects: pairs of the
same that are not. Equal error rate: where both are alike. Identities, not pictures, are drawn for intervals, as pairs share pictures.

    onelook val people/ --model mine.onelook --head who
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onelook.facts import Facts
from onelook.metrics.intervals import DRAWS, wilson_interval
from onelook.metrics.judge import Curves, Judge, Table, percent

Distances = Callable[[Tensor, Tensor], Tensor]  # vectors (M, D) and (N, D) -> distances (M, N)
RATES = (0.1, 0.01, 0.001)  # false accept rates at which is told how many same pairs are accepted
MOST = 2_000  # pictures whose pairs are compared; of more, so many are drawn
DRAWN_PAIRS = 200_000  # of different identities, for intervals
BLOCK = 256


@dataclass(frozen=True)
class Pairs:
    """Distances of pairs of the same identity and of different ones, each with the two identities (n, 2) that it is of."""

    same: np.ndarray
    different: np.ndarray
    same_of: np.ndarray
    different_of: np.ndarray

    @property
    def enough(self) -> bool:
        """Whether there are pairs of both kinds."""
        return len(self.same) > 0 and len(self.different) > 0


def equal_error(same: np.ndarray, different: np.ndarray) -> tuple[float, float]:
    """The equal error rate (0..1) and its threshold, from distances of same and of different pairs; neither may be empty."""
    distances = np.concatenate([same, different])
    order = np.argsort(distances, kind="stable")
    is_same = (np.arange(len(distances)) < len(same))[order]
    return _crossing(distances[order], is_same, np.ones(len(distances)))


def _crossing(distances: np.ndarray, is_same: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Where weighted false accepts pass weighted false rejects, over distances in ascending order; ties are one step."""
    rejected = 1 - np.cumsum(weights * is_same) / (weights * is_same).sum()
    accepted = np.cumsum(weights * ~is_same) / (weights * ~is_same).sum()
    steps = np.flatnonzero(np.r_[distances[1:] != distances[:-1], True])
    rejected, accepted, distances = rejected[steps], accepted[steps], distances[steps]
    after = int(np.argmax(accepted >= rejected))
    if accepted[after] == rejected[after] and after + 1 < len(distances):  # as between two heaps that are apart: in the middle
        return float(accepted[after]), float((distances[after] + distances[after + 1]) / 2)
    if after == 0:
        return float((accepted[0] + rejected[0]) / 2), float(distances[0])
    before = after - 1  # the two curves cross between these two steps
    gap, next_gap = rejected[before] - accepted[before], accepted[after] - rejected[after]
    share = gap / (gap + next_gap) if gap + next_gap else 0.0
    rate = rejected[before] + share * (rejected[after] - rejected[before])
    return float(rate), float(distances[before] + share * (distances[after] - distances[before]))


def threshold_at(different: np.ndarray, rate: float) -> float:
    """The largest threshold at which at most this share of different pairs is accepted; below all of them where none may be."""
    ordered = np.sort(different)
    allowed = int(np.floor(rate * len(ordered) + 1e-9))
    if allowed >= len(ordered):
        return float(ordered[-1])
    below = ordered[ordered < ordered[allowed]]
    return float(np.nextafter(ordered[allowed], -np.inf)) if not len(below) else float(below[-1])


def accepted(same: np.ndarray, different: np.ndarray, rate: float) -> float:
    """The share of same pairs that is accepted where at most ``rate`` of the different ones is (VAL at FAR)."""
    return float((same <= threshold_at(different, rate)).mean())


def pairs_of(distances: np.ndarray, identities: np.ndarray) -> Pairs:
    """All pairs above the diagonal of distances (N, N) of pictures that show ``identities`` (N,)."""
    one, other = np.triu_indices(len(identities), 1)
    ids = np.stack([identities[one], identities[other]], axis=1)
    alike = ids[:, 0] == ids[:, 1]
    values = distances[one, other]
    return Pairs(values[alike], values[~alike], ids[alike], ids[~alike])


def first_ranks(distances: np.ndarray, identities: np.ndarray) -> np.ndarray:
    """Of each picture (N,) whether the nearest other one is of the same identity: 1, 0, NaN where no other picture is."""
    apart = distances.copy()
    np.fill_diagonal(apart, np.inf)
    counts = (identities[:, None] == identities[None]).sum(1)
    right = np.asarray(identities[apart.argmin(1)] == identities, dtype=np.float64)
    right[counts < 2] = np.nan
    return right


def equal_error_interval(pairs: Pairs, draws: int = DRAWS) -> tuple[float, float]:
    """95 % of the equal error rate over identities drawn with replacement, of many different pairs on some; (0, 1) if it cannot be said."""
    draw = np.random.default_rng(0)
    different, of = pairs.different, pairs.different_of
    if len(different) > DRAWN_PAIRS:
        chosen = draw.choice(len(different), DRAWN_PAIRS, replace=False)
        different, of = different[chosen], of[chosen]
    names, ids = np.unique(np.concatenate([pairs.same_of, of]), return_inverse=True)
    ids = ids.reshape(-1, 2)
    distances = np.concatenate([pairs.same, different])
    order = np.argsort(distances, kind="stable")
    distances, ids, is_same = distances[order], ids[order], (np.arange(len(distances)) < len(pairs.same))[order]
    found = []
    for _ in range(draws):
        times = np.bincount(draw.integers(len(names), size=len(names)), minlength=len(names))
        weights = np.where(is_same, times[ids[:, 0]], times[ids[:, 0]] * times[ids[:, 1]]).astype(np.float64)
        if weights[is_same].any() and weights[~is_same].any():
            found.append(_crossing(distances, is_same, weights)[0])
    return (float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))) if found else (0.0, 1.0)


class IdentityJudge(Judge[Tensor, int]):
    """Judges vectors by who they are of. ``distances``: how they are compared; ``threshold``: up to which two are the same."""

    headline = "eer"
    lower_is_better = True
    figures = {  # noqa: RUF012
        "eer": "equal error rate", "rank1": "rank-1 (the nearest other picture is of the same)", "accuracy": "accuracy at the threshold",
    }  # fmt: skip

    def __init__(self, distances: Distances, threshold: float) -> None:
        self.distances, self.threshold = distances, threshold
        self.vectors: list[Tensor] = []
        self.identities: list[int] = []

    def add(self, predictions: Sequence[Tensor], targets: Sequence[int]) -> None:
        """The vectors (D,) of some pictures, and who each is of."""
        self.vectors += [prediction.detach().float().cpu() for prediction in predictions]
        self.identities += [int(target) for target in targets]

    @property
    def ids(self) -> np.ndarray:
        """Who the compared pictures are of."""
        return np.asarray(np.array(self.identities)[self._chosen()])

    def _chosen(self) -> np.ndarray:
        """The pictures whose pairs are compared: all, or MOST drawn at random."""
        count = len(self.vectors)
        return np.arange(count) if count <= MOST else np.sort(np.random.default_rng(0).choice(count, MOST, replace=False))

    def matrix(self) -> np.ndarray:
        """Distances (N, N) of the compared pictures."""
        vectors = torch.stack([self.vectors[index] for index in self._chosen()])
        with torch.inference_mode():
            found = torch.cat([self.distances(rows, vectors) for rows in vectors.split(BLOCK)])
        return np.asarray(found.double().numpy())

    def pairs(self) -> Pairs:
        """All pairs of the compared pictures."""
        return pairs_of(self.matrix(), self.ids)

    def result(self) -> Facts:
        distances, ids = self.matrix(), self.ids
        pairs, firsts = pairs_of(distances, ids), first_ranks(distances, ids)
        known = firsts[~np.isnan(firsts)]
        facts: Facts = {
            "n": len(self.vectors), "identities": len(set(ids.tolist())), "same_pairs": len(pairs.same),
            "different_pairs": len(pairs.different), "threshold": self.threshold,
            "eer": None, "eer_interval": None, "accuracy": None, "val_at_far": {},
            "rank1": float(known.mean()) if len(known) else None,
            "rank1_interval": list(wilson_interval(int(known.sum()), len(known))),
        }  # fmt: skip
        if pairs.enough:
            right = (float((pairs.same <= self.threshold).mean()), float((pairs.different > self.threshold).mean()))
            rates = [rate for rate in RATES if rate * len(pairs.different) >= 1]
            facts |= {
                "eer": equal_error(pairs.same, pairs.different)[0], "eer_interval": list(equal_error_interval(pairs)),
                "accuracy": sum(right) / 2,
                "val_at_far": {f"{rate:g}": accepted(pairs.same, pairs.different, rate) for rate in rates},
            }  # fmt: skip
        return facts

    def each(self) -> Tensor:
        """How much nearer the nearest other picture of the same is than the nearest of another; NaN where there is none."""
        scores = torch.full((len(self.vectors),), torch.nan, dtype=torch.float64)
        distances, ids = self.matrix(), self.ids
        np.fill_diagonal(distances, np.inf)
        alike = ids[:, None] == ids[None]
        same = np.where(alike, distances, np.inf).min(1)
        other = np.where(alike, np.inf, distances).min(1)
        margins = np.where(np.isfinite(same) & np.isfinite(other), other - same, np.nan)
        scores[torch.from_numpy(self._chosen())] = torch.from_numpy(margins)
        return scores

    def in_words(self, metrics: Facts) -> str:
        if metrics["eer"] is None:
            return f"nothing to say of {metrics['identities']} identities on {metrics['n']} pictures: two with two pictures each are needed"
        return (
            f"equal error rate {percent(metrics['eer'], metrics['eer_interval'])}, rank-1 {percent(metrics['rank1'])} "
            f"on {metrics['n']} pictures of {metrics['identities']} identities"
        )

    def tables(self, metrics: Facts) -> list[Table]:
        """How many same pairs are accepted at some false accept rates."""
        rows = tuple((f"{float(rate):.1%}", percent(share)) for rate, share in metrics["val_at_far"].items())
        note = f"{metrics['same_pairs']} same pairs, {metrics['different_pairs']} different ones."
        return [Table("Same pairs accepted", ("false accept rate", "accepted"), rows, note)] if rows else []

    def curves(self, before: Judge[Tensor, int] | None = None) -> list[Curves]:
        """The receiver operating characteristic."""
        pairs = self.pairs()
        if not pairs.enough:
            return []
        rates = [*np.linspace(0, 0.1, 41), *np.linspace(0.125, 1, 36)]
        line = (list(map(float, rates)), [accepted(pairs.same, pairs.different, rate) for rate in rates])
        return [Curves("Same pairs accepted, by different pairs accepted", "false accepts", "true accepts", {"ROC": line}, diagonal=True)]

    def worst(self, count: int) -> list[tuple[int, str]]:
        """The pictures to which another identity is nearest, the clearest first."""
        margins = self.each()
        order = [index for index in margins.argsort().tolist() if margins[index] < 0]
        return [(index, f"another is nearer by {-margins[index]:.2f}") for index in order[:count]]

"""Protocols on folders of people: verification of all pairs, LFW's folds of listed pairs, and identification with one picture enrolled.

A picture in which nobody was found counts as an error: it is rejected beside everybody, and never identified. Huang, Ramesh, Berg,
Learned-Miller 2007 (LFW): accuracy of each fold at the threshold that was best on the others.

    onelook faces eval people/ --json
    onelook faces eval lfw/ --pairs pairs.txt
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onelook.errors import DataError, UnreadableError
from onelook.facts import Facts
from onelook.metrics.judge import Curves
from onelook.metrics.verification import RATES, Pairs, accepted, equal_error, equal_error_interval, pairs_of

NOBODY = 5.0  # squared distance to a picture in which nobody was found; unit vectors are at most 4 apart
ROUNDS = 10  # pictures of everybody that are enrolled in turn


@dataclass(frozen=True)
class Seen:
    """Pictures of people: ``vectors`` (N, D), zeros where nobody was found (``missed``), and who they are of."""

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    vectors: np.ndarray
    missed: np.ndarray

    @property
    def identities(self) -> np.ndarray:
        """A number for every picture's identity (N,)."""
        return np.asarray(np.unique(np.array(self.names), return_inverse=True)[1])

    def distances(self) -> np.ndarray:
        """Squared distances (N, N); NOBODY where somebody was missed."""
        found = np.clip(2 - 2 * self.vectors @ self.vectors.T, 0, 4)
        found[self.missed | self.missed[:, None]] = NOBODY
        return np.asarray(found)


def protocol(seen: Seen) -> Facts:
    """The figures of all pairs, and of identification. Raises DataError without two pictures of one and two people."""
    distances, ids = seen.distances(), seen.identities
    pairs = pairs_of(distances, ids)
    if not pairs.enough:
        raise DataError(f"{len(set(seen.names))} people on {len(seen.names)} pictures: pairs of the same and of different ones are needed")
    rates = [rate for rate in RATES if rate * len(pairs.different) >= 1]
    return {
        "n": len(seen.names), "people": len(set(seen.names)), "missed": int(seen.missed.sum()),
        "eer": equal_error(pairs.same, pairs.different)[0], "eer_interval": list(equal_error_interval(pairs)),
        "val_at_far": {f"{rate:g}": accepted(pairs.same, pairs.different, rate) for rate in rates},
        "rank1": rank1(distances, ids),
    }  # fmt: skip


def rank1(distances: np.ndarray, identities: np.ndarray) -> float:
    """The share of pictures whose nearest enrolled one is of the same, one picture of everybody enrolled, in turn up to ROUNDS."""
    order = [np.flatnonzero(identities == identity) for identity in np.unique(identities)]
    shares = []
    for number in range(min(ROUNDS, max(map(len, order)))):
        enrolled = np.array([mine[number % len(mine)] for mine in order])
        asked = np.setdiff1d(np.arange(len(identities)), enrolled)
        asked = asked[np.isin(identities[asked], identities[enrolled])]
        if len(asked):
            found = distances[np.ix_(asked, enrolled)]
            right = (identities[enrolled][found.argmin(1)] == identities[asked]) & (found.min(1) < NOBODY)
            shares.append(float(right.mean()))
    return float(np.mean(shares)) if shares else float("nan")


def curves(seen: Seen) -> list[Curves]:
    """Receiver operating characteristic, and detection error trade-off."""
    pairs = pairs_of(seen.distances(), seen.identities)
    rates = np.unique(np.r_[np.logspace(-4, 0, 60), 0.0])
    rejected = [1 - accepted(pairs.same, pairs.different, rate) for rate in rates]
    x = list(map(float, rates))
    right = [1 - share for share in rejected]
    return [
        Curves("Same pairs accepted, by different pairs accepted", "false accepts", "true accepts", {"ROC": (x, right)}),
        Curves("Errors of both kinds", "false accepts", "false rejects", {"DET": (x, rejected)}),
    ]


def by_tag(seen: Seen, tags: dict[str, str]) -> list[Facts]:
    """The protocol within each group of people (``tags``: person -> group), threshold that of all at the equal error rate."""
    pairs = pairs_of(seen.distances(), seen.identities)
    threshold = equal_error(pairs.same, pairs.different)[1]
    names = np.array([tags.get(name, "") for name in np.unique(np.array(seen.names))])
    rows: list[Facts] = []
    for tag in sorted(set(names.tolist()) - {""}):
        mine = names == tag
        same, different = mine[pairs.same_of[:, 0]], mine[pairs.different_of].all(1)
        if same.any() and different.any():
            within = Pairs(pairs.same[same], pairs.different[different], pairs.same_of[same], pairs.different_of[different])
            rows.append(
                {
                    "group": tag, "people": int(mine.sum()), "false_rejects": float((within.same > threshold).mean()),
                    "false_accepts": float((within.different <= threshold).mean()), "eer": equal_error(within.same, within.different)[0],
                }
            )  # fmt: skip
    return rows


# --- listed pairs


@dataclass(frozen=True)
class Listed:
    """Two pictures of a fold, and whether they show the same."""

    one: Path
    other: Path
    same: bool
    fold: int


def read_pairs(file: Path, root: Path) -> list[Listed]:
    """LFW's pairs.txt: "10 300", then for each fold 300 lines "name n1 n2" and 300 lines "name1 n1 name2 n2"; or without folds.

    Raises UnreadableError, DataError naming the line.
    """
    try:
        lines = [line.split("\t") if "\t" in line else line.split() for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{file}: cannot be read ({error})") from error
    head = lines[0] if lines and all(cell.isdigit() for cell in lines[0]) and len(lines[0]) <= 2 else []
    folds, each = (int(head[0]), int(head[1])) if len(head) == 2 else (1, int(head[0])) if head else (1, 0)
    listed: list[Listed] = []
    for number, cells in enumerate(lines[len(head) > 0 :], start=1 + (len(head) > 0)):
        if len(cells) not in (3, 4):
            raise DataError(f"{file}, line {number}: expected 'name n1 n2' or 'name1 n1 name2 n2'")
        same = len(cells) == 3
        ends = [(cells[0], cells[1]), (cells[0], cells[2])] if same else [(cells[0], cells[1]), (cells[2], cells[3])]
        fold = min(len(listed) // (2 * each), folds - 1) if each and folds > 1 else len(listed) % 10
        one, other = (_picture(root, name, count, file, number) for name, count in ends)
        listed.append(Listed(one, other, same, fold))
    if not listed:
        raise DataError(f"{file}: no pairs")
    return listed


def _picture(root: Path, name: str, number: str, file: Path, line: int) -> Path:
    """``root``/name/name_0001.jpg, whatever the suffix."""
    stem = f"{name}_{int(number):04}" if number.isdigit() else Path(number).stem
    found = next(iter(sorted((root / name).glob(f"{stem}.*"))), None)
    if found is None:
        raise DataError(f"{file}, line {line}: no picture {root / name / stem}.jpg")
    return found


def fold_accuracy(distances: np.ndarray, same: np.ndarray, folds: np.ndarray) -> tuple[float, float, list[float]]:
    """Mean and deviation of each fold's accuracy at the threshold that is best on the others, and the thresholds."""
    accuracies, thresholds = [], []
    for fold in np.unique(folds):
        out = folds == fold
        learned = ~out if (~out).any() else out
        threshold = best_threshold(distances[learned], same[learned])
        accuracies.append(float(((distances[out] <= threshold) == same[out]).mean()))
        thresholds.append(threshold)
    return float(np.mean(accuracies)), float(np.std(accuracies)), thresholds


def best_threshold(distances: np.ndarray, same: np.ndarray) -> float:
    """The threshold with the fewest errors, in the middle between two distances."""
    order = np.argsort(distances, kind="stable")
    ordered, is_same = distances[order], same[order]
    right = np.r_[(~same).sum(), (~same).sum() + np.cumsum(np.where(is_same, 1, -1))]  # with the first k accepted
    distinct = np.r_[True, ordered[1:] != ordered[:-1], True]
    right = np.where(distinct, right, -1)
    best = int(np.argmax(right))
    if best == 0:
        return float(ordered[0] - 1e-9)
    return float(ordered[best - 1] if best == len(ordered) else (ordered[best - 1] + ordered[best]) / 2)

"""Splits: seeded, stratified, grouped where groups are given; and folds for cross-validation.

onelook train photos/ --val 0.25 --seed 0 ...      # writes the split down beside the model
"""

import csv
import os
import warnings
from pathlib import Path

import numpy as np

from onelook.data.samples import Dataset
from onelook.errors import DataError


def split(data: Dataset, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices of training and validation samples; ``share`` of them go to validation.

    Classes keep their shares (as far as their sizes allow; a class of one stays in training); no group is parted.
    """
    if not 0 < share < 1:
        raise DataError(f"--val {share:g}: give a share between 0 and 1, such as 0.25, or a folder")
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit

    labels = strata(data)
    if any(sample.group is not None for sample in data.samples):
        folds = max(2, round(1 / share))
        order = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        train, val = next(order.split(labels, labels, groups(data)))
        return sorted(map(int, train)), sorted(map(int, val))
    counts = np.bincount(labels)
    single = [index for index, label in enumerate(labels) if counts[label] < 2]
    rest = np.array([index for index, label in enumerate(labels) if counts[label] >= 2], dtype=int)
    kinds = len(set(labels[rest]))
    held = max(kinds, round(share * len(rest)))
    if not kinds or len(rest) - held < kinds:
        raise DataError(f"{data.source}: {len(data)} pictures are too few to hold back {share:g} of them; give --val DIR or more pictures")
    train, val = next(StratifiedShuffleSplit(1, test_size=held, random_state=seed).split(rest, labels[rest]))
    return sorted([*map(int, rest[train]), *single]), sorted(map(int, rest[val]))


def assign_folds(data: Dataset, count: int, seed: int) -> np.ndarray:
    """For every sample the fold (0..count-1) in which it is held out; stratified, groups kept together."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    labels = strata(data)
    count = max(2, min(count, len(data)))
    folds = np.zeros(len(data), dtype=np.int64)
    if any(sample.group is not None for sample in data.samples):
        parts = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(labels, labels, groups(data))
    elif np.bincount(labels).max() < count:
        return np.random.default_rng(seed).permutation(len(data)) % count
    else:
        parts = StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes smaller than the number of folds are fine here
        for fold, (_, held) in enumerate(parts):
            folds[held] = fold
    return folds


def write_split(path: Path, train: Dataset, val: Dataset | None) -> None:
    """Write which picture went where.

    A CSV that ``onelook train`` reads back as it stands (column ``split``), but for objects and masks.
    """
    root = path.parent.resolve()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *train.targets.columns(train.classes), "split"])
        for side, data in (("train", train), ("val", val)):
            for sample in data.samples if data else ():
                cells = train.targets.cells(sample.target, train.classes)
                writer.writerow([_relative(sample.path, root), *cells, side])


def strata(data: Dataset) -> np.ndarray:
    """A small integer (n,) to stratify by, as the kind of targets says."""
    return data.targets.strata([sample.target for sample in data.samples], data.classes)


def groups(data: Dataset) -> np.ndarray:
    """A group name per sample; a sample without one is a group of its own."""
    return np.array([sample.group if sample.group is not None else f"\0{index}" for index, sample in enumerate(data.samples)])


def _relative(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path.resolve(), root)).as_posix()

"""Splits: seeded, stratified, grouped where groups are given; and folds for cross-validation.

onelook train photos/ --val 0.25 --seed 0 ...      # writes the split down beside the model
"""

import csv
import os
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from onelook.data.samples import Dataset
from onelook.errors import DataError


def split(data: Dataset, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices of training and validation samples; ``share`` of them go to validation.

    Classes keep their shares (as far as their sizes allow; a class of one stays in training). No group is parted: the share is then as near
    as the groups allow.
    """
    if not 0 < share < 1:
        raise DataError(f"--val {share:g}: give a share between 0 and 1, such as 0.25, or a folder")
    from sklearn.model_selection import StratifiedShuffleSplit

    labels = strata(data)
    if any(sample.group is not None for sample in data.samples):
        folds = _group_folds(data, labels, round(1 / share), seed)
        held = min(range(int(folds.max()) + 1), key=lambda fold: (abs(float((folds == fold).mean()) - share), fold))
        return np.flatnonzero(folds != held).tolist(), np.flatnonzero(folds == held).tolist()
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
    from sklearn.model_selection import StratifiedKFold

    labels = strata(data)
    count = max(2, min(count, len(data)))
    if any(sample.group is not None for sample in data.samples):
        return _group_folds(data, labels, count, seed)
    if np.bincount(labels).max() < count:
        return np.random.default_rng(seed).permutation(len(data)) % count
    return _numbered(StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels), len(data))


def _group_folds(data: Dataset, labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """For every sample its fold, groups kept together; fewer folds than ``count`` where there are fewer groups.

    Raises DataError where all are of one group.
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    of = groups(data)
    count = max(2, min(count, len(set(of))))
    if len(set(of)) < 2:
        raise DataError(f"{data.source}: all {len(data)} pictures are of one group ({of[0]}), which is never parted; at least 2 are needed")
    if np.bincount(labels).max() < count:
        return _numbered(GroupKFold(count).split(labels, labels, of), len(data))
    folds = _numbered(StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(labels, labels, of), len(data))
    return folds if len(set(folds.tolist())) == count else _numbered(GroupKFold(count).split(labels, labels, of), len(data))


def _numbered(parts: Iterable[tuple[np.ndarray, np.ndarray]], count: int) -> np.ndarray:
    """The number of the part that holds each sample out."""
    folds = np.zeros(count, dtype=np.int64)
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
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *train.targets.columns(train.classes), "split"])
        for side, data in (("train", train), ("val", val)):
            for sample in data.samples if data else ():
                cells = train.targets.cells(sample.target, train.classes)
                writer.writerow([_relative(sample.path, root), *cells, side])


def by_class(data: Dataset) -> Dataset:
    """The same pictures in groups by their class: a split then parts no class. Groups that are there already stay."""
    samples = (replace(sample, group=sample.group or str(sample.target)) for sample in data.samples)
    return replace(data, samples=tuple(samples))


def strata(data: Dataset) -> np.ndarray:
    """A small integer (n,) to stratify by, as the kind of targets says."""
    return data.targets.strata([sample.target for sample in data.samples], data.classes)


def groups(data: Dataset) -> np.ndarray:
    """A group name per sample; a sample without one is a group of its own."""
    return np.array([sample.group if sample.group is not None else f"\0{index}" for index, sample in enumerate(data.samples)])


def _relative(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path.resolve(), root)).as_posix()

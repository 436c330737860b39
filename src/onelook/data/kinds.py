"""Kinds of targets: what pictures are labelled with, and all that is known of each kind.

A kind counts its classes, says what it takes to learn from it, how it is stratified and how it is written down. ``Dataset.kind`` names one;
heads say which they learn from.

    python -c "from onelook.data.kinds import KINDS; print(list(KINDS))"
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from onelook.errors import DataError
from onelook.geometry.masks import Mask
from onelook.geometry.objects import Objects

Target = int | tuple[float, ...] | Objects | Mask
Of = TypeVar("Of")


class Kind(ABC, Generic[Of]):
    """``name``: in ``Dataset.kind``. ``noun``: what is labelled, in words. ``counted``: heads of a table of counts.

    ``named``: whether its classes can lack pictures; ``joins``: whether two data sets with other classes can be read as one. ``moves``:
    whether targets move with a view. ``exclusive``: whether two classes are needed; ``declared``: whether a class may be named without
    being shown.
    """

    name: ClassVar[str]
    noun: ClassVar[str]
    counted: ClassVar[tuple[str, str]] = ("class", "pictures")
    described: ClassVar[str] = ""
    named: ClassVar[bool] = True
    moves: ClassVar[bool] = False
    joins: ClassVar[bool] = False
    exclusive: ClassVar[bool] = False
    declared: ClassVar[bool] = False

    @abstractmethod
    def counts(self, targets: Sequence[Of], classes: Sequence[str]) -> dict[str, int]:
        """Class -> how often it is there."""

    @abstractmethod
    def refuse(self, targets: Sequence[Of], classes: Sequence[str], source: Path) -> None:
        """Raise DataError, naming the source, for targets that cannot be learned from."""

    def strata(self, targets: Sequence[Of], classes: Sequence[str]) -> np.ndarray:
        """A small integer (n,) for each picture: equal ones are one stratum. By default equal targets are."""
        return np.unique(np.array([str(target) for target in targets]), return_inverse=True)[1]

    def names(self, target: Of, classes: Sequence[str]) -> list[str]:
        """The classes that a picture shows, one entry each time."""
        return []

    def in_words(self, target: Of, classes: Sequence[str]) -> str:
        """What a picture is labelled with."""
        return " + ".join(self.names(target, classes))

    def columns(self, classes: Sequence[str]) -> list[str]:
        """Heads of the label columns of a table; none for what does not fit into one."""
        return []

    def cells(self, target: Of, classes: Sequence[str]) -> list[str]:
        """A picture's cells under them."""
        return []

    def plain(self, target: Of) -> int | tuple[float, ...]:
        """A number, or one a column, that stands for the target in a tensor; 0 for what is no number."""
        return 0

    def missing(self, counts: dict[str, int]) -> list[str]:
        """The classes that nothing will be known of, from ``counts``."""
        return [name for name, count in counts.items() if not count] if self.named else []


def _two_classes(counts: dict[str, int], source: Path, what: str) -> None:
    present = [name for name, count in counts.items() if count]
    if len(present) < 2:
        raise DataError(f"{source}: {what.format(present[0] if present else 'nothing')}")


class Single(Kind[int]):
    """One class out of several: targets are class ids."""

    name, noun = "single", "classes"
    joins = exclusive = True

    def counts(self, targets: Sequence[int], classes: Sequence[str]) -> dict[str, int]:
        counted = Counter(targets)
        return {name: counted[index] for index, name in enumerate(classes)}

    def refuse(self, targets: Sequence[int], classes: Sequence[str], source: Path) -> None:
        _two_classes(self.counts(targets, classes), source, "only one class ({}); classify needs at least two")

    def names(self, target: int, classes: Sequence[str]) -> list[str]:
        return [classes[target]]

    def columns(self, classes: Sequence[str]) -> list[str]:
        return ["label"]

    def cells(self, target: int, classes: Sequence[str]) -> list[str]:
        return [classes[target]]

    def plain(self, target: int) -> int:
        return target


class Table(Kind[tuple[float, ...]]):
    """A number a column: targets are tuples of them."""

    def refuse(self, targets: Sequence[tuple[float, ...]], classes: Sequence[str], source: Path) -> None:
        _not_all_alike(targets, source)

    def columns(self, classes: Sequence[str]) -> list[str]:
        return list(classes)

    def cells(self, target: tuple[float, ...], classes: Sequence[str]) -> list[str]:
        return [f"{value:g}" for value in target]

    def plain(self, target: tuple[float, ...]) -> tuple[float, ...]:
        return target


class Multi(Table):
    """Any number of labels: targets are zeros and ones."""

    name, noun = "multi", "classes"

    def counts(self, targets: Sequence[tuple[float, ...]], classes: Sequence[str]) -> dict[str, int]:
        return {name: int(sum(row[index] for row in targets)) for index, name in enumerate(classes)}

    def names(self, target: tuple[float, ...], classes: Sequence[str]) -> list[str]:
        return [name for name, value in zip(classes, target, strict=True) if value]


class Values(Table):
    """Numbers, one a column."""

    name, noun = "values", "numbers"
    named = False

    def counts(self, targets: Sequence[tuple[float, ...]], classes: Sequence[str]) -> dict[str, int]:
        return {name: len(targets) for name in classes}

    def strata(self, targets: Sequence[tuple[float, ...]], classes: Sequence[str]) -> np.ndarray:
        """The third in which the first value lies."""
        first = np.array([target[0] for target in targets])
        return np.searchsorted(np.quantile(first, [1 / 3, 2 / 3]), first).astype(np.int64)

    def in_words(self, target: tuple[float, ...], classes: Sequence[str]) -> str:
        return str(target)


class Boxes(Kind[Objects]):
    """Boxes with class ids: targets are ``Objects``."""

    name, noun, described = "objects", "boxes", "boxes "
    counted = ("class", "boxes")
    moves = joins = declared = True

    def counts(self, targets: Sequence[Objects], classes: Sequence[str]) -> dict[str, int]:
        found = Counter(label for objects in targets for label in objects.labels.tolist())
        return {name: found[index] for index, name in enumerate(classes)}

    def refuse(self, targets: Sequence[Objects], classes: Sequence[str], source: Path) -> None:
        _something_there(targets, source, "a box")

    def strata(self, targets: Sequence[Objects], classes: Sequence[str]) -> np.ndarray:
        """The rarest class in a picture."""
        return _rarest([set(objects.labels.tolist()) for objects in targets], self.counts(targets, classes))

    def names(self, target: Objects, classes: Sequence[str]) -> list[str]:
        return [classes[label] for label in target.labels.tolist()]

    def in_words(self, target: Objects, classes: Sequence[str]) -> str:
        counted = Counter(self.names(target, classes))
        return ", ".join(f"{count} {name}" for name, count in sorted(counted.items())) or "nothing"

    def plain(self, target: Objects) -> int:
        return len(target)


class Points(Kind[Objects]):
    """Objects with key points; the data set's classes are the points' names."""

    name, noun, described = "points", "key points", "points "
    counted = ("point", "pictures with it")
    named = False
    moves = True

    def counts(self, targets: Sequence[Objects], classes: Sequence[str]) -> dict[str, int]:
        seen = [objects.points[..., 2] > 0 for objects in targets if len(objects)]
        return {name: int(sum(int(rows[:, index].sum()) for rows in seen)) for index, name in enumerate(classes)}

    def refuse(self, targets: Sequence[Objects], classes: Sequence[str], source: Path) -> None:
        _something_there(targets, source, "a key point")

    def strata(self, targets: Sequence[Objects], classes: Sequence[str]) -> np.ndarray:
        """All in one stratum."""
        return np.zeros(len(targets), dtype=np.int64)

    def in_words(self, target: Objects, classes: Sequence[str]) -> str:
        return f"{len(target)} with points" if len(target) else "nothing"

    def plain(self, target: Objects) -> int:
        return len(target)


class Masks(Kind[Mask]):
    """A class id for every pixel: targets are ``Mask``."""

    name, noun, described = "masks", "masks", "shown in "
    counted = ("class", "pictures with it")
    moves = exclusive = declared = True

    def counts(self, targets: Sequence[Mask], classes: Sequence[str]) -> dict[str, int]:
        return {name: sum(mask.pixels[index] > 0 for mask in targets) for index, name in enumerate(classes)}

    def refuse(self, targets: Sequence[Mask], classes: Sequence[str], source: Path) -> None:
        _two_classes(self.counts(targets, classes), source, "the masks show only {}; segment needs two classes")

    def strata(self, targets: Sequence[Mask], classes: Sequence[str]) -> np.ndarray:
        """The rarest class in a picture."""
        return _rarest([{index for index, count in enumerate(mask.pixels) if count} for mask in targets], self.counts(targets, classes))

    def names(self, target: Mask, classes: Sequence[str]) -> list[str]:
        return [name for name, count in zip(classes, target.pixels, strict=True) if count]


def _rarest(shown: Sequence[set[int]], counted: dict[str, int]) -> np.ndarray:
    """For each picture, of the classes (ids) that it shows, the rarest by ``counted``; the number of classes where it shows none."""
    counts = list(counted.values())
    return np.array([min(labels, key=counts.__getitem__, default=len(counts)) for labels in shown], dtype=np.int64)


def _not_all_alike(targets: Sequence[tuple[float, ...]], source: Path) -> None:
    if len(set(targets)) < 2:
        raise DataError(f"{source}: all {len(targets)} pictures have the same labels; there is nothing to learn")


def _something_there(targets: Sequence[Objects], source: Path, what: str) -> None:
    if not any(len(objects.learnable) for objects in targets):
        raise DataError(f"{source}: none of the {len(targets)} pictures has {what} to learn from")


AnyKind = Kind[Any]
KINDS: dict[str, AnyKind] = {kind.name: kind for kind in (Single(), Multi(), Values(), Boxes(), Points(), Masks())}

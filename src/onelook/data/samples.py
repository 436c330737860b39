"""One sample, whatever the source: a picture, what is known about it, and the group that it belongs to.

python -c "from onelook import read; print(read('photos/').describe())"
"""

import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from onelook.data.kinds import KINDS, AnyKind, Target
from onelook.data.pictures import SUFFIXES
from onelook.errors import DataError
from onelook.facts import Facts
from onelook.geometry.masks import Mask
from onelook.geometry.objects import Layout, Objects

# findings that are said, but nothing is lost or wrong by them
BENIGN = frozenset({"exif-orientation", "turned-labels", "scaled-labels", "group-name"})


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with data: what kind, which file and place, why, and the other files that it concerns."""

    kind: str
    file: str
    reason: str
    others: tuple[str, ...] = ()

    def to_json(self) -> Facts:
        return asdict(self)


@dataclass(frozen=True)
class Sample:
    """One labelled picture.

    ``target``: a class id (0-based, contiguous), or one number per column: 0/1 for several labels, values for regression; or ``Objects``
    or a ``Mask``, in pixels of the upright picture.
    ``group``: pictures of one group (a patient, a solar panel) never part when a data set is split.
    ``side``: "train" or "val" where the source says so.
    """

    path: Path
    target: Target
    group: str | None = None
    side: str | None = None


@dataclass(frozen=True)
class Dataset:
    """Samples with the names that their targets refer to.

    ``kind``: of targets, a name in ``onelook.data.kinds``; of key points ``classes`` are the points' names.
    ``source``: the folder or file that it was read from; ``found``: one line saying what the reader recognised.
    ``layout``: of key points. ``findings``: what the reader left out or mended, and why.
    """

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    kind: str
    source: Path
    found: str
    layout: Layout | None = None
    findings: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def targets(self) -> AnyKind:
        """What is known of its kind of targets."""
        return KINDS[self.kind]

    def pick(self, indices: Sequence[int]) -> "Dataset":
        """The same data set with only these samples."""
        return replace(self, samples=tuple(self.samples[index] for index in indices))

    def side(self, side: str) -> "Dataset":
        """The samples that the source itself puts on ``side``."""
        return self.pick([index for index, sample in enumerate(self.samples) if sample.side == side])

    def counts(self) -> dict[str, int]:
        """Class -> how often it is there, as its kind counts."""
        return self.targets.counts([sample.target for sample in self.samples], self.classes)

    def describe(self) -> str:
        """What was read, in one line."""
        counted = Counter(finding.kind for finding in self.findings)
        kinds = ", ".join(f"{count} {kind}" for kind, count in counted.most_common())
        left = f"; findings: {kinds} (see: onelook data check)" if self.findings else ""
        counts = ", ".join(f"{name} {n}" for name, n in self.counts().items())
        return f"{self.found}: {len(self.samples)} pictures; {self.targets.described}{counts}{left}"

    def refuse_unlearnable(self) -> None:
        """Raise DataError unless there are two pictures, and what its kind of targets takes to be learned from."""
        if len(self) < 2:
            raise DataError(f"{self.source}: {len(self)} usable pictures; at least 2 are needed")
        self.targets.refuse([sample.target for sample in self.samples], self.classes, self.source)


def shared_pictures(one: Dataset, other: Dataset) -> list[Path]:
    """The pictures of ``other`` whose bytes are those of a picture of ``one``; only files of equal size are read."""
    ours, theirs = ({sample.path: sample.path.stat().st_size for sample in data.samples if sample.path.is_file()} for data in (one, other))
    sizes = set(ours.values()) & set(theirs.values())
    known = {hashlib.sha256(path.read_bytes()).digest() for path, size in ours.items() if size in sizes}
    return [path for path, size in theirs.items() if size in sizes and hashlib.sha256(path.read_bytes()).digest() in known]


def objects_of(sample: Sample) -> Objects:
    """The objects of a sample that has them."""
    assert isinstance(sample.target, Objects)
    return sample.target


def mask_of(sample: Sample) -> Mask:
    """The mask of a sample that has one."""
    assert isinstance(sample.target, Mask)
    return sample.target


def paired_names(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Indices of names that differ in left and right only: (left, right)."""
    place = {name.lower(): index for index, name in enumerate(names)}
    mirrored = {index: re.sub(r"left|(?<![a-z])l(?![a-z])", _right_of, name) for name, index in place.items()}
    return tuple((left, place[name]) for left, name in mirrored.items() if name in place and place[name] != left)


def _right_of(match: re.Match[str]) -> str:
    return "right" if match.group() == "left" else "r"


def place_picture(path: Path, folder: Path) -> Path:
    """Put a picture into a folder under its own name, with a number if another has that name, or has it but for the suffix.

    A hard link, or a copy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    placed, number = folder / path.name, 1
    while _is_taken(placed, path):
        number += 1
        placed = folder / f"{path.stem}~{number}{path.suffix}"
    if not placed.exists():
        try:
            os.link(path, placed)
        except OSError:
            shutil.copyfile(path, placed)
    return placed


def _is_taken(placed: Path, path: Path) -> bool:
    """Whether the name belongs to another picture already; its labels would be those of a file of the same stem."""
    if placed.exists():
        return not placed.samefile(path)
    others = (placed.with_suffix(suffix) for suffix in SUFFIXES if suffix != placed.suffix)
    return any(other.exists() for other in others)

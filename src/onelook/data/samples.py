"""One sample, whatever the source: a picture, what is known about it, and the group that it belongs to.

python -c "from onelook import read; print(read('photos/').describe())"
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

Target = int | tuple[float, ...]


@dataclass(frozen=True)
class Sample:
    """One labelled picture.

    ``target``: a class id (0-based, contiguous), or one number per column: 0/1 for several labels, values for regression.
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

    ``kind``: "single" (targets are class ids), "multi" (0/1 per class) or "values" (numbers per column).
    ``source``: the folder or table that it was read from; ``found``: one line saying what the reader recognised.
    """

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    kind: str
    source: Path
    found: str

    def __len__(self) -> int:
        return len(self.samples)

    def pick(self, indices: Sequence[int]) -> "Dataset":
        """The same data set with only these samples."""
        return replace(self, samples=tuple(self.samples[index] for index in indices))

    def side(self, side: str) -> "Dataset":
        """The samples that the source itself puts on ``side``."""
        return self.pick([index for index, sample in enumerate(self.samples) if sample.side == side])

    def counts(self) -> dict[str, int]:
        """Class -> number of samples (of ones, for several labels)."""
        if self.kind == "single":
            counted = Counter(sample.target for sample in self.samples)
            return {name: counted[index] for index, name in enumerate(self.classes)}
        if self.kind == "multi":
            rows = [sample.target for sample in self.samples if isinstance(sample.target, tuple)]
            return {name: int(sum(row[index] for row in rows)) for index, name in enumerate(self.classes)}
        return {name: len(self.samples) for name in self.classes}

    def describe(self) -> str:
        """What was read, in one line."""
        return f"{self.found}: {len(self.samples)} pictures; " + ", ".join(f"{name} {n}" for name, n in self.counts().items())

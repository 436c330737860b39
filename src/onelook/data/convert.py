"""Boxes and key points from one format into another, pictures included (hard links where the disk allows them).

onelook data convert VOCdevkit/VOC2007 --to yolo --out yolo/ --task detect
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onelook.data.read import read_kinds
from onelook.data.samples import BENIGN, Dataset, objects_of
from onelook.data.writers import WRITERS
from onelook.errors import DataError, DiskError
from onelook.facts import Facts


@dataclass(frozen=True)
class Converted:
    """What was read, how many labels of it, and how many of them the new files hold when they are read again."""

    data: Dataset
    labels: int
    written: int

    @property
    def whole(self) -> bool:
        """Whether every label that the source holds is there."""
        return self.written == self.labels and all(finding.kind in BENIGN for finding in self.data.findings)

    def to_json(self) -> Facts:
        findings = [finding.to_json() for finding in self.data.findings]
        return {"pictures": len(self.data), "labels": self.labels, "written": self.written, "whole": self.whole, "findings": findings}


def convert(source: Path, out: Path, form: str, *, kinds: Sequence[str] = ("objects",), split: str | None = None) -> Converted:
    """Write what ``source`` holds as ``form`` (coco, voc, yolo, csv) into the empty folder ``out``, and read it again to count.

    ``kinds``: of targets that are wanted. Raises DataError for what cannot be written so, DiskError.
    """
    if form not in WRITERS:
        raise DataError(f"--to {form}: unknown; use one of {', '.join(WRITERS)}")
    if out.resolve() == source.resolve():
        raise DataError(f"{out}: is the data itself; name a new folder")
    data = read_kinds(source, kinds, split=split)
    writer = WRITERS[form]
    if data.kind not in writer.takes:
        others = [name for name, other in WRITERS.items() if data.kind in other.takes]
        raise DataError(f"--to {form}: such files have no {data.targets.noun}; use {' or '.join(others) or 'another tool'}")
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out}: is not empty; name a new folder")
    lacking = [sample.path for sample in data.samples if not sample.path.is_file()]
    if lacking:
        raise DataError(f"{lacking[0]}: no such picture ({len(lacking)} are missing); run: onelook data check {source}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        writer.write(data, out)
    except OSError as error:
        raise DiskError(f"{out}: cannot be written ({error.strerror})") from error
    return Converted(data, _labels(data), _labels(read_kinds(out, kinds)))


def _labels(data: Dataset) -> int:
    """How many objects there are, ignored ones included."""
    return sum(len(objects_of(sample)) for sample in data.samples)

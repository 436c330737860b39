"""What is wrong with a set of labelled pictures, before anything is trained: every finding names a file and a reason.

onelook data check photos/
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from onelook.data.pictures import ahead, open_picture, read_bytes
from onelook.data.read import read_kinds
from onelook.data.samples import BENIGN, Dataset, Finding, Sample
from onelook.errors import DataError, PictureError
from onelook.facts import Facts

TINY_CLASS = 10
TINY_PICTURE = 16


@dataclass(frozen=True)
class Report:
    """What ``check`` read and found."""

    found: str
    pictures: int
    classes: dict[str, int]
    findings: tuple[Finding, ...]
    sides: dict[str, int]

    def in_words(self) -> str:
        """What was read: pictures, by side where there are sides, and labels by class."""
        sides = ", ".join(f"{count} {side}" for side, count in self.sides.items())
        counts = ", ".join(f"{name} {count}" for name, count in self.classes.items())
        return f"{self.found}: {self.pictures} pictures{f' ({sides})' if sides else ''}; {counts}"

    @property
    def clean(self) -> bool:
        """Whether nothing was found that should be mended."""
        return all(finding.kind in BENIGN for finding in self.findings)

    def to_json(self) -> Facts:
        findings = [finding.to_json() for finding in self.findings]
        return {
            "found": self.found,
            "pictures": self.pictures,
            "sides": self.sides,
            "classes": self.classes,
            "clean": self.clean,
            "findings": findings,
        }


def check(
    source: Path | str,
    *,
    kinds: Sequence[str] = ("single", "multi"),
    columns: Sequence[str] = (),
    val: Path | str | None = None,
    train_split: str | None = None,
    val_split: str | None = None,
    ignore: Sequence[str] = (),
    masks: Path | str | None = None,
) -> Report:
    """Look at every file of a data set (and of a validation set beside it) and list what is wrong.

    Kinds: unreadable, not-a-picture, heic, jxl, duplicate, two-labels, leak (in training and validation), no-labels, empty-class,
    one-class, tiny-class, missing-class (in one side only), tiny-picture, class-clash, exif-orientation.
    Of tables: no-label, no-path, unknown-side.
    Of annotations: ambiguous-picture, labelled-twice, renamed, turned-labels, scaled-labels, size-mismatch, zero-area, inverted, outside,
    not-a-number, in-pixels, duplicate-box, no-box, no-area, no-shape, turned-box, unknown-class, unknown-picture, missing-annotation,
    missing-picture, no-label-file, ambiguous-label, malformed, no-name, group-name, no-points, two-points, other-points.
    Of masks: missing-mask, missing-picture, unknown-value, size-mismatch, all-ignored.
    """
    source = Path(source)
    data = read_kinds(source, kinds, columns=columns, split=train_split, ignore=ignore, masks=masks)
    samples, read_of = list(data.samples), list(data.findings)
    if val is not None or val_split is not None:
        beside = read_kinds(val or source, kinds, columns=columns, split=val_split, ignore=ignore, masks=None if val else masks)
        if beside.classes != data.classes:
            data, samples, beside = _same_names(data, samples, beside)
        samples = [_on_side(sample, "train") for sample in samples] + [_on_side(sample, "val") for sample in beside.samples]
        read_of += [finding for finding in beside.findings if finding not in read_of]
    findings = [*read_of, *_of_classes(data, samples), *_of_pictures(samples, data)]
    order = {"unreadable": 0, "not-a-picture": 1, "leak": 2, "two-labels": 3, "duplicate": 4}
    findings.sort(key=lambda finding: (order.get(finding.kind, 9), finding.kind, finding.file))
    sides = Counter(sample.side for sample in samples if sample.side)
    counts = data.targets.counts([sample.target for sample in samples], data.classes)
    return Report(data.found, len(samples), counts, tuple(findings), dict(sides))


def _of_classes(data: Dataset, samples: list[Sample]) -> Iterator[Finding]:
    source = str(data.source)
    kind = data.targets
    if samples and not sum(kind.counts([sample.target for sample in samples], data.classes).values()):
        yield Finding("no-labels", source, f"none of {len(samples)} pictures has {kind.noun}")
    if not kind.named:
        return
    counts = dict.fromkeys(data.classes, 0)
    by_side: dict[str, set[str]] = {}
    for sample in samples:
        for name in kind.names(sample.target, data.classes):
            counts[name] += 1
            by_side.setdefault(sample.side or "all", set()).add(name)
    if kind.exclusive and sum(1 for count in counts.values() if count) < 2:
        yield Finding("one-class", source, "there is only one class with pictures; two are needed")
    for name, count in counts.items():
        if kind.declared and not count:
            yield Finding("empty-class", source, f"nothing is labelled {name}; nothing can be learned of it")
        if 0 < count < TINY_CLASS:
            yield Finding("tiny-class", source, f"class {name} has {count} {kind.counted[1]}; {TINY_CLASS} or more are wanted")
    if {"train", "val"} <= by_side.keys():
        for name in sorted(by_side["train"] ^ by_side["val"]):
            side = "training" if name in by_side["train"] else "validation"
            yield Finding("missing-class", source, f"class {name} is in {side} only")
    spelled: dict[str, str] = {}
    for name in data.classes:
        other = spelled.setdefault(re.sub(r"[\s_-]+", "", name).casefold(), name)
        if other != name:
            yield Finding("class-clash", source, f"classes {other!r} and {name!r} differ in case or spacing only")


def _of_pictures(samples: Iterable[Sample], data: Dataset) -> Iterator[Finding]:
    """Every picture decoded once: what cannot be read, and which are byte-identical."""

    def inspect(sample: Sample) -> tuple[Sample, str | None, list[Finding]]:
        try:
            content, digest = read_bytes(sample.path)
            picture = open_picture(sample.path, content=content)
        except PictureError as error:
            reason = str(error).removeprefix(f"{sample.path}: ")
            return sample, None, [Finding("unreadable", str(sample.path), reason)]
        found = []
        if min(picture.size) < TINY_PICTURE:
            found.append(Finding("tiny-picture", str(sample.path), f"is {picture.width}x{picture.height} pixels"))
        with Image.open(sample.path) as raw:
            orientation = raw.getexif().get(0x0112, 1)
        if orientation not in (0, 1):
            found.append(Finding("exif-orientation", str(sample.path), f"is stored turned (EXIF {orientation}); onelook turns it upright"))
        return sample, digest, found

    copies: dict[str, list[Sample]] = {}
    for sample, digest, found in ahead(inspect, samples):
        yield from found
        if digest is not None:
            copies.setdefault(digest, []).append(sample)
    for same in copies.values():
        if len(same) > 1:
            yield _copies(same, data)


def _copies(same: list[Sample], data: Dataset) -> Finding:
    first, *rest = same
    others = tuple(str(sample.path) for sample in rest)
    labels = [data.targets.in_words(sample.target, data.classes) for sample in same]
    if len(set(labels)) > 1:
        return Finding("two-labels", str(first.path), f"the same picture is labelled {' and '.join(dict.fromkeys(labels))}", others)
    if {"train", "val"} <= {sample.side for sample in same}:
        return Finding("leak", str(first.path), "the same picture is in training and validation", others)
    return Finding("duplicate", str(first.path), "the same picture is there more than once", others)


def _on_side(sample: Sample, side: str) -> Sample:
    return replace(sample, side=side)


def _same_names(data: Dataset, samples: list[Sample], beside: Dataset) -> tuple[Dataset, list[Sample], Dataset]:
    """Read both again under the union of their class names, so that ids mean the same."""
    if not data.targets.joins or data.kind != beside.kind:
        raise DataError(
            f"{beside.source}: its columns ({', '.join(beside.classes)}) are not those of {data.source} ({', '.join(data.classes)})"
        )
    union = tuple(sorted({*data.classes, *beside.classes}))
    data, beside = _renamed(data, union), _renamed(beside, union)
    return data, list(data.samples), beside


def _renamed(data: Dataset, names: tuple[str, ...]) -> Dataset:
    """The same samples with ids in ``names``, which has all their classes."""
    ids = [names.index(name) for name in data.classes]

    def moved(target: Any) -> Any:
        return ids[target] if isinstance(target, int) else replace(target, labels=torch.tensor(ids)[target.labels])

    return replace(data, classes=names, samples=tuple(replace(sample, target=moved(sample.target)) for sample in data.samples))

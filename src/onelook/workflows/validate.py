"""Judging heads on labelled pictures: one, or several as an ensemble, as they are or with test-time augmentation, each with its bill.

onelook val test-photos/ --model a.onelook --model b.onelook --head kind --tta flips
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onelook.data.read import read_kinds
from onelook.data.readers.table import read_text
from onelook.data.samples import Dataset
from onelook.errors import DataError, HeadError, UnreadableError
from onelook.facts import Facts
from onelook.inference.evaluate import Evaluated, merged
from onelook.metrics.intervals import Gain, paired_gain
from onelook.model import Model
from onelook.progress import QUIET, Progress


@dataclass(frozen=True)
class Validated:
    """The figures of the asked way of answering, and what it brings over plainer ways on the same pictures."""

    name: str
    task: str
    found: Evaluated
    gains: tuple[Gain, ...]

    def to_json(self) -> Facts:
        left_out = [{"path": str(refused.path), "error": refused.reason} for refused in self.found.refused]
        gains = [asdict(gain) for gain in self.gains]
        facts = {"head": self.name, "task": self.task, "n": self.found.metrics["n"], "metrics": self.found.metrics, "refused": left_out}
        return facts | {"gains": gains, "ms": self.found.ms, "seconds": {"look": self.found.seconds, "total": self.found.seconds}}


def validate(
    data: Path | str,
    models: Sequence[Model],
    name: str,
    *,
    columns: Sequence[str] = (),
    split: str | None = None,
    ignore: Sequence[str] = (),
    masks: Path | None = None,
    tta: str = "none",
    tiles: bool = False,
    progress: Progress = QUIET,
    files: Sequence[Path] = (),
) -> Validated:
    """Judge head ``name`` of one model, or the mean of several models' heads of that name.

    ``files``: where the models come from, so that pictures they have learned from are known, and said.
    Raises HeadError where the models' heads differ in task or classes, DataError for what cannot be judged on.
    """
    asked = [model.head(name) for model in models]
    task = asked[0].core.task
    for other in asked[1:]:
        if (other.core.task, other.classes) != (task, asked[0].classes):
            raise HeadError(
                f"no ensemble: head {name!r} is {task} of {', '.join(asked[0].classes)} in the first model and {other.core.task} of "
                f"{', '.join(other.classes)} in another; train them on the same classes"
            )
    dataset = labelled(data, models[0], name, columns, split, ignore, masks)
    for file in files:
        _say_if_learned(dataset, file.parent / "runs" / task / name / "split.csv", name, progress)
    plain = [model.evaluate(name, dataset, progress=progress) for model in models]
    more = tta != "none" or tiles
    wide = [model.evaluate(name, dataset, tta=tta, tiles=tiles, progress=progress) for model in models] if more else plain
    gains = []
    if more:
        asked_for = "--tiles" if tiles else f"--tta {tta}"
        what = [asked_for] if len(models) == 1 else [f"{asked_for}, model {number}" for number in range(1, len(models) + 1)]
        gains = [_gain(title, "one look", new, old) for title, new, old in zip(what, wide, plain, strict=True)]
    if len(models) == 1:
        return Validated(name, task, wide[0], tuple(gains))
    together = _together(models, name, wide, tta, tiles)
    gains += [_gain("the ensemble", f"model {number}", together, one) for number, one in enumerate(wide, start=1)]
    return Validated(name, task, together, tuple(gains))


def labelled(
    data: Path | str, model: Model, name: str, columns: Sequence[str] = (), split: str | None = None, ignore: Sequence[str] = (),
    masks: Path | None = None,
) -> Dataset:  # fmt: skip
    """Labelled pictures with the classes of head ``name``: those of ``split``, the validation side where the source makes one, or all."""
    asked = model.head(name)
    record = model.records.get(name)
    learned = record.training if record else {}
    kinds = (record.kind,) if record and record.kind else asked.core.learns_from
    columns, ignore = columns or learned.get("columns", ()), ignore or learned.get("ignore", ())
    dataset = read_kinds(
        data, kinds, columns=columns, classes=() if asked.core.by_identity else asked.classes, split=split, ignore=ignore, masks=masks
    )
    inside = dataset.side("val")
    return inside if len(inside) else dataset


def _say_if_learned(dataset: Dataset, written: Path, name: str, progress: Progress) -> None:
    """Say how many of the pictures the head has learned from, by the split that training wrote beside the model file."""
    try:
        rows = csv.DictReader(read_text(written).splitlines())
        learned = {(written.parent / row["path"]).resolve() for row in rows if row["split"] == "train"}
    except (UnreadableError, KeyError, csv.Error):
        return
    same = sum(sample.path.resolve() in learned for sample in dataset.samples)
    if same:
        progress.say(f"{same} of {len(dataset)} pictures are among those that {name} has learned from: the figures flatter")


def _together(models: Sequence[Model], name: str, parts: Sequence[Evaluated], tta: str, tiles: bool) -> Evaluated:
    """The ensemble's figures from its members' predictions of the same pictures."""
    first, head = parts[0], models[0].head(name)
    if any(part.paths != first.paths for part in parts):
        raise DataError("the models could not read the same pictures; run: onelook data check DATA")
    members: list[Iterable[Any]] = [part.predictions for part in parts]
    if head.core.large:  # not kept: asked once more, all members about one picture at a time
        members = [(one.by_head[name] for one in model.predictions(first.paths, [name], tta, tiles)) for model in models]
    return merged(head, parts, zip(*members, strict=True))


def _gain(what: str, over: str, new: Evaluated, old: Evaluated) -> Gain:
    where = {path: index for index, path in enumerate(old.paths)}
    shared = [index for index, path in enumerate(new.paths) if path in where]
    ours, theirs = new.each[shared], old.each[[where[new.paths[index]] for index in shared]]
    known = ~(ours.isnan() | theirs.isnan())
    gain, interval = paired_gain(ours[known], theirs[known])
    return Gain(what, over, int(known.sum()), gain, interval, new.ms, old.ms)

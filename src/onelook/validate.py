"""Judging heads on labelled pictures: one, or several as an ensemble, as they are or with test-time augmentation, each with its bill.

onelook val test-photos/ --model a.onelook --model b.onelook --head kind --tta flips
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from onelook.calibrate import calibration_error, reliability
from onelook.data.read import read
from onelook.data.samples import Dataset
from onelook.errors import DataError, HeadError
from onelook.measure_pixels import Shares
from onelook.model import Evaluated, Model
from onelook.progress import QUIET, Progress
from onelook.tta import Gain, paired_gain, rightness


@dataclass(frozen=True)
class Validated:
    """The figures of the asked way of answering, and what it brings over plainer ways on the same pictures."""

    head: str
    task: str
    found: Evaluated
    gains: tuple[Gain, ...]

    def to_json(self) -> dict[str, Any]:
        left_out = [{"path": str(refused.path), "error": refused.reason} for refused in self.found.refused]
        gains = [asdict(gain) for gain in self.gains]
        facts = {"head": self.head, "task": self.task, "n": self.found.metrics["n"], "metrics": self.found.metrics, "refused": left_out}
        return facts | {"gains": gains, "ms": self.found.ms, "seconds": {"look": self.found.seconds, "total": self.found.seconds}}


def validate(
    data: Path | str,
    models: Sequence[Model],
    head: str,
    *,
    columns: Sequence[str] = (),
    split: str | None = None,
    ignore: Sequence[str] = (),
    tta: str = "none",
    tiles: bool = False,
    progress: Progress = QUIET,
) -> Validated:
    """Judge head ``head`` of one model, or the mean of several models' heads of that name.

    Raises HeadError where the models' heads differ in task or classes, DataError for what cannot be judged on.
    """
    asked = [model.head(head) for model in models]
    for other in asked[1:]:
        if (other.task, other.classes) != (asked[0].task, asked[0].classes):
            raise HeadError(
                f"no ensemble: head {head!r} is {asked[0].task} of {', '.join(asked[0].classes)} in the first model and {other.task} of "
                f"{', '.join(other.classes)} in another; train them on the same classes"
            )
    dataset = labelled(data, models[0], head, columns, split, ignore)
    plain = [model.evaluate(head, dataset, progress=progress) for model in models]
    more = tta != "none" or tiles
    wide = [model.evaluate(head, dataset, tta=tta, tiles=tiles, progress=progress) for model in models] if more else plain
    gains = []
    if more:
        asked_for = "--tiles" if tiles else f"--tta {tta}"
        what = [asked_for] if len(models) == 1 else [f"{asked_for}, model {number}" for number in range(1, len(models) + 1)]
        gains = [_gain(name, "one look", new, old) for name, new, old in zip(what, wide, plain, strict=True)]
    if len(models) == 1:
        return Validated(head, asked[0].task, wide[0], tuple(gains))
    together = _together(models, head, wide, dataset, tta, tiles)
    gains += [_gain("the ensemble", f"model {number}", together, one) for number, one in enumerate(wide, start=1)]
    return Validated(head, asked[0].task, together, tuple(gains))


def labelled(
    data: Path | str, model: Model, head: str, columns: Sequence[str] = (), split: str | None = None, ignore: Sequence[str] = ()
) -> Dataset:
    """Labelled pictures with the classes of ``head``: those of ``split``, the validation side where the source makes sides, or all."""
    asked = model.head(head)
    learned = model.records[head].training if head in model.records else {}
    columns, ignore = columns or learned.get("columns", ()), ignore or learned.get("ignore", ())
    dataset = read(data, task=asked.task, columns=columns, classes=asked.classes, split=split, ignore=ignore)
    inside = dataset.side("val")
    return inside if len(inside) else dataset


def _together(models: Sequence[Model], head: str, parts: Sequence[Evaluated], data: Dataset, tta: str, tiles: bool) -> Evaluated:
    """The ensemble's figures from its members' answers to the same pictures."""
    first, asked = parts[0], models[0].head(head)
    if any(part.paths != first.paths for part in parts):
        raise DataError("the models could not read the same pictures; run: onelook data check DATA")
    judge, before = asked.judge(), None
    raw: Any
    if asked.vector:
        raw, before = (asked.merge(torch.stack([getattr(part, name) for part in parts])) for name in ("raw", "before"))
        judge.add(raw, first.targets)
        each = rightness(raw, first.targets, data.kind)
    else:
        raw, members = [], [part.raw for part in parts]
        if any(found is None for found in first.raw):  # too large to keep: asked once more, all members about one picture at a time
            members = [(one.raws[head] for one in model.ask(first.paths, [head], tta, tiles)) for model in models]
        for founds, truth in zip(zip(*members, strict=True), first.targets, strict=True):
            found = asked.merge(founds)
            judge.add([found], [truth])
            raw.append(None if isinstance(found, Shares) else found)
        each = judge.each()
    metrics = judge.result()
    if before is not None and "ece" in metrics:
        metrics["ece_before"] = calibration_error(reliability(before, first.targets))
    return Evaluated(
        metrics, first.paths, first.targets, raw, before, each, first.refused, sum(p.seconds for p in parts), sum(p.ms for p in parts)
    )


def _gain(what: str, over: str, new: Evaluated, old: Evaluated) -> Gain:
    where = {path: index for index, path in enumerate(old.paths)}
    shared = [index for index, path in enumerate(new.paths) if path in where]
    ours, theirs = new.each[shared], old.each[[where[new.paths[index]] for index in shared]]
    known = ~(ours.isnan() | theirs.isnan())
    gain, interval = paired_gain(ours[known], theirs[known])
    return Gain(what, over, int(known.sum()), gain, interval, new.ms, old.ms)

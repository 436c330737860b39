"""Judging heads on labelled pictures: one, or several as an ensemble, as they are or with test-time augmentation, each with its bill.

onelook val test-photos/ --model a.onelook --model b.onelook --head kind --tta flips
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from onelook.calibrate import calibration_error, reliability
from onelook.data.read import read
from onelook.data.samples import Dataset
from onelook.errors import DataError, HeadError
from onelook.heads import Head
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
    tta: str = "none",
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
    dataset = labelled(data, models[0], head, columns, split)
    plain = [model.evaluate(head, dataset, progress=progress) for model in models]
    wide = [model.evaluate(head, dataset, tta=tta, progress=progress) for model in models] if tta != "none" else plain
    gains = []
    if tta != "none":
        what = [f"--tta {tta}"] if len(models) == 1 else [f"--tta {tta}, model {number}" for number in range(1, len(models) + 1)]
        gains = [_gain(asked[0], name, "one look", new, old, dataset.kind) for name, new, old in zip(what, wide, plain, strict=True)]
    if len(models) == 1:
        return Validated(head, asked[0].task, wide[0], tuple(gains))
    together = _together(models[0], head, wide)
    gains += [_gain(asked[0], "the ensemble", f"model {number}", together, one, dataset.kind) for number, one in enumerate(wide, start=1)]
    return Validated(head, asked[0].task, together, tuple(gains))


def labelled(data: Path | str, model: Model, head: str, columns: Sequence[str] = (), split: str | None = None) -> Dataset:
    """Labelled pictures with the classes of ``head``: those of ``split``, the validation side where the source makes sides, or all."""
    asked = model.head(head)
    learned_from = model.records[head].training.get("columns", ()) if head in model.records else ()
    dataset = read(data, task=asked.task, columns=columns or learned_from, classes=asked.classes, split=split)
    inside = dataset.side("val")
    return inside if len(inside) else dataset


def _together(model: Model, head: str, parts: Sequence[Evaluated]) -> Evaluated:
    """The ensemble's figures from its members' answers to the same pictures."""
    first, asked = parts[0], model.head(head)
    if any(part.paths != first.paths for part in parts):
        raise DataError("the models could not read the same pictures; run: onelook data check DATA")
    if asked.vector:
        raw, before = (asked.merge(torch.stack([getattr(part, name) for part in parts])) for name in ("raw", "before"))
    else:
        raw, before = [asked.merge(founds) for founds in zip(*(part.raw for part in parts), strict=True)], None
    judge = asked.judge()
    judge.add(raw, first.targets)
    metrics = judge.result()
    if "ece" in metrics:
        metrics["ece_before"] = calibration_error(reliability(before, first.targets))
    return Evaluated(
        metrics, first.paths, first.targets, raw, before, first.refused, sum(p.seconds for p in parts), sum(p.ms for p in parts)
    )


def _gain(head: Head, what: str, over: str, new: Evaluated, old: Evaluated, kind: str) -> Gain:
    where = {path: index for index, path in enumerate(old.paths)}
    shared = [index for index, path in enumerate(new.paths) if path in where]

    def scores(found: Evaluated, indices: list[int]) -> Tensor:
        if head.vector:
            return rightness(found.raw[indices], found.targets[indices], kind)
        judge = head.judge()
        judge.add([found.raw[index] for index in indices], [found.targets[index] for index in indices])
        return cast(Tensor, judge.each())

    gain, interval = paired_gain(scores(new, shared), scores(old, [where[new.paths[index]] for index in shared]))
    return Gain(what, over, len(shared), gain, interval, new.ms, old.ms)

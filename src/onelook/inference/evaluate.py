"""Judging a head on labelled pictures: from cached looks where it reads no maps, from looks made now where it does.

evaluated = model.evaluate("kind", onelook.read("test-photos/"))
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from onelook.data.augment import RECIPES
from onelook.data.samples import Dataset, Sample
from onelook.deadline import NEVER, Deadline
from onelook.errors import DataError
from onelook.facts import Facts
from onelook.heads.base import AnyHead
from onelook.inference.predict import Prediction, chunks, predict_once
from onelook.looks.collect import collect, open_store
from onelook.looks.extractor import Extractor, Refused, look_at
from onelook.looks.features import Needs, usually_kept
from onelook.metrics.judge import AnyJudge
from onelook.progress import Progress

PLAIN = RECIPES["none"]
CHUNK = 512  # looks read at once
TIMED = 16  # pictures on which looking is timed where looks were in the cache
BEFORE = "before calibration"  # the name under which a head without its temperature is asked

PerPicture = tuple[Any, ...]  # predictions or targets, one a picture; of which type, their head knows


@dataclass(frozen=True)
class Evaluated:
    """A head's metrics on labelled pictures, and what they were computed from, picture by picture.

    ``predictions``: None for those that are too large to keep. ``judge``: has seen them all; ``before``: the same judge of the same
    pictures
    without any temperature, for heads that are calibrated. ``each``: how right each prediction is, higher is better; NaN where a picture
    has nothing to be judged by. ``plain``: predictions without a temperature, of heads that are calibrated. ``ms``: a picture that is
    looked at anew, reading its file included, by the watch. ``left``: pictures for
    which there was no time.
    """

    metrics: Facts
    paths: tuple[Path, ...]
    targets: PerPicture
    predictions: PerPicture
    judge: AnyJudge
    before: AnyJudge | None
    refused: tuple[Refused, ...]
    seconds: float
    ms: float
    left: int = 0
    plain: PerPicture = ()

    @property
    def each(self) -> torch.Tensor:
        """How right each picture is (n,)."""
        return self.judge.each()


def evaluate(
    head: AnyHead, data: Dataset, predictions: Iterable[Prediction], progress: Progress, names: tuple[str, str], deadline: Deadline = NEVER
) -> Evaluated:
    """Judge predictions, which come in the order of ``in_order(data)``, as long as there is time. Raises DataError if none can be had.

    ``names``: under which a prediction has the head's answer, and the answer without its temperature.
    """
    begun = time.perf_counter()
    samples = in_order(data, deadline)
    judge, before = head.judge(), head.judge() if head.core.calibrated else None
    seen: list[tuple[Sample, Any]] = []
    refused: list[Refused] = []
    plain: list[Any] = []
    ms, left = 0.0, 0
    with progress.task("judging", len(samples)) as advance:
        for number, (sample, found) in enumerate(zip(samples, predictions, strict=False), start=1):
            advance()
            if found.error is not None:
                refused.append(Refused(found.path, found.error))
                continue
            judge.add([found.by_head[names[0]]], [sample.target])
            if before is not None:
                before.add([found.by_head[names[1]]], [sample.target])
                plain.append(found.by_head[names[1]])
            seen.append((sample, None if head.core.large else found.by_head[names[0]]))
            ms += sum(cost for part, cost in found.ms.items() if part != names[1])
            if deadline.passed() and number < len(samples):
                left = len(samples) - number
                break
    if not seen:
        reason = refused[0].reason if refused else "no pictures"
        raise DataError(f"{data.source}: none of the {len(data)} pictures can be read ({reason})")
    metrics = judge.result()
    if before is not None and "ece" in metrics:
        metrics["ece_before"] = before.result()["ece"]
    paths = tuple(sample.path for sample, _ in seen)
    targets, kept = tuple(sample.target for sample, _ in seen), tuple(prediction for _, prediction in seen)
    return Evaluated(
        metrics, paths, targets, kept, judge, before, tuple(refused), time.perf_counter() - begun, ms / len(seen), left, tuple(plain)
    )


def in_order(data: Dataset, deadline: Deadline = NEVER) -> list[Sample]:
    """The samples with every picture once; in an order drawn at random (seeded) where the time may end before all are judged."""
    samples = list({sample.path: sample for sample in data.samples}.values())
    if deadline.seconds is None:
        return samples
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0)).tolist()
    return [samples[index] for index in order]


def from_cache(
    heads: dict[str, AnyHead], extractor: Extractor, root: Path, paths: Sequence[Path], needs: Needs, progress: Progress,
    deadline: Deadline = NEVER,
) -> Iterator[Prediction]:  # fmt: skip
    """What heads that read no maps predict of every picture, from looks in the store, which are made where they are missing.

    ``needs``: what the heads read of a look. Times are those of looking anew.
    """
    wanted = usually_kept(extractor.backbone.strides) | needs
    store = open_store(root, extractor, wanted, PLAIN, 0)
    collected = collect(extractor, store, PLAIN, paths, 1, progress, deadline)
    reasons = {refused.path: refused.reason for refused in collected.refused}
    each = seconds_anew(extractor, [path for path in paths if path in collected.digests], wanted)
    for chunk in chunks(paths, CHUNK):
        there = [path for path in chunk if path in collected.digests]
        rows = [(collected.digests[path], 0) for path in there]
        for number in {*store.check(rows, needs)}:
            path = there[rows.index(number)]
            store.append([number], next(seen.look for seen in look_at(extractor, [path], wanted) if not isinstance(seen, Refused)))
        found, cost = predict_once(heads, store.read(rows, needs)) if there else ({}, {})
        place = {path: index for index, path in enumerate(there)}
        for path in chunk:
            if path in place:
                yield Prediction(path, {name: found[name][place[path]] for name in heads}, {"look": 1000 * each, **cost})
            elif path in reasons:
                yield Prediction(path, {}, {}, reasons[path])
            else:
                return  # there was no time to look at it


def seconds_anew(extractor: Extractor, paths: Sequence[Path], needs: Needs) -> float:
    """Seconds a picture that reading and looking take anew, by the watch, on a few pictures."""
    chosen = paths[:: max(1, len(paths) // TIMED)][:TIMED]
    if not chosen:
        return 0.0
    list(look_at(extractor, chosen[:1], needs))  # the first look of a size takes longer
    begun = time.perf_counter()
    list(look_at(extractor, chosen, needs))
    return (time.perf_counter() - begun) / len(chosen)


def merged(head: AnyHead, parts: Sequence[Evaluated], predictions: Iterable[Sequence[Any]]) -> Evaluated:
    """An ensemble's figures: ``predictions`` are its members' for each picture, in the order of their evaluations ``parts``."""
    first = parts[0]
    judge, before = head.judge(), head.judge() if head.core.calibrated else None
    kept = []
    for members, target in zip(predictions, first.targets, strict=True):
        prediction = head.merge(members)
        judge.add([prediction], [target])
        kept.append(None if head.core.large else prediction)
    metrics = judge.result()
    if before is not None:
        before.add([head.merge(members) for members in zip(*(part.plain for part in parts), strict=True)], first.targets)
        metrics["ece_before"] = before.result()["ece"]
    return replace(
        first, metrics=metrics, predictions=tuple(kept), judge=judge, before=before, seconds=sum(part.seconds for part in parts),
        ms=sum(part.ms for part in parts),
    )  # fmt: skip

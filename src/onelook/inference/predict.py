"""Asking heads about pictures: looks made as pictures come, each shared by all heads that look alike, test-time views merged.

for prediction in model.predictions(paths, ["kind"], tta="flips"): ...
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch

from onelook.errors import HeadError
from onelook.heads.base import AnyHead
from onelook.looks.extractor import BATCH, Extractor, Refused, Seen, look_at
from onelook.looks.features import Look, union
from onelook.looks.tta import TtaView
from onelook.threads import chosen_threads

Item = TypeVar("Item")
GROUP = 4 * BATCH  # pictures that are in work at once

Predictions = list[Any]  # predictions, one a picture or a look; of which type, their head knows


@dataclass(frozen=True)
class Prediction:
    """What every head predicts of one picture, its test-time views merged.

    ``ms``: milliseconds by part, of a watch: "decode" (what reading the file held up), "look", and each head. ``error``: why there is none.
    ``unlike``: the heads that have learned from pictures unlike this one.
    """

    path: Path
    by_head: Mapping[str, Any]
    ms: Mapping[str, float]
    error: str | None = None
    unlike: tuple[str, ...] = ()


def predict(
    paths: Iterable[Path], heads: Mapping[str, AnyHead], extractors: Mapping[Extractor, Sequence[str]], views: Sequence[TtaView]
) -> Iterator[Prediction]:
    """What every head predicts of every picture, in order, lazily. ``extractors``: which heads share whose looks.

    Raises HeadError for answers with places in views that show a part of the picture.
    """
    if not all(view.whole for view in views) and any(head.core.placed for head in heads.values()):
        raise HeadError("--tta: what is found in crops cannot be put together again; use flips, mirrors or scales for boxes and points")
    turned = [name for name, head in heads.items() if not head.core.mirrors and any(view.across != view.down for view in views)]
    if turned:
        raise HeadError(f"--tta: of the points of {', '.join(turned)} it is not known which are left and right; use none or scales")
    large = any(head.core.large for head in heads.values())
    for group in chunks(paths, BATCH if large else GROUP):
        begun = time.perf_counter()
        pending = {path: _Pending(path) for path in group}
        with chosen_threads():
            for extractor, names in extractors.items():
                together = {name: heads[name] for name in names}
                for seen in look_at(extractor, group, union(head.reads for head in together.values()), views):
                    if isinstance(seen, Refused):
                        pending[seen.path].error = seen.reason
                        continue
                    found, cost = predict_once(together, seen.look)
                    for path, names_unlike in zip(seen.paths, unlike(together, seen.look), strict=True):
                        pending[path].unlike |= dict.fromkeys(names_unlike)
                    for index, path in enumerate(seen.paths):
                        pending[path].add(heads, views[seen.tta_view], seen, index, found, cost)
        readable = [one for one in pending.values() if one.error is None]
        watch = (time.perf_counter() - begun) * 1000
        waited = max(0.0, watch - sum(sum(one.ms.values()) for one in readable)) / max(1, len(group))
        for path in group:
            yield pending[path].merged(heads, waited)


def predict_once(heads: Mapping[str, AnyHead], look: Look) -> tuple[dict[str, Predictions], dict[str, float]]:
    """Every head's predictions from one look, one a picture, and each head's milliseconds per picture."""
    found, ms = {}, {}
    for name, head in heads.items():
        begun = time.perf_counter()
        with torch.inference_mode():
            found[name] = head.postprocess(head(look), look.placements)
        ms[name] = (time.perf_counter() - begun) * 1000 / len(look)
    return found, ms


def unlike(heads: Mapping[str, AnyHead], look: Look) -> list[tuple[str, ...]]:
    """For each picture of a look the heads that have learned from pictures unlike it."""
    marks: dict[str, list[bool]] = {}
    for name, head in heads.items():
        if head.familiar is not None and look.embedding is not None:
            marks[name] = head.familiar(look.embedding).tolist()
    return [tuple(name for name, marked in marks.items() if marked[index]) for index in range(len(look))]


class _Pending:
    """The predictions for one picture while they come in, view by view."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error: str | None = None
        self.unlike: dict[str, None] = {}
        self.found: dict[str, Predictions] = {}
        self.ms: dict[str, float] = {"look": 0.0}

    def add(
        self,
        heads: Mapping[str, AnyHead],
        view: TtaView,
        seen: Seen,
        index: int,
        found: Mapping[str, Predictions],
        cost: Mapping[str, float],
    ) -> None:
        self.ms["look"] += seen.ms
        for name, predictions in found.items():
            prediction = predictions[index]
            if view.across or view.down:
                prediction = heads[name].mirror(prediction, view.across, view.down, seen.look.placements[index].original)
            self.found.setdefault(name, []).append(prediction)
            self.ms[name] = self.ms.get(name, 0.0) + cost[name]

    def merged(self, heads: Mapping[str, AnyHead], waited: float) -> Prediction:
        if self.error is not None:
            return Prediction(self.path, {}, {}, self.error)
        by_head = {name: parts[0] if len(parts) == 1 else heads[name].merge(parts) for name, parts in self.found.items()}
        return Prediction(self.path, by_head, {"decode": waited, **self.ms}, unlike=tuple(self.unlike))


def beside(ours: Prediction, more: Prediction) -> Prediction:
    """What was predicted of one picture in two ways, by different heads."""
    if ours.error is not None or more.error is not None:
        return ours if ours.error is not None else more
    return Prediction(ours.path, {**ours.by_head, **more.by_head}, {**more.ms, **ours.ms}, unlike=(*ours.unlike, *more.unlike))


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of ``size`` items, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk

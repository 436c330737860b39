"""Asking heads about pictures: looks made as pictures come, each shared by all heads that look alike, shots averaged.

for asked in model.ask(paths, ["kind"], tta="flips"): ...
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from onelook.errors import HeadError
from onelook.heads import Head, ObjectHead
from onelook.look import Look, Placement, union
from onelook.looker import BATCH, Looker, Refused, Seen, look_at
from onelook.tta import Shot

Item = TypeVar("Item")
GROUP = 4 * BATCH  # pictures that are in work at once


@dataclass(frozen=True)
class Asked:
    """Raw answers (K,) to one picture by head, averaged over its shots, or what an ``ObjectHead`` found in it.

    ``placements``: the picture's, for each head. ``ms``: milliseconds by part.
    """

    path: Path
    raws: dict[str, Any]
    placements: dict[str, Placement]
    ms: dict[str, float]
    error: str | None = None


def ask(
    paths: Iterable[Path], heads: Mapping[str, Head], lookers: Mapping[Looker, Sequence[str]], shots: Sequence[Shot]
) -> Iterator[Asked]:
    """What every head says of every picture, in order, lazily. ``lookers``: which heads share whose looks.

    Raises HeadError for boxes or points in shots that show a part of the picture.
    """
    if not all(shot.whole for shot in shots) and not all(head.vector for head in heads.values()):
        raise HeadError("--tta: what is found in crops cannot be put together again; use flips, mirrors or scales for boxes and points")
    dense = any(head.task == "segment" for head in heads.values())
    for group in chunks(paths, BATCH if dense else GROUP):
        found = {path: _Asking(path) for path in group}
        for looker, names in lookers.items():
            together = {name: heads[name] for name in names}
            for seen in look_at(looker, group, union(head.needs for head in together.values()), shots):
                if isinstance(seen, Refused):
                    found[seen.path].error = seen.reason
                    continue
                raws, cost = ask_once(together, seen.look)
                for index, path in enumerate(seen.paths):
                    found[path].add(heads, shots[seen.shot], seen, index, raws, cost)
        for path in group:
            yield found[path].merged(heads)


def ask_once(heads: Mapping[str, Head], look: Look) -> tuple[dict[str, Any], dict[str, float]]:
    """Every head's raw answers to one look, a row a picture (or what it found in each), and each head's milliseconds per picture."""
    raws, ms = {}, {}
    for name, head in heads.items():
        begun = time.perf_counter()
        with torch.inference_mode():
            raws[name] = head(look) if head.vector else cast(ObjectHead, head).find(head(look), look.placements)
        ms[name] = (time.perf_counter() - begun) * 1000 / len(look)
    return raws, ms


class _Asking:
    """The answers to one picture while they come in, shot by shot."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error: str | None = None
        self.raws: dict[str, list[Any]] = {}
        self.placements: dict[str, Placement] = {}
        self.ms: dict[str, float] = {"look": 0.0}

    def add(self, heads: Mapping[str, Head], shot: Shot, seen: Seen, index: int, raws: dict[str, Any], cost: dict[str, float]) -> None:
        self.ms["look"] += seen.ms
        for name, raw in raws.items():
            if not heads[name].vector and (shot.across or shot.down):
                back = cast(ObjectHead, heads[name]).mirrored(raw[index], shot.across, shot.down, seen.look.placements[index].original)
                raw = {index: back}
            self.placements.setdefault(name, seen.look.placements[index])
            self.raws.setdefault(name, []).append(raw[index])
            self.ms[name] = self.ms.get(name, 0.0) + cost[name]

    def merged(self, heads: Mapping[str, Head]) -> Asked:
        if self.error is not None:
            return Asked(self.path, {}, {}, {}, self.error)
        raws = {name: _mean(heads[name], parts) for name, parts in self.raws.items()}
        return Asked(self.path, raws, self.placements, self.ms)


def beside(ours: Asked, more: Asked) -> Asked:
    """What was found in one picture in two ways, of different heads."""
    if ours.error is not None or more.error is not None:
        return ours if ours.error is not None else more
    return Asked(ours.path, ours.raws | more.raws, ours.placements | more.placements, more.ms | ours.ms)


def _mean(head: Head, raws: list[Any]) -> Any:
    """One raw answer (K,), or one set of findings, from those of every shot."""
    if len(raws) == 1:
        return raws[0]
    return head.merge(torch.stack(raws)[:, None])[0] if head.vector else head.merge(raws)


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of ``size`` items, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk

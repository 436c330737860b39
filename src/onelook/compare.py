"""What each idea of the lineage buys on one's own pictures: every method trained on the same pictures, judged by the same judge.

Ratios of the papers stand beside ours. Girshick 2015 ("Fast R-CNN", table 4, VGG16): a picture 146 times as fast as R-CNN, proposals not
counted. Ren et al. 2015 ("Faster R-CNN", table 5, VGG16): 198 ms against 1,830 ms with selective search. Redmon et al. 2016 ("You only
look once", table 1): 45 pictures a second against 7 of Faster R-CNN with VGG16.

    onelook compare dataset/ --task detect --methods fcos,faster_rcnn,fast_rcnn --budget 10m
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from onelook.data.samples import Dataset
from onelook.errors import DataError, HeadError, OnelookError
from onelook.heads import TASKS
from onelook.heads.rcnn import Rcnn
from onelook.look import Mode, Needs
from onelook.looker import Refused, look_at
from onelook.model import Evaluated, Model
from onelook.progress import QUIET, Progress

PAPERS = {  # (slower, faster): how many times as fast a picture is in the paper, and how it was counted
    ("rcnn", "fast_rcnn"): (146.0, "proposals not counted; Fast R-CNN, table 4"),
    ("fast_rcnn", "faster_rcnn"): (9.2, "proposals counted; Faster R-CNN, table 5"),
    ("faster_rcnn", "yolo"): (6.4, "YOLO, table 1"),
}
TIMED = 8  # pictures on which proposals are timed


@dataclass(frozen=True)
class Row:
    """One method's figures on the same pictures.

    ``ap50``, ``ap``: 0..1. ``minutes``: of training, looks included. ``ms``: a picture, all included; ``ms_proposals``: of it for
    selective search. ``forwards``: how often the network looks at a picture (at parts of it) on average. ``error``: why there are no
    figures.
    """

    method: str
    ap50: float | None = None
    ap50_interval: tuple[float, float] | None = None
    ap: float | None = None
    minutes: float = 0.0
    ms: float = 0.0
    ms_proposals: float = 0.0
    forwards: float = 1.0
    parameters: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Ratio:
    """How many times as fast ``faster`` is as ``slower``, here and in the paper."""

    slower: str
    faster: str
    ours: float
    paper: float
    how: str


@dataclass(frozen=True)
class Comparison:
    """All rows, and the papers' ratios beside those measured here."""

    rows: tuple[Row, ...]
    ratios: tuple[Ratio, ...]
    train: int
    val: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    train: Dataset,
    val: Dataset,
    methods: Sequence[str] = (),
    *,
    budget: float | None = None,
    backbone: str | None = None,
    size: int | None = None,
    geometry: Mode | None = None,
    seed: int = 0,
    cache: Path | None = None,
    device: str = "auto",
    progress: Progress = QUIET,
) -> Comparison:
    """Train and judge each method (default: all) on the same pictures; one that fails has its error in its row.

    ``budget``: seconds for all methods together, an equal share for each; those fitted crop by crop take what they need.
    """
    known = TASKS["detect"]
    for method in methods:
        if method not in known:
            raise HeadError(f"--methods {method}: is no way to detect; use {', '.join(known)}")
    if not len(val):
        raise DataError(f"{train.source}: nothing to judge on; give --val or --val-split")
    chosen = list(dict.fromkeys(methods or known))
    rows = []
    for method in chosen:
        progress.say(f"{method}: training")
        model = Model.new(*([backbone] if backbone else []), cache=cache, device=device)
        model.choose_geometry(method, size, geometry)
        try:
            rows.append(_row(model, method, train, val, budget / len(chosen) if budget else None, seed, progress))
        except OnelookError as error:
            rows.append(Row(method, error=str(error)))
        progress.say(f"{method}: AP50 {rows[-1].ap50}, {rows[-1].ms:.1f} ms a picture, {rows[-1].minutes:.1f} minutes")
    return Comparison(tuple(rows), tuple(_ratios(rows)), len(train), len(val))


def _row(model: Model, method: str, train: Dataset, val: Dataset, budget: float | None, seed: int, progress: Progress) -> Row:
    begun = time.perf_counter()
    model.fit(method, train, head="detect", method=method, budget=budget, hold_out=False, seed=seed, progress=progress)
    minutes = (time.perf_counter() - begun) / 60
    found: Evaluated = model.evaluate(method, val, progress=progress)
    head = model.head(method)
    parameters = sum(parameter.numel() for parameter in cast(nn.Module, head).state_dict().values())
    forwards, proposals = _forwards(model, method, val), _proposal_ms(model, method, val)
    metrics = found.metrics
    return Row(method, metrics["ap50"], tuple(metrics["ap50_interval"]), metrics["ap"], minutes, found.ms, proposals, forwards, parameters)


def _forwards(model: Model, method: str, data: Dataset) -> float:
    """How many times the network looks at a picture, or at a part of it."""
    head = model.head(method)
    if not isinstance(head, Rcnn):
        return 1.0
    counts: list[int] = []
    for seen in look_at(model.looker(model.geometry_of(method)), [sample.path for sample in data.samples[:TIMED]], head.needs):
        if not isinstance(seen, Refused):
            boxes = head.boxes_of(seen.look)
            counts += (((boxes[..., 2:] - boxes[..., :2]) > 0).all(2)).sum(1).tolist()
    return float(sum(counts)) / max(1, len(counts))


def _proposal_ms(model: Model, method: str, data: Dataset) -> float:
    """Milliseconds a picture of selective search alone, 0 for heads that do not ask for it."""
    needs = model.head(method).needs
    if not needs.regions:
        return 0.0
    looker = model.looker(model.geometry_of(method))
    seen = list(look_at(looker, [sample.path for sample in data.samples[:TIMED]], Needs(regions=needs.regions)))
    return sum(one.ms for one in seen if not isinstance(one, Refused)) / max(1, len(seen))


def _ratios(rows: Sequence[Row]) -> list[Ratio]:
    by_method = {row.method: row for row in rows if row.error is None and row.ms > 0}
    found = []
    for (slower, faster), (paper, how) in PAPERS.items():
        if slower in by_method and faster in by_method:
            counted = "not counted" not in how
            times = [by_method[name].ms - (0.0 if counted else by_method[name].ms_proposals) for name in (slower, faster)]
            found.append(Ratio(slower, faster, times[0] / max(times[1], 1e-9), paper, how))
    return found

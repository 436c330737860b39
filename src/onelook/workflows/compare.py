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

from onelook.data.samples import Dataset
from onelook.deadline import NEVER, Deadline
from onelook.errors import DataError, HeadError, OnelookError
from onelook.facts import Facts
from onelook.geometry.placement import Mode
from onelook.heads import HEADS, methods_of
from onelook.looks.extractor import Refused, look_at
from onelook.looks.features import Needs
from onelook.metrics.judge import Table
from onelook.model import Model
from onelook.progress import QUIET, Progress
from onelook.report.figures import time_plot
from onelook.report.page import Section, write_page

PAPERS = {  # (slower, faster): how many times as fast a picture is in the paper, and how it was counted
    ("rcnn", "fast_rcnn"): (146.0, "proposals not counted; Fast R-CNN, table 4"),
    ("fast_rcnn", "faster_rcnn"): (9.2, "proposals counted; Faster R-CNN, table 5"),
    ("faster_rcnn", "yolo"): (6.4, "YOLO, table 1"),
}
TIMED = 8  # pictures on which proposals are timed
JUDGING_SHARE = 0.15  # of a method's time that is kept for judging


@dataclass(frozen=True)
class Row:
    """One method's figures on the same pictures.

    ``ap50``, ``ap``: 0..1. ``minutes``: of training, looks included. ``ms``: milliseconds of one picture by the watch, reading its file,
    looking, head and all; ``ms_proposals``: of it for selective search alone. ``forwards``: how often the network looks at a picture (at
    parts of it) on average. ``error``: why there are no
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

    def to_json(self) -> Facts:
        return asdict(self)


def compare(
    train: Dataset,
    val: Dataset,
    methods: Sequence[str] = (),
    *,
    task: str = "detect",
    budget: float | None = None,
    begun: float | None = None,
    backbone: str | None = None,
    size: int | None = None,
    geometry: Mode | None = None,
    seed: int = 0,
    cache: Path | None = None,
    device: str = "auto",
    progress: Progress = QUIET,
) -> Comparison:
    """Train and judge each method of a task (default: all) on the same pictures; one that fails has its error in its row.

    ``budget``: seconds for all methods together, judging included, counted from ``begun`` on: what one leaves goes to the others.
    """
    known = methods_of(task)
    for method in methods:
        if method not in known:
            raise HeadError(f"--methods {method}: is no way to {task}; use {', '.join(known)}")
    if not len(val):
        raise DataError(f"{train.source}: nothing to judge on; give --val or --val-split")
    chosen, deadline = list(dict.fromkeys(methods or known)), Deadline(budget, begun)
    rows: list[Row] = []
    for number, method in enumerate(chosen):
        progress.say(f"{method}: training")
        model = Model.new(*([backbone] if backbone else []), cache=cache, device=device)
        model.choose_geometry(method, size, geometry)
        try:
            share = deadline.within(deadline.left() / (len(chosen) - number)) if budget else NEVER
            rows.append(_row(model, method, train, val, share, seed, progress))
        except OnelookError as error:
            rows.append(Row(method, error=str(error)))
        progress.say(f"{method}: AP50 {rows[-1].ap50}, {rows[-1].ms:.1f} ms a picture, {rows[-1].minutes:.1f} minutes")
    return Comparison(tuple(rows), tuple(_ratios(rows)), len(train), len(val))


def _row(model: Model, method: str, train: Dataset, val: Dataset, deadline: Deadline, seed: int, progress: Progress) -> Row:
    begun = time.perf_counter()
    fitting = deadline.earlier(JUDGING_SHARE * deadline.left()) if deadline.seconds is not None else deadline
    model.fit(method, train, head=HEADS[method], budget=deadline.seconds, deadline=fitting, hold_out=False, seed=seed, progress=progress)
    minutes = (time.perf_counter() - begun) / 60
    found = model.evaluate(method, val, progress=progress, deadline=deadline)
    parameters = sum(parameter.numel() for parameter in model.head(method).state_dict().values())
    forwards, proposals = _forwards(model, method, val), _proposal_ms(model, method, val)
    metrics = found.metrics
    low, high = metrics["ap50_interval"]
    return Row(method, metrics["ap50"], (low, high), metrics["ap"], minutes, found.ms, proposals, forwards, parameters)


def _forwards(model: Model, method: str, data: Dataset) -> float:
    """How many times the network looks at a picture, or at a part of it."""
    head = model.head(method)
    if not head.core.crops:
        return 1.0
    counts: list[int] = []
    for seen in look_at(model.extractor(model.geometry_of(method)), [sample.path for sample in data.samples[:TIMED]], head.needs):
        if not isinstance(seen, Refused):
            counts += head.looks_at(seen.look)
    return float(sum(counts)) / max(1, len(counts))


def _proposal_ms(model: Model, method: str, data: Dataset) -> float:
    """Milliseconds a picture of selective search alone, 0 for heads that do not ask for it."""
    needs = model.head(method).needs
    if not needs.regions:
        return 0.0
    extractor = model.extractor(model.geometry_of(method))
    seen = list(look_at(extractor, [sample.path for sample in data.samples[:TIMED]], Needs(regions=needs.regions)))
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


def write_comparison(folder: Path, found: Comparison, source: Path) -> Path:
    """The page of a comparison: every method's figures, accuracy against time, the papers' ratios beside ours."""
    done = [row for row in found.rows if row.error is None]
    best = max(done, key=lambda row: row.ap50 or 0.0, default=None)
    lead = f"{len(done)} methods learned from {found.train} pictures of {source}, judged on {found.val} others."
    rows = tuple(
        (
            row.method, f"{row.ap50 or 0:.3f}", _interval(row.ap50_interval), f"{row.ap or 0:.3f}", f"{row.minutes:.1f}",
            f"{row.ms:.1f}", f"{row.ms - row.ms_proposals:.1f}", f"{row.forwards:.0f}", f"{row.parameters:,}",
        )
        for row in done
    )  # fmt: skip
    header = ("method", "AP50", "95 % interval", "AP", "minutes", "ms a picture", "without proposals", "forwards", "parameters")
    plot = time_plot([(row.method, row.ms, row.ap50 or 0.0) for row in done]) if done else ""
    sections = [Section("Accuracy against time", svg=plot, table=Table("", header, rows, chosen=done.index(best) if best else -1))]
    if found.ratios:
        ratios = tuple((f"{r.faster} against {r.slower}", f"{r.ours:.1f}", f"{r.paper:g}", r.how) for r in found.ratios)
        sections.append(Section("How many times as fast", table=Table("", ("what", "here", "in the paper", "how it was counted"), ratios)))
    failed = [row for row in found.rows if row.error is not None]
    if failed:
        sections.append(Section("Not trained", table=Table("", ("method", "why"), tuple((row.method, row.error or "") for row in failed))))
    return write_page(folder, "Which detector for these pictures?", lead, sections)


def _interval(interval: tuple[float, float] | None) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""

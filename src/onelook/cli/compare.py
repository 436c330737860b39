"""``onelook compare``: the lineage of detectors on one's own pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onelook.cli.options import (
    Device,
    DeviceOption,
    Json,
    Quiet,
    Report,
    Seed,
    Started,
    TrainSplit,
    ValSplit,
    duration,
    emit,
    names,
    progress,
    say,
    table,
)

if TYPE_CHECKING:
    from onelook.workflows.compare import Row


def compare(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A COCO, YOLO or VOC set, or a CSV of boxes.")],
    task: Annotated[str, typer.Option(help="Only detect has several methods to compare yet.")] = "detect",
    methods: Annotated[str | None, typer.Option(metavar="A,B", help="Which methods (default: all).")] = None,
    val: Annotated[str | None, typer.Option(metavar="DIR|SHARE", help="Pictures to judge on: a folder, or a share.")] = None,
    train_split: TrainSplit = None,
    val_split: ValSplit = None,
    budget: Annotated[str | None, typer.Option(metavar="10m", help="Time for all methods together.")] = None,
    backbone: Annotated[str | None, typer.Option(metavar="NAME", help="Any timm CNN.")] = None,
    size: Annotated[int | None, typer.Option(help="Input size in pixels.")] = None,
    seed: Seed = 0,
    device: DeviceOption = Device.auto,
    report: Report = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and judge several detection methods on the same pictures: what does each idea buy?

    Example: onelook compare dataset/ --task detect --methods fcos,faster_rcnn,fast_rcnn --budget 10m
    """
    from onelook.errors import HeadError
    from onelook.heads import find_head
    from onelook.heads.box_head import BoxHead
    from onelook.workflows.compare import compare as run
    from onelook.workflows.data import read
    from onelook.workflows.train import divide

    head = find_head(task)
    if not issubclass(head, BoxHead):
        raise HeadError(f"--task {task}: only detect has methods to compare")
    everything = read(data, task=task, split=train_split)
    inside = read(data, task=task, split=val_split, classes=everything.classes) if val_split else None
    sides = divide(everything, inside or val or (None if everything.side("val") else "0.25"), seed=seed)
    assert sides.val is not None
    found = run(
        sides.train, sides.val, names(methods), task=task, budget=duration(budget), begun=Started.at, backbone=backbone,
        size=size or head.input_size(sides.train),
        seed=seed, device=device.value, progress=progress(quiet),
    )  # fmt: skip
    if report:
        from onelook.workflows.compare import write_comparison

        write_comparison(report, found, data)
    if json:
        emit(found.to_json())
        return
    table(["method", "AP50", "AP", "minutes", "ms a picture", "without proposals", "forwards", "parameters"], _rows(found.rows))
    for row in found.rows:
        if row.error is not None:
            say(f"{row.method}: {row.error}")
    for ratio in found.ratios:
        say(f"{ratio.faster} is {ratio.ours:.1f} times as fast as {ratio.slower}; in the paper {ratio.paper:g} times ({ratio.how})")
    if report:
        say(f"report: {report / 'index.html'}")


def _rows(rows: Sequence["Row"]) -> list[list[str]]:
    """What the table shows of every method that was trained."""
    from onelook.metrics.judge import percent

    shown = []
    for row in rows:
        if row.error is None:
            times = [f"{row.minutes:.1f}", f"{row.ms:.1f}", f"{row.ms - row.ms_proposals:.1f}"]
            shown.append([row.method, percent(row.ap50), percent(row.ap), *times, f"{row.forwards:.0f}", f"{row.parameters:,}"])
    return shown

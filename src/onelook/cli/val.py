"""``onelook val``: a head, or an ensemble of heads, judged on labelled pictures."""

from pathlib import Path
from typing import Annotated

import typer

from onelook.cli.options import (
    Columns,
    Device,
    DeviceOption,
    Ignore,
    Json,
    MasksDir,
    Quiet,
    Report,
    Tiles,
    Tta,
    TtaName,
    Weights,
    emit,
    names,
    progress,
    say,
    table,
)

MOST_COLUMNS = 22  # of a table on a terminal


def val(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labelled pictures that the head has not seen.")],
    model: Annotated[list[Path], typer.Option("--model", metavar="FILE", help="The .onelook file; several are an ensemble.")],
    head: Annotated[str, typer.Option(help="Which head to judge.")],
    split: Annotated[str | None, typer.Option(metavar="NAME|FILE.csv", help="Which part of DATA (default: its validation side).")] = None,
    columns: Columns = None,
    ignore: Ignore = None,
    masks: MasksDir = None,
    tta: Tta = TtaName.none,
    tiles: Tiles = False,
    weights: Weights = None,
    device: DeviceOption = Device.auto,
    report: Report = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge a head on labelled pictures: the figures of its task with their intervals, class by class.

    Example: onelook val test-photos/ --model mine.onelook --head kind --tta flips
    """
    from onelook.model import Model
    from onelook.workflows.validate import validate

    models = [Model.load(file, weights=weights, device=device.value) for file in model]
    judged = validate(
        data, models, head, columns=names(columns), split=split, ignore=names(ignore), masks=masks, tta=tta.value, tiles=tiles,
        progress=progress(quiet), files=model,
    )  # fmt: skip
    metrics, judge = judged.found.metrics, judged.found.judge
    if json:
        emit(judged.to_json())
    else:
        say(f"{head}: {judge.in_words(metrics)}; {judged.found.ms:.1f} ms a picture")
        if "ece_before" in metrics:
            say(f"calibration error {metrics['ece']:.3f} ({metrics['ece_before']:.3f} before the temperature)")
        if judged.gains:
            rows = [
                [g.what, g.over, f"{g.gain:+.4f}", f"{g.interval[0]:+.4f} to {g.interval[1]:+.4f}", f"{g.ms:.1f}"] for g in judged.gains
            ]
            table(["what", "over", "gain", "95 % interval", "ms a picture"], rows)
        for refused in judged.found.refused:
            say(f"left out: {refused.reason}")
        for found in judge.tables(metrics):
            if len(found.header) <= MOST_COLUMNS:
                table(found.header, found.rows, found.title)
            if found.note:
                say(found.note)
    if report:  # last: the figures are there even if the page cannot be written
        from onelook.report import write_validation

        write_validation(report, models[0], head, data, judged.found, judged.gains, model[0])
        if not json:
            say(f"report: {report / 'index.html'}")

"""``onelook train`` and ``onelook retrain``."""

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
    ModeName,
    Quiet,
    RecipeName,
    Report,
    Seed,
    Started,
    TrainSplit,
    ValSplit,
    Weights,
    duration,
    emit,
    names,
    progress,
    say,
    table,
)
from onelook.facts import Facts

DATA, MODEL, DEPTH = "Pictures", "Model", "How deep and how long"  # panels
BACKBONE = "Any timm CNN, alexnet, googlenet; efficientnet_lite2 is worth a try on large photographs, not on small or technical pictures."


def train(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Class folders, a CSV, pictures with masks, or a COCO, YOLO or VOC set.")],
    name: Annotated[str | None, typer.Option(help="The new head's name (default: its task).", rich_help_panel=MODEL)] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The .onelook file, made if absent (default: the data's name here).", rich_help_panel=MODEL),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="TASK", help="What the head answers (default: read off the data).", rich_help_panel=MODEL),
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", metavar="METHOD", help="How it is done (default: what measured best).", rich_help_panel=MODEL)
    ] = None,
    val: Annotated[
        str | None,
        typer.Option(metavar="DIR|SHARE", help="Pictures that only report: a folder, a table, or a share.", rich_help_panel=DATA),
    ] = None,
    train_split: TrainSplit = None,
    val_split: ValSplit = None,
    columns: Columns = None,
    ignore: Ignore = None,
    masks: MasksDir = None,
    group: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Pictures with one value here are never parted.", rich_help_panel=DATA)
    ] = None,
    backbone: Annotated[str | None, typer.Option(metavar="NAME", help=BACKBONE, rich_help_panel=MODEL)] = None,
    weights: Weights = None,
    freeze: Annotated[
        str, typer.Option(metavar="auto|all|none|K|STAGE", help="What stays frozen (auto: measured).", rich_help_panel=DEPTH)
    ] = "auto",
    budget: Annotated[
        str | None,
        typer.Option(metavar="90s|10m", help="Time for all of it (default: 90s where depth is measured).", rich_help_panel=DEPTH),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of what is trained by descent (default: by the number of pictures).", rich_help_panel=DEPTH)
    ] = None,
    views: Annotated[
        int | None, typer.Option(help="Versions of each picture to learn from (2: itself and its mirror).", rich_help_panel=DEPTH)
    ] = None,
    augment: Annotated[
        RecipeName | None, typer.Option(help="How views are made (default: what suits the method).", rich_help_panel=DEPTH)
    ] = None,
    size: Annotated[int | None, typer.Option(help="Input size in pixels (default: what suits the task).", rich_help_panel=MODEL)] = None,
    geometry: Annotated[ModeName | None, typer.Option(help="How pictures are brought to the input.", rich_help_panel=MODEL)] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Train a head of this name anew if there is one.", rich_help_panel=MODEL)
    ] = False,
    seed: Seed = 0,
    device: DeviceOption = Device.auto,
    report: Report = None,
    tensorboard: Annotated[Path | None, typer.Option(metavar="DIR", help="Write scalars and sheets for TensorBoard.")] = None,
    json: Json = False,
    quiet: Quiet = False,
    **options: object,
) -> None:
    """Train a head from labelled pictures and put it into a model file.

    Example: onelook train photos/ --val 0.25
    """
    from onelook.workflows.train import train as run

    result = run(
        data, name=name, model_path=model, task=task, method=method, val=val, train_split=train_split, val_split=val_split,
        columns=names(columns), ignore=names(ignore), masks=masks, group=group, backbone=backbone, weights=weights, freeze=freeze,
        budget=duration(budget), epochs=epochs, views=views, augment=augment.value if augment else None, size=size,
        geometry=geometry.value if geometry else None, replace=replace, seed=seed, device=device.value, report=report,
        tensorboard=tensorboard, begun=Started.at, progress=progress(quiet), **options,
    )  # fmt: skip
    if json:
        emit(result)
    else:
        _say_trained(result)
        if report:
            say(f"report: {report / 'index.html'}")
        say(f"try: onelook predict PICTURE --model {result['model']}")
    if result["interrupted"]:
        raise typer.Exit(130)


def retrain(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The .onelook file.")],
    size: Annotated[int, typer.Option(help="The new input size in pixels.")],
    weights: Weights = None,
    device: DeviceOption = Device.auto,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train every head again at another input size, from the pictures that the file remembers.

    Example: onelook retrain mine.onelook --size 320
    """
    from onelook.workflows.retrain import retrain as run

    results = run(file, size=size, weights=weights, device=device.value, progress=progress(quiet))
    if json:
        emit(results)
        return
    for result in results:
        _say_trained(result)


def _say_trained(result: Facts) -> None:
    images, seconds, metrics = result["images"], result["seconds"], result["metrics"]
    if result["search"]:
        _say_search(result["search"])
    said = result["said"]
    say(f"{result['head']}: {said} ({metrics['on']})")
    say(
        f"trained on {images['train']} pictures in {seconds['total']:.1f} s ({seconds['look']:.1f} s looking, "
        f"{seconds['fit']:.1f} s choosing and fitting); saved in {result['model']}"
    )
    if result["cut_short"]:
        say(f"cut short by the budget: {', '.join(result['cut_short'])}")
    if images["refused"]:
        say(f"{images['refused']} pictures could not be read and were left out (see: onelook data check)")


def _say_search(search: Facts) -> None:
    """The evidence: what every trial got, cost and was expected to cost, and why one was chosen."""
    rows = []
    for trial in search["evidence"]:
        scores = [""] * 4
        if trial["metric"] is not None:
            low, high = trial["interval"]
            scores = [f"{trial['metric']:.3f}", f"{low:.3f} to {high:.3f}", str(trial["n"]), f"{trial['loss']:.3f}"]
        costs = [f"{trial['seconds']:.1f}", f"{trial['forecast']:.1f}", f"{trial['bytes'] / 1e6:.1f}"]
        rows.append([trial["trial"], *scores, *costs, trial["remark"]])
    table(["trial", "held out", "95 % interval", "n", "loss", "seconds", "forecast", "MB", ""], rows)
    say(search["why"])
    say(f"planned {search['forecast_seconds']:.0f} s, took {search['seconds']:.0f} s")

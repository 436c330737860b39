"""``onelook train``, ``onelook val`` and ``onelook retrain``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from onelook.cli.options import (
    AttachName,
    Columns,
    Device,
    DeviceOption,
    FormName,
    Ignore,
    Json,
    LossName,
    MethodName,
    ModelFile,
    ModeName,
    Quiet,
    RecipeName,
    Report,
    Seed,
    TaskName,
    Tiles,
    TrainSplit,
    Tta,
    TtaName,
    ValSplit,
    Weights,
    duration,
    emit,
    headline,
    names,
    percent,
    progress,
    say,
    table,
)


def train(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Class folders, a CSV, pictures with masks, or a COCO, YOLO or VOC set.")],
    name: Annotated[str, typer.Option(help="The new head's name.")],
    model: ModelFile,
    task: Annotated[TaskName, typer.Option(help="What the head answers.")] = TaskName.classify,
    val: Annotated[str | None, typer.Option(metavar="DIR|SHARE", help="Pictures that only report: a folder, a table, or a share.")] = None,
    method: Annotated[MethodName, typer.Option(help="How it is done (auto: what measured best).")] = MethodName.auto,
    attach: Annotated[AttachName, typer.Option(help="What a head of one box or of key points reads.")] = AttachName.conv,
    train_split: TrainSplit = None,
    val_split: ValSplit = None,
    columns: Columns = None,
    ignore: Ignore = None,
    group: Annotated[str | None, typer.Option(metavar="COLUMN", help="Pictures with one value here are never parted.")] = None,
    backbone: Annotated[str | None, typer.Option(metavar="NAME", help="Any timm CNN, alexnet or googlenet.")] = None,
    weights: Weights = None,
    freeze: Annotated[str, typer.Option(metavar="auto|all|none|K|STAGE", help="What stays frozen (auto: measured).")] = "auto",
    budget: Annotated[str | None, typer.Option(metavar="90s|10m", help="Time for --freeze auto, or for a tail (default: 90s).")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of a tail (default: by the number of pictures).")] = None,
    form: Annotated[FormName, typer.Option(help="What stands behind the readout of a frozen head.")] = FormName.radial,
    views: Annotated[int | None, typer.Option(help="Versions of each picture to learn from (2: itself and its mirror).")] = None,
    augment: Annotated[
        RecipeName | None, typer.Option(help="How views are made (default: light; pixels: photo; from scratch: signs).")
    ] = None,
    balance: Annotated[bool, typer.Option("--balance", help="Let every class count the same, however many pictures it has.")] = False,
    loss: Annotated[LossName, typer.Option(help="Of pixels: ce, with Dice beside it, or focal.")] = LossName.ce,
    borders: Annotated[bool, typer.Option("--borders", help="Let gaps between touching objects weigh more.")] = False,
    width: Annotated[int, typer.Option(min=4, max=64, help="Channels of the first maps of unet2015 (64 in the paper).")] = 16,
    size: Annotated[int | None, typer.Option(help="Input size in pixels (default: the backbone's own).")] = None,
    geometry: Annotated[ModeName | None, typer.Option(help="How pictures are brought to the input.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Train a head of this name anew if there is one.")] = False,
    seed: Seed = 0,
    device: DeviceOption = Device.auto,
    report: Report = None,
    tensorboard: Annotated[Path | None, typer.Option(metavar="DIR", help="Write scalars and sheets for TensorBoard.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a head from labelled pictures and put it into a model file.

    Example: onelook train photos/ --task classify --name kind --model mine.onelook --val 0.25
    """
    from onelook.train import train as run

    result = run(
        data, name=name, model_path=model, task=task.value, method=method.value, attach=attach.value, val=val, train_split=train_split,
        val_split=val_split, columns=names(columns), ignore=names(ignore), group=group,
        backbone=backbone, weights=weights, freeze=freeze, budget=duration(budget), epochs=epochs, form=form.value, views=views,
        augment=augment.value if augment else None, balance=balance, loss=loss.value, borders=borders, width=width, size=size,
        geometry=geometry.value if geometry else None, replace=replace, seed=seed, device=device.value, report=report,
        tensorboard=tensorboard, progress=progress(quiet),
    )  # fmt: skip
    if json:
        emit(result)
    else:
        _say_trained(result)
        if report:
            say(f"report: {report / 'index.html'}")
        say(f"try: onelook predict PICTURE --model {model}")
    if result["interrupted"]:
        raise typer.Exit(130)


def val(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labelled pictures that the head has not seen.")],
    model: Annotated[list[Path], typer.Option("--model", metavar="FILE", help="The .onelook file; several are an ensemble.")],
    head: Annotated[str, typer.Option(help="Which head to judge.")],
    split: Annotated[str | None, typer.Option(metavar="NAME|FILE.csv", help="Which part of DATA (default: its validation side).")] = None,
    columns: Columns = None,
    ignore: Ignore = None,
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
    from onelook.validate import validate

    models = [Model.load(file, weights=weights, device=device.value) for file in model]
    judged = validate(
        data, models, head, columns=names(columns), split=split, ignore=names(ignore), tta=tta.value, tiles=tiles, progress=progress(quiet)
    )
    if report:
        from onelook.report import write_validation

        write_validation(report, models[0], head, data, judged.found, judged.gains, model[0])
    if json:
        emit(judged.to_json())
        return
    metrics = judged.found.metrics
    say(f"{head}: {headline(metrics)}; {judged.found.ms:.1f} ms a picture")
    if "ece" in metrics:
        say(f"calibration error {metrics['ece']:.3f} ({metrics['ece_before']:.3f} before the temperature)")
    if judged.gains:
        rows = [[g.what, g.over, f"{g.gain:+.4f}", f"{g.interval[0]:+.4f} to {g.interval[1]:+.4f}", f"{g.ms:.1f}"] for g in judged.gains]
        table(["what", "over", "gain", "95 % interval", "ms a picture"], rows)
    for refused in judged.found.refused:
        say(f"left out: {refused.reason}")
    if "confusion" in metrics:
        _say_confusion(metrics)
    if "miou" in metrics:
        rows = [[name, percent(one["iou"]), percent(one["dice"]), percent(one["share"])] for name, one in metrics["per_class"].items()]
        table(["class", "IoU", "Dice", "of the pixels"], rows)
        rand = f", Rand {metrics['foreground_rand']:.3f}" if "foreground_rand" in metrics else ""
        say(f"boundary F1 {metrics['boundary_f1'] or 0:.3f}{rand}; {metrics['ignored']}")
    elif "per_class" in metrics:
        table(["class", "AP50", "AP"], [[name, percent(one["ap50"]), percent(one["ap"])] for name, one in metrics["per_class"].items()])
    if report:
        say(f"report: {report / 'index.html'}")


def retrain(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The .onelook file.")],
    size: Annotated[int, typer.Option(help="The new input size in pixels.")],
    device: DeviceOption = Device.auto,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train every head again at another input size, from the pictures that the file remembers.

    Example: onelook retrain mine.onelook --size 320
    """
    from onelook.train import retrain as run

    results = run(file, size=size, device=device.value, progress=progress(quiet))
    if json:
        emit(results)
        return
    for result in results:
        _say_trained(result)


def _say_trained(result: dict[str, Any]) -> None:
    images, seconds = result["images"], result["seconds"]
    if result["ladder"]:
        _say_ladder(result["ladder"])
    say(f"{result['head']}: {headline(result['metrics'])} ({result['metrics']['on']})")
    say(
        f"trained on {images['train']} pictures in {seconds['total']:.1f} s ({seconds['look']:.1f} s looking, "
        f"{seconds['fit']:.1f} s choosing and fitting); saved in {result['model']}"
    )
    if images["refused"]:
        say(f"{images['refused']} pictures could not be read and were left out (see: onelook data check)")


def _say_ladder(ladder: dict[str, Any]) -> None:
    """The evidence: what every rung got, cost and was expected to cost, and why one was chosen."""
    rows = []
    for rung in ladder["evidence"]:
        scores = [""] * 4
        if rung["metric"] is not None:
            low, high = rung["interval"]
            scores = [f"{rung['metric']:.3f}", f"{low:.3f} to {high:.3f}", str(rung["n"]), f"{rung['loss']:.3f}"]
        costs = [f"{rung['seconds']:.1f}", f"{rung['forecast']:.1f}", f"{rung['bytes'] / 1e6:.1f}"]
        rows.append([rung["rung"], *scores, *costs, rung["remark"]])
    table(["rung", "held out", "95 % interval", "n", "loss", "seconds", "forecast", "MB", ""], rows)
    say(ladder["why"])
    say(f"planned {ladder['forecast_seconds']:.0f} s, took {ladder['seconds']:.0f} s")


def _say_confusion(metrics: dict[str, Any]) -> None:
    matrix = metrics["confusion"]
    classes = matrix["classes"]
    rows = [
        [name, *map(str, row), percent(metrics["recall"].get(name, 0.0))]
        for name, row in zip(classes, matrix["rows_truth"], strict=True)
        if sum(row)
    ]
    if len(classes) <= 20:
        table(["truth \\ answer", *classes, "right"], rows)

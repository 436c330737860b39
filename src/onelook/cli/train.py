"""``onelook train``, ``onelook val`` and ``onelook retrain``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from onelook.cli.options import (
    Columns,
    Device,
    DeviceOption,
    FormName,
    Json,
    ModelFile,
    ModeName,
    Quiet,
    Seed,
    TaskName,
    Weights,
    emit,
    headline,
    names,
    percent,
    progress,
    say,
    table,
)


def train(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Class folders, or a CSV with a path column.")],
    name: Annotated[str, typer.Option(help="The new head's name.")],
    model: ModelFile,
    task: Annotated[TaskName, typer.Option(help="What the head answers.")] = TaskName.classify,
    val: Annotated[str | None, typer.Option(metavar="DIR|SHARE", help="Pictures that only report: a folder, a table, or a share.")] = None,
    columns: Columns = None,
    group: Annotated[str | None, typer.Option(metavar="COLUMN", help="Pictures with one value here are never parted.")] = None,
    backbone: Annotated[str | None, typer.Option(metavar="NAME", help="Any timm CNN, alexnet or googlenet.")] = None,
    weights: Weights = None,
    form: Annotated[FormName, typer.Option(help="What stands behind the readout.")] = FormName.radial,
    views: Annotated[int, typer.Option(help="Versions of each picture to learn from (2: itself and its mirror).")] = 2,
    balance: Annotated[bool, typer.Option("--balance", help="Let every class count the same, however many pictures it has.")] = False,
    size: Annotated[int | None, typer.Option(help="Input size in pixels (default: the backbone's own).")] = None,
    geometry: Annotated[ModeName | None, typer.Option(help="How pictures are brought to the input.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Train a head of this name anew if there is one.")] = False,
    seed: Seed = 0,
    device: DeviceOption = Device.auto,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a head from labelled pictures and put it into a model file.

    Example: onelook train photos/ --task classify --name kind --model mine.onelook --val 0.25
    """
    from onelook.train import train as run

    result = run(
        data, name=name, model_path=model, task=task.value, val=val, columns=names(columns), group=group,
        backbone=backbone, weights=weights, form=form.value, views=views, balance=balance, size=size,
        geometry=geometry.value if geometry else None, replace=replace, seed=seed, device=device.value, progress=progress(quiet),
    )  # fmt: skip
    if json:
        emit(result)
        return
    _say_trained(result)
    say(f"try: onelook predict PICTURE --model {model}")


def val(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labelled pictures that the head has not seen.")],
    model: ModelFile,
    head: Annotated[str, typer.Option(help="Which head to judge.")],
    columns: Columns = None,
    weights: Weights = None,
    device: DeviceOption = Device.auto,
    json: Json = False,
) -> None:
    """Judge a head on labelled pictures: accuracy with its interval, F1, confusion matrix.

    Example: onelook val test-photos/ --model mine.onelook --head kind
    """
    from onelook.data.read import read
    from onelook.model import Model

    loaded = Model.load(model, weights=weights, device=device.value)
    asked = loaded.head(head)
    learned_from = loaded.records[head].training.get("columns", ()) if head in loaded.records else ()
    dataset = read(data, task=asked.task, columns=names(columns) or learned_from, classes=asked.classes)
    inside = dataset.side("val")
    found = loaded.evaluate(head, inside if len(inside) else dataset)
    if json:
        left_out = [{"path": str(refused.path), "error": refused.reason} for refused in found.refused]
        result = {"head": head, "task": asked.task, "n": found.metrics["n"], "metrics": found.metrics, "refused": left_out}
        emit(result | {"seconds": {"look": found.seconds_look}})
        return
    say(f"{head}: {headline(found.metrics)}")
    for refused in found.refused:
        say(f"left out: {refused.reason}")
    if "confusion" in found.metrics:
        _say_confusion(found.metrics)


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
    say(f"{result['head']}: {headline(result['metrics'])} ({result['metrics']['on']})")
    say(
        f"trained on {images['train']} pictures in {seconds['total']:.1f} s ({seconds['look']:.1f} s looking, "
        f"{seconds['fit']:.1f} s choosing and fitting); saved in {result['model']}"
    )
    if images["refused"]:
        say(f"{images['refused']} pictures could not be read and were left out (see: onelook data check)")


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

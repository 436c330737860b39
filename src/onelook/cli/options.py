"""Options that several commands share, and how results are printed."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from onelook.progress import Progress


class Device(StrEnum):
    """Where the backbone runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class TaskName(StrEnum):
    """What a head answers."""

    classify = "classify"
    regress = "regress"
    detect = "detect"
    localize = "localize"
    keypoints = "keypoints"
    segment = "segment"


class MethodName(StrEnum):
    """How a task is done, where there are several ways."""

    auto = "auto"
    fcos = "fcos"
    yolo = "yolo"
    faster_rcnn = "faster_rcnn"
    fast_rcnn = "fast_rcnn"
    sppnet = "sppnet"
    rcnn = "rcnn"
    overfeat = "overfeat"
    windows = "windows"
    heatmap = "heatmap"
    deeppose = "deeppose"
    unet = "unet"
    unet2015 = "unet2015"


class AttachName(StrEnum):
    """What a head of one answer a picture reads."""

    conv = "conv"
    embedding = "embedding"


class LossName(StrEnum):
    """What is minimised over pixels."""

    ce = "ce"
    dice = "dice"
    focal = "focal"


class InstanceName(StrEnum):
    """How single objects are told apart in what pixels are."""

    components = "components"
    watershed = "watershed"


class FormName(StrEnum):
    """What stands behind a head's readout."""

    radial = "radial"
    linear = "linear"
    hidden = "hidden"


class TtaName(StrEnum):
    """Versions of a picture that are looked at and averaged."""

    none = "none"
    flips = "flips"
    mirrors = "mirrors"
    tencrop = "tencrop"
    scales = "scales"


class RecipeName(StrEnum):
    """How views of training pictures are made."""

    none = "none"
    light = "light"
    signs = "signs"
    photo = "photo"
    aerial = "aerial"
    microscope = "microscope"


class FormatName(StrEnum):
    """Formats in which boxes and key points are written."""

    coco = "coco"
    voc = "voc"
    yolo = "yolo"
    csv = "csv"


class ModeName(StrEnum):
    """How pictures are brought to the input."""

    fit = "fit"
    stretch = "stretch"
    crop = "crop"


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where the backbone runs.")]
Weights = Annotated[Path | None, typer.Option("--weights", metavar="FILE", help="The backbone's weights (.safetensors or .pth).")]
Columns = Annotated[str | None, typer.Option("--columns", metavar="A,B", help="Label columns of a table (default: all).")]
Ignore = Annotated[str | None, typer.Option("--ignore", metavar="A,B", help="Values or classes of masks that count as nothing known.")]
Tiles = Annotated[bool, typer.Option("--tiles", help="Look at large pictures piece by piece, for what pixels are.")]
Augment = Annotated[RecipeName, typer.Option(help="How views of training pictures are made (look: onelook data views).")]
Tta = Annotated[TtaName, typer.Option("--tta", help="Look at several versions of every picture and average.")]
Report = Annotated[Path | None, typer.Option("--report", metavar="DIR", help="Write a page that tells what was found.")]
TrainSplit = Annotated[str | None, typer.Option("--train-split", metavar="NAME|FILE.csv", help="Which part of DATA trains.")]
ValSplit = Annotated[str | None, typer.Option("--val-split", metavar="NAME|FILE.csv", help="Which part of DATA only reports.")]
ModelFile = Annotated[Path, typer.Option("--model", metavar="FILE", help="The .onelook file.")]


def names(text: str | None) -> tuple[str, ...]:
    """The words of a comma-separated option."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def duration(text: str | None) -> float | None:
    """Seconds of "90s", "10m", "1.5h" or a bare number. Raises BudgetError for anything else."""
    if text is None:
        return None
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:].lower())
    try:
        seconds = float(text[:-1] if unit else text) * (unit or 1.0)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        from onelook.errors import BudgetError

        raise BudgetError(f"--budget {text}: not a time; use 90s, 10m or 1h")
    return seconds


def progress(quiet: bool) -> Progress:
    """Progress on stderr, unless asked for quiet."""
    return Progress(quiet=quiet)


def emit(result: Any) -> None:
    """One JSON document on one line on stdout."""
    sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def say(text: str = "") -> None:
    """A line for people on stdout."""
    sys.stdout.write(text + "\n")


def table(header: list[str], rows: list[list[str]], title: str = "") -> None:
    """A table for people on stdout; numbers align right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    grid = Table(*header, title=title or None, box=box.SIMPLE_HEAD, title_justify="left")
    for index, column in enumerate(grid.columns):
        if index and all(row[index][:1].isdigit() for row in rows if row[index]):
            column.justify = "right"
    for row in rows:
        grid.add_row(*row)
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120).print(grid)


def percent(share: float, interval: list[float] | None = None) -> str:
    """0.9 -> "90.0 %", with the interval in brackets."""
    text = f"{share:.1%}".replace("%", " %")
    return f"{text} (95 % interval {interval[0] * 100:.1f} to {interval[1] * 100:.1f})" if interval else text


def headline(metrics: dict[str, Any]) -> str:
    """A head's metrics in one line."""
    if "ap50" in metrics:
        ap50, ap = percent(metrics["ap50"] or 0.0, metrics["ap50_interval"]), percent(metrics["ap"] or 0.0)
        return f"AP50 {ap50}, AP {ap} on {metrics['boxes']} boxes in {metrics['n']} pictures"
    if "miou" in metrics:
        mean = percent(metrics["miou"], metrics["miou_interval"])
        return f"mean IoU {mean}, pixels right {percent(metrics['pixel_accuracy'])}, Dice {metrics['dice']:.3f} on {metrics['n']} pictures"
    if "mean_iou" in metrics:
        located = percent(metrics["correct_loc"], metrics["correct_loc_interval"])
        return f"mean IoU {metrics['mean_iou']:.3f}, right class and IoU over 0.5 {located} on {metrics['n']} pictures"
    if "pck20" in metrics:
        return f"PCK@0.2 {percent(metrics['pck20'], metrics['pck20_interval'])} on {metrics['points']} points in {metrics['n']} pictures"
    if "accuracy" in metrics:
        return f"accuracy {percent(metrics['accuracy'], metrics['accuracy_interval'])} on {metrics['n']} pictures"
    low, high = metrics["mae_interval"]
    error = f"mean absolute error {metrics['mae']:.4g} (95 % interval {low:.4g} to {high:.4g})"
    return f"{error}, R2 {metrics['r2']:.3f} on {metrics['n']} pictures"

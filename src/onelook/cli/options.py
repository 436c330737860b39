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


class FormName(StrEnum):
    """What stands behind a head's readout."""

    radial = "radial"
    linear = "linear"
    hidden = "hidden"


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
ModelFile = Annotated[Path, typer.Option("--model", metavar="FILE", help="The .onelook file.")]


def names(text: str | None) -> tuple[str, ...]:
    """The words of a comma-separated option."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


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
    if "accuracy" in metrics:
        return f"accuracy {percent(metrics['accuracy'], metrics['accuracy_interval'])} on {metrics['n']} pictures"
    low, high = metrics["mae_interval"]
    error = f"mean absolute error {metrics['mae']:.4g} (95 % interval {low:.4g} to {high:.4g})"
    return f"{error}, R2 {metrics['r2']:.3f} on {metrics['n']} pictures"

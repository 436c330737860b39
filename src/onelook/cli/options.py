"""Options that several commands share, and how results are printed."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from onelook.errors import OnelookError
from onelook.progress import Progress


class Started:
    """When the command began, from which budgets count: importing is part of a command's time."""

    at = time.monotonic()


class Device(StrEnum):
    """Where the backbone runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class InstanceName(StrEnum):
    """How single objects are told apart in what pixels are."""

    components = "components"
    watershed = "watershed"


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
    labelme = "labelme"
    cvat = "cvat"


class ModeName(StrEnum):
    """How pictures are brought to the input."""

    fit = "fit"
    stretch = "stretch"
    crop = "crop"


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where the backbone runs.")]
Network = Annotated[
    str, typer.Argument(metavar="NET|FILE[:HEAD]", help="A network by its name, or a .onelook file (with the stages of one of its heads).")
]
Weights = Annotated[
    Path | None, typer.Option("--weights", metavar="FILE", rich_help_panel="Model", help="The backbone's weights (.safetensors or .pth).")
]
Columns = Annotated[
    str | None, typer.Option("--columns", metavar="A,B", rich_help_panel="Pictures", help="Label columns of a table (default: all).")
]
Ignore = Annotated[
    str | None,
    typer.Option("--ignore", metavar="A,B", rich_help_panel="Pictures", help="Values or classes of masks that count as nothing known."),
]
MasksDir = Annotated[
    Path | None,
    typer.Option("--masks", metavar="DIR", rich_help_panel="Pictures", help="The folder of DATA's masks (default: found by names)."),
]
Tiles = Annotated[bool, typer.Option("--tiles", help="Look at large pictures piece by piece, for what pixels are.")]
Augment = Annotated[RecipeName, typer.Option(help="How views of training pictures are made (look: onelook data views).")]
Tta = Annotated[TtaName, typer.Option("--tta", help="Look at several versions of every picture and average.")]
Report = Annotated[Path | None, typer.Option("--report", metavar="DIR", help="Write a page that tells what was found.")]
TrainSplit = Annotated[
    str | None, typer.Option("--train-split", metavar="NAME|FILE.csv", rich_help_panel="Pictures", help="Which part of DATA trains.")
]
ValSplit = Annotated[
    str | None, typer.Option("--val-split", metavar="NAME|FILE.csv", rich_help_panel="Pictures", help="Which part of DATA only reports.")
]
Task = Annotated[str | None, typer.Option("--task", metavar="TASK", help="What a head answers (default: read off the data).")]
ModelFile = Annotated[Path, typer.Option("--model", metavar="FILE", rich_help_panel="Model", help="The .onelook file.")]


def group_with(default: str) -> type[TyperGroup]:
    """A group of commands whose first word may be no command: ``default`` is meant then, and --help says what it can do."""

    class Group(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            if args and args[0] not in self.commands:
                args = [default, *args]
            return super().parse_args(ctx, args)

    return Group


def names(text: str | None) -> tuple[str, ...]:
    """The words of a comma-separated option."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def numbers(text: str | None) -> list[int] | None:
    """Numbers and ranges of "0-3,7". Raises OnelookError for anything else."""
    if text is None:
        return None
    found: list[int] = []
    for part in names(text):
        first, _, last = part.partition("-")
        if not (first.isdigit() and (last.isdigit() or not last)):
            raise OnelookError(f"{text}: not numbers; use 0-15 or 3,8,12")
        found += range(int(first), int(last or first) + 1)
    return found


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


def emit(result: object) -> None:
    """One JSON document on one line on stdout."""
    sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def say(text: str = "") -> None:
    """A line for people on stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def done(text: str, facts: Mapping[str, object], json: bool, quiet: bool) -> None:
    """What a command did: a line for people, or its facts for programs, or nothing."""
    if json:
        emit(facts)
    elif not quiet:
        say(text)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """A table for people on stdout; numbers align right, and nothing in it is taken for markup."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    grid = Table(*map(escape, header), title=escape(title) or None, box=box.SIMPLE_HEAD, title_justify="left")
    for index, column in enumerate(grid.columns):
        if index and all(row[index][:1].isdigit() for row in rows if row[index]):
            column.justify = "right"
    for row in rows:
        grid.add_row(*map(escape, row))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120).print(grid)

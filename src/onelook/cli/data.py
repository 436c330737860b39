"""``onelook data check``, ``convert`` and ``views``: labelled pictures before training."""

from pathlib import Path
from typing import Annotated

import typer

from onelook.cli.options import (
    Augment,
    Columns,
    FormatName,
    Ignore,
    Json,
    RecipeName,
    Seed,
    Task,
    TrainSplit,
    ValSplit,
    emit,
    names,
    say,
)

app = typer.Typer(help="Look at labelled pictures before training.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Look at labelled pictures before training."""


@app.command()
def check(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Class folders, or a CSV with a path column.")],
    val: Annotated[Path | None, typer.Option(metavar="DATA", help="Validation pictures kept elsewhere.")] = None,
    task: Task = "classify",
    train_split: TrainSplit = None,
    val_split: ValSplit = None,
    columns: Columns = None,
    ignore: Ignore = None,
    json: Json = False,
) -> None:
    """List every file that is unreadable, doubled, leaked or mislabelled; exit code 1 if there is any.

    Example: onelook data check photos/
    """
    from onelook.workflows.data import check as run

    report = run(data, task=task, columns=names(columns), val=val, train_split=train_split, val_split=val_split, ignore=names(ignore))
    if json:
        emit(report.to_json())
    else:
        say(f"{report.found}: {report.pictures} pictures; " + ", ".join(f"{name} {n}" for name, n in report.classes.items()))
        for finding in report.findings:
            say(f"{finding.kind}: {finding.file}: {finding.reason}" + "".join(f"\n    {other}" for other in finding.others))
        say(f"{len(report.findings)} findings" if report.findings else "nothing found")
    if not report.clean:
        raise typer.Exit(1)


@app.command()
def convert(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Boxes or key points in any format that is read.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder for labels and pictures.")],
    to: Annotated[FormatName, typer.Option(help="The format to write.")],
    task: Task = "detect",
    split: Annotated[str | None, typer.Option(metavar="NAME", help="Only this part of DATA.")] = None,
) -> None:
    """Write boxes or key points in another format, pictures included.

    Example: onelook data convert VOC2007/ --to yolo --out yolo/
    """
    from onelook.workflows.data import convert as run

    written = run(data, out, to.value, task=task, split=split)
    say(f"{written.describe()}; written as {to.value} into {out}")


@app.command()
def views(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labelled pictures.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the sheet is written (.png or .jpg).")],
    task: Task = "classify",
    augment: Augment = RecipeName.light,
    views: Annotated[int, typer.Option(min=1, max=64, help="Views of each picture.")] = 8,
    pictures: Annotated[int, typer.Option(min=1, max=64, help="How many pictures, spread over the data.")] = 6,
    seed: Seed = 0,
) -> None:
    """Write a contact sheet of the views that training would see.

    Example: onelook data views photos/ --augment photo --out sheet.png
    """
    from onelook.answers.canvas import save_picture
    from onelook.data.augment import recipe_by_name
    from onelook.report.views import views_sheet
    from onelook.workflows.data import read

    samples = read(data, task=task).samples
    chosen = samples[:: max(1, len(samples) // pictures)][:pictures]
    save_picture(views_sheet(chosen, recipe_by_name(augment.value), views, seed), out)
    say(f"{len(chosen)} pictures, {views} views each: {out}")

"""``onelook data check``, ``convert``, ``browse`` and ``views``: labelled pictures before training."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onelook.cli.options import (
    Augment,
    Columns,
    FormatName,
    Ignore,
    Json,
    MasksDir,
    Quiet,
    RecipeName,
    Seed,
    Task,
    TrainSplit,
    ValSplit,
    done,
    emit,
    names,
    progress,
    say,
)

if TYPE_CHECKING:
    from onelook.data.samples import Finding

MOST_SHOWN = 10  # findings of a kind
app = typer.Typer(help="Look at labelled pictures before training.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Look at labelled pictures before training."""


@app.command()
def check(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Class folders, or a CSV with a path column.")],
    val: Annotated[Path | None, typer.Option(metavar="DATA", help="Validation pictures kept elsewhere.")] = None,
    task: Task = None,
    train_split: TrainSplit = None,
    val_split: ValSplit = None,
    columns: Columns = None,
    ignore: Ignore = None,
    masks: MasksDir = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List every file that is unreadable, doubled, leaked or mislabelled; exit code 1 if there is any.

    Example: onelook data check photos/
    """
    from onelook.workflows.data import check as run

    report = run(
        data, task=task, columns=names(columns), val=val, train_split=train_split, val_split=val_split, ignore=names(ignore), masks=masks
    )
    if json:
        emit(report.to_json())
    elif not quiet:
        say(report.in_words())
        _say_findings(report.findings)
        say(f"{len(report.findings)} findings" if report.findings else "nothing found")
    if not report.clean:
        raise typer.Exit(1)


def _say_findings(findings: Sequence["Finding"]) -> None:
    """Every finding; of a kind with many the first, and how many there are."""
    for kind, same in groupby(findings, key=lambda finding: finding.kind):
        of_kind = list(same)
        for finding in of_kind[:MOST_SHOWN]:
            say(f"{finding.kind}: {finding.file}: {finding.reason}" + "".join(f"\n    {other}" for other in finding.others))
        if len(of_kind) > MOST_SHOWN:
            say(f"{kind}: {len(of_kind) - MOST_SHOWN} more; all of them: --json")


@app.command()
def convert(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Boxes or key points in any format that is read.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder for labels and pictures.")],
    to: Annotated[FormatName, typer.Option(help="The format to write.")],
    task: Task = None,
    split: Annotated[str | None, typer.Option(metavar="NAME", help="Only this part of DATA.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write boxes or key points in another format, pictures included; exit code 1 if a label of DATA is not in what was written.

    Example: onelook data convert VOC2007/ --to yolo --out yolo/
    """
    from onelook.workflows.data import convert as run

    made = run(data, out, to.value, task=task, split=split)
    said = f"{made.data.describe()}; written as {to.value} into {out}: {made.written} of {made.labels} labels"
    if made.written != made.labels:
        said += (
            f"\n{made.labels - made.written} labels are not in it: {to.value} cannot mark objects to be ignored (crowds, difficult ones)"
        )
    done(said, made.to_json() | {"out": str(out)}, json, quiet)
    if not made.whole:
        if not json:
            _say_findings(made.data.findings)
        raise typer.Exit(1)


@app.command()
def browse(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labelled pictures.")],
    report: Annotated[Path, typer.Option(metavar="DIR", help="A folder for the page.")],
    task: Task = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a page to look at one's data, what is doubtful first: labels likely wrong, near-duplicates, odd pictures; sizes and classes.

    Example: onelook data browse photos/ --report page/
    """
    from onelook.report.browse import write_browsed
    from onelook.workflows.browse import browse as run

    found = run(data, task=task, progress=progress(quiet))
    page = write_browsed(report, found)
    counts = f"{len(found.doubts)} doubtful labels, {len(found.pairs)} near-duplicates, {len(found.findings)} findings"
    done(f"{found.data.describe()}\n{counts}: {page}", {**found.to_json(), "report": str(page)}, json, quiet)


@app.command()
def views(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labelled pictures.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the sheet is written (.png or .jpg).")],
    task: Task = None,
    augment: Augment = RecipeName.light,
    views: Annotated[int, typer.Option(min=1, max=64, help="Views of each picture.")] = 8,
    pictures: Annotated[int, typer.Option(min=1, max=64, help="How many pictures, spread over the data.")] = 6,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
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
    done(f"{len(chosen)} pictures, {views} views each: {out}", {"file": str(out), "pictures": len(chosen), "views": views}, json, quiet)

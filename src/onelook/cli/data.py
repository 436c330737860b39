"""``onelook data check``: what is wrong with labelled pictures, before training."""

from pathlib import Path
from typing import Annotated

import typer

from onelook.cli.options import Columns, Json, TaskName, emit, names, say

app = typer.Typer(help="Look at labelled pictures before training.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Look at labelled pictures before training."""


@app.command()
def check(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Class folders, or a CSV with a path column.")],
    val: Annotated[Path | None, typer.Option(metavar="DATA", help="Validation pictures kept elsewhere.")] = None,
    task: Annotated[TaskName, typer.Option(help="What the pictures are labelled for.")] = TaskName.classify,
    columns: Columns = None,
    json: Json = False,
) -> None:
    """List every file that is unreadable, doubled, leaked or mislabelled; exit code 1 if there is any.

    Example: onelook data check photos/
    """
    from onelook.data.check import check as run

    report = run(data, task=task.value, columns=names(columns), val=val)
    if json:
        emit(report.to_json())
    else:
        say(f"{report.found}: {report.pictures} pictures; " + ", ".join(f"{name} {n}" for name, n in report.classes.items()))
        for finding in report.findings:
            say(f"{finding.kind}: {finding.file}: {finding.reason}" + "".join(f"\n    {other}" for other in finding.others))
        say(f"{len(report.findings)} findings" if report.findings else "nothing found")
    if not report.clean:
        raise typer.Exit(1)

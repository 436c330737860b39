"""``onelook head`` and ``onelook merge``: heads inside model files."""

from pathlib import Path
from typing import Annotated

import typer

from onelook.cli.options import say, table

app = typer.Typer(help="Rename, remove and copy heads inside model files.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The .onelook file.")]
Name = Annotated[str, typer.Argument(metavar="HEAD", help="The head's name.")]


@app.callback()
def _group() -> None:
    """Rename, remove and copy heads inside model files."""


@app.command("list")
def list_heads(file: File) -> None:
    """List the heads of a file: task, method, classes, figures.

    Example: onelook head list mine.onelook
    """
    from onelook.model import Model

    model = Model.load(file, device="cpu")
    rows = []
    for name, record in model.records.items():
        classes = model.head(name).classes
        said = model.head(name).judge().in_words(record.metrics) if record.metrics.get("n") else ""
        rows.append([name, record.task, record.method or record.task, str(len(classes)), said])
    table(["head", "task", "method", "classes", "figures"], rows)


@app.command()
def rename(file: File, name: Name, new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")]) -> None:
    """Call a head otherwise.

    Example: onelook head rename mine.onelook kind animal
    """
    from onelook.workflows.heads import rename as run

    run(file, name, new)
    say(f"{file}: {name} is called {new}")


@app.command()
def remove(file: File, name: Name) -> None:
    """Take a head out of a file.

    Example: onelook head remove mine.onelook kind
    """
    from onelook.workflows.heads import remove as run

    run(file, name)
    say(f"{file}: {name} is gone")


@app.command()
def copy(
    file: File,
    name: Name,
    to: Annotated[Path, typer.Option(metavar="FILE", help="The file that gets it, made if absent.")],
    new: Annotated[str | None, typer.Option("--as", metavar="NAME", help="What it is called there (default: the same).")] = None,
) -> None:
    """Put a head into another file.

    Example: onelook head copy mine.onelook kind --to yours.onelook
    """
    from onelook.workflows.heads import copy as run

    run(file, name, to, new)
    say(f"{to}: has {new or name} of {file}")


def merge(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="The .onelook files.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The new file.")],
) -> None:
    """Put the heads of several files of one backbone into a new one, where they share looks.

    Example: onelook merge a.onelook b.onelook --out both.onelook
    """
    from onelook.workflows.heads import merge as run

    say(f"{out}: {', '.join(run(files, out))}")

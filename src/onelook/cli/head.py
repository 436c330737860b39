"""``onelook head`` and ``onelook merge``: heads inside model files."""

from pathlib import Path
from typing import Annotated

import typer

from onelook.cli.options import Json, Quiet, done, emit, table

app = typer.Typer(help="Rename, remove and copy heads inside model files.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The .onelook file.")]
Name = Annotated[str, typer.Argument(metavar="HEAD", help="The head's name.")]


@app.callback()
def _group() -> None:
    """Rename, remove and copy heads inside model files."""


@app.command("list")
def list_heads(file: File, json: Json = False) -> None:
    """List the heads of a file: task, method, classes, figures.

    Example: onelook head list mine.onelook
    """
    from onelook.model import Model

    model = Model.load(file, device="cpu")
    if json:
        emit(model.info()["heads"])
        return
    rows = []
    for name, record in model.records.items():
        classes = model.head(name).classes
        said = model.head(name).judge().in_words(record.metrics) if record.metrics.get("n") else ""
        rows.append([name, record.task, record.method or record.task, str(len(classes)), said])
    table(["head", "task", "method", "classes", "figures"], rows)


@app.command()
def rename(
    file: File,
    name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Call a head otherwise.

    Example: onelook head rename mine.onelook kind animal
    """
    from onelook.workflows.heads import rename as run

    run(file, name, new)
    done(f"{file}: {name} is called {new}", {"file": str(file), "head": new, "before": name}, json, quiet)


@app.command()
def remove(file: File, name: Name, json: Json = False, quiet: Quiet = False) -> None:
    """Take a head out of a file.

    Example: onelook head remove mine.onelook kind
    """
    from onelook.workflows.heads import remove as run

    run(file, name)
    done(f"{file}: {name} is gone", {"file": str(file), "removed": name}, json, quiet)


@app.command()
def copy(
    file: File,
    name: Name,
    to: Annotated[Path, typer.Option(metavar="FILE", help="The file that gets it, made if absent.")],
    new: Annotated[str | None, typer.Option("--as", metavar="NAME", help="What it is called there (default: the same).")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put a head into another file.

    Example: onelook head copy mine.onelook kind --to yours.onelook
    """
    from onelook.workflows.heads import copy as run

    run(file, name, to, new)
    done(f"{to}: has {new or name} of {file}", {"file": str(to), "head": new or name, "from": str(file)}, json, quiet)


def merge(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="The .onelook files.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The new file.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put the heads of several files of one backbone into a new one, where they share looks.

    Example: onelook merge a.onelook b.onelook --out both.onelook
    """
    from onelook.workflows.heads import merge as run

    heads = run(files, out)
    done(f"{out}: {', '.join(heads)}", {"file": str(out), "heads": heads}, json, quiet)

"""``onelook cache list`` and ``onelook cache clear``."""

from typing import Annotated

import typer

from onelook.cli.options import Json, emit, say, table

app = typer.Typer(help="Looks kept on disk (folder: $ONELOOK_CACHE, else ~/.cache/onelook).", no_args_is_help=True)


@app.command("list")
def list_(json: Json = False) -> None:
    """Show what is kept and how large it is.

    Example: onelook cache list
    """
    from onelook.looks.cache import default_root, list_caches

    entries = list(list_caches(default_root()))
    if json:
        emit({"root": str(default_root()), "caches": [entry.to_json() for entry in entries]})
        return
    rows = [[entry.key, entry.backbone, f"{entry.rows:,}", f"{entry.bytes / 1e6:,.1f} MB", entry.description] for entry in entries]
    table(["key", "backbone", "looks", "size", "what"], rows, title=str(default_root()))


@app.command()
def clear(
    key: Annotated[str | None, typer.Argument(help="Which one (default: all, exported networks included).")] = None,
    json: Json = False,
) -> None:
    """Delete looks; they are made again when they are needed.

    Example: onelook cache clear
    """
    from onelook.errors import OnelookError
    from onelook.looks.cache import clear_caches, default_root, list_caches

    known = [entry.key for entry in list_caches(default_root())]
    if key is not None and key not in known:
        raise OnelookError(f"no cache {key!r}; there are {', '.join(known) or 'none'}")
    freed = clear_caches(default_root(), key)
    if json:
        emit({"freed_bytes": freed})
    else:
        say(f"{freed / 1e6:.1f} MB freed")

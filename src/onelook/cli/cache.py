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
    from onelook.files import cache_folder
    from onelook.looks.cache import list_caches

    entries = list(list_caches(cache_folder()))
    if json:
        emit({"root": str(cache_folder()), "caches": [entry.to_json() for entry in entries]})
        return
    rows = [[entry.key, entry.backbone, f"{entry.rows:,}", f"{entry.bytes / 1e6:,.1f} MB", entry.description] for entry in entries]
    table(["key", "backbone", "looks", "size", "what"], rows, title=str(cache_folder()))


@app.command()
def clear(
    key: Annotated[str | None, typer.Argument(help="Which one (default: all, exported networks included).")] = None,
    json: Json = False,
) -> None:
    """Delete looks; they are made again when they are needed.

    Example: onelook cache clear
    """
    from onelook.errors import OnelookError
    from onelook.files import cache_folder
    from onelook.looks.cache import clear_caches, list_caches

    known = [entry.key for entry in list_caches(cache_folder())]
    if key is not None and key not in known:
        raise OnelookError(f"no cache {key!r}; there are {', '.join(known) or 'none'}")
    freed = clear_caches(cache_folder(), key)
    if json:
        emit({"freed_bytes": freed})
    else:
        say(f"{freed / 1e6:.1f} MB freed")

"""``onelook bench``: how fast looks are on this machine."""

from typing import Annotated

import typer

from onelook.cli.options import Json, emit, table


def bench(
    backbone: Annotated[str, typer.Option(metavar="NAME", help="Which backbone.")] = "efficientnet_lite0",
    batch: Annotated[int, typer.Option(help="Pictures at once.")] = 16,
    json: Json = False,
) -> None:
    """Time frozen looks through the chosen engine against plain torch, in turn, in one run.

    Example: onelook bench
    """
    from onelook.workflows.bench import compare_looks

    found = compare_looks(backbone, batch)
    if json:
        emit(found.to_json())
        return
    rows = [[found.ours, f"{found.ms_ours:.2f}", ""], [found.theirs, f"{found.ms_theirs:.2f}", f"{found.ratio:.2f}"]]
    table(["engine", "ms a picture", "times as long"], rows, title=found.what)

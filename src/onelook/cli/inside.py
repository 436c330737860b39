"""``onelook anatomy``, ``filters``, ``patches``, ``deconvnet``, ``explain``: looking inside a network."""

from typing import TYPE_CHECKING, Annotated

import typer

from onelook.cli.options import Json, Report, emit, say, table

if TYPE_CHECKING:
    from onelook.inside.anatomy import Anatomy

Network = Annotated[str, typer.Argument(metavar="NET|FILE", help="A network by its name, or a .onelook file.")]


def anatomy(
    network: Network,
    size: Annotated[int | None, typer.Option(min=1, help="Pixels of the square input (default: the network's own).")] = None,
    every: Annotated[bool, typer.Option("--all", help="Show normalisations, activations and joints, too.")] = False,
    report: Report = None,
    json: Json = False,
) -> None:
    """Show what a network is made of: shapes, parameters, multiply-accumulates (MACs), strides and receptive fields.

    Example: onelook anatomy resnet50 --size 224
    """
    from onelook.inside.anatomy import anatomy as of_name
    from onelook.inside.anatomy import anatomy_of_model

    if network.endswith(".onelook"):
        from onelook.model import Model

        found = anatomy_of_model(Model.load(network), size)
    else:
        found = of_name(network, size)
    if report is not None:
        from onelook.report.inside import write_anatomy

        write_anatomy(report, found)
    if json:
        emit(found.to_json())
    else:
        _show(found, every)


def _show(found: "Anatomy", every: bool) -> None:
    header = ["layer", "type", "output", "numbers", "parameters", "MACs", "field", "stride"]
    table(header, found.rows(every), title=f"{found.name}, input {' x '.join(map(str, found.input))}")
    table(["kind", "layers", "parameters", "MACs"], [[str(cell) for cell in row] for row in found.kind_rows()])
    say(
        f"{found.parameters:,} parameters, {found.macs:,} multiply-accumulates ({2 * found.macs:,} FLOPs) a picture, of convolutions and "
        "matrix products without biases. Field: pixels that a place sees; whole: all; *: its paths have several centres."
    )

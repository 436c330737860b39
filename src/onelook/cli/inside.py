"""``onelook anatomy``, ``filters``, ``patches``, ``deconvnet``, ``explain``: looking inside a network."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onelook.cli.options import Json, Quiet, Report, Weights, done, emit, numbers, progress, say, table
from onelook.errors import HeadError

if TYPE_CHECKING:
    from onelook.inside.anatomy import Anatomy
    from onelook.model import Model

SHOWN = 12  # units that are named where no sheet is drawn
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


def patches(
    network: Network,
    data: Annotated[list[str], typer.Argument(metavar="DATA...", help="Pictures, folders, globs.")],
    layer: Annotated[str, typer.Option(metavar="LAYER", help="A stage (stride8) or a module of the network (blocks.3.1).")] = "stride8",
    units: Annotated[str | None, typer.Option(metavar="0-15,40", help="Which channels (default: all).")] = None,
    head: Annotated[str, typer.Option(metavar="NAME", help="Look as for this head of FILE.")] = "imagenet",
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Write a sheet of the regions.")] = None,
    weights: Weights = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the nine regions of all pictures that excite each unit of a layer most, one a picture.

    Example: onelook patches efficientnet_lite0 photos/ --layer stride8 --out sheet.png
    """
    from onelook.answers.canvas import save_picture
    from onelook.data.pictures import find_pictures
    from onelook.inside.patches import patches as run
    from onelook.report.inside import patch_sheet

    model = _model(network, weights)
    found = run(model, list(find_pictures(data)), layer, units=numbers(units), head=head, progress=progress(quiet))
    if out is not None:
        save_picture(patch_sheet(found), out)
    if json:
        emit(found.to_json())
        return
    for one in found.refused:
        say(f"{one.path}: {one.reason}")
    field = "the whole picture" if found.field is None else f"{found.field} pixels"
    say(f"{layer}: {len(found.units)} units, {found.pictures} pictures; a place sees {field}" + (f"; sheet: {out}" if out else ""))
    for unit in found.units[:SHOWN] if out is None else ():
        say(f"unit {unit.unit}: " + ", ".join(f"{patch.path.name} {patch.value:.2f}" for patch in unit.patches[:3]))


def deconvnet(
    network: Network,
    data: Annotated[list[str], typer.Argument(metavar="DATA...", help="Pictures, folders, globs.")],
    layer: Annotated[str, typer.Option(metavar="LAYER", help="A stage (stride8) or a module of the network (blocks.3.1).")] = "stride8",
    units: Annotated[str, typer.Option(metavar="0-15,40", help="Which channels.")] = "0-15",
    head: Annotated[str, typer.Option(metavar="NAME", help="Look as for this head of FILE.")] = "imagenet",
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="Where the sheet goes.")] = Path("deconvnet.png"),
    weights: Weights = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what in a picture made a unit active: its value sent back to the pixels, beside the regions that excite it most.

    Example: onelook deconvnet efficientnet_lite0 photos/ --layer stride4 --units 0-7 --out sheet.png
    """
    from onelook.answers.canvas import save_picture
    from onelook.data.pictures import find_pictures
    from onelook.inside.deconvnet import reconstructions
    from onelook.inside.patches import patches as run
    from onelook.report.inside import deconvnet_sheet

    model = _model(network, weights)
    found = run(model, list(find_pictures(data)), layer, units=numbers(units), head=head, progress=progress(quiet))
    with progress(quiet).task("sending back", len(found.units)) as advance:
        sent = []
        for unit in reconstructions(model.extractor(model.geometry_of(head)), found):
            sent.append(unit)
            advance()
    save_picture(deconvnet_sheet(layer, sent), out)
    done(f"{out}: {len(sent)} units of {layer}, {found.pictures} pictures", found.to_json() | {"sheet": str(out)}, json, quiet)


def explain(
    network: Network,
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="Of which the answer is explained.")],
    head: Annotated[str | None, typer.Option(metavar="NAME", help="Which head (default: the only one).")] = None,
    method: Annotated[
        str, typer.Option(metavar="METHOD", help="auto, gradcam, integrated_gradients, occlusion or guided.", show_default=True)
    ] = "auto",
    layer: Annotated[str | None, typer.Option(metavar="STAGE", help="Whose maps Grad-CAM reads (default: what suits the head).")] = None,
    about: Annotated[str | None, typer.Option(metavar="CLASS", help="Why it says so much of this class (default: of the answer).")] = None,
    other: Annotated[Path | None, typer.Option(metavar="PICTURE", help="With what an embed or pair head compares.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Write the picture with the map here.")] = None,
    trust: Annotated[bool, typer.Option("--trust/--no-trust", help="Test whether the map can be trusted.")] = True,
    weights: Weights = None,
    json: Json = False,
) -> None:
    """Show why a head says what it says of a picture, and whether the map that shows it can be trusted.

    Example: onelook explain mine.onelook photo.jpg --head kind --out map.png
    """
    from onelook.answers.canvas import save_picture
    from onelook.inside.explain import explain as run
    from onelook.report.inside import explained

    model = _model(network, weights)
    name = head or _only(model)
    found = run(model, name, picture, method=method, layer=layer, about=about, other=other, trust=trust)  # type: ignore[arg-type]
    if out is not None:
        save_picture(explained(found), out)
    if json:
        emit(found.to_json() | {"out": str(out) if out else None})
        return
    say(f"{picture}: {name} says {found.answer}")
    say(f"why {found.claim}: {found.method} on {found.layer}, {found.seconds:.2f} s" + (f"; {out}" if out else "; draw it: --out map.png"))
    if found.trust is not None:
        say(str(found.trust))


def _only(model: "Model") -> str:
    """The head of a model with one, or the network's own classes. Raises HeadError where there are several."""
    from onelook.modelparts import READY

    if len(model.heads) > 1:
        raise HeadError(f"--head: which one? there are {', '.join(model.heads)}")
    return next(iter(model.heads), READY)


def _model(network: str, weights: Path | None) -> "Model":
    """A model file, or a network by its name with its weights."""
    from onelook.model import Model

    return Model.load(network, weights=weights) if network.endswith(".onelook") else Model.new(network, weights=weights)


def _show(found: "Anatomy", every: bool) -> None:
    header = ["layer", "type", "output", "numbers", "parameters", "MACs", "field", "stride"]
    table(header, found.rows(every), title=f"{found.name}, input {' x '.join(map(str, found.input))}")
    table(["kind", "layers", "parameters", "MACs"], [[str(cell) for cell in row] for row in found.kind_rows()])
    say(
        f"{found.parameters:,} parameters, {found.macs:,} multiply-accumulates ({2 * found.macs:,} FLOPs) a picture, of convolutions and "
        "matrix products without biases. Field: pixels that a place sees; whole: all; *: its paths have several centres."
    )

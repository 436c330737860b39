"""``onelook anatomy``: what a network is made of, what a picture becomes in it, and two networks beside each other."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onelook.cli.options import Json, Network, Quiet, Report, Weights, emit, progress, say, table
from onelook.errors import HeadError, OnelookError

if TYPE_CHECKING:
    from onelook.inside.activations import Activations
    from onelook.inside.anatomy import Anatomy
    from onelook.inside.explain import Explanation
    from onelook.model import Model
    from onelook.report.inside import Seen

EXPLAINED = 4  # pictures on a page whose answers are explained
SENT_BACK, OF_EACH = 12, 4  # units of a stage on a page of which is shown what made them active: of one network, of each of two
DRAWN = Path("activations.png")


def anatomy(
    network: Network,
    size: Annotated[int | None, typer.Option(min=1, help="Pixels of the square input (default: the network's own).")] = None,
    every: Annotated[bool, typer.Option("--all", help="Show normalisations, activations and joints, too.")] = False,
    over: Annotated[Path | None, typer.Option(metavar="DATA", help="With --report: what excites units in these pictures.")] = None,
    beside: Annotated[
        str | None, typer.Option(metavar="NET|FILE[:HEAD]", help="Another network on the pictures of --over, figures side by side.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(metavar="PICTURE", help="What this picture becomes in it, stage by stage.")] = None,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="Where that is drawn, without --report.")] = DRAWN,
    report: Report = None,
    weights: Weights = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what a network is made of: shapes, parameters, multiply-accumulates (MACs), strides and receptive fields.

    Example: onelook anatomy resnet50 --size 224
    """
    from onelook.inside.anatomy import anatomy as of_name
    from onelook.inside.anatomy import anatomy_of_model
    from onelook.inside.opened import network_of, open_network

    if beside is not None:
        alone: dict[str, object] = {"--picture": picture, "--size": size, "--all": every, "--out": out != DRAWN}
        _beside(network, beside, over, report, weights, alone, json, quiet)
        return
    if over is not None and report is None:
        raise OnelookError("--over: what excites units is drawn on a page: add --report DIR (or see onelook patches)")
    if over is None and picture is None and ".onelook" not in network:
        model, head, found = None, None, of_name(network, size)
    else:
        model, head = open_network(network, weights)
        found = anatomy_of_model(model, size, [head] if head else None) if model.heads else of_name(model.backbone.name, size)
    inner = None if model is None else network_of(model, head)
    becomes = _becomes(inner, picture) if inner is not None and picture is not None else []
    if report is not None:
        from onelook.report.inside import write_anatomy

        seen: list[Seen] = []
        if inner is not None and over is not None:
            seen = _seen(inner, [f"stride{stride}" for stride in inner.backbone.strides], over, SENT_BACK, quiet)
        write_anatomy(report, found, seen, becomes, _why(model, head, picture, over) if model is not None else ())
    elif becomes:
        from onelook.answers.canvas import save_picture
        from onelook.report.inside import activation_sheet

        save_picture(activation_sheet(becomes), out)
    if json:
        emit(found.to_json())
    else:
        _show(found, every)
        if becomes and report is None:
            say(f"{out}: what {picture} becomes in it")


def _seen(model: "Model", stages: list[str], over: Path, units: int, quiet: bool) -> "list[Seen]":
    """For every stage what excites its units, and of the first ``units`` what made them active, where the network allows that."""
    from dataclasses import replace

    from onelook.data.pictures import find_pictures
    from onelook.inside.deconvnet import reconstructions
    from onelook.inside.patches import patches_by_layer
    from onelook.modelparts import READY

    seen: list[Seen] = []
    for patches in patches_by_layer(model, list(find_pictures([over])), stages, progress=progress(quiet)).values():
        some = replace(patches, units=patches.units[:units])
        try:
            sent = list(reconstructions(model.extractor(model.geometry_of(READY)), some))
        except HeadError:
            sent = []
        seen.append((patches, sent))
    return seen


def _why(model: "Model", head: str | None, picture: Path | None, over: Path | None) -> "list[Explanation]":
    """What speaks for a head's answer (None: each one's) to a picture, or to a few of many; heads that cannot be explained are left out."""
    from onelook.data.pictures import find_pictures
    from onelook.inside.explain import explain

    every = [picture] if picture is not None else list(find_pictures([over])) if over is not None else []
    found = []
    for name in [head] if head else model.heads:
        for path in every[:: max(1, len(every) // EXPLAINED)][:EXPLAINED]:
            try:
                found.append(explain(model, name, path))
            except OnelookError:
                break
    return found


def _becomes(model: "Model", picture: Path) -> "list[Activations]":
    from onelook.inside.activations import activations
    from onelook.modelparts import READY

    return activations(model.extractor(model.geometry_of(READY)), picture)


def _beside(
    network: str, other: str, over: Path | None, report: Path | None, weights: Path | None, alone: dict[str, object], json: bool,
    quiet: bool,
) -> None:  # fmt: skip
    """Figures of two networks on the same pictures, and a page with their filters, what excites their units, and why they answer so."""
    from onelook.data.pictures import find_pictures
    from onelook.inside.beside import HEADER, beside
    from onelook.inside.filters import first_convolution
    from onelook.inside.opened import network_of, open_network

    given = [option for option, value in alone.items() if value]
    if given:
        raise OnelookError(f"{', '.join(given)}: of one network; --beside compares two on the pictures of --over")
    if over is None:
        raise OnelookError("--beside: on which pictures? add --over DATA")
    opened = [open_network(name, weights) for name in (network, other)]
    both = [network_of(model, head) for model, head in opened]
    found = beside(both[0], both[1], list(find_pictures([over])), (network, other), progress=progress(quiet))
    if report is not None:
        from onelook.report.inside import write_beside

        kernels = [first_convolution(model.backbone.network).weight.detach() for model in both]
        seen = [_seen(model, list(found.stages), over, OF_EACH, quiet) for model in both]
        why = [_why(model, head, None, over) for model, head in opened]
        write_beside(report, found, kernels, seen, why)
    if json:
        emit(found.to_json())
        return
    table(HEADER, found.rows(), title=f"{network}, and there {other}: {found.pictures} pictures")
    for name, first in zip(found.names, found.first, strict=True):
        say(f"{name}: {first}")


def _show(found: "Anatomy", every: bool) -> None:
    from onelook.inside.anatomy import HEADER, KIND_HEADER

    table(HEADER, found.rows(every), title=f"{found.name}, input {' x '.join(map(str, found.input))}")
    table(KIND_HEADER, found.kind_rows())
    say(
        f"{found.parameters:,} parameters, {found.macs:,} multiply-accumulates ({2 * found.macs:,} FLOPs) a picture, of convolutions and "
        "matrix products without biases. Field: pixels that a place sees; whole: all; *: its paths have several centres."
    )

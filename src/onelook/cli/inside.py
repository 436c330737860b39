"""``onelook filters``, ``patches``, ``deconvnet``: what a network's filters and units see."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from onelook.cli.options import Json, Network, Quiet, Weights, done, emit, numbers, progress, say, table
from onelook.errors import OnelookError

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 12  # units that are named where no sheet is drawn


def filters(
    sources: Annotated[
        list[str], typer.Argument(metavar="PICTURE | NET|FILE[:HEAD]...", help="A picture, or networks whose first filters are shown.")
    ],
    kernel: Annotated[
        str, typer.Option(metavar="NAME|ROWS", help='vertical, sobel, scharr, laplacian ..., or "1 0 -1; 2 0 -2; 1 0 -1".')
    ] = "sobel",
    padding: Annotated[str, typer.Option(metavar="valid|same|N", help="Places put around the picture.")] = "valid",
    stride: Annotated[int, typer.Option(min=1, help="How far the filter moves.")] = 1,
    flip: Annotated[bool, typer.Option("--flip", help="True convolution: the filter turned by half a turn.")] = False,
    learn: Annotated[bool, typer.Option("--learn", help="Find the numbers of the filter by back-propagation instead.")] = False,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="Where the picture goes.")] = Path("filters.png"),
    weights: Weights = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Lay an edge filter on a picture, learn one, or show the filters that a network begins with.

    Example: onelook filters photo.jpg --kernel sobel --out edges.png
    """
    from onelook.answers.canvas import save_picture
    from onelook.data.pictures import is_picture, open_picture
    from onelook.inside.filters import convolve, find_kernel, grey, learn_kernel, words_of
    from onelook.report.inside import learning_strip, response

    if not is_picture(Path(sources[0])):
        _first_filters(sources, out, weights, json, quiet)
        return
    if len(sources) > 1:
        raise OnelookError(f"{' '.join(sources[1:])}: a filter is laid on one picture at a time")
    values, wanted = grey(open_picture(sources[0])), find_kernel(kernel)
    if learn:
        stages = learn_kernel(values, wanted)
        save_picture(learning_strip(stages, values, wanted), out)
        facts = {"kernel": stages[-1].kernel.tolist(), "wanted": wanted.tolist(), "loss": stages[-1].loss, "steps": stages[-1].step}
        done(
            f"{out}: after {stages[-1].step} steps {_rows(stages[-1].kernel)}, wanted {_rows(wanted)}",
            facts | {"out": str(out)},
            json,
            quiet,
        )
        return
    pad = padding if padding in ("valid", "same") else _number("--padding", padding)
    found = convolve(values, wanted, pad, stride, flip)  # type: ignore[arg-type]
    save_picture(response(found), out)
    formula = words_of(values.shape, wanted.shape, pad, stride)  # type: ignore[arg-type]
    facts = {"input": list(values.shape), "output": list(found.shape), "kernel": wanted.tolist(), "formula": formula, "out": str(out)}
    done(f"{out}: {' x '.join(map(str, found.shape))} (high x wide): {formula}", facts, json, quiet)


def _first_filters(networks: list[str], out: Path, weights: Path | None, json: bool, quiet: bool) -> None:
    """The filters of the first convolution of one network, or of several side by side."""
    from dataclasses import asdict

    from onelook.answers.canvas import save_picture
    from onelook.inside.filters import first_convolution, spectrum
    from onelook.inside.opened import network_of, open_network
    from onelook.report.inside import kernel_sheet, stacked

    kernels = {
        network: first_convolution(network_of(*open_network(network, weights)).backbone.network).weight.detach() for network in networks
    }
    save_picture(stacked([kernel_sheet(each, f"{name}: the filters of its first convolution") for name, each in kernels.items()]), out)
    found = {name: spectrum(each) for name, each in kernels.items()}
    if json:
        emit({"out": str(out), "networks": {name: asdict(one) for name, one in found.items()}})
    elif not quiet:
        header = ["network", "filters", "low", "middle", "high", "dead"]
        rows = [
            [
                name,
                f"{one.filters} of {one.size[0]} x {one.size[1]}",
                f"{one.low:.0%}",
                f"{one.middle:.0%}",
                f"{one.high:.0%}",
                f"{one.dead:.0%}",
            ]
            for name, one in found.items()
        ]
        table(header, rows, title=f"{out}: energy of the first filters by frequency")


def _rows(kernel: "Tensor") -> str:
    return "; ".join(" ".join(f"{value:.2f}" for value in row) for row in kernel.tolist())


def _number(option: str, text: str) -> int:
    if not text.isdigit():
        raise OnelookError(f"{option} {text}: use valid, same or a number")
    return int(text)


def patches(
    network: Network,
    data: Annotated[list[str], typer.Argument(metavar="DATA...", help="Pictures, folders, globs.")],
    layer: Annotated[str, typer.Option(metavar="LAYER", help="A stage (stride8) or a module of the network (blocks.3.1).")] = "stride8",
    units: Annotated[str | None, typer.Option(metavar="0-15,40", help="Which channels (default: all).")] = None,
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
    from onelook.inside.opened import network_of, open_network
    from onelook.inside.patches import patches as run
    from onelook.report.inside import patch_sheet

    model = network_of(*open_network(network, weights))
    found = run(model, list(find_pictures(data)), layer, units=numbers(units), progress=progress(quiet))
    if out is not None:
        save_picture(patch_sheet(found), out)
    if json:
        emit(found.to_json())
        return
    for one in found.refused:
        say(f"{one.path}: {one.reason}")
    dead = f", {found.dead} of them dead (above 0 in no picture)" if found.dead else ""
    say(
        f"{layer}: {len(found.units)} units{dead}, {found.pictures} pictures; a place sees {found.sees}"
        + (f"; sheet: {out}" if out else "")
    )
    for unit in found.units[:SHOWN] if out is None else ():
        regions = ", ".join(f"{patch.path.name} {patch.value:.2f}" for patch in unit.patches[:3])
        say(f"unit {unit.unit}: {regions or 'dead: 0 in all pictures'}")


def deconvnet(
    network: Network,
    data: Annotated[list[str], typer.Argument(metavar="DATA...", help="Pictures, folders, globs.")],
    layer: Annotated[str, typer.Option(metavar="LAYER", help="A stage (stride8) or a module of the network (blocks.3.1).")] = "stride8",
    units: Annotated[str, typer.Option(metavar="0-15,40", help="Which channels.")] = "0-15",
    rule: Annotated[
        str, typer.Option(metavar="RULE", help="auto, deconvnet (by switches) or guided (by the rectifiers' own signs, too).")
    ] = "auto",
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
    from onelook.inside.opened import network_of, open_network
    from onelook.inside.patches import patches as run
    from onelook.inside.rectifiers import Rule
    from onelook.modelparts import READY
    from onelook.report.inside import deconvnet_sheet

    if rule not in ("auto", *get_args(Rule)):
        raise OnelookError(f"--rule {rule}: use auto, {', '.join(get_args(Rule))}")
    chosen: Rule | None = None if rule == "auto" else rule  # type: ignore[assignment]
    model = network_of(*open_network(network, weights))
    found = run(model, list(find_pictures(data)), layer, units=numbers(units), progress=progress(quiet))
    with progress(quiet).task("sending back", len(found.units)) as advance:
        sent = []
        for unit in reconstructions(model.extractor(model.geometry_of(READY)), found, chosen):
            sent.append(unit)
            advance()
    save_picture(deconvnet_sheet(layer, sent), out)
    done(f"{out}: {len(sent)} units of {layer}, {found.pictures} pictures", found.to_json() | {"sheet": str(out)}, json, quiet)

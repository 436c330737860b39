"""``onelook anatomy``, ``filters``, ``patches``, ``deconvnet``, ``explain``: looking inside a network."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onelook.cli.options import Json, Quiet, Report, Weights, done, emit, numbers, progress, say, table
from onelook.errors import HeadError, OnelookError

if TYPE_CHECKING:
    from torch import Tensor

    from onelook.inside.anatomy import Anatomy
    from onelook.inside.deconvnet import Reconstruction
    from onelook.inside.explain import Explanation
    from onelook.inside.patches import Patches, Unit
    from onelook.model import Model

EXPLAINED = 4  # pictures on a page whose answers are explained
SHOWN = 12  # units that are named where no sheet is drawn
Network = Annotated[str, typer.Argument(metavar="NET|FILE", help="A network by its name, or a .onelook file.")]


def anatomy(
    network: Network,
    size: Annotated[int | None, typer.Option(min=1, help="Pixels of the square input (default: the network's own).")] = None,
    every: Annotated[bool, typer.Option("--all", help="Show normalisations, activations and joints, too.")] = False,
    over: Annotated[Path | None, typer.Option(metavar="DATA", help="With --report: what excites units in these pictures.")] = None,
    picture: Annotated[Path | None, typer.Option(metavar="PICTURE", help="What this picture becomes in it, stage by stage.")] = None,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="Where that is drawn, without --report.")] = Path("activations.png"),
    report: Report = None,
    weights: Weights = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what a network is made of: shapes, parameters, multiply-accumulates (MACs), strides and receptive fields.

    Example: onelook anatomy resnet50 --size 224
    """
    from onelook.inside.activations import activations
    from onelook.inside.anatomy import anatomy as of_name
    from onelook.inside.anatomy import anatomy_of_model

    if over is not None and report is None:
        raise OnelookError("--over: what excites units is drawn on a page: add --report DIR (or see onelook patches)")
    model = _model(network, weights) if over is not None or picture is not None or network.endswith(".onelook") else None
    becomes = activations(model.extractor(model.geometry_of("imagenet")), picture) if model is not None and picture is not None else []
    found = anatomy_of_model(model, size) if model is not None and model.heads else of_name(network, size)
    if report is not None:
        from onelook.report.inside import write_anatomy

        seen = _seen(model, over, quiet) if model is not None and over is not None else ()
        write_anatomy(report, found, seen, becomes, _why(model, picture, over) if model is not None else ())
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


def filters(
    sources: Annotated[
        list[str], typer.Argument(metavar="PICTURE | NET|FILE...", help="A picture, or networks whose first filters are shown.")
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
    from onelook.inside.filters import first_kernels, spectrum
    from onelook.report.inside import kernel_sheet, stacked

    kernels = {network: first_kernels(_model(network, weights).backbone.network) for network in networks}
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
    dead = f", {found.dead} of them dead (above 0 in no picture)" if found.dead else ""
    say(
        f"{layer}: {len(found.units)} units{dead}, {found.pictures} pictures; a place sees {found.sees}"
        + (f"; sheet: {out}" if out else "")
    )
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
    picture: Annotated[Path | None, typer.Argument(metavar="[PICTURE]", help="Of which the answer is explained.")] = None,
    over: Annotated[
        Path | None, typer.Option(metavar="DATA", help="Instead: where the head looks in many pictures, and what decides.")
    ] = None,
    head: Annotated[str | None, typer.Option(metavar="NAME", help="Which head (default: the only one).")] = None,
    method: Annotated[
        str, typer.Option(metavar="METHOD", help="auto, hirescam, gradcam, integrated_gradients, occlusion or guided.", show_default=True)
    ] = "auto",
    layer: Annotated[str | None, typer.Option(metavar="STAGE", help="Whose maps are read (default: what suits the head).")] = None,
    about: Annotated[str | None, typer.Option(metavar="CLASS", help="Why it says so much of this class (default: of the answer).")] = None,
    other: Annotated[Path | None, typer.Option(metavar="PICTURE", help="With what an embed or pair head compares.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Write the picture with the map here.")] = None,
    trust: Annotated[bool, typer.Option("--trust/--no-trust", help="Test whether the map can be trusted.")] = True,
    report: Report = None,
    weights: Weights = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show why a head says what it says of a picture, and whether the map can be trusted; or (--over) what leads it astray in many.

    Example: onelook explain mine.onelook photo.jpg --head kind --out map.png
    """
    from onelook.answers.canvas import save_picture
    from onelook.inside.explain import explain as run
    from onelook.report.inside import explained

    alone = {"PICTURE": picture, "--about": about, "--other": other, "--layer": layer, "--out": out, "--method": method != "auto"}
    given = [option for option, value in alone.items() if value]
    if over is not None and given:
        raise OnelookError(f"{', '.join(given)}: of one picture; --over DATA asks of many, by hirescam, and draws on a page (--report)")
    if over is None and report is not None:
        raise OnelookError("--report: a page is made of many pictures (--over DATA); one is drawn by --out FILE.png")
    model = _model(network, weights)
    name = head or _only(model)
    if over is not None:
        _explain_over(model, name, over, report, json, quiet)
        return
    if picture is None:
        raise HeadError("explain what? name a PICTURE, or --over DATA for many")
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


def _explain_over(model: "Model", name: str, over: Path, report: Path | None, json: bool, quiet: bool) -> None:
    from onelook.data.pictures import find_pictures
    from onelook.inside.over import GROUP_HEADER, explain_over
    from onelook.report.inside import write_over

    groups = explain_over(model, name, list(find_pictures([over])), progress=progress(quiet))
    if report is not None:
        write_over(report, name, over, groups)
    if json:
        emit({"head": name, "groups": [group.to_json() for group in groups]})
        return
    table(GROUP_HEADER, [group.row() for group in groups], title=f"{name}: where it looks, in groups of pictures alike")
    for group in groups:
        if group.suspicious:
            say(f"look at it: what lies {group.where} decides that {len(group.paths)} pictures are {group.claim} (as {group.paths[0]})")


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


def _seen(model: "Model", over: Path, quiet: bool) -> "list[tuple[Patches, list[tuple[Unit, list[Reconstruction]]]]]":
    """For every stage what excites its units, and of the first ones what made them active, where the network allows that."""
    from dataclasses import replace

    from onelook.data.pictures import find_pictures
    from onelook.inside.deconvnet import reconstructions
    from onelook.inside.patches import patches_by_layer

    stages = [f"stride{stride}" for stride in model.backbone.strides]
    found = patches_by_layer(model, list(find_pictures([over])), stages, progress=progress(quiet))
    seen = []
    for patches in found.values():
        some = replace(patches, units=patches.units[:SHOWN])
        try:
            sent = list(reconstructions(model.extractor(model.geometry_of("imagenet")), some))
        except HeadError:
            sent = []
        seen.append((patches, sent))
    return seen


def _why(model: "Model", picture: Path | None, over: Path | None) -> "list[Explanation]":
    """What speaks for each head's answer to a picture, or to a few of many; heads that cannot be explained are left out."""
    from onelook.data.pictures import find_pictures
    from onelook.inside.explain import explain

    every = [picture] if picture is not None else list(find_pictures([over])) if over is not None else []
    found = []
    for name in model.heads:
        for path in every[:: max(1, len(every) // EXPLAINED)][:EXPLAINED]:
            try:
                found.append(explain(model, name, path))
            except OnelookError:
                break
    return found


def _show(found: "Anatomy", every: bool) -> None:
    from onelook.inside.anatomy import HEADER, KIND_HEADER

    table(HEADER, found.rows(every), title=f"{found.name}, input {' x '.join(map(str, found.input))}")
    table(KIND_HEADER, found.kind_rows())
    say(
        f"{found.parameters:,} parameters, {found.macs:,} multiply-accumulates ({2 * found.macs:,} FLOPs) a picture, of convolutions and "
        "matrix products without biases. Field: pixels that a place sees; whole: all; *: its paths have several centres."
    )

"""``onelook explain``: why a head says what it says, of one picture or of many."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onelook.cli.options import Json, Network, Quiet, Report, Weights, emit, progress, say, table
from onelook.errors import HeadError, OnelookError

if TYPE_CHECKING:
    from onelook.model import Model


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
    from onelook.inside.opened import open_network
    from onelook.report.inside import explained

    alone = {"PICTURE": picture, "--about": about, "--other": other, "--layer": layer, "--out": out, "--method": method != "auto"}
    given = [option for option, value in alone.items() if value]
    if over is not None and given:
        raise OnelookError(f"{', '.join(given)}: of one picture; --over DATA asks of many, by hirescam, and draws on a page (--report)")
    if over is None and report is not None:
        raise OnelookError("--report: a page is made of many pictures (--over DATA); one is drawn by --out FILE.png")
    model, named = open_network(network, weights)
    if head and ".onelook:" in network and head != named:
        raise HeadError(f"--head {head}: {network} names another head; leave one of them away")
    name = head or named or _only(model)
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
    """The network's own classes. Raises HeadError where there are several heads to choose from."""
    from onelook.modelparts import READY

    if model.heads:
        raise HeadError(f"--head: which one? there are {', '.join(model.heads)}")
    return READY

"""``onelook style``: paint a photo in the style of paintings; ``style train`` and ``style apply``: a painter of your own."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onelook.cli.options import Json, Quiet, Report, Seed, Weights, done, duration, emit, group_with, names, progress, say
from onelook.errors import OnelookError

if TYPE_CHECKING:
    from PIL import Image

    from onelook.style.paint import Painting
    from onelook.style.painter import Step
    from onelook.style.recipe import Recipe

INTERRUPTED = 130
PAINT = "paint"  # the command that is meant where none is named


app = typer.Typer(
    cls=group_with(PAINT), no_args_is_help=True,
    help="Paint a photo in the style of paintings; train a painter of your own.",
)  # fmt: skip


@app.callback()
def _group() -> None:
    """Paint a photo in the style of paintings."""


@app.command()
def paint(
    content: Annotated[Path, typer.Argument(metavar="PHOTO", help="What is painted.")],
    styles: Annotated[list[Path], typer.Argument(metavar="PAINTING...", help="Pictures that lend their style.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where the painting goes.")] = Path("painted.png"),
    size: Annotated[int | None, typer.Option(min=1, help="Pixels of the longer side (default: 512, or the photo's if less).")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of all sizes together (default: 100 at each).")] = None,
    strength: Annotated[float, typer.Option(help="0: the photo, 1: style alone.")] = 0.7,
    alpha: Annotated[float | None, typer.Option(help="Weight of the paper's content loss, with --beta, instead of --strength.")] = None,
    beta: Annotated[float | None, typer.Option(help="Weight of the paper's style loss.")] = None,
    init: Annotated[str, typer.Option(metavar="content|style|noise|instant", help="What is begun with.")] = "content",
    color: Annotated[
        str, typer.Option(metavar="style|keep|match", help="keep: paint brightness only; match: a painting in the photo's colours.")
    ] = "style",
    blend: Annotated[str | None, typer.Option(metavar="W,W", help="Weights of several paintings (default: alike).")] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="FILE.onelook:HEAD=CLASS", help="Where the first painting belongs (again: the second ...).")
    ] = None,
    network: Annotated[
        str, typer.Option(rich_help_panel="Network", help="efficientnet_lite0, hed, instant, vgg19 with --weights, or any backbone.")
    ] = "efficientnet_lite0",
    weights: Weights = None,
    style_layers: Annotated[
        str | None, typer.Option(metavar="LAYER[:W],...", rich_help_panel="Network", help="Layers of style, with weights.")
    ] = None,
    content_layers: Annotated[
        str | None, typer.Option(metavar="LAYER[:W],...", rich_help_panel="Network", help="Layers of content, with weights.")
    ] = None,
    loss: Annotated[str, typer.Option(metavar="gram|wasserstein", rich_help_panel="Network", help="How style is compared.")] = "gram",
    smooth: Annotated[float | None, typer.Option(rich_help_panel="Network", help="Weight of total variation.")] = None,
    optimizer: Annotated[str, typer.Option(metavar="adam|lbfgs|descent", rich_help_panel="Network", help="How it goes downhill.")] = "adam",
    tiles: Annotated[
        int | None, typer.Option(min=256, rich_help_panel="Network", help="Pixels of a tile's side (default: as memory allows).")
    ] = None,
    preview: Annotated[int | None, typer.Option(min=1, metavar="N", help="Write the picture so far every N steps.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a painting that was interrupted.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how long and how large it will be, and paint nothing.")] = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="Paint a sheet: more layers of style down, less strength across.")] = False,
    ladder: Annotated[bool, typer.Option("--ladder", help="Paint a sheet: every network that is here.")] = False,
    report: Report = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Paint a photo in the style of one or more paintings. What it will take is said first; Ctrl-C keeps the best so far.

    A painter of your own, for one style in one pass: onelook style train --help, onelook style apply --help.

    Example: onelook style photo.jpg painting.jpg --out painted.jpg --size 512 --strength 0.7
    """
    from onelook.style.paint import INSTANT
    from onelook.style.recipe import Recipe
    from onelook.workflows.style import Place

    _check_out(out)
    one = {"--preview": preview, "--resume": resume, "--dry-run": dry_run}
    if sweep or ladder:
        other = {"--ladder": ladder, "--alpha": alpha is not None} if sweep else {}
        _refuse(f"{'--sweep' if sweep else '--ladder'} paints many pictures on one sheet", {**one, "--report": report, **other})
    if network == INSTANT:
        _refuse("--network instant paints in one pass", one)
    recipe = Recipe(
        size=size, steps=steps, strength=strength, alpha=alpha, beta=beta, network=network, weights_file=weights, init=init,
        colour=color, blend=_numbers("--blend", blend), masks=tuple(Place.of(text).mask(content) for text in where or ()),
        content_layers=_layers("--content-layers", content_layers), style_layers=_layers("--style-layers", style_layers),
        measure=loss, smooth=smooth, optimizer=optimizer, tiles=tiles, seed=seed,
    )  # fmt: skip
    if sweep or ladder:
        _sheets(content, styles, recipe, out, sweep, json, quiet)
        return
    painting = _painted(content, styles, recipe, out, preview, resume, dry_run, json, quiet)
    if painting is None:
        return
    _keep(painting, out)
    if report is not None:
        _report(report, painting, content, styles)
    verdict = painting.verdict
    text = f"{out}: {painting.picture.width} x {painting.picture.height}, {painting.steps} steps in {painting.seconds:.1f} s"
    text += f"; style distance {verdict.style:.3f}, content distance {verdict.content:.3f} (judge: {painting.judge})"
    done("\n".join([text, *painting.remarks]), painting.to_json() | {"out": str(out)}, json, quiet)
    if painting.stopped:
        _interrupted(f"{out} is the best so far; go on with --resume", quiet)


@app.command()
def train(
    style: Annotated[Path, typer.Argument(metavar="PAINTING", help="The style that is learned.")],
    photos: Annotated[list[str], typer.Argument(metavar="PHOTOS...", help="Pictures, folders, globs to learn painting on.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The painter's file.")] = Path("painter.style"),
    budget: Annotated[str, typer.Option(metavar="15m", help="How long it may learn.")] = "15m",
    size: Annotated[int | None, typer.Option(min=32, help="Longer side of the pictures that it will paint (default: 512).")] = None,
    strength: Annotated[float, typer.Option(help="0: the photo, 1: style alone.")] = 0.7,
    steady: Annotated[float, typer.Option(min=0, help="Weight of painting neighbouring frames of a film alike.")] = 0.0,
    network: Annotated[str, typer.Option(rich_help_panel="Network", help="Whose features are learned from.")] = "efficientnet_lite0",
    weights: Weights = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a painter of one style on your photos, which then paints any photo in one pass. Ctrl-C keeps what is learned.

    Example: onelook style train painting.jpg photos/ --out painter.style --budget 15m
    """
    from onelook.style.recipe import Recipe
    from onelook.workflows.style import train_painter

    _check_out(out, "a file of another name")
    seconds = duration(budget) or 0.0
    recipe = Recipe(size=size, strength=strength, network=network, weights_file=weights)
    found = train_painter(style, photos, out, recipe, seconds, steady=steady, seed=seed, progress=progress(quiet))
    text = f"{out}: learned from {found['photos']} photos, {found['steps']} steps in {found['seconds']:.0f} s"
    done(text, found, json, quiet)
    if found["stopped"]:
        _interrupted(f"{out} is what was learned so far", quiet)


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A painter that style train made.")],
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Pictures, folders, globs, films.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the paintings go.")] = Path("painted"),
    size: Annotated[int | None, typer.Option(min=32, help="Pixels of the longer side (default: what it learned for).")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Paint photos, and films frame by frame, with a painter of your own; what cannot be read gives an error line and exit code 3.

    Example: onelook style apply painter.style photos/ --out painted
    """
    from onelook.workflows.style import apply_painter

    failed = False
    for result in apply_painter(file, photos, out, size):
        failed = failed or "error" in result
        if json:
            emit(result)
        elif "error" in result:
            progress(quiet).say(f"onelook: {result['error']}")
        elif not quiet:
            say(f"{result['path']}: {result['out']}, {result['seconds']:.2f} s")
    if failed:
        raise typer.Exit(3)


def _painted(
    content: Path, styles: list[Path], recipe: "Recipe", out: Path, preview: int | None, resume: bool, dry_run: bool, json: bool,
    quiet: bool,
) -> "Painting | None":  # fmt: skip
    """Say the forecast, then paint, showing how it goes; None where nothing was to be painted."""
    from onelook.style.paint import INSTANT, carry_out, paint_instantly, plan

    if recipe.network == INSTANT:
        return paint_instantly(content, styles, recipe)
    unfinished = _unfinished(out)
    if resume and not unfinished.exists():
        raise OnelookError(f"--resume: there is no unfinished painting of {out}")
    planned = plan(content, styles, recipe, unfinished, resume=resume)
    ahead, last = planned.forecast, planned.painter.plan[-1]
    if dry_run:
        text = f"{out}: {last.width} x {last.height}, {planned.painter.total} steps: about {ahead.seconds:.0f} s and {ahead.mb:.0f} MB"
        done(text + (f", {ahead.remark}" if ahead.remark else ""), planned.to_json(), json, quiet)
        return None
    if not resume:
        unfinished.unlink(missing_ok=True)
    shower = progress(quiet)
    shower.say(f"about {ahead.seconds:.0f} s and {ahead.mb:.0f} MB" + (f", {ahead.remark}" if ahead.remark else ""))
    with shower.task(f"painting {out.name}", planned.painter.total) as advance:

        def show(step: "Step") -> None:
            advance()
            if preview and step.done % preview == 0 and step.done < step.total:
                _save(planned.finish(step.picture()), out)

        return carry_out(planned, callback=show)


def _sheets(content: Path, styles: list[Path], recipe: "Recipe", out: Path, sweep: bool, json: bool, quiet: bool) -> None:
    """Many paintings of one photo on one sheet."""
    from onelook.report.style import said_of, sheet
    from onelook.workflows import style as workflow

    facts: list[dict[str, Any]] = []
    rows: list[list[tuple[Image.Image | None, tuple[str, ...]]]] = [[]]
    shower, across = progress(quiet), len(workflow.RATIOS) if sweep else len(workflow.LADDER) + 1
    for name, found in (workflow.sweep if sweep else workflow.ladder)(content, styles, recipe):
        if isinstance(found, str):
            shower.say(f"{name}: {found}")
            continue
        lines = said_of(found)
        shower.say(f"{name}: {lines[0]}")
        facts.append(found.to_json() | {"name": name})
        rows[-1].append((found.picture, (name, *lines)))
        if len(rows[-1]) == across:
            rows.append([])
        if found.stopped:
            break
    _save(sheet([row for row in rows if row]), out)
    done(f"{out}: {len(facts)} paintings", {"out": str(out), "paintings": facts}, json, quiet)
    if facts and facts[-1]["stopped"]:
        _interrupted(f"{out} has the {len(facts)} paintings so far", quiet)


def _interrupted(what: str, quiet: bool) -> None:
    """Say what is kept, and end as programs do that were interrupted."""
    progress(quiet).say(f"onelook: interrupted; {what}")
    raise typer.Exit(INTERRUPTED)


def _refuse(why: str, options: Mapping[str, object]) -> None:
    """Raise OnelookError for options that were given and would do nothing."""
    given = [option for option, value in options.items() if value]
    if given:
        raise OnelookError(f"{', '.join(given)}: {why}, where that does nothing; leave it away")


def _report(folder: Path, painting: "Painting", content: Path, styles: list[Path]) -> None:
    from onelook.data.pictures import open_picture
    from onelook.report.style import write_style

    write_style(folder, painting, open_picture(content), [open_picture(style) for style in styles])


def _keep(painting: "Painting", out: Path) -> None:
    """Write the painting; where that fails, beside the system's other passing files, so that nothing is lost."""
    import tempfile

    try:
        _save(painting.picture, out)
    except OnelookError as error:
        other = Path(tempfile.mkdtemp(prefix="onelook-")) / "painted.png"
        _save(painting.picture, other)
        raise OnelookError(f"{error}; the painting is in {other}") from error


def _save(picture: "Image.Image", out: Path) -> None:
    """Write a picture whole or not at all, so that a preview is never half a file."""
    from onelook.answers.canvas import save_picture

    partial = out.with_name(f".{out.stem}.partial{out.suffix}")
    try:
        save_picture(picture, partial)
        partial.replace(out)
    except OSError as error:
        raise OnelookError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        partial.unlink(missing_ok=True)


def _check_out(out: Path, instead: str = "a .png or .jpg file in a folder of yours") -> None:
    """Raise OnelookError, before anything is computed, where nothing can be written."""
    from PIL import Image

    Image.init()
    if out.is_dir() or (instead.startswith("a .png") and out.suffix.lower() not in Image.registered_extensions()):
        raise OnelookError(f"--out {out}: name {instead}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(f".{out.name}.partial")
        partial.touch()
        partial.unlink()
    except OSError as error:
        raise OnelookError(f"--out {out}: cannot be written ({error.strerror}); name {instead}") from error


def _unfinished(out: Path) -> Path:
    """Where a painting that was interrupted waits."""
    return out.with_name(f".{out.name}.unfinished")


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in names(text))
    except ValueError:
        raise OnelookError(f"{option} {text}: use numbers, as in 2,1") from None


def _layers(option: str, text: str | None) -> dict[str, float]:
    """Layers with weights of "relu1_1:0.5,relu2_1". Raises OnelookError."""
    found = {}
    for part in names(text):
        layer, _, weight = part.partition(":")
        try:
            found[layer] = float(weight or 1)
        except ValueError:
            raise OnelookError(f"{option} {part}: {weight} is no number; use LAYER or LAYER:0.5") from None
    return found

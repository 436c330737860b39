"""``onelook info``: what a model file holds and what each part of it costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onelook.cli.options import Json, Weights, emit, say, table
from onelook.facts import Facts

if TYPE_CHECKING:
    from onelook.model import Model

SHOWN = 12  # pictures on a sheet of examples


def info(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A .onelook file (default: the bare backbone).")] = None,
    backbone: Annotated[str | None, typer.Option(metavar="NAME", help="Without FILE: which backbone.")] = None,
    examples: Annotated[list[str] | None, typer.Option("--examples", metavar="PATH", help="Draw its answers to some of them.")] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.png", help="Where they are drawn.")] = Path("examples.png"),
    weights: Weights = None,
    json: Json = False,
) -> None:
    """Show backbone, heads, classes, licences, and what every part costs.

    Example: onelook info mine.onelook
    """
    from onelook.backbones.weights import DEFAULT_BACKBONE
    from onelook.model import Model
    from onelook.report.profile import profile

    model = Model.load(file, weights=weights) if file else Model.new(backbone or DEFAULT_BACKBONE, weights=weights)
    if not model.heads and not model.backbone.class_names:
        say(model.backbone.summary())
        return
    drawn = _draw(model, examples, out) if examples else 0
    bill = profile(model)
    result: Facts = {"file": str(file) if file else None, "bytes": file.stat().st_size if file else 0} | model.info() | bill.to_json()
    if json:
        emit(result)
        return
    say(model.backbone.summary())
    for name, head in result["heads"].items():
        classes = ", ".join(head["classes"][:12]) + (" ..." if len(head["classes"]) > 12 else "")
        done = model.head(name).judge().in_words(head["metrics"]) if head["metrics"].get("n") else "ready"
        how = f" by {head['method']}" if head["method"] not in ("", head["task"]) else ""
        say(f"{name}: {head['task']}{how} ({classes}); {head['cut']}; reads {_in_words(head['reads'])}; {done}{_trained(head['training'])}")
    rows = [[p.part, f"{p.parameters:,}", f"{p.macs / 1e6:,.1f} M", f"{p.bytes / 1e6:,.2f} MB", f"{p.ms:.2f}"] for p in bill.parts]
    table(["part", "parameters", "MACs", "size", "ms a picture"], rows)
    heads = len(result["heads"])
    say(
        f"{heads} head{'s' * (heads > 1)}, {bill.looks} look{'s' * (bill.looks > 1)} a picture: {bill.ms_together:.1f} ms together; "
        f"as separate models {bill.ms_apart:.1f} ms ({bill.ms_apart / bill.ms_together:.1f} times as long)"
    )
    if drawn:
        say(f"{out}: its answers to {drawn} pictures")
    if file is not None:
        say(f'ask it: onelook predict PICTURE --model {file}, or in Python: onelook.load({str(file)!r}).predict("photo.jpg")')


def _draw(model: "Model", pictures: list[str], out: Path) -> int:
    """Write a sheet of answers to a few pictures, evenly taken; how many. Raises DataError where there are none."""
    from onelook.answers.canvas import contact_sheet, save_picture
    from onelook.data.pictures import find_pictures
    from onelook.errors import DataError

    every = list(find_pictures(pictures))
    answers = [found for found in model.predict(every[:: max(1, len(every) // SHOWN)][:SHOWN]) if found.error is None]
    if not answers:
        raise DataError(f"--examples {' '.join(pictures)}: no pictures that can be read")
    save_picture(contact_sheet([(found.draw(), found.path.name) for found in answers], "Its answers", columns=4, cell=360), out)
    return len(answers)


def _trained(training: Facts) -> str:
    """When and on what a head was trained, as far as the file says it."""
    count = training.get("images", {}).get("train")
    if count is None:
        return ""
    when = f" on {training['trained']}" if "trained" in training else ""
    return f"; trained{when} from {count} pictures ({training.get('data', '?')})"


def _in_words(reads: Facts) -> str:
    """What a head reads, for people."""
    parts = [
        f"{kind} of strides {' '.join(map(str, reads[key]))}" for key, kind in (("pooled", "statistics"), ("maps", "maps")) if reads[key]
    ]
    parts += [f"{reads['regions']} proposed regions"] if reads["regions"] else []
    return " and ".join(parts + ["the embedding"] * reads["embedding"])

"""``onelook predict``: answers for pictures, folders and globs."""

import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from onelook.cli.options import Device, DeviceOption, InstanceName, Json, Quiet, Tiles, Tta, TtaName, Weights, emit, names, say


def predict(
    pictures: Annotated[list[str], typer.Argument(metavar="PATH...", help="Pictures, folders, globs; -: a picture or paths on stdin.")],
    model: Annotated[
        Path | None, typer.Option("--model", metavar="FILE", help="A .onelook file (default: the ready ImageNet head).")
    ] = None,
    heads: Annotated[str | None, typer.Option("--head", "--heads", metavar="A,B", help="Which heads to ask (default: all).")] = None,
    draw: Annotated[Path | None, typer.Option(metavar="DIR", help="Write pictures with their answers here.")] = None,
    conf: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Lowest score of boxes (default: 0.2; 0.001: all, to recompute AP).")
    ] = None,
    masks: Annotated[Path | None, typer.Option(metavar="DIR", help="Write what pixels are as index PNGs here; objects, too.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a row for each thing that was found.")] = None,
    gallery: Annotated[Path | None, typer.Option(metavar="FILE", help="Say who is there, too, of those enrolled in it.")] = None,
    encoder: Annotated[str, typer.Option(metavar="dlib|FILE:HEAD", help="What makes the gallery's vectors.")] = "dlib",
    instances: Annotated[InstanceName | None, typer.Option(help="Tell single objects apart in what pixels are.")] = None,
    tiles: Tiles = False,
    tta: Tta = TtaName.none,
    weights: Weights = None,
    device: DeviceOption = Device.auto,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Answer for every picture, one line each; a picture that cannot be read gives an error line and exit code 3.

    Example: onelook predict photos/ --model mine.onelook --json
    """
    from onelook.answers.canvas import save_picture, unused
    from onelook.answers.mask_files import save_masks
    from onelook.answers.table_file import TableFile
    from onelook.data.pictures import open_picture
    from onelook.errors import DataError
    from onelook.model import Model
    from onelook.workflows.faces import Identifier

    loaded = Model.load(model, weights=weights, device=device.value) if model else Model.new(weights=weights, device=device.value)
    how: Any = instances.value if instances else None
    failed = count = 0
    written: set[Path] = set()
    asked = [part for name in pictures for part in (_from_stdin() if name == "-" else [name])]
    with ExitStack() as open_files:
        table = open_files.enter_context(TableFile(csv)) if csv is not None else None
        who = open_files.enter_context(Identifier.open(gallery, encoder=encoder)) if gallery is not None else None
        for answers in loaded.predict(asked, heads=names(heads) or None, tta=tta.value, conf=conf, tiles=tiles, instances=how):
            count += 1
            if who is not None and answers.error is None:
                people = who.people(answers.picture or open_picture(answers.path))
                answers = replace(answers, answers={**answers.answers, "who": people})
            if table is not None:
                table.add(answers)
            if json:
                emit(answers.to_json())
            if answers.error is not None:
                failed += 1
                sys.stderr.write(f"onelook: {answers.error}\n")
                continue
            if not json and not quiet:
                say(f"{answers.path}: {answers}")
            if draw is not None:
                save_picture(answers.draw(), unused(draw / f"{answers.path.stem}.png", written))
            if masks is not None:
                save_masks(answers, masks, unused(masks / f"{answers.path.stem}.png", written))
    if count == 0:
        raise DataError(f"{' '.join(pictures)}: no pictures found")
    if failed:
        raise typer.Exit(3)


def _from_stdin() -> list[Any]:
    """What stdin brings: paths, a line each, or the bytes of a picture."""
    content = sys.stdin.buffer.read()
    if b"\0" in content[:8000]:
        return [content]
    return [line for line in os.fsdecode(content).splitlines() if line.strip()]

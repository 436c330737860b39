"""``onelook demo``: real pictures, two heads, a few minutes."""

from pathlib import Path
from typing import Annotated

import typer

from onelook.cli.options import Json, Quiet, Seed, emit, progress, say, table


def demo(
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the model and the sheet are written.")] = Path("demo"),
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train two heads from one set of looks at 2,624 real solar cells (pictures: CC BY-NC-SA 4.0, non-commercial).

    Example: onelook demo
    """
    from onelook.metrics.judge import percent
    from onelook.workflows.demo import HEADS, LICENCE, PAPER, run

    shown = progress(quiet)
    shown.say(f"2,624 electroluminescence pictures of solar cells (Buerhop-Lutz et al. 2018; {LICENCE})")
    found = run(folder, seed=seed, progress=shown)
    if json:
        emit(found.to_json())
        return
    for name, result in found.heads.items():
        say(f"{name} ({HEADS[name]}): {result['said']}")
    say("the paper on 656 cells: " + ", ".join(f"{method} {percent(share)}" for method, share in PAPER.items()))
    rows = [[part.part, f"{part.macs / 1e6:,.1f} M", f"{part.bytes / 1e6:.2f} MB", f"{part.ms:.2f}"] for part in found.bill.parts]
    table(["part", "MACs", "size", "ms a picture"], rows)
    first, second = found.heads["defect"]["seconds"], found.heads["cell"]["seconds"]
    said = f"the looks took {first['look']:.1f} s; the second head found them there ({second['look']:.1f} s)"
    say(f"{said} and was ready in {second['total']:.1f} s")
    say(f"both heads answer in {found.bill.ms_together:.1f} ms a picture; two separate models would take {found.bill.ms_apart:.1f} ms")
    say(f"{found.seconds:.0f} s in all; model: {found.model}; the worst errors: {found.sheet}")
    say(f"next: onelook info {found.model}   |   onelook train YOUR-PICTURES/ --name kind --model mine.onelook --val 0.25")

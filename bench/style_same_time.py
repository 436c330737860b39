"""The painter against plain Adam and plain L-BFGS for the same wall time: Gram distance by a judge that did not paint.

Same network, losses and final size; the plain ones work at that size from the photo on, by torch's own optimizers.

    python bench/style_same_time.py --pictures neural_style/ [--judge hed]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from onelook.data.pictures import open_picture
from onelook.style.judge import Judge, find_judge
from onelook.style.networks import load_network
from onelook.style.painter import Painter, Strokes, scaled, stages, to_picture, to_tensor
from onelook.style.recipe import STEPS, Recipe

PHOTOS = ("tubingen", "golden_gate", "hoovertowernight")
PAINTINGS = ("starry_night", "the_scream", "shipwreck")
PAIRS = [(photo, PAINTINGS[(place + shift) % 3]) for place, photo in enumerate(PHOTOS) for shift in (0, 1)]
RATES = {"adam": 0.02, "lbfgs": 1.0}


def plain(kind: str, painter: Painter, seconds: float) -> tuple[torch.Tensor, int]:
    """Torch's optimizer at the last size for so many seconds: the picture and the steps made."""
    begun, steps = time.perf_counter(), 0
    stage = painter.plan[-1]
    objective = painter.objective(stage)
    picture = torch.nn.Parameter(to_tensor(scaled(painter.content, stage)))
    inner: torch.optim.Optimizer
    inner = torch.optim.Adam([picture], lr=RATES[kind]) if kind == "adam" else torch.optim.LBFGS([picture], lr=RATES[kind], max_iter=1)

    def closure() -> float:
        gradient, losses = objective.gradient(picture.detach())
        picture.grad = gradient
        return sum(losses.values())

    step: Callable[[], object] = (lambda: (closure(), inner.step())) if kind == "adam" else (lambda: inner.step(closure))
    while time.perf_counter() - begun < seconds:
        step()
        with torch.no_grad():
            picture.clamp_(0, 1)
        steps += 1
    return picture.detach(), steps


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--network", default="efficientnet_lite0")
    parser.add_argument("--judge", default=None)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--keep", type=Path, default=None)
    arguments = parser.parse_args()
    network = load_network(arguments.network)
    judge_network = load_network(arguments.judge) if arguments.judge else find_judge(arguments.network)
    terms, rows = Recipe().terms(network), []
    for photo, painting in PAIRS:
        content, style = (open_picture(arguments.pictures / f"{name}.jpg") for name in (photo, painting))
        judge = Judge(judge_network, content, [(1.0, style)])
        plan = stages(content.size, arguments.size, 1000)
        plan = stages(content.size, arguments.size, STEPS * len(plan))
        painter = Painter(network, terms, content, [Strokes([(1.0, style)])], plan, begin=content)
        begun = time.perf_counter()
        for _ in painter:
            pass
        seconds = time.perf_counter() - begun
        pictures = {"ours": painter.picture()}
        for kind in RATES:
            pictures[kind] = to_picture(plain(kind, painter, seconds)[0])
        row = {"pair": f"{photo}+{painting}", "seconds": round(seconds, 1)}
        for name, picture in pictures.items():
            verdict = judge(picture)
            row[name] = [round(verdict.style, 4), round(verdict.content, 3)]
            if arguments.keep:
                picture.save(arguments.keep / f"{photo}_{painting}_{name}.png")
        rows.append(row)
        print(row, flush=True)
    better = {kind: sum(row["ours"][0] < row[kind][0] for row in rows) for kind in RATES}
    ratios = {kind: round(statistics.median(row["ours"][0] / row[kind][0] for row in rows), 3) for kind in RATES}
    facts = {"network": arguments.network, "judge": judge_network.facts.name, "size": arguments.size, "pairs": len(rows)}
    print(json.dumps(facts | {"better_in": better, "median_ratio_of_style_distance": ratios, "rows": rows}))


if __name__ == "__main__":
    main()

"""A painter of one style in one pass against the slow painter and the instant one: distances on photos that it has not learned from.

python bench/style_forward.py --painting painting.jpg --photos photos/ --minutes 18 --keep own.style
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from onelook.data.pictures import find_pictures, open_picture
from onelook.progress import Progress
from onelook.style.feedforward import load
from onelook.style.instant import Instant
from onelook.style.judge import Judge, find_judge
from onelook.style.paint import paint
from onelook.style.painter import scaled, stages
from onelook.style.recipe import Recipe
from onelook.workflows.style import train_painter

HELD_OUT = 6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--painting", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=18)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--strength", type=float, default=0.7)
    parser.add_argument("--keep", type=Path, default=None)
    arguments = parser.parse_args()
    photos = list(find_pictures([arguments.photos]))
    held_out = photos[:: len(photos) // HELD_OUT][:HELD_OUT]
    rest = [str(photo) for photo in photos if photo not in held_out]
    recipe = Recipe(size=arguments.size, strength=arguments.strength)
    file = arguments.keep or Path(tempfile.mkdtemp()) / "own.style"
    if not file.exists():
        train_painter(arguments.painting, rest, file, recipe, 60 * arguments.minutes, steady=0, seed=0, progress=Progress())
    own, instant, style = load(file), Instant(), open_picture(arguments.painting)
    judge_network = find_judge(recipe.network)
    found: dict[str, list[float]] = {}
    for path in held_out:
        photo = open_picture(path)
        photo = scaled(photo, stages(photo.size, arguments.size, 1)[-1])
        judge = Judge(judge_network, photo, [(1.0, style)])
        for name, run in (("own", own), ("instant", lambda picture: instant(picture, [(1.0, style)]))):
            begun = time.perf_counter()
            picture = run(photo)
            found.setdefault(f"{name}_seconds", []).append(time.perf_counter() - begun)
            verdict = judge(picture)
            found.setdefault(f"{name}_style", []).append(verdict.style)
            found.setdefault(f"{name}_content", []).append(verdict.content)
        slow = paint(photo, [style], recipe)
        for key, value in (("seconds", slow.seconds), ("style", slow.verdict.style), ("content", slow.verdict.content)):
            found.setdefault(f"slow_{key}", []).append(value)
        found.setdefault("photo_style", []).append(judge(photo).style)
        print({name: round(values[-1], 3) for name, values in found.items()}, flush=True)
    facts: dict[str, object] = {name: round(statistics.mean(values), 4) for name, values in found.items()}
    ratio = statistics.median(a / b for a, b in zip(found["own_style"], found["slow_style"], strict=True))
    print(
        json.dumps(
            {"steps": own.steps, "trained_seconds": own.seconds, "photos": own.photos, "own_over_slow_style": round(ratio, 3), **facts}
        )
    )


if __name__ == "__main__":
    main()

"""Does ``--steady`` calm films? Two painters of one style, one of them steady, trained for the same time; then both paint a film.

Flicker: the mean change from frame to frame of what is painted, where the film itself does not change (by less than STILL), in grey
levels. Beside it the style distance of the first frame, by a judge.

    python bench/style_steady.py --painting painting.jpg --photos photos/ --film film.mp4 --minutes 4
"""

import argparse
import json
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np

from onelook.data.film import Film
from onelook.data.pictures import open_picture
from onelook.progress import Progress
from onelook.style.feedforward import load
from onelook.style.judge import Judge, find_judge
from onelook.style.recipe import Recipe
from onelook.workflows.style import train_painter

STILL = 4  # grey levels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--painting", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--film", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--steady", type=float, nargs="+", default=[0, 10])
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--keep", type=Path, default=None)
    asked = parser.parse_args()
    folder = asked.keep or Path(tempfile.mkdtemp())
    film = Film.open(asked.film)
    frames = [frame.picture.resize((asked.size, round(asked.size * frame.picture.height / frame.picture.width)))
              for frame in film.frames(range(min(asked.frames, len(film.times))), asked.size)]  # fmt: skip
    judge = Judge(find_judge(Recipe.network), frames[0], [(1.0, open_picture(asked.painting))], asked.size)
    facts: dict[str, object] = {"bench": "style_steady", "film": asked.film.name, "frames": len(frames)}
    for steady in asked.steady:
        file = folder / f"steady{steady:g}.style"
        if not file.exists():
            recipe = Recipe(size=asked.size)
            train_painter(asked.painting, [str(asked.photos)], file, recipe, 60 * asked.minutes, steady=steady, seed=0, progress=Progress())
        painter = load(file)
        painted = [np.asarray(painter(frame), dtype=float) for frame in frames]
        flicker, film_change = [], []
        for (before, after), (was, now) in zip(pairwise(frames), pairwise(painted), strict=True):
            change = np.abs(np.asarray(after, dtype=float) - np.asarray(before, dtype=float)).max(2)
            still = change < STILL
            flicker.append(np.abs(now - was)[still].mean())
            film_change.append(change[still].mean())
        facts[f"steady {steady:g}"] = {
            "flicker": round(float(np.mean(flicker)), 3),
            "style": round(judge(painter(frames[0])).style, 4),
            "steps": painter.steps,
        }
        facts["film_changes"] = round(float(np.mean(film_change)), 3)
        print(facts, flush=True)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()

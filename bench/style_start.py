"""Does a painting that begins with what the instant painter made need fewer steps? Style and content distance by a judge, six pairs.

Begun with the photo, from coarse to fine, with all the usual steps and with half of them; with the instant painting for half of them, from
coarse to fine, and at the last two sizes alone.

    python bench/style_start.py --pictures neural_style/ --size 384
"""

import argparse
import json
import statistics
import time
from pathlib import Path

from onelook.data.pictures import open_picture
from onelook.style.instant import Instant
from onelook.style.judge import Judge, find_judge
from onelook.style.networks import load_network
from onelook.style.painter import Painter, Strokes, scaled, stages
from onelook.style.recipe import STEPS, Recipe
from style_same_time import PAIRS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--network", default=Recipe.network)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--keep", type=Path, default=None)
    arguments = parser.parse_args()
    network, judge_network, instant = load_network(arguments.network), find_judge(arguments.network), Instant()
    terms = Recipe().terms(network)
    found: dict[str, list[tuple[float, float, float]]] = {}
    for photo, painting in PAIRS:
        content, style = (open_picture(arguments.pictures / f"{name}.jpg") for name in (photo, painting))
        judge = Judge(judge_network, content, [(1.0, style)], arguments.size)
        count = len(stages(content.size, arguments.size, 1000))
        whole, half = (stages(content.size, arguments.size, STEPS * count // part) for part in (1, 2))
        begun_with = instant(scaled(content, whole[-1]), [(1.0, style)])
        ways = {"photo": (whole, content), "photo, half": (half, content), "instant, half": (half, begun_with)}
        ways["instant, last two sizes"] = (whole[-2:], begun_with)
        for name, (plan, begin) in ways.items():
            painter = Painter(network, terms, content, [Strokes([(1.0, style)])], plan, begin=begin)
            begun = time.perf_counter()
            for _ in painter:
                pass
            seconds = time.perf_counter() - begun
            verdict = judge(painter.picture())
            found.setdefault(name, []).append((verdict.style, verdict.content, seconds))
            if arguments.keep:
                painter.picture().save(arguments.keep / f"{photo}_{painting}_{name.replace(', ', '_').replace(' ', '_')}.png")
        print(photo, painting, {name: [round(value, 3) for value in values[-1]] for name, values in found.items()}, flush=True)
    facts: dict[str, object] = {"bench": "style_start", "size": arguments.size, "pairs": len(PAIRS)}
    for name, values in found.items():
        pairs = list(zip(values, found["photo"], strict=True))
        ratios = [round(statistics.median(one[place] / first[place] for one, first in pairs), 3) for place in range(3)]
        facts[name] = dict(zip(("style_ratio", "content_ratio", "seconds_ratio"), ratios, strict=True))
    print(json.dumps(facts))


if __name__ == "__main__":
    main()

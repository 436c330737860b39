"""What is seen of seams: the same paintings whole and in tiles, the difference across each seam over that across the same line without one.

Both over the lines beside it at the same place of the networks' strides, so that 1 is a line like its fellows in both.

    python bench/style_seams.py --pictures neural_style/ --size 640 --tile 416
"""

import argparse
import json
from pathlib import Path

import numpy as np

from onelook.style.objective import tiles
from onelook.style.paint import paint
from onelook.style.recipe import Recipe
from style_same_time import PAIRS
from style_tiles import across


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--steps", type=int, default=100, help="of all sizes together")
    parser.add_argument("--tile", type=int, default=416)
    parser.add_argument("--pairs", type=int, default=len(PAIRS))
    asked = parser.parse_args()
    seams, others = [], []
    for photo, painting in PAIRS[: asked.pairs]:
        content, style = (asked.pictures / f"{name}.jpg" for name in (photo, painting))
        whole, tiled = (
            np.asarray(paint(content, [style], Recipe(size=asked.size, steps=asked.steps, tiles=side)).picture)
            for side in (None, asked.tile)
        )
        parts = [tile.inner for tile in tiles(whole.shape[0], whole.shape[1], asked.tile)]
        for axis, corner in ((0, 1), (1, 0)):
            ratios = across(tiled, axis) / across(whole, axis)
            places = [place - 1 for place in sorted({part[corner] for part in parts} - {0}) if not np.isnan(ratios[place - 1])]
            seams += ratios[places].tolist()
            others += np.delete(ratios, places)[~np.isnan(np.delete(ratios, places))].tolist()
        print(photo, painting, [round(value, 3) for value in seams], flush=True)
    error = float(np.std(seams, ddof=1) / len(seams) ** 0.5)
    facts = {
        "bench": "style_seams",
        "size": asked.size,
        "tile": asked.tile,
        "seams": len(seams),
        "across_seams": round(float(np.mean(seams)), 3),
    }
    facts |= {
        "standard_error": round(error, 3),
        "across_other_lines": round(float(np.mean(others)), 3),
        "deviation": round(float(np.std(others)), 3),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()

"""A large painting in tiles: the most memory, seconds against the forecast, and what is seen of the seams.

Across a seam: mean difference of neighbouring pixels there, over that of lines beside it at the same place of the networks' strides; and
the spread of the same figure over all lines, without which it says little.

    python bench/style_tiles.py --photo photo.jpg --painting painting.jpg --size 2000
"""

import argparse
import json
from pathlib import Path

import numpy as np

from onelook.style.forecast import MOST_TILE
from onelook.style.objective import tiles
from onelook.style.paint import paint
from onelook.style.recipe import Recipe

BESIDE = (-96, -64, -32, 32, 64, 96)  # lines with which one is compared, as multiples of the longest stride


def across(pixels: np.ndarray, axis: int) -> np.ndarray:
    """Of every line but those at the rim, the difference across it over that of its fellows."""
    steps = np.abs(np.diff(pixels.astype(float), axis=axis)).mean((1 - axis, 2))
    inner = np.arange(max(BESIDE), len(steps) - max(BESIDE))
    found = np.full(len(steps), np.nan)
    found[inner] = steps[inner] / np.mean([steps[inner + shift] for shift in BESIDE], axis=0)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--painting", type=Path, required=True)
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=180, help="of all sizes together")
    parser.add_argument("--tile", type=int, default=MOST_TILE)
    parser.add_argument("--keep", type=Path, default=None)
    arguments = parser.parse_args()
    recipe = Recipe(size=arguments.size, steps=arguments.steps, tiles=arguments.tile)
    painting = paint(arguments.photo, [arguments.painting], recipe)
    if arguments.keep:
        painting.picture.save(arguments.keep)
    pixels = np.asarray(painting.picture)
    parts = [tile.inner for tile in tiles(pixels.shape[0], pixels.shape[1], arguments.tile)]
    facts: dict[str, object] = {"tiles_painted": len(parts), "seams": []}
    lines = []
    for axis, corner in ((0, 1), (1, 0)):
        found = across(pixels, axis)
        lines.append(found[~np.isnan(found)])
        facts["seams"] = [*facts["seams"], *(round(float(found[place - 1]), 3) for place in sorted({part[corner] for part in parts} - {0}))]
    spread = np.concatenate(lines)
    facts |= {"all_lines": round(float(spread.mean()), 3), "deviation_of_lines": round(float(spread.std()), 3)}
    print(json.dumps(painting.to_json() | facts))


if __name__ == "__main__":
    main()

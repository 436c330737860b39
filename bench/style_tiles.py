"""A large painting in tiles: the most memory, seconds against the forecast, and what is seen of the seams.

Across a seam: mean difference of neighbouring pixels there, over the mean of the sixteen lines on both sides.

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

NEAR = 16  # lines on each side of a seam that it is compared with


def seams(pixels: np.ndarray, places: list[int], axis: int) -> list[float]:
    """Of every seam, the difference across it over that of its neighbours."""
    steps = np.abs(np.diff(pixels.astype(float), axis=axis)).mean((1 - axis, 2))
    return [float(steps[place - 1] / np.delete(steps[place - 1 - NEAR : place + NEAR], NEAR).mean()) for place in places]


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
    down, across = sorted({part[1] for part in parts} - {0}), sorted({part[0] for part in parts} - {0})
    found = seams(pixels, down, 0) + seams(pixels, across, 1)
    print(json.dumps(painting.to_json() | {"tiles_painted": len(parts), "seams": [round(value, 3) for value in found]}))


if __name__ == "__main__":
    main()

"""Seconds of finding what excites all units of a layer against looking alone at the same pictures, alternately.

python bench/patches.py --data photos/ --count 2000 --layers stride8,stride16
"""

import argparse
import json
import statistics
import time
from pathlib import Path

from onelook import Model, Needs
from onelook.data.pictures import find_pictures
from onelook.inside.patches import patches
from onelook.looks.extractor import look_at
from onelook.modelparts import READY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--layers", default="stride4,stride8,stride16,stride32")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    model = Model.new(device="cpu")
    paths = list(find_pictures([asked.data]))[: asked.count]
    extractor = model.extractor(model.geometry_of(READY))

    def look() -> int:
        return sum(len(seen.paths) for seen in look_at(extractor, paths, Needs(embedding=True)))  # type: ignore[union-attr]

    look()  # pictures are in memory, the engine is made
    rows = []
    for layer in asked.layers.split(","):
        ratios, units = [], 0
        for _ in range(asked.repeats):
            begun = time.perf_counter()
            look()
            middle = time.perf_counter()
            units = len(patches(model, paths, layer).units)
            ratios.append((time.perf_counter() - middle) / (middle - begun))
        rows.append(
            {"layer": layer, "units": units, "ratio": round(statistics.median(ratios), 3), "ratios": [round(one, 3) for one in ratios]}
        )
        print(rows[-1], flush=True)
    print(json.dumps({"bench": "patches", "pictures": len(paths), "rows": rows}))


if __name__ == "__main__":
    main()

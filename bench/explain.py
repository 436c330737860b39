"""Can maps of why be trusted? Deletion and insertion by the default method against random and centred maps, and shuffled weights.

For every picture the areas under the curves; paired differences with 95 % intervals over pictures; the share of maps that shuffled weights
change; seconds of a map against a prediction of the same picture.

    python bench/explain.py --model kind.onelook --head kind --data photos/ --count 200
    python bench/explain.py --model kind.onelook --head kind --data photos/ --count 8 --time
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

from onelook import Model
from onelook.data.pictures import find_pictures
from onelook.errors import OnelookError
from onelook.inside.explain import explain
from onelook.inside.saliency import METHODS


def interval(values: np.ndarray) -> list[float]:
    """The mean with 95 % over pictures drawn with replacement."""
    draw = np.random.default_rng(0)
    means = values[draw.integers(len(values), size=(2000, len(values)))].mean(1)
    return [float(values.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))]


def seconds_of(model: Model, head: str, paths: list[Path]) -> dict[str, list[float] | str]:
    """By every method: the median and the longest time of a map, or why there is none."""
    found: dict[str, list[float] | str] = {}
    for method in METHODS:
        try:
            taken = [explain(model, head, path, method=method, trust=False).seconds for path in paths]
            found[method] = [round(statistics.median(taken), 3), round(max(taken), 3)]
        except OnelookError as error:
            found[method] = str(error)
        print(method, found[method], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--head", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--method", default="auto")
    parser.add_argument("--time", action="store_true", help="only how long a map takes by every method")
    asked = parser.parse_args()
    model = Model.load(asked.model, device="cpu")
    paths = list(find_pictures([asked.data]))
    chosen = np.random.default_rng(0).permutation(len(paths))[: asked.count]
    if asked.time:
        print(json.dumps({"bench": "explain", "head": asked.head, "seconds": seconds_of(model, asked.head, [paths[n] for n in chosen])}))
        return
    rows, ratios, layer, untold = [], [], "", 0
    for number, index in enumerate(chosen):
        path = paths[index]
        begun = time.perf_counter()
        list(model.predict([path], heads=[asked.head]))
        predicting = time.perf_counter() - begun
        found = explain(model, asked.head, Path(path), method=asked.method)
        trust = found.trust
        assert trust is not None
        if trust.own is None:
            untold += 1
            continue
        layer = f"{found.method} on {found.layer}"
        areas = [getattr(one, kind) for one in (trust.own, trust.random, trust.centre) for kind in ("deletion", "insertion")]
        rows.append([*areas, trust.randomised_changes, float(trust.depends_on_weights)])
        ratios.append(found.seconds / predicting if number else 1.0)
    table = np.array(rows)
    result = {
        "deletion": float(table[:, 0].mean()), "insertion": float(table[:, 1].mean()),
        "random_minus_own_deletion": interval(table[:, 2] - table[:, 0]),
        "centre_minus_own_deletion": interval(table[:, 4] - table[:, 0]),
        "own_minus_random_insertion": interval(table[:, 1] - table[:, 3]),
        "own_minus_centre_insertion": interval(table[:, 1] - table[:, 5]),
        "randomised_changes": float(table[:, 6].mean()), "depend_on_weights": float(table[:, 7].mean()),
        "map_by_prediction": statistics.median(ratios),
    }  # fmt: skip
    for name, value in result.items():
        print(f"{name}: {value}")
    facts = {"bench": "explain", "head": asked.head, "data": Path(asked.data).name, "n": len(rows), "untold": untold, "by": layer}
    print(json.dumps(facts | result))


if __name__ == "__main__":
    main()

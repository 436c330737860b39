"""When does metric learning pay? New kinds of things from few pictures of each: the frozen embedding, an embed head, a classifier.

Two thirds of the classes are learned by an ``embed`` head, the others are new. Of each new class some pictures are known (1, 5, 20 ...),
the rest is asked: by the nearest class mean of the frozen network's embedding, by that of the embed head's vectors, and by a ``classify``
head that is trained on the known pictures.

    python bench/things.py --data trashnet/ --draws 5
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

from onelook import Model, read
from onelook.data.split import by_class

Vectors = np.ndarray  # (N, D), of length 1


def unit(vectors: np.ndarray) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def nearest_mean(vectors: Vectors, classes: np.ndarray, known: np.ndarray, asked: np.ndarray) -> float:
    """The share of asked pictures whose nearest mean of known ones is that of their class."""
    names = np.unique(classes)
    means = unit(np.stack([vectors[known[classes[known] == name]].mean(0) for name in names]))
    return float((names[(vectors[asked] @ means.T).argmax(1)] == classes[asked]).mean())


def drawn(draw: np.random.Generator, classes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` known pictures of every class, and the others."""
    known = np.concatenate([draw.choice(np.flatnonzero(classes == name), count, replace=False) for name in np.unique(classes)])
    return known, np.setdiff1d(np.arange(len(classes)), known)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="a folder with a folder for every class")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--known", default="1,5,20,80")
    parser.add_argument("--trials", type=int, default=10, help="draws of known pictures for the two that need no training")
    asked = parser.parse_args()
    counts = [int(count) for count in asked.known.split(",")]
    data = by_class(read(Path(asked.data), task="classify"))
    targets = np.array([sample.target for sample in data.samples])
    model = Model.new(device="cpu")
    frozen = unit(model.embeddings([sample.path for sample in data.samples]).vectors)
    found: dict[str, dict[int, list[float]]] = {name: {count: [] for count in counts} for name in ("frozen", "embed", "classify")}
    seconds: dict[str, list[float]] = {"embed": [], "classify": []}
    for seed in range(asked.draws):
        draw = np.random.default_rng(seed)
        new = np.sort(draw.permutation(len(data.classes))[: max(2, len(data.classes) // 3)])
        is_new = np.isin(targets, new)
        begun = time.perf_counter()
        model.fit("which", data.pick(np.flatnonzero(~is_new).tolist()), head="embed", hold_out=False, seed=seed)
        seconds["embed"].append(time.perf_counter() - begun)
        mine = np.flatnonzero(is_new)
        pictures = [data.samples[index].path for index in mine]
        embedded = np.stack([answers["which"].values for answers in model.predict(pictures, heads=["which"])])
        classes = targets[mine]
        for count in counts:
            for name, vectors in (("frozen", frozen[mine]), ("embed", unit(embedded))):
                found[name][count] += [nearest_mean(vectors, classes, *drawn(draw, classes, count)) for _ in range(asked.trials)]
            known, others = drawn(draw, classes, count)
            if count > 1:
                begun = time.perf_counter()
                model.fit("what", data.pick(mine[known].tolist()), head="classify", freeze="all", hold_out=False, seed=seed)
                seconds["classify"].append(time.perf_counter() - begun)
                found["classify"][count].append(model.evaluate("what", data.pick(mine[others].tolist())).metrics["accuracy"])
        so_far = {name: [f"{100 * statistics.mean(rows[count]):.1f}" for count in counts if rows[count]] for name, rows in found.items()}
        print(f"draw {seed}, new {', '.join(data.classes[n] for n in new)}: {so_far}", flush=True)
    table = {
        name: {count: [statistics.mean(rows), statistics.pstdev(rows)] for count, rows in by_count.items() if rows}
        for name, by_count in found.items()
    }
    times = {name: statistics.median(rows) for name, rows in seconds.items()}
    print(json.dumps({"bench": "things", "data": Path(asked.data).name, "draws": asked.draws, "accuracy": table, "seconds": times}))


if __name__ == "__main__":
    main()

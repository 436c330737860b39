"""Heads that compare: which loss and which triplets are worth it, on people whom nobody has learned from.

For each draw a quarter of the identities is kept out: raw pixels and the frozen embedding as they are, softmax, contrastive, triplets (all,
semi-hard, batch-hard), ArcFace, and the logistic unit on |difference| and on chi-square, each trained on the others from the same looks.

    python bench/identity.py --data people/ --draws 5
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from onelook import Model, read
from onelook.data.pictures import open_picture
from onelook.data.samples import Dataset
from onelook.data.split import by_class, split
from onelook.metrics.verification import IdentityJudge

WAYS = {
    "evened out, not trained": ("embed", {"loss": "none"}),
    "softmax": ("embed", {"loss": "softmax"}),
    "contrastive": ("embed", {"loss": "contrastive"}),
    "triplet, none mined": ("embed", {"loss": "triplet", "mining": "none"}),
    "triplet, semi-hard": ("embed", {"loss": "triplet", "mining": "semi_hard"}),
    "triplet, batch-hard": ("embed", {"loss": "triplet", "mining": "batch_hard"}),
    "arcface": ("embed", {"loss": "arcface"}),
    "principal, none mined": ("embed", {"start": "principal", "loss": "triplet", "mining": "none"}),
    "principal, semi-hard": ("embed", {"start": "principal", "loss": "triplet", "mining": "semi_hard"}),
    "principal, batch-hard": ("embed", {"start": "principal", "loss": "triplet", "mining": "batch_hard"}),
    "principal, arcface": ("embed", {"start": "principal"}),
    "pair, difference": ("pair", {"features": "difference"}),
    "pair, chi-square": ("pair", {"features": "chi_square"}),
}


def pixels(data: Dataset) -> torch.Tensor:
    pictures = [np.asarray(open_picture(sample.path).convert("L").resize((46, 56)), np.float32).ravel() for sample in data.samples]
    vectors = torch.tensor(np.stack(pictures))
    return functional.normalize(vectors - vectors.mean(1, keepdim=True), dim=1)


def as_it_is(vectors: torch.Tensor, data: Dataset) -> dict[str, float]:
    judge = IdentityJudge(lambda one, other: 2 - 2 * one @ other.T, 1.0)
    judge.add(list(vectors), [sample.target for sample in data.samples])
    return judge.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="a folder of people, tools, plants")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--ways", default=";".join(WAYS))
    parser.add_argument("--epochs", type=int)
    asked = parser.parse_args()
    data = by_class(read(Path(asked.data), task="classify"))
    found: dict[str, list[tuple[float, float, float]]] = {}
    model = Model.new(device="cpu")
    for seed in range(asked.draws):
        train_indices, val_indices = split(data, asked.share, seed)
        learned, held = data.pick(train_indices), data.pick(val_indices)
        for name, vectors in (("raw pixels", pixels(held)), ("frozen embedding", embedding(model, held))):
            result = as_it_is(vectors, held)
            found.setdefault(name, []).append((result["eer"], result["rank1"], 0.0))
        for name in asked.ways.split(";"):
            method, options = WAYS[name]
            begun = time.perf_counter()
            model.fit("who", learned, head=method, hold_out=False, seed=seed, epochs=asked.epochs, **options)
            seconds = time.perf_counter() - begun
            result = model.evaluate("who", held).metrics
            found.setdefault(name, []).append((result["eer"], result["rank1"], seconds))
        print(f"draw {seed}: " + "; ".join(f"{name} {100 * rows[-1][0]:.1f}" for name, rows in found.items()), flush=True)
    table = {
        name: {
            "eer": statistics.mean(row[0] for row in rows), "spread": statistics.pstdev([row[0] for row in rows]),
            "rank1": statistics.mean(row[1] for row in rows), "seconds": statistics.median(row[2] for row in rows),
        }
        for name, rows in found.items()
    }  # fmt: skip
    for name, row in table.items():
        print(f"{name:22} EER {row['eer']:.2%} (spread {row['spread']:.2%}), rank-1 {row['rank1']:.2%}, {row['seconds']:.1f} s")
    print(json.dumps({"bench": "identity", "data": Path(asked.data).name, "draws": asked.draws, "ways": table}))


def embedding(model: Model, data: Dataset) -> torch.Tensor:
    vectors = torch.tensor(model.embeddings([sample.path for sample in data.samples]).vectors)
    return functional.normalize(vectors - vectors.mean(0), dim=1)


if __name__ == "__main__":
    main()

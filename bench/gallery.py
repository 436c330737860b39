"""A gallery: how fast vectors are enrolled, opened and searched at several sizes, beyond 200,000 by an index, and what that finds.

python bench/gallery.py --sizes 1000,10000,100000
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from onelook.faces.gallery import Encoder, Entry, Gallery

DIMENSIONS, QUESTIONS, BATCH, EACH = 128, 200, 10_000, 4


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def unit(draw: np.random.Generator, count: int) -> np.ndarray:
    return unit_rows(draw.normal(size=(count, DIMENSIONS)).astype(np.float32))


def identities(draw: np.random.Generator, count: int, loose: bool) -> np.ndarray:
    """Vectors that are loose, or EACH of each identity, as near each other as faces are (squared distance about 0.15)."""
    if loose:
        return unit(draw, count)
    return unit_rows(np.repeat(unit(draw, -(-count // EACH)), EACH, axis=0)[:count] + 0.28 * unit(draw, count))


def measure(path: Path, size: int, loose: bool) -> dict[str, float]:
    draw = np.random.default_rng(0)
    vectors, encoder, each = identities(draw, size, loose), Encoder("bench", "bench", DIMENSIONS), 1 if loose else EACH
    with Gallery.create(path, encoder) as gallery:
        begun = time.perf_counter()
        for start in range(0, size, BATCH):
            gallery.enrol(
                Entry(f"p{(start + n) // each}", vector, f"{start + n:064x}") for n, vector in enumerate(vectors[start : start + BATCH])
            )
        enrolling = size / (time.perf_counter() - begun)
    with Gallery.open(path, encoder) as gallery:
        begun = time.perf_counter()
        gallery.prepare()  # beyond 200,000 an index is made
        making = time.perf_counter() - begun
    begun = time.perf_counter()
    with Gallery.open(path, encoder) as gallery:
        gallery.nearest(vectors[:1])
        opening = time.perf_counter() - begun
        asked = unit_rows(vectors[draw.integers(size, size=QUESTIONS)] + 0.28 * unit(draw, QUESTIONS))
        nearest = [int((vectors @ one).argmax()) for one in asked]
        times, right, same = [], 0, 0
        for vector, best in zip(asked, nearest, strict=True):
            begun = time.perf_counter()
            (match,) = gallery.nearest(vector[None])
            times.append(1000 * (time.perf_counter() - begun))
            right += match.distance <= 2 - 2 * float(vectors[best] @ vector) + 1e-5
            same += match.name == f"p{best // each}"
    return {
        "enrolled_a_second": enrolling, "index_seconds": making, "open_seconds": opening, "median_ms": statistics.median(times),
        "p95_ms": float(np.quantile(times, 0.95)), "recall": right / QUESTIONS, "identity_recall": same / QUESTIONS,
        "megabytes": path.stat().st_size / 1e6,
        "process_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--loose", action="store_true", help="random directions, each of its own, instead of four of an identity")
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in map(int, options.sizes.split(",")):
            found[size] = measure(Path(folder) / f"{size}.gallery", size, options.loose)
            print(f"{size:>8,}: " + ", ".join(f"{name} {value:,.2f}" for name, value in found[size].items()), flush=True)
    print(json.dumps({"bench": "gallery", "loose": options.loose, "sizes": found}))


if __name__ == "__main__":
    main()

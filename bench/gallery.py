"""A gallery: how fast vectors are enrolled, opened and searched, exactly, at several sizes.

python bench/gallery.py --sizes 1000,10000,100000
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from onelook.faces.gallery import Encoder, Entry, Gallery

DIMENSIONS, QUESTIONS, BATCH = 128, 200, 10_000


def unit(draw: np.random.Generator, count: int) -> np.ndarray:
    vectors = draw.normal(size=(count, DIMENSIONS)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measure(path: Path, size: int) -> dict[str, float]:
    draw = np.random.default_rng(0)
    vectors, encoder = unit(draw, size), Encoder("bench", "bench", DIMENSIONS)
    with Gallery.create(path, encoder) as gallery:
        begun = time.perf_counter()
        for start in range(0, size, BATCH):
            gallery.enrol(Entry(f"p{start + n}", vector, f"{start + n:064x}") for n, vector in enumerate(vectors[start : start + BATCH]))
        enrolling = size / (time.perf_counter() - begun)
    begun = time.perf_counter()
    with Gallery.open(path, encoder) as gallery:
        gallery.nearest(vectors[:1])
        opening = time.perf_counter() - begun
        asked = vectors[draw.integers(size, size=QUESTIONS)] + 0.02 * unit(draw, QUESTIONS)
        times = []
        for vector in asked:
            begun = time.perf_counter()
            gallery.nearest(vector[None])
            times.append(1000 * (time.perf_counter() - begun))
    return {
        "enrolled_a_second": enrolling, "open_seconds": opening, "median_ms": statistics.median(times),
        "p95_ms": float(np.quantile(times, 0.95)), "megabytes": path.stat().st_size / 1e6,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in map(int, parser.parse_args().sizes.split(",")):
            found[size] = measure(Path(folder) / f"{size}.gallery", size)
            print(f"{size:>8,}: " + ", ".join(f"{name} {value:,.2f}" for name, value in found[size].items()), flush=True)
    print(json.dumps({"bench": "gallery", "sizes": found}))


if __name__ == "__main__":
    main()

"""How right the defaults are: ELPV over 4 stratified folds, trashnet over 70/30 splits; no setting is tuned per fold.

    python bench/accuracy.py --set elpv
    python bench/accuracy.py --set trashnet --views 2

Split: stratified, seeds 0.. ; spread: standard deviation over folds. The last line is JSON.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from onelook import Geometry, Model, read
from onelook.data.samples import Dataset
from onelook.data.split import assign_folds, split
from onelook.workflows.demo import write_labels

DATA = Path(os.environ.get("ONELOOK_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def elpv(column: str) -> Dataset:
    with tempfile.TemporaryDirectory() as folder:
        data = read(write_labels(Path(folder) / "cells.csv", 0), columns=[column])
    return replace(data, samples=tuple(replace(sample, side=None) for sample in data.samples))


def parts(which: str) -> tuple[Dataset, list[tuple[list[int], list[int]]]]:
    if which == "trashnet":
        data = read(DATA / "trashnet_112x84")
        return data, [split(data, 0.3, seed) for seed in range(3)]
    data = elpv("cell" if which == "elpv-cell" else "defect")
    folds = assign_folds(data, 4, 0)
    everything = range(len(data))
    return data, [([i for i in everything if folds[i] != f], [i for i in everything if folds[i] == f]) for f in range(4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=["elpv", "elpv-cell", "trashnet"], default="elpv")
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--form", default="radial")
    parser.add_argument("--size", type=int, default=224)
    arguments = parser.parse_args()
    data, divisions = parts(arguments.set)
    model, rows = Model.new(geometry=Geometry(arguments.size)), []
    for number, (train, val) in enumerate(divisions):
        begun = time.perf_counter()
        fitted = model.fit(f"head{number}", data.pick(train), freeze="all", views=arguments.views, form=arguments.form)
        found = model.evaluate(f"head{number}", data.pick(val)).metrics
        rows.append(found["accuracy"])
        print(
            f"part {number}: accuracy {found['accuracy']:.4f}, log loss {found['log_loss']:.3f}, inside the training pictures "
            f"{fitted.trained.held_out['accuracy']:.4f}; {time.perf_counter() - begun:.1f} s of which {fitted.seconds_fit:.1f} fitting",
            flush=True,
        )
    result = {"accuracy": statistics.mean(rows), "spread": statistics.stdev(rows), "parts": rows}
    print(json.dumps(vars(arguments) | result))


if __name__ == "__main__":
    main()

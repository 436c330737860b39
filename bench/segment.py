"""Pixels: mean IoU against minutes on road scenes, or folds of membranes by both forms of the U-Net, from pictures to a judged model.

    python bench/segment.py --set camvid --minutes 5,10,28
    python bench/segment.py --set membranes --method unet2015

Figures are of pictures that nothing was chosen on: CamVid's test side, each fold of the membranes once. The last line is JSON.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy import ndimage
from torch import from_numpy

from onelook import Model, read
from onelook.data.samples import Dataset, mask_of
from onelook.heads import find_head
from onelook.metrics.pixels import foreground_rand, pixel_error
from onelook.progress import Progress

DATA = Path(os.environ.get("ONELOOK_TEST_DATA", "../shared/data"))


def fitted(train: Dataset, folder: Path, size: int | None, **how: Any) -> Model:
    model = Model.new(cache=folder)
    model.choose_geometry("pixels", size or find_head(how["head"]).input_size(train))
    model.fit("pixels", train, hold_out=False, progress=Progress(), **how)
    return model


def camvid(arguments: argparse.Namespace) -> dict[str, Any]:
    """The curve: every point is a training of its own, from pictures to judged model, with an empty cache."""
    train, test = (read(DATA / "camvid", task="segment", split=side) for side in ("train", arguments.side))
    points = []
    for minutes in map(float, arguments.minutes.split(",")):
        with TemporaryDirectory() as folder:
            begun = time.perf_counter()
            # judging the test side takes what is left of the time that is named
            budget = 60 * minutes * arguments.share
            model = fitted(
                train, Path(folder), arguments.size, head="segment", budget=budget, freeze=arguments.freeze, views=arguments.views
            )
            trained = time.perf_counter() - begun
            found = model.evaluate("pixels", test).metrics
        entry = {"minutes": (time.perf_counter() - begun) / 60, "minutes_training": trained / 60, "miou": found["miou"]}
        points.append(entry | {name: found[name] for name in ("miou_interval", "pixel_accuracy", "dice", "boundary_f1")})
        points[-1]["iou"] = {name: one["iou"] for name, one in found["per_class"].items()}
        print(f"{entry['minutes']:.1f} minutes: mIoU {entry['miou']:.3f}, pixels right {found['pixel_accuracy']:.3f}", flush=True)
    return {"set": "camvid", "points": points}


def membranes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Folds over the sections, each judged once, by one look and by ``--tta``; sections are neighbours in one stack, which flatters."""
    data = read(DATA / "isbi2012_membrane", task="segment")
    order = np.random.default_rng(arguments.seed).permutation(len(data))
    begun, ways = time.perf_counter(), dict.fromkeys(("none", arguments.tta))
    found: dict[str, dict[str, list[float]]] = {way: {"pixel_error": [], "rand": []} for way in ways}
    with TemporaryDirectory() as folder:
        for fold in range(arguments.folds):
            held = sorted(order[fold :: arguments.folds].tolist())
            train = data.pick([index for index in range(len(data)) if index not in held])
            how = {"head": arguments.method, "freeze": arguments.freeze, "augment": arguments.augment, "epochs": arguments.epochs}
            model = fitted(train, Path(folder), arguments.size, views=arguments.views, **how)
            for way, lists in found.items():
                for index, found_in in zip(held, model.predictions([data.samples[i].path for i in held], ["pixels"], way), strict=True):
                    truth = mask_of(data.samples[index]).read()
                    share = np.concatenate([strip[1].numpy() for _, strip in found_in.by_head["pixels"].strips()])
                    lists["pixel_error"].append(pixel_error(from_numpy((share >= 0.5).astype(np.uint8)), truth))
                    # cells are connected insides, at a stated threshold that was not searched for
                    cells, regions = (ndimage.label(inside)[0] for inside in (share >= arguments.cells, truth.numpy() == 1))
                    lists["rand"].append(foreground_rand(from_numpy(cells), from_numpy(regions)))
                means = {name: round(statistics.mean(values), 4) for name, values in lists.items()}
                print(f"fold {fold}, {way}: {means}", flush=True)
    figures = {
        way: {name: {"mean": statistics.mean(values), "spread": statistics.stdev(values)} for name, values in lists.items()}
        for way, lists in found.items()
    }
    return {"set": "membranes", "sections": len(data), "figures": figures, "minutes": (time.perf_counter() - begun) / 60}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("camvid", "membranes"), default="camvid")
    parser.add_argument("--minutes", default="28", help="of CamVid's points, judging included")
    parser.add_argument("--share", type=float, default=0.9, help="of those minutes that training may take")
    parser.add_argument("--side", default="test", help="of CamVid on which is judged")
    parser.add_argument("--method", default="unet")
    parser.add_argument("--freeze", default="auto")
    parser.add_argument("--augment", default=None)
    parser.add_argument("--views", type=int, default=None)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--size", type=int, default=None)
    parser.add_argument("--tta", default="mirrors", help="of the membranes, beside one look")
    parser.add_argument("--cells", type=float, default=0.5, help="share of the inside from which on a pixel belongs to a cell")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    result = camvid(arguments) if arguments.set == "camvid" else membranes(arguments)
    print(
        json.dumps(
            result | {name: getattr(arguments, name) for name in ("method", "freeze", "augment", "epochs", "views", "size", "tta", "seed")}
        )
    )


if __name__ == "__main__":
    main()

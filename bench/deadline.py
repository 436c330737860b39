"""Whether ``train`` keeps to its budget: alone, and beside a process that keeps one core busy; whole commands, by the watch.

    python bench/deadline.py --set trashnet --budgets 20,60
    python bench/deadline.py --set raccoon --task detect --budgets 60

Every command is a process of its own with an empty cache, so that importing, preparing the network, looking, judging and saving count.
A budget is kept if the command takes at most a tenth longer; one that cannot be kept is refused. The last line is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("ONELOOK_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
FOLDERS = {"trashnet": "trashnet_112x84"}
SPLITS = {
    "raccoon": ["--train-split", "train_labels.csv", "--val-split", "test_labels.csv"],
    "bccd": ["--train-split", "trainval", "--val-split", "test"],
}
BUSY = "while True: pass"


def run(source: Path, task: str, budget: float, split: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "onelook", "train", str(source), "--task", task, "--name", "x", "--model", f"{folder}/m.onelook"]
        command += [*split, "--budget", f"{budget}s", "--json", "--quiet"]
        begun = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"ONELOOK_CACHE": f"{folder}/cache"}, check=False)
        seconds = time.perf_counter() - begun
    if done.returncode:
        return {"seconds": seconds, "refused": done.stderr.strip().splitlines()[-1:]}
    result = json.loads(done.stdout)
    found = {"seconds": seconds, "cut": result["cut"], "cut_short": result["cut_short"], "said": result["said"]}
    return found | {"images": result["images"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="trashnet")
    parser.add_argument("--task", default="classify")
    parser.add_argument("--budgets", default="20,60")
    parser.add_argument("--beside", default="nothing,busy")
    asked = parser.parse_args()
    split = SPLITS.get(asked.set, ["--val", "0.3"])
    rows = []
    for beside in asked.beside.split(","):
        busy = subprocess.Popen([sys.executable, "-c", BUSY]) if beside == "busy" else None
        try:
            for budget in map(float, asked.budgets.split(",")):
                row = {"beside": beside, "budget": budget, **run(DATA / FOLDERS.get(asked.set, asked.set), asked.task, budget, split)}
                row["share"] = row["seconds"] / budget
                rows.append(row)
                print(json.dumps(row), flush=True)
        finally:
            if busy is not None:
                busy.kill()
                busy.wait()
    kept = [row for row in rows if "refused" not in row]
    print(
        json.dumps({"set": asked.set, "task": asked.task, "worst_share": max((row["share"] for row in kept), default=None), "rows": rows})
    )


if __name__ == "__main__":
    main()

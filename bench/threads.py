"""What choosing the number of threads costs on an idle machine and saves on a busy one: looks, heads, tails, prediction, start.

    python bench/threads.py

Each part is timed with the number chosen (as shipped) and with all threads (ONELOOK_THREADS=all), in turn, first alone, then beside a
process that keeps one core busy; medians. Wanted: chosen / all idle at most 1.05, chosen busy / chosen idle at most 2.2. The last line
is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from onelook import Geometry, Model, read
from onelook.threads import FIXED
from pictures import write_photos

BUSY = "while True: pass"
REPEATS = 3


def parts(folder: Path) -> dict[str, Callable[[], object]]:
    write_photos(folder / "photos", 600)
    data = read(folder / "photos")
    os.environ["ONELOOK_CACHE"] = str(folder / "cache")
    model = Model.new(geometry=Geometry(224))
    model.fit("kind", data, freeze="all")
    model.fit("deep", data.pick(range(0, 600, 5)), freeze="stride16", epochs=1)
    model.save(folder / "m.onelook")
    paths = [sample.path for sample in data.samples[:48]]
    start = [sys.executable, "-m", "onelook", "predict", str(paths[0]), "--model", str(folder / "m.onelook"), "--heads", "kind"]
    return {
        "48 looks and a frozen head's answers": lambda: list(model.predict(paths, heads=["kind"])),
        "one prediction": lambda: list(model.predict(paths[:1], heads=["kind"])),
        "48 predictions behind a tail": lambda: list(model.predict(paths, heads=["deep"])),
        "a frozen head on 600 cached pictures": lambda: model.fit("again", data, freeze="all"),
        "a tail's epochs on 120 cached pictures": lambda: model.fit("tail", data.pick(range(0, 600, 5)), freeze="stride16", epochs=4),
        "a command from its start": lambda: subprocess.run(start, check=True, capture_output=True),
    }


def seconds(work: Callable[[], object], how: str) -> float:
    os.environ.pop(FIXED, None)
    if how == "all":
        os.environ[FIXED] = "all"
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="parts whose name has this in it")
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory() as folder:
        works = {name: work for name, work in parts(Path(folder)).items() if only in name}
        found: dict[str, dict[str, float]] = {name: {} for name in works}
        for beside in ("idle", "busy"):
            busy = subprocess.Popen([sys.executable, "-c", BUSY]) if beside == "busy" else None
            try:
                for name, work in works.items():
                    taken: dict[str, list[float]] = {"chosen": [], "all": []}
                    for _ in range(REPEATS):
                        for how, times in taken.items():
                            times.append(seconds(work, how))
                    found[name] |= {f"{how} {beside}": round(median(times), 4) for how, times in taken.items()}
                    print(name, found[name], flush=True)
            finally:
                if busy is not None:
                    busy.kill()
                    busy.wait()
        for row in found.values():
            row["idle cost"] = round(row["chosen idle"] / row["all idle"], 3)
            row["busy / idle"] = round(row["chosen busy"] / row["chosen idle"], 3)
            row["busy / idle, all threads"] = round(row["all busy"] / row["all idle"], 3)
        for name, row in found.items():
            print(name, row, flush=True)
    print(json.dumps({"what": "threads chosen against all", "rows": found}))


if __name__ == "__main__":
    main()

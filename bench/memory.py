"""Peak memory of ``onelook train`` on 20,000 pictures against 2,000, each in a process of its own with a cache of its own.

python bench/memory.py            # about ten minutes
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pictures import write_photos

COUNTS = (2000, 20000)


def peak(folder: Path, count: int) -> float:
    """Peak resident megabytes of one training run, in a child of its own."""
    root = folder / f"photos{count}"
    write_photos(root, count, size=96)
    command = [
        sys.executable,
        "-m",
        "onelook",
        "train",
        str(root),
        "--name",
        "kind",
        "--model",
        str(folder / f"{count}.onelook"),
        "--quiet",
    ]
    child = os.fork()
    if child == 0:
        environment = os.environ | {"ONELOOK_CACHE": str(folder / f"cache{count}")}
        done = subprocess.run(
            [*command, "--freeze", "all", "--views", "1", "--size", "96"], env=environment, stdout=subprocess.DEVNULL, check=False
        )
        os._exit(done.returncode)
    _, status, usage = os.wait4(child, 0)
    assert status == 0, "training failed"
    return usage.ru_maxrss / 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        peaks = [peak(Path(folder), count) for count in COUNTS]
    print(f"peak memory: {peaks[0]:.0f} MB on {COUNTS[0]:,} pictures, {peaks[1]:.0f} MB on {COUNTS[1]:,}")
    print(json.dumps({"what": "peak memory", "megabytes": peaks, "ratio": peaks[1] / peaks[0]}))


if __name__ == "__main__":
    main()

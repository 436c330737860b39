"""Frozen looks through onnxruntime against torch eager with channels_last: same pictures, in turn, median of paired ratios.

python bench/looks.py
"""

import json

from onelook.workflows.bench import compare_looks


def main() -> None:
    found = compare_looks("efficientnet_lite0", 16)
    print(f"{found.what}: {found.ours} {found.ms_ours:.2f} ms, {found.theirs} {found.ms_theirs:.2f} ms a picture")
    print(f"largest relative difference {found.largest_difference:.1e}")
    print(json.dumps(found.to_json()))


if __name__ == "__main__":
    main()

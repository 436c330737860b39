"""OverFeat's trick: all windows of a picture at once against one by one, equal scores, on a network without padding.

python bench/overfeat.py
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from onelook.heads.overfeat import fully_convolutional

WINDOW, STRIDE = 92, 4


def make() -> tuple[nn.Sequential, nn.Linear]:
    """A small network without padding, of stride 4: a window of 92 pixels gives a map of 20 x 20 cells, which a dense layer reads."""
    torch.manual_seed(0)
    features = nn.Sequential(
        nn.Conv2d(3, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 32, 2), nn.ReLU()
    )
    return features.eval(), nn.Linear(32 * 20 * 20, 4)


def seconds(run: Callable[[], Tensor]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", default="120,152,216", help="picture sides: 8 x 8, 16 x 16 and 32 x 32 windows")
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    features, dense = make()
    convolution = fully_convolutional(dense, 32, 20)
    rows = []
    for side in map(int, chosen.sides.split(",")):
        picture = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        places = range(0, side - WINDOW + 1, STRIDE)

        def one_by_one(picture: Tensor = picture, places: range = places) -> Tensor:
            windows = torch.cat([picture[:, :, y : y + WINDOW, x : x + WINDOW] for y in places for x in places])
            return torch.cat([dense(features(part).flatten(1)) for part in windows.split(64)])

        def at_once(picture: Tensor = picture) -> Tensor:
            return convolution(features(picture))

        apart, together = one_by_one(), at_once()
        difference = float((together[0].flatten(1).T - apart).abs().max())
        ratios = [seconds(one_by_one) / seconds(at_once) for _ in range(chosen.repeats)]
        rows.append({"windows": len(apart), "largest_difference": difference, "ratio": statistics.median(ratios)})
        print(rows[-1])
    print(json.dumps({"window": WINDOW, "stride": STRIDE, "rows": rows}))


if __name__ == "__main__":
    main()

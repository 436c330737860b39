"""Small, honest timings that a user can repeat: both sides in one run, taken in turn, the median of the ratios.

onelook bench
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch

from onelook.backbones.backbone import Backbone
from onelook.backbones.engines import TorchEngine, make_engine
from onelook.facts import Facts
from onelook.files import cache_folder

REPEATS = 7


@dataclass(frozen=True)
class Timing:
    """Two ways to do one thing: milliseconds of each (medians) and the median of the paired ratios."""

    what: str
    ours: str
    theirs: str
    ms_ours: float
    ms_theirs: float
    ratio: float
    ratios: tuple[float, ...]
    largest_difference: float = 0.0

    def to_json(self) -> Facts:
        return asdict(self)


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], repeats: int = REPEATS) -> tuple[list[float], list[float]]:
    """Milliseconds of each call, taken in turn after one warm-up of both."""
    ours()
    theirs()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for side, run in zip(times, (ours, theirs), strict=True):
            begun = time.perf_counter()
            run()
            side.append((time.perf_counter() - begun) * 1000)
    return times


def compare_looks(backbone: str, batch: int = 16, cache: Path | None = None) -> Timing:
    """Frozen looks: the engine that onelook chooses against torch eager with channels_last, same random pictures."""
    network = Backbone.load(backbone)
    engine = make_engine(network, (cache or cache_folder()) / "engines", "cpu")
    eager = TorchEngine(Backbone.load(backbone), "cpu")
    size = network.preprocess.size
    x = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    pairs = zip(engine(x), eager(x), strict=True)
    difference = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    ours, theirs = in_turn(lambda: engine(x), lambda: eager(x))
    ratios = tuple(b / a for a, b in zip(ours, theirs, strict=True))
    return Timing(
        f"looks of {network.name}, batch {batch}, {size} px", engine.name, "torch eager, channels_last",
        median(ours) / batch, median(theirs) / batch, median(ratios), ratios, difference,
    )  # fmt: skip

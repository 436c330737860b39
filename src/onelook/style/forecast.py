"""How long a painting will take and how much memory, from a few steps of it, before it is begun.

A step's time grows with the number of pixels along a line, which is drawn through steps at the smallest and at the largest size, and the
largest without tiles; the largest is tried only if what a small step keeps for its way back says that it will fit.

    onelook style photo.jpg painting.jpg --size 1024 --dry-run
"""

import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onelook.errors import OnelookError
from onelook.style.objective import OVERLAP
from onelook.style.painter import COARSEST, Painter, Stage

PROBED = 3  # steps that are tried at a size
SPARE = 0.75  # of the free memory that may be used
MOST_TILE, LEAST_TILE = 1024, 384  # pixels of a tile's side
OVERHEAD = 1.5  # times what a step keeps that it needs at its peak: gradients, and what convolutions work with
MB = 1e6


@dataclass(frozen=True)
class Forecast:
    """Seconds of painting and judging, megabytes of the whole process; ``side``: of tiles, None: none are needed."""

    seconds: float
    mb: float
    side: int | None = None
    remark: str = ""


@dataclass(frozen=True)
class _Probe:
    """Of one size: seconds before the first step and of every step."""

    pixels: int
    before: float
    step: float


def forecast(painter: Painter, extra_seconds: float = 0.0) -> Forecast:
    """Try a few steps of what the painter has still to do; sets its tiles if the whole will not fit.

    ``extra_seconds``: of what comes after. Raises OnelookError naming a size that fits where even tiles do not.
    """
    large = painter.plan[-1]
    kept = _kept_a_pixel(painter) * large.pixels * OVERHEAD / MB
    remark = ""
    room = free_mb() * SPARE
    if painter.side is None and kept > room:
        painter.side = _tile(kept / large.pixels, room, large)
        remark = f"in tiles of {painter.side} pixels: the whole would take {kept:.0f} MB, {room:.0f} MB are to be had"
    forget_peak()
    whole = [stage for stage in painter.plan if painter.side is None or max(stage.width, stage.height) <= painter.side]
    probes = [_probe(painter, stage) for stage in dict.fromkeys([painter.plan[0], *whole[-1:], large])]
    pixels = [probe.pixels for probe in probes]
    seconds = extra_seconds
    for stage in painter.left:
        before = np.interp(stage.pixels, pixels, [probe.before for probe in probes])
        seconds += float(before + stage.steps * np.interp(stage.pixels, pixels, [probe.step for probe in probes]))
    return Forecast(seconds, peak_mb(), painter.side, remark)


def _kept_a_pixel(painter: Painter) -> float:
    """Bytes that a step keeps for its way back, over its pixels: of a small one."""
    last = painter.plan[-1]
    scale = min(1.0, COARSEST / min(last.width, last.height))
    stage = Stage(round(last.width * scale), round(last.height * scale), 1)
    storages: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        storages[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    side, painter.side = painter.side, None
    try:
        objective, brush = painter.objective(stage), painter.brush(stage)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            objective.gradient(brush.picture)
    finally:
        painter.side = side
    return sum(storages.values()) / stage.pixels


def _tile(mb_a_pixel: float, room: float, large: Stage) -> int:
    """The side of tiles that fit. Raises OnelookError where none do."""
    whole = 40 * large.pixels * 4 / MB  # the picture, the optimizer's numbers and what is kept of the content
    side = int(((room - whole) / mb_a_pixel) ** 0.5) if room > whole else 0
    if side < LEAST_TILE:
        fits = int(max(large.width, large.height) * (room / (mb_a_pixel * large.pixels + whole)) ** 0.5)
        raise OnelookError(f"--size {max(large.width, large.height)}: {room:.0f} MB are to be had; use --size {max(64, fits)}")
    return min(MOST_TILE, max(side, 2 * OVERLAP + 64))


def _probe(painter: Painter, stage: Stage) -> _Probe:
    begun = time.perf_counter()
    objective, brush = painter.objective(stage), painter.brush(stage)
    before = time.perf_counter() - begun
    times = []
    for _ in range(PROBED):
        begun = time.perf_counter()
        with suppress(FloatingPointError):
            brush.step(objective.gradient, 0.5)
        times.append(time.perf_counter() - begun)
    return _Probe(stage.pixels, before, sum(times[1:]) / (PROBED - 1))


def peak_mb() -> float:
    """The most memory that this process has held since ``forget_peak``, or since it began where that cannot be had."""
    with suppress(OSError, StopIteration, ValueError):
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / MB
    with suppress(ImportError):  # not there on Windows
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MB
    return 0.0


def forget_peak() -> None:
    """Count the peak from now on, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def free_mb() -> float:
    """Memory that can be had without swapping: the machine's, or what a container leaves of its own."""
    found = [_meminfo(), _container()]
    known = [value for value in found if value is not None]
    return min(known) if known else 4096.0


def _meminfo() -> float | None:
    with suppress(OSError, StopIteration, ValueError):
        line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
        return int(line.split()[1]) * 1024 / MB
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2 / MB
    return None


def _container() -> float | None:
    with suppress(OSError, ValueError):
        limit, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text().strip() for name in ("max", "current"))
        return (int(limit) - int(used)) / MB
    return None

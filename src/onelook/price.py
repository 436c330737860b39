"""What each part of a model costs: parameters, multiply-accumulates, bytes in the file, milliseconds a picture.

onelook info mine.onelook
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, cast

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from onelook.look import Geometry
from onelook.looker import BATCH, Pixels
from onelook.model import Model

REPEATS = 5


@dataclass(frozen=True)
class Part:
    """One line of the bill. ``macs`` and ``ms`` are per picture."""

    part: str
    parameters: int
    macs: int
    bytes: int
    ms: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Bill:
    """What one picture costs with this model, and what it would cost with one network per head."""

    parts: tuple[Part, ...]
    looks: int
    ms_together: float
    ms_apart: float

    def to_json(self) -> dict[str, Any]:
        saved = {"ms_together": self.ms_together, "ms_apart": self.ms_apart, "ratio": self.ms_apart / self.ms_together}
        return {"parts": [part.to_json() for part in self.parts], "looks_per_picture": self.looks, "one_look": saved}


@torch.inference_mode()
def price(model: Model) -> Bill:
    """Measure every part of a model on batches of random pictures of its own size."""
    names = list(model.heads) or ["imagenet"]
    parts: list[Part] = []
    looks: dict[Geometry, float] = {}
    for geometry, sharing in model.by_geometry(names).items():
        looker = model.looker(geometry)
        batch = _random_batch(geometry)
        needs = model.head(sharing[0]).needs
        for name in sharing[1:]:
            needs = needs | model.head(name).needs
        look = looker.look(batch, needs)
        ms = _milliseconds(lambda looker=looker, batch=batch, needs=needs: looker.look(batch, needs)) / BATCH  # type: ignore[misc]
        one = torch.zeros(1, 3, geometry.size, geometry.size, device=model.backbone.device)
        label = "look" if not looks else f"look at {geometry.size}"
        size = sum(value.numel() * value.element_size() for value in model.backbone.stages.state_dict().values())
        parts.append(Part(label, model.backbone.parameter_count(), _macs(lambda one=one: model.backbone(one)), size, ms))  # type: ignore[misc]
        looks[geometry] = ms
        for name in sharing:
            head = model.head(name)
            module = cast(nn.Module, head)
            count = sum(value.numel() for value in module.state_dict().values())
            cost = _milliseconds(lambda head=head, look=look: head(look)) / BATCH  # type: ignore[misc]
            macs = _macs(lambda head=head, look=look: head(look)) // BATCH  # type: ignore[misc]
            parts.append(Part(name, count, macs, _bytes_in_file(module), cost))
    together = sum(part.ms for part in parts)
    apart = sum(part.ms + looks[model.geometry_of(part.part)] for part in parts if not part.part.startswith("look"))
    return Bill(tuple(parts), len(looks), together, apart)


def _bytes_in_file(module: nn.Module) -> int:
    from onelook.modelfile import packed

    return sum(value.numel() * value.element_size() for value in map(packed, module.state_dict().values()))


def _random_batch(geometry: Geometry) -> list[Pixels]:
    draw = torch.Generator().manual_seed(0)
    placement = geometry.place(geometry.size, geometry.size)
    shape = (3, geometry.size, geometry.size)
    return [Pixels(("0" * 32, 0), torch.randint(0, 256, shape, dtype=torch.uint8, generator=draw), placement) for _ in range(BATCH)]


def _macs(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) // 2


def _milliseconds(run: Callable[[], object]) -> float:
    run()
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        run()
        times.append((time.perf_counter() - begun) * 1000)
    return median(times)

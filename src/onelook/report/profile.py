"""What each part of a model costs: parameters, multiply-accumulates, bytes in the file, milliseconds a picture.

onelook info mine.onelook
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from onelook.facts import Facts
from onelook.geometry.placement import Geometry
from onelook.heads.base import AnyHead
from onelook.heads.tail import Tail
from onelook.looks.extractor import BATCH, Pixels
from onelook.looks.features import Look, union
from onelook.model import Model
from onelook.modelfile import packed
from onelook.modelparts import READY

REPEATS = 5


@dataclass(frozen=True)
class Part:
    """One line of the profile. ``macs`` and ``ms`` are per picture; ``head``: whose part it is (empty: the shared look's)."""

    part: str
    parameters: int
    macs: int
    bytes: int
    ms: float
    head: str = ""

    def to_json(self) -> Facts:
        return asdict(self)


@dataclass(frozen=True)
class Profile:
    """What one picture costs with this model, and what it would cost with one network per head."""

    parts: tuple[Part, ...]
    looks: int
    ms_together: float
    ms_apart: float

    def to_json(self) -> Facts:
        saved = {"ms_together": self.ms_together, "ms_apart": self.ms_apart, "ratio": self.ms_apart / self.ms_together}
        return {"parts": [part.to_json() for part in self.parts], "looks_per_picture": self.looks, "one_look": saved}


@torch.inference_mode()
def profile(model: Model) -> Profile:
    """Measure every part of a model on batches of random pictures of its own size."""
    names = list(model.heads) or [READY]
    parts: list[Part] = []
    looks: dict[Geometry, float] = {}
    for geometry, sharing in model.by_geometry(names).items():
        extractor = model.extractor(geometry)
        batch = _random_batch(geometry)
        needs = union(model.head(name).needs for name in sharing)
        look = extractor.look(batch, needs)
        ms = _milliseconds(partial(extractor.look, batch, needs)) / BATCH
        one = torch.zeros(1, 3, geometry.size, geometry.size, device=model.backbone.device)
        label = "look" if not looks else f"look at {geometry.size}"
        size = sum(value.numel() * value.element_size() for value in model.backbone.stages.state_dict().values())
        parts.append(Part(label, model.backbone.parameter_count(), _macs(partial(model.backbone, one)), size, ms))
        looks[geometry] = ms
        for name in sharing:
            parts += _of_head(name, model.head(name), look, model.backbone.stage_names)
    together = sum(part.ms for part in parts)
    heads = sum(part.ms for part in parts if part.head)
    apart = heads + sum(looks[model.geometry_of(name)] for name in names)
    return Profile(tuple(parts), len(looks), together, apart)


def _of_head(name: str, head: AnyHead, look: Look, stage_names: Sequence[str]) -> list[Part]:
    """A head's lines: one for each tail that it brings, and one for the rest."""
    if head.core.crops:  # slow on purpose: one picture, once
        return [_part(name, head, lambda: _predict(head, look.pick([0])), name, 1)]
    whole = _part(name, head, lambda: _predict(head, look), name)
    tails = []
    for tail in head.tails:
        assert isinstance(tail, Tail)
        where = stage_names[tail.cut - 1] if tail.cut else "the pixels"
        tails.append(_part(f"{name}: tail behind {where}", tail, partial(tail, look), name))
    rest = Part(
        name,
        whole.parameters - sum(tail.parameters for tail in tails),
        whole.macs - sum(tail.macs for tail in tails),
        whole.bytes - sum(tail.bytes for tail in tails),
        max(0.0, whole.ms - sum(tail.ms for tail in tails)),
        name,
    )
    return [*tails, rest]


def _predict(head: AnyHead, look: Look) -> object:
    """Everything a head does with a look before its answers are put into words."""
    return head.postprocess(head(look), look.placements)


def _part(label: str, module: nn.Module, run: Callable[[], object], head: str, pictures: int = BATCH) -> Part:
    count = sum(value.numel() for value in module.state_dict().values())
    repeats = REPEATS if pictures > 1 else 1
    return Part(label, count, _macs(run) // pictures, _bytes_in_file(module), _milliseconds(run, repeats) / pictures, head)


def _bytes_in_file(module: nn.Module) -> int:
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


def _milliseconds(run: Callable[[], object], repeats: int = REPEATS) -> float:
    if repeats > 1:
        run()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        run()
        times.append((time.perf_counter() - begun) * 1000)
    return median(times)

"""What a network is made of: every layer's output, parameters, multiply-accumulates, stride and receptive field.

The table of the course notes (001, 1.10 and 2.3), for any network. A MAC is one multiplication with its addition; a FLOP counts them
apart, so FLOPs are twice the MACs. Counted are convolutions and matrix products, biases and everything else not, as
``torch.utils.flop_counter`` counts. Known networks are built without memory or computing (torch's device "meta").

    onelook anatomy vgg16 --size 224
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import prod

import torch
from torch import Tensor, nn

from onelook.backbones.by_name import architecture
from onelook.facts import Facts
from onelook.inside.receptive_field import Field
from onelook.inside.trace import Step, trace
from onelook.looks.features import look_from, union
from onelook.model import Model

HEADER = ("layer", "type", "output", "numbers", "parameters", "MACs", "field", "stride")
KIND_HEADER = ("kind", "layers", "parameters", "MACs")
JOINTS = ("cat", "add", "add_")  # where paths meet
POOLS = ("max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d", "mean")
SHOWN = ("Conv", "Linear", "Pool", "LSTM", "Attention")  # kinds of layers that a short table has, by a part of their names


@dataclass(frozen=True)
class Layer:
    """One line. ``output``: channels and places, or numbers. ``receptive_field``: pixels of the larger side; None: the whole picture, or
    no places. ``aligned``: whether all paths to a place have one centre.
    """

    name: str
    type: str
    output: tuple[int, ...]
    parameters: int
    macs: int
    receptive_field: int | None
    stride: float | None
    aligned: bool = True

    @property
    def size(self) -> int:
        """How many numbers its output has."""
        return prod(self.output)

    @property
    def main(self) -> bool:
        """Whether it is a layer of the short table: with weights that multiply, or a pool."""
        return bool(self.macs) or any(part in self.type for part in SHOWN) or self.type in POOLS

    def row(self) -> list[str]:
        """In words: name, type, output, how many numbers, parameters, MACs, receptive field, stride."""
        field = (
            ""
            if len(self.output) < 3
            else "whole"
            if self.receptive_field is None
            else f"{self.receptive_field}{'' if self.aligned else '*'}"
        )
        stride = "" if self.stride is None else f"{self.stride:g}"
        shape = " x ".join(map(str, self.output))
        return [self.name, self.type, shape, f"{self.size:,}", f"{self.parameters:,}", f"{self.macs:,}", field, stride]

    def to_json(self) -> Facts:
        return asdict(self) | {"size": self.size}


@dataclass(frozen=True)
class Anatomy:
    """The layers of a network in the order in which they run, for an input of this shape."""

    name: str
    input: tuple[int, ...]
    layers: tuple[Layer, ...]
    parameters: int

    @property
    def macs(self) -> int:
        """Of all layers, for one picture."""
        return sum(layer.macs for layer in self.layers)

    def kinds(self) -> list[Facts]:
        """Sums by kind of layer, the costliest first."""
        rows = []
        for kind in {layer.type for layer in self.layers}:
            mine = [layer for layer in self.layers if layer.type == kind]
            rows.append(
                {
                    "type": kind,
                    "layers": len(mine),
                    "parameters": sum(one.parameters for one in mine),
                    "macs": sum(one.macs for one in mine),
                }
            )
        return sorted(rows, key=lambda row: (-row["macs"], -row["parameters"], row["type"]))

    def rows(self, every: bool = False) -> list[list[str]]:
        """A line in words for every layer, or for those of the short table."""
        return [layer.row() for layer in self.layers if every or layer.main]

    def kind_rows(self) -> list[list[str]]:
        """The sums by kind in words."""
        return [[row["type"], str(row["layers"]), f"{row['parameters']:,}", f"{row['macs']:,}"] for row in self.kinds()]

    def to_json(self) -> Facts:
        total = {"parameters": self.parameters, "macs": self.macs, "flops": 2 * self.macs}
        layers = [layer.to_json() for layer in self.layers]
        return {"network": self.name, "input": list(self.input), "layers": layers, "kinds": self.kinds(), "total": total}


def anatomy(name: str, size: int | None = None) -> Anatomy:
    """The anatomy of a network by its name; ``size``: of its square input in pixels (default: its own). Raises BackboneError."""
    try:
        with torch.device("meta"):
            network, preprocess = architecture(name)
    except (NotImplementedError, RuntimeError):  # reads values while it is built
        network, preprocess = architecture(name)
    side = size or preprocess.size
    return anatomy_of(network.eval(), (3, side, side), name)


def anatomy_of(network: nn.Module, shape: Sequence[int], name: str = "") -> Anatomy:
    """The anatomy of any module for an input of shape (C, ...)."""
    return _anatomy(network, network, shape, name or type(network).__name__)


def anatomy_of_model(model: Model, size: int | None = None, names: Sequence[str] | None = None) -> Anatomy:
    """The anatomy of a model: its backbone's stages and its heads (all, or ``names``), for a square picture (``size``: not its own)."""
    geometry = model.geometry_of(names[0] if names else "")
    geometry = replace(geometry, size=size) if size else geometry
    heads = {name: model.head(name) for name in names or model.heads}
    whole = nn.ModuleDict({"look": model.backbone, **heads})

    class Pass(nn.Module):
        """A picture's way: the stages, then every head."""

        def forward(self, x: Tensor) -> list[object]:
            outputs = model.backbone(x)
            needs, placement = union(head.needs for head in heads.values()), geometry.place(geometry.size, geometry.size)
            look = look_from(x, outputs, model.backbone.strides, [placement], needs, model.backbone.embed)
            boxes = torch.tensor([0.0, 0.0, geometry.size, geometry.size], device=x.device).expand(1, max(1, needs.regions), 4)
            look = replace(look, regions=boxes)  # for heads that read proposed ones, whichever
            return [head(look) for head in heads.values() if not head.core.crops]

    return _anatomy(whole, Pass(), (3, geometry.size, geometry.size), repr(model))


def _anatomy(network: nn.Module, run: nn.Module, shape: Sequence[int], name: str) -> Anatomy:
    parameter = next(network.parameters(), torch.zeros(1))
    x = torch.zeros(1, *shape, device=parameter.device, dtype=parameter.dtype)
    steps = trace(network, x, run)
    return Anatomy(name, tuple(shape), tuple(_layers(network, steps)), sum(value.numel() for value in network.parameters()))


def _layers(network: nn.Module, steps: Sequence[Step]) -> list[Layer]:
    """The steps of every module that has no parts, or weights of its own, as one line; those of others where they pool, or paths meet."""
    modules = dict(network.named_modules())
    counted: set[int] = set()
    lines: list[Layer] = []
    waiting: list[Step] = []
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        module = modules[step.module]
        weights = _own_weights(module)
        if not weights and any(True for _ in module.children()):
            if step.macs or step.operation in POOLS or (step.operation in JOINTS and step.field is not None):
                lines.append(_layer([step], f"{step.module}.{step.operation}".strip("."), step.operation, 0))
            continue
        waiting.append(step)
        if following is None or following.module != step.module:
            own = sum(value.numel() for value in weights if id(value) not in counted)
            counted |= {id(value) for value in weights}
            lines.append(_layer(waiting, step.module, type(module).__name__, own))
            waiting = []
    return lines


def _own_weights(module: nn.Module) -> list[nn.Parameter]:
    """Those that are a module's itself, also in lists, not its parts'."""
    lists = [part for part in module.children() if isinstance(part, nn.ParameterList | nn.ParameterDict)]
    return [weight for holder in (module, *lists) for weight in holder.parameters(recurse=False)]


def _layer(steps: Sequence[Step], name: str, kind: str, parameters: int) -> Layer:
    last = steps[-1]
    macs = sum(step.macs for step in steps)
    placed = len(last.output) > 2 and last.field is not None
    field: Field = last.field if placed and last.field is not None else ()
    sizes = [axis.size for axis in field]
    known = [size for size in sizes if size is not None]
    largest = max(known) if field and len(known) == len(sizes) else None
    stride = field[0].jump if largest is not None else None
    aligned = all(axis.aligned for axis in field)
    return Layer(name, kind, last.output[1:], parameters, macs, largest, stride, aligned)

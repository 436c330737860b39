"""The model as one network: bytes of pictures in, every head's answers out, suppression included.

Pictures of one batch lie alike: (B, h, w, 3) uint8, red green blue, brought to the input's size already (``Geometry.apply``); padding,
normalising, the look and the heads are inside. Answers are those of ``Head.tensors``.

    onelook export mine.onelook --to onnx --out mine.onnx
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import torch
from torch import Tensor, nn
from torch.nn import functional

import onelook
from onelook.backbones.backbone import Backbone
from onelook.backbones.engines import with_fixed_padding
from onelook.errors import HeadError
from onelook.facts import Facts
from onelook.geometry.placement import Placement
from onelook.heads.base import AnyHead, Head
from onelook.heads.pooled import Cancelling
from onelook.looks.features import look_from, union
from onelook.model import Model


class Graph(nn.Module):
    """Pixels (B, h, w, 3) uint8 -> answers, as a tuple in the order of ``names``: "kind.probabilities", "things.boxes" ..."""

    scale: Tensor
    shift: Tensor

    def __init__(self, backbone: Backbone, heads: Mapping[str, AnyHead], multiple: int, suppress: bool = True) -> None:
        super().__init__()
        self.suppress = suppress
        self.backbone, self.multiple = backbone, multiple
        self.heads = nn.ModuleDict(heads)
        mean, std = (torch.tensor(three, dtype=torch.float64) for three in (backbone.preprocess.mean, backbone.preprocess.std))
        self.register_buffer("scale", (1 / (std * 255)).float())
        self.register_buffer("shift", (-mean / std).float())
        self.names: tuple[str, ...] = ()

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        high, wide = pixels.shape[1], pixels.shape[2]
        normal = (pixels.float() * self.scale + self.shift).permute(0, 3, 1, 2)
        x = functional.pad(normal, (0, -wide % self.multiple, 0, -high % self.multiple))
        outputs = self.backbone(x)
        shown = Placement((wide, high), (x.shape[3], x.shape[2]), (wide, high), (1.0, 1.0), (0.0, 0.0))
        heads = {name: head for name, head in self.heads.items() if isinstance(head, Head)}
        needs = union(head.needs for head in heads.values())
        look = look_from(x, outputs, self.backbone.strides, (shown,), needs, self.backbone.embed)
        answers = {
            f"{name}.{part}": value
            for name, head in heads.items()
            for part, value in (head.tensors if self.suppress else head.unsuppressed)(head(look), shown).items()
        }
        self.names = tuple(answers)
        return tuple(answers.values())


def graph_of(model: Model, names: Sequence[str], example: Tensor, suppress: bool = True) -> Graph:
    """The heads ``names`` of a model as one network, made to be traced with ``example`` (B, h, w, 3), which it has seen.

    ``suppress``: whether boxes are suppressed in it.

    Raises HeadError for heads that are no graph, or do not share a look.
    """
    for name in names:
        core = model.head(name).core
        if core.no_graph:
            raise HeadError(f"head {name!r} by {core.method} cannot be exported: {core.no_graph}; others can: --heads")
    if len(model.by_geometry(names)) > 1:
        looks = "; ".join(f"{', '.join(group)}: {geometry.mode} {geometry.size}" for geometry, group in model.by_geometry(names).items())
        raise HeadError(f"its heads look at pictures in different ways ({looks}); export those of one way, with --heads")
    graph = Graph(model.backbone, {name: model.head(name) for name in names}, model.geometry_of(names[0]).multiple, suppress)
    graph = with_fixed_padding(graph.eval(), example)
    for module in list(graph.modules()):
        if isinstance(module, Cancelling):
            module.settle()
        elif isinstance(module, Head):
            module.familiar = None  # asked of a look, not in a graph
    return graph


def facts_of(model: Model, names: Sequence[str], graph: Graph, shape: tuple[int, int] | None) -> Facts:
    """What a program must know to ask the file; ``shape``: width and height of all pictures as it reads them, where they are fixed."""
    geometry, backbone = model.geometry_of(names[0]), model.backbone
    heads = {}
    for name in names:
        head = model.head(name)
        known = {"task": head.core.task, "method": head.core.method, "classes": list(head.classes), "temperature": head.temperature}
        heads[name] = known | head.core.reading()
    return {
        "onelook": onelook.__version__,
        "backbone": backbone.name,
        "fingerprint": backbone.fingerprint,
        "licences": {"onelook": "Apache-2.0", backbone.source.name: backbone.source.licence},
        "geometry": {**asdict(geometry), "interpolation": backbone.preprocess.interpolation},
        "pixels": {"type": "uint8", "order": "batch, height, width, red green blue", "shape": list(shape) if shape else None},
        "heads": heads,
        "outputs": list(graph.names),
        "suppressed": graph.suppress,
    }

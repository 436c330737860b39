"""Layers by name: a stage of the backbone (stride16), or any module of its network (blocks.3.1); their outputs and what they see.

onelook anatomy efficientnet_lite0 --all
"""

import difflib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from onelook.backbones.backbone import Backbone
from onelook.errors import HeadError
from onelook.inside.receptive_field import Field
from onelook.inside.trace import fields


@dataclass(frozen=True)
class Layer:
    """A layer of a backbone: ``stride`` of the stage that it ends, or 0; ``module``: what is run up to."""

    name: str
    module: nn.Module
    stride: int = 0


class _Reached(Exception):
    """The layer has run; the rest need not."""


def find_layer(backbone: Backbone, name: str) -> Layer:
    """The layer of this name. Raises HeadError naming those that are nearest to it."""
    stages = dict(zip(backbone.stage_names, backbone.stages, strict=True))
    if name in stages:
        place = backbone.stage_names.index(name)
        return Layer(name, stages[name], backbone.strides[place] if place < len(backbone.strides) else 0)
    modules = {inner: module for inner, module in backbone.network.named_modules() if inner}
    if name in modules:
        return Layer(name, modules[name])
    near = difflib.get_close_matches(name, [*stages, *modules], 5, 0.3)
    raise HeadError(
        f"--layer {name}: there is no such layer; stages: {', '.join(stages)}; others, as: {', '.join(near or list(modules)[:5])}"
    )


def run_to(backbone: Backbone, layer: Layer, x: Tensor) -> Tensor:
    """The output of a layer for normalised pixels (B, 3, H, W). Raises HeadError for one that does not run, or has no maps."""
    found: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: object) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise HeadError(f"--layer {layer.name}: its output is no map (B, C, H, W)")
        found.append(output)
        raise _Reached

    handle = layer.module.register_forward_hook(keep)
    try:
        backbone(x)
    except _Reached:
        return found[0]
    finally:
        handle.remove()
    raise HeadError(f"--layer {layer.name}: it does not run in a look; choose a stage: {', '.join(backbone.stage_names)}")


def field_of(backbone: Backbone, layer: Layer, size: tuple[int, int]) -> Field:
    """What a place of a layer sees of an input of ``size`` (width, height): axes down and across. Raises HeadError."""
    x = torch.zeros(1, 3, size[1], size[0], device=backbone.device)
    name = next(name for name, module in backbone.named_modules() if module is layer.module)
    found = fields(backbone, x)
    if name not in found:
        raise HeadError(f"--layer {layer.name}: its output is no map (B, C, H, W)")
    return found[name]

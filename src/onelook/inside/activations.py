"""What a picture becomes in a network: the maps of each stage's units that it makes most active.

onelook anatomy efficientnet_lite0 --picture photo.jpg --out activations.png
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from onelook.data.pictures import open_picture, picture_size
from onelook.looks.extractor import Extractor
from onelook.looks.features import Needs, shown

MOST = 12  # units of a stage


@dataclass(frozen=True)
class Activations:
    """The most active units of a layer: their numbers, the strongest first, and their maps (n, h, w), padding left out.

    ``shape``: of the whole output (C, h, w); ``silent``: the share of units that are nowhere above zero.
    """

    layer: str
    shape: tuple[int, int, int]
    units: tuple[int, ...]
    maps: Tensor
    silent: float


def activations(extractor: Extractor, path: Path | str, most: int = MOST) -> list[Activations]:
    """Of every stage, the first ones first. Raises PictureError."""
    size = extractor.geometry.size
    pixels = extractor.scale(open_picture(path, at_least=size), ("", 0), picture_size(path))
    strides = extractor.backbone.strides
    look = extractor.look([pixels], Needs(maps=tuple(strides)))
    found = []
    for stride in strides:
        maps = shown(look.maps[stride], pixels.placement)[0].float()
        peaks = maps.flatten(1).amax(1)
        units = peaks.argsort(descending=True)[:most]
        shape = (maps.shape[0], maps.shape[1], maps.shape[2])
        silent = float((peaks <= 0).float().mean())
        found.append(Activations(f"stride{stride}", shape, tuple(units.tolist()), maps[units].clone(), silent))
    return found


def strength(found: Activations) -> Tensor:
    """Each map by its own largest value, 0..1 (n, h, w); what is below zero is 0."""
    positive = found.maps.clamp_min(0)
    return positive / torch.clamp_min(positive.flatten(1).amax(1), 1e-12)[:, None, None]

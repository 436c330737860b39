"""What made a unit active: its one value sent back to the pixels through a deconvnet.

Zeiler, Fergus 2013, "Visualizing and understanding convolutional networks", section 2.1 (course notes 001, 4.7): all other values of the
layer are set to zero; pools are undone by the switches, the places of their maxima; what comes back is rectified at every rectifier;
convolutions are undone by their filters, transposed. Where pools overlap (AlexNet's 3/2), several values may come back to one place: they
are added, as the transposed operation does. Batch normalisation is undone as the scaling that it is when it is frozen, and local response
normalisation is passed through as it is. A network without max pools (EfficientNet) has no switches; then the rectifiers are all.

    onelook deconvnet efficientnet_lite0 photos/ --layer stride4 --out sheet.png
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onelook.backbones.backbone import Backbone
from onelook.data.pictures import read_bytes
from onelook.errors import HeadError
from onelook.inside.layers import Layer, find_layer, run_to
from onelook.inside.patches import Patch, Patches, Unit
from onelook.inside.rectifiers import Rectified
from onelook.looks.extractor import Extractor


@dataclass(frozen=True)
class Reconstruction:
    """A patch as the network sees it, and what made its unit active: RGB bytes (h, w, 3), and (3, h, w) in the input's units, signed."""

    patch: Patch
    seen: Tensor
    made: Tensor


def send_back(backbone: Backbone, layer: Layer, x: Tensor, unit: int, places: Sequence[tuple[int, int]]) -> Tensor:
    """From one value of each picture, that of a unit at a place (row, column), back to the pixels x (B, 3, H, W): the same shape.

    Raises HeadError for a network with other activations than rectifiers, or with none before the layer.
    """
    x = x.clone().requires_grad_()
    with torch.enable_grad(), Rectified("deconvnet") as mode:
        maps = run_to(backbone, layer, x)
    alone = torch.zeros_like(maps)
    for number, (row, column) in enumerate(places):
        alone[number, unit, row, column] = maps[number, unit, row, column].detach()
    if not mode.count and layer.name not in backbone.stage_names[:1]:
        raise HeadError(f"--layer {layer.name}: no rectifier runs before it; a deconvnet is for networks of convolutions and rectifiers")
    (back,) = torch.autograd.grad(maps, x, alone)
    return back


def reconstructions(extractor: Extractor, found: Patches) -> Iterator[tuple[Unit, list[Reconstruction]]]:
    """For every unit of ``found`` its patches with what made it active, unit by unit."""
    layer = find_layer(extractor.backbone, found.layer)
    for unit in found.units:
        yield unit, [_reconstruction(extractor, layer, unit.unit, patch) for patch in unit.patches]


def _reconstruction(extractor: Extractor, layer: Layer, unit: int, patch: Patch) -> Reconstruction:
    content, digest = read_bytes(patch.path)
    (pixels,) = extractor.decode(patch.path, content, digest)
    x = extractor.input(pixels)[None].to(extractor.backbone.device)
    back = send_back(extractor.backbone, layer, x, unit, [patch.place])[0].cpu()
    left, top, right, bottom = patch.seen
    return Reconstruction(patch, pixels.content[:, top:bottom, left:right].permute(1, 2, 0), back[:, top:bottom, left:right])

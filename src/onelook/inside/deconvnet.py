"""What made a unit active: its one value sent back to the pixels through a deconvnet.

Zeiler, Fergus 2013, "Visualizing and understanding convolutional networks", section 2.1 (course notes 001, 4.7): all other values of the
layer are set to zero; pools are undone by the switches, the places of their maxima; what comes back is rectified at every rectifier;
convolutions are undone by their filters, transposed. Where pools overlap (AlexNet's 3/2), several values may come back to one place: they
are added, as the transposed operation does. Batch normalisation is undone as the scaling that it is when it is frozen, and local response
normalisation is passed through as it is.
A network that halves its maps by strides instead of pools (EfficientNet, ResNet) has no switches, and what comes back is a pattern without
a picture in it. For these Springenberg et al. 2014 let the rectifiers' own signs stand for the switches (guided back-propagation), which is
done here, too, and said. It can be asked for where there are switches: of VGG-16 it shows edges and fur where the deconvnet shows a grid.

    onelook deconvnet efficientnet_lite0 photos/ --layer stride4 --out sheet.png
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onelook.backbones.backbone import Backbone
from onelook.data.pictures import read_bytes
from onelook.errors import HeadError
from onelook.inside.layers import Layer, find_layer, run_to
from onelook.inside.patches import Patch, Patches, Unit
from onelook.inside.rectifiers import Rectified, Rule
from onelook.looks.extractor import Extractor, Pixels

EFFECT = 0.95  # share of what comes back that a reconstruction is cut to
SWITCHED = 3  # halvings for each max pool up to which switches are worth it


@dataclass(frozen=True)
class Reconstruction:
    """A patch as the network sees it, and what made its unit active: RGB bytes (h, w, 3), and (3, h, w) in the input's units, signed;
    both cut to where EFFECT of it lies. ``rule``: by which it came back.
    """

    patch: Patch
    seen: Tensor
    made: Tensor
    rule: Rule


def send_back(
    backbone: Backbone, layer: Layer, x: Tensor, unit: int, places: Sequence[tuple[int, int]], rule: Rule | None = None
) -> Tensor:
    """From one value of each picture, that of a unit at a place (row, column), back to the pixels x (B, 3, H, W): the same shape.

    ``rule``: default ``rule_for``. Raises HeadError for a network with other activations than rectifiers, or with none before the layer.
    """
    x = x.clone().requires_grad_()
    with torch.enable_grad(), Rectified(rule or rule_for(backbone, layer)) as mode:
        maps = run_to(backbone, layer, x)
    alone = torch.zeros_like(maps)
    for number, (row, column) in enumerate(places):
        alone[number, unit, row, column] = maps[number, unit, row, column].detach()
    if not mode.count and layer.name not in backbone.stage_names[:1]:
        raise HeadError(f"--layer {layer.name}: no rectifier runs before it; a deconvnet is for networks of convolutions and rectifiers")
    (back,) = torch.autograd.grad(maps, x, alone)
    return back


@torch.no_grad()
def rule_for(backbone: Backbone, layer: Layer) -> Rule:
    """The deconvnet's where max pools have switches, guided back-propagation's where maps are halved otherwise. Raises HeadError."""
    side = 4 * backbone.size_multiple
    with Rectified("deconvnet") as mode:
        maps = run_to(backbone, layer, torch.zeros(1, 3, side, side, device=backbone.device))
    halvings = round(math.log2(side / maps.shape[2]))
    return "deconvnet" if mode.pools * SWITCHED >= halvings else "guided"


def reconstructions(extractor: Extractor, found: Patches, rule: Rule | None = None) -> Iterator[tuple[Unit, list[Reconstruction]]]:
    """For every unit of ``found`` its patches with what made it active, unit by unit. ``rule``: default ``rule_for``. Raises HeadError."""
    layer = find_layer(extractor.backbone, found.layer)
    rule = rule or rule_for(extractor.backbone, layer)
    for unit in found.units:
        yield unit, _reconstructions(extractor, layer, unit, rule)


def _reconstructions(extractor: Extractor, layer: Layer, unit: Unit, rule: Rule) -> list[Reconstruction]:
    """Those of one unit; pictures of one input size go back together."""
    pixels = [extractor.decode(patch.path, *read_bytes(patch.path))[0] for patch in unit.patches]
    found: dict[int, Reconstruction] = {}
    for size in {one.placement.input for one in pixels}:
        mine = [number for number, one in enumerate(pixels) if one.placement.input == size]
        x = extractor.input([pixels[number] for number in mine]).to(extractor.backbone.device)
        backs = send_back(extractor.backbone, layer, x, unit.unit, [unit.patches[number].place for number in mine], rule).cpu()
        found |= {number: _cut(unit.patches[number], pixels[number], back, rule) for number, back in zip(mine, backs, strict=True)}
    return [found[number] for number in range(len(pixels))]


def _cut(patch: Patch, pixels: Pixels, back: Tensor, rule: Rule) -> Reconstruction:
    """Cut to where most of it lies, within what the place sees and what shows the picture."""
    left, top, right, bottom = patch.seen
    wide, high = pixels.placement.content
    right, bottom = min(right, wide), min(bottom, high)
    energy = back[:, top:bottom, left:right].abs().sum(0)
    rows, columns = (_most(energy.sum(axis)) for axis in (1, 0))
    box = (top + rows[0], top + rows[1], left + columns[0], left + columns[1])
    cut = (slice(None), slice(box[0], box[1]), slice(box[2], box[3]))
    return Reconstruction(patch, pixels.content[cut].permute(1, 2, 0), back[cut], rule)


def _most(profile: Tensor) -> tuple[int, int]:
    """The stretch of a profile (n,) that holds EFFECT of it: what is left out is half before and half behind."""
    total = profile.cumsum(0)
    if float(total[-1]) <= 0:
        return 0, len(profile)
    outside = (1 - EFFECT) / 2 * float(total[-1])
    first, last = int((total <= outside).sum()), int((total < float(total[-1]) - outside).sum())
    return first, max(first + 1, min(len(profile), last + 1))

"""Maps of what speaks for a claim, over a picture, by five methods; each gives a signed map at its own resolution.

- hirescam: Draelos, Carin 2020, "Use HiResCAM instead of Grad-CAM": maps of one stage, each place by its own gradient, what is positive of
  their sum. Taken where nobody chooses: by ``trust.py`` it was the best of the quick ones for all kinds of answers (docs/diary.md).
- gradcam: Selvaraju et al. 2017, "Grad-CAM", section 3: weighted by the mean gradient instead; of one box among alike ones it names all.
- integrated_gradients: Sundararajan, Taly, Yan 2017, from a picture of the mean colour (captum's), summed over colours.
- occlusion: Zeiler, Fergus 2013, section 4.2: what the answer loses where a square is hidden (captum's).
- guided: Springenberg et al. 2014 (``rectifiers.py``). It looks sharp; Adebayo et al. found it to depend little on the weights.

    onelook explain mine.onelook photo.jpg --head kind --method occlusion --out map.png
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from onelook.errors import HeadError
from onelook.inside.asked import Asked
from onelook.inside.rectifiers import Rectified

Method = Literal["hirescam", "gradcam", "integrated_gradients", "occlusion", "guided"]
STEPS = 16  # of integrated gradients; with 32 maps are not better by deletion (docs/diary.md)
AT_ONCE = 8 * 224 * 224  # pixels of the pictures that go through at once: memory does not grow with the input's size
HIDDEN, SLIDE = 7, 10  # the hidden square's side and how far it slides: parts of the side of a square as large as the input
GRID = 28  # cells of the longer side to which maps of pixels are averaged: of single pixels nobody can read a map


def hirescam(asked: Asked, stride: int) -> Tensor:
    """The maps' sum, each place weighted by its gradient."""
    maps, gradient = asked.maps_at(stride)
    return (maps * gradient).sum(1)[0]


def gradcam(asked: Asked, stride: int) -> Tensor:
    """The maps' sum, each weighted by its mean gradient."""
    maps, gradient = asked.maps_at(stride)
    return (maps * gradient.mean((2, 3), keepdim=True)).sum(1)[0]


def integrated_gradients(asked: Asked, stride: int) -> Tensor:
    """The sum over colours of each pixel's part in the difference to a picture of the mean colour."""
    from captum.attr import IntegratedGradients

    with torch.enable_grad():
        parts = IntegratedGradients(asked).attribute(
            asked.x, torch.zeros_like(asked.x), n_steps=STEPS, internal_batch_size=at_once(asked.x)
        )
    return torch.as_tensor(parts)[0].sum(0).float()


def occlusion(asked: Asked, stride: int) -> Tensor:
    """The evidence that is lost where a square of the mean colour hides a part."""
    from captum.attr import Occlusion

    high, wide = asked.x.shape[2:]
    window, slide = (max(1, math.isqrt(high * wide) // part) for part in (HIDDEN, SLIDE))
    parts = Occlusion(asked.quick).attribute(
        asked.x, (3, min(window, high), min(window, wide)), (3, slide, slide), baselines=0, perturbations_per_eval=2 * at_once(asked.x)
    )
    return torch.as_tensor(parts)[0].mean(0).float()


def guided(asked: Asked, stride: int) -> Tensor:
    """The size of what comes back to each pixel through rectifiers that let only what is positive pass."""
    x = asked.x.clone().requires_grad_()
    with torch.enable_grad(), Rectified("guided") as mode:
        evidence = asked(x)
    if not mode.count:
        raise HeadError("--method guided: no rectifier runs in this network; use --method gradcam")
    (gradient,) = torch.autograd.grad(evidence.sum(), x)
    return gradient[0].abs().sum(0)


METHODS: dict[Method, Callable[[Asked, int], Tensor]] = {
    "hirescam": hirescam, "gradcam": gradcam, "integrated_gradients": integrated_gradients, "occlusion": occlusion, "guided": guided,
}  # fmt: skip


def at_once(x: Tensor) -> int:
    """How many pictures as large as ``x`` go through together."""
    return max(1, AT_ONCE // (x.shape[2] * x.shape[3]))


def speaking_for(values: Tensor, x: Tensor) -> Tensor:
    """What speaks for the claim, of a map (h, w), over the input ``x``: (H, W), 0 or more."""
    return over_input(values.clamp_min(0), x)


def over_input(values: Tensor, x: Tensor) -> Tensor:
    """A map enlarged to the input; of a finer one means over GRID cells, for of single pixels nobody can read a map."""
    side = max(1, max(values.shape) // GRID) if values.shape == x.shape[2:] else 1
    cells = functional.avg_pool2d(values[None, None], side, ceil_mode=True)
    return functional.interpolate(cells, size=x.shape[2:], mode="bilinear", align_corners=False)[0, 0]

"""Why a head says what it says: a map over the picture of what speaks for it, by five methods, with a test of whether to trust the map.

- hirescam: Draelos, Carin 2020, "Use HiResCAM instead of Grad-CAM": maps of one stage, each place by its own gradient, what is positive of
  their sum. Taken where nobody chooses: by the test below it was the best of the quick ones for all kinds of answers (docs/diary.md).
- gradcam: Selvaraju et al. 2017, "Grad-CAM", section 3: weighted by the mean gradient instead; of one box among alike ones it names all.
- integrated_gradients: Sundararajan, Taly, Yan 2017, from a picture of the mean colour (captum's), summed over colours.
- occlusion: Zeiler, Fergus 2013, section 4.2: what the answer loses where a square is hidden (captum's).
- guided: Springenberg et al. 2014 (``rectifiers.py``). It looks sharp; Adebayo et al. found it to depend little on the weights.

The test: with the network's weights shuffled the map must become another one (Adebayo et al. 2018, "Sanity checks for saliency maps"; what
speaks against the claim counts as in their diverging maps: of a box's map the mere outline is given by where gradients reach). And
what the map names must matter: deletion and insertion (Petsiuk, Das, Saenko 2018, "RISE", section 4.3) beside those of a random map, as
smooth as maps are, and of one that just names the middle. Deletion is better lower, insertion higher. Where a picture without contents
speaks as strongly for the answer (a cell without a defect), there is nothing to lose, and neither is told.

    onelook explain mine.onelook photo.jpg --head kind --out map.png
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional

from onelook.errors import HeadError
from onelook.facts import Facts
from onelook.geometry.placement import Placement
from onelook.inside.asked import Asked, ask
from onelook.inside.rectifiers import Rectified
from onelook.model import Model

Method = Literal["hirescam", "gradcam", "integrated_gradients", "occlusion", "guided"]
STEPS = 32  # of integrated gradients
AT_ONCE = 8 * 224 * 224  # pixels of the pictures that go through at once: memory does not grow with the input's size
HIDDEN, SLIDE = 7, 13  # the hidden square's side and how far it slides: parts of the side of a square as large as the input
CURVE = 14  # pictures of a deletion or insertion curve
GRID = 28  # cells of the longer side, in which pixels are deleted and inserted
SPOTS = 7  # of the longer side, of which a random map is made: scattered cells would destroy a picture as noise does, whatever they show
TOLD = 0.5  # log odds that contents must add to the evidence, for deletion to be told
CHANGED = 0.5  # rank correlation with the map of shuffled weights from which on a map does not depend on them


@dataclass(frozen=True)
class Curves:
    """Areas under the deletion and the insertion curve: 1 is the evidence of the whole picture, 0 of one without contents."""

    deletion: float
    insertion: float


@dataclass(frozen=True)
class Trust:
    """``randomised_changes``: 1 minus the rank correlation (its size) with the map of shuffled weights. ``own``, ``random``, ``centre``:
    what deleting and inserting does in the order of the map, of a random one, and of one that names the middle; None where contents add
    nothing to the evidence.
    """

    randomised_changes: float
    own: Curves | None
    random: Curves | None
    centre: Curves | None

    @property
    def depends_on_weights(self) -> bool:
        """Whether shuffled weights give another map."""
        return self.randomised_changes >= 1 - CHANGED

    @property
    def beats_chance(self) -> bool:
        """Whether deleting what it names hurts more than deleting anything, or the middle."""
        if self.own is None or self.random is None or self.centre is None:
            return False
        return self.own.deletion < min(self.random.deletion, self.centre.deletion)

    def __str__(self) -> str:
        weights = "depends on the weights" if self.depends_on_weights else "FAILS: hardly depends on the weights"
        weights += f" (shuffled ones change {self.randomised_changes:.0%})"
        if self.own is None or self.random is None or self.centre is None:
            return f"{weights}; deletion tells nothing: a picture without contents speaks as strongly for it"
        chance = "better than" if self.beats_chance else "NOT better than"
        return (
            f"{weights}; deletion {self.own.deletion:.2f}, {chance} random "
            f"{self.random.deletion:.2f} and the middle {self.centre.deletion:.2f}; insertion {self.own.insertion:.2f} (random "
            f"{self.random.insertion:.2f}, middle {self.centre.insertion:.2f})"
        )


@dataclass(frozen=True, eq=False)
class Explanation:
    """``values`` (height, width): over the input's part that shows the picture, what speaks for the claim, 0 to 1.

    ``seconds``: of the map alone. ``place``: where the claim lies, xyxy in the input's pixels, if anywhere.
    """

    path: Path
    head: str
    answer: str
    claim: str
    method: Method
    layer: str
    values: Tensor
    placement: Placement
    seconds: float
    place: tuple[float, float, float, float] | None
    trust: Trust | None

    def to_json(self) -> Facts:
        found: Facts = {
            "path": str(self.path), "head": self.head, "answer": self.answer, "claim": self.claim, "method": self.method,
            "layer": self.layer, "seconds": self.seconds,
        }  # fmt: skip
        if self.trust is not None:
            found |= {"randomised_changes": self.trust.randomised_changes, "depends_on_weights": self.trust.depends_on_weights}
            for name, curves in (("", self.trust.own), ("random_", self.trust.random), ("centre_", self.trust.centre)):
                both = (curves.deletion, curves.insertion) if curves else (None, None)
                found |= dict(zip((f"{name}deletion", f"{name}insertion"), both, strict=True))
        return found


def explain(
    model: Model, name: str, path: Path | str, *, method: Method | Literal["auto"] = "auto", layer: str | None = None,
    about: str | None = None, other: Path | str | None = None, trust: bool = True,
) -> Explanation:  # fmt: skip
    """Why head ``name`` says of a picture what it says above all, or what it says of ``about``, a class or a point.

    ``other``: the picture that it is compared with, of heads that compare two. ``layer``: the stage whose maps are read. Raises HeadError,
    PictureError.
    """
    asked = ask(model, name, Path(path), about, None if other is None else Path(other))
    chosen = _chosen(asked, method)
    stride = _stride(asked, layer)
    begun = time.perf_counter()
    values = METHODS[chosen](asked, stride).detach()
    seconds = time.perf_counter() - begun
    where = f"stride{stride}" if chosen in ("hirescam", "gradcam") else "pixels"
    found = _trust(asked, chosen, stride, values) if trust else None
    place = asked.claim.place
    shown = _over_picture(speaking_for(values, asked.x), asked.pixels.placement)
    return Explanation(
        Path(path), name, asked.answer, asked.claim.words, chosen, where, shown, asked.pixels.placement, seconds, place, found
    )


def _chosen(asked: Asked, method: str) -> Method:
    if method == "auto":
        return "occlusion" if len(list(asked.way.head.tails)) > 1 else "hirescam"
    if method not in get_args(Method):
        raise HeadError(f"--method {method}: there is auto, {', '.join(get_args(Method))}")
    return method  # type: ignore[return-value]


def _stride(asked: Asked, layer: str | None) -> int:
    names = {f"stride{stride}": stride for stride in asked.way.backbone.strides}
    if layer is not None and layer not in names:
        raise HeadError(f"--layer {layer}: there is no such stage; there are {', '.join(names)}")
    return names[layer] if layer is not None else asked.layer


# --- the methods: a question and a stride -> what speaks for (above 0) and against the claim, a map (h, w) at its own resolution


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

    blank, at_once = torch.zeros_like(asked.x), _at_once(asked.x)
    with torch.enable_grad():
        parts = IntegratedGradients(asked).attribute(asked.x, blank, n_steps=STEPS, internal_batch_size=at_once)
    return torch.as_tensor(parts)[0].sum(0).float()


def occlusion(asked: Asked, stride: int) -> Tensor:
    """The evidence that is lost where a square of the mean colour hides a part."""
    from captum.attr import Occlusion

    high, wide = asked.x.shape[2:]
    window, slide = (max(1, math.isqrt(high * wide) // part) for part in (HIDDEN, SLIDE))
    parts = Occlusion(asked.quick).attribute(
        asked.x, (3, min(window, high), min(window, wide)), (3, slide, slide), baselines=0, perturbations_per_eval=2 * _at_once(asked.x)
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


def _at_once(x: Tensor) -> int:
    """How many pictures as large as ``x`` go through together."""
    return max(1, AT_ONCE // (x.shape[2] * x.shape[3]))


def speaking_for(values: Tensor, x: Tensor) -> Tensor:
    """What speaks for the claim, of a map (h, w), over the input ``x``: (H, W), 0 or more."""
    return _over_input(values.clamp_min(0), x)


def _over_input(values: Tensor, x: Tensor) -> Tensor:
    """A map enlarged to the input; of a finer one means over GRID cells, for of single pixels nobody can read a map."""
    side = max(1, max(values.shape) // GRID) if values.shape == x.shape[2:] else 1
    cells = functional.avg_pool2d(values[None, None], side, ceil_mode=True)
    return functional.interpolate(cells, size=x.shape[2:], mode="bilinear", align_corners=False)[0, 0]


def _over_picture(values: Tensor, placement: Placement) -> Tensor:
    """The part that shows the picture, 0 to 1."""
    shown = values[: placement.content[1], : placement.content[0]].detach()
    return shown / shown.max().clamp_min(1e-12)


# --- whether to trust it


def _trust(asked: Asked, method: Method, stride: int, values: Tensor) -> Trust:
    draw = torch.Generator().manual_seed(0)
    other = METHODS[method](asked.changed(_shuffled), stride).detach()
    changes = 1 - _correlation(*(_cells(_over_input(each, asked.x)).flatten() for each in (values, other)))
    order = _cells(speaking_for(values, asked.x))
    high, wide = order.shape
    rows, columns = torch.linspace(-1, 1, high)[:, None], torch.linspace(-1, 1, wide)[None]
    spots = torch.rand(1, 1, SPOTS, SPOTS, generator=draw)
    random_map = functional.interpolate(spots, size=order.shape, mode="bilinear", align_corners=False)[0, 0]
    maps = (order, random_map, -(rows.square() + columns.square()))
    own, random, centre = (_curves(asked, each) for each in maps)
    return Trust(changes, own, random, centre)


def _correlation(one: Tensor, other: Tensor) -> float:
    """The size of the rank correlation of two maps; of an even map with any other 0."""
    even = min(float(one.std(correction=0)), float(other.std(correction=0))) < 1e-12
    return 0.0 if even else abs(float(spearmanr(one, other).statistic))


def _shuffled(network: nn.Module) -> None:
    """Change the places of all weights within each convolution and dense layer."""
    draw = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight.data
            module.weight.data = weight.flatten()[torch.randperm(weight.numel(), generator=draw)].view_as(weight).clone()


def _cells(values: Tensor) -> Tensor:
    """A map over the input as means over GRID cells of the longer side."""
    side = max(1, -(-max(values.shape) // GRID))
    return functional.avg_pool2d(values[None, None].float(), side, ceil_mode=True)[0, 0].detach()


def _curves(asked: Asked, order: Tensor) -> Curves | None:
    """Cells are taken out, the largest of ``order`` first, and put in; what is out is blurred, so that its outlines do not speak.

    None where contents add nothing.
    """
    x = asked.x
    cloud = blurred(x)
    ranks = torch.empty(order.numel())
    ranks[order.flatten().argsort(descending=True, stable=True)] = torch.arange(order.numel(), dtype=torch.float32)
    side = max(1, -(-max(x.shape[2:]) // GRID))
    whole = ranks.view(order.shape).repeat_interleave(side, 0).repeat_interleave(side, 1)[: x.shape[2], : x.shape[3]]
    shares = torch.linspace(0, 1, CURVE)
    taken = whole[None, None] < shares[:, None, None, None] * order.numel()
    deleted, inserted = (
        torch.cat([asked.quick(torch.where(some, cloud, x)) for some in mask.split(_at_once(x))]) for mask in (taken, ~taken)
    )
    full, none = deleted[0], deleted[-1]
    if float(full - none) < TOLD:
        return None
    areas = [float((torch.trapezoid((each - none) / (full - none), shares)).clamp(-2, 3)) for each in (deleted, inserted)]
    return Curves(areas[0], areas[1])


def blurred(x: Tensor) -> Tensor:
    """A picture without contents: means over an eighth of its side, and smooth."""
    side = max(1, min(x.shape[2:]) // 8)
    means = functional.avg_pool2d(x, side, ceil_mode=True)
    return functional.interpolate(means, size=x.shape[2:], mode="bilinear", align_corners=False)

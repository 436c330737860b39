"""Whether a map that explains an answer can be trusted: it must depend on the weights, and what it names must matter.

With the network's weights shuffled the map must become another one (Adebayo et al. 2018, "Sanity checks for saliency maps"; what
speaks against the claim counts as in their diverging maps: of a box's map the mere outline is given by where gradients reach).
Deletion and insertion (Petsiuk, Das, Saenko 2018, "RISE", section 4.3) stand beside those of a random map, as smooth as maps are, and of
one that just names the middle. Deletion is better lower, insertion higher. Where a picture without contents speaks as strongly for the
answer (a cell without a defect), there is nothing to lose, and neither is told.

    onelook explain mine.onelook photo.jpg --head kind
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional

from onelook.inside.asked import Asked
from onelook.inside.saliency import GRID, at_once, over_input, speaking_for

CURVE = 14  # pictures of a deletion or insertion curve
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


def trust_in(values: Tensor, asked: Asked, method: Callable[[Asked], Tensor]) -> Trust:
    """Test the map ``values`` (h, w), which ``method`` gave for ``asked``."""
    draw = torch.Generator().manual_seed(0)
    other = method(asked.changed(_shuffled))
    changes = 1 - _correlation(*(_cells(over_input(each, asked.x)).flatten() for each in (values, other)))
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
        torch.cat([asked.quick(torch.where(some, cloud, x)) for some in mask.split(at_once(x))]) for mask in (taken, ~taken)
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

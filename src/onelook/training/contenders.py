"""The trials of a depth search that may win, compared picture by picture on held-out ones; the cheapest wins that is about as good.

Within MARGIN standard errors of the best one's mean loss: a little less than the rule of Breiman et al. 1984 allows ("Classification
and regression trees", section 3.4.3), as measured by ``bench/depth_rule.py``.

    onelook train photos/ --name kind --model mine.onelook --budget 3m
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from onelook.metrics.intervals import paired_error
from onelook.training.finetune import Finetuned
from onelook.training.request import Trained

MARGIN = 0.75  # standard errors within which the cheaper at prediction wins; measured on fourteen sets (docs/diary.md)
PATIENCE = 1.0  # standard errors by which a tail may be worse before no deeper one is tried


@dataclass(frozen=True)
class Contender:
    """A trial that may win. ``losses``: by held-out picture; ``judged``: its tails, as fitted without them; ``beside``: a frozen head.

    ``held``: losses on the fold on which tails are judged, the temperature fitted there too: what frozen heads and tails are compared by.
    """

    name: str
    trained: Trained
    losses: dict[int, float]
    judged: tuple[Finetuned, ...] = ()
    beside: Trained | None = None
    held: dict[int, float] = field(default_factory=dict)

    @property
    def cost(self) -> tuple[int, int]:
        """What orders contenders from cheap to dear at prediction: how many tails, and how deep."""
        return len(self.judged), -min((twin.head.tail.cut for twin in self.judged), default=0)


def difference(ours: dict[int, float], theirs: dict[int, float]) -> tuple[float, float]:
    """Mean of the paired differences of two trials' losses (ours minus theirs) and its standard error, by picture."""
    shared = [index for index in ours if index in theirs]
    return paired_error(torch.tensor([ours[index] for index in shared]), torch.tensor([theirs[index] for index in shared]))


def compared(one: Contender, other: Contender) -> tuple[float, float]:
    """``difference`` of two contenders: on all pictures that both were judged on alike."""
    if one.judged or other.judged:
        return difference(one.held or one.losses, other.held or other.losses)
    return difference(one.losses, other.losses)


def best_of(contenders: Sequence[Contender]) -> Contender:
    """The one with the smallest loss, compared in turn on the pictures that both were judged on."""
    best = contenders[0]
    for one in contenders[1:]:
        best = one if compared(one, best)[0] < 0 else best
    return best


def choose(contenders: Sequence[Contender], margin: float = MARGIN) -> Contender:
    """The best of the cheapest at prediction whose loss is within ``margin`` standard errors of the best one's."""
    best = best_of(contenders)
    for cost in sorted({one.cost for one in contenders}):
        here = best_of([one for one in contenders if one.cost == cost])
        mean, error = compared(here, best)
        if mean <= margin * error:
            return here
    return best


def worse(one: Contender, other: Contender) -> bool:
    """Whether ``one`` loses more than ``other`` by over PATIENCE standard errors."""
    mean, error = compared(one, other)
    return mean > PATIENCE * error

"""Several heads as one: the mean of their answers to one look; and how heads are rebuilt from their configuration.

Hansen & Salamon 1990, "Neural network ensembles". A fine-tuned tail is averaged with the frozen head that it was
compared with, so that what the frozen network knows is kept.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from onelook.answers.answer import Answer
from onelook.backbones.backbone import Backbone
from onelook.facts import Facts
from onelook.geometry.placement import Placement
from onelook.heads.base import AnswerOptions, AnyHead, Claim, Head
from onelook.heads.context import Context
from onelook.heads.pooled import PooledHead
from onelook.heads.tail import Tail, Tailed
from onelook.looks.features import Look, Needs, union
from onelook.metrics.judge import Judge


class Averaged(Head[Tensor, Tensor, Tensor]):
    """Pooled heads of one task and the same classes; the first one's verbs serve for all. ``temperature`` is that of the mean."""

    def __init__(self, members: Sequence[AnyHead], temperature: float = 1.0) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.temperature = temperature
        self.classes = members[0].classes

    @classmethod
    def fresh(cls, context: Context, options: object) -> NoReturn:
        raise TypeError("an average is made of heads; there is none by itself")

    @property
    def heads(self) -> list[AnyHead]:
        """The members, as heads."""
        return [member for member in self.members if isinstance(member, Head)]

    @property
    def core(self) -> PooledHead:
        first = self.heads[0].core
        assert isinstance(first, PooledHead)
        return first

    @property
    def tails(self) -> Sequence[nn.Module]:
        return [tail for head in self.heads for tail in head.tails]

    @property
    def needs(self) -> Needs:
        return union(head.needs for head in self.heads)

    def forward(self, look: Look) -> Tensor:
        return self.core.mean(torch.stack([head(look) for head in self.heads])) / self.temperature

    def loss(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]:
        return self.core.loss(raw, target)

    def postprocess(self, raw: Tensor, placements: Sequence[Placement]) -> list[Tensor]:
        return self.core.postprocess(raw, placements)

    def merge(self, predictions: Sequence[Tensor]) -> Tensor:
        return self.core.merge(predictions)

    def answer(self, prediction: Tensor, options: AnswerOptions = AnswerOptions()) -> Answer:
        return self.core.answer(prediction, options)

    def tensors(self, raw: Tensor, placement: Placement) -> dict[str, Tensor]:
        return self.core.tensors(raw, placement)

    def claim(self, raw: Tensor, about: Any = None) -> Claim[Tensor]:
        return self.core.claim(raw, about)

    def judge(self) -> Judge[Tensor, Tensor]:
        return self.core.judge()

    def config(self) -> Facts:
        """Each member's configuration, in order."""
        return {"members": [head.config() for head in self.heads], "temperature": self.temperature}


def rebuild(head: type[AnyHead], config: Facts, backbone: Backbone) -> AnyHead:
    """The unfilled head that a configuration describes: one of this class, one behind a tail, or an average of such."""
    if "members" in config:
        return Averaged([rebuild(head, member, backbone) for member in config["members"]], config["temperature"]).eval()
    if "tail" in config:
        inner = rebuild(head, config["head"], backbone)
        return Tailed(Tail(backbone, config["tail"]["cut"], inner.needs, config["tail"]["statistics"]), inner).eval()
    return head(**config).eval()


def uncalibrated(head: AnyHead) -> AnyHead:
    """A copy of a head that divides by no temperature anywhere."""
    copy = deepcopy(head)
    for module in copy.modules():
        if isinstance(module, Head):
            module.temperature = 1.0
    return copy

"""Several heads as one: the mean of their answers to one look; and how heads are rebuilt from their configuration.

Hansen & Salamon 1990, "Neural network ensembles". A fine-tuned tail is averaged with the frozen head that it was
compared with, so that what the frozen network knows is kept.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn

from onelook.answers import Answer
from onelook.backbone import Backbone
from onelook.heads import HEADS, Head
from onelook.look import Look, Needs, Placement, union
from onelook.tail import Tail, Tailed


class Averaged(nn.Module):
    """Heads of one task and the same classes; the first one's verbs serve for all. ``temperature`` is that of the mean."""

    vector = True

    def __init__(self, members: Sequence[nn.Module], temperature: float = 1.0) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.temperature = temperature

    @property
    def heads(self) -> list[Head]:
        """The members, as heads."""
        return [cast(Head, member) for member in self.members]

    @property
    def task(self) -> str:
        return self.heads[0].task

    @property
    def classes(self) -> tuple[str, ...]:
        return self.heads[0].classes

    @property
    def needs(self) -> Needs:
        return union(head.needs for head in self.heads)

    def forward(self, look: Look) -> Tensor:
        return self.merge(torch.stack([head(look) for head in self.heads])) / self.temperature

    def merge(self, raws: Tensor) -> Tensor:
        """Several raw answers (V, B, K) -> their mean (B, K), as the members' task takes means."""
        return cast(Tensor, self.heads[0].merge(raws))

    def loss(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]:
        return self.heads[0].loss(raw, target)

    def answer(self, raw: Tensor, placements: Sequence[Placement]) -> list[Answer]:
        return self.heads[0].answer(raw, placements)

    def judge(self) -> Any:
        return self.heads[0].judge()

    def config(self) -> dict[str, Any]:
        """Each member's configuration, in order."""
        return {"members": [head.config() for head in self.heads], "temperature": self.temperature}


def rebuild(method: str, config: dict[str, Any], backbone: Backbone) -> Head:
    """The unfilled head that a configuration describes: one of ``HEADS``, one behind a tail, or an average of such."""
    if "members" in config:
        members = [cast(nn.Module, rebuild(method, member, backbone)) for member in config["members"]]
        return cast(Head, Averaged(members, config["temperature"]).eval())
    if "tail" in config:
        head = rebuild(method, config["head"], backbone)
        tail = Tail(backbone, config["tail"]["cut"], head.needs, config["tail"]["statistics"])
        return cast(Head, Tailed(tail, cast(nn.Module, head)).eval())
    return cast(Head, HEADS[method](**config).eval())


def uncalibrated(head: Head) -> Head:
    """A copy of a head that divides by no temperature anywhere."""
    copy = deepcopy(head)
    for module in cast(nn.Module, copy).modules():
        if hasattr(module, "temperature"):
            module.temperature = 1.0  # type: ignore[assignment]
    return copy


def tails_of(head: Head) -> list[Tail]:
    """The tails that a head brings, none for a frozen one."""
    members = head.heads if isinstance(head, Averaged) else [head]
    return [member.tail for member in members if isinstance(member, Tailed)]

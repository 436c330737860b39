"""A tail: a head's own trainable copy of the stages behind a cut, from the shared look to the look that those stages give.

Everything up to the cut stays frozen and shared; the tail is fine-tuned with its own smaller learning rate, which falls with
every stage towards the cut (Yosinski et al. 2014, "How transferable are features in deep neural networks?", section 4; the
rates are those of Howard & Ruder 2018, ULMFiT, section 3.2, one rate per stage). With cut 0 the tail is the whole network
and reads pixels: plain fine-tuning, or training from scratch.
A head behind a tail is a head like any other: it reads a look, and does not know where it came from.

    onelook train photos/ --name kind --model mine.onelook --freeze stride16
"""

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from onelook.answers.answer import Answer
from onelook.backbones.backbone import Backbone
from onelook.backbones.bfloat16 import bfloat16_autocast
from onelook.backbones.cut import cuttable
from onelook.backbones.depthwise import with_fast_gradients
from onelook.backbones.layout import channels_last
from onelook.errors import BackboneError
from onelook.facts import Facts
from onelook.geometry.placement import Placement
from onelook.heads.base import AnswerOptions, AnyHead, Claim, Head, Prediction, Raw, Target
from onelook.heads.context import Context
from onelook.looks.features import Look, Needs, summarize
from onelook.metrics.judge import Judge

Statistics = Literal["kept", "own"]  # of batch normalisation in a tail


class Tail(nn.Module):
    """Look at the cut -> look with what ``needs`` names, as the stages ``cut`` to the end give it, in float32.

    ``statistics``: what batch normalisation uses while training: its ``own`` means and variances, learned from the batches (measured as
    better, see docs/diary.md), or those ``kept`` from the pretrained network.
    """

    def __init__(self, backbone: Backbone, cut: int, needs: Needs, statistics: Statistics = "own") -> None:
        super().__init__()
        self.cut, self.reads, self.statistics = cut, needs, statistics
        self.starts_at = backbone.stride_before(cut)
        self.strides = backbone.strides
        memo: dict[int, nn.Module] = {}
        copied = deepcopy(backbone.network, memo)
        self.stages = nn.ModuleList([nn.Sequential(*(memo[id(piece)] for piece in stage.children())) for stage in backbone.stages][cut:])
        self.embedder = _without_stages(copied, {memo[id(piece)] for stage in backbone.stages for piece in stage.children()})
        with_fast_gradients(self)
        for parameter in self.parameters():
            parameter.requires_grad_(True)
        channels_last(self)
        self.eval()

    @property
    def needs(self) -> Needs:
        """What is read of the shared look: the map at the cut, what the head reads of stages before it, and its proposed regions."""
        shared = [stride for stride in self.strides if stride <= self.starts_at]
        maps = {self.starts_at, *(stride for stride in self.reads.maps if stride in shared)}
        pooled = tuple(stride for stride in self.reads.pooled if stride in shared)
        return Needs(tuple(sorted(maps)), pooled, regions=self.reads.regions)

    def forward(self, look: Look) -> Look:
        look.require(self.needs)
        x = look.maps[self.starts_at].contiguous(memory_format=torch.channels_last)
        maps = {stride: look.maps[stride] for stride in look.maps if stride in self.strides}
        behind = [stride for stride in self.strides if stride > self.starts_at]
        for index, stage in enumerate(self.stages):
            if index >= len(behind) and not self.reads.embedding:
                break  # nobody reads what comes behind the last map
            with bfloat16_autocast(self.training):
                x = stage(x)
            if index < len(behind):
                maps[behind[index]] = x.float()
        x = x.float()
        own = Needs(
            tuple(stride for stride in self.reads.maps if stride in maps),
            tuple(stride for stride in self.reads.pooled if stride in behind),
            self.reads.embedding,
        )
        found = summarize(maps, x, look.placements, own, self.embed)
        return Look(look.placements, found.maps, {**look.pooled, **found.pooled}, found.embedding, look.regions)

    def embed(self, final: Tensor) -> Tensor:
        """The last stage's map -> the embedding (B, D)."""
        return cuttable(self.embedder).forward_head(final, pre_logits=True)

    def network(self, backbone: Backbone) -> Backbone:
        """The whole network as it was fine-tuned: a copy of the backbone with these stages in place of its own."""
        own = Backbone(backbone.name, deepcopy(backbone.network), backbone.preprocess, backbone.source)
        for theirs, mine in zip(own.stages[self.cut :], self.stages, strict=True):
            theirs.load_state_dict(mine.state_dict())
        own.network.load_state_dict(self.embedder.state_dict(), strict=False)
        return own

    def train(self, mode: bool = True) -> "Tail":
        """As ``nn.Module.train``, but batch normalisation keeps its statistics unless it has its own."""
        super().train(mode)
        if self.statistics == "kept":
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def groups(self, factors: Sequence[float]) -> Iterator[tuple[float, list[nn.Parameter]]]:
        """(factor on the learning rate, parameters) of every stage and of the embedding's layers; ``factors``: of the whole network's."""
        for factor, part in zip(factors[self.cut :], (*self.stages, self.embedder), strict=True):
            yield factor, list(part.parameters())


class Tailed(Head[Raw, Prediction, Target]):
    """A tail and the head behind it, which together are a head: the verbs are those of the head, its look is the tail's."""

    def __init__(self, tail: Tail, head: Head[Raw, Prediction, Target]) -> None:
        super().__init__()
        self.tail, self.head = tail, head
        self.classes, self.scale = head.classes, head.scale

    @classmethod
    def fresh(cls, context: Context, options: object) -> NoReturn:
        raise TypeError("a tail is put before a head; there is none by itself")

    @property
    def core(self) -> AnyHead:
        return self.head.core

    @property
    def tails(self) -> Sequence[nn.Module]:
        return (self.tail,)

    @property
    def needs(self) -> Needs:
        return self.tail.needs

    @property
    def temperature(self) -> float:
        """What the inner head divides its scores by."""
        return self.head.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self.head.temperature = value

    def forward(self, look: Look) -> Raw:
        found: Raw = self.head(self.tail(look))
        return found

    def loss(self, raw: Raw, target: object) -> dict[str, Tensor]:
        return self.head.loss(raw, target)

    def postprocess(self, raw: Raw, placements: Sequence[Placement]) -> list[Prediction]:
        return self.head.postprocess(raw, placements)

    def merge(self, predictions: Sequence[Prediction]) -> Prediction:
        return self.head.merge(predictions)

    def mirror(self, prediction: Prediction, across: bool, down: bool, frame: tuple[int, int]) -> Prediction:
        return self.head.mirror(prediction, across, down, frame)

    def answer(self, prediction: Prediction, options: AnswerOptions = AnswerOptions()) -> Answer:
        return self.head.answer(prediction, options)

    def truth(self, target: Target) -> Answer | None:
        return self.head.truth(target)

    def tensors(self, raw: Raw, placement: Placement) -> dict[str, Tensor]:
        return self.head.tensors(raw, placement)

    def claim(self, raw: Raw, about: Any = None) -> Claim[Raw]:
        return self.head.claim(raw, about)

    def judge(self) -> Judge[Prediction, Target]:
        return self.head.judge()

    def config(self) -> Facts:
        """Plain values from which ``onelook.heads.ensemble.rebuild`` makes this again."""
        return {"tail": {"cut": self.tail.cut, "statistics": self.tail.statistics}, "head": self.head.config()}

    def groups(self, factors: Sequence[float]) -> Iterator[tuple[float, list[nn.Parameter]]]:
        """(factor on the head's learning rate, parameters): the head 1, then the tail's."""
        yield 1.0, list(self.head.parameters())
        yield from self.tail.groups(factors)


AnyTailed = Tailed[Any, Any, Any]


def parse_freeze(freeze: str | int, backbone: Backbone) -> int:
    """How many stages stay frozen for ``all``, ``none``, a number, or the name of the last frozen stage.

    Raises BackboneError, naming the stages, for a selector that matches nothing or a network that cannot be split.
    """
    names, count = backbone.stage_names, len(backbone.stages)
    word = str(freeze)
    if word == "all":
        return count
    if not backbone.can_split:
        raise BackboneError(f"--freeze {word}: {backbone.name} cannot be split, so it can only be frozen whole; use --freeze all")
    cut = 0 if word == "none" else names.index(word) + 1 if word in names else int(word) if word.isdecimal() else -1
    if not 0 <= cut <= count:
        choice = f"all, none, auto, a number from 0 to {count}, or one of {', '.join(names)}"
        raise BackboneError(f"--freeze {word}: matches no stage of {backbone.name}; use {choice}")
    return cut


@dataclass(frozen=True)
class StageFacts:
    """One line of the table that says what trains: a stage, its map, its parameters, and its learning rate (0: frozen)."""

    stage: str
    parameters: int
    learning_rate: float


def what_trains(backbone: Backbone, cut: int, rate: float, factors: Sequence[float]) -> list[StageFacts]:
    """Every stage of the backbone, and the embedding's layers if it has any, with the rate at which they train.

    ``rate`` is the head's; ``factors``: on it, of the stages and of the embedding's layers.
    """
    parts = [*backbone.stages, backbone.embedding_layers]
    counts = [sum(parameter.numel() for parameter in part.parameters()) for part in parts]
    rates = [rate * factor if index >= cut else 0.0 for index, factor in enumerate(factors)]
    table = list(map(StageFacts, (*backbone.stage_names, "embedding"), counts, rates))
    return table if counts[-1] else table[:-1]


def frozen_in_words(stage_names: Sequence[str], cut: int) -> str:
    """What a cut means, for people."""
    if cut >= len(stage_names):
        return "all stages frozen and shared"
    return f"frozen and shared up to {stage_names[cut - 1]}, a tail of its own behind it" if cut else "all stages its own"


def trains_table(table: list[StageFacts], rate: float) -> str:
    """``what_trains`` as lines of text, the head's ``rate`` last."""
    lines = [f"{'stage':10} {'parameters':>12}  learning rate"]
    for row in table:
        said = f"{row.learning_rate:.1e}" if row.learning_rate else "frozen, shared"
        lines.append(f"{row.stage:10} {row.parameters:>12,}  {said}")
    return "\n".join([*lines, f"{'head':10} {'new':>12}  {rate:.1e}"])


def _without_stages(network: nn.Module, pieces: Iterable[nn.Module]) -> nn.Module:
    """``network`` reduced to what ``forward_head`` needs: stages and classifier removed."""
    inside = set(pieces)
    for name, child in list(network.named_children()):
        if any(module in inside for module in child.modules()):
            delattr(network, name)
    cuttable(network).reset_classifier(0)
    return network

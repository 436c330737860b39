"""Fine-tuning a tail with a linear head on it: from cached looks at the cut, or from pixels (cut 0).

The head trains at the full learning rate, the last stage at half of it, every stage before at 0.7 of the next one's (Howard & Ruder 2018,
ULMFiT, section 3.2). Batch normalisation takes its statistics from the batches: keeping the pretrained ones cost 1.4 to 3.5 points on
cells and on photographs (docs/diary.md). Scores on held-out training pictures judge a depth; then the tail is fitted on all.
Of a network that starts at random every stage trains at the head's rate; without normalisation wide layers train slower, as Adam's
steps of equal size add up over a layer's inputs (Yang et al. 2021, "Tensor programs V", table 3).

    onelook train photos/ --name kind --model mine.onelook --freeze stride16 --epochs 6
"""

import math
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from onelook.backbones.backbone import Backbone
from onelook.deadline import NEVER, Deadline
from onelook.geometry.placement import Geometry
from onelook.heads.base import AnyHead, Usual
from onelook.heads.ensemble import Averaged
from onelook.heads.pooled import Shape
from onelook.heads.tail import AnyTailed, Tail, Tailed, trains_table, what_trains
from onelook.looks.features import Look, Needs
from onelook.threads import chosen_threads
from onelook.training.batching import batch_count
from onelook.training.loop import Schedule, fit
from onelook.training.problem import Problem
from onelook.training.request import Trained

BATCH = 32
RATE = 2e-3  # of the head
TAIL_RATE = 0.5  # of the last stage, as a factor on the head's
DECAY = 0.7  # from stage to stage towards the cut
WEIGHT_DECAY = 0.05
WARMUP = 0.1
INPUTS = 400  # of a layer that starts at random: one with more learns as much slower, if nothing normalises what it gives
NORMALISES = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)
SMOOTHING, DROPOUT = 0.05, 0.2
LAST_RATE = 0.3  # of the epochs with all pictures, as a factor on both
PICTURES_SEEN_FROM_SCRATCH = 60_000  # over all epochs, unless --epochs says otherwise
FEWEST_EPOCHS, MOST_EPOCHS = 6, 40
LAST_EPOCHS = 2  # with all training pictures, after a tail was judged without one fold
TIMED, FORWARD = 16, 4  # pictures of a batch whose training step, and whose forward pass, is timed
JUDGED_SHARE = 0.8  # of the training pictures, on which a judged tail is fitted


@dataclass(frozen=True)
class Finetuned:
    """A tail and its head that were fitted on a part of the training pictures, and its scores (m, K) on the others, ``where``.

    ``over``: the time was up before its last epoch.
    """

    head: AnyTailed
    scores: Tensor
    where: Tensor
    over: bool = False


def training_table(backbone: Backbone, cut: int) -> str:
    """What trains at which rate and what does not, as lines of text: said before the first step."""
    return trains_table(what_trains(backbone, cut, RATE, rates(backbone)), RATE)


def usual_epochs(usual: Usual, count: int, scratch: bool = False) -> int:
    """How many epochs a tail is fitted for on ``count`` pictures."""
    seen = PICTURES_SEEN_FROM_SCRATCH if scratch else usual.pictures_seen
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(seen / max(count, 1))))


def rates(backbone: Backbone) -> list[float]:
    """Factors on the head's learning rate, of every stage and of the embedding's layers."""
    if backbone.source.kind == "random":
        parts = (*backbone.stages, backbone.embedding_layers)
        normalised = any(isinstance(module, NORMALISES) for module in backbone.network.modules())
        return [1.0 if normalised else min(1.0, INPUTS / _widest(part)) for part in parts]
    last = len(backbone.stages) - 1
    return [*(TAIL_RATE * DECAY ** (last - index) for index in range(last + 1)), TAIL_RATE]


def _widest(part: nn.Module) -> int:
    """The largest number of inputs that one output of a layer has."""
    return max((module.weight[0].numel() for module in part.modules() if isinstance(module, nn.Conv2d | nn.Linear)), default=1)


def finetune(problem: Problem, cut: int, epochs: int) -> Trained:
    """A tail from ``cut`` on and its head: judged without one fold, then fitted on with all training pictures, if there is time."""
    deadline = problem.request.deadline
    judged = judge(problem, cut, epochs, deadline.earlier(_last_seconds(deadline.left(), epochs)))
    if deadline.passed():
        return replace(settle(problem, [judged.head], [judged]), cut_short=("no epochs with all pictures",))
    last = carry_on(problem, judged, LAST_EPOCHS, deadline)
    short = ("epochs of the tail",) if judged.over else ()
    return replace(settle(problem, [last], [judged]), cut_short=short)


def _last_seconds(left: float, epochs: int) -> float:
    """What the epochs with all pictures should get of the time that is left."""
    return 0.0 if math.isinf(left) else left * LAST_EPOCHS / (JUDGED_SHARE * epochs + LAST_EPOCHS)


def judge(problem: Problem, cut: int, epochs: int, deadline: Deadline = NEVER, out: Tensor | None = None) -> Finetuned:
    """A tail from ``cut`` on with its head, fitted without the pictures ``out`` (n,) (default: one fold), and its scores on them."""
    out = problem.data.folds == 0 if out is None else out
    head = start(problem, cut)
    over = _fit(problem, head, ~out, epochs, 1.0, deadline)
    where = out.nonzero().flatten()
    scores = problem.predict(head, where)
    head.temperature = problem.temperature(scores, where)
    return Finetuned(head, scores, where, over)


def _fit(problem: Problem, head: AnyTailed, keep: Tensor, epochs: int, rate: float, deadline: Deadline) -> bool:
    """Train on the pictures where ``keep`` is true, at ``rate`` times RATE; whether the time was up before the last epoch."""
    count = int(keep.sum())
    schedule = Schedule("adamw", epochs, RATE * rate, WEIGHT_DECAY, WARMUP, seed=problem.seed)
    batches = problem.data.batches(keep, head.needs, problem.seed, BATCH)
    groups = head.groups(rates(problem.backbone))
    where = problem.backbone.stage_names[head.tail.cut - 1] if head.tail.cut else "the pixels"
    steps = fit(head, batches, schedule, groups=groups, batches_per_epoch=batch_count(count, BATCH), deadline=deadline)
    over = False
    for step in problem.request.callback(f"tail behind {where}, {count} pictures", steps):
        over = step.over
    return over


def carry_on(problem: Problem, judged: Finetuned, epochs: int, deadline: Deadline = NEVER) -> AnyTailed:
    """The judged tail fitted on with all training pictures, at a rate of LAST_RATE; the judged one stays as it was."""
    head = deepcopy(judged.head)
    head.temperature = 1.0
    _fit(problem, head, torch.ones(len(problem.data), dtype=torch.bool), epochs, LAST_RATE, deadline)
    return head


def settle(problem: Problem, heads: Sequence[AnyTailed], judged: Sequence[Finetuned], beside: Trained | None = None) -> Trained:
    """The mean of ``heads`` (and of the frozen ``beside``), with the temperatures that their judged twins' held-out scores call for."""
    where = judged[0].where
    cut = min(head.tail.cut for head in heads)
    for head, twin in zip(heads, judged, strict=True):
        _halve(head.tail)
        head.temperature = twin.head.temperature
    if len(heads) == 1 and beside is None:
        scores = judged[0].scores
        return Trained(heads[0], cut, problem.judge(scores, where), (), scores, where)
    members: list[AnyHead] = [*heads, *([beside.head] if beside else [])]
    logits = [twin.scores / twin.head.temperature for twin in judged]
    if beside is not None:
        logits.append(beside.scores[torch.isin(beside.where, where)] / beside.head.temperature)
    average = Averaged(members)
    scores = average.core.mean(torch.stack(logits))
    average.temperature = problem.temperature(scores, where)
    return Trained(average.eval(), cut, problem.judge(scores, where), (), scores, where)


@torch.no_grad()
def _halve(tail: Tail) -> None:
    """Round a tail's weights to half precision, in which the file keeps them exactly."""
    for parameter in tail.parameters():
        half = parameter.half().float()
        if bool(torch.isfinite(half).all()):
            parameter.copy_(half)


def start(problem: Problem, cut: int) -> AnyTailed:
    """The unfitted tail and head: pretrained stages, a linear layer of zeros on the embedding as it is."""
    needs = Needs(embedding=True)
    head = problem.shaped(Shape(needs, dropout=DROPOUT, smoothing=SMOOTHING, standardize=False))
    head.readout.weight.fill_(1 / problem.embedding_scale)
    nn.init.zeros_(head.last.weight)
    nn.init.zeros_(head.last.bias)
    return Tailed(Tail(problem.backbone, cut, needs), head)


def step_seconds(backbone: Backbone, cut: int, geometry: Geometry, size: tuple[int, int]) -> float:
    """Seconds a picture that a training step takes from ``cut`` on, measured on two batches of random maps.

    ``size``: width and height of a typical picture.
    """
    placement = geometry.place(*size)
    width, height = placement.input
    stride = backbone.stride_before(cut)
    shape = (3, height, width) if cut == 0 else (backbone.channels[stride], *backbone.map_sizes(height, width)[stride])
    tail = Tail(backbone, cut, Needs(embedding=True))
    look = Look((placement,) * TIMED, {stride: torch.randn(TIMED, *shape, generator=torch.Generator().manual_seed(0))})
    optimizer = torch.optim.AdamW(tail.parameters(), lr=1e-6, fused=True)
    times = []
    with chosen_threads():
        for _ in range(3):
            begun = time.perf_counter()
            tail.train()
            embedding = tail(look).embedding
            assert embedding is not None
            embedding.sum().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            times.append(time.perf_counter() - begun)
    return min(times[1:]) / TIMED


@torch.inference_mode()
def stage_seconds(backbone: Backbone, geometry: Geometry, size: tuple[int, int]) -> list[float]:
    """Seconds of one forward pass through each stage, from which the costs of deeper tails follow without training them."""
    width, height = geometry.place(*size).input
    x = torch.randn(FORWARD, 3, height, width, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last)
    found = [float("inf")] * len(backbone.stages)
    with chosen_threads():
        for _ in range(3):
            y = x
            for index, stage in enumerate(backbone.stages):
                begun = time.perf_counter()
                y = stage(y)
                found[index] = min(found[index], time.perf_counter() - begun)
    return found

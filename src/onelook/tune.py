"""Fine-tuning a tail with a linear head on it: from cached looks at the cut, or from pixels (cut 0).

The head trains at the full learning rate, the last stage at half of it, every stage before at 0.7 of the next one's (Howard & Ruder 2018,
ULMFiT, section 3.2). Batch normalisation takes its statistics from the batches: keeping the pretrained ones cost 1.4 to 3.5 points on
cells and on photographs (docs/diary.md). Scores on held-out training pictures judge a depth; then the tail is fitted on all.

    onelook train photos/ --name kind --model mine.onelook --freeze stride16 --epochs 6
"""

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from onelook.averaged import Averaged
from onelook.backbone import Backbone
from onelook.fit import Recipe, fit
from onelook.heads import Head
from onelook.look import Geometry, Look, Needs
from onelook.problem import Problem, Selected
from onelook.select import Steps, unseen
from onelook.tail import Tail, Tailed, trains_table, what_trains

BATCH = 32
RATE = 2e-3  # of the head
TAIL_RATE = 0.5  # of the last stage, as a factor on the head's
DECAY = 0.7  # from stage to stage towards the cut
WEIGHT_DECAY = 0.05
WARMUP = 0.1
SMOOTHING, DROPOUT = 0.05, 0.2
LAST_RATE = 0.3  # of the epochs with all pictures, as a factor on both


PICTURES_SEEN, PICTURES_SEEN_FROM_SCRATCH = 12_000, 60_000  # over all epochs, unless --epochs says otherwise
FEWEST_EPOCHS, MOST_EPOCHS = 6, 40
LAST_EPOCHS = 2  # with all training pictures, after a tail was judged without one fold
JUDGED_SHARE = 0.8  # of the training pictures, on which a judged tail is fitted


@dataclass(frozen=True)
class Tuned:
    """A tail and its head that were fitted on a part of the training pictures, and its scores on the others."""

    head: Tailed
    scores: Tensor
    where: Tensor


def training_table(backbone: Backbone, cut: int) -> str:
    """What trains at which rate and what does not, as lines of text: said before the first step."""
    return trains_table(what_trains(backbone, cut, RATE, *rates(backbone)), RATE)


def usual_epochs(count: int, scratch: bool = False) -> int:
    """How many epochs a tail is fitted for on ``count`` pictures."""
    seen = PICTURES_SEEN_FROM_SCRATCH if scratch else PICTURES_SEEN
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(seen / max(count, 1))))


def rates(backbone: Backbone) -> tuple[float, float]:
    """Factors on the learning rate: the last stage's, and from stage to stage towards the cut; 1 for weights that start at random."""
    return (1.0, 1.0) if backbone.source.kind == "random" else (TAIL_RATE, DECAY)


def select_tail(problem: Problem, cut: int, epochs: int, through: Steps = unseen) -> Selected:
    """A tail from ``cut`` on and its head: judged without one fold, then fitted on with all training pictures."""
    judged = judge(problem, cut, epochs, through)
    return settle(problem, [carry_on(problem, judged, LAST_EPOCHS, through)], [judged])


def judge(problem: Problem, cut: int, epochs: int, through: Steps = unseen) -> Tuned:
    """A tail from ``cut`` on with its head, fitted without one fold, and its scores on that fold."""
    out = problem.rows.folds == 0
    head = start(problem, cut)
    _fit(problem, head, ~out, epochs, 1.0, through)
    where = out.nonzero().flatten()
    scores = problem.predict(cast(Head, head), where)
    head.temperature = problem.temperature(scores, where)
    return Tuned(head, scores, where)


def _fit(problem: Problem, head: Tailed, keep: Tensor, epochs: int, rate: float, through: Steps) -> None:
    """Train on the pictures where ``keep`` is true, at ``rate`` times RATE."""
    recipe = Recipe("adamw", epochs, RATE * rate, WEIGHT_DECAY, WARMUP, seed=problem.seed)
    batches = problem.rows.batches(keep, head.needs, problem.seed, BATCH)
    per_epoch = max(1, -(-int(keep.sum()) // BATCH))
    groups = head.groups(*rates(problem.backbone))
    where = problem.backbone.stage_names[head.tail.cut - 1] if head.tail.cut else "the pixels"
    title = f"tail behind {where}, {int(keep.sum())} pictures"
    for _ in through(title, fit(head, batches, recipe, groups=groups, batches_per_epoch=per_epoch)):
        pass


def carry_on(problem: Problem, judged: Tuned, epochs: int, through: Steps = unseen) -> Tailed:
    """The judged tail fitted on with all training pictures, at a rate of LAST_RATE; the judged one stays as it was."""
    head = deepcopy(judged.head)
    head.temperature = 1.0
    _fit(problem, head, torch.ones(len(problem.rows), dtype=torch.bool), epochs, LAST_RATE, through)
    return head


def settle(problem: Problem, heads: Sequence[Tailed], judged: Sequence[Tuned], beside: Selected | None = None) -> Selected:
    """The mean of ``heads`` (and of the frozen ``beside``), with the temperatures that their judged twins' held-out scores call for."""
    where = judged[0].where
    for head, twin in zip(heads, judged, strict=True):
        _halve(head.tail)
        head.temperature = twin.head.temperature
    if len(heads) == 1 and beside is None:
        fitted, scores = cast(Head, heads[0]), judged[0].scores
        return Selected(fitted, (), problem.judge(fitted, scores, where), scores, where)
    members: list[nn.Module] = [*heads, *([cast(nn.Module, beside.head)] if beside else [])]
    logits = [twin.scores / twin.head.temperature for twin in judged]
    if beside is not None:
        logits.append(beside.scores[torch.isin(beside.where, where)] / beside.head.temperature)
    average = Averaged(members)
    scores = average.merge(torch.stack(logits))
    average.temperature = problem.temperature(scores, where)
    fitted = cast(Head, average.eval())
    return Selected(fitted, (), problem.judge(fitted, scores, where), scores, where)


@torch.no_grad()
def _halve(tail: Tail) -> None:
    """Round a tail's weights to half precision, in which the file keeps them exactly."""
    for parameter in tail.parameters():
        half = parameter.half().float()
        if bool(torch.isfinite(half).all()):
            parameter.copy_(half)


def start(problem: Problem, cut: int) -> Tailed:
    """The unfitted tail and head: pretrained stages, a linear layer of zeros on the embedding as it is."""
    needs = Needs(embedding=True)
    head = problem.plain_head(needs, "linear", dropout=DROPOUT, smoothing=SMOOTHING)
    head.readout.leave(problem.embedding_scale)
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
    head = Tailed(Tail(backbone, cut, Needs(embedding=True)), _Sum())
    look = Look((placement,) * BATCH, {stride: torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(0))})
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-6)
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        head.train()
        head(look).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - begun)
    return min(times[1:]) / BATCH


class _Sum(nn.Module):
    needs = Needs(embedding=True)

    def forward(self, look: Look) -> Tensor:
        assert look.embedding is not None
        return look.embedding.sum(1)

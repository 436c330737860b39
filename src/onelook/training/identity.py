"""Heads that compare pictures: fitted on cached looks, in batches of P identities with K pictures each.

Some identities are kept out at first: on them the threshold is set, and the head is judged where nothing else judges it. Then it is
fitted anew with all of them.

    onelook train people/ --task embed --model people.onelook
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from onelook.errors import DataError, HeadError
from onelook.facts import Facts
from onelook.heads.identity_head import IdentityHead
from onelook.heads.pooled import read_vector
from onelook.heads.tail import parse_freeze
from onelook.looks.features import Look
from onelook.metrics.verification import IdentityJudge, equal_error
from onelook.training.dataset import TrainingSet
from onelook.training.gather import Gatherer
from onelook.training.loop import Schedule, fit
from onelook.training.problem import Problem
from onelook.training.request import Trained

EACH = 4  # pictures of an identity in a batch
HELD_OUT = 0.2  # share of the identities, two at least
WEIGHT_DECAY = 1e-3
WARMUP = 0.1
FEWEST_EPOCHS, MOST_EPOCHS = 4, 50
OBSERVED, CHUNK = 2_000, 256  # views that a head sees before training; read at once


def train_identity(gather: Gatherer) -> Trained:
    """A head that compares, on the frozen network. Raises DataError for fewer than four identities with two pictures each."""
    request, backbone = gather.request, gather.extractor.backbone
    if request.freeze != "auto" and parse_freeze(request.freeze, backbone) < len(backbone.stages):
        raise HeadError(f"--method {request.head.method}: compares looks of the frozen network; use --freeze all")
    problem = gather(request.views or request.head.usual.views)
    held = held_identities(problem.data.targets, problem.seed)
    judged = _fitted(problem, ~held)
    judge = _judge(problem, judged, held)
    pairs = judge.pairs()
    judge.threshold = equal_error(pairs.same, pairs.different)[1]
    metrics: Facts = judge.result() if request.hold_out else {"n": 0}
    head = _fitted(problem, torch.ones_like(held))
    head.threshold = judge.threshold
    return Trained(head, len(backbone.stages), metrics)


def held_identities(targets: Tensor, seed: int) -> Tensor:
    """Which pictures (n,) are of the identities that are kept out. Raises DataError where too few have two pictures."""
    counts = torch.bincount(targets)
    several = (counts >= 2).nonzero().flatten()
    if len(several) < 4:
        raise DataError(f"{len(several)} identities with two pictures or more; four are needed: two to learn from, two to judge on")
    count = max(2, round(HELD_OUT * len(several)))
    chosen = several[torch.randperm(len(several), generator=torch.Generator().manual_seed(seed))[:count]]
    return torch.isin(targets, chosen)


def _fitted(problem: Problem, keep: Tensor) -> IdentityHead:
    """A head fitted on the pictures where ``keep`` is true."""
    request, data = problem.request, problem.data
    torch.manual_seed(problem.seed)
    head = request.head.fresh(problem.context, request.options)
    assert isinstance(head, IdentityHead)
    vectors, targets = _observed(problem, head, keep)
    head.observe(vectors, targets, *problem.statistics(head.raw_needs))
    usual = request.head.usual
    count = int(keep.sum())
    batches, length = grouped_batches(data, head, keep, usual.batch, problem.seed)
    epochs = request.epochs or min(MOST_EPOCHS, max(FEWEST_EPOCHS, usual.pictures_seen // max(1, count)))
    extra = head.extra()
    groups = [(1.0, [*head.parameters(), *(extra.parameters() if extra is not None else ())])]
    schedule = Schedule("adamw", epochs, head.rate, WEIGHT_DECAY, WARMUP, seed=problem.seed)
    steps = fit(head, batches, schedule, groups=groups, batches_per_epoch=length, deadline=request.deadline)
    for _ in request.callback(f"{count} pictures", steps):
        pass
    return head.eval()


def grouped_batches(
    data: TrainingSet, head: IdentityHead, keep: Tensor, size: int, seed: int
) -> tuple[Callable[[int], Iterator[tuple[Look, Tensor]]], int]:
    """An epoch's batches of ``size`` pictures, EACH of an identity, every view drawn anew; and how many there are.

    Identities come in turn, shuffled; of those with fewer than EACH pictures some come twice, in other views where there are any.
    """
    places = {identity: (keep & (data.targets == identity)).nonzero().flatten() for identity in data.targets[keep].unique().tolist()}
    people = max(2, min(size // EACH, len(places)))
    length = max(1, int(keep.sum()) // (people * EACH))

    def epoch(number: int) -> Iterator[tuple[Look, Tensor]]:
        draw = torch.Generator().manual_seed(seed * 100_003 + number)
        turn: list[int] = []
        for _ in range(length):
            if len(turn) < people:
                order = torch.randperm(len(places), generator=draw).tolist()
                turn += [place for place in order if place not in turn]
            chosen, turn = turn[:people], turn[people:]
            rows = []
            for place in chosen:
                mine = list(places.values())[place]
                picked = [mine[torch.randperm(len(mine), generator=draw)] for _ in range(-(-EACH // len(mine)))]
                rows += [(index, int(torch.randint(data.views, (1,), generator=draw))) for index in torch.cat(picked)[:EACH].tolist()]
            yield data.stored(head.needs, rows), data.targets[[index for index, _ in rows]]

    return epoch, length


def _observed(problem: Problem, head: IdentityHead, keep: Tensor) -> tuple[Tensor, Tensor]:
    """Raw vectors (n, inputs) of all views of some training pictures, and who they are of."""
    where = keep.nonzero().flatten()
    where = where[torch.randperm(len(where), generator=torch.Generator().manual_seed(problem.seed))[: OBSERVED // problem.data.views]]
    parts, targets = [], []
    for view in range(problem.data.views):
        for index in where.split(CHUNK):
            look = problem.data.stored(head.raw_needs, [(i, view) for i in index.tolist()])
            parts.append(read_vector(look, head.raw_needs))
            targets.append(problem.data.targets[index])
    return torch.cat(parts), torch.cat(targets)


@torch.inference_mode()
def _judge(problem: Problem, head: IdentityHead, where: Tensor) -> IdentityJudge:
    """The head's judge, having seen the pictures where ``where`` is true."""
    judge = head.judge()
    for look, index in problem.data.looks(head.needs, where.nonzero().flatten()):
        judge.add(head.postprocess(head(look), look.placements), problem.data.targets[index].tolist())
    return judge

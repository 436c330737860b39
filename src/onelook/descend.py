"""Training heads that read maps (boxes, key points) by gradient descent, from cached looks; behind a tail if there is a cut.

AdamW, a short rise of the learning rate and half a cosine down. Where nothing else judges the head, one fold is kept out, the head is
judged on it, and then trained on for two epochs with all pictures.

    onelook train dataset/ --task detect --name things --model mine.onelook
"""

import time
from copy import deepcopy
from dataclasses import replace
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor, nn

from onelook.errors import BudgetError
from onelook.fit import Recipe, fit, total_loss
from onelook.heads import HEADS, Facts, ObjectHead
from onelook.problem import Problem, Selected
from onelook.select import Steps, unseen
from onelook.tail import Tail, Tailed
from onelook.tune import rates

BATCH, PIXEL_BATCH = 16, 8  # of pictures with boxes or points, and with masks
TRIAL = 3  # steps that are timed
RATE, WEIGHT_DECAY, WARMUP = 3e-3, 0.05, 0.1
LAST_RATE, LAST_EPOCHS = 0.2, 2  # with all pictures, after one fold was kept out
PICTURES_SEEN = {
    "detect": 4_000,
    "keypoints": 4_000,
    "localize": 6_400,
    "segment": 12_000,
}  # over all epochs, unless --epochs says otherwise
FEWEST_EPOCHS, MOST_EPOCHS = 8, 60


def usual_epochs(task: str, count: int) -> int:
    """How many epochs a head that reads maps is trained for on ``count`` pictures."""
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(PICTURES_SEEN[task] / max(count, 1))))


def epochs_within(problem: Problem, head: nn.Module, count: int, budget: float) -> int:
    """As many epochs on ``count`` pictures as fit into ``budget`` seconds, by what a few steps of a copy take; at most the usual number.

    Raises BudgetError where not even one does.
    """
    trial = deepcopy(head).train()
    batches = problem.rows.batches(torch.ones(len(problem.rows), dtype=torch.bool), cast(ObjectHead, head).needs, 0, _batch(problem.task))
    begun, steps = time.perf_counter(), 0
    for look, target in islice(batches(0), TRIAL + 1):
        if steps == 1:
            begun = time.perf_counter()  # the first step takes longer
        total_loss(trial, look, target).backward()  # type: ignore[no-untyped-call]
        steps += 1
    epoch = (time.perf_counter() - begun) / max(1, steps - 1) * -(-count // _batch(problem.task))
    if epoch > budget:
        raise BudgetError(f"--budget {budget:.0f}s: an epoch takes about {epoch:.0f} s; give {3 * epoch:.0f}s or more, or a smaller --size")
    return max(1, min(usual_epochs(problem.task, count), int(budget / epoch)))


def _batch(task: str) -> int:
    """How many pictures are learned from at once."""
    return PIXEL_BATCH if task == "segment" else BATCH


def fresh(method: str, facts: Facts) -> ObjectHead:
    """An untrained head of this method."""
    return cast(ObjectHead, cast(Any, HEADS[method]).fresh(facts))


def select_objects(
    problem: Problem,
    method: str,
    facts: Facts,
    cut: int,
    *,
    epochs: int | None = None,
    budget: float | None = None,
    hold_out: bool = True,
    through: Steps = unseen,
) -> Selected:
    """A trained head of this method, behind a tail from ``cut`` on unless all stages stay frozen; judged on a fold with ``hold_out``.

    ``epochs``: default by the number of pictures, fewer where ``budget`` seconds are too short for them. Raises BudgetError.
    """
    rows, backbone = problem.rows, problem.backbone
    torch.manual_seed(problem.seed)
    head = cast(nn.Module, fresh(method, replace(facts, examples=[rows.moved(index, 0) for index in range(len(rows))])))
    if cut < len(backbone.stages):
        head = Tailed(Tail(backbone, cut, cast(ObjectHead, head).needs), head)
    everything = torch.ones(len(rows), dtype=torch.bool)
    out = rows.folds == 0 if hold_out else ~everything
    if epochs is None:
        epochs = usual_epochs(problem.task, len(rows)) if budget is None else epochs_within(problem, head, len(rows), budget)
    whole = _descend(problem, head, ~out, epochs, 1.0, through)
    metrics: dict[str, Any] = {"n": 0}
    if hold_out:
        metrics = judged(problem, cast(ObjectHead, head), out.nonzero().flatten())
        whole = whole and _descend(problem, head, everything, LAST_EPOCHS, LAST_RATE, through)
    return Selected(cast(ObjectHead, head), (), metrics, torch.zeros(0), torch.zeros(0, dtype=torch.long), not whole)


def _descend(problem: Problem, head: nn.Module, keep: Tensor, epochs: int, rate: float, through: Steps) -> bool:
    """Train on the pictures where ``keep`` is true; false if Ctrl-C came after the first epoch, and the head is as it was then."""
    recipe = Recipe("adamw", epochs, RATE * rate, WEIGHT_DECAY, WARMUP, seed=problem.seed)
    batches = problem.rows.batches(keep, cast(ObjectHead, head).needs, problem.seed, _batch(problem.task))
    per_epoch = max(1, -(-int(keep.sum()) // _batch(problem.task)))
    groups = head.groups(*rates(problem.backbone)) if isinstance(head, Tailed) else None
    title = f"{int(keep.sum())} pictures"
    done = 0
    steps = fit(head, batches, recipe, groups=groups, batches_per_epoch=per_epoch)
    try:
        for step in through(title, steps):
            done = step.epoch
    except KeyboardInterrupt:
        cast(Any, steps).close()  # leaves the head with the weights of the last whole epoch
        if not done:
            raise
        return False
    return True


@torch.inference_mode()
def judged(problem: Problem, head: ObjectHead, where: Tensor) -> dict[str, Any]:
    """The figures of the head's judge on view 0 of the training pictures ``where``, in pixels of the pictures."""
    assert problem.rows.moving is not None
    judge = head.judge()
    for look, index in problem.rows.looks(head.needs, where):
        truths = [problem.rows.moving.truths[picture] for picture in index.tolist()]
        judge.add(head.find(head(look), look.placements), truths)
    return cast(dict[str, Any], judge.result())

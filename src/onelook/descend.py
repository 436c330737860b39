"""Training heads that read maps (boxes, points, pixels) by gradient descent, from cached looks; behind a tail if there is a cut.

AdamW, a short rise of the learning rate and half a cosine down. Where nothing else judges the head, one fold is kept out, the head is
judged on it, and then trained on for two epochs with all pictures.

    onelook train dataset/ --task detect --name things --model mine.onelook
"""

import time
from copy import deepcopy
from dataclasses import replace
from itertools import islice, pairwise
from statistics import median
from typing import Any, cast

import torch
from torch import Tensor, nn

from onelook.errors import BudgetError
from onelook.fit import Recipe, fit, total_loss
from onelook.heads import HEADS, Facts, ObjectHead
from onelook.problem import Problem, Selected
from onelook.progress import QUIET, Progress
from onelook.rows import ObjectTargets
from onelook.select import Steps, unseen
from onelook.tail import Tail, Tailed
from onelook.tune import rates

BATCH, PIXEL_BATCH = 16, 8  # of pictures with boxes or points, and with masks at most
FEWEST_STEPS = 12  # of an epoch of pictures with masks
TRIAL = 4  # steps that are timed
LONG = 120.0  # seconds of training from which on they are said before
RATE, WEIGHT_DECAY, WARMUP = 3e-3, 0.05, 0.1
LAST_RATE, LAST_EPOCHS = 0.2, 2  # with all pictures, after one fold was kept out
# over all epochs, unless --epochs says otherwise
PICTURES_SEEN = {"detect": 4_000, "keypoints": 4_000, "localize": 6_400, "segment": 8_000}
FEWEST_EPOCHS, MOST_EPOCHS = 8, 60
PATIENT = 2.5  # times the usual epochs that a budget may buy where more of them still help, which is with masks


def usual_epochs(task: str, count: int) -> int:
    """How many epochs a head that reads maps is trained for on ``count`` pictures."""
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(PICTURES_SEEN[task] / max(count, 1))))


def epochs_within(problem: Problem, head: nn.Module, count: int, budget: float | None, progress: Progress) -> int:
    """As many epochs on ``count`` pictures as fit into ``budget`` seconds, by what a few steps of a copy take.

    At most the usual number, of masks PATIENT times as many. Without a budget it is the usual number, and what it will take is said if that
    is long. Raises BudgetError where not even one epoch fits.
    """
    trial = deepcopy(head).train()
    size = _batch(problem.task, count)
    batches = problem.rows.batches(torch.ones(len(problem.rows), dtype=torch.bool), cast(ObjectHead, head).needs, 0, size)
    times = []
    for _ in range(2):  # twice: only in the first epoch targets are read from their files
        times = [time.perf_counter()]
        for look, target in islice(batches(0), TRIAL):
            total_loss(trial, look, target).backward()  # type: ignore[no-untyped-call]
            times.append(time.perf_counter())
    steps = [after - before for before, after in pairwise(times)]
    epoch = median(steps[1:] or steps) * -(-count // size)  # the first step takes longer
    most = usual_epochs(problem.task, count)
    if budget is None:
        if most * epoch > LONG:
            progress.say(f"{most} epochs of about {epoch:.0f} s each: {most * epoch / 60:.0f} minutes; less: --budget or --epochs")
        return most
    if epoch > budget:
        left, more = max(0.0, budget), max(1.0, 3 * epoch - budget)
        raise BudgetError(
            f"--budget: an epoch takes about {epoch:.0f} s, {left:.0f} s are left for it; give {more:.0f}s more, or a smaller --size"
        )
    most = round(PATIENT * most) if problem.task == "segment" else most
    return max(1, min(most, int(budget / epoch)))


def _batch(task: str, count: int) -> int:
    """How many of ``count`` pictures are learned from at once; of masks fewer where there are few, so that an epoch has enough steps."""
    return max(2, min(PIXEL_BATCH, count // FEWEST_STEPS)) if task == "segment" else BATCH


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
    progress: Progress = QUIET,
) -> Selected:
    """A trained head of this method, behind a tail from ``cut`` on unless all stages stay frozen; judged on a fold with ``hold_out``.

    ``epochs``: default by the number of pictures, fewer where ``budget`` seconds are too short for them. Raises BudgetError.
    """
    rows = problem.rows
    head = _start(problem, method, facts, cut)
    everything = torch.ones(len(rows), dtype=torch.bool)
    out = rows.folds == 0 if hold_out else ~everything
    if epochs is None:
        epochs = epochs_within(problem, head, len(rows), budget, progress)
    whole = _descend(problem, head, ~out, epochs, 1.0, through)
    metrics: dict[str, Any] = {"n": 0}
    if hold_out:
        metrics = judged(problem, cast(ObjectHead, head), out.nonzero().flatten()).result()
        whole = whole and _descend(problem, head, everything, LAST_EPOCHS, LAST_RATE, through)
    return Selected(cast(ObjectHead, head), (), metrics, torch.zeros(0), torch.zeros(0, dtype=torch.long), not whole)


def trial(problem: Problem, method: str, facts: Facts, cut: int, seconds: float, through: Steps = unseen) -> Any:
    """The judge of a head that was trained for so long without one fold, and judged on it. Raises BudgetError, and Ctrl-C on."""
    head = _start(problem, method, facts, cut)
    out = problem.rows.folds == 0
    epochs = epochs_within(problem, head, int((~out).sum()), seconds, QUIET)
    if not _descend(problem, head, ~out, epochs, 1.0, through):
        raise KeyboardInterrupt
    return judged(problem, cast(ObjectHead, head), out.nonzero().flatten())


def _start(problem: Problem, method: str, facts: Facts, cut: int) -> nn.Module:
    """The untrained head, behind a tail unless all stages stay frozen."""
    rows, backbone = problem.rows, problem.backbone
    torch.manual_seed(problem.seed)
    examples = [rows.moved(index, 0) for index in range(len(rows))] if isinstance(rows.moving, ObjectTargets) else []
    head = cast(nn.Module, fresh(method, replace(facts, examples=examples)))
    return Tailed(Tail(backbone, cut, cast(ObjectHead, head).needs), head) if cut < len(backbone.stages) else head


def _descend(problem: Problem, head: nn.Module, keep: Tensor, epochs: int, rate: float, through: Steps) -> bool:
    """Train on the pictures where ``keep`` is true; false if Ctrl-C came after the first epoch, and the head is as it was then."""
    count = int(keep.sum())
    size = _batch(problem.task, count)
    if problem.task == "segment":
        rate *= (size / PIXEL_BATCH) ** 0.5  # smaller batches, smaller steps
    recipe = Recipe("adamw", epochs, RATE * rate, WEIGHT_DECAY, WARMUP, seed=problem.seed)
    batches = problem.rows.batches(keep, cast(ObjectHead, head).needs, problem.seed, size)
    per_epoch = max(1, -(-count // size))
    groups = head.groups(*rates(problem.backbone)) if isinstance(head, Tailed) else None
    title = f"{count} pictures"
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
def judged(problem: Problem, head: ObjectHead, where: Tensor) -> Any:
    """The head's judge, having seen view 0 of the training pictures ``where``, in pixels of the pictures."""
    assert problem.rows.moving is not None
    judge = head.judge()
    for look, index in problem.rows.looks(head.needs, where):
        truths = [problem.rows.moving.truths[picture] for picture in index.tolist()]
        judge.add(head.find(head(look), look.placements), truths)
    return judge

"""Training heads by gradient descent on cached looks (boxes, points, pixels, other packages' methods); behind a tail if there is a cut.

AdamW, a short rise of the learning rate and half a cosine down. Where nothing else judges the head, one fold is kept out, the head is
judged on it, and then trained on for two epochs with all pictures.

    onelook train dataset/ --task detect --name things --model mine.onelook
"""

import math
import time
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice, pairwise
from statistics import median

import torch
from torch import Tensor

from onelook.deadline import Deadline
from onelook.errors import BudgetError
from onelook.facts import Facts
from onelook.heads.base import AnyHead, Usual
from onelook.heads.tail import Tail, Tailed
from onelook.metrics.judge import AnyJudge
from onelook.progress import Progress
from onelook.threads import chosen_threads
from onelook.training.batching import batch_count
from onelook.training.finetune import rates
from onelook.training.loop import Schedule, fit, total_loss
from onelook.training.problem import Problem
from onelook.training.request import Trained

TIMED = 4  # steps that are timed
LONG = 120.0  # seconds of training from which on they are said before
RATE, WEIGHT_DECAY, WARMUP = 3e-3, 0.05, 0.1
LAST_RATE, LAST_EPOCHS = 0.2, 2  # with all pictures, after one fold was kept out
FEWEST_EPOCHS, MOST_EPOCHS = 8, 60
JUDGING = 0.15  # epochs' worth of time that judging on a fold takes


@dataclass(frozen=True)
class Plan:
    """How many epochs, and the seconds that one is expected to take."""

    epochs: int
    epoch_seconds: float


def usual_epochs(usual: Usual, count: int) -> int:
    """How many epochs a head that reads maps is trained for on ``count`` pictures."""
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(usual.pictures_seen / max(count, 1))))


def batch_size(usual: Usual, count: int) -> int:
    """How many of ``count`` pictures are learned from at once; fewer where there are few, so that an epoch has enough steps."""
    return max(2, min(usual.batch, count // usual.steps)) if usual.steps else usual.batch


def plan(problem: Problem, head: AnyHead, count: int, deadline: Deadline, extra: float, progress: Progress) -> Plan:
    """As many epochs on ``count`` pictures as fit before ``deadline``, ``extra`` epochs' worth of time left over, by what a few steps take.

    At most the usual number, with a budget ``epochs_in_time`` times as many. Without one it is the usual number, and what it will take is
    said if that is long. Raises BudgetError where not even one epoch fits.
    """
    usual = problem.request.head.usual
    size = batch_size(usual, count)
    most = usual_epochs(usual, count)
    epoch = _step_seconds(problem, head, size) * batch_count(count, size)
    left = deadline.left()
    if math.isinf(left):
        if most * epoch > LONG:
            progress.say(f"{most} epochs of about {epoch:.0f} s each: {most * epoch / 60:.0f} minutes; less: --budget or --epochs")
        return Plan(most, epoch)
    if epoch > left:
        raise BudgetError(
            f"--budget: an epoch takes about {epoch:.0f} s, {max(0.0, left):.0f} s are left for it; "
            f"give at least --budget {deadline.enough(epoch * (2 + extra))}s, or a smaller --size"
        )
    return Plan(max(1, min(round(usual.epochs_in_time * most), int(left / epoch - extra))), epoch)


def train_dense(problem: Problem, cut: int, progress: Progress, deadline: Deadline | None = None) -> Trained:
    """A trained head behind a tail from ``cut`` on unless all stages stay frozen; judged on a fold unless something else judges it.

    Raises BudgetError where there is no time for an epoch.
    """
    data, request = problem.data, problem.request
    deadline = deadline or request.deadline
    head = start(problem, cut)
    everything = torch.ones(len(data), dtype=torch.bool)
    out = data.folds == 0 if request.hold_out else ~everything
    extra = LAST_EPOCHS + JUDGING if request.hold_out else 0.0
    epochs, last = request.epochs, 0.0
    if epochs is None:
        planned = plan(problem, head, len(data), deadline, extra, progress)
        epochs = planned.epochs
        last = 0.0 if math.isinf(deadline.left()) else deadline.left() * extra / (epochs + extra)
    whole, over = _train(problem, head, ~out, epochs, 1.0, deadline.earlier(last))
    metrics: Facts = {"n": 0}
    if request.hold_out:
        metrics = judged(problem, head, out.nonzero().flatten()).result()
        if whole and not deadline.passed():
            whole, _ = _train(problem, head, everything, LAST_EPOCHS, LAST_RATE, deadline)
    return Trained(head, cut, metrics, interrupted=not whole, cut_short=(f"epochs of {epochs}",) if over else ())


def trial(problem: Problem, cut: int, deadline: Deadline, progress: Progress) -> AnyJudge:
    """The judge of a head that was trained till ``deadline`` without one fold, and judged on it. Raises BudgetError, and Ctrl-C on."""
    head = start(problem, cut)
    out = problem.data.folds == 0
    planned = plan(problem, head, int((~out).sum()), deadline, JUDGING, progress)
    whole, _ = _train(problem, head, ~out, planned.epochs, 1.0, deadline.earlier(JUDGING * planned.epoch_seconds))
    if not whole:
        raise KeyboardInterrupt
    return judged(problem, head, out.nonzero().flatten())


def start(problem: Problem, cut: int) -> AnyHead:
    """The untrained head, behind a tail unless all stages stay frozen."""
    head = problem.fresh()
    if cut == len(problem.backbone.stages):
        return head
    return Tailed(Tail(problem.backbone, cut, head.needs), head)


def _train(problem: Problem, head: AnyHead, keep: Tensor, epochs: int, rate: float, deadline: Deadline) -> tuple[bool, bool]:
    """Train on the pictures where ``keep`` is true: whether nobody interrupted it, and whether the time was up before its end.

    After Ctrl-C the head is as it was after the last whole epoch; before the first it is raised again.
    """
    count = int(keep.sum())
    usual = problem.request.head.usual
    size = batch_size(usual, count)
    rate *= (size / usual.batch) ** 0.5  # smaller batches, smaller steps
    schedule = Schedule("adamw", epochs, RATE * rate, WEIGHT_DECAY, WARMUP, seed=problem.seed)
    batches = problem.data.batches(keep, head.needs, problem.seed, size)
    groups = head.groups(rates(problem.backbone)) if isinstance(head, Tailed) else None
    steps = fit(head, batches, schedule, groups=groups, batches_per_epoch=batch_count(count, size), deadline=deadline)
    done, over = 0, False
    try:
        for step in problem.request.callback(f"{count} pictures", steps):
            done, over = step.epoch, step.over
    except KeyboardInterrupt:
        steps.close()  # leaves the head with the weights of the last whole epoch
        if not done:
            raise
        return False, False
    return True, over


@torch.inference_mode()
def judged(problem: Problem, head: AnyHead, where: Tensor) -> AnyJudge:
    """The head's judge, having seen view 0 of the training pictures ``where``, in pixels of the pictures."""
    judge = head.judge()
    for look, index in problem.data.looks(head.needs, where):
        judge.add(head.postprocess(head(look), look.placements), problem.data.truths(index.tolist()))
    return judge


def _step_seconds(problem: Problem, head: AnyHead, size: int) -> float:
    """Seconds of a training step, by a few of a copy; targets are read from their files before, as in all epochs but the first."""
    copy = deepcopy(head).train()
    batches = problem.data.batches(torch.ones(len(problem.data), dtype=torch.bool), head.needs, 0, size)
    times: list[float] = []
    with chosen_threads():
        for _ in range(2):
            times = [time.perf_counter()]
            for look, target in islice(batches(0), TIMED):
                total_loss(copy, look, target).backward()
                times.append(time.perf_counter())
    steps = [after - before for before, after in pairwise(times)]
    return median(steps[1:] or steps)  # the first step takes longer

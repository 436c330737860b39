"""The one training loop. It knows nothing of tasks, pictures or backbones: looks and targets go in, steps come out.

``fit`` is a generator of ``Step``; the progress bar, the CSV log and anything else are its consumers. At the end the
head holds the best weights seen. Two runs on a CPU with one seed give equal bytes.
"""

import csv
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from onelook.deadline import NEVER, Deadline
from onelook.heads.base import AnyHead
from onelook.looks.features import Look
from onelook.threads import chosen_threads
from onelook.training.batching import Targets

Batches = Callable[[int], Iterable[tuple[Look, Targets]]]  # epoch -> its batches of looks and targets, in a fixed order
Groups = Iterable[tuple[float, Iterable[nn.Parameter]]]  # factor on the learning rate, parameters


@dataclass(frozen=True)
class Schedule:
    """How a head is trained. ``lbfgs`` reads all batches per step and suits convex problems; an epoch is then one step."""

    optimizer: Literal["adamw", "lbfgs"] = "adamw"
    epochs: int = 30
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: float = 0.0  # share of the training over which the learning rate rises to its full size
    patience: int | None = None  # epochs without a better watched metric before stopping
    seed: int = 0


@dataclass(frozen=True)
class Step:
    """One epoch of training: mean loss, the watched metric (higher is better) if any, learning rate, time so far."""

    epoch: int
    epochs: int
    loss: float
    metric: float | None
    learning_rate: float
    seconds: float
    best: bool
    over: bool = False  # the time was up, though there were epochs to come


def fit(
    head: AnyHead,
    batches: Batches,
    schedule: Schedule,
    *,
    groups: Groups | None = None,
    batches_per_epoch: int = 1,
    watch: Callable[[], float] | None = None,
    deadline: Deadline = NEVER,
) -> Generator[Step, None, None]:
    """Train ``head`` in place, yielding one Step per epoch.

    ``groups``: factors on the learning rate and the parameters that they hold for (default: all, 1). ``batches_per_epoch``: how many
    batches an epoch has; the learning rate moves with every batch if it is given, else with every epoch.
    ``watch`` is asked after every epoch; the weights of its best answer are kept (without it, the last are).
    ``deadline``: the learning rate falls as fast as the time runs out if that is faster than the steps are made, and training ends when it
    passes, in the middle of an epoch if need be. Interrupting the generator leaves the head with its best weights so far.
    """
    torch.manual_seed(schedule.seed)
    pace = _Pace(schedule, batches_per_epoch, deadline)
    optimizer = _optimizer(head, schedule, groups)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, pace.factor)
    best_metric, best_state, since_best = -float("inf"), None, 0
    begun = time.perf_counter()
    try:
        for epoch in range(schedule.epochs):
            rate = float(optimizer.param_groups[0]["lr"])
            head.train()
            with chosen_threads():
                if schedule.optimizer == "lbfgs":
                    loss = _step_lbfgs(head, batches, optimizer, schedule)
                    rates.step()
                else:
                    loss = _epoch(head, batches(epoch), optimizer, rates, batches_per_epoch, deadline)
            head.eval()
            metric = watch() if watch else None
            better = metric is None or metric > best_metric
            if better:
                best_metric, best_state, since_best = metric if metric is not None else best_metric, _copied(head), 0
            else:
                since_best += 1
            over = deadline.passed() and epoch + 1 < schedule.epochs
            yield Step(epoch + 1, schedule.epochs, loss, metric, rate, time.perf_counter() - begun, better, over)
            if over or (schedule.patience is not None and since_best >= schedule.patience):
                break
    finally:
        head.eval()
        if best_state is not None:
            head.load_state_dict(best_state)


def log_steps(title: str, steps: Iterable[Step], path: Path) -> Iterator[Step]:
    """Pass steps on while adding them to a CSV file, one line each behind the title of their fit."""
    for step in steps:
        row = {"fit": title, **asdict(step)}
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        yield step


def _optimizer(head: AnyHead, schedule: Schedule, groups: Groups | None) -> torch.optim.Optimizer:
    if schedule.optimizer == "lbfgs":
        parameters = [parameter for parameter in head.parameters() if parameter.requires_grad]
        return torch.optim.LBFGS(parameters, lr=1.0, max_iter=20, history_size=10, line_search_fn="strong_wolfe")
    chosen = [(factor, list(parameters)) for factor, parameters in (groups or [(1.0, head.parameters())])]
    rated = [
        {"params": [parameter for parameter in parameters if parameter.requires_grad], "lr": schedule.learning_rate * factor}
        for factor, parameters in chosen
    ]
    used = [group for group in rated if group["params"]]
    return torch.optim.AdamW(used, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)  # 3 to 4 times faster


class _Pace:
    """The factor on the learning rate after so many steps: up in a line while warming, then down in half a cosine.

    How far training is counts by steps, or by the share of the time that has passed where that is more.
    """

    def __init__(self, schedule: Schedule, batches_per_epoch: int, deadline: Deadline) -> None:
        self.schedule, self.deadline = schedule, deadline
        self.total = schedule.epochs * batches_per_epoch
        self.time = deadline.left()

    def factor(self, step: int) -> float:
        if self.schedule.optimizer == "lbfgs":
            return 1.0
        passed = 1 - max(0.0, self.deadline.left()) / self.time if self.time < math.inf and self.time > 0 else 0.0
        done = min(1.0, max(step / self.total, passed))
        warm = min(1.0, (step + 1) / max(1.0, self.schedule.warmup * self.total))
        return warm * 0.5 * (1 + math.cos(math.pi * done))


def _copied(head: AnyHead) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in head.state_dict().items()}


def _epoch(
    head: AnyHead,
    batches: Iterable[tuple[Look, Targets]],
    optimizer: torch.optim.Optimizer,
    rates: torch.optim.lr_scheduler.LRScheduler,
    batches_per_epoch: int,
    deadline: Deadline,
) -> float:
    total, count = 0.0, 0
    for look, target in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = total_loss(head, look, target)
        loss.backward()
        optimizer.step()
        if batches_per_epoch > 1:
            rates.step()
        total, count = total + float(loss.detach()) * len(target), count + len(target)
        if deadline.passed():
            break
    if batches_per_epoch <= 1:
        rates.step()
    return total / max(count, 1)


def _step_lbfgs(head: AnyHead, batches: Batches, optimizer: torch.optim.Optimizer, schedule: Schedule) -> float:
    """Up to 20 L-BFGS iterations over all batches; weight decay is part of the objective (weights only, not biases)."""
    weights = [parameter for parameter in head.parameters() if parameter.requires_grad and parameter.ndim > 1]

    def closure() -> float:
        optimizer.zero_grad(set_to_none=True)
        total, count = 0.0, 0
        for look, target in batches(0):
            loss = total_loss(head, look, target) * len(target)
            loss.backward()
            total, count = total + float(loss.detach()), count + len(target)
        for parameter in head.parameters():
            if parameter.grad is not None:
                parameter.grad /= count
        penalty = torch.stack([(weight * weight).sum() for weight in weights]).sum() * (schedule.weight_decay / 2)
        penalty.backward()
        return total / count + float(penalty.detach())

    return float(optimizer.step(closure))


def total_loss(head: AnyHead, look: Look, target: Targets) -> Tensor:
    """The sum of all terms of a head's loss."""
    return torch.stack(list(head.loss(head(look), target).values())).sum()

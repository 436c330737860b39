"""The one training loop. It knows nothing of tasks, pictures or backbones: looks and targets go in, steps come out.

``fit`` is a generator of ``Step``; the progress bar, the CSV log and anything else are its consumers. At the end the
head holds the best weights seen. Two runs on a CPU with one seed give equal bytes.
"""

import csv
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from onelook.look import Look

Batches = Callable[[int], Iterable[tuple[Look, Any]]]  # epoch -> its batches of looks and targets, in a fixed order
Groups = Iterable[tuple[float, Iterable[nn.Parameter]]]  # factor on the learning rate, parameters


@dataclass(frozen=True)
class Recipe:
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


def fit(
    head: nn.Module,
    batches: Batches,
    recipe: Recipe,
    *,
    groups: Groups | None = None,
    batches_per_epoch: int = 1,
    watch: Callable[[], float] | None = None,
    checkpoint: Path | None = None,
) -> Iterator[Step]:
    """Train ``head`` in place, yielding one Step per epoch.

    ``groups``: factors on the learning rate and the parameters that they hold for (default: all, 1). ``batches_per_epoch``: the
    schedule moves with every batch if it is given, else with every epoch.
    ``watch`` is asked after every epoch; the weights of its best answer are kept (without it, the last are).
    ``checkpoint``: a file that is written after every epoch and resumed from if it stands: optimiser, schedule, random
    numbers and best weights included. Interrupting the generator leaves the head with its best weights so far.
    """
    torch.manual_seed(recipe.seed)
    optimizer = _optimizer(head, recipe, groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _cosine(recipe, batches_per_epoch))
    best_metric, best_state, since_best, first = -float("inf"), None, 0, 0
    if checkpoint is not None and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        head.load_state_dict(saved["head"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        torch.set_rng_state(saved["rng"])
        best_metric, best_state, since_best, first = saved["best_metric"], saved["best_state"], saved["since_best"], saved["epoch"]
    begun = time.perf_counter()
    try:
        for epoch in range(first, recipe.epochs):
            rate = float(optimizer.param_groups[0]["lr"])
            head.train()
            if recipe.optimizer == "lbfgs":
                loss = _step_lbfgs(head, batches, optimizer, recipe)
                schedule.step()
            else:
                loss = _epoch(head, batches(epoch), optimizer, schedule, batches_per_epoch)
            head.eval()
            metric = watch() if watch else None
            better = metric is None or metric > best_metric
            if better:
                best_metric, best_state, since_best = metric if metric is not None else best_metric, deepcopy(head.state_dict()), 0
            else:
                since_best += 1
            if checkpoint is not None:
                state = {"best_metric": best_metric, "best_state": best_state, "since_best": since_best, "epoch": epoch + 1}
                _save_checkpoint(checkpoint, head, optimizer, schedule, state)
            yield Step(epoch + 1, recipe.epochs, loss, metric, rate, time.perf_counter() - begun, better)
            if recipe.patience is not None and since_best >= recipe.patience:
                break
    finally:
        head.eval()
        if best_state is not None:
            head.load_state_dict(best_state)
    if checkpoint is not None:
        with suppress(FileNotFoundError):
            checkpoint.unlink()


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


def _optimizer(head: nn.Module, recipe: Recipe, groups: Groups | None) -> torch.optim.Optimizer:
    if recipe.optimizer == "lbfgs":
        parameters = [parameter for parameter in head.parameters() if parameter.requires_grad]
        return torch.optim.LBFGS(parameters, lr=1.0, max_iter=20, history_size=10, line_search_fn="strong_wolfe")
    chosen = [(factor, list(parameters)) for factor, parameters in (groups or [(1.0, head.parameters())])]
    rated = [
        {"params": [parameter for parameter in parameters if parameter.requires_grad], "lr": recipe.learning_rate * factor}
        for factor, parameters in chosen
    ]
    return torch.optim.AdamW([group for group in rated if group["params"]], lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def _cosine(recipe: Recipe, batches_per_epoch: int) -> Callable[[int], float]:
    """Up in a line while warming, then down in half a cosine."""
    if recipe.optimizer == "lbfgs":
        return lambda step: 1.0
    total = recipe.epochs * batches_per_epoch

    def factor(step: int) -> float:
        done = min(step / total, 1.0)
        return min(1.0, (step + 1) / max(1.0, recipe.warmup * total)) * 0.5 * (1 + math.cos(math.pi * done))

    return factor


def _epoch(
    head: nn.Module,
    batches: Iterable[tuple[Look, Any]],
    optimizer: torch.optim.Optimizer,
    schedule: Any,
    batches_per_epoch: int,
) -> float:
    total, count = 0.0, 0
    for look, target in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = total_loss(head, look, target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if batches_per_epoch > 1:
            schedule.step()
        total, count = total + float(loss.detach()) * len(target), count + len(target)
    if batches_per_epoch <= 1:
        schedule.step()
    return total / max(count, 1)


def _step_lbfgs(head: nn.Module, batches: Batches, optimizer: torch.optim.Optimizer, recipe: Recipe) -> float:
    """Up to 20 L-BFGS iterations over all batches; weight decay is part of the objective (weights only, not biases)."""
    weights = [parameter for parameter in head.parameters() if parameter.requires_grad and parameter.ndim > 1]

    def closure() -> float:
        optimizer.zero_grad(set_to_none=True)
        total, count = 0.0, 0
        for look, target in batches(0):
            loss = total_loss(head, look, target) * len(target)
            loss.backward()  # type: ignore[no-untyped-call]
            total, count = total + float(loss.detach()), count + len(target)
        for parameter in head.parameters():
            if parameter.grad is not None:
                parameter.grad /= count
        penalty = sum((weight * weight).sum() for weight in weights) * (recipe.weight_decay / 2)
        penalty.backward()  # type: ignore[union-attr]
        return total / count + float(penalty.detach())  # type: ignore[union-attr]

    return float(optimizer.step(closure))  # type: ignore[arg-type]


def total_loss(head: nn.Module, look: Look, target: Any) -> Tensor:
    """The sum of all terms of a head's loss."""
    terms: dict[str, Tensor] = head.loss(head(look), target)  # type: ignore[operator]
    return torch.stack(list(terms.values())).sum()


def _save_checkpoint(path: Path, head: nn.Module, optimizer: Any, schedule: Any, state: dict[str, Any]) -> None:
    whole = {
        **state,
        "head": head.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "rng": torch.get_rng_state(),
    }
    partial = path.with_suffix(".partial")
    torch.save(whole, partial)
    partial.replace(path)

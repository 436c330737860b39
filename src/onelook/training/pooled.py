"""Which readout, form, width and penalty of a pooled head: chosen inside the training pictures, then fitted on all of them.

``radial`` (the default): Gaussian units on training pictures, least squares; every candidate is scored by the held-out
answers of all folds, which ``least_squares.FoldedSums`` gives exactly from two passes over the cached looks. ``linear`` (L-BFGS)
and ``hidden`` (AdamW, early stopping) go through ``fit``, on folds likewise. The validation pictures that a user
names are not seen here. Held-out answers also set the temperature that turns scores into probabilities (Guo et al. 2017).

    onelook train photos/ --task classify --name kind --model mine.onelook --freeze all --form radial
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from onelook.heads.pooled import Form, PooledHead, Radial, Shape
from onelook.looks.features import Needs
from onelook.training.least_squares import FoldedSums
from onelook.training.loop import Schedule, fit
from onelook.training.problem import Problem, names_of
from onelook.training.request import Candidate, Trained

SEARCH_CENTRES, MOST_CENTRES = 768, 2048
WIDTHS = (0.5, 0.25, 1.0)  # the first is tried with every readout, the others with the best
PENALTIES = [0.01, 0.03, 0.1, 0.3, 1.0]
RIDGE_PENALTIES = [10.0, 100.0, 1e3, 1e4]
DECAYS = (0.3, 0.1, 0.03)  # of the linear form
RIDGE_JITTER = 1e-3
BATCH = 128

_Pass = Callable[[], Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]]


def select(problem: Problem, form: Form) -> Trained:
    """Choose and fit a pooled head of this form, on the frozen backbone."""
    return radial(problem) if form == "radial" else by_descent(problem, form)


# --- least squares, exact folds


def radial(problem: Problem) -> Trained:
    """Readout and width with few centres, then the penalty with all of them."""
    few = _choose_centres(problem, SEARCH_CENTRES)
    tried: list[Candidate] = []

    def score(needs: Needs, width: float) -> float:
        candidates, *_ = _try_radial(problem, needs, width, few)
        tried.extend(candidates)
        return min(candidate.score for candidate in candidates)

    scored = [(score(needs, WIDTHS[0]), needs, WIDTHS[0]) for needs in problem.readouts]
    best = min(scored, key=lambda entry: entry[0])
    scored += [(score(best[1], width), best[1], width) for width in WIDTHS[1:]]
    _, needs, width = min(scored, key=lambda entry: entry[0])
    candidates, head, weights, scores = _try_radial(problem, needs, width, _choose_centres(problem, MOST_CENTRES))
    return _solved(problem, head, weights, scores, (*tried, *candidates))


def ridge(problem: Problem, needs: Needs) -> Trained:
    """A linear head on one readout, by least squares: a cheap probe of how much a depth knows."""
    head = problem.standardized(Shape(needs))
    metric = torch.eye(head.last.in_features)
    candidates, weights, scores = _least_squares(problem, head, metric, RIDGE_PENALTIES, lambda x: x)
    return _solved(problem, head, weights, scores, candidates)


def _choose_centres(problem: Problem, most: int) -> Tensor:
    return torch.randperm(len(problem.data), generator=torch.Generator().manual_seed(problem.seed))[:most].sort().values


def _try_radial(problem: Problem, needs: Needs, width: float, centres: Tensor) -> tuple[tuple[Candidate, ...], PooledHead, Tensor, Tensor]:
    head = problem.standardized(Shape(needs, "radial", len(centres), width))
    unit = head.body[0]
    assert isinstance(unit, Radial)
    vectors = torch.cat([head.readout(look) for look, _ in problem.data.looks(needs, centres)])
    unit.centres.copy_(vectors.half().float())  # kept in half precision in the file
    metric = unit(unit.centres) + RIDGE_JITTER * torch.eye(len(centres))
    candidates, weights, scores = _least_squares(problem, head, metric, PENALTIES, unit)
    return candidates, head, weights, scores


@torch.no_grad()
def _least_squares(
    problem: Problem, head: PooledHead, metric: Tensor, penalties: list[float], unit: nn.Module | Callable[[Tensor], Tensor]
) -> tuple[tuple[Candidate, ...], Tensor, Tensor]:
    """The candidates over ``penalties``, the best one's weights, and its held-out scores (n, K). ``unit``: what follows the readout."""
    rows = problem.data

    def passing(views: int) -> _Pass:
        def batches() -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
            for look, index in rows.pictures(head.needs, views):
                yield (
                    unit(head.readout(look)),
                    problem.prototype.code(problem.data.targets[index]),
                    rows.weights[index] / views,
                    rows.folds[index],
                )

        return batches

    sums = FoldedSums(passing(rows.views), problem.folds, metric)
    scores = torch.cat([part for part, _ in sums.held_out(penalties, passing(1))], dim=1)
    losses = [problem.losses(candidate, torch.arange(len(rows))) for candidate in scores]
    best = min(range(len(losses)), key=lambda index: float(losses[index].mean()))
    form, reads, width = head.form, names_of(head.needs), getattr(unit, "width", 0.0)
    units = len(metric) if form == "radial" else 0
    candidates = [
        Candidate(form, reads, units, width, penalty, float(loss.mean())) for penalty, loss in zip(penalties, losses, strict=True)
    ]
    return tuple(candidates), sums.solve(penalties[best]), scores[best]


def _solved(problem: Problem, head: PooledHead, weights: Tensor, scores: Tensor, tried: tuple[Candidate, ...]) -> Trained:
    """The head with the solution in its last layer."""
    where = torch.arange(len(problem.data))
    head.last.weight.data = weights.T.contiguous()
    head.last.bias.data.zero_()
    head.temperature = problem.temperature(scores, where)
    return Trained(head, len(problem.backbone.stages), problem.judge(scores, where), tried, scores, where)


# --- linear and hidden: through ``fit``


def by_descent(problem: Problem, form: Literal["linear", "hidden"]) -> Trained:
    """Readout and penalty (linear) or readout and epochs (hidden) on folds, then a fit on all pictures."""
    data, units = problem.data, 256 if form == "hidden" else 0
    held = [data.folds == fold for fold in range(min(problem.folds, 3 if form == "linear" else 1))]
    where = torch.cat([out.nonzero().flatten() for out in held])
    tried: list[Candidate] = []
    found: list[tuple[Shape, Schedule, Tensor]] = []
    for needs in problem.readouts:
        shape = Shape(needs, form, units)
        for schedule in _schedules(form, problem.seed):
            parts, epochs = zip(*(_fit_without(problem, out, shape, schedule) for out in held), strict=True)
            scores = torch.cat(parts)
            score = float(problem.losses(scores, where).mean())
            tried.append(Candidate(form, names_of(needs), units, 0.0, schedule.weight_decay, score))
            found.append((shape, replace(schedule, epochs=max(epochs), patience=None), scores))
    shape, schedule, scores = found[min(range(len(tried)), key=lambda index: tried[index].score)]
    head = problem.standardized(shape)
    everything = torch.ones(len(data), dtype=torch.bool)
    batches = data.batches(everything, shape.needs, problem.seed, BATCH)
    for _ in problem.request.callback(form, fit(head, batches, schedule)):
        pass
    head.temperature = problem.temperature(scores, where)
    return Trained(head, len(problem.backbone.stages), problem.judge(scores, where), tuple(tried), scores, where)


def _schedules(form: Form, seed: int) -> list[Schedule]:
    if form == "linear":
        return [Schedule("lbfgs", epochs=3, weight_decay=decay, seed=seed) for decay in DECAYS]
    return [Schedule("adamw", epochs=40, weight_decay=0.01, patience=8, seed=seed)]


def _fit_without(problem: Problem, out: Tensor, shape: Shape, schedule: Schedule) -> tuple[Tensor, int]:
    """Scores on the pictures ``out`` of a head that was fitted on the others, and its best epoch.

    With early stopping the epoch is chosen on a fold that is neither learned from nor reported, so that the scores flatter nothing.
    """
    where = out.nonzero().flatten()
    if schedule.patience is None:
        head = problem.standardized(shape)
        for _ in fit(head, problem.data.batches(~out, shape.needs, problem.seed, BATCH), schedule):
            pass
        return problem.predict(head, where), schedule.epochs
    watched = (problem.data.folds == (problem.data.folds[where[0]] + 1) % problem.folds) & ~out
    seen = watched.nonzero().flatten()
    stopped = problem.standardized(shape)
    epochs = schedule.epochs
    watch = lambda: -float(problem.losses(problem.predict(stopped, seen), seen).mean())  # noqa: E731
    for step in fit(stopped, problem.data.batches(~out & ~watched, shape.needs, problem.seed, BATCH), schedule, watch=watch):
        epochs = step.epoch if step.best else epochs
    return problem.predict(stopped, where), epochs

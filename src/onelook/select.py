"""Which readout, form, width and penalty of a pooled head: chosen inside the training pictures, then fitted on all of them.

``radial`` (the default): Gaussian units on training pictures, least squares; every candidate is scored by the held-out
answers of all folds, which ``ridge.FoldedSums`` gives exactly from two passes over the cached looks. ``linear`` (L-BFGS)
and ``hidden`` (AdamW, early stopping) go through ``fit``, on folds likewise. The validation pictures that a user
names are not seen here. Held-out answers also set the temperature that turns scores into probabilities (Guo et al. 2017).

    onelook train photos/ --task classify --name kind --model mine.onelook --freeze all --form radial
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from onelook.fit import Recipe, Step, fit
from onelook.heads import Head
from onelook.heads.readout import Form, PooledHead, Radial
from onelook.look import Needs
from onelook.problem import Candidate, Problem, Selected, best_of, names_of
from onelook.ridge import FoldedSums

SEARCH_CENTRES, MOST_CENTRES = 768, 2048
WIDTHS = (0.5, 0.25, 1.0)  # the first is tried with every readout, the others with the best
PENALTIES = [0.01, 0.03, 0.1, 0.3, 1.0]
RIDGE_PENALTIES = [10.0, 100.0, 1e3, 1e4]
DECAYS = (0.3, 0.1, 0.03)  # of the linear form
RIDGE_JITTER = 1e-3
BATCH = 128

Steps = Callable[[str, Iterator[Step]], Iterator[Step]]  # title of a fit, its steps -> the same steps, seen on their way
_Pass = Callable[[], Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]]


def unseen(title: str, steps: Iterator[Step]) -> Iterator[Step]:
    """Steps that nobody looks at."""
    return steps


def select(problem: Problem, form: Form, through: Steps = unseen) -> Selected:
    """Choose and fit a pooled head of this form; ``through`` sees the steps of the final ``fit``, if any."""
    return radial(problem) if form == "radial" else by_descent(problem, form, through)


# --- least squares, exact folds


def radial(problem: Problem) -> Selected:
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


def ridge(problem: Problem, needs: Needs) -> Selected:
    """A linear head on one readout, by least squares: a cheap probe of how much a depth knows."""
    head = problem.head(needs, "linear")
    metric = torch.eye(head.last.in_features)
    candidates, weights, scores = _least_squares(problem, head, metric, RIDGE_PENALTIES, lambda x: x)
    return _solved(problem, head, weights, scores, candidates)


def _choose_centres(problem: Problem, most: int) -> Tensor:
    return torch.randperm(len(problem.rows), generator=torch.Generator().manual_seed(problem.seed))[:most].sort().values


def _try_radial(problem: Problem, needs: Needs, width: float, centres: Tensor) -> tuple[tuple[Candidate, ...], PooledHead, Tensor, Tensor]:
    head = problem.head(needs, "radial", len(centres), width)
    unit = cast(Radial, head.body[0])
    vectors = torch.cat([head.readout(look) for look, _ in problem.rows.looks(needs, centres)])
    unit.centres.copy_(vectors.half().float())  # kept in half precision in the file
    metric = unit(unit.centres) + RIDGE_JITTER * torch.eye(len(centres))
    candidates, weights, scores = _least_squares(problem, head, metric, PENALTIES, unit)
    return candidates, head, weights, scores


@torch.no_grad()
def _least_squares(
    problem: Problem, head: PooledHead, metric: Tensor, penalties: list[float], unit: nn.Module | Callable[[Tensor], Tensor]
) -> tuple[tuple[Candidate, ...], Tensor, Tensor]:
    """The candidates over ``penalties``, the best one's weights, and its held-out scores (n, K). ``unit``: what follows the readout."""
    rows = problem.rows

    def passing(views: int) -> _Pass:
        def batches() -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
            for look, index in rows.pictures(head.needs, views):
                yield unit(head.readout(look)), problem.coded(index), rows.weights[index] / views, rows.folds[index]

        return batches

    sums = FoldedSums(passing(rows.views), problem.folds, metric)
    scores = torch.cat([part for part, _ in sums.held_out(penalties, passing(1))], dim=1)
    losses = [problem.losses(candidate, torch.arange(len(rows))) for candidate in scores]
    best = best_of(losses)
    form, reads, width = head.form, names_of(head.needs), getattr(unit, "width", 0.0)
    units = len(metric) if form == "radial" else 0
    candidates = [
        Candidate(form, reads, units, width, penalty, float(loss.mean())) for penalty, loss in zip(penalties, losses, strict=True)
    ]
    return tuple(candidates), sums.solve(penalties[best]), scores[best]


def _solved(problem: Problem, head: PooledHead, weights: Tensor, scores: Tensor, tried: tuple[Candidate, ...]) -> Selected:
    """The head with the solution in its last layer."""
    where = torch.arange(len(problem.rows))
    head.last.weight.data = weights.T.contiguous()
    head.last.bias.data.zero_()
    head.temperature = problem.temperature(scores, where)
    fitted = cast(Head, head)
    return Selected(fitted, tried, problem.judge(fitted, scores, where), scores, where)


# --- linear and hidden: through ``fit``


def by_descent(problem: Problem, form: Literal["linear", "hidden"], through: Steps = unseen) -> Selected:
    """Readout and penalty (linear) or readout and epochs (hidden) on folds, then a fit on all pictures."""
    rows, units = problem.rows, 256 if form == "hidden" else 0
    held = [rows.folds == fold for fold in range(min(problem.folds, 3 if form == "linear" else 1))]
    where = torch.cat([out.nonzero().flatten() for out in held])
    tried: list[Candidate] = []
    found: list[tuple[Needs, Recipe, Tensor]] = []
    for needs in problem.readouts:
        for recipe in _recipes(form, problem.seed):
            parts, epochs = zip(*(_fit_without(problem, out, needs, form, units, recipe) for out in held), strict=True)
            scores = torch.cat(parts)
            score = float(problem.losses(scores, where).mean())
            tried.append(Candidate(form, names_of(needs), units, 0.0, recipe.weight_decay, score))
            found.append((needs, replace(recipe, epochs=max(epochs), patience=None), scores))
    needs, recipe, scores = found[min(range(len(tried)), key=lambda index: tried[index].score)]
    head = problem.head(needs, form, units)
    everything = torch.ones(len(rows), dtype=torch.bool)
    for _ in through(form, fit(head, rows.batches(everything, needs, problem.seed, BATCH), recipe)):
        pass
    head.temperature = problem.temperature(scores, where)
    fitted = cast(Head, head)
    return Selected(fitted, tuple(tried), problem.judge(fitted, scores, where), scores, where)


def _recipes(form: Form, seed: int) -> list[Recipe]:
    if form == "linear":
        return [Recipe("lbfgs", epochs=3, weight_decay=decay, seed=seed) for decay in DECAYS]
    return [Recipe("adamw", epochs=40, weight_decay=0.01, patience=8, seed=seed)]


def _fit_without(problem: Problem, out: Tensor, needs: Needs, form: Form, units: int, recipe: Recipe) -> tuple[Tensor, int]:
    """Scores on the pictures ``out`` of a head that was fitted on the others, and its best epoch."""
    head = problem.head(needs, form, units)
    fitted = cast(Head, head)
    where = out.nonzero().flatten()
    watch = (lambda: -float(problem.losses(problem.predict(fitted, where), where).mean())) if recipe.patience else None
    epochs = recipe.epochs
    for step in fit(head, problem.rows.batches(~out, needs, problem.seed, BATCH), recipe, watch=watch):
        epochs = step.epoch if step.best else epochs
    return problem.predict(fitted, where), epochs

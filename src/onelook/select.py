"""Which readout, form, width and penalty: chosen inside the training pictures, then fitted on all of them.

``radial`` (the default): Gaussian units on training pictures, least squares; every candidate is scored by the held-out
answers of all folds, which ``ridge.FoldedSums`` gives exactly from two passes over the cached looks. ``linear`` (L-BFGS)
and ``hidden`` (AdamW, early stopping) go through ``fit``, on folds likewise. The validation pictures that a user
names are not seen here. Held-out answers also set the temperature that turns scores into probabilities (Guo et al. 2017).

    onelook train photos/ --task classify --name kind --model mine.onelook --form radial
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

from onelook.cache import FeatureCache
from onelook.fit import Recipe, Step, fit
from onelook.heads import HEADS, Regress
from onelook.heads.readout import Form, PooledHead, Radial, equal_weights, part_lengths, read_vector
from onelook.look import Look, Needs
from onelook.ridge import FoldedSums

FOLDS = 5
CHUNK = 512
SEARCH_CENTRES, MOST_CENTRES = 768, 2048
WIDTHS = (0.5, 0.25, 1.0)  # the first is tried with every readout, the others with the best
PENALTIES = [0.01, 0.03, 0.1, 0.3, 1.0]
DECAYS = (0.3, 0.1, 0.03)  # of the linear form
RIDGE_JITTER = 1e-3
BATCH = 128

Steps = Callable[[Iterator[Step]], Iterator[Step]]


@dataclass(frozen=True)
class Rows:
    """Training looks in the cache: one content hash, target, fold and weight per picture; ``views`` views of each."""

    cache: FeatureCache
    digests: tuple[str, ...]
    views: int
    targets: Tensor  # (n,) class ids, or (n, K) zeros and ones, or values
    folds: Tensor  # (n,)
    weights: Tensor  # (n,)

    def pictures(self, views: int) -> Iterator[tuple[Look, Tensor]]:
        """Looks at the first ``views`` views of all pictures, in order, with the pictures' indices."""
        for view in range(views):
            for start in range(0, len(self.digests), CHUNK):
                stop = min(start + CHUNK, len(self.digests))
                yield self.cache.read([(digest, view) for digest in self.digests[start:stop]]), torch.arange(start, stop)

    def batches(self, keep: Tensor, seed: int) -> Callable[[int], Iterator[tuple[Look, Tensor]]]:
        """For ``fit``: an epoch's shuffled batches of the pictures in ``keep``, each in a view drawn anew."""
        kept = keep.nonzero().flatten()

        def epoch(number: int) -> Iterator[tuple[Look, Tensor]]:
            draw = torch.Generator().manual_seed(seed * 100_003 + number)
            order = kept[torch.randperm(len(kept), generator=draw)]
            views = torch.randint(self.views, (len(kept),), generator=draw)
            for start in range(0, len(order), BATCH):
                chosen = order[start : start + BATCH]
                names = [(self.digests[i], int(v)) for i, v in zip(chosen.tolist(), views[start : start + BATCH].tolist(), strict=True)]
                yield self.cache.read(names), self.targets[chosen]

        return epoch


@dataclass(frozen=True)
class Evidence:
    """One candidate and how its held-out answers did (``score``: lower is better)."""

    form: str
    reads: str
    units: int
    width: float
    penalty: float
    score: float


@dataclass(frozen=True)
class Selected:
    """The head fitted on all training pictures, what was tried, and its judge's figures on held-out training pictures."""

    head: PooledHead
    tried: tuple[Evidence, ...]
    held_out: dict[str, Any]


def select(task: str, kind: str, classes: tuple[str, ...], rows: Rows, *, form: Form, seed: int, through: Steps) -> Selected:
    """Choose and fit a pooled head of ``task`` for ``rows``; ``through`` sees the steps of the final ``fit``, if any.

    ``kind``: the data set's kind ("single", "multi", "values").
    """
    search = _Search(task, kind, classes, rows, seed, through)
    return search.radial() if form == "radial" else search.by_descent(form)


def candidate_needs(strides: tuple[int, ...]) -> tuple[Needs, ...]:
    """The readouts that are compared: all strides; all strides and the embedding."""
    return Needs(pooled=strides), Needs(pooled=strides, embedding=True)


class _Search:
    """State of one selection: the rows, the standardisation, and the candidates tried."""

    def __init__(self, task: str, kind: str, classes: tuple[str, ...], rows: Rows, seed: int, through: Steps) -> None:
        self.task, self.kind, self.classes, self.rows, self.seed, self.through = task, kind, classes, rows, seed, through
        self.backbone = rows.cache.backbone
        self.folds = int(rows.folds.max()) + 1
        self.tried: list[Evidence] = []
        self.draw = torch.Generator().manual_seed(seed)
        values = rows.targets.float()
        self.centre = values.mean(0) if kind == "values" else torch.zeros(len(classes))
        self.spread = values.std(0, correction=0).clamp_min(1e-6) if kind == "values" else torch.ones(len(classes))

    # --- radial: exact folds by least squares

    def radial(self) -> Selected:
        """Readout and width with few centres, then the penalty with all of them."""
        few = self._choose_centres(SEARCH_CENTRES)
        readouts = candidate_needs(self.backbone.strides)
        scored = [(self._try(needs, WIDTHS[0], few)[0], needs, WIDTHS[0]) for needs in readouts]
        best = min(scored, key=lambda entry: entry[0])
        scored += [(self._try(best[1], width, few)[0], best[1], width) for width in WIDTHS[1:]]
        _, needs, width = min(scored, key=lambda entry: entry[0])
        _, penalty, sums, head, scores = self._try(needs, width, self._choose_centres(MOST_CENTRES))
        weights = sums.solve(penalty)
        self._finish(head, weights, scores)
        return Selected(head, tuple(self.tried), self._judge(head, scores))

    def _choose_centres(self, most: int) -> Tensor:
        count = len(self.rows.digests)
        return torch.randperm(count, generator=torch.Generator().manual_seed(self.seed))[:most].sort().values

    def _try(self, needs: Needs, width: float, centres: Tensor) -> tuple[float, float, FoldedSums, PooledHead, Tensor]:
        """Best score over PENALTIES, that penalty, the sums, an unfitted head and its held-out scores (n, K)."""
        head = self._make(needs, "radial", len(centres), width)
        unit = cast(Radial, head.body[0])
        vectors = torch.cat(
            [head.readout(self.rows.cache.read([(self.rows.digests[i], 0) for i in part.tolist()])) for part in torch.split(centres, CHUNK)]
        )
        unit.centres.copy_(vectors.half().float())  # kept in half precision in the file
        metric = unit(unit.centres) + RIDGE_JITTER * torch.eye(len(centres))

        def passing(views: int) -> Callable[[], Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]]:
            def rows() -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
                for look, index in self.rows.pictures(views):
                    phi = unit(head.readout(look))
                    yield phi, self._coded(index), self.rows.weights[index] / views, self.rows.folds[index]

            return rows

        with torch.no_grad():
            sums = FoldedSums(passing(self.rows.views), self.folds, metric)
            scores = torch.cat([part for part, _ in sums.held_out(PENALTIES, passing(1))], dim=1)
        results = [self._score(candidate) for candidate in scores]
        best = int(np.argmin(results))
        self.tried += [Evidence("radial", _name(needs), len(centres), width, p, s) for p, s in zip(PENALTIES, results, strict=True)]
        return results[best], PENALTIES[best], sums, head, scores[best]

    def _coded(self, index: Tensor) -> Tensor:
        """Targets for least squares, centred: one column per class or value."""
        targets = self.rows.targets[index]
        if self.kind == "single":
            return functional.one_hot(targets, len(self.classes)).float() - 1 / len(self.classes)
        return targets - 0.5 if self.kind == "multi" else (targets - self.centre) / self.spread

    def _finish(self, head: PooledHead, weights: Tensor, scores: Tensor) -> None:
        """Put the solution into the last layer, scaled so that it gives logits."""
        scale = self._temperature(scores)
        head.last.weight.data = (weights * scale).T.contiguous()
        head.last.bias.data.zero_()

    # --- linear and hidden: through ``fit``

    def by_descent(self, form: Literal["linear", "hidden"]) -> Selected:
        """Readout and penalty (linear) or readout and epochs (hidden) on folds, then a fit on all pictures."""
        count = len(self.rows.digests)
        held = [self.rows.folds == fold for fold in range(min(self.folds, 3 if form == "linear" else 1))]
        best: tuple[float, Needs, Recipe, Tensor, Tensor] | None = None
        for needs in candidate_needs(self.backbone.strides):
            for recipe in self._recipes(form):
                parts, epochs = zip(*(self._fit_without(out, needs, form, recipe) for out in held), strict=True)
                where = torch.cat([out.nonzero().flatten() for out in held])
                scores = torch.cat(parts)
                score = self._score(scores, where)
                self.tried.append(Evidence(form, _name(needs), self._units(form), 0.0, recipe.weight_decay, score))
                if best is None or score < best[0]:
                    best = (score, needs, replace(recipe, epochs=max(epochs), patience=None), scores, where)
        assert best is not None
        _, needs, recipe, scores, where = best
        head = self._make(needs, form, self._units(form), 0.0)
        for _ in self.through(fit(head, self.rows.batches(torch.ones(count, dtype=torch.bool), self.seed), recipe)):
            pass
        scale = self._temperature(scores, where)
        head.last.weight.data *= scale
        head.last.bias.data *= scale
        return Selected(head, tuple(self.tried), self._judge(head, scores, where))

    def _units(self, form: Form) -> int:
        return 256 if form == "hidden" else 0

    def _recipes(self, form: Form) -> list[Recipe]:
        if form == "linear":
            return [Recipe("lbfgs", epochs=3, weight_decay=decay, seed=self.seed) for decay in DECAYS]
        return [Recipe("adamw", epochs=40, weight_decay=0.01, patience=8, seed=self.seed)]

    def _fit_without(self, out: Tensor, needs: Needs, form: Form, recipe: Recipe) -> tuple[Tensor, int]:
        """Scores on the pictures ``out`` of a head that was fitted on the others, and its best epoch."""
        head = self._make(needs, form, self._units(form), 0.0)
        where = out.nonzero().flatten()
        watch = (lambda: -self._score(self._predict(head, where), where)) if recipe.patience else None
        epochs = recipe.epochs
        for step in fit(head, self.rows.batches(~out, self.seed), recipe, watch=watch):
            epochs = step.epoch if step.best else epochs
        return self._predict(head, where), epochs

    @torch.no_grad()
    def _predict(self, head: PooledHead, where: Tensor) -> Tensor:
        looks = (self.rows.cache.read([(self.rows.digests[i], 0) for i in part.tolist()]) for part in torch.split(where, CHUNK))
        raw = torch.cat([head(look) for look in looks])
        return (raw - self.centre) / self.spread if self.kind == "values" else raw

    # --- shared

    def _make(self, needs: Needs, form: Form, units: int, width: float) -> PooledHead:
        """An unfitted head with its readout standardised on the training pictures."""
        lengths = part_lengths(needs, self.backbone.channels, self.backbone.embedding_size)
        inputs = sum(lengths)
        options: dict[str, Any] = {"multi": True} if self.kind == "multi" else {}
        torch.manual_seed(self.seed)
        make = cast(type[Any], HEADS[self.task])
        head: PooledHead = make(
            self.classes, strides=needs.pooled, embedding=needs.embedding, inputs=inputs, form=form, units=units, width=width, **options
        )
        mean, deviation = self._statistics()
        head.readout.mean.copy_(mean[:inputs])  # strides come first and the embedding last, so a prefix serves
        head.readout.deviation.copy_(deviation[:inputs])
        head.readout.weight.copy_(equal_weights(lengths))
        if isinstance(head, Regress):
            head.centre.copy_(self.centre)
            head.spread.copy_(self.spread)
        elif self.kind == "single":
            weights = cast(Tensor, head.class_weights)
            for index in range(len(self.classes)):
                mine = self.rows.targets == index
                weights[index] = self.rows.weights[mine].mean() if bool(mine.any()) else 1.0
        return head.eval()

    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the widest readout over view 0 of the training pictures, from one pass."""
        if not hasattr(self, "_mean"):
            needs = candidate_needs(self.backbone.strides)[-1]
            length = sum(part_lengths(needs, self.backbone.channels, self.backbone.embedding_size))
            total, squares = torch.zeros(length, dtype=torch.float64), torch.zeros(length, dtype=torch.float64)
            for look, _ in self.rows.pictures(1):
                vector = read_vector(look, needs).double()
                total, squares = total + vector.sum(0), squares + (vector * vector).sum(0)
            self._mean = total / len(self.rows.digests)
            deviation = (squares / len(self.rows.digests) - self._mean**2).clamp_min(0).sqrt()
            self._deviation = deviation.clamp_min(1e-3 * float(deviation.median()) + 1e-6)
        return self._mean.float(), self._deviation.float()

    def _score(self, scores: Tensor, where: Tensor | None = None) -> float:
        """How bad held-out scores are: log loss at the best temperature, or squared error for values."""
        targets = self.rows.targets if where is None else self.rows.targets[where]
        if self.kind == "values":
            return float((scores - (targets - self.centre) / self.spread).square().mean())
        return _log_loss(scores, targets, self._temperature(scores, where))

    def _temperature(self, scores: Tensor, where: Tensor | None = None) -> float:
        """The factor on the scores under which the held-out truth is most probable; 1 for values."""
        if self.kind == "values":
            return 1.0
        targets = self.rows.targets if where is None else self.rows.targets[where]
        found = minimize_scalar(lambda log: _log_loss(scores, targets, float(np.exp(log))), bounds=(-3, 4), method="bounded")
        return float(np.exp(found.x))

    def _judge(self, head: PooledHead, scores: Tensor, where: Tensor | None = None) -> dict[str, Any]:
        judge = cast(Any, head).judge()
        targets = self.rows.targets if where is None else self.rows.targets[where]
        judge.add(scores * self.spread + self.centre if self.kind == "values" else scores * self._temperature(scores, where), targets)
        return cast(dict[str, Any], judge.result())


def _log_loss(scores: Tensor, targets: Tensor, factor: float) -> float:
    """Mean log loss of scaled scores, truths softened by one pseudo-count (Platt 1999) so that few pictures stay modest."""
    logits = scores.double() * factor
    softness = 1 / (len(targets) + 2)
    if targets.ndim == 1:
        return float(functional.cross_entropy(logits, targets, label_smoothing=softness))
    soft = targets.double() * (1 - 2 * softness) + softness
    return float(functional.binary_cross_entropy_with_logits(logits, soft))


def _name(needs: Needs) -> str:
    return "strides " + " ".join(map(str, needs.pooled)) + (" + embedding" if needs.embedding else "")

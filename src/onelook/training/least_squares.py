"""Least squares with a penalty, solved exactly, with every fold's held-out answers from one pass over the data.

For rows phi(x) (B, m) with targets (B, K), minimise  sum |phi w - y|^2 + penalty * w' metric w. With the metric of Gaussian
units at their centres this is regularised least-squares classification (Rifkin, Yeo & Poggio 2003) with Nystroem centres
(Williams & Seeger 2001); with the identity it is ridge regression. Gram matrices are summed per fold, so that "all folds
but one" is a subtraction and memory does not grow with the number of pictures.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

Batches = Callable[[], Iterable[tuple[Tensor, Tensor, Tensor, Tensor]]]
"""A pass over the data: batches of phi (B, m), targets (B, K), weights (B,), folds (B,)."""


class FoldedSums:
    """Gram and cross sums of each fold, in double precision, from one pass over ``batches``."""

    def __init__(self, batches: Batches, folds: int, metric: Tensor) -> None:
        self.metric = metric.double()
        size = len(metric)
        self.gram = torch.zeros(folds, size, size, dtype=torch.float64)
        self.cross: Tensor | None = None
        for phi, target, weight, fold in batches():
            phi, target = phi.double(), target.double()
            if self.cross is None:
                self.cross = torch.zeros(folds, size, target.shape[1], dtype=torch.float64)
            for number in sorted({*fold.tolist()}):
                inside = fold == number
                weighted = phi[inside] * weight[inside, None].double()
                self.gram[number].addmm_(weighted.T, phi[inside])
                self.cross[number].addmm_(weighted.T, target[inside])
        self.total = self.gram.sum(0)

    def solve(self, penalty: float, without: int | None = None) -> Tensor:
        """The weights (m, K) fitted on all folds, or on all but one."""
        assert self.cross is not None, "there were no rows"
        gram, cross = self.total, self.cross.sum(0)
        if without is not None:
            gram, cross = gram - self.gram[without], cross - self.cross[without]
        return torch.cholesky_solve(cross, torch.linalg.cholesky(gram + penalty * self.metric)).float()

    def held_out(self, penalties: list[float], batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
        """Second pass: for each batch the scores (penalties, B, K) of models that did not see its fold, and its targets."""
        folds = len(self.gram)
        weights = torch.stack([torch.stack([self.solve(penalty, fold) for fold in range(folds)]) for penalty in penalties])
        for phi, target, _, fold in batches():
            scores = torch.empty(len(penalties), len(phi), target.shape[1])
            for number in sorted({*fold.tolist()}):
                inside = fold == number
                scores[:, inside] = phi[inside] @ weights[:, number]
            yield scores, target

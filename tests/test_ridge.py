"""Folded least squares against training without the fold, scikit-learn, and a paper's identity."""

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from onelook.heads.pooled import Radial
from onelook.training.least_squares import FoldedSums


def problem(n: int = 60, d: int = 5, k: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=draw)
    y = torch.sin(x[:, :k]) + 0.1 * torch.randn(n, k, generator=draw)
    return x, y, torch.rand(n, generator=draw) + 0.5, torch.arange(n) % 4


def in_batches(x, y, w, f, size=17):  # type: ignore[no-untyped-def]
    return lambda: zip(x.split(size), y.split(size), w.split(size), f.split(size), strict=True)


@pytest.mark.parametrize("penalty", [0.1, 3.0])
def test_held_out_is_training_without_the_fold(penalty: float) -> None:
    x, y, w, f = problem()
    rows = in_batches(x, y, w, f)
    sums = FoldedSums(rows, 4, torch.eye(5))
    scores = torch.cat([part for part, _ in sums.held_out([penalty], rows)], dim=1)[0]
    for fold in range(4):
        inside, out = f != fold, f == fold
        slow = Ridge(alpha=penalty, fit_intercept=False).fit(x[inside], y[inside], sample_weight=w[inside])
        np.testing.assert_allclose(scores[out], slow.predict(x[out].numpy()), rtol=1e-3, atol=1e-4)


def test_all_centres_are_kernel_ridge() -> None:
    """With every picture a centre and its own metric, the network is kernel ridge regression."""
    x, y, _, f = problem()
    unit = Radial(5, len(x), 1.5)
    unit.centres.copy_(x)
    phi = unit(x)
    sums = FoldedSums(in_batches(phi, y, torch.ones(len(x)), f), 4, phi + 1e-6 * torch.eye(len(x)))
    ours = phi @ sums.solve(0.3)
    slow = KernelRidge(alpha=0.3, kernel="rbf", gamma=1.5 / 5).fit(x, y).predict(x)
    np.testing.assert_allclose(ours, slow, atol=2e-3)


def test_batches_do_not_matter() -> None:
    x, y, w, f = problem()
    one = FoldedSums(in_batches(x, y, w, f, 60), 4, torch.eye(5)).solve(1.0)
    many = FoldedSums(in_batches(x, y, w, f, 7), 4, torch.eye(5)).solve(1.0)
    torch.testing.assert_close(one, many, rtol=1e-5, atol=1e-6)

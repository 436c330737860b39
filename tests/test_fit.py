"""The one loop: scikit-learn's optimum, equal bytes, early stopping, resume."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from onelook.fit import Recipe, fit, log_steps
from onelook.heads import Classify
from onelook.look import Geometry, Look

N, D = 90, 6


def data() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=draw)
    return x, (x[:, 0] + 0.5 * torch.randn(N, generator=draw) > 0).long() + (x[:, 1] > 0.8).long()


def head(form: str = "linear") -> Classify:
    torch.manual_seed(0)
    return Classify("abc", embedding=True, inputs=D, form=form, units=8)  # type: ignore[arg-type]


def batches(size: int = 32):  # type: ignore[no-untyped-def]
    x, y = data()
    place = Geometry(32).place(32, 32)

    def epoch(number: int) -> Iterator[tuple[Look, Tensor]]:
        order = torch.randperm(N, generator=torch.Generator().manual_seed(number))
        for part in order.split(size):
            yield Look((place,) * len(part), embedding=x[part]), y[part]

    return epoch


def run(recipe: Recipe, form: str = "linear", **options: object) -> tuple[Classify, list]:
    made = head(form)
    return made, list(fit(made, batches(), recipe, **options))  # type: ignore[arg-type]


def bytes_of(made: Classify) -> bytes:
    return b"".join(value.numpy().tobytes() for value in made.state_dict().values())


def test_lbfgs_reaches_scikit_learns_optimum() -> None:
    made, _ = run(Recipe("lbfgs", epochs=10, weight_decay=0.05))
    x, y = data()
    slow = LogisticRegression(C=1 / (0.05 * N), tol=1e-8, max_iter=1000).fit(x, y)
    with torch.no_grad():
        ours = made(Look((), embedding=x)).softmax(1)
    np.testing.assert_allclose(ours, slow.predict_proba(x), atol=2e-3)


@pytest.mark.parametrize("form", ["linear", "hidden"])
def test_two_runs_give_equal_bytes_and_another_seed_does_not(form: str) -> None:
    recipe = Recipe(epochs=4, seed=3)
    assert bytes_of(run(recipe, form)[0]) == bytes_of(run(recipe, form)[0])
    if form == "hidden":  # dropout draws
        assert bytes_of(run(recipe, form)[0]) != bytes_of(run(Recipe(epochs=4, seed=4), form)[0])


def test_loss_falls_and_the_rate_follows_a_cosine() -> None:
    _, steps = run(Recipe(epochs=8, learning_rate=0.05))
    assert steps[-1].loss < steps[0].loss
    expected = [0.05 * 0.5 * (1 + np.cos(np.pi * epoch / 8)) for epoch in range(8)]
    np.testing.assert_allclose([step.learning_rate for step in steps], expected, rtol=1e-5)


def test_early_stopping_keeps_the_best() -> None:
    metrics = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.1])
    weights: list[bytes] = []
    made = head()

    def watch() -> float:
        weights.append(bytes_of(made))
        return next(metrics)

    steps = list(fit(made, batches(), Recipe(epochs=6, patience=2), watch=watch))
    assert [step.best for step in steps] == [True, True, False, False]
    assert bytes_of(made) == weights[1]


@pytest.mark.parametrize("form", ["linear", "hidden"])
def test_resume_continues_as_if_never_stopped(tmp_path: Path, form: str) -> None:
    recipe = Recipe(epochs=6, seed=1)
    whole, _ = run(recipe, form)
    checkpoint = tmp_path / "checkpoint.pt"
    steps = fit(head(form), batches(), recipe, checkpoint=checkpoint)
    for _ in range(3):
        next(steps)
    steps.close()
    assert checkpoint.exists()
    torch.manual_seed(99)
    again = head(form)
    rest = list(fit(again, batches(), recipe, checkpoint=checkpoint))
    assert [step.epoch for step in rest] == [4, 5, 6]
    assert bytes_of(again) == bytes_of(whole)
    assert not checkpoint.exists()


def test_an_interrupted_run_leaves_its_best(tmp_path: Path) -> None:
    made = head()
    steps = fit(made, batches(), Recipe(epochs=50), watch=iter([1.0, 0.0, 0.0]).__next__)
    next(steps)
    best = bytes_of(made)
    next(steps)
    steps.close()
    assert bytes_of(made) == best


def test_log(tmp_path: Path) -> None:
    list(log_steps("linear", fit(head(), batches(), Recipe(epochs=3)), tmp_path / "steps.csv"))
    lines = (tmp_path / "steps.csv").read_text().splitlines()
    assert lines[0].startswith("fit,epoch,epochs,loss,metric,learning_rate")
    assert len(lines) == 4

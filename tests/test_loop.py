"""The one loop: scikit-learn's optimum, equal bytes, early stopping, resume."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from onelook.deadline import Deadline
from onelook.geometry.placement import Geometry
from onelook.heads.classify import Classify
from onelook.looks.features import Look
from onelook.training.loop import Schedule, fit, log_steps

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


def run(schedule: Schedule, form: str = "linear", **options: object) -> tuple[Classify, list]:
    made = head(form)
    return made, list(fit(made, batches(), schedule, **options))  # type: ignore[arg-type]


def bytes_of(made: Classify) -> bytes:
    return b"".join(value.numpy().tobytes() for value in made.state_dict().values())


def test_lbfgs_reaches_scikit_learns_optimum() -> None:
    made, _ = run(Schedule("lbfgs", epochs=10, weight_decay=0.05))
    x, y = data()
    slow = LogisticRegression(C=1 / (0.05 * N), tol=1e-8, max_iter=1000).fit(x, y)
    with torch.no_grad():
        ours = made(Look((), embedding=x)).softmax(1)
    np.testing.assert_allclose(ours, slow.predict_proba(x), atol=2e-3)


@pytest.mark.parametrize("form", ["linear", "hidden"])
def test_two_runs_give_equal_bytes_and_another_seed_does_not(form: str) -> None:
    schedule = Schedule(epochs=4, seed=3)
    assert bytes_of(run(schedule, form)[0]) == bytes_of(run(schedule, form)[0])
    if form == "hidden":  # dropout draws
        assert bytes_of(run(schedule, form)[0]) != bytes_of(run(Schedule(epochs=4, seed=4), form)[0])


def test_loss_falls_and_the_rate_follows_a_cosine() -> None:
    _, steps = run(Schedule(epochs=8, learning_rate=0.05))
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

    steps = list(fit(made, batches(), Schedule(epochs=6, patience=2), watch=watch))
    assert [step.best for step in steps] == [True, True, False, False]
    assert bytes_of(made) == weights[1]


class Clock:
    """A clock that goes on by ``step`` seconds whenever it is read."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_training_ends_at_its_deadline_with_a_rate_that_has_fallen() -> None:
    """Steps that take longer than was thought: the cosine follows the time, and the last whole or partial epoch is the end."""
    clock = Clock(0.1)
    deadline = Deadline(20.0, clock=clock)
    made = head()
    steps = list(fit(made, batches(), Schedule(epochs=1000, learning_rate=0.05), batches_per_epoch=13, deadline=deadline))
    assert clock.now < 21
    assert 1 < len(steps) < 1000
    assert [step.over for step in steps] == [False] * (len(steps) - 1) + [True]
    rates = [step.learning_rate for step in steps]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.05 * 0.15
    assert steps[-1].loss < steps[0].loss


def test_a_deadline_far_away_changes_nothing() -> None:
    schedule = Schedule(epochs=4, seed=3)
    plain, timed = head("hidden"), head("hidden")
    list(fit(plain, batches(), schedule, batches_per_epoch=13))
    list(fit(timed, batches(), schedule, batches_per_epoch=13, deadline=Deadline(3600.0)))
    assert bytes_of(plain) == bytes_of(timed)


def test_an_interrupted_run_leaves_its_best(tmp_path: Path) -> None:
    made = head()
    steps = fit(made, batches(), Schedule(epochs=50), watch=iter([1.0, 0.0, 0.0]).__next__)
    next(steps)
    best = bytes_of(made)
    next(steps)
    steps.close()
    assert bytes_of(made) == best


def test_log(tmp_path: Path) -> None:
    list(log_steps("linear", fit(head(), batches(), Schedule(epochs=3)), tmp_path / "steps.csv"))
    lines = (tmp_path / "steps.csv").read_text().splitlines()
    assert lines[0].startswith("fit,epoch,epochs,loss,metric,learning_rate")
    assert len(lines) == 4

"""Temperature and calibration error against slow loops."""

import numpy as np
import pytest
import torch

from onelook.metrics.calibration import calibration_error, each_log_loss, fit_temperature, log_loss, reliability


def drawn(n: int = 4000, classes: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are calibrated by construction: the truth is drawn from their own probabilities."""
    draw = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, classes, generator=draw)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=draw)[:, 0]


@pytest.mark.parametrize("scale", [0.1, 0.5, 3.0, 10.0])
def test_the_temperature_that_was_put_in_is_found(scale: float) -> None:
    logits, truth = drawn()
    assert fit_temperature(logits * scale, truth) == pytest.approx(scale, rel=0.08)


def test_no_temperature_on_a_grid_is_better() -> None:
    logits, truth = drawn(200)
    best = log_loss(logits / fit_temperature(logits, truth), truth)
    assert best <= min(log_loss(logits / t, truth) for t in np.geomspace(0.05, 18, 400)) + 1e-6


def test_several_labels() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(3000, 2, generator=draw)
    truth = (torch.rand(3000, 2, generator=draw) < logits.sigmoid()).float()
    assert fit_temperature(logits * 4, truth) == pytest.approx(4, rel=0.08)
    assert calibration_error(reliability(logits, truth)) < 0.03 < calibration_error(reliability(logits * 4, truth))


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_calibration_error_against_a_loop(scale: float) -> None:
    logits, truth = drawn(300)
    logits = logits * scale
    rows: dict[int, list[tuple[float, bool]]] = {}
    for row, target in zip(logits.tolist(), truth.tolist(), strict=True):
        weights = np.exp(np.array(row) - max(row))
        confidence = float(max(weights) / sum(weights))
        rows.setdefault(min(14, int(confidence * 15)), []).append((confidence, int(np.argmax(row)) == target))
    expected = sum(abs(sum(c for c, _ in part) - sum(right for _, right in part)) for part in rows.values()) / 300
    bins = reliability(logits, truth)
    assert calibration_error(bins) == pytest.approx(expected)
    assert sum(entry.count for entry in bins) == 300
    assert all(entry.low <= entry.confidence <= entry.high for entry in bins)


def test_losses_are_torchs_softened_ones() -> None:
    logits, truth = drawn(50)
    expected = torch.nn.functional.cross_entropy(logits.double(), truth, label_smoothing=1 / 52)
    assert log_loss(logits, truth) == pytest.approx(float(expected))
    assert float(each_log_loss(logits, truth).mean()) == pytest.approx(float(expected))


def test_one_answer_and_extremes() -> None:
    one = torch.tensor([[50.0, -50.0]])
    assert calibration_error(reliability(one, torch.tensor([0]))) == pytest.approx(0, abs=1e-6)
    assert calibration_error(reliability(one, torch.tensor([1]))) == pytest.approx(1, abs=1e-6)
    assert 0.01 < fit_temperature(one, torch.tensor([1])) < 25

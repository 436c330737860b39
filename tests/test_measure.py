"""Judges and intervals against published numbers and slow loops."""

import pytest
import torch

from onelook.metrics.classification import MultiLabelJudge, SingleLabelJudge
from onelook.metrics.intervals import wilson_interval
from onelook.metrics.regression import ValueJudge


def test_wilson_against_a_published_example() -> None:
    """Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662, 15 of 148 gives 0.0624 to 0.1605."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson_interval(0, 20)[0] == pytest.approx(0, abs=1e-12)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_single_label_by_hand() -> None:
    judge = SingleLabelJudge(("a", "b", "c"))
    judge.add(torch.tensor([[2.0, 0, 0], [0, 2.0, 0]]), torch.tensor([0, 0]))
    judge.add(torch.tensor([[0, 2.0, 0], [0, 2.0, 0]]), torch.tensor([1, 1]))
    result = judge.result()
    assert result["accuracy"] == 0.75
    assert result["confusion"]["rows_truth"] == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert result["f1_macro"] == pytest.approx((2 / 3 + 0.8) / 2)
    assert result["recall"] == {"a": 0.5, "b": 1.0}


def test_multi_label_by_hand() -> None:
    judge = MultiLabelJudge(("a", "b"))
    judge.add(torch.tensor([[1.0, -1.0], [1.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    result = judge.result()
    assert (result["accuracy"], result["label_accuracy"]) == (0.5, 0.75)
    assert result["mean_average_precision"] == 1.0


def test_values_by_hand() -> None:
    judge = ValueJudge(("w",))
    judge.add(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[1.0], [3.0], [2.0]]))
    result = judge.result()
    assert result["mae"] == pytest.approx(1.0)
    assert result["rmse"] == pytest.approx((5 / 3) ** 0.5)
    assert result["r2"] == pytest.approx(1 - 5 / 2)

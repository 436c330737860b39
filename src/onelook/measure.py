"""One judge per kind of answer, with intervals; the metrics themselves are scikit-learn's.

A judge is fed scores and targets batch by batch and keeps no picture.
"""

import math
from typing import Any, Protocol

import numpy as np
import torch
from sklearn import metrics
from torch import Tensor

from onelook.calibrate import calibration_error, reliability


class Judge(Protocol):
    """Collects what a head said and what was true, and gives the metrics."""

    headline: str

    def add(self, raw: Tensor, target: Tensor) -> None:
        """One batch of a head's raw output and its targets."""

    def result(self) -> dict[str, Any]:
        """Plain numbers and lists, ready for JSON."""


def wilson_interval(correct: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share of ``correct`` in ``n`` (Wilson 1927), each 0..1; (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    share = correct / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return centre - half, centre + half


class _Collected:
    def __init__(self) -> None:
        self.raw: list[Tensor] = []
        self.targets: list[Tensor] = []

    def add(self, raw: Tensor, target: Tensor) -> None:
        self.raw.append(raw.detach().float().cpu())
        self.targets.append(target.cpu())

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return torch.cat(self.raw).numpy(), torch.cat(self.targets).numpy()


class SingleLabelJudge(_Collected):
    """Accuracy with its interval, macro F1, log loss, calibration error and the confusion matrix (rows: truth, columns: answer)."""

    headline = "accuracy"

    def __init__(self, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.classes = classes

    def result(self) -> dict[str, Any]:
        logits, truth = self.arrays()
        said = logits.argmax(axis=1)
        ids = list(range(len(self.classes)))
        present = sorted({*truth.tolist()})
        correct = int((said == truth).sum())
        recall = metrics.recall_score(truth, said, labels=ids, average=None, zero_division=0)
        probabilities = torch.from_numpy(logits).double().softmax(dim=1).numpy()
        return {
            "n": len(truth),
            "accuracy": correct / len(truth),
            "accuracy_interval": list(wilson_interval(correct, len(truth))),
            "f1_macro": float(metrics.f1_score(truth, said, labels=present, average="macro", zero_division=0)),
            "log_loss": float(metrics.log_loss(truth, probabilities, labels=ids)),
            "ece": calibration_error(reliability(torch.from_numpy(logits), torch.from_numpy(truth))),
            "recall": {name: float(recall[index]) for index, name in enumerate(self.classes) if index in present},
            "confusion": {
                "classes": list(self.classes),
                "rows_truth": metrics.confusion_matrix(truth, said, labels=ids).tolist(),
            },
        }


class MultiLabelJudge(_Collected):
    """Share of pictures with all labels right, share of single labels right, macro F1 and mean average precision."""

    headline = "accuracy"

    def __init__(self, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.classes = classes

    def result(self) -> dict[str, Any]:
        logits, truth = self.arrays()
        error = calibration_error(reliability(torch.from_numpy(logits), torch.from_numpy(truth)))
        said, truth = logits >= 0, truth >= 0.5
        right = int((said == truth).all(axis=1).sum())
        usable = [index for index in range(len(self.classes)) if truth[:, index].any()]
        precision = [metrics.average_precision_score(truth[:, index], logits[:, index]) for index in usable]
        return {
            "n": len(truth),
            "accuracy": right / len(truth),
            "accuracy_interval": list(wilson_interval(right, len(truth))),
            "label_accuracy": float((said == truth).mean()),
            "f1_macro": float(metrics.f1_score(truth[:, usable], said[:, usable], average="macro", zero_division=0)),
            "mean_average_precision": float(np.mean(precision)) if precision else 0.0,
            "ece": error,
        }


class ValueJudge(_Collected):
    """Mean absolute error, root mean squared error and R2, per column and over all."""

    headline = "mae"

    def __init__(self, columns: tuple[str, ...]) -> None:
        super().__init__()
        self.columns = columns

    def result(self) -> dict[str, Any]:
        said, truth = self.arrays()
        error = np.abs(said - truth)
        varied = len(truth) > 1
        half = 1.96 * error.mean(axis=1).std() / math.sqrt(len(truth))
        return {
            "n": len(truth),
            "mae": float(error.mean()),
            "mae_interval": [float(error.mean() - half), float(error.mean() + half)],
            "rmse": float(metrics.root_mean_squared_error(truth, said)),
            "r2": float(metrics.r2_score(truth, said)) if varied else 0.0,
            "mae_per_column": {name: float(error[:, index].mean()) for index, name in enumerate(self.columns)},
        }

"""How far values are off.

onelook val table.csv --model mine.onelook --head weight
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from onelook.facts import Facts
from onelook.metrics.intervals import normal_interval
from onelook.metrics.judge import Judge, Table


class ValueJudge(Judge[Tensor, Tensor]):
    """Mean absolute error, root mean squared error and R2, per column and over all."""

    headline = "mae"
    lower_is_better = True
    figures = {"mae": "mean absolute error", "rmse": "root mean squared error", "r2": "R2"}  # noqa: RUF012

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self.predictions: list[Tensor] = []
        self.targets: list[Tensor] = []

    def add(self, predictions: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
        """The values (columns,) said of each picture, and its true ones."""
        self.predictions += [prediction.detach().float().cpu() for prediction in predictions]
        self.targets += [torch.as_tensor(target).float().cpu() for target in targets]

    def result(self) -> Facts:
        said, truth = torch.stack(self.predictions).numpy(), torch.stack(self.targets).numpy()
        error = np.abs(said - truth)
        apart = ((truth - truth.mean(0)) ** 2).sum(0)
        explained = 1 - ((said - truth) ** 2).sum(0) / np.where(apart > 0, apart, 1)
        return {
            "n": len(truth),
            "mae": float(error.mean()),
            "mae_interval": list(normal_interval(error.mean(axis=1))),
            "rmse": float(np.sqrt(((said - truth) ** 2).mean(0)).mean()),
            "r2": float(np.where(apart > 0, explained, 0.0).mean()),
            "mae_per_column": {name: float(error[:, index].mean()) for index, name in enumerate(self.columns)},
        }

    def each(self) -> Tensor:
        """Minus the mean absolute error of each picture."""
        return -(torch.stack(self.predictions).double() - torch.stack(self.targets).double()).abs().mean(1)

    def in_words(self, metrics: Facts) -> str:
        low, high = metrics["mae_interval"]
        error = f"mean absolute error {metrics['mae']:.4g} (95 % interval {low:.4g} to {high:.4g})"
        return f"{error}, R2 {metrics['r2']:.3f} on {metrics['n']} pictures"

    def tables(self, metrics: Facts) -> list[Table]:
        """The error of every column, where there are several."""
        rows = tuple((name, f"{error:.4g}") for name, error in metrics["mae_per_column"].items())
        return [Table("Column by column", ("column", "mean absolute error"), rows)] if len(rows) > 1 else []

    def worst(self, count: int) -> list[tuple[int, str]]:
        """The pictures whose values are furthest off."""
        order = self.each().argsort().tolist()[:count]
        return [
            (
                index,
                "\n".join(
                    f"{name} {said:.3g}, is {true:.3g}"
                    for name, said, true in zip(self.columns, self.predictions[index].tolist(), self.targets[index].tolist(), strict=True)
                ),
            )
            for index in order
        ]

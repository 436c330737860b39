"""How much: one or more numbers per picture, from pooled statistics of a look.

Least squares on standardised values; the answer is in the table's own unit.

    onelook train weights.csv --task regress --name weight --model mine.onelook
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from onelook.answers import Answer, Values
from onelook.heads.readout import Form, PooledHead
from onelook.look import Look, Placement
from onelook.measure import Judge, ValueJudge


class Regress(PooledHead):
    """Look -> values (B, columns). Targets: values (B, columns)."""

    task = "regress"
    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        classes: Sequence[str],
        *,
        strides: Sequence[int] = (),
        embedding: bool = False,
        inputs: int,
        form: Form = "radial",
        units: int = 0,
        width: float = 0.0,
        temperature: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            len(classes), strides=strides, embedding=embedding, inputs=inputs, form=form, units=units, width=width,
            temperature=temperature, dropout=dropout,
        )  # fmt: skip
        self.classes = tuple(classes)
        self.register_buffer("centre", torch.zeros(len(classes)))
        self.register_buffer("spread", torch.ones(len(classes)))

    def config(self) -> dict[str, Any]:
        """Plain values that rebuild this head: ``Regress(**config)``."""
        return {"classes": list(self.classes), **self.shape()}

    def forward(self, look: Look) -> Tensor:
        return super().forward(look) * self.spread + self.centre

    def loss(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Squared error in units of each column's spread."""
        return {"squared_error": functional.mse_loss((raw - self.centre) / self.spread, (target - self.centre) / self.spread)}

    def answer(self, raw: Tensor, placements: Sequence[Placement]) -> list[Answer]:
        """One Values per picture."""
        return [Values(dict(zip(self.classes, row, strict=True))) for row in raw.double().tolist()]

    def judge(self) -> Judge:
        """A fresh judge for this head's answers."""
        return ValueJudge(self.classes)

"""An answer that is a vector: alike for pictures of the same one."""

from dataclasses import dataclass

import numpy as np

from onelook.answers.answer import Answer
from onelook.facts import Facts


@dataclass(frozen=True, eq=False)
class Vector(Answer):
    """``values`` (D,) float32; two of them are compared by their head (``head.distances``)."""

    values: np.ndarray

    def to_json(self) -> Facts:
        return {"vector": [round(float(value), 6) for value in self.values]}

    def rows(self) -> list[Facts]:
        return [{f"v{number}": round(float(value), 6) for number, value in enumerate(self.values)}]

    def __str__(self) -> str:
        return f"a vector of {len(self.values)} numbers"

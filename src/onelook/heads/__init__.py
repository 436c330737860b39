"""Heads: one file per task. A head reads a look, never pixels, never the backbone.

Adding one costs its file, its test, and its line in HEADS. What every head must do is ``Head``;
``tests/contract/test_heads.py`` holds every entry of HEADS to it.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from onelook.answers import Answer
from onelook.heads.classify import Classify
from onelook.heads.regress import Regress
from onelook.look import Look, Needs, Placement
from onelook.measure import Judge


class Head(Protocol):
    """The names that heads agree on (they are ``nn.Module``s, not subclasses of this)."""

    task: str
    classes: tuple[str, ...]
    temperature: float

    @property
    def needs(self) -> Needs: ...
    def __call__(self, look: Look) -> Tensor: ...
    def loss(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]: ...
    def answer(self, raw: Tensor, placements: Sequence[Placement]) -> list[Answer]: ...
    def merge(self, raws: Tensor) -> Tensor: ...
    def judge(self) -> Judge: ...
    def config(self) -> dict[str, Any]: ...


HEADS: dict[str, type[nn.Module]] = {
    "classify": Classify,
    "regress": Regress,
}

__all__ = ["HEADS", "Classify", "Head", "Regress"]

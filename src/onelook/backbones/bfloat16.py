"""Half precision: tails learn, and U-Nets learn and answer, in bfloat16 where the processor multiplies it itself.

Weights, looks and losses stay float32, and so do the answers of tails. Measured: half to two thirds of the time of a training step, and
no more pixels wrong on membranes (docs/diary.md).

    python -c "from onelook.backbones.bfloat16 import native_bfloat16; print(native_bfloat16())"
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch

_EXACT = ContextVar("float32_only", default=False)


@cache
def native_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 numbers itself; where it does not, they would only be slower."""
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # not there in every build of torch
    return bool(asked and asked())


def bfloat16_autocast(wanted: bool = True) -> torch.autocast:
    """A context in which convolutions are computed in bfloat16, if ``wanted``, and not within ``float32_only``."""
    return torch.autocast("cpu", torch.bfloat16, enabled=wanted and native_bfloat16() and not _EXACT.get())


@contextmanager
def float32_only() -> Iterator[None]:
    """A context in which nothing is computed in bfloat16: for what is compared with another program's float32."""
    before = _EXACT.set(True)
    try:
        yield
    finally:
        _EXACT.reset(before)

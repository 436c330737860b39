"""Which pixels a position of a layer sees: receptive fields by arithmetic, exact in networks that branch.

Araujo, Norris, Sim 2019, "Computing receptive fields of convolutional neural networks" (Distill): along a path each layer with kernel k,
stride s and padding p widens the field by (k - 1) times the jump before it; where paths meet, the field is their union, and they are
aligned if their centres agree. Here a position i of a map sees the pixels from ``jump * i + low`` to ``jump * i + high``, both
included, of which those below 0 are padding.

    onelook anatomy inception_v3 --size 299
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """What a map sees along one axis of the input: position i sees pixels ``jump * i + low`` to ``jump * i + high``.

    ``aligned``: whether all paths have one centre. ``whole``: it sees everything (behind a global pool, say); the rest means nothing then.
    """

    jump: float = 1.0
    low: float = 0.0
    high: float = 0.0
    aligned: bool = True
    whole: bool = False

    @property
    def size(self) -> int | None:
        """Pixels of the field; None: the whole picture."""
        return None if self.whole else int(self.high - self.low) + 1

    def seen(self, position: int, length: int) -> tuple[int, int]:
        """The pixels (first, behind the last) of an input of ``length`` that a position sees."""
        if self.whole:
            return 0, length
        first, last = self.jump * position + self.low, self.jump * position + self.high
        return max(0, min(length - 1, int(first // 1))), max(1, min(length, int(-(-last // 1)) + 1))

    def middle(self, position: int, length: int) -> float:
        """The middle of what a position sees, in pixels of an input of ``length``, borders counted from 0."""
        return length / 2 if self.whole else self.jump * position + (self.low + self.high + 1) / 2


WHOLE = Axis(whole=True)
Field = tuple[Axis, ...]  # one axis for each of the input's, in their order


def convolved(axis: Axis, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Axis:
    """Behind a convolution or a pool."""
    if axis.whole:
        return axis
    low = axis.low - padding * axis.jump
    high = axis.high + (dilation * (kernel - 1) - padding) * axis.jump
    return Axis(axis.jump * stride, low, high, axis.aligned)


def transposed(axis: Axis, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Axis:
    """Behind a transposed convolution: position i is fed by the input's (i + padding - dilation * t) / stride, t from 0 to kernel - 1."""
    if axis.whole:
        return axis
    jump = axis.jump / stride
    return Axis(jump, axis.low + (padding - dilation * (kernel - 1)) * jump, axis.high + padding * jump, axis.aligned)


def enlarged(axis: Axis, factor: float, smooth: bool) -> Axis:
    """Behind an enlargement by ``factor``; ``smooth``: interpolated between neighbours. An upper bound: it differs with the position."""
    if axis.whole or factor == 1:
        return axis
    jump = axis.jump / factor
    if not smooth:
        return Axis(jump, axis.low - axis.jump + jump, axis.high, axis.aligned)
    shift = jump / 2 - axis.jump / 2
    return Axis(jump, axis.low + shift - axis.jump, axis.high + shift + axis.jump, axis.aligned)


def padded(axis: Axis, before: int) -> Axis:
    """With ``before`` positions put before the first; taken away where negative."""
    return axis if axis.whole else Axis(axis.jump, axis.low - before * axis.jump, axis.high - before * axis.jump, axis.aligned)


def strided(axis: Axis, start: int, step: int) -> Axis:
    """Every ``step``-th position from ``start`` on."""
    return axis if axis.whole else Axis(axis.jump * step, axis.low + start * axis.jump, axis.high + start * axis.jump, axis.aligned)


def union(axes: Iterable[Axis]) -> Axis:
    """Where paths meet."""
    axes = list(axes)
    if any(axis.whole for axis in axes) or len({axis.jump for axis in axes}) > 1:
        return WHOLE
    low, high = min(axis.low for axis in axes), max(axis.high for axis in axes)
    one_centre = len({axis.low + axis.high for axis in axes}) == 1
    return Axis(axes[0].jump, low, high, one_centre and all(axis.aligned for axis in axes))

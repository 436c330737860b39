"""What a tensor's places see of the input, and what becomes of that in each operation that torch dispatches.

An operation that is not told of here keeps what was seen where its output has the same places, and else sees the whole input.

    onelook anatomy resnet50
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor

from onelook.inside.receptive_field import WHOLE, Axis, Field, convolved, enlarged, padded, strided, transposed, union

MATRIX = ("addmm", "mm", "linear")


@dataclass(frozen=True)
class Placed:
    """Which axes of a tensor are the input's, in the input's order; ``merged``: the (sizes of) axes that were flattened into its first."""

    field: Field
    axes: tuple[int, ...]
    merged: tuple[int, ...] = ()


def together(places: Sequence[Placed]) -> Placed:
    """What is seen where several tensors are added, multiplied or joined."""
    first = places[0]
    if any(place.axes != first.axes or place.merged != first.merged for place in places):
        return Placed((WHOLE,) * len(first.field), ())
    return Placed(tuple(union(axes) for axes in zip(*(place.field for place in places), strict=True)), first.axes, first.merged)


def _each(values: Any, place: Placed, value: Tensor) -> list[int]:
    """A value for every axis of the input's, of those that are given for a tensor's last axes; where there is one, it stands for all."""
    listed = list(values) if isinstance(values, tuple | list) else [values]
    return [int(listed[axis - (value.ndim - len(listed)) if len(listed) > 1 else 0]) for axis in place.axes]


def _moved(place: Placed, field: Sequence[Axis]) -> Placed:
    return Placed(tuple(field), place.axes)


def _convolution(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> Placed:
    kernel = list(args[1].shape[2:])
    stride, padding, dilation = (_each(args[index], place, value) for index in (3, 4, 5))
    move = transposed if args[6] else convolved
    return _moved(place, [move(*each) for each in zip(place.field, kernel, stride, padding, dilation, strict=True)])


def _pool(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...], dilated: bool) -> Placed:
    kernel = _each(args[1], place, value)
    stride = _each(args[2], place, value) if len(args) > 2 and args[2] else kernel
    padding = _each(args[3] if len(args) > 3 else 0, place, value)
    dilation = _each(args[4] if dilated and len(args) > 4 else 1, place, value)
    return _moved(place, [convolved(*each) for each in zip(place.field, kernel, stride, padding, dilation, strict=True)])


def _max_pool(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> Placed:
    return _pool(place, value, output, args, True)


def _mean_pool(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> Placed:
    return _pool(place, value, output, args, False)


def _adaptive_pool(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> Placed:
    """Equal blocks where the sizes divide; else blocks that differ, told by the largest; a single one sees everything."""
    field = []
    for axis, number in zip(place.field, place.axes, strict=True):
        before, after = value.shape[number], output.shape[number]
        even = before % after == 0
        field.append(WHOLE if after == 1 < before else convolved(axis, before // after + (0 if even else 2), before // after or 1))
    return _moved(place, field)


def _reduction(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> Placed | None:
    """Over channels alone it stays in its place."""
    axes = args[1] if len(args) > 1 and args[1] is not None else range(value.ndim)
    reduced = {axis % value.ndim for axis in (axes if isinstance(axes, tuple | list | range) else [axes])}
    if reduced & set(place.axes):
        return None
    kept = output.ndim == value.ndim
    return Placed(place.field, place.axes if kept else tuple(axis - sum(one < axis for one in reduced) for axis in place.axes))


def _pad(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> Placed:
    before = [args[1][2 * (value.ndim - 1 - axis)] if 2 * (value.ndim - 1 - axis) < len(args[1]) else 0 for axis in place.axes]
    return _moved(place, [padded(axis, count) for axis, count in zip(place.field, before, strict=True)])


def _resize(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...], smooth: bool) -> Placed:
    factors = [output.shape[axis] / value.shape[axis] for axis in place.axes]
    return _moved(place, [enlarged(axis, factor, smooth) for axis, factor in zip(place.field, factors, strict=True)])


def _nearest(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> Placed:
    return _resize(place, value, output, args, False)


def _smooth(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> Placed:
    return _resize(place, value, output, args, True)


def _slice(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> Placed:
    axis, start, step = (
        (args[1] if len(args) > 1 else 0) % value.ndim,
        (args[2] if len(args) > 2 else 0) or 0,
        args[4] if len(args) > 4 else 1,
    )
    start = max(0, start + value.shape[axis] if start < 0 else start)
    field = [strided(one, start, step) if number == axis else one for one, number in zip(place.field, place.axes, strict=True)]
    return _moved(place, field)


def _permute(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> Placed:
    order = [axis % value.ndim for axis in args[1]]
    return Placed(place.field, tuple(order.index(axis) for axis in place.axes), place.merged)


def _transpose(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> Placed:
    order = list(range(value.ndim))
    one, other = (axis % value.ndim for axis in args[1:3])
    order[one], order[other] = order[other], order[one]
    return Placed(place.field, tuple(order.index(axis) for axis in place.axes))


def _unsqueeze(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> Placed:
    new = args[1] % output.ndim
    return Placed(place.field, tuple(axis + (axis >= new) for axis in place.axes))


def _squeeze(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> Placed | None:
    axes = args[1] if len(args) > 1 else [axis for axis in range(value.ndim) if value.shape[axis] == 1]
    gone = {axis % value.ndim for axis in (axes if isinstance(axes, tuple | list) else [axes]) if value.shape[axis] == 1}
    return None if gone & set(place.axes) else Placed(place.field, tuple(axis - sum(one < axis for one in gone) for axis in place.axes))


def _view(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> Placed | None:
    """Where the places keep their axes, at the end or at the beginning, or are flattened together with the batch and come back."""
    before, after, count = list(value.shape), list(output.shape), len(place.field)
    if place.merged:
        back = after[: len(place.merged)] == list(place.merged)
        return Placed(place.field, tuple(range(1, 1 + count))) if back else (place if after[0] == before[0] else None)
    if not place.axes:
        return None
    if before == after:
        return place
    last = tuple(range(value.ndim - count, value.ndim))
    if place.axes == last and after[-count:] == before[-count:]:
        return Placed(place.field, tuple(range(output.ndim - count, output.ndim)))
    first = tuple(range(1, 1 + count))
    if place.axes == first and after[: 1 + count] == before[: 1 + count]:
        return place
    if place.axes == first and after[0] == prod(before[: 1 + count]):
        return Placed(place.field, (), tuple(before[: 1 + count]))
    return None


def _layer_norm(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> Placed | None:
    return None if set(range(value.ndim - len(args[1]), value.ndim)) & set(place.axes) else place


def _everything(place: Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> None:
    """Statistics over all places."""


MOVES: dict[str, Callable[[Placed, Tensor, Tensor, tuple[Any, ...]], Placed | None]] = {
    "convolution": _convolution,
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool2d", "max_pool3d_with_indices", "max_pool3d", "max_pool1d"), _max_pool),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _mean_pool),
    **dict.fromkeys(("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d"), _adaptive_pool),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "var", "std", "var_mean", "max", "min", "_softmax"), _reduction),
    **dict.fromkeys(("constant_pad_nd", "reflection_pad2d", "replication_pad2d"), _pad),
    **dict.fromkeys(("upsample_nearest2d", "_upsample_nearest_exact2d"), _nearest),
    **dict.fromkeys(("upsample_bilinear2d", "upsample_bicubic2d"), _smooth),
    "native_layer_norm": _layer_norm,
    "native_group_norm": _everything,
    "slice": _slice,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "permute": _permute,
    "transpose": _transpose,
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "clone", "flatten"), _view),
}

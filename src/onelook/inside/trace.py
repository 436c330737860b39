"""Following one pass through a network, operation by operation: in which module, of which shape, at which cost, seeing what of the input.

Operations are seen as torch dispatches them, so that functional calls, branches and in-place changes count like modules do; nothing is
rewritten and no hook stays. Multiply-accumulates are torch's own formulas (``torch.utils.flop_counter``), halved.

    onelook anatomy resnet50
"""

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakIdKeyDictionary

from onelook.inside.receptive_field import WHOLE, Axis, Field, convolved, enlarged, padded, strided, transposed, union


@dataclass(frozen=True)
class Step:
    """One operation: ``module``: the innermost module in which it ran; ``output``: its shape; ``field``: None where it has no places."""

    module: str
    operation: str
    output: tuple[int, ...]
    macs: int
    field: Field | None


@dataclass(frozen=True)
class _Placed:
    """Which axes of a tensor are the input's, in the input's order; ``merged``: the (sizes of) axes that were flattened into its first."""

    field: Field
    axes: tuple[int, ...]
    merged: tuple[int, ...] = ()


@torch.no_grad()
def trace(network: nn.Module, x: Tensor, run: Callable[[Tensor], object] | None = None) -> list[Step]:
    """The operations of ``run`` (default: the network) on an input (B, C, ...), in order."""
    with _inside(network) as stack, _Watch(stack, x) as watch:
        (run or network)(x)
    return list(watch.steps)


@torch.no_grad()
def fields(network: nn.Module, x: Tensor, run: Callable[[Tensor], object] | None = None) -> dict[str, Field]:
    """What a place of every module's output sees of an input (B, C, ...), by the module's name; those whose output has places."""
    found: dict[str, Field] = {}
    watch = _Watch([""], x)

    def note(name: str, output: object) -> None:
        place = watch.placed.get(output) if isinstance(output, Tensor) else None
        if place is not None and isinstance(output, Tensor) and output.ndim == x.ndim:
            found[name] = place.field

    handles = [module.register_forward_hook(lambda *each, name=name: note(name, each[2])) for name, module in network.named_modules()]
    try:
        with watch:
            (run or network)(x)
    finally:
        for handle in handles:
            handle.remove()
    return found


@contextmanager
def _inside(network: nn.Module) -> Iterator[list[str]]:
    """Yields the names of the modules that are running, the innermost last."""
    stack: list[str] = [""]
    handles = []
    for name, module in network.named_modules():
        handles.append(module.register_forward_pre_hook(lambda *_, name=name: stack.append(name)))
        handles.append(module.register_forward_hook(lambda *_: stack.pop() and None, always_call=True))
    try:
        yield stack
    finally:
        for handle in handles:
            handle.remove()


class _Watch(TorchDispatchMode):
    """Notes every operation, and what each tensor sees of the input."""

    def __init__(self, stack: list[str], x: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stack = stack
        self.steps: list[Step] = []
        self.count = x.ndim - 2
        tensors: Any = WeakIdKeyDictionary
        self.placed: MutableMapping[Tensor, _Placed] = tensors()
        self.placed[x] = _Placed((Axis(),) * self.count, tuple(range(2, x.ndim)))

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if operation._overloadpacket not in flop_registry and operation is not torch.ops.prim.device.default:
            with self:
                parts = operation.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        output = operation(*args, **kwargs)
        name = operation._overloadpacket.__name__
        outputs = [value for value in (output if isinstance(output, tuple | list) else [output]) if isinstance(value, Tensor)]
        inputs = [value for value in _flat([*args, *kwargs.values()]) if isinstance(value, Tensor)]
        places = [self.placed[value] for value in inputs if value in self.placed]
        for value in outputs:
            found = self._place(name, args, kwargs, inputs, value) if places else None
            if found is not None:
                self.placed[value] = found
        if outputs:
            cost = flop_registry.get(operation._overloadpacket)
            macs = int(cost(*args, **kwargs, out_val=output)) // 2 if cost is not None else 0
            first = self.placed.get(outputs[0])
            self.steps.append(Step(self.stack[-1], name, tuple(outputs[0].shape), macs, first.field if first else None))
        return output

    def _place(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], inputs: list[Tensor], output: Tensor) -> "_Placed | None":
        """What an output sees, by the kind of operation."""
        known = [(value, self.placed[value]) for value in inputs if value in self.placed]
        value, place = known[0]
        whole = _Placed((WHOLE,) * self.count, ())
        if name in MOVES and value is args[0] and (place.axes or place.merged):
            return MOVES[name](place, value, output, args) or whole
        if name == "cat":
            axis = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % output.ndim
            return whole if axis in place.axes else _together([one for _, one in known])
        if name in MATRIX:
            return _Placed(place.field, (), place.merged) if place.merged and output.shape[0] == prod(place.merged) else whole
        if any(not one.axes and not one.merged for _, one in known):
            return whole
        sizes = [output.shape[axis] for axis in place.axes] if output.ndim == value.ndim else None
        if sizes == [value.shape[axis] for axis in place.axes]:
            return _together([one for _, one in known])
        return whole


MATRIX = ("addmm", "mm", "linear")


def _flat(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, tuple | list):
            yield from _flat(value)
        else:
            yield value


def _together(places: Sequence[_Placed]) -> _Placed:
    first = places[0]
    if any(place.axes != first.axes or place.merged != first.merged for place in places):
        return _Placed((WHOLE,) * len(first.field), ())
    return _Placed(tuple(union(axes) for axes in zip(*(place.field for place in places), strict=True)), first.axes, first.merged)


def _each(values: Any, place: _Placed, value: Tensor) -> list[int]:
    """A value for every axis of the input's, of those that are given for a tensor's last axes; where there is one, it stands for all."""
    listed = list(values) if isinstance(values, tuple | list) else [values]
    return [int(listed[axis - (value.ndim - len(listed)) if len(listed) > 1 else 0]) for axis in place.axes]


def _moved(place: _Placed, field: Sequence[Axis]) -> _Placed:
    return _Placed(tuple(field), place.axes)


def _convolution(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> _Placed:
    kernel = list(args[1].shape[2:])
    stride, padding, dilation = (_each(args[index], place, value) for index in (3, 4, 5))
    move = transposed if args[6] else convolved
    return _moved(place, [move(*each) for each in zip(place.field, kernel, stride, padding, dilation, strict=True)])


def _pool(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...], dilated: bool) -> _Placed:
    kernel = _each(args[1], place, value)
    stride = _each(args[2], place, value) if len(args) > 2 and args[2] else kernel
    padding = _each(args[3] if len(args) > 3 else 0, place, value)
    dilation = _each(args[4] if dilated and len(args) > 4 else 1, place, value)
    return _moved(place, [convolved(*each) for each in zip(place.field, kernel, stride, padding, dilation, strict=True)])


def _max_pool(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> _Placed:
    return _pool(place, value, output, args, True)


def _mean_pool(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> _Placed:
    return _pool(place, value, output, args, False)


def _adaptive_pool(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> _Placed:
    """Equal blocks where the sizes divide; else blocks that differ, told by the largest; a single one sees everything."""
    field = []
    for axis, number in zip(place.field, place.axes, strict=True):
        before, after = value.shape[number], output.shape[number]
        even = before % after == 0
        field.append(WHOLE if after == 1 < before else convolved(axis, before // after + (0 if even else 2), before // after or 1))
    return _moved(place, field)


def _reduction(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> _Placed | None:
    """Over channels alone it stays in its place."""
    axes = args[1] if len(args) > 1 and args[1] is not None else range(value.ndim)
    reduced = {axis % value.ndim for axis in (axes if isinstance(axes, tuple | list | range) else [axes])}
    if reduced & set(place.axes):
        return None
    kept = output.ndim == value.ndim
    return _Placed(place.field, place.axes if kept else tuple(axis - sum(one < axis for one in reduced) for axis in place.axes))


def _pad(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> _Placed:
    before = [args[1][2 * (value.ndim - 1 - axis)] if 2 * (value.ndim - 1 - axis) < len(args[1]) else 0 for axis in place.axes]
    return _moved(place, [padded(axis, count) for axis, count in zip(place.field, before, strict=True)])


def _resize(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...], smooth: bool) -> _Placed:
    factors = [output.shape[axis] / value.shape[axis] for axis in place.axes]
    return _moved(place, [enlarged(axis, factor, smooth) for axis, factor in zip(place.field, factors, strict=True)])


def _nearest(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> _Placed:
    return _resize(place, value, output, args, False)


def _smooth(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> _Placed:
    return _resize(place, value, output, args, True)


def _slice(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> _Placed:
    axis, start, step = (
        (args[1] if len(args) > 1 else 0) % value.ndim,
        (args[2] if len(args) > 2 else 0) or 0,
        args[4] if len(args) > 4 else 1,
    )
    start = max(0, start + value.shape[axis] if start < 0 else start)
    field = [strided(one, start, step) if number == axis else one for one, number in zip(place.field, place.axes, strict=True)]
    return _moved(place, field)


def _permute(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> _Placed:
    order = [axis % value.ndim for axis in args[1]]
    return _Placed(place.field, tuple(order.index(axis) for axis in place.axes), place.merged)


def _transpose(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> _Placed:
    order = list(range(value.ndim))
    one, other = (axis % value.ndim for axis in args[1:3])
    order[one], order[other] = order[other], order[one]
    return _Placed(place.field, tuple(order.index(axis) for axis in place.axes))


def _unsqueeze(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> _Placed:
    new = args[1] % output.ndim
    return _Placed(place.field, tuple(axis + (axis >= new) for axis in place.axes))


def _squeeze(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> _Placed | None:
    axes = args[1] if len(args) > 1 else [axis for axis in range(value.ndim) if value.shape[axis] == 1]
    gone = {axis % value.ndim for axis in (axes if isinstance(axes, tuple | list) else [axes]) if value.shape[axis] == 1}
    return None if gone & set(place.axes) else _Placed(place.field, tuple(axis - sum(one < axis for one in gone) for axis in place.axes))


def _view(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> _Placed | None:
    """Where the places keep their axes, at the end or at the beginning, or are flattened together with the batch and come back."""
    before, after, count = list(value.shape), list(output.shape), len(place.field)
    if place.merged:
        back = after[: len(place.merged)] == list(place.merged)
        return _Placed(place.field, tuple(range(1, 1 + count))) if back else (place if after[0] == before[0] else None)
    if not place.axes:
        return None
    if before == after:
        return place
    last = tuple(range(value.ndim - count, value.ndim))
    if place.axes == last and after[-count:] == before[-count:]:
        return _Placed(place.field, tuple(range(output.ndim - count, output.ndim)))
    first = tuple(range(1, 1 + count))
    if place.axes == first and after[: 1 + count] == before[: 1 + count]:
        return place
    if place.axes == first and after[0] == prod(before[: 1 + count]):
        return _Placed(place.field, (), tuple(before[: 1 + count]))
    return None


def _layer_norm(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> _Placed | None:
    return None if set(range(value.ndim - len(args[1]), value.ndim)) & set(place.axes) else place


def _everything(place: _Placed, value: Tensor, output: Tensor, args: tuple[Any, ...]) -> None:
    """Statistics over all places."""


MOVES: dict[str, Callable[[_Placed, Tensor, Tensor, tuple[Any, ...]], "_Placed | None"]] = {
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

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

from onelook.inside.moves import MATRIX, MOVES, Placed, together
from onelook.inside.receptive_field import WHOLE, Axis, Field


@dataclass(frozen=True)
class Step:
    """One operation: ``module``: the innermost module in which it ran; ``output``: its shape; ``field``: None where it has no places."""

    module: str
    operation: str
    output: tuple[int, ...]
    macs: int
    field: Field | None


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
        self.placed: MutableMapping[Tensor, Placed] = tensors()
        self.placed[x] = Placed((Axis(),) * self.count, tuple(range(2, x.ndim)))

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

    def _place(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], inputs: list[Tensor], output: Tensor) -> "Placed | None":
        """What an output sees, by the kind of operation."""
        known = [(value, self.placed[value]) for value in inputs if value in self.placed]
        value, place = known[0]
        whole = Placed((WHOLE,) * self.count, ())
        if name in MOVES and value is args[0] and (place.axes or place.merged):
            return MOVES[name](place, value, output, args) or whole
        if name == "cat":
            axis = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % output.ndim
            return whole if axis in place.axes else together([one for _, one in known])
        if name in MATRIX:
            return Placed(place.field, (), place.merged) if place.merged and output.shape[0] == prod(place.merged) else whole
        if any(not one.axes and not one.merged for _, one in known):
            return whole
        sizes = [output.shape[axis] for axis in place.axes] if output.ndim == value.ndim else None
        if sizes == [value.shape[axis] for axis in place.axes]:
            return together([one for _, one in known])
        return whole


def _flat(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, tuple | list):
            yield from _flat(value)
        else:
            yield value

"""Backward passes with another rule at the rectifiers: the deconvnet's and guided back-propagation's.

Springenberg, Dosovitskiy, Brox, Riedmiller 2014, "Striving for simplicity: the all convolutional net", section 3.4, puts them side by side.
What comes back through a rectifier is, by plain back-propagation, passed where the input was positive; in a deconvnet (Zeiler, Fergus
2013) where it is positive itself; in guided back-propagation where both are. Calls are replaced while they run, so that functional and
in-place rectifiers count like modules; a network with other activations is refused, not answered with its plain gradient. Max pools pass
what comes back to the place of the maximum, and where pools overlap the values of one place are added. Local response normalisation passes
it as it is.

    onelook deconvnet zfnet photos/ --weights zfnet.pth --layer conv4
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from onelook.errors import HeadError

Rule = Literal["deconvnet", "guided"]
IN_PLACE = {torch.relu_, torch.Tensor.relu_, torch.clamp_min_, torch.Tensor.clamp_min_, torch._C._nn.hardtanh_, torch._C._nn.relu6_}
RECTIFIERS = {
    torch.relu, torch.Tensor.relu, torch.clamp_min, torch.Tensor.clamp_min, torch._C._nn.hardtanh, torch._C._nn.relu6, functional.relu,
    functional.relu6, functional.hardtanh, *IN_PLACE,
}  # fmt: skip
OTHERS = {
    torch.sigmoid, torch.Tensor.sigmoid, torch.sigmoid_, torch.tanh, torch.Tensor.tanh, torch.tanh_, torch._C._nn.gelu, torch._C._nn.silu,
    torch._C._nn.silu_, torch._C._nn.hardswish, torch._C._nn.hardswish_, torch._C._nn.hardsigmoid, torch._C._nn.hardsigmoid_,
    torch._C._nn.leaky_relu, torch._C._nn.leaky_relu_, torch._C._nn.elu, torch._C._nn.elu_, torch._C._nn.mish, torch._C._nn.mish_,
    torch._C._nn.softplus, torch.selu, torch.selu_, torch.celu, torch.celu_, torch.prelu, torch.rrelu, torch.rrelu_,
    functional.leaky_relu, functional.gelu, functional.silu, functional.hardswish, functional.elu, functional.mish, functional.tanh,
}  # fmt: skip

POOLS = {torch.max_pool2d, functional.max_pool2d}


class Rectified(TorchFunctionMode):
    """While it is entered, rectifiers have another backward rule. ``count``: how many ran, ``pools``: how many max pools.

    Raises HeadError for other activations.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule
        self.count = self.pools = 0

    def __torch_function__(self, call: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if call in OTHERS:
            name = getattr(call, "__name__", str(call)).strip("_")
            raise HeadError(
                f"{name} is no rectifier: {self.rule} has no rule for it; networks with rectifiers alone work (resnet50, vgg16, "
                "efficientnet_lite0), or --method gradcam"
            )
        if call is functional.local_response_norm:
            return _PassedThrough.apply(args[0], lambda x: call(x, *args[1:], **kwargs))
        self.pools += call in POOLS
        if call not in RECTIFIERS or (len(args) > 1 and args[1] != 0):  # clamped elsewhere than at 0
            return call(*args, **kwargs)
        self.count += 1
        found = _Rule.apply(args[0], self.rule, lambda x: call(x, *args[1:], **kwargs))
        return args[0].copy_(found) if call in IN_PLACE or kwargs.get("inplace") else found


class _Rule(torch.autograd.Function):
    """A rectifier with a rule for what comes back."""

    @staticmethod
    def forward(context: Any, x: Tensor, rule: Rule, call: Callable[[Tensor], Tensor]) -> Tensor:
        found = call(x.clone())
        context.rule = rule
        context.save_for_backward(found == x if rule == "guided" else x.new_ones(()), x > 0)
        return found

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        passed, positive = context.saved_tensors
        back = gradient.clamp_min(0)
        return back * (passed & positive) if context.rule == "guided" else back, None, None


class _PassedThrough(torch.autograd.Function):
    """Anything, through which passes back what comes."""

    @staticmethod
    def forward(context: Any, x: Tensor, call: Callable[[Tensor], Tensor]) -> Tensor:
        return call(x)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient, None

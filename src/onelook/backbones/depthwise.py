"""Depthwise convolutions whose gradients in bfloat16 are as fast as the convolution itself.

Torch's CPU kernels are fast for weights of 3x3 and for steps of one pixel; all else falls back to code that is ten to sixty times slower
(docs/diary.md), which was more than half of a training step. Two rewritings, with the same sums: the gradient of larger weights is put
together from those of 3x3 pieces of them, and the gradient of the input of strided ones is taken in float32.

    python bench/depthwise.py
"""

from itertools import product
from typing import Any

import torch
from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

PIECE = 3  # side of the weights whose gradient is fast


class Depthwise(nn.Conv2d):
    """The depthwise convolution ``old``, sharing its parameters; only its backward pass differs, and only in bfloat16."""

    def __init__(self, old: nn.Conv2d) -> None:
        channels = old.in_channels
        with torch.device("meta"):  # its own parameters would be made for nothing
            super().__init__(channels, channels, old.kernel_size, old.stride, old.padding, groups=channels, bias=old.bias is not None)  # type: ignore[arg-type]
        self.weight, self.bias = old.weight, old.bias
        self.pads_same = isinstance(old, Conv2dSame)

    def forward(self, x: Tensor) -> Tensor:
        if self.pads_same:
            x = pad_same(x, list(self.kernel_size), list(self.stride))
        padding = (0, 0) if self.pads_same else self.padding
        if not torch.is_autocast_enabled("cpu") or not torch.is_grad_enabled():
            return functional.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)
        y: Tensor = _InHalf.apply(x.bfloat16(), self.weight.bfloat16(), self.stride, padding)
        return y if self.bias is None else y + self.bias[:, None, None]


def with_fast_gradients(module: nn.Module) -> None:
    """Replace, anywhere in ``module``, the depthwise convolutions whose gradients are slow; names and parameters stay."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and _slow(child):
                setattr(parent, name, Depthwise(child))


def pads_by_size(module: nn.Module) -> bool:
    """Whether it is a convolution that pads by its input's size ("same")."""
    return isinstance(module, Conv2dSame) or (isinstance(module, Depthwise) and module.pads_same)


def _slow(layer: nn.Conv2d) -> bool:
    """Whether torch falls back for it, and what is here applies: sides are put together from 3x3 pieces two apart, so they are odd."""
    depthwise = layer.groups == layer.in_channels == layer.out_channels > 1 and type(layer) in (nn.Conv2d, Conv2dSame)
    plain = layer.padding_mode == "zeros" and layer.dilation == (1, 1) and not isinstance(layer.padding, str)
    odd = all(side % 2 and side >= PIECE for side in layer.kernel_size)
    return depthwise and plain and odd and (max(layer.kernel_size) > PIECE or max(layer.stride) > 1)


class _InHalf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        of_input = input_gradient(x, weight, grad, ctx.stride, ctx.padding) if ctx.needs_input_grad[0] else None
        of_weight = weight_gradient(x, weight, grad, ctx.stride, ctx.padding) if ctx.needs_input_grad[1] else None
        return of_input, of_weight, None, None


def input_gradient(x: Tensor, weight: Tensor, grad: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """The gradient (B, C, H, W) of the input of a depthwise convolution, from that of its output."""
    if max(stride) == 1:
        return _input_gradient(x, weight, grad, stride, padding)
    return _input_gradient(x, weight.float(), grad.float(), stride, padding).to(x.dtype)


def _input_gradient(x: Tensor, weight: Tensor, grad: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    found: Tensor = conv2d_input(x.shape, weight, grad, stride, padding, 1, len(weight))
    return found


def weight_gradient(x: Tensor, weight: Tensor, grad: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """The gradient (C, 1, k, k') of the weights of a depthwise convolution, from that of its output, 3x3 of them at a time."""
    channels, _, *sides = weight.shape
    x = functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    seen = [(length - 1) * step + PIECE for length, step in zip(grad.shape[-2:], stride, strict=True)]
    found = torch.empty_like(weight)
    for top, left in product(*(range(0, side - PIECE + 1, PIECE - 1) for side in sides)):  # neighbours share a row or a column
        part = x[:, :, top : top + seen[0], left : left + seen[1]].contiguous(memory_format=torch.channels_last)
        piece = conv2d_weight(part, (channels, 1, PIECE, PIECE), grad, stride, 0, 1, channels)
        found[:, :, top : top + PIECE, left : left + PIECE] = piece
    return found

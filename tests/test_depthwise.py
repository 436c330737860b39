"""Depthwise convolutions: the same sums as torch's own gradients, in another order; names, parameters and answers stay."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional

from onelook.backbones.backbone import Backbone
from onelook.backbones.depthwise import Depthwise, input_gradient, weight_gradient, with_fast_gradients
from onelook.geometry.placement import Geometry
from onelook.heads.tail import Tail
from onelook.looks.features import Look, Needs

SHAPES = [((5, 5), (1, 1), (2, 2)), ((5, 5), (2, 2), (0, 0)), ((7, 7), (1, 1), (3, 3)), ((3, 3), (2, 2), (1, 1)), ((3, 7), (2, 1), (1, 3))]


@pytest.mark.parametrize(("kernel", "stride", "padding"), SHAPES)
def test_gradients_are_those_of_autograd(kernel: Any, stride: Any, padding: Any) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 11, 14, generator=draw, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 1, *kernel, generator=draw, dtype=torch.float64, requires_grad=True)
    y = functional.conv2d(x, weight, None, stride, padding, groups=6)
    grad = torch.randn(y.shape, generator=draw, dtype=torch.float64)
    of_input, of_weight = torch.autograd.grad(y, (x, weight), grad)
    torch.testing.assert_close(weight_gradient(x.detach(), weight.detach(), grad, stride, padding), of_weight)
    found = input_gradient(x.detach(), weight.detach(), grad, stride, padding)
    torch.testing.assert_close(found, of_input, rtol=1e-5, atol=1e-5)  # of strided ones through float32


def gradients(net: nn.Module, x: Tensor, half: bool) -> list[Tensor]:
    net.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        y = net(x)
    y.float().square().mean().backward()
    return [parameter.grad for parameter in net.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("kind", [nn.Conv2d, Conv2dSame])
@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (5, 2), (3, 2), (7, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_replaced_convolution_keeps_its_parameters_and_answers(kind: Any, kernel: int, stride: int, bias: bool) -> None:
    torch.manual_seed(0)
    padding = {"padding": kernel // 2} if kind is nn.Conv2d else {}
    net = nn.Sequential(nn.Conv2d(3, 16, 1), kind(16, 16, kernel, stride=stride, groups=16, bias=bias, **padding))
    names, parameters, x = list(net.state_dict()), list(net.parameters()), torch.randn(2, 3, 21, 18)
    before, wanted = net(x), gradients(net, x, False)
    with_fast_gradients(net)
    assert isinstance(net[1], Depthwise)
    assert list(net.state_dict()) == names
    assert all(now is then for now, then in zip(net.parameters(), parameters, strict=True))
    assert torch.equal(net(x), before)  # without half precision nothing is different, to the bit
    for found, right in zip(gradients(net, x, False), wanted, strict=True):
        assert torch.equal(found, right)
    for found, right in zip(gradients(net, x, True), wanted, strict=True):
        assert float((found - right).norm() / right.norm()) < 0.02


def test_only_slow_ones_are_replaced() -> None:
    net = nn.ModuleList(
        [
            nn.Conv2d(8, 8, 3, padding=1, groups=8),  # torch is fast
            nn.Conv2d(8, 8, 5, padding=2),  # not depthwise
            nn.Conv2d(8, 16, 5, padding=2, groups=8),
            nn.Conv2d(8, 8, 5, padding=4, dilation=2, groups=8),
            nn.Conv2d(8, 8, 4, stride=2, groups=8),
            nn.Conv2d(8, 8, 5, padding="same", groups=8),
            nn.Conv2d(8, 8, 5, padding=2, padding_mode="reflect", groups=8),
        ]
    )
    with_fast_gradients(net)
    assert not any(isinstance(child, Depthwise) for child in net)


@pytest.mark.parametrize("learning", [True, False])
def test_tails_compute_in_half_precision_only_while_they_learn(lite0: Backbone, learning: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    tail = Tail(lite0, 3, Needs(maps=(16, 32), pooled=(32,), embedding=True)).train(learning)
    look = Look((Geometry(64).place(64, 64),) * 2, {8: torch.randn(2, lite0.channels[8], 8, 8)})
    found = []
    for native_bfloat16 in (False, True):
        monkeypatch.setattr("onelook.backbones.bfloat16.native_bfloat16", lambda native_bfloat16=native_bfloat16: native_bfloat16)
        given = deepcopy(tail)(look)
        values = [*given.maps.values(), *given.pooled.values(), given.embedding]
        assert {value.dtype for value in values if value is not None} == {torch.float32}
        found.append(given.maps[32].detach())
    assert torch.equal(*found) != learning


def test_in_a_real_network(lite0: Backbone) -> None:
    """A copy of a tail, too: all that are of 5x5 or strided, and only those."""
    tail = deepcopy(Tail(lite0, 0, Needs(maps=(32,))))
    kernels = [module.kernel_size[0] for module in tail.modules() if isinstance(module, Depthwise)]
    kinds = [
        module
        for module in lite0.network.modules()
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1 and (module.kernel_size[0] > 3 or module.stride[0] > 1)
    ]
    assert sorted(kernels) == sorted(module.kernel_size[0] for module in kinds)
    assert kernels.count(5) > 5

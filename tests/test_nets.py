"""The networks of the case studies: the papers' numbers, the course notes' numbers, and twins in libraries where there are any."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.googlenet import Inception as TheirInception

from onelook.backbones.backbone import Backbone
from onelook.backbones.nets import NETS
from onelook.backbones.nets.alexnet_2012 import response_norm
from onelook.backbones.nets.googlenet_2014 import Inception
from onelook.backbones.nets.lenet5 import TABLE_I, Squash, Subsample, TableConv, lenet5
from onelook.backbones.nets.zfnet import zfnet


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def multiplications(module: nn.Module, *shape: int) -> int:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(torch.zeros(1, *shape))
    return counter.get_total_flops() // 2


def sizes(network: nn.Module, size: int) -> list[int]:
    x, found = torch.zeros(1, 3, size, size), []
    with torch.inference_mode():
        for piece in network.features:  # type: ignore[union-attr, attr-defined]
            x = piece(x)
            found.append(x.shape[-1])
    return found


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("alexnet_2012", 60_965_224), ("zfnet", 62_357_608), ("nin", 966_986), ("googlenet_2014", 6_998_552)],
)
def test_parameter_counts_as_published(name: str, parameters: int) -> None:
    """AlexNet, GoogLeNet: as the Caffe model zoo counts the authors' networks; NiN: its CIFAR-10 definition; ZFNet: figure 3."""
    assert count(NETS[name].build()) == parameters


def test_vgg16_has_138_million_parameters() -> None:
    assert count(Backbone.load("random:vgg16").network) == 138_357_544


class TestLeNet:
    def test_sixty_thousand_parameters(self) -> None:
        """Section II.B, layer by layer, for grey pictures: C1 156, S2 12, C3 1,516, S4 32, C5 48,120, F6 10,164."""
        network = lenet5(channels=1)
        layers = [count(piece) for piece in network.features]  # type: ignore[union-attr, attr-defined]
        assert layers == [156, 12, 1516, 32, 48_120]
        assert count(network.pool) == 10_164  # type: ignore[arg-type]
        assert sum(layers) + 10_164 == 60_000

    def test_the_notes_table(self) -> None:
        """32 x 32 x 3: maps 28, 14, 10, 5 and parameters 456, 2,416, 48,120, 10,164, 850, every map connected to every map."""
        network = lenet5(full=True)
        assert sizes(network, 32) == [28, 14, 10, 5, 1]
        convolutions = [module for module in network.features.modules() if isinstance(module, nn.Conv2d)]  # type: ignore[union-attr]
        assert [count(layer) for layer in convolutions] == [456, 2416, 48_120]
        assert [count(layer) for layer in (network.pool, network.classifier)] == [10_164, 850]  # type: ignore[arg-type]

    def test_table_of_connections_against_a_loop(self) -> None:
        """Six maps read three, nine read four, one reads all six; sums over the named maps only."""
        assert sorted(map(len, TABLE_I)) == [3] * 6 + [4] * 9 + [6]
        torch.manual_seed(0)
        layer, x = TableConv(), torch.randn(2, 6, 14, 14)
        for weight in layer.weights:
            nn.init.normal_(weight)
        found = layer(x)
        for map_number, row in enumerate(TABLE_I):
            chosen = x[:, [int(digit) for digit in row]]
            expected = torch.nn.functional.conv2d(chosen, layer.weights[map_number][None]) + layer.bias[map_number]
            torch.testing.assert_close(found[:, map_number], expected[:, 0], rtol=1e-4, atol=1e-4)

    def test_subsampling_and_squashing(self) -> None:
        x = torch.arange(16.0).reshape(1, 1, 4, 4)
        layer = Subsample(1)
        with torch.no_grad():
            layer.coefficient.fill_(2)
            layer.bias.fill_(1)
        assert layer(x).flatten().tolist() == [2 * (0 + 1 + 4 + 5) + 1, 2 * (2 + 3 + 6 + 7) + 1, 2 * (8 + 9 + 12 + 13) + 1, 2 * 50 + 1]
        assert Squash()(torch.tensor([1.0, -1.0])).tolist() == pytest.approx([1, -1], abs=1e-4)


def test_response_normalisation_is_the_papers_formula() -> None:
    """AlexNet section 3.3, in a slow loop: b = a / (2 + 1e-4 * sum over five neighbouring maps of a^2) ^ 0.75."""
    a = torch.randn(1, 7, 2, 2, generator=torch.Generator().manual_seed(0)) * 100
    expected = torch.empty_like(a)
    for i in range(7):
        near = a[:, max(0, i - 2) : min(6, i + 2) + 1].square().sum(1)
        expected[:, i] = a[:, i] / (2 + 1e-4 * near) ** 0.75
    torch.testing.assert_close(response_norm()(a), expected)


def test_two_groups_are_two_halves() -> None:
    layer = NETS["alexnet_2012"].build().features.conv2[0]  # type: ignore[union-attr, index]
    x = torch.randn(1, 96, 27, 27)
    halves = [
        torch.nn.functional.conv2d(x[:, :48], layer.weight[:128], layer.bias[:128], padding=2),
        torch.nn.functional.conv2d(x[:, 48:], layer.weight[128:], layer.bias[128:], padding=2),
    ]
    torch.testing.assert_close(layer(x), torch.cat(halves, 1))


def test_map_sizes_of_zfnet_and_alexnet() -> None:
    """ZFNet's figure 3 (110, 55, 26, 13, 13, 13, 13, 6) and AlexNet's figure 2 with its overlapping pooling (27, 13, 13, 13, 6)."""
    assert sizes(zfnet(), 224) == [110, 55, 26, 13, 13, 13, 13, 6]
    assert sizes(NETS["alexnet_2012"].build(), 224) == [27, 13, 13, 13, 6]


class TestInception:
    def test_120_against_12_million_multiplications(self) -> None:
        """The notes: 5 x 5 x 192 x 28 x 28 x 32 = 120 M; with a bottleneck of 16 maps 2.4 M + 10 M = 12.4 M."""
        widths = (64, 96, 128, 16, 32, 32)
        plain, narrow = Inception(192, widths, bottleneck=False), Inception(192, widths)
        assert multiplications(plain.five, 192, 28, 28) == 28 * 28 * 32 * 5 * 5 * 192 == 120_422_400
        assert multiplications(narrow.five, 192, 28, 28) == 28 * 28 * (16 * 192 + 32 * 5 * 5 * 16) == 12_443_648
        assert multiplications(narrow, 192, 28, 28) < multiplications(plain, 192, 28, 28) / 2
        assert (plain.outputs, narrow.outputs) == (64 + 128 + 32 + 192, 256)
        assert plain(torch.zeros(1, 192, 28, 28)).shape == (1, 416, 28, 28)

    def test_equal_weights_give_torchvisions_outputs(self) -> None:
        """torchvision's module without batch normalisation; its "5 x 5" branch has 3 x 3 filters."""

        class Plain(nn.Module):
            def __init__(self, channels: int, maps: int, **options: int) -> None:
                super().__init__()
                self.conv = nn.Conv2d(channels, maps, **options)  # type: ignore[arg-type]

            def forward(self, x: Tensor) -> Tensor:
                return torch.relu(self.conv(x))

        torch.manual_seed(0)
        ours = Inception(192, (64, 96, 128, 16, 32, 32), large=3)
        theirs = TheirInception(192, 64, 96, 128, 16, 32, 32, conv_block=Plain)
        values = list(ours.state_dict().values())
        theirs.load_state_dict(dict(zip(theirs.state_dict(), values, strict=True)))
        x = torch.randn(2, 192, 14, 14)
        torch.testing.assert_close(ours(x), theirs(x))


def test_separable_convolutions_cost_2160_against_672() -> None:
    """The notes: 6 x 6 x 3 to 4 x 4 x 5 with 3 x 3 filters; 432 + 240, a share of 1/n' + 1/f^2."""
    normal = multiplications(nn.Conv2d(3, 5, 3, bias=False), 3, 6, 6)
    depthwise = multiplications(nn.Conv2d(3, 3, 3, groups=3, bias=False), 3, 6, 6)
    pointwise = multiplications(nn.Conv2d(3, 5, 1, bias=False), 3, 4, 4)
    assert (normal, depthwise, pointwise) == (2160, 432, 240)
    assert (depthwise + pointwise) / normal == pytest.approx(1 / 5 + 1 / 9)


@given(n=st.integers(1, 40), f=st.integers(1, 7), p=st.integers(0, 3), s=st.integers(1, 4))
def test_output_size_formula(n: int, f: int, p: int, s: int) -> None:
    """The notes: floor((n + 2p - f) / s + 1)."""
    if n + 2 * p < f:
        return
    x = torch.zeros(1, 1, n, n)
    assert nn.Conv2d(1, 1, f, s, padding=p)(x).shape[-1] == (n + 2 * p - f) // s + 1


def test_ten_filters_have_280_parameters() -> None:
    assert count(nn.Conv2d(3, 10, 3)) == 280


@pytest.mark.parametrize("name", [name for name, net in NETS.items() if net.pretrained is None])
def test_they_are_backbones(name: str) -> None:
    """No weights were ever published in a form that can be had: the plain name starts them at random, and they can be cut."""
    backbone = Backbone.load(name)
    assert backbone.can_split
    assert backbone.source.kind == "random"
    assert backbone.network(torch.zeros(1, 3, backbone.preprocess.size, backbone.preprocess.size)).shape[0] == 1

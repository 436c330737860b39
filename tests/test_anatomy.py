"""Anatomy: the notes' tables, torch's own counter, published receptive fields, and gradients through all-positive weights."""

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from onelook import Model
from onelook.backbones.by_name import architecture
from onelook.backbones.nets.lenet5 import lenet5
from onelook.inside.anatomy import Layer, anatomy, anatomy_of, anatomy_of_model
from onelook.inside.trace import trace

FAMILIES = (
    "resnet18", "mobilenetv2_050", "efficientnet_lite0", "densenet121", "inception_v3", "convnext_atto", "regnety_002", "googlenet",
    "shufflenet", "unet",
)  # fmt: skip


def by_name(found: object, name: str) -> Layer:
    return next(layer for layer in found.layers if layer.name == name)


class Notes(nn.Module):
    """LeNet-5 as the notes count it: 32 x 32 x 3, two convolutions with pools, three dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.pool1, self.pool2 = nn.MaxPool2d(2), nn.MaxPool2d(2)
        self.fc3, self.fc4, self.softmax = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool2(self.conv2(self.pool1(self.conv1(x)).relu()).relu())
        return self.softmax(self.fc4(self.fc3(x.flatten(1)).relu()).relu())


def test_the_notes_table_of_lenet5() -> None:
    """Notes 001, 1.10: shapes, sizes of activations, parameters (5 x 5 x 3 + 1) x 6 and so on."""
    found = anatomy_of(Notes(), (3, 32, 32))
    table = {layer.name: (layer.output, layer.size, layer.parameters) for layer in found.layers if layer.name}
    assert table == {
        "conv1": ((6, 28, 28), 4704, 456), "pool1": ((6, 14, 14), 1176, 0),
        "conv2": ((16, 10, 10), 1600, 2416), "pool2": ((16, 5, 5), 400, 0),
        "fc3": ((120,), 120, 48120), "fc4": ((84,), 84, 10164), "softmax": ((10,), 10, 850),
    }  # fmt: skip
    assert found.parameters == sum(layer.parameters for layer in found.layers) == 62006


def test_the_notes_inception_and_mobilenet_blocks() -> None:
    """120 M multiplications against 12.4 M with a bottleneck (2.6); 2160 against 672 for the separable convolution (2.8)."""
    plain = anatomy_of(nn.Conv2d(192, 32, 5, padding=2), (192, 28, 28))
    bottleneck = anatomy_of(nn.Sequential(nn.Conv2d(192, 16, 1), nn.Conv2d(16, 32, 5, padding=2)), (192, 28, 28))
    assert (plain.macs, bottleneck.macs) == (120_422_400, 2_408_448 + 10_035_200)
    assert anatomy_of(nn.Conv2d(3, 5, 3), (3, 6, 6)).macs == 2160
    separable = nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 5, 1))
    assert [layer.macs for layer in anatomy_of(separable, (3, 6, 6)).layers] == [432, 240]


def test_one_and_three_dimensions() -> None:
    """Notes 001, 4.11: 14 by 5 gives 10 by 16 filters, then 6 by 32; 14 x 14 x 14 by 5 x 5 x 5 gives 10 x 10 x 10."""
    line = anatomy_of(nn.Sequential(nn.Conv1d(1, 16, 5), nn.Conv1d(16, 32, 5)), (1, 14))
    assert [(layer.output, layer.receptive_field) for layer in line.layers] == [((16, 10), 5), ((32, 6), 9)]
    cube = anatomy_of(nn.Sequential(nn.Conv3d(1, 16, 5), nn.Conv3d(16, 32, 5)), (1, 14, 14, 14))
    assert [layer.output for layer in cube.layers] == [(16, 10, 10, 10), (32, 6, 6, 6)]


def test_known_totals() -> None:
    """Published parameter counts, and LeNet's 60,000."""
    totals = {name: anatomy(name).parameters for name in ("vgg16", "alexnet", "resnet50", "googlenet_2014")}
    assert totals["vgg16"] == 138_357_544
    assert totals["alexnet"] == 61_100_840
    assert totals["resnet50"] == 25_557_032
    grey = anatomy_of(lenet5(channels=1), (1, 32, 32))
    assert sum(layer.parameters for layer in grey.layers if layer.name.startswith("features") or layer.name == "pool.2") == 60_000


@pytest.mark.parametrize(
    ("name", "size", "layer", "field"),
    [
        ("vgg16", 224, "features.30", 212),
        ("mobilenetv1_100", 224, "", 315),
        ("inception_v3", 299, "", 1311),
        ("alexnet", 224, "features.12", 195),
    ],
)
def test_published_receptive_fields(name: str, size: int, layer: str, field: int) -> None:
    """Araujo, Norris, Sim 2019, the table of the article."""
    found = anatomy(name, size)
    known = [one.receptive_field for one in found.layers if one.receptive_field]
    assert (by_name(found, layer).receptive_field if layer else max(known)) == field


class Bottleneck(nn.Module):
    """A residual block of slim's ResNet v1: the stride is in the last block of a stage."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, stride, 1)
        self.short = nn.MaxPool2d(1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.short(x)


def test_the_receptive_field_of_slims_resnet50() -> None:
    blocks = [
        Bottleneck(2 if block == count - 1 and stage < 3 else 1) for stage, count in enumerate((3, 4, 6, 3)) for block in range(count)
    ]
    network = nn.Sequential(nn.Conv2d(3, 4, 7, 2, 3), nn.MaxPool2d(3, 2, 1), *blocks)
    found = anatomy_of(network, (3, 224, 224))
    assert max(layer.receptive_field or 0 for layer in found.layers) == 483
    assert all(layer.aligned for layer in found.layers)
    crooked = nn.Sequential(nn.Conv2d(3, 4, 4, 1, 1), Bottleneck(1), nn.Conv2d(4, 4, 1))
    assert all(layer.aligned for layer in anatomy_of(crooked, (3, 64, 64)).layers)


def network_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "shufflenet":
        return Shuffled()
    if name == "unet":
        return Skipped()
    return architecture(name)[0] if name == "efficientnet_lite0" or not timm.is_model(name) else timm.create_model(name)


class Shuffled(nn.Module):
    """Channels that are shuffled, slices that are put side by side, axes that change places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.dense = nn.Conv2d(12, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 2, dilation=2), nn.Linear(8, 8)

    def forward_features(self, x: Tensor) -> Tensor:
        x = torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)
        x = self.first(x)
        b, c, h, w = x.shape
        x = x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)
        return self.last(self.dense(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


class Skipped(nn.Module):
    """Down and up again, beside the way that stayed."""

    def __init__(self) -> None:
        super().__init__()
        self.stay, self.down, self.up = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 2, 2), nn.ConvTranspose2d(4, 4, 2, 2)

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.stay(x)
        return torch.cat([x, self.up(self.down(x))], 1)


def all_positive(network: nn.Module) -> nn.Module:
    """Weights by which every path adds something; maxima become means, gates and squashing nothing, statistics neutral."""
    for module in list(network.modules()):
        for name, part in list(module.named_children()):
            if isinstance(part, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(part.kernel_size, part.stride, part.padding, part.ceil_mode))
            elif type(part).__name__ in ("SEModule", "SqueezeExcite", "LayerNorm2d", "LayerNorm", "GELU", "Dropout", "ReLU6"):
                setattr(module, name, nn.Identity())
    for parameter in network.parameters():
        parameter.data.fill_(1.0 / max(1, parameter[0].numel()) if parameter.ndim > 1 else 1.0)
    return network.double().eval()


@pytest.mark.parametrize("name", FAMILIES)
def test_receptive_fields_against_gradients(name: str) -> None:
    """What the gradient of one place reaches is what is seen by arithmetic, at the border and in the middle."""
    network = all_positive(network_of(name))
    run = network.forward_features
    side = 192 if name != "inception_v3" else 299
    x = torch.ones(1, 3, side, side, dtype=torch.float64)
    steps = [step for step in trace(network, x, run) if step.field is not None]
    down, across = steps[-1].field
    x.requires_grad_()
    found = run(x)
    for row, column in ((0, 0), (found.shape[2] // 2, found.shape[3] // 3), (found.shape[2] - 1, found.shape[3] - 1)):
        (gradient,) = torch.autograd.grad(found[0, :, row, column].sum(), x, retain_graph=True)
        touched = gradient.abs().sum((0, 1)) > 0
        rows, columns = touched.any(1).nonzero().flatten(), touched.any(0).nonzero().flatten()
        exact = name != "unet"  # behind an enlargement it is the largest of the places
        for axis, place, reached in ((down, row, rows), (across, column, columns)):
            first, behind = axis.seen(place, side)
            if exact:
                assert (first, behind) == (int(reached[0]), int(reached[-1]) + 1)
            else:
                assert first <= int(reached[0])
                assert int(reached[-1]) < behind


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_050", "googlenet", "zfnet", "convnext_atto"])
def test_macs_are_half_of_torchs_flops(name: str) -> None:
    network = architecture(name)[0].eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, 224, 224))
    found = anatomy(name, 224)
    assert found.macs == counter.get_total_flops() // 2
    assert found.parameters == sum(layer.parameters for layer in found.layers)


def test_gates_see_the_whole_picture_and_no_hook_stays() -> None:
    network = timm.create_model("mobilenetv3_small_050")
    found = anatomy_of(network, (3, 64, 64))
    assert found.layers[-1].receptive_field is None
    assert by_name(found, "conv_stem").receptive_field == 3
    assert not [hook for module in network.modules() for hook in (*module._forward_hooks, *module._forward_pre_hooks)]


def test_a_model_with_heads(photos: object) -> None:
    model = Model.new(device="cpu")
    model.fit("kind", photos, freeze="all", hold_out=False)
    found = anatomy_of_model(model)
    names = [layer.name for layer in found.layers]
    assert any(name.startswith("look.network.") for name in names)
    assert any(name.startswith("kind") for name in names)

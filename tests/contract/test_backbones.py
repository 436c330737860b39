"""What every backbone must do: its stages are the network, and its facts are true."""

import pytest
import torch
from torch import nn

from onelook.backbones.backbone import Backbone
from onelook.errors import BackboneError

FAMILIES = [
    "resnet18", "vgg11_bn", "convnext_atto", "densenet121", "regnety_002", "repvgg_a0",
    "darknet53", "ghostnet_100", "mobilenetv2_050", "mobilenetv3_small_050", "efficientnet_b0", "resnetv2_50",
]  # fmt: skip


def equal(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """But for the last bits: oneDNN may choose another kernel for memory that is aligned otherwise."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


@pytest.fixture(scope="module", params=[*FAMILIES, "alexnet", "googlenet"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    return Backbone.load(f"random:{request.param}")


@torch.inference_mode()
def test_stages_are_the_network(backbone: Backbone) -> None:
    """Against timm's and torchvision's own forward, at another size than the one it was cut at."""
    size = backbone.preprocess.size + 32
    x = torch.randn(2, 3, size, size - 32, generator=torch.Generator().manual_seed(0))
    network = backbone.network
    final = network.forward_features(x)
    equal(backbone.run(x), final)
    outputs = backbone(x)
    equal(outputs[-1], final)
    embedding = backbone.embed(outputs[-1])
    assert embedding.shape == (2, backbone.embedding_size)
    if backbone.classifier is not None:  # resnetv2 classifies with a convolution; it has no ready head here
        torch.testing.assert_close(backbone.classifier(embedding), network(x))
    else:
        assert backbone.name == "random:resnetv2_50"


@torch.inference_mode()
def test_facts_are_true(backbone: Backbone) -> None:
    assert backbone.can_split
    assert list(backbone.strides) == sorted(set(backbone.strides))
    size = backbone.preprocess.size
    x = torch.randn(1, 3, size, size)
    outputs = backbone(x)
    for index, stride in enumerate(backbone.strides):
        assert outputs[index].shape[1] == backbone.channels[stride]
        assert abs(outputs[index].shape[2] - size / stride) <= 2
        equal(outputs[index], backbone.run(x, 0, index + 1))  # no later stage wrote into this map
        equal(backbone.run(outputs[index], index + 1), outputs[-1])
        assert backbone.map_sizes(size, size)[stride] == tuple(outputs[index].shape[2:])


def test_frozen(backbone: Backbone) -> None:
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(module.training for module in backbone.modules() if isinstance(module, nn.BatchNorm2d))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_networks_without_maps_raise(name: str) -> None:
    with pytest.raises(BackboneError, match="does not end in one map"):
        Backbone.load(f"random:{name}")


def test_a_network_that_cannot_be_split_is_frozen_whole() -> None:
    backbone = Backbone.load("random:hrnet_w18_small")
    assert not backbone.can_split
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        equal(backbone(x)[-1], backbone.network.forward_features(x))
    assert len(backbone(x)) == 2


def test_parameter_counts_of_the_papers() -> None:
    """AlexNet 61.1 M (torchvision's page), GoogLeNet 6.6 M: embedding layers included, last layer as given."""
    for name, millions in (("alexnet", 61.1), ("googlenet", 6.62)):
        network = Backbone.load(f"random:{name}").network
        assert sum(p.numel() for p in network.parameters()) == pytest.approx(millions * 1e6, rel=0.005)

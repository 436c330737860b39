"""Networks that timm does not have, one file each; a line in NETS makes one a backbone."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from onelook.backbones.nets import alexnet_2012, googlenet_2014, lenet5, nin, of_torchvision, zfnet
from onelook.backbones.weights import Preprocess


@dataclass(frozen=True)
class Net:
    """How to build a network, what pixels it expects, and (``pretrained``) how to get it with published weights, if there are any."""

    build: Callable[[], nn.Module]
    preprocess: Preprocess
    pretrained: Callable[[], nn.Module] | None = None
    licence: str = "none"


NETS = {
    "lenet5": Net(lenet5.lenet5, lenet5.PREPROCESS),
    "alexnet_2012": Net(alexnet_2012.alexnet_2012, alexnet_2012.PREPROCESS),
    "zfnet": Net(zfnet.zfnet, zfnet.PREPROCESS),
    "nin": Net(nin.nin, nin.PREPROCESS),
    "googlenet_2014": Net(googlenet_2014.googlenet_2014, googlenet_2014.PREPROCESS),
    "alexnet": Net(of_torchvision.alexnet, of_torchvision.ALEXNET, lambda: of_torchvision.alexnet(True), "BSD-3-Clause"),
    "googlenet": Net(of_torchvision.googlenet, of_torchvision.GOOGLENET, lambda: of_torchvision.googlenet(True), "BSD-3-Clause"),
}

"""Network in Network: 1 x 1 convolutions behind every convolution, and no dense layer; 966,986 parameters for ten classes.

Lin, Chen, Yan 2014, "Network in network", sections 3 and 4.2, with the layer widths of the authors' published CIFAR-10 network
(192-160-96, 192-192-192, 192-192-classes). Differs: the last 1 x 1 convolution has no ReLU; it then commutes with the global
average and is written as a linear layer behind it, so that the averaged 192 maps are an embedding.

    onelook train photos/ --name kind --model nin.onelook --backbone nin
"""

from itertools import pairwise

from torch import nn

from onelook.backbones.nets.chain import Chain, started
from onelook.backbones.weights import Preprocess

PREPROCESS = Preprocess(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bilinear", 1.0)


def mlpconv(channels: int, widths: tuple[int, ...], kernel: int) -> nn.Sequential:
    """A convolution of ``widths[0]`` maps and a small perceptron slid over its result: one 1 x 1 convolution per further width."""
    layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], kernel, padding=kernel // 2), nn.ReLU()]
    for wide, narrow in pairwise(widths):
        layers += [nn.Conv2d(wide, narrow, 1), nn.ReLU()]
    return nn.Sequential(*layers)


def nin(classes: int = 10) -> nn.Module:
    """The network for 32 x 32 pictures; larger ones are averaged all the same."""
    features = {
        "mlpconv1": mlpconv(3, (192, 160, 96), 5),  # (B, 96, 32, 32)
        "pool1": nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.Dropout(0.5)),  # (B, 96, 16, 16)
        "mlpconv2": mlpconv(96, (192, 192, 192), 5),
        "pool2": nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.Dropout(0.5)),  # (B, 192, 8, 8)
        "mlpconv3": mlpconv(192, (192, 192), 3),
    }
    return started(Chain(features, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1)), nn.Linear(192, classes), 192))

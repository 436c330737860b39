"""The Inception module, with and without its 1 x 1 bottlenecks, and GoogLeNet of 2014 built from nine of them.

Szegedy et al. 2015, "Going deeper with convolutions", figure 2 (a: naive, b: with dimension reduction) and table 1; 7.0 M
parameters. Differs: no auxiliary classifiers. ``googlenet`` is torchvision's, with batch normalisation and with 3 x 3 filters
where the paper has 5 x 5, for which weights are published.

    onelook info --backbone googlenet_2014
"""

import torch
from torch import Tensor, nn

from onelook.backbones.nets.alexnet_2012 import PREPROCESS as PREPROCESS
from onelook.backbones.nets.alexnet_2012 import response_norm
from onelook.backbones.nets.chain import Chain, started

TABLE_1 = {  # module: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def conv(channels: int, maps: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size (but for its stride), and a ReLU."""
    return nn.Sequential(nn.Conv2d(channels, maps, kernel, stride, padding=kernel // 2), nn.ReLU())


class Inception(nn.Module):
    """1 x 1, 3 x 3, ``large`` x ``large`` and pooling side by side, joined by channel: (B, channels, H, W) -> (B, outputs, H, W).

    ``widths``: a row of table 1. Without ``bottleneck`` (figure 2a) the reductions and the pool projection are left out, so
    the pooled branch brings all ``channels``.
    """

    def __init__(self, channels: int, widths: tuple[int, int, int, int, int, int], *, bottleneck: bool = True, large: int = 5) -> None:
        super().__init__()
        one, three_in, three, five_in, five, pool = widths
        self.one = conv(channels, one, 1)
        pooling = nn.MaxPool2d(3, 1, padding=1)
        if bottleneck:
            self.three = nn.Sequential(conv(channels, three_in, 1), conv(three_in, three, 3))
            self.five = nn.Sequential(conv(channels, five_in, 1), conv(five_in, five, large))
            self.pool = nn.Sequential(pooling, conv(channels, pool, 1))
        else:
            self.three = conv(channels, three, 3)
            self.five = conv(channels, five, large)
            self.pool = nn.Sequential(pooling)
        self.outputs = one + three + five + (pool if bottleneck else channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)


def googlenet_2014(classes: int = 1000) -> nn.Module:
    """GoogLeNet, 22 layers deep; weights start as He et al. 2015 set them (the paper gives no starting weights)."""
    features: dict[str, nn.Module] = {
        "conv1": conv(3, 64, 7, 2),  # (B, 64, 112, 112)
        "pool1": nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), response_norm()),  # (B, 64, 56, 56)
        "conv2": nn.Sequential(conv(64, 64, 1), conv(64, 192, 3), response_norm()),
        "pool2": nn.MaxPool2d(3, 2, ceil_mode=True),  # (B, 192, 28, 28)
    }
    channels = 192
    for name, widths in TABLE_1.items():
        module = Inception(channels, widths)
        features[f"inception{name}"] = module
        channels = module.outputs
        if name in ("3b", "4e"):
            features[f"pool{name[0]}"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Dropout(0.4))
    return started(Chain(features, pool, nn.Linear(channels, classes), channels))

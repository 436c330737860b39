"""ZFNet: AlexNet looked into and mended; 7 x 7 filters of stride 2 first, 62.4 M parameters.

Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", section 3 and figure 3 (map sizes 110, 55, 26,
13, 13, 13, 13, 6). Differs: local response normalisation stands for the paper's contrast normalisation across maps, whose
constants it does not give; filters are not renormalised while training; weights start as of He et al. 2015, not with a deviation of
0.01, as in ``alexnet_2012``.

    onelook info --backbone zfnet
"""

from torch import nn

from onelook.backbones.nets.alexnet_2012 import PREPROCESS as PREPROCESS
from onelook.backbones.nets.alexnet_2012 import response_norm
from onelook.backbones.nets.chain import Chain, started


def zfnet(classes: int = 1000) -> nn.Module:
    """The network with random weights."""
    features = {
        "conv1": nn.Sequential(nn.Conv2d(3, 96, 7, 2, padding=1), nn.ReLU()),  # (B, 96, 110, 110)
        "pool1": nn.Sequential(nn.MaxPool2d(3, 2, padding=1), response_norm()),  # (B, 96, 55, 55)
        "conv2": nn.Sequential(nn.Conv2d(96, 256, 5, 2), nn.ReLU()),  # (B, 256, 26, 26)
        "pool2": nn.Sequential(nn.MaxPool2d(3, 2, padding=1), response_norm()),  # (B, 256, 13, 13)
        "conv3": nn.Sequential(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        "conv4": nn.Sequential(nn.Conv2d(384, 384, 3, padding=1), nn.ReLU()),
        "conv5": nn.Sequential(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        "pool5": nn.MaxPool2d(3, 2),  # (B, 256, 6, 6)
    }
    dense = (nn.Linear(256 * 36, 4096), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(0.5))
    network = Chain(features, nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Flatten(1), *dense), nn.Linear(4096, classes), 256)
    return started(network)

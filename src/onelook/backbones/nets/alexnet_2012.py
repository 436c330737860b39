"""AlexNet as it won ImageNet in 2012: two groups, local response normalisation, overlapping pooling, 61.0 M parameters.

Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks", sections 3.3 to 3.5
and 5. Differs: the first convolution is padded by 2 (the paper's 224 pixels do not give its 55 x 55 maps otherwise); the
dense layers read 6 x 6 maps, other inputs are averaged to that size; weights start as of He et al. 2015 (the paper's, normal with a
deviation of 0.01, learn more slowly: docs/diary.md). ``alexnet`` is torchvision's one-column form of 2014.

    onelook info --backbone alexnet_2012
"""

from torch import nn

from onelook.backbones.nets.chain import Chain, started
from onelook.backbones.weights import Preprocess

PREPROCESS = Preprocess(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear", 0.875)


def response_norm() -> nn.LocalResponseNorm:
    """b = a / (k + alpha * sum of squares over n = 5 maps) ^ beta, k = 2, alpha = 1e-4, beta = 0.75 (torch divides its alpha by n)."""
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


def alexnet_2012(classes: int = 1000) -> nn.Module:
    """The network with random weights."""
    features = {
        "conv1": nn.Sequential(nn.Conv2d(3, 96, 11, 4, padding=2), nn.ReLU(), response_norm(), nn.MaxPool2d(3, 2)),  # (B, 96, 27, 27)
        "conv2": nn.Sequential(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), response_norm(), nn.MaxPool2d(3, 2)),  # 256, 13, 13
        "conv3": nn.Sequential(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        "conv4": nn.Sequential(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        "conv5": nn.Sequential(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2)),  # (B, 256, 6, 6)
    }
    dense = (nn.Dropout(0.5), nn.Linear(256 * 36, 4096), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4096, 4096), nn.ReLU())
    network = Chain(features, nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Flatten(1), *dense), nn.Linear(4096, classes), 256)
    return started(network)

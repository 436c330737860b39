"""AlexNet and GoogLeNet from torchvision, in the form that ``Backbone`` reads.

Papers: Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014), the one-column AlexNet;
Szegedy et al., "Going deeper with convolutions" (2015), without the auxiliary classifiers and with batch normalisation.
GoogLeNet's published weights expect pixels in -1..1; torchvision converts inside the network, here it is said once,
in GOOGLENET.

    onelook info --backbone random:alexnet
"""

import torchvision
from torch import nn

from onelook.backbones.nets.chain import Chain, started
from onelook.backbones.weights import Preprocess

ALEXNET = Preprocess(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear", 0.875)
GOOGLENET = Preprocess(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear", 0.875)


def alexnet(pretrained: bool = False) -> nn.Module:
    """AlexNet, one column, 61 M parameters; the embedding is its second fully connected layer (4,096)."""
    network = torchvision.models.alexnet(weights="IMAGENET1K_V1" if pretrained else None)
    *layers, last = network.classifier.children()
    pool = nn.Sequential(network.avgpool, nn.Flatten(1), *layers)
    whole = Chain(dict(network.features.named_children()), pool, last, 256)
    return whole if pretrained else started(whole)


def googlenet(pretrained: bool = False) -> nn.Module:
    """GoogLeNet (Inception v1), 6.6 M parameters; the embedding is its pooled last map (1,024)."""
    network = torchvision.models.googlenet(weights="IMAGENET1K_V1" if pretrained else None, init_weights=False, aux_logits=True)
    behind = ("aux1", "aux2", "avgpool", "dropout", "fc")
    pieces = {name: piece for name, piece in network.named_children() if name not in behind}
    return Chain(pieces, nn.Sequential(network.avgpool, nn.Flatten(1)), network.fc, 1024)

"""Pieces in a row, then an embedding and a classifier: the form in which ``Backbone`` reads networks that timm does not have."""

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn


class Chain(nn.Module):
    """``features`` (B, 3, H, W) -> a map; ``pool`` -> the embedding (B, D), dense layers included; ``classifier`` -> logits.

    Has timm's four verbs: ``forward_features``, ``forward_head``, ``get_classifier``, ``reset_classifier``.
    """

    def __init__(self, features: Mapping[str, nn.Module], pool: nn.Module, classifier: nn.Linear, num_features: int) -> None:
        super().__init__()
        self.features = nn.Sequential()
        for name, piece in features.items():
            self.features.add_module(name, piece)
        self.pool = pool
        self.classifier: nn.Linear | nn.Identity = classifier
        self.num_features = num_features

    def forward_features(self, x: Tensor) -> Tensor:
        found: Tensor = self.features(x)
        return found

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        embedding: Tensor = self.pool(x)
        return embedding if pre_logits else self.classifier(embedding)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        return self.classifier

    def reset_classifier(self, num_classes: int) -> None:
        """Another number of classes; 0 leaves the embedding as it is."""
        old = self.classifier
        self.classifier = nn.Linear(cast(nn.Linear, old).in_features, num_classes) if num_classes else nn.Identity()


def started(network: Chain) -> Chain:
    """A network of rectifiers with weights to train from: normal, deviation sqrt(2 / inputs), biases 0 (He et al. 2015, section 2.2)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            start_bias(module)
    return network


def start_bias(layer: nn.Conv2d | nn.Linear, value: float = 0.0) -> None:
    """Set a layer's bias, where it has one, to one value."""
    if layer.bias is not None:
        nn.init.constant_(layer.bias, value)

"""A judge that did not paint: how far a picture is from a style and from a content, by the features of another network.

Style: the squared difference of Gram matrices over the squares of the style's, mean over layers (0: the same texture). Content: the squared
difference of a layer's outputs over the content's squares (0: the same picture; 1: as far as a picture of nothing). Pictures are looked
at with a longer side of 384 pixels at most. Figures of different judges cannot be compared.

    onelook style photo.jpg painting.jpg --json
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from onelook.backbones.bfloat16 import bfloat16_autocast
from onelook.backbones.packages import PackageMissing
from onelook.backbones.weights import DEFAULT_BACKBONE
from onelook.errors import WeightsMissing
from onelook.style.losses import Content, Features, gram
from onelook.style.networks import RANDOM, StyleNetwork, load_network
from onelook.style.painter import SHORTEST, Stage, scaled, to_tensor

SIDE = 384  # pixels of the longer side
JUDGES = ("hed", DEFAULT_BACKBONE, RANDOM)  # the first that is here and did not paint


@dataclass(frozen=True)
class Verdict:
    """How far from the style and from the content, 0 the same."""

    style: float
    content: float


class Judge:
    """Knows one content and its styles (with weights that add up to 1); call it with what was painted. ``side``: of what will be."""

    def __init__(
        self, network: StyleNetwork, content: Image.Image, styles: Sequence[tuple[float, Image.Image]], side: int = SIDE
    ) -> None:  # fmt: skip
        self.network = network
        side = min(side, SIDE)
        self._size = _size(content, side)
        self._content = self._look(content, self._size)
        shares = [(weight, self._grams(self._look(style, _size(style, side)))) for weight, style in styles]
        self._grams_wanted = {layer: sum(weight * grams[layer] for weight, grams in shares) for layer in network.facts.style}

    @property
    def name(self) -> str:
        return self.network.facts.name

    def __call__(self, picture: Image.Image) -> Verdict:
        """Of an RGB picture of any size."""
        features = self._look(picture, self._size)
        found = self._grams(features)
        styles = [
            float((found[layer] - wanted).square().sum() / torch.as_tensor(wanted).square().sum())
            for layer, wanted in self._grams_wanted.items()
        ]
        contents = [float(Content(layer, relative=True).value(features, self._content)) for layer in self.network.facts.content]
        return Verdict(sum(styles) / len(styles), sum(contents) / len(contents))

    def _look(self, picture: Image.Image, size: tuple[int, int]) -> Features:
        with torch.inference_mode(), bfloat16_autocast(False):
            small = to_tensor(scaled(picture, Stage(*size, 1)))
            found: Features = self.network(small, {*self.network.facts.style, *self.network.facts.content})
        return found

    def _grams(self, features: Features) -> dict[str, Tensor]:
        return {layer: gram(features[layer]) for layer in self.network.facts.style}


def find_judge(painter: str) -> StyleNetwork:
    """The best judge that is installed and is not the network that paints."""
    for name in JUDGES:
        if name != painter:
            try:
                return load_network(name)
            except (PackageMissing, WeightsMissing):
                continue
    raise AssertionError("random filters are always there")


def _size(picture: Image.Image, side: int) -> tuple[int, int]:
    """Width and height at which it is looked at."""
    scale = side / max(picture.size)
    return max(SHORTEST, round(picture.width * scale)), max(SHORTEST, round(picture.height * scale))

"""What a head that reads maps is told before it is trained: names, the backbone's sizes, examples of targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from onelook.objects import Layout, Objects

Attach = Literal["conv", "embedding"]
Loss = Literal["ce", "dice", "focal"]  # of pixels; dice: beside the cross entropy


@dataclass(frozen=True)
class PixelFacts:
    """How pixels are to be learned: ``loss``; ``borders``: whether gaps between touching objects weigh more; ``width``: channels of the
    first maps of a network trained from scratch. ``counts``: training pixels of each class; ``scale``: pixels of the input for one of a
    training picture.
    """

    loss: Loss = "ce"
    borders: bool = False
    width: int = 16
    counts: tuple[int, ...] = ()
    scale: float = 1.0


@dataclass(frozen=True)
class Facts:
    """``channels``: by stride. ``examples``: training objects in input pixels, from which shapes may be chosen. ``layout``: of key points.

    ``attach``: what a head of one answer a picture reads: the last map (conv), or the embedding behind the network's own pooling.
    ``pixels``: of heads that say what every pixel is.
    """

    classes: tuple[str, ...]
    channels: Mapping[int, int]
    embedding_size: int
    examples: Sequence[Objects] = ()
    layout: Layout | None = None
    attach: Attach = "conv"
    pixels: PixelFacts = field(default_factory=PixelFacts)

    def pick(self, strides: Sequence[int]) -> dict[str, int]:
        """The channels of those of these strides that the backbone has, its coarsest if it has none; as a configuration keeps them."""
        there = [stride for stride in strides if stride in self.channels] or [max(self.channels)]
        return {str(stride): self.channels[stride] for stride in there}

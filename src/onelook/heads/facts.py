"""What a head that finds objects is told before it is trained: names, the backbone's sizes, examples of targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from onelook.objects import Layout, Objects

Attach = Literal["conv", "embedding"]


@dataclass(frozen=True)
class Facts:
    """``channels``: by stride. ``examples``: training objects in input pixels, from which shapes may be chosen. ``layout``: of key points.

    ``attach``: what a head of one answer a picture reads: the last map (conv), or the embedding behind the network's own pooling.
    """

    classes: tuple[str, ...]
    channels: Mapping[int, int]
    embedding_size: int
    examples: Sequence[Objects] = ()
    layout: Layout | None = None
    attach: Attach = "conv"

    def pick(self, strides: Sequence[int]) -> dict[str, int]:
        """The channels of those of these strides that the backbone has, its coarsest if it has none; as a configuration keeps them."""
        there = [stride for stride in strides if stride in self.channels] or [max(self.channels)]
        return {str(stride): self.channels[stride] for stride in there}

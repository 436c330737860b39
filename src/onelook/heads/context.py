"""What an untrained head is told: the names of its answers, the backbone's sizes, and examples of its targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onelook.geometry.masks import Mask
from onelook.geometry.objects import Layout, Objects


@dataclass(frozen=True)
class Context:
    """``kind``: of the targets, see ``onelook.data.kinds``. ``channels``: of the backbone's maps, by stride. ``examples``: training objects
    in input pixels, from which shapes may be chosen. ``masks``: of the training pictures; ``scale``: pixels of the input for one of theirs.
    ``layout``: of key points.
    """

    classes: tuple[str, ...]
    channels: Mapping[int, int]
    embedding_size: int
    kind: str = "single"
    examples: Sequence[Objects] = ()
    masks: Sequence[Mask] = ()
    scale: float = 1.0
    layout: Layout | None = None

    def pick(self, strides: Sequence[int]) -> dict[str, int]:
        """The channels of those of these strides that the backbone has, its coarsest if it has none; as a configuration keeps them."""
        there = [stride for stride in strides if stride in self.channels] or [max(self.channels)]
        return {str(stride): self.channels[stride] for stride in there}

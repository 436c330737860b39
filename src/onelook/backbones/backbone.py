"""A pretrained CNN cut into stages, with the facts that others would otherwise have to guess.

Any timm CNN, the networks of ``onelook.backbones.nets`` (LeNet-5, AlexNet, ZFNet ...), and the default: EfficientNet-Lite0, whose ImageNet
weights are installed with this package. A network is cut where its maps halve; the cut is accepted only if the stages, run one
after the other, give the tensor that the network's own ``forward_features`` gives.

    python -c "from onelook import Backbone; print(Backbone.load().summary())"
"""

import json
from collections import Counter
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from onelook.backbones import weights
from onelook.backbones.by_name import build
from onelook.backbones.cut import cut_into_stages, cuttable
from onelook.backbones.weights import DEFAULT_BACKBONE, Preprocess, Source
from onelook.geometry.placement import PIXELS, Geometry


class Backbone(nn.Module):
    """A CNN as a list of stages; ``run`` computes any slice of them.

    ``strides``: one per stage output that heads may read, ascending; stage i ends at ``strides[i]``. What the network
    computes behind its last map is the *final* stage (index ``len(strides)``); ``embed`` reads its output.
    ``channels``: stride -> C. ``size_multiple``: inputs are padded to multiples of it.
    """

    def __init__(self, name: str, network: nn.Module, preprocess: Preprocess, source: Source) -> None:
        super().__init__()
        self.name = name
        self.preprocess = preprocess
        self.source = source
        self.network = network.eval().requires_grad_(False)
        cut = cut_into_stages(name, network, preprocess.size)
        self.stages = nn.ModuleList([nn.Sequential(*pieces) for pieces in cut.stages])
        self.strides = cut.strides
        self.channels = cut.channels
        self.can_split = cut.can_split
        self.embedding_size = cut.embedding_size
        self.size_multiple = max(self.strides)

    @staticmethod
    def load(name: str = DEFAULT_BACKBONE, *, weights_file: Path | str | None = None) -> "Backbone":
        """The backbone ``name`` with its pretrained weights, from the package, from ``weights_file``, or from the hub.

        ``random:NAME`` builds it with random weights (for training from scratch), as does a name for which no weights were
        ever published. Raises BackboneError
        for an unknown name or a network that is no CNN, WeightsMissing where weights cannot be had.
        """
        network, preprocess, source = build(name, None if weights_file is None else Path(weights_file))
        return Backbone(name, network, preprocess, source)

    def run(self, x: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Run stages ``start`` to ``stop`` (as in a slice) on the output of the stage before ``start``."""
        for stage in list(self.stages)[start:stop]:
            x = stage(x)
        return x

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Normalised pixels (B, 3, H, W) -> the map of every stride, ascending, then the final stage's output."""
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        if len(outputs) == len(self.strides):
            outputs.append(x)
        return tuple(outputs)

    def embed(self, final: Tensor) -> Tensor:
        """The final stage's output (B, C, h, w) -> the embedding (B, D), through the network's own pooling."""
        return cuttable(self.network).forward_head(final, pre_logits=True)

    def normalize(self, pixels: Tensor) -> Tensor:
        """RGB bytes (..., 3, H, W) -> float32 as these weights expect them."""
        mean, deviation = self.colours
        return (pixels.float() - mean) / deviation

    @property
    def colours(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation (3, 1, 1) of red, green and blue bytes by which these weights expect them normalised."""
        mean, deviation = (torch.tensor(three).view(3, 1, 1) * 255 for three in (self.preprocess.mean, self.preprocess.std))
        return mean, deviation

    @property
    def stage_names(self) -> tuple[str, ...]:
        """``stride2``, ``stride4`` ... by the stride at which a stage ends; ``final`` is what comes behind the last map."""
        return (*(f"stride{stride}" for stride in self.strides), "final")[: len(self.stages)]

    def stride_before(self, cut: int) -> int:
        """The stride of the map that stage number ``cut`` reads; 1, the pixels, for the first."""
        return self.strides[cut - 1] if cut else PIXELS

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    @property
    def classifier(self) -> nn.Linear | None:
        """The network's own last layer, embedding -> logits, where it has one."""
        layer = cuttable(self.network).get_classifier()
        return layer if isinstance(layer, nn.Linear) else None

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Names of the 1,000 ImageNet classes in the order of ``classifier``; empty for any other classifier."""
        if self.source.kind == "random" or self.classifier is None or self.classifier.out_features != 1000:
            return ()
        from timm.data import ImageNetInfo

        info = ImageNetInfo()
        names = [info.index_to_description(index).split(",")[0] for index in range(1000)]
        twice = {name for name, count in Counter(names).items() if count > 1}  # crane (a bird, a machine) and maillot
        return tuple(f"{name} ({info.index_to_label_name(i)})" if name in twice else name for i, name in enumerate(names))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of weights, preprocessing and stage cut: looks of equal fingerprints are interchangeable."""
        facts = json.dumps([self.name, asdict(self.preprocess), self.strides, list(self.channels.values())])
        return weights.fingerprint(self.network.state_dict(), facts)

    def own_geometry(self) -> Geometry:
        """The geometry that the weights were evaluated with: a centre crop at the network's own size."""
        return Geometry(self.preprocess.size, "crop", self.size_multiple, self.preprocess.crop_share)

    @cached_property
    def _shapes(self) -> dict[tuple[int, int], dict[int, tuple[int, int]]]:
        return {}

    def map_sizes(self, height: int, width: int) -> dict[int, tuple[int, int]]:
        """Stride -> (height, width) of its map for an input of this size."""
        if (height, width) not in self._shapes:
            with torch.inference_mode():
                maps = self(torch.zeros(1, 3, height, width, device=self.device))
            self._shapes[height, width] = {
                stride: (int(value.shape[2]), int(value.shape[3])) for stride, value in zip(self.strides, maps, strict=False)
            }
        return self._shapes[height, width]

    @property
    def embedding_layers(self) -> nn.ModuleList:
        """Layers with weights between the final stage and the classifier, such as AlexNet's two dense ones; mostly there are none."""
        apart = {*self.stages.modules(), self.classifier}
        return nn.ModuleList(
            module for module in self.network.modules() if module not in apart and any(True for _ in module.parameters(recurse=False))
        )

    def parameter_count(self) -> int:
        """Parameters of what leads to the embedding (the classifier not counted)."""
        return sum(parameter.numel() for part in (self.stages, self.embedding_layers) for parameter in part.parameters())

    def summary(self) -> str:
        """One line: name, strides with channels, parameters, weights, licence."""
        maps = ", ".join(f"{stride}: {self.channels[stride]}" for stride in self.strides)
        return (
            f"{self.name} {{{maps}}}, embedding {self.embedding_size}, {self.parameter_count() / 1e6:.1f} M parameters, "
            f"weights: {self.source.name} ({self.source.licence}), fingerprint {self.fingerprint}"
        )

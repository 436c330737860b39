"""A pretrained CNN cut into stages, with the facts that others would otherwise have to guess.

Any timm CNN, the networks of ``onelook.backbones.nets`` (LeNet-5, AlexNet, ZFNet ...), and the default: EfficientNet-Lite0, whose ImageNet
weights are installed with this package. A network is cut where its maps halve; the cut is accepted only if the stages, run one
after the other, give the tensor that the network's own ``forward_features`` gives.

    python -c "from onelook import Backbone; print(Backbone.load().summary())"
"""

import difflib
import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from onelook.backbones import weights
from onelook.backbones.nets import NETS
from onelook.backbones.weights import DEFAULT_BACKBONE, PACKAGED, Preprocess, Source
from onelook.errors import BackboneError
from onelook.facts import Facts
from onelook.geometry.placement import PIXELS, Geometry


class CutNetwork(Protocol):
    """What is asked of a network that is to be cut: timm's verbs, which ``onelook.backbones.nets`` have too."""

    num_features: int
    pretrained_cfg: Facts

    def forward_features(self, x: Tensor) -> Tensor: ...
    def forward_head(self, x: Tensor, pre_logits: bool) -> Tensor: ...
    def get_classifier(self) -> nn.Module: ...
    def reset_classifier(self, num_classes: int) -> None: ...


def cuttable(network: nn.Module) -> CutNetwork:
    """A network as one that can be asked for its parts."""
    return cast(CutNetwork, network)


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
        cut = _cut(name, network, preprocess.size)
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
        network, preprocess, source = _build(name, None if weights_file is None else Path(weights_file))
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


@dataclass(frozen=True)
class _Cut:
    stages: list[list[nn.Module]]
    strides: tuple[int, ...]
    channels: dict[int, int]
    embedding_size: int
    can_split: bool


@torch.inference_mode()
def _cut(name: str, network: nn.Module, size: int) -> _Cut:
    """Cut a network where its maps halve, after checking that its children in a row are its ``forward_features``."""
    whole = cuttable(network)
    probe = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    final = whole.forward_features(probe)
    if not isinstance(final, Tensor) or final.ndim != 4 or final.shape[1] != whole.num_features:
        raise BackboneError(f"{name} does not end in one map (B, C, H, W); onelook reads CNNs such as resnet50 or convnext_tiny")
    pieces, outputs = _pieces_in_a_row(network, probe, final)
    embedding_size = int(whole.forward_head(final, pre_logits=True).shape[1])
    if not pieces:
        stride = _stride(size, final)
        return _Cut([[_Features(network)]], (stride,), {stride: int(final.shape[1])}, embedding_size, False)
    last_map = _last_map(network, [piece for piece, _ in pieces])
    ends: dict[int, int] = {}
    for index, output in enumerate(outputs[: last_map + 1]):
        stride = _stride(size, output)
        if stride > 1:
            ends[stride] = index
    strides = tuple(sorted(ends))
    if [ends[stride] for stride in strides] != sorted(ends.values()):
        raise BackboneError(f"{name} does not halve its maps one after the other; it cannot be cut into stages")
    modules = [module for _, module in pieces]
    starts = [0, *(ends[stride] + 1 for stride in strides)]
    stages = [modules[start:stop] for start, stop in zip(starts, [*starts[1:], len(modules)], strict=True)]
    if not any(True for module in stages[-1] for _ in module.state_dict()):  # nothing behind the last map but identities
        stages = [*stages[:-2], stages[-2] + stages[-1]]
    channels = {stride: int(outputs[ends[stride]].shape[1]) for stride in strides}
    return _Cut(stages, strides, channels, embedding_size, True)


def _pieces_in_a_row(network: nn.Module, probe: Tensor, final: Tensor) -> tuple[list[tuple[str, nn.Module]], list[Tensor]]:
    """The children (containers opened once) that reproduce ``final``, with their outputs; else nothing."""
    children: list[tuple[str, nn.Module]] = []
    for name, module in network.named_children():
        if isinstance(module, nn.Sequential):
            children += [(f"{name}.{inner}", piece) for inner, piece in module.named_children()]
        else:
            children.append((name, module))
    x, outputs = probe, []
    for index, (_, module) in enumerate(children):
        try:
            x = module(x.clone())  # in-place activations must not reach into the stored output
        except (RuntimeError, TypeError, NotImplementedError, ValueError):
            break
        if not isinstance(x, Tensor) or x.ndim != 4:
            break
        outputs.append(x.clone())
        if _same(x, final):  # the first that does: what follows may be the identity at this size only (AlexNet's adaptive pool)
            return children[: index + 1], outputs
    return [], []


def _same(ours: Tensor, theirs: Tensor) -> bool:
    """Equal but for the last bits, in which two runs of one convolution may differ with the alignment of memory."""
    return ours.shape == theirs.shape and float((ours - theirs).abs().max()) <= 1e-5 * float(theirs.abs().max())


def _last_map(network: nn.Module, names: list[str]) -> int:
    """The index of the piece that makes the last map that timm publishes; the last piece where it publishes none."""
    published = getattr(network, "feature_info", None)
    if published:
        module = published[-1]["module"]
        if module in names:
            return names.index(module)
        inside = [index for index, name in enumerate(names) if name.startswith(module + ".")]
        if inside:
            return inside[-1]
    return len(names) - 1


def _stride(size: int, output: Tensor) -> int:
    return int(2 ** round(math.log2(size / output.shape[-1])))


class _Features(nn.Module):
    """A network that cannot be split, as one stage."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return cuttable(self.network).forward_features(x)


def _build(name: str, weights_file: Path | None) -> tuple[nn.Module, Preprocess, Source]:
    """The network, its preprocessing and where its weights came from."""
    if name in PACKAGED:
        network = _timm(f"tf_{name}")
        path = weights_file or weights.packaged(name)
        weights.load_weights(network, weights.read_state(path), str(path))
        kind = "file" if weights_file else "package"
        licence = "not stated" if weights_file else "Apache-2.0"
        return network, _timm_preprocess(network), Source(kind, path.name, licence, path.stat().st_size)
    random, name = name.startswith("random:"), name.removeprefix("random:")
    network, preprocess, pretrained, licence = _architecture(f"tf_{name}" if name in PACKAGED else name)
    if weights_file and not random:
        weights.load_weights(network, weights.read_state(weights_file), str(weights_file))
        return network, preprocess, Source("file", weights_file.name, "not stated", weights_file.stat().st_size)
    if random or pretrained is None:
        return network, preprocess, Source("random", "random", "none")
    size = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    repository = getattr(network, "pretrained_cfg", {}).get("hf_hub_id")
    network = weights.from_hub(name, repository, pretrained, size, licence)
    return network, preprocess, Source("hub", repository or name, licence, size)


def architecture(name: str) -> tuple[nn.Module, Preprocess]:
    """A network by its name, with starting weights, and what pixels it expects; whether or not it can be cut. Raises BackboneError."""
    name = name.removeprefix("random:")
    network, preprocess, _, _ = _architecture(f"tf_{name}" if name in PACKAGED else name)
    return network, preprocess


def _architecture(name: str) -> tuple[nn.Module, Preprocess, Callable[[], nn.Module] | None, str]:
    """A network with starting weights, its preprocessing, how to get it with published weights (None: there are none), their licence."""
    if name in NETS:
        net = NETS[name]
        return net.build(), net.preprocess, net.pretrained, net.licence
    network = _timm(name)
    facts: Facts = getattr(network, "pretrained_cfg", {})
    return network, _timm_preprocess(network), lambda: _timm(name, pretrained=True), facts.get("license") or "not stated"


def _timm(name: str, *, pretrained: bool = False) -> nn.Module:
    import timm

    architecture = name.split(".")[0]
    if not timm.is_model(architecture):
        known = [*PACKAGED, *NETS, *timm.list_models()]
        near = difflib.get_close_matches(architecture, known, 3) or ["resnet50", "convnext_tiny", DEFAULT_BACKBONE]
        raise BackboneError(f"backbone {name!r} is unknown; did you mean {', '.join(near)}?")
    network: nn.Module = timm.create_model(name, pretrained=pretrained)
    return network


def _timm_preprocess(network: nn.Module) -> Preprocess:
    facts = cuttable(network).pretrained_cfg
    return Preprocess(
        int(facts["input_size"][-1]),
        tuple(facts["mean"]),
        tuple(facts["std"]),
        str(facts["interpolation"]),
        float(facts["crop_pct"]),
    )

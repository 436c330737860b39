"""Networks by name: where they are built, with which weights, and what pixels they expect.

Any timm CNN, the networks of ``onelook.backbones.nets`` (LeNet-5, AlexNet, ZFNet ...), and those whose ImageNet weights are installed with
a package; ``random:NAME`` is one of them with random weights.

    onelook info --backbone random:alexnet_2012
"""

import difflib
from collections.abc import Callable
from pathlib import Path

from torch import nn

from onelook.backbones import weights
from onelook.backbones.cut import cuttable
from onelook.backbones.nets import NETS
from onelook.backbones.weights import DEFAULT_BACKBONE, PACKAGED, Preprocess, Source
from onelook.errors import BackboneError
from onelook.facts import Facts


def build(name: str, weights_file: Path | None) -> tuple[nn.Module, Preprocess, Source]:
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

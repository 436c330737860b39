"""How a frozen backbone is run fast: onnxruntime on CPU, torch with channels_last and autocast on CUDA.

Both engines return the same tensors: the map of every stride and the final stage's output. The network is exported
once, always with all its outputs, so that what one head reads never depends on which other heads there are. A session
is checked against torch, for every input size that it meets, before its answers are used; where it is further than
TOLERANCE away, or cannot be made, torch does the work and the reason is said.

    onelook bench
"""

import contextlib
import io
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from onelook.backbone import Backbone

TOLERANCE = 1e-4  # largest allowed difference, relative to each map's largest value
EXPORT_VERSION = 1


class Engine(Protocol):
    """Runs a frozen backbone."""

    name: str

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """Normalised pixels (B, 3, H, W) on the CPU -> what ``Backbone.forward`` returns, on ``device``."""


class TorchEngine:
    """The backbone as it is: channels_last, in half precision on CUDA."""

    def __init__(self, backbone: Backbone, device: str = "cpu") -> None:
        self.name = f"torch ({device})"
        self.backbone = backbone.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = device

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        x = x.to(self.device, memory_format=torch.channels_last)
        with torch.autocast("cuda", torch.float16, enabled=self.device == "cuda"):
            outputs: tuple[Tensor, ...] = self.backbone(x)
        return tuple(output.float() for output in outputs)


class OnnxEngine:
    """The backbone exported to ONNX, run by onnxruntime on the CPU; falls back to torch where the two differ."""

    def __init__(self, backbone: Backbone, path: Path) -> None:
        import onnxruntime

        if not path.exists():
            _export(backbone, path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.name = "onnxruntime"
        self.backbone = backbone
        self.agrees: dict[tuple[int, int], bool] = {}

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        size = (int(x.shape[2]), int(x.shape[3]))
        if size not in self.agrees:
            self.agrees[size] = self._agrees(x[:1])
        if not self.agrees[size]:
            outputs: tuple[Tensor, ...] = self.backbone(x)
            return outputs
        return self._run(x)

    def _run(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = self.session.run(None, {"pixels": np.ascontiguousarray(x.numpy())})
        return tuple(torch.from_numpy(output) for output in outputs)

    def _agrees(self, x: Tensor) -> bool:
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


def make_engine(backbone: Backbone, folder: Path, device: str = "auto") -> Engine:
    """The fastest engine that gives the backbone's own answers; exported files are kept in ``folder``."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device != "cpu":
        return TorchEngine(backbone, device)
    try:
        return OnnxEngine(backbone, folder / f"{backbone.fingerprint}-{EXPORT_VERSION}.onnx")
    except Exception as error:  # export can fail in as many ways as there are networks; torch always works
        sys.stderr.write(f"onnxruntime cannot be used ({(str(error).splitlines() or ['?'])[0][:120]}); torch runs the backbone\n")
        return TorchEngine(backbone)


def _export(backbone: Backbone, path: Path) -> None:
    """Write the backbone as ONNX with free batch, height and width.

    It is traced at one size and the three axes are then freed, which is right for networks made of convolutions; for
    any other the check at each new size says so.
    """
    import onnx

    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.write(f"preparing {backbone.name} for onnxruntime, once ...\n")
    size = backbone.preprocess.size
    names = [f"stage{index}" for index in range(len(backbone.strides) + 1)]
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            exported = torch.export.export(backbone, (torch.zeros(1, 3, size, size),))
            program = torch.onnx.export(exported, (), input_names=["pixels"], output_names=names, dynamo=True, verbose=False)
    finally:
        quiet.setLevel(level)
    assert program is not None
    model = program.model_proto
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        for axis, free in ((0, "batch"), (2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{free}"
    partial = path.with_suffix(f".{os.getpid()}.partial")
    onnx.save(model, partial)
    partial.replace(path)

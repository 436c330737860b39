"""ONNX: free batch, height and width; facts in the metadata under "onelook". With ``quantize`` in eight bits.

The tracer of ``torch.onnx`` follows sizes that a graph computes; the newer exporter cannot free them here (docs/diary.md).

    onelook export mine.onelook --to onnx --out mine.onnx
"""

import tempfile
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onelook.export.graph import Graph
from onelook.export.target import Ask, Target, words
from onelook.facts import Facts

FREE = ("batch", "height", "width")
OPSET = 18


class Onnx(Target):
    """One ``.onnx`` file, for onnxruntime."""

    name, suffix = "onnx", ".onnx"

    def write(self, graph: Graph, example: Tensor, facts: Facts, path: Path) -> None:
        import onnx

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer: that numbers are fixed, which the comparison judges
            torch.onnx.export(
                graph, (example,), str(path), input_names=["pixels"], output_names=list(graph.names),
                dynamic_axes={"pixels": dict(enumerate(FREE))}, opset_version=OPSET, dynamo=False,
                do_constant_folding=False,  # weights would be kept twice, as they are and transposed
            )  # fmt: skip
        model = onnx.load(str(path))
        del model.graph.value_info[:]
        onnx.helper.set_model_props(model, {"onelook": words(facts)})
        onnx.save(model, str(path))

    def open(self, path: Path) -> Ask:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]

        def ask(pixels: np.ndarray) -> Mapping[str, np.ndarray]:
            return dict(zip(names, session.run(None, {"pixels": pixels}), strict=True))

        return ask


def quantize(path: Path, out: Path, pictures: Iterable[np.ndarray]) -> None:
    """Write an ONNX file with the backbone's convolutions in eight bits, their ranges taken from pictures (1, h, w, 3); heads stay."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(pictures)

        def get_next(self) -> dict[str, Any] | None:
            pixels = next(self.rest, None)
            return None if pixels is None else {"pixels": pixels}

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        heads = [node.name for node in onnx.load(str(prepared)).graph.node if not node.name.startswith("/backbone")]
        quantize_static(
            str(prepared), str(out), Reader(), per_channel=True, op_types_to_quantize=["Conv", "Clip", "Relu"], nodes_to_exclude=heads,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip

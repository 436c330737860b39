"""OpenVINO: an ``.xml`` with its ``.bin``, of the ONNX file; weights in float32, and computed in float32 by default, too.

On processors that multiply bfloat16 OpenVINO's CPU plugin computes in it unless every program that reads the file says otherwise: answers
are then off by several per cent. It leaves out operations that are marked as precise, but loses the mark when it writes one operation
as another, so the graph is written in those that it computes itself: an older version, a reciprocal, a 1x1 convolution.

    onelook export mine.onelook --to openvino --out mine.xml
"""

import math
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from onelook.export.graph import Graph
from onelook.export.onnx import Onnx
from onelook.export.target import Ask, Target, words
from onelook.facts import Facts

PRECISE = "precise_0"  # the mark of an operation that is not to be computed in fewer bits
BLOCK = 32  # terms that are added up before blocks of them are
FEW = 4_000_000  # weights of a layer that are multiplied one by one
Node = Any  # OpenVINO's own types are known only where it is installed


class OpenVino(Target):
    """Two files, ``.xml`` and ``.bin``, for OpenVINO's runtime."""

    name, suffix, packages, extra = "openvino", ".xml", ("openvino",), "openvino"

    def write(self, graph: Graph, example: Tensor, facts: Facts, path: Path) -> None:
        openvino = runtime()
        onnx = path.with_suffix(".onnx")
        Onnx().write(graph, example, facts, onnx)
        model = openvino.convert_model(str(onnx))
        onnx.unlink()
        compute_in_float32(model)
        model.set_rt_info(words(facts), "onelook")
        openvino.save_model(model, str(path), compress_to_fp16=False)

    def open(self, path: Path) -> Ask:
        core = runtime().Core()
        compiled = core.compile_model(core.read_model(str(path)), "CPU")

        def ask(pixels: np.ndarray) -> Mapping[str, np.ndarray]:
            found = compiled({"pixels": pixels})
            return {name: np.array(found[output]) for output in compiled.outputs for name in output.get_names()}

        return ask

    def files(self, path: Path) -> list[Path]:
        return [path, path.with_suffix(".bin")]


def runtime() -> Any:
    """The package, which is kept from looking up an analytics host when it is imported."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module("openvino")


def compute_in_float32(model: Any) -> None:
    """Write a model's operations as the CPU plugin computes them, and mark all of them as precise."""
    for node in list(model.get_ordered_ops()):
        rewrite = REWRITTEN.get(node.get_type_name())
        used = [port for port in node.outputs() if port.get_target_inputs()]
        if rewrite is None or used != node.outputs()[:1] or node.get_output_element_type(0).to_string() not in ("f32", "f64", "u8"):
            continue
        other = rewrite(node, [port.get_source_output() for port in node.inputs()])
        if other is not None:
            other.set_friendly_name(node.get_friendly_name())
            for place in list(node.output(0).get_target_inputs()):
                place.replace_source_output(other.output(0))
            for name in node.output(0).get_names():
                other.output(0).add_names({name})
    model.validate_nodes_and_infer_types()
    for node in model.get_ops():
        node.get_rt_info()[PRECISE] = ""


def _ops() -> Any:
    return import_module("openvino.opset1")


def _pad(node: Node, inputs: list[Any]) -> Node:
    return _ops().pad(*inputs[:3], node.get_attributes()["pad_mode"], inputs[3])


def _softmax(node: Node, inputs: list[Any]) -> Node:
    return _ops().softmax(inputs[0], axis=node.get_attributes()["axis"] % len(inputs[0].get_partial_shape()))


def _divide(node: Node, inputs: list[Any]) -> Node | None:
    """By a constant: times its reciprocal."""
    below = _constant(inputs[1])
    return None if below is None else _ops().multiply(inputs[0], _ops().constant((1 / below.astype(np.float64)).astype(below.dtype)))


def _square(node: Node, inputs: list[Any]) -> Node | None:
    """A difference times itself."""
    one, other = (port.get_node() for port in inputs)
    if one.get_type_name() != "Subtract" or one.get_friendly_name() != other.get_friendly_name():
        return None
    return _ops().squared_difference(*(port.get_source_output() for port in one.inputs()))


def _unsqueeze(node: Node, inputs: list[Any]) -> Node | None:
    rank, axes = len(inputs[0].get_partial_shape()), _constant(inputs[1])
    if axes is None or axes.size != 1:
        return None
    axis = int(axes.reshape(-1)[0]) % (rank + 1)
    if rank - axis > 1:
        return None
    return _ops().reshape(inputs[0], _ops().constant(np.array([0] * axis + [1] + [-1] * (rank - axis))), True)


def _matmul(node: Node, inputs: list[Any]) -> Node | None:
    """With constant weights, of rows: products that are added up if they are few, else a 1x1 convolution.

    What stands before the last convolution may be computed in bfloat16 where operations are joined to one without their mark.
    """
    weights = _constant(inputs[1])
    if weights is None or weights.ndim != 2 or len(inputs[0].get_partial_shape()) != 2 or node.get_attributes()["transpose_a"]:
        return None
    if not node.get_attributes()["transpose_b"]:
        weights = weights.T
    if weights.size <= FEW:
        return _sum(inputs[0], weights)
    places = _ops().reshape(inputs[0], _ops().constant(np.array([0, -1, 1, 1])), True)
    kernels = _ops().constant(np.ascontiguousarray(weights)[:, :, None, None])
    return _ops().reduce_sum(_ops().convolution(places, kernels, [1, 1], [0, 0], [0, 0], [1, 1]), _ops().constant(np.array([2, 3])), False)


def _sum(rows: Any, weights: np.ndarray) -> Node:
    """Rows (B, n) by weights (k, n), added up in blocks; of the two sums one is a mean, as equal ones in a row are made one."""
    ops, blocks = _ops(), math.ceil(weights.shape[1] / BLOCK)
    lacking = blocks * BLOCK - weights.shape[1]
    filled = ops.pad(rows, ops.constant(np.array([0, 0])), ops.constant(np.array([0, lacking])), "constant")
    columns = ops.reshape(filled, ops.constant(np.array([0, blocks, BLOCK, 1])), True)
    factors = BLOCK * np.pad(weights, ((0, 0), (0, lacking))).T.reshape(blocks, BLOCK, -1)
    terms = ops.multiply(columns, ops.constant(np.ascontiguousarray(factors)))
    return ops.reduce_sum(ops.reduce_mean(terms, ops.constant(np.array([2])), False), ops.constant(np.array([1])), False)


def _max_pool(node: Node, inputs: list[Any]) -> Node | None:
    facts = node.get_attributes()
    if any(step != 1 for step in facts["dilations"]):
        return None
    shape = (facts[name] for name in ("strides", "pads_begin", "pads_end", "kernel"))
    return _ops().max_pool(inputs[0], *shape, facts["rounding_type"], facts["auto_pad"])


def _interpolate(node: Node, inputs: list[Any]) -> Node:
    """In its fourth version, which wants sizes and scales."""
    factory = import_module("openvino.utils.node_factory")._get_node_factory
    facts, ops, rank = node.get_attributes(), _ops(), len(inputs[0].get_partial_shape())
    sizes, scales = inputs[1], ops.constant(np.ones(rank, dtype=np.float32)).output(0)
    if facts["shape_calculation_mode"] == "scales":
        scales = inputs[1]
        sizes = ops.convert(ops.multiply(ops.convert(ops.shape_of(inputs[0]), "f32"), scales), "i64").output(0)
    axes = inputs[2] if len(inputs) > 2 else ops.constant(np.arange(rank)).output(0)
    return factory("opset4").create("Interpolate", [inputs[0], sizes, scales, axes], facts)


REWRITTEN: Mapping[str, Callable[[Node, list[Any]], Node | None]] = {
    "Pad": _pad,
    "Softmax": _softmax,
    "Divide": _divide,
    "Multiply": _square,
    "Unsqueeze": _unsqueeze,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Interpolate": _interpolate,
}


def _constant(port: Any) -> np.ndarray | None:
    node = port.get_node()
    return np.array(node.data) if node.get_type_name() == "Constant" else None

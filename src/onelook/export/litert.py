"""LiteRT (formerly TensorFlow Lite), for phones: one shape, one picture at a time; facts beside it, in ``.json``.

onelook export mine.onelook --to litert --size 640x480 --out mine.tflite
"""

import contextlib
import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from onelook.export.graph import Graph
from onelook.export.target import Ask, Target, words
from onelook.facts import Facts


class LiteRt(Target):
    """A ``.tflite`` and a ``.json`` file."""

    name, suffix, packages, extra = "litert", ".tflite", ("litert_torch", "ai_edge_litert"), "litert"
    one_shape, one_picture, suppresses = True, True, False

    def write(self, graph: Graph, example: Tensor, facts: Facts, path: Path) -> None:
        import litert_torch

        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            litert_torch.convert(graph, (example[:1],)).export(str(path))
        path.with_suffix(".json").write_text(words(facts), encoding="utf-8")

    def open(self, path: Path) -> Ask:
        from ai_edge_litert.interpreter import Interpreter

        network = Interpreter(str(path))
        network.allocate_tensors()
        names = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["outputs"]
        outputs = sorted(network.get_output_details(), key=lambda detail: str(detail["name"]))

        def ask(pixels: np.ndarray) -> Mapping[str, np.ndarray]:
            network.set_tensor(network.get_input_details()[0]["index"], pixels)
            network.invoke()
            return {name: network.get_tensor(detail["index"]) for name, detail in zip(names, outputs, strict=True)}

        return ask

    def files(self, path: Path) -> list[Path]:
        return [path, path.with_suffix(".json")]

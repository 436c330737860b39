"""Networks that other packages bring along: where their files are, whose they are, under which licence. Nothing of the packages is
imported.

onelook doctor          # lists them, and what is missing
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from onelook.errors import BackboneError


@dataclass(frozen=True)
class PackageFile:
    """A file in an installed package. ``size``: its bytes, by which another version is told from the one that was tried."""

    package: str
    name: str
    size: int
    what: str
    licence: str
    install: str


class PackageMissing(BackboneError):
    """A package that brings a network is not installed; the message says how it is."""


def package_file(file: PackageFile) -> Path:
    """Where a file lies. Raises PackageMissing with what to install."""
    try:
        found = next((entry for entry in files(file.package) or () if entry.name == file.name), None)
    except PackageNotFoundError:
        found = None
    path = Path(str(found.locate())) if found is not None else None
    if path is None or not path.is_file():
        raise PackageMissing(f"{file.what} is not installed; run: {file.install}")
    if path.stat().st_size != file.size:
        raise PackageMissing(f"{path}: has {path.stat().st_size:,} bytes instead of {file.size:,}; another {file.package} is installed")
    return path

"""Files that are written whole or not at all, files of tensors with words beside them, and the folder of what can be made again."""

import os
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def cache_folder() -> Path:
    """Where looks and whatever else can be made again is kept: $ONELOOK_CACHE, else $XDG_CACHE_HOME/onelook, else ~/.cache/onelook."""
    own = os.environ.get("ONELOOK_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onelook"


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside ``path``, flush to the disk, and put it in place in one step. Raises OSError; what stood there is then unchanged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink()


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, "Tensor"]]:
    """The metadata and the tensors of a safetensors file. Raises SafetensorError, OSError or ValueError for what is none."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {}), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)

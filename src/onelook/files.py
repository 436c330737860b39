"""Files that are written whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path
from threading import get_ident


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

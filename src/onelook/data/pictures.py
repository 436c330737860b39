"""Opening pictures safely: any mode, EXIF orientation applied, bad files as errors that name them.

python -c "from onelook.data.pictures import open_picture; print(open_picture('photo.jpg').size)"
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from glob import glob
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from onelook.errors import PictureError

Item = TypeVar("Item")
Result = TypeVar("Result")

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".jfif", ".jpe", ".pgm", ".ppm", ".pbm", ".avif"})
BITS = (8, 10, 12, 14, 16)  # that the values of a 16-bit file may use
FILMS = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})
PLUGINS = {".heic": "heic", ".heif": "heic", ".jxl": "jxl"}  # suffix -> extra of onelook with which Pillow reads it
PACKAGES = {"heic": "pillow_heif", "jxl": "pillow_jxl"}
LARGEST_PIXELS = 178_956_970  # PIL's own bound against decompression bombs: twice 1 GiB / 4 / 3


class _QuietPil:
    """PIL's warnings (of large pictures, of odd metadata) are ignored while any thread decodes; no other warning is touched."""

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._entry: object = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
                self._entry = warnings.filters[0]

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._entry in warnings.filters:
                warnings.filters.remove(self._entry)  # type: ignore[attr-defined]


_QUIET = _QuietPil()


@cache
def _plugged(extra: str) -> bool:
    """Make Pillow read what an extra is for, where its package is installed; whether it is."""
    if find_spec(PACKAGES[extra]) is None:
        return False
    plugin = import_module(PACKAGES[extra])
    if extra == "heic":  # the other registers itself
        plugin.register_heif_opener()
    return True


def _opened(path: Path | str, content: bytes | None = None) -> Image.Image:
    """The picture of a file or of its bytes, not yet decoded; PostScript is no picture here, because it would be run by Ghostscript."""
    Image.init()
    for extra in PACKAGES:
        _plugged(extra)
    return Image.open(BytesIO(content) if content is not None else path, formats=[name for name in Image.OPEN if name != "EPS"])


def open_picture(path: Path | str, *, content: bytes | None = None, at_least: int | None = None) -> Image.Image:
    """One picture as 8-bit RGB, upright.

    EXIF orientation is applied; transparency is laid on white; of an animation the first frame is taken; 16-bit
    greys are scaled to 0..255 by the bits that they use (10, 12, 14 or 16), floats and 32-bit integers by their own minimum and maximum.
    ``content``: the file's bytes, if read already. ``at_least``: JPEGs may be decoded at 1/2, 1/4 or 1/8 size as long
    as the shorter side keeps this many pixels. Raises PictureError.
    """
    try:
        with _QUIET, _opened(path, content) as picture:
            if at_least:
                shrink = max(1, min(picture.size) // at_least)
                picture.draft("RGB", (picture.width // shrink, picture.height // shrink))
            picture.load()
            return to_rgb(ImageOps.exif_transpose(picture))
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path}: larger than {LARGEST_PIXELS / 1e6:.0f} million pixels; save it smaller first") from error
    except FileNotFoundError as error:
        raise PictureError(f"{path}: no such file") from error
    except UnidentifiedImageError as error:
        reason = why_no_picture(Path(path)) if Path(path).suffix.lower() in PLUGINS else "not a picture that can be read"
        raise PictureError(f"{path}: {reason}") from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, TypeError, KeyError, IndexError, ZeroDivisionError) as error:
        raise PictureError(f"{path}: cannot be decoded ({str(error).strip() or type(error).__name__})") from error
    except Exception as error:  # decoders of rare formats raise struct.error, zlib.error and more
        raise PictureError(f"{path}: cannot be decoded ({type(error).__name__}: {error})") from error


def open_raw(path: Path | str) -> Image.Image:
    """A file's picture in its own mode and values, upright: for masks. Raises PictureError."""
    try:
        with _QUIET, _opened(path) as picture:
            picture.load()
            return ImageOps.exif_transpose(picture)
    except FileNotFoundError as error:
        raise PictureError(f"{path}: no such file") from error
    except Exception as error:  # as in open_picture: decoders raise whatever they like
        raise PictureError(f"{path}: cannot be decoded ({type(error).__name__}: {error})") from error


def picture_size(path: Path | str, content: bytes | None = None) -> tuple[int, int]:
    """Width and height of the upright picture, from its header. Raises PictureError."""
    try:
        with _QUIET, _opened(path, content) as picture:
            turned = picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            return (picture.height, picture.width) if turned else picture.size
    except FileNotFoundError as error:
        raise PictureError(f"{path}: no such file") from error
    except Exception as error:  # as in open_picture: decoders raise whatever they like
        raise PictureError(f"{path}: not a picture that can be read") from error


def stored_turn(path: Path | str) -> int:
    """EXIF's orientation of a picture: 1 as it lies, 5 to 8 stored on its side. Raises PictureError."""
    try:
        with _QUIET, _opened(path) as picture:
            turn = int(picture.getexif().get(0x0112, 1))
    except Exception as error:  # as in open_picture: decoders raise whatever they like
        raise PictureError(f"{path}: not a picture that can be read") from error
    return turn if 1 <= turn <= 8 else 1


def read_bytes(path: Path | str) -> tuple[bytes, str]:
    """A file's bytes and their content hash (32 hex digits). Raises PictureError."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror or error}") from error
    return content, hashlib.sha256(content).hexdigest()[:32]


def is_picture(file: Path) -> bool:
    """Whether a file's name says that it is a picture."""
    suffix = file.suffix.lower()
    return suffix in SUFFIXES or (suffix in PLUGINS and _plugged(PLUGINS[suffix]))


def is_film(file: Path | str) -> bool:
    """Whether a file's name says that it is a film."""
    return Path(file).suffix.lower() in FILMS


def why_no_picture(file: Path) -> str:
    """Why a file is not taken for a picture."""
    extra = PLUGINS.get(file.suffix.lower())
    if extra is not None:
        return f"{extra.upper()} is read with a plugin only (pip install 'onelook[{extra}]'); or save it as JPEG"
    return "its name does not end like a picture's"


def files_in(folder: Path) -> list[Path]:
    """Every file in a folder and the folders in it, sorted; links are followed, each folder once.

    Hidden files and folders (``.ipynb_checkpoints``, ``._photo.jpg``) are not there, nor is what archives of other systems leave.
    """
    found: list[Path] = []
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        found += [Path(root, name) for name in files if not name.startswith(".")]
    return sorted(found)


def refuse_elsewhere(name: str) -> None:
    """Raise PictureError for an address or a film, saying what to do."""
    if "://" in name:
        raise PictureError(f"{name}: nothing is fetched from the network; save the picture and give its path")
    if is_film(name):
        raise PictureError(f"{name}: films are not read here; ask it as one: onelook video {name} --model FILE")


def find_pictures(patterns: Iterable[str | Path]) -> Iterator[Path]:
    """The pictures that paths, folders (searched to the bottom) and globs name, sorted within each, nothing twice.

    A path that is named outright is yielded whatever its suffix, even if it does not exist, so that its reader reports it.
    """
    seen: set[Path] = set()
    for pattern in patterns:
        path = Path(pattern)
        refuse_elsewhere(str(pattern))
        if path.is_dir():
            found = list(filter(is_picture, files_in(path)))
        elif path.exists() or not any(sign in str(pattern) for sign in "*?["):
            found = [path]
        else:
            found = sorted(Path(file) for file in glob(str(pattern), recursive=True) if Path(file).is_file())  # noqa: PTH207
        for file in found:
            if file not in seen:
                seen.add(file)
                yield file


def ahead(work: Callable[[Item], Result], items: Iterable[Item], *, workers: int = 2, depth: int = 64) -> Generator[Result, None, None]:
    """``map(work, items)`` in order, computed in threads at most ``depth`` items ahead, so memory stays bounded."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="onelook-decode")
    waiting: list[Future[Result]] = []
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= depth:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def to_rgb(picture: Image.Image) -> Image.Image:
    """8-bit RGB of any mode: transparency on white, 16-bit values by the number of bits that they use, floats by their own range."""
    if picture.mode in ("I;16", "I;16B", "I;16L", "I;16N"):
        return _of_bits(np.asarray(picture).astype(np.uint16))
    if picture.mode in ("I", "F"):
        values = np.asarray(picture).astype(np.float64)
        if picture.mode == "I" and values.min() >= 0 and 255 < values.max() <= 65535:  # a 16-bit PNG, as older PIL opens it
            return _of_bits(values.astype(np.uint16))
        low, high = float(values.min()), float(values.max())
        scaled = (values - low) / (high - low or 1.0) * 255
        return Image.fromarray(np.nan_to_num(scaled).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def _of_bits(values: np.ndarray) -> Image.Image:
    """16-bit values as 8-bit RGB: cameras that have 10, 12 or 14 bits leave the rest of the 16 empty."""
    bits = next(bits for bits in BITS if int(values.max(initial=0)) < 1 << bits)
    return Image.fromarray((values >> (bits - 8)).astype(np.uint8)).convert("RGB")

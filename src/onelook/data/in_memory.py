"""Pictures that are not files: PIL pictures, arrays, bytes and open files, given names so that they can be asked about like others.

model.predict(Image.open("photo.jpg")), model.predict(frame), model.predict([b"..."])
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from onelook.data.pictures import open_picture, to_rgb
from onelook.errors import PictureError

Pictures = Any  # a path, folder or glob, a PIL picture, an array (H, W), (H, W, 3 or 4) of RGB in 0 to 255, bytes, an open file; or several


def several(pictures: Pictures) -> Iterable[Any]:
    """One picture, or whatever names pictures, as a list of one; an array (N, H, W, 3) is N pictures."""
    if isinstance(pictures, np.ndarray):
        return list(pictures) if pictures.ndim == 4 else [pictures]
    alone = isinstance(pictures, str | Path | Image.Image | bytes | bytearray) or hasattr(pictures, "read")
    return [pictures] if alone else pictures


class Named:
    """Gives paths for pictures: those of files as they are, others written into a temporary folder until they have been looked at.

    Used in a ``with`` block, at whose end the folder goes.
    """

    def __init__(self) -> None:
        self._folder, self._count = TemporaryDirectory(prefix="onelook-"), 0
        self.waiting: dict[Path, Image.Image] = {}

    def __enter__(self) -> "Named":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def paths(self, pictures: Pictures) -> Iterator[str | Path]:
        """Paths, folders and globs in their order, lazily."""
        for picture in several(pictures):
            yield picture if isinstance(picture, str | Path) else self._written(picture)

    def take(self, path: Path) -> tuple[Path, Image.Image | None]:
        """What a path is called, and its picture if it is no file of the user's; what was written for it goes."""
        picture = self.waiting.pop(path, None)
        if picture is None:
            return path, None
        path.unlink(missing_ok=True)
        return Path(path.stem), picture

    def _written(self, given: Any) -> Path:
        """The file of a picture in memory, uncompressed. Raises PictureError for what is no picture."""
        self._count += 1
        name = f"picture {self._count}"
        path = Path(self._folder.name) / f"{name}.ppm"
        self.waiting[path] = picture = _opened(given, name)
        picture.save(path)
        return path


def _opened(given: Any, name: str) -> Image.Image:
    if isinstance(given, Image.Image):
        return to_rgb(ImageOps.exif_transpose(given))
    if isinstance(given, bytes | bytearray):
        return open_picture(name, content=bytes(given))
    if hasattr(given, "read"):
        content = given.read()
        if isinstance(content, bytes):
            return open_picture(name, content=content)
    if isinstance(given, np.ndarray):
        return _of_array(given, name)
    raise PictureError(f"{name}: a {type(given).__name__} is no picture; give a path, a PIL picture, an array, bytes or an open file")


def _of_array(array: np.ndarray, name: str) -> Image.Image:
    """An array as it is, 8 bit; colours are red, green, blue (OpenCV's are the other way round: array[..., ::-1])."""
    shape = array.shape
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or 0 in shape or (array.ndim == 3 and shape[2] not in (1, 3, 4)):
        raise PictureError(
            f"{name}: an array {shape} of {array.dtype}; (H, W), (H, W, 3) or (H, W, 4) of uint8 is wanted, as RGB, 0 to 255"
        )
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.ndim == 3 and shape[2] == 1 else array)).convert("RGB")

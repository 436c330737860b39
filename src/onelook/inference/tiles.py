"""Large pictures piece by piece: overlapping tiles of the input's size, at the scale at which a head was trained, with mirrored edges.

Ronneberger et al. 2015, section 2 and figure 2 (overlap-tile strategy): of every tile only the middle is kept, which has seen what
surrounds it. Memory holds the picture, one batch of tiles and the probabilities of classes, whatever the tiles' number.

    onelook predict slide.tif --model mine.onelook --tiles --draw drawn/
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor

from onelook.data.pictures import open_picture
from onelook.errors import PictureError
from onelook.geometry.masks import ProbabilityMap, mirrored
from onelook.geometry.placement import Placement
from onelook.heads.base import AnyHead
from onelook.inference.predict import Prediction, beside
from onelook.looks.extractor import Extractor, Pixels

AT_ONCE = 4  # tiles that are looked at together: more take more memory and no less time
MARGIN = 4  # a tile's side divided by this is what it overlaps its neighbours by, on each side


def predict_beside_tiles(
    paths: Iterable[Path], pieced: Mapping[str, tuple[AnyHead, Extractor]], others: Callable[[Path], Prediction] | None
) -> Iterator[Prediction]:
    """What the heads ``pieced`` predict piece by piece, one picture at a time, beside what ``others`` gives of the whole picture."""
    for path in paths:
        parts = [others(path)] if others else []
        yield reduce(beside, [*parts, *(predict_in_tiles(path, name, head, extractor) for name, (head, extractor) in pieced.items())])


def predict_in_tiles(path: Path, name: str, head: AnyHead, extractor: Extractor) -> Prediction:
    """What a head that can look piece by piece predicts of a picture; all its time counts as the head's."""
    begun = time.perf_counter()
    try:
        found = in_tiles(path, head, extractor)
    except PictureError as error:
        return Prediction(path, {}, {}, str(error))
    ms = (time.perf_counter() - begun) * 1000
    return Prediction(path, {name: found}, {"decode": 0.0, "look": 0.0, name: ms})


@torch.inference_mode()
def in_tiles(path: Path, head: AnyHead, extractor: Extractor) -> ProbabilityMap:
    """The probabilities of every class over a picture, from tiles. Raises PictureError."""
    picture = open_picture(path)
    original, side = picture.size, extractor.geometry.size
    margin = side // MARGIN // extractor.geometry.multiple * extractor.geometry.multiple
    step, scale = side - 2 * margin, head.scale
    cell = extractor.geometry.multiple
    size = tuple(max(cell, round(length * scale / cell) * cell) for length in original)
    if size != original:
        picture = picture.resize(size, extractor.interpolation)  # type: ignore[arg-type]
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).reshape(picture.height, picture.width, 3)
    del picture
    corners = [(top, left) for top in range(0, size[1], step) for left in range(0, size[0], step)]
    whole: Tensor | None = None
    for first in range(0, len(corners), AT_ONCE):
        batch = corners[first : first + AT_ONCE]
        look = extractor.look([_tile(pixels, top - margin, left - margin, side) for top, left in batch], head.needs)
        for (top, left), found in zip(batch, head.postprocess(head(look), look.placements), strict=True):
            values = found.values
            stride = side // values.shape[1]
            if whole is None:
                whole = values.new_empty(len(values), size[1] // stride, size[0] // stride)
            edge, high, wide = margin // stride, min(step, size[1] - top) // stride, min(step, size[0] - left) // stride
            place = (slice(None), slice(top // stride, top // stride + high), slice(left // stride, left // stride + wide))
            whole[place] = values[:, edge : edge + high, edge : edge + wide]
    assert whole is not None
    return ProbabilityMap(whole, original)


def _tile(pixels: Tensor, top: int, left: int, side: int) -> Pixels:
    """A square of a picture (H, W, 3), its edges mirrored outwards."""
    rows = mirrored(torch.arange(top, top + side), pixels.shape[0])
    columns = mirrored(torch.arange(left, left + side), pixels.shape[1])
    content = pixels[rows][:, columns].permute(2, 0, 1)
    return Pixels(("0" * 32, 0), content, Placement((side, side), (side, side), (side, side), (1.0, 1.0), (0.0, 0.0)))

"""Pictures that are nearly the same: copies that were resized or compressed again, neighbours of one film.

Compared are grey thumbnails of 16 x 16 pixels by their correlation. Measured on five sets (docs/diary.md): copies at 0.6 of the size
correlate by 0.992 or more, different pictures by less than 0.98 in 95 of 100 cases; the network's embedding told them apart far worse.
Pictures that were cropped or turned are not found.

    onelook data browse photos/ --report page/
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from onelook.data.pictures import ahead, open_picture
from onelook.errors import PictureError

SIDE = 16  # pixels of a thumbnail
ALIKE = 0.99  # correlation from which two are called nearly the same
FLAT = 1.0  # deviation of grey values below which a picture is blank: all blank ones are alike
ROWS = 512  # compared at once


@dataclass(frozen=True)
class Pair:
    """Two pictures, and the correlation of their thumbnails (at most 1)."""

    one: Path
    other: Path
    correlation: float


def near_duplicates(paths: Sequence[Path], alike: float = ALIKE) -> list[Pair]:
    """Every picture with the most similar one before it, where they are nearly the same; the most similar pairs first.

    Pictures that cannot be read, and blank ones, are passed over.
    """
    known, vectors = [], []
    for path, vector in ahead(_thumbnail, paths):
        if vector is not None:
            known.append(path)
            vectors.append(vector)
    if not vectors:
        return []
    pairs = list(_pairs(known, np.stack(vectors), alike))
    return sorted(pairs, key=lambda pair: (-pair.correlation, pair.one, pair.other))


def _pairs(paths: Sequence[Path], vectors: np.ndarray, alike: float) -> Iterator[Pair]:
    for start in range(0, len(vectors), ROWS):
        block = vectors[start : start + ROWS]
        correlations = block @ vectors[: start + len(block)].T
        correlations[np.arange(len(block))[:, None] + start <= np.arange(correlations.shape[1])] = -1  # itself, and those behind it
        for row, best in enumerate(correlations.argmax(1)):
            if correlations[row, best] >= alike:
                yield Pair(paths[best], paths[start + row], float(correlations[row, best]))


def _thumbnail(path: Path) -> tuple[Path, np.ndarray | None]:
    """A picture's thumbnail (SIDE * SIDE,) of mean 0 and length 1."""
    try:
        grey = open_picture(path, at_least=4 * SIDE).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    except PictureError:
        return path, None
    values = np.asarray(grey, dtype=np.float32).ravel()
    values = values - values.mean()
    return path, None if values.std() < FLAT else values / np.linalg.norm(values)

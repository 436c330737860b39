"""Keeping the photo's colours: paint brightness only, or give the painting the photo's colours first.

Gatys, Bethge, Hertzmann, Shechtman, "Preserving Color in Neural Artistic Style Transfer" (2016): luminance only, and matching mean and
covariance of colours (there: section 3, by the square roots of covariances).

    onelook style photo.jpg painting.jpg --color keep
"""

import numpy as np
from PIL import Image

COLOURS = ("style", "keep", "match")  # the painting's, the photo's (only brightness is painted), the painting's brought to the photo's


def luminance(picture: Image.Image) -> Image.Image:
    """Brightness as an RGB picture."""
    return picture.convert("L").convert("RGB")


def with_colours(picture: Image.Image, colours: Image.Image) -> Image.Image:
    """The brightness of one picture with the colours of another, at the first one's size."""
    _, blue, red = colours.resize(picture.size, Image.Resampling.LANCZOS).convert("YCbCr").split()
    return Image.merge("YCbCr", (picture.convert("YCbCr").split()[0], blue, red)).convert("RGB")


def matched(picture: Image.Image, other: Image.Image) -> Image.Image:
    """A picture whose colours have the mean and covariance of another's."""
    ours, theirs = (np.asarray(each, dtype=np.float64).reshape(-1, 3) for each in (picture, other))
    turn = _root(np.cov(theirs.T)) @ np.linalg.inv(_root(np.cov(ours.T) + np.eye(3)))
    values = (ours - ours.mean(0)) @ turn.T + theirs.mean(0)
    return Image.fromarray(values.reshape(picture.height, picture.width, 3).round().clip(0, 255).astype(np.uint8))


def _root(matrix: np.ndarray) -> np.ndarray:
    """The square root of a symmetric matrix that has no negative values."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors @ np.diag(np.sqrt(values.clip(0))) @ vectors.T)

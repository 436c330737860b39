"""Views: deterministic augmented versions of a training picture; view 0 is the picture itself.

Views are made from pixels and looked at again; flipping a network's maps instead would not give the maps of the
flipped picture (a convolution's padding and stride are not symmetric).

Recipe ``flips``: view 1 is mirrored, view 2 upside down, view 3 both. Every further view is one of these four, of a
crop that keeps 80 to 100 % of each side, drawn from the picture's content hash, the view number and the seed.

    onelook train photos/ --views 2 ...
"""

import hashlib

from PIL import Image, ImageOps

RECIPE = "flips-1"  # part of the cache's key: change it whenever the pixels of a view change
FIXED = 4  # views below this number are the same for every seed


def make_view(picture: Image.Image, view: int, digest: str, seed: int) -> Image.Image:
    """View number ``view`` of a picture whose content hash is ``digest``; the same inputs give the same pixels."""
    if view >= FIXED:
        picture = picture.crop(_crop_box(picture.size, f"{digest}-{view}-{seed}"))
    if view % 4 in (1, 3):
        picture = ImageOps.mirror(picture)
    if view % 4 in (2, 3):
        picture = ImageOps.flip(picture)
    return picture


def _crop_box(size: tuple[int, int], key: str) -> tuple[int, int, int, int]:
    draw = [byte / 255 for byte in hashlib.sha256(key.encode()).digest()[:3]]
    keep = 0.8 + 0.2 * draw[0]
    width, height = max(1, round(size[0] * keep)), max(1, round(size[1] * keep))
    left, top = round(draw[1] * (size[0] - width)), round(draw[2] * (size[1] - height))
    return left, top, left + width, top + height

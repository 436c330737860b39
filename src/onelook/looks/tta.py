"""Test time: several versions of a picture looked at and their answers averaged, and ensembles of models, each with its bill.

``tencrop``: four corners and the centre at 7/8 of each side, and their mirror images (Krizhevsky et al. 2012, section 4.1: 224
of 256 pixels). ``flips``: the picture and its mirror image. ``mirrors``: also upside down, for pictures without an up. ``scales``: the
input size times 0.75, 1 and 1.25 (Simonyan & Zisserman 2015, "Very deep convolutional networks", section 3.2).

    onelook val test-photos/ --model mine.onelook --head kind --tta tencrop
"""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageOps

from onelook.errors import HeadError

CROP = 7 / 8


@dataclass(frozen=True)
class TtaView:
    """One version of a picture: how it is made from it, and the input size as a multiple of the model's.

    ``across``, ``down``: whether left and right, top and bottom have changed places. ``whole``: whether it shows all of the picture, so
    that boxes and points found in it can be put back.
    """

    name: str
    make: Callable[[Image.Image], Image.Image]
    size: float = 1.0
    across: bool = False
    down: bool = False
    whole: bool = True


def tta_views(name: str) -> tuple[TtaView, ...]:
    """The versions that a kind of test-time augmentation looks at. Raises HeadError naming the kinds."""
    if name not in TTA_VIEWS:
        raise HeadError(f"--tta {name}: unknown; use one of {', '.join(TTA_VIEWS)}")
    return TTA_VIEWS[name]


def _same(picture: Image.Image) -> Image.Image:
    return picture


def _crop(across: float, down: float, mirrored: bool) -> TtaView:
    """A crop of CROP of each side, ``across`` and ``down`` (0..1) of the room that is left."""

    def make(picture: Image.Image) -> Image.Image:
        wide, high = max(1, round(picture.width * CROP)), max(1, round(picture.height * CROP))
        left, top = round((picture.width - wide) * across), round((picture.height - high) * down)
        part = picture.crop((left, top, left + wide, top + high))
        return ImageOps.mirror(part) if mirrored else part

    return TtaView(f"crop {across:g} {down:g}{' mirrored' if mirrored else ''}", make, whole=False)


PLAIN = TtaView("itself", _same)
MIRRORED = TtaView("mirrored", ImageOps.mirror, across=True)
PLACES = ((0.5, 0.5), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
TTA_VIEWS: dict[str, tuple[TtaView, ...]] = {
    "none": (PLAIN,),
    "flips": (PLAIN, MIRRORED),
    "mirrors": (
        PLAIN,
        MIRRORED,
        TtaView("upside down", ImageOps.flip, down=True),
        TtaView("turned", lambda picture: picture.rotate(180), across=True, down=True),
    ),
    "tencrop": tuple(_crop(across, down, mirrored) for mirrored in (False, True) for across, down in PLACES),
    "scales": (TtaView("three quarters", _same, 0.75), PLAIN, TtaView("five quarters", _same, 1.25)),
}

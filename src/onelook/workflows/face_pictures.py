"""Pictures of faces: every face cut out as a square, blurred where it stands, or with a guess of age and gender.

onelook faces crop photos/ --out faces/
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from onelook.answers.canvas import save_picture
from onelook.data.pictures import find_pictures, open_picture
from onelook.errors import OnelookError, PictureError
from onelook.faces.attributes import AttributeReader, Attributes
from onelook.faces.gallery import Gallery
from onelook.faces.subjects import subjects
from onelook.workflows.faces import FAR, threshold_of

CROP, CROP_MARGIN = 160, 0.25  # pixels of a cropped face's side; how much more than the face it shows, on every side


def crop(items: Iterable[Path | str], out: Path, *, encoder: str = "dlib") -> Iterator[tuple[Path, list[Path]]]:
    """Every face of every picture as a square file in ``out``, in folders as the pictures were: (picture, its files)."""
    who = subjects(encoder)
    for path in find_pictures(items):
        picture = open_picture(path)
        written = []
        for number, one in enumerate(who(picture)):
            file = out / path.parent.name / f"{path.stem}_{number}.png"
            save_picture(_square(picture, one.box), file)
            written.append(file)
        yield path, written


def _square(picture: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    """A square around a box, filled up with black beyond the picture."""
    middle, down = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half = (0.5 + CROP_MARGIN) * max(box[2] - box[0], box[3] - box[1])
    place = (middle - half, down - half, middle + half, down + half)
    return picture.transform((CROP, CROP), Image.Transform.EXTENT, place, Image.Resampling.BICUBIC)


def attributes(items: Iterable[Path | str]) -> Iterator[tuple[Path, list[Attributes] | str]]:
    """What is guessed of every face of each picture, in order, lazily; a text: why it cannot be said. Raises PackageMissing."""
    read = AttributeReader()
    for path in find_pictures(items):
        try:
            yield path, read(open_picture(path))
        except PictureError as error:
            yield path, str(error)


def blur(path: Path, out: Path, *, keep: Path | None = None, rate: float = FAR) -> int:
    """Write a picture with all faces blurred beyond recognition, or all but those enrolled in ``keep``; how many were.

    Raises OnelookError where ``out`` is the picture itself.
    """
    if out.resolve() == path.resolve():
        raise OnelookError(f"{out}: is the picture itself; name another file")
    who = subjects()
    picture = open_picture(path)
    found = who(picture)
    if keep is not None:
        with Gallery.open(keep, who.encoder) as opened:
            limit = threshold_of(opened, who, rate).distance
            known = [match.distance <= limit for match in opened.nearest(np.stack([one.vector for one in found]))] if found else []
            found = [one for one, is_known in zip(found, known, strict=True) if not is_known]
    for one in found:
        left, top, right, bottom = one.box
        wide, high = 0.15 * (right - left), 0.15 * (bottom - top)
        x, y = round(max(0, left - wide)), round(max(0, top - high))
        place = (x, y, round(min(picture.width, right + wide)), round(min(picture.height, bottom + high)))
        part = picture.crop(place)
        small = part.resize((6, 8), Image.Resampling.BOX)
        hidden = small.resize(part.size, Image.Resampling.BILINEAR).filter(ImageFilter.GaussianBlur(max(part.size) / 20))
        round_mask = Image.new("L", part.size, 0)
        ImageDraw.Draw(round_mask).ellipse((0, 0, *part.size), fill=255)
        picture.paste(hidden, (x, y), round_mask)
    save_picture(picture, out)
    return len(found)

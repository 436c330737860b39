"""A picture's size as a file of labels has it against the size that it has: what that means for the labels.

Equal: nothing. Turned, where the picture is stored turned (EXIF): its labels were made on the stored picture and are turned with it. One
factor for both sides: the picture was made smaller or larger afterwards, and so are its labels. Anything else: the labels cannot belong
to it.

    onelook data check coco/ --task detect
"""

from dataclasses import dataclass
from pathlib import Path

from onelook.data.pictures import picture_size, stored_turn
from onelook.data.samples import Finding

ROUNDING = 1.0  # pixels by which the sides of a picture made smaller may differ from one factor
Size = tuple[int, int]


@dataclass(frozen=True)
class Fit:
    """How labels come from the size they were written for to the upright picture's ``size``.

    ``turn``: the EXIF orientation (1 to 8) that is undone, before ``scale`` (of x, of y) is applied.
    """

    size: Size
    written: Size
    turn: int = 1
    scale: tuple[float, float] = (1.0, 1.0)

    @property
    def moves(self) -> bool:
        """Whether labels change at all."""
        return self.turn != 1 or self.scale != (1.0, 1.0)

    def point(self, x: float, y: float) -> tuple[float, float]:
        """A point of the written picture, in the upright one."""
        x, y = upright(x, y, self.written, self.turn)
        return x * self.scale[0], y * self.scale[1]

    def box(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """A box (xyxy) of the written picture, in the upright one; corners that are the wrong way round stay so."""
        if not self.moves:
            return box
        (left, top), (right, bottom) = self.point(*box[:2]), self.point(*box[2:])
        if box[0] <= box[2] and box[1] <= box[3]:
            left, right, top, bottom = min(left, right), max(left, right), min(top, bottom), max(top, bottom)
        return left, top, right, bottom


def upright(x: float, y: float, stored: Size, turn: int) -> tuple[float, float]:
    """A point of a stored picture of this size, where it lies after EXIF orientation ``turn`` (1 to 8) is undone."""
    width, height = stored
    if turn in (2, 3):
        x = width - x
    if turn in (3, 4):
        y = height - y
    if turn >= 5:
        x, y = y, x
    if turn in (6, 7):
        x = height - x
    if turn in (7, 8):
        y = width - y
    return x, y


def fit_to_picture(path: Path, written: Size | None, where: str, findings: list[Finding]) -> Fit | None:
    """How labels written for this size fit the picture; None, with a finding, if they do not. Raises PictureError.

    What is done to labels is a finding, too.
    """
    size = picture_size(path)
    if written is None or written == size or min(written) < 1:
        return Fit(size, size)
    said = f"{path.name} is {size[0]}x{size[1]}, its labels are for {written[0]}x{written[1]}"
    if written == size[::-1]:
        turn = stored_turn(path)
        if turn >= 5:
            findings.append(Finding("turned-labels", where, f"{said}, as it is stored; they are turned with it"))
            return Fit(size, written, turn)
    factor = size[0] / written[0]
    if abs(written[1] * factor - size[1]) <= max(ROUNDING, ROUNDING * factor):
        findings.append(Finding("scaled-labels", where, f"{said}; they are scaled by {factor:.3g}"))
        return Fit(size, written, scale=(factor, size[1] / written[1]))
    findings.append(Finding("size-mismatch", where, f"{said}: another picture, or one that was cut or turned; it is left out"))
    return None

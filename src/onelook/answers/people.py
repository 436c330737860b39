"""An answer that names who is in a picture, of those who are enrolled in a gallery."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from PIL import Image, ImageDraw

from onelook.answers.answer import Answer
from onelook.answers.canvas import COLOURS, GREY, Colour, font
from onelook.facts import Facts

Box = tuple[float, float, float, float]
KNOWN = COLOURS[3]


@dataclass(frozen=True)
class Named:
    """One who is in a picture: where (xyxy in its pixels), who it is (None: nobody who is enrolled), and the squared distance.

    ``nearest``: who is nearest, in any case. ``score``: 0 at the threshold, 1 for the enrolled picture itself; below 0 beyond it.
    """

    box: Box
    name: str | None
    nearest: str
    distance: float
    score: float


@dataclass(frozen=True)
class People(Answer):
    """Everybody in a picture, the surest face first."""

    faces: tuple[Named, ...]

    def to_json(self) -> Facts:
        return {"faces": [asdict(one) | {"box": [round(v, 1) for v in one.box]} for one in self.faces]}

    def rows(self) -> list[Facts]:
        corners = ("xmin", "ymin", "xmax", "ymax")
        return [
            {"label": one.name or "unknown", "distance": one.distance, **dict(zip(corners, one.box, strict=True))} for one in self.faces
        ]

    def __str__(self) -> str:
        """Everybody with their distance, those who are unknown with who is nearest."""
        named = (f"{one.name or 'unknown'} ({one.distance:.2f}{'' if one.name else f', nearest {one.nearest}'})" for one in self.faces)
        return ", ".join(named) or "nobody"

    def draw(self, picture: Image.Image, grow: float = 1.0, colour: Colour | None = None) -> Image.Image:
        """Boxes with names; who is unknown in grey. With ``colour`` boxes alone, in it."""
        named: list[tuple[Box, str, Colour]] = []
        for one in self.faces:
            left, top, right, bottom = (value * grow for value in one.box)
            shade = colour or (KNOWN if one.name is not None else GREY)
            named.append(((left, top, right, bottom), "" if colour else one.name or "unknown", shade))
        return draw_named(picture, named)


def draw_named(picture: Image.Image, named: Sequence[tuple[Box, str, Colour]]) -> Image.Image:
    """Boxes with names in colours, a name above its box or, where that place is taken, below it."""
    picture = picture.copy()
    pen = ImageDraw.Draw(picture)
    taken: list[Box] = []
    for (left, top, right, bottom), text, shade in named:
        pen.rectangle((left, top, right, bottom), outline=shade, width=2)
        if not text:
            continue
        face = font(max(11, min(round((bottom - top) / 6), min(picture.size) // 28)))
        x0, y0, x1, y1 = pen.textbbox((0, 0), text, font=face)
        wide, high = x1 - x0 + 6, y1 - y0 + 6
        x = max(0.0, min(left, picture.width - wide))
        above, below = max(0.0, top - high), min(bottom, picture.height - high)
        y = next((y for y in (above, below) if not any(_meet((x, y, x + wide, y + high), other) for other in taken)), above)
        taken.append((x, y, x + wide, y + high))
        pen.rectangle(taken[-1], fill=shade)
        pen.text((x + 3 - x0, y + 3 - y0), text, fill="white", font=face)
    return picture


def _meet(one: Box, other: Box) -> bool:
    """Whether two boxes share any place."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

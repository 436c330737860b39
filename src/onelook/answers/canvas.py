"""What drawings are made of: colours, captions, keys, contact sheets; PIL does the drawing."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from onelook.data.pictures import open_picture
from onelook.errors import DataError, OnelookError

OURS = "onelook"
Colour = tuple[int, int, int]
INK, PAPER, GREY = (255, 255, 255), (24, 24, 28), (150, 150, 155)
COLOURS = ((66, 133, 244), (234, 96, 53), (251, 188, 5), (52, 168, 83), (171, 71, 188), (0, 172, 193))
PALETTE = (  # of classes and objects: far apart from each other (Kelly 1965, "Twenty-two colors of maximum contrast", in part)
    (66, 133, 244), (234, 96, 53), (251, 188, 5), (150, 90, 160), (52, 168, 83), (0, 200, 200), (240, 50, 130), (150, 100, 50),
    (255, 120, 190), (170, 220, 60), (60, 60, 170), (230, 210, 160), (120, 120, 120), (0, 110, 90), (160, 20, 30), (130, 190, 255),
)  # fmt: skip


def with_key(picture: Image.Image, entries: Sequence[tuple[str, Colour | None]]) -> Image.Image:
    """A picture with a band below it that names the colours."""
    size = max(12, picture.width // 36)
    face = font(size)
    rows: list[list[tuple[int, str, Colour | None]]] = [[]]
    x = size // 2
    for name, colour in entries:
        wide = round(face.getlength(name) + 2.2 * size)
        if x + wide > picture.width and rows[-1]:
            rows.append([])
            x = size // 2
        rows[-1].append((x, name, colour))
        x += wide
    canvas = Image.new("RGB", (picture.width, picture.height + round(1.5 * size) * len(rows) + size // 2), PAPER)
    canvas.paste(picture, (0, 0))
    pen = ImageDraw.Draw(canvas)
    for number, row in enumerate(rows):
        top = picture.height + round(1.5 * size) * number + size // 4
        for left, name, colour in row:
            pen.rectangle([left, top, left + size, top + size], fill=colour or PAPER, outline=GREY)
            pen.text((left + round(1.3 * size), top - size // 8), name, fill=INK, font=face)
    return canvas


def with_caption(picture: Image.Image, lines: Sequence[str]) -> Image.Image:
    """A picture with lines of text, broken where they are too long, in a band below it."""
    size = max(12, picture.width // 28)
    face = font(size)
    height = round(size * 1.4)
    letters = max(8, int((picture.width - size) / face.getlength("abcdefghij") * 10))
    lines = [part for line in lines for part in textwrap.wrap(line, letters) or [""]]
    canvas = Image.new("RGB", (picture.width, picture.height + height * len(lines) + size // 2), PAPER)
    canvas.paste(picture, (0, 0))
    pen = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        pen.text((size // 2, picture.height + size // 4 + number * height), line, fill=INK, font=face)
    return canvas


def contact_sheet(pictures: Sequence[tuple[Path | Image.Image, str]], title: str, *, columns: int = 6, cell: int = 200) -> Image.Image:
    """Pictures with a caption each, in rows, under a title."""
    rows = max(1, math.ceil(len(pictures) / columns))
    band, head = 44, 40
    sheet = Image.new("RGB", (columns * cell, head + rows * (cell + band)), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((10, 10), title, fill=INK, font=font(18))
    for number, (given, caption) in enumerate(pictures):
        left, top = number % columns * cell, head + number // columns * (cell + band)
        picture = given.copy() if isinstance(given, Image.Image) else open_picture(given, at_least=cell)
        picture.thumbnail((cell - 8, cell - 8))
        sheet.paste(picture, (left + (cell - picture.width) // 2, top + (cell - picture.height) // 2))
        for line, text in enumerate(caption.split("\n")):
            pen.text((left + 8, top + cell + line * 18), text, fill=INK, font=font(13))
    return sheet


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture where the user said. Raises OnelookError naming the file for a suffix or a folder that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".png":
            marked = PngInfo()
            marked.add_text("Software", OURS)
            picture.save(path, pnginfo=marked)
        else:
            picture.save(path)
    except (OSError, ValueError) as error:
        raise OnelookError(f"{path}: cannot be written ({error}); name a .png or .jpg file in a folder of yours") from error


def is_ours(path: Path) -> bool:
    """Whether a PNG says that onelook wrote it."""
    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == OURS
    except OSError:
        return False


def unused(path: Path, written: set[Path]) -> Path:
    """``path``, or the same with a number if this run has written one of that name already; it is added to ``written``.

    Raises DataError where a file is there that onelook did not write.
    """
    free, number = path, 1
    while free in written:
        number += 1
        free = path.with_name(f"{path.stem}~{number}{path.suffix}")
    if free.exists() and not is_ours(free):
        raise DataError(f"{free}: is there already and was not written by onelook; name another folder")
    written.add(free)
    return free


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A face with Chinese, Japanese and Korean glyphs where the system has one, else the one that PIL ships."""
    for name in ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "Arial Unicode.ttf", "msyh.ttc"):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)

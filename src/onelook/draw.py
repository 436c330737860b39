"""Answers drawn onto pictures, and contact sheets; PIL does the drawing.

onelook predict photo.jpg --draw drawn/
"""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from onelook.answers import Answers
from onelook.data.pictures import open_picture

INK, PAPER = (255, 255, 255), (24, 24, 28)


def draw_answers(answers: Answers) -> Image.Image:
    """The picture with one line per head in a band below it; small pictures are enlarged so that it can be read."""
    picture = open_picture(answers.path)
    grow = max(1, math.ceil(320 / max(picture.width, 1)))
    if grow > 1 and picture.width * grow * picture.height * grow < 4e7:
        picture = picture.resize((picture.width * grow, picture.height * grow), Image.Resampling.NEAREST)
    return with_caption(picture, [f"{name}: {answer}" for name, answer in answers.answers.items()])


def with_caption(picture: Image.Image, lines: Sequence[str]) -> Image.Image:
    """A picture with lines of text in a band below it."""
    size = max(12, picture.width // 28)
    font = _font(size)
    height = round(size * 1.4)
    canvas = Image.new("RGB", (picture.width, picture.height + height * len(lines) + size // 2), PAPER)
    canvas.paste(picture, (0, 0))
    pen = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        pen.text((size // 2, picture.height + size // 4 + number * height), line, fill=INK, font=font)
    return canvas


def contact_sheet(pictures: Sequence[tuple[Path, str]], title: str, *, columns: int = 6, cell: int = 200) -> Image.Image:
    """Pictures with a caption each, in rows, under a title."""
    rows = max(1, math.ceil(len(pictures) / columns))
    band, head = 44, 40
    sheet = Image.new("RGB", (columns * cell, head + rows * (cell + band)), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((10, 10), title, fill=INK, font=_font(18))
    for number, (path, caption) in enumerate(pictures):
        left, top = number % columns * cell, head + number // columns * (cell + band)
        picture = open_picture(path, at_least=cell)
        picture.thumbnail((cell - 8, cell - 8))
        sheet.paste(picture, (left + (cell - picture.width) // 2, top + (cell - picture.height) // 2))
        for line, text in enumerate(caption.split("\n")):
            pen.text((left + 8, top + cell + line * 18), text, fill=INK, font=_font(13))
    return sheet


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A face with Chinese, Japanese and Korean glyphs where the system has one, else the one that PIL ships."""
    for name in ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "Arial Unicode.ttf", "msyh.ttc"):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)

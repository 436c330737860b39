"""Answers drawn onto pictures, and contact sheets; PIL does the drawing.

onelook predict photo.jpg --draw drawn/
"""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps

from onelook.answers import Answer, Answers, Segmentation, in_words
from onelook.data.augment import Recipe, View, make_view, with_components
from onelook.data.legend import write_legend
from onelook.data.pictures import open_picture, read_bytes
from onelook.data.samples import Sample
from onelook.errors import OnelookError, PictureError
from onelook.instances import BACKGROUND
from onelook.masks import IGNORE, Mask, nearest
from onelook.objects import Objects, has_area

INK, PAPER, GREY = (255, 255, 255), (24, 24, 28), (150, 150, 155)
COLOURS = ((66, 133, 244), (234, 96, 53), (251, 188, 5), (52, 168, 83), (171, 71, 188), (0, 172, 193))
PALETTE = (  # of classes and objects: far apart from each other (Kelly 1965, "Twenty-two colors of maximum contrast", in part)
    (66, 133, 244), (234, 96, 53), (251, 188, 5), (150, 90, 160), (52, 168, 83), (0, 200, 200), (240, 50, 130), (150, 100, 50),
    (255, 120, 190), (170, 220, 60), (60, 60, 170), (230, 210, 160), (120, 120, 120), (0, 110, 90), (160, 20, 30), (130, 190, 255),
)  # fmt: skip
TINT, ROWS = 0.5, 256  # how strong colours are; rows that are tinted at once
CROWDED = 12  # boxes from which on labels are written smaller
SURE = 0.3  # score below which a key point is drawn in grey


def draw_answers(answers: Answers) -> Image.Image:
    """The picture with one line per head in a band below it; small pictures are enlarged so that it can be read."""
    picture = open_picture(answers.path)
    grow = max(1, math.ceil(320 / max(picture.width, 1)))
    if grow > 1 and picture.width * grow * picture.height * grow < 4e7:
        picture = picture.resize((picture.width * grow, picture.height * grow), Image.Resampling.NEAREST)
    for answer in answers.answers.values():
        picture = tint(picture, answer) if isinstance(answer, Segmentation) else draw_objects(picture, answer, grow)
    for name, answer in answers.answers.items():
        if isinstance(answer, Segmentation) and answer.instances is None:
            entries = [(f"{label} {share:.0%}", class_colour(answer.classes, label)) for label, share in answer.shares.items()]
            picture = with_key(with_caption(picture, [f"{name}:"]), entries)
        else:
            picture = with_caption(picture, [f"{name}: {in_words(answer)}"])
    return picture


def class_colour(classes: Sequence[str], name: str) -> tuple[int, int, int] | None:
    """The colour of a class, the same in every picture; None for the background, which is left as it is."""
    return None if name == BACKGROUND else PALETTE[classes.index(name) % len(PALETTE)]


def tint(picture: Image.Image, answer: Segmentation) -> Image.Image:
    """A picture whose pixels are tinted by their class, or by their object where objects were told apart; borders are drawn darker."""
    size = picture.size
    if answer.instances is not None:
        numbers = answer.instances.regions
        table = np.array([(0, 0, 0), *(PALETTE[number % len(PALETTE)] for number in range(len(answer.instances)))], dtype=np.uint8)
        shown = np.array([False, *([True] * len(answer.instances))])
    else:
        numbers = answer.mask.astype(np.int32)
        colours = [class_colour(answer.classes, name) for name in answer.classes]
        colours = [*colours, *[None] * (IGNORE + 1 - len(colours))]
        colours[IGNORE] = None  # what nobody knows is left as it is
        table = np.array([colour or (0, 0, 0) for colour in colours], dtype=np.uint8)
        shown = np.array([colour is not None for colour in colours])
    places = nearest(torch.from_numpy(numbers), size).numpy()
    pixels = np.array(picture.convert("RGB"))
    for top in range(0, size[1], ROWS):
        here, below = places[top : top + ROWS], places[top + 1 : top + ROWS + 1]
        strip = pixels[top : top + ROWS]
        inside = shown[here]
        strip[inside] = ((1 - TINT) * strip[inside] + TINT * table[here[inside]]).astype(np.uint8)
        edge = np.zeros(here.shape, dtype=bool)
        edge[: len(below)] |= here[: len(below)] != below
        edge[:, :-1] |= here[:, :-1] != here[:, 1:]
        strip[edge] //= 3
    return Image.fromarray(pixels)


def with_key(picture: Image.Image, entries: Sequence[tuple[str, tuple[int, int, int] | None]]) -> Image.Image:
    """A picture with a band below it that names the colours."""
    size = max(12, picture.width // 36)
    font = _font(size)
    rows: list[list[tuple[int, str, tuple[int, int, int] | None]]] = [[]]
    x = size // 2
    for name, colour in entries:
        wide = round(font.getlength(name) + 2.2 * size)
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
            pen.text((left + round(1.3 * size), top - size // 8), name, fill=INK, font=font)
    return canvas


def save_masks(answers: Answers, folder: Path, path: Path) -> None:
    """Write what pixels are as index PNGs with a palette, one a head (named for it where there are several), and ``legend.csv``."""
    found = {name: answer for name, answer in answers.answers.items() if isinstance(answer, Segmentation)}
    if not found:
        raise OnelookError(f"{answers.path}: no head here says what pixels are; leave --masks out")
    for name, answer in found.items():
        whole = Image.fromarray(answer.mask)
        whole.putpalette([value for label in answer.classes for value in class_colour(answer.classes, label) or (0, 0, 0)])
        save_picture(whole, path if len(found) == 1 else path.with_name(f"{path.stem}_{name}.png"))
        write_legend(folder / ("legend.csv" if len(found) == 1 else f"legend_{name}.csv"), answer.classes)


def draw_objects(picture: Image.Image, answer: Answer, grow: float = 1.0) -> Image.Image:
    """Boxes with their labels, or key points with the lines between them, on a picture that was enlarged ``grow`` times."""
    if hasattr(answer, "xyxy"):
        return _draw_boxes(picture, answer, grow)
    return _draw_points(picture, answer, grow) if hasattr(answer, "xy") else picture


def _draw_boxes(picture: Image.Image, found: Any, grow: float) -> Image.Image:
    import supervision

    scaled = supervision.Detections(found.xyxy * grow, confidence=found.confidence, class_id=found.class_id, data=found.data)
    line = max(1, round(max(picture.size) / 400))
    crowded = len(found) > CROWDED
    picture = supervision.BoxAnnotator(thickness=line).annotate(picture.copy(), scaled)
    labels = [f"{name} {score:.2f}" for name, score in zip(found.data["class_name"], found.confidence, strict=True)]
    size = max(0.35, max(picture.size) / 1600) * (0.7 if crowded else 1)
    writer = supervision.LabelAnnotator(text_scale=size, text_thickness=1, text_padding=2, smart_position=not crowded)
    drawn: Image.Image = writer.annotate(picture, scaled, labels=labels)
    return drawn


def _draw_points(picture: Image.Image, found: Any, grow: float) -> Image.Image:
    picture = picture.copy()
    pen = ImageDraw.Draw(picture)
    size = max(2, round(max(picture.size) / 120))
    for person, scores in zip(found.xy * grow, found.keypoint_confidence, strict=True):
        for number, (one, other) in enumerate(found.data["skeleton"][0].tolist()):
            sure = float(min(scores[one], scores[other]))
            colour = COLOURS[number % len(COLOURS)] if sure >= SURE else GREY
            pen.line([tuple(person[one]), tuple(person[other])], fill=colour, width=max(1, size // 2))
        for (x, y), score in zip(person.tolist(), scores.tolist(), strict=True):
            pen.ellipse([x - size, y - size, x + size, y + size], fill=INK if score >= SURE else GREY, outline=PAPER)
    return picture


def with_caption(picture: Image.Image, lines: Sequence[str]) -> Image.Image:
    """A picture with lines of text, broken where they are too long, in a band below it."""
    size = max(12, picture.width // 28)
    font = _font(size)
    height = round(size * 1.4)
    letters = max(8, int((picture.width - size) / font.getlength("abcdefghij") * 10))
    lines = [part for line in lines for part in textwrap.wrap(line, letters) or [""]]
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


def views_sheet(samples: Sequence[Sample], recipe: Recipe, views: int, seed: int = 0, *, cell: int = 160) -> Image.Image:
    """The first ``views`` views of every picture, boxes and masks drawn: a row a picture, a column a view; unreadable ones are left out."""
    recipe = with_components(recipe, [sample.path for sample in samples], seed)
    rows = []
    for sample in samples:
        try:
            content, digest = read_bytes(sample.path)
            boxes = sample.target.boxes if isinstance(sample.target, Objects) else None
            mask = sample.target.read() if isinstance(sample.target, Mask) else None
            picture = open_picture(sample.path, content=content, at_least=cell if boxes is None and mask is None else None)
        except PictureError:
            continue
        rows.append([_outlined(make_view(View(picture, boxes, mask), recipe, number, digest, seed)) for number in range(views)])
    head = 40
    sheet = Image.new("RGB", (views * cell, head + max(1, len(rows)) * cell), PAPER)
    ImageDraw.Draw(sheet).text((10, 10), f"{recipe.name}: view 0 is the picture itself", fill=INK, font=_font(18))
    for down, row in enumerate(rows):
        for across, picture in enumerate(row):
            shown = ImageOps.contain(picture, (cell - 8, cell - 8))
            sheet.paste(shown, (across * cell + (cell - shown.width) // 2, head + down * cell + (cell - shown.height) // 2))
    return sheet


def _outlined(view: View) -> Image.Image:
    """A view's picture with its boxes, or tinted by its mask."""
    if view.mask is not None:
        classes = tuple(map(str, range(IGNORE + 1)))
        return tint(view.picture, Segmentation(view.mask.numpy(), view.mask.numpy(), classes))
    if view.boxes is None:
        return view.picture
    picture = view.picture.copy()
    pen = ImageDraw.Draw(picture)
    for box in view.boxes[has_area(view.boxes)].tolist():
        pen.rectangle(box, outline=COLOURS[3], width=max(2, max(picture.size) // 120))
    return picture


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture where the user said. Raises OnelookError naming the file for a suffix or a folder that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    except (OSError, ValueError) as error:
        raise OnelookError(f"{path}: cannot be written ({error}); name a .png or .jpg file in a folder of yours") from error


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A face with Chinese, Japanese and Korean glyphs where the system has one, else the one that PIL ships."""
    for name in ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "Arial Unicode.ttf", "msyh.ttc"):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)

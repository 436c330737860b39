"""Training pictures as training sees them: a sheet of views.

onelook data views photos/ --augment photo --out sheet.png
"""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageOps

from onelook.answers.canvas import COLOURS, INK, PAPER, font
from onelook.answers.segmentation import Segmentation
from onelook.data.augment import Recipe, View, make_view, with_components
from onelook.data.pictures import open_picture, read_bytes
from onelook.data.samples import Sample
from onelook.errors import PictureError
from onelook.geometry.masks import IGNORE, Mask
from onelook.geometry.objects import Objects, has_area


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
        rows.append([outlined(make_view(View(picture, boxes, mask), recipe, number, digest, seed)) for number in range(views)])
    head = 40
    sheet = Image.new("RGB", (views * cell, head + max(1, len(rows)) * cell), PAPER)
    ImageDraw.Draw(sheet).text((10, 10), f"{recipe.name}: view 0 is the picture itself", fill=INK, font=font(18))
    for down, row in enumerate(rows):
        for across, picture in enumerate(row):
            shown = ImageOps.contain(picture, (cell - 8, cell - 8))
            sheet.paste(shown, (across * cell + (cell - shown.width) // 2, head + down * cell + (cell - shown.height) // 2))
    return sheet


def outlined(view: View) -> Image.Image:
    """A view's picture with its boxes, or tinted by its mask."""
    if view.mask is not None:
        classes = tuple(map(str, range(IGNORE + 1)))
        return Segmentation(view.mask.numpy(), view.mask.numpy(), classes).draw(view.picture)
    if view.boxes is None:
        return view.picture
    picture = view.picture.copy()
    pen = ImageDraw.Draw(picture)
    for box in view.boxes[has_area(view.boxes)].tolist():
        pen.rectangle(box, outline=COLOURS[3], width=max(2, max(picture.size) // 120))
    return picture

"""Sheets and the page of a painting.

onelook style photo.jpg painting.jpg --report page/
"""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from onelook.answers.canvas import GREY, INK, PAPER, font
from onelook.metrics.judge import Table
from onelook.report.figures import style_curve
from onelook.report.page import Section, shown, write_page
from onelook.style.paint import Painting

CELL, LINE = 320, 20  # pixels of a picture in a sheet, and of a line below it
WIDE = 1200


def write_style(folder: Path, painting: Painting, content: Image.Image, styles: Sequence[Image.Image]) -> Path:
    """Write ``folder``/index.html and return its path. Raises DiskError."""
    facts = painting.to_json()
    rows = [("network", f"{painting.network} ({painting.licence})"), ("losses", painting.formula), ("steps", str(painting.steps))]
    rows += [("seconds", f"{painting.seconds:.1f} (forecast {painting.forecast.seconds:.1f})")]
    rows += [("memory", f"{facts['peak_mb']} MB (forecast {facts['forecast_mb']})")]
    rows += [("style distance", f"{painting.verdict.style:.3f}"), ("content distance", f"{painting.verdict.content:.3f}")]
    rows += [("judge", painting.judge), *(("remark", remark) for remark in painting.remarks)]
    note = "Distances: 0 is the same; by the features of a network that did not paint. Style: Gram matrices; content: outputs of one layer."
    sources = [shown(content, "content", "the photo"), *(shown(style, "style", "a painting") for style in styles)]
    sections = [
        Section("Painted", sheets=(shown(painting.picture, "painted", "", WIDE),)),
        Section("From", pictures=tuple(sources)),
        Section("How", table=Table("", ("", ""), tuple(rows)), note=note),
    ]
    if painting.curve:
        sections.append(Section("Losses on the way", svg=style_curve(painting.curve), note="Lines: where the picture grows."))
    lead = f"{painting.picture.width} x {painting.picture.height} pixels, {painting.seconds:.0f} seconds."
    return write_page(folder, "Painted", lead, sections)


def sheet(rows: Sequence[Sequence[tuple[Image.Image | None, Sequence[str]]]]) -> Image.Image:
    """Pictures in rows, each with lines of text below it; None: an empty place."""
    tallest = max((_height(picture) for row in rows for picture, _ in row if picture is not None), default=CELL)
    lines = max(len(said) for row in rows for _, said in row)
    step = tallest + LINE * lines + 12
    whole = Image.new("RGB", (max(len(row) for row in rows) * (CELL + 8) + 8, len(rows) * step + 8), PAPER)
    pen, face = ImageDraw.Draw(whole), font(14)
    for down, row in enumerate(rows):
        for across, (picture, said) in enumerate(row):
            left, top = 8 + across * (CELL + 8), 8 + down * step
            if picture is not None:
                whole.paste(picture.resize((CELL, _height(picture)), Image.Resampling.LANCZOS), (left, top))
            for number, text in enumerate(said):
                pen.text((left, top + tallest + 2 + number * LINE), _cut(text, face), fill=GREY if number else INK, font=face)
    return whole


def said_of(painting: Painting) -> tuple[str, str]:
    """Two lines below a painting in a sheet."""
    verdict = painting.verdict
    return (
        f"{painting.seconds:.1f} s, style {verdict.style:.3f}, content {verdict.content:.2f}",
        f"{painting.network}: {painting.licence}; judge {painting.judge}",
    )


def _height(picture: Image.Image) -> int:
    return max(1, round(picture.height * CELL / picture.width))


def _cut(text: str, face: object) -> str:
    """As much of a text as fits below a picture."""
    length = getattr(face, "getlength", len)
    while length(text) > CELL and len(text) > 4:
        text = text[:-4].rstrip() + "..."
    return text

"""Pictures beside a page, for slides and mails: every matrix of a judge, and the worst answers on one sheet, as PNGs.

onelook val test-photos/ --model mine.onelook --head kind --report report/     # report/where-it-goes-wrong-most.png
"""

import base64
import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from onelook.answers.canvas import contact_sheet, save_picture
from onelook.metrics.judge import Table
from onelook.report.page import Section, write_page

MOST_NUMBERS = 24  # classes up to which the numbers stand in a matrix, too


def write_with_sheets(folder: Path, title: str, lead: str, sections: Sequence[Section]) -> Path:
    """Write ``folder``/index.html, and beside it what its sections show as PNGs, called by their titles. Raises DiskError, OnelookError."""
    sheets: dict[str, Image.Image] = {}
    for section in sections:
        name = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-") + ".png"
        if section.pictures:
            cells = [(Image.open(BytesIO(base64.b64decode(one.jpeg))), f"{one.caption}\n{one.name}") for one in section.pictures]
            sheets[name] = contact_sheet(cells, f"{section.title}. {section.text}", columns=min(6, len(cells)), cell=240)
        elif section.table and section.table.shades:
            sheets[name] = matrix(section.table)
    told = [Section("For slides", f"Beside this page: {', '.join(sheets)}.")] if sheets else []
    path = write_page(folder, title, lead, [*sections, *told])
    for name, sheet in sheets.items():
        save_picture(sheet, folder / name)
    return path


def matrix(table: Table) -> Image.Image:
    """A table with shades as a picture: rows and columns with their names, darker for more; what is no number stands beside its row."""
    plain = not all(row[-1].isdigit() for row in table.rows)
    columns = table.header[1:-1] if plain else table.header[1:]
    shades = [row[1 : 1 + len(columns)] for row in table.shades]
    across, down = 2.4 + 0.42 * len(columns) + 1.4 * plain, 1.6 + 0.42 * len(table.rows)
    figure = Figure(figsize=(max(4.0, across), max(3.0, down)), layout="constrained", dpi=150)
    axes = figure.add_subplot()
    axes.imshow(shades, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    axes.set_xticks(range(len(columns)), columns, rotation=90 if len(columns) > 4 else 0, fontsize=8)
    axes.set_yticks(range(len(table.rows)), [row[0] for row in table.rows], fontsize=8)
    if plain:
        axes.secondary_yaxis("right").set_yticks(range(len(table.rows)), [row[-1] for row in table.rows], fontsize=7)
    axes.set_ylabel(table.header[0], fontsize=8)
    axes.set_title(table.title, fontsize=10)
    for place, row in enumerate(table.rows if len(columns) <= MOST_NUMBERS else ()):
        for column in range(len(columns)):
            colour = "white" if shades[place][column] > 0.6 else "black"
            axes.text(column, place, row[1 + column], ha="center", va="center", fontsize=7, color=colour)
    content = BytesIO()
    figure.savefig(content, format="png")
    return Image.open(content).convert("RGB")

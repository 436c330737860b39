"""A report as one HTML file that needs nothing else: plots and pictures are inside it, nothing is fetched, no script runs."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from onelook.data.pictures import open_picture
from onelook.errors import DiskError
from onelook.metrics.judge import Table

THUMBNAIL = 480  # pixels of a picture when it is enlarged; in its sheet it is smaller


@dataclass(frozen=True)
class Picture:
    """A thumbnail (base64 JPEG), its file's name and what is said of it; ``spots``: words at places (shares of width and height)."""

    jpeg: str
    name: str
    caption: str
    spots: tuple[tuple[float, float, str], ...] = ()


@dataclass(frozen=True)
class Section:
    """One part of the page; what is empty is left out."""

    title: str
    text: str = ""
    svg: str = ""
    table: Table | None = None
    pictures: tuple[Picture, ...] = ()
    code: str = ""
    note: str = ""
    sheets: tuple[Picture, ...] = ()  # as wide as the page
    folded: bool = False  # a click (or Enter) on its title opens it


def write_page(folder: Path, title: str, lead: str, sections: list[Section]) -> Path:
    """Write ``folder``/index.html and return its path. Raises DiskError."""
    environment = Environment(loader=PackageLoader("onelook.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    html = environment.get_template("page.html").render(title=title, lead=lead, sections=sections)
    path = folder / "index.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(html, "utf-8", "backslashreplace")
    except OSError as error:
        raise DiskError(f"{path}: the report cannot be written ({error.strerror}); the model is saved all the same") from error
    return path


def thumbnail(path: Path, caption: str) -> Picture:
    """A small copy of the picture at ``path``."""
    return shown(open_picture(path, at_least=THUMBNAIL), path.name, caption)


def shown(picture: Image.Image, name: str, caption: str, size: int = THUMBNAIL, spots: Sequence[tuple[float, float, str]] = ()) -> Picture:
    """A picture in memory, brought to ``size`` pixels at most; ``spots``: words at places (x, y) in its pixels, seen under the pointer."""
    shares = tuple((round(x / picture.width, 4), round(y / picture.height, 4), words) for x, y, words in spots)
    picture = picture.copy()
    picture.thumbnail((size, size))
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=85)
    return Picture(base64.b64encode(content.getvalue()).decode("ascii"), name, caption, shares)


def side_by_side(left: Image.Image, right: Image.Image) -> Image.Image:
    """Two pictures next to each other, the right one brought to the left one's height."""
    right = right.resize((max(1, round(right.width * left.height / right.height)), left.height))
    both = Image.new("RGB", (left.width + right.width + 8, left.height), "white")
    both.paste(left, (0, 0))
    both.paste(right, (left.width + 8, 0))
    return both

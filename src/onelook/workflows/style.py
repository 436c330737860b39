"""What the commands of style do beside painting: places from a head, sweeps of weights, the ladder of networks, training a painter.

onelook style photo.jpg painting.jpg --sweep --out sweep.png
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from onelook.answers.canvas import save_picture, unused
from onelook.answers.segmentation import Segmentation
from onelook.backbones.weights import DEFAULT_BACKBONE
from onelook.data.film import Film, FilmError
from onelook.data.pictures import find_pictures, is_film, open_picture
from onelook.deadline import Deadline
from onelook.errors import BackboneError, DataError, HeadError, OnelookError, PictureError
from onelook.facts import Facts
from onelook.progress import Progress
from onelook.style.feedforward import Learned, StyleFile, load, train
from onelook.style.networks import load_network
from onelook.style.paint import INSTANT, Painting, paint
from onelook.style.recipe import SIZE, Recipe
from onelook.video.write import Drawn, whole

LADDER = (INSTANT, DEFAULT_BACKBONE, "hed")  # networks that need no download, the quickest first
RATIOS = (0.99, 0.9, 0.5, 0.1)  # strengths of a sweep, from style to content: three decades of the ratio, as in the paper
SOFT = 4  # pixels over which a place's border fades


@dataclass(frozen=True)
class Place:
    """Where a style belongs, as ``FILE.onelook:HEAD=CLASS`` says."""

    model: Path
    head: str
    name: str

    @staticmethod
    def of(text: str) -> "Place":
        """Raises OnelookError for a text of another form."""
        rest, equals, name = text.rpartition("=")
        model, colon, head = rest.rpartition(":")
        if not (equals and colon and name and model and head):
            raise OnelookError(f"--where {text}: use FILE.onelook:HEAD=CLASS, as in people.onelook:what=person")
        return Place(Path(model), head, name)

    def mask(self, picture: Path) -> Image.Image:
        """White where the head sees the class, as large as the picture. Raises HeadError for a head that says nothing of pixels."""
        from onelook.model import Model

        answers = next(iter(Model.load(self.model).predict([picture], heads=[self.head])))
        if answers.error is not None:
            raise OnelookError(answers.error)
        answer = answers[self.head]
        if not isinstance(answer, Segmentation):
            raise HeadError(f"--where: head {self.head} does not say what pixels are; train one with --task segment")
        if self.name not in answer.classes:
            raise HeadError(f"--where: {self.name} is no class of {self.head}; it has {', '.join(answer.classes)}")
        mask = (answer.mask == answer.classes.index(self.name)).astype(np.uint8) * 255
        if not mask.any():
            raise OnelookError(f"--where: {self.head} sees no {self.name} in {picture}")
        return Image.fromarray(mask).filter(ImageFilter.GaussianBlur(SOFT))


def sweep(content: Path, styles: Sequence[Path], recipe: Recipe) -> Iterator[tuple[str, Painting]]:
    """The papers' figure (Gatys et al. 2015, fig. 3): (layers of style and strength, painting), more layers down, more content across."""
    network = load_network(recipe.network, recipe.weights_file)
    layers = list(recipe.style_layers or network.facts.style)
    for count in range(1, len(layers) + 1):
        for strength in RATIOS:
            used = dict.fromkeys(layers[:count], 1.0)
            painting = paint(content, styles, replace(recipe, style_layers=used, strength=strength))
            yield f"to {layers[count - 1]}, strength {strength:g}", painting


def ladder(content: Path, styles: Sequence[Path], recipe: Recipe) -> Iterator[tuple[str, Painting | str]]:
    """Every network that is here, or why it is not: (name, painting or reason)."""
    for name in dict.fromkeys((*LADDER, recipe.network)):
        try:
            yield name, paint(content, styles, _recipe_for(name, recipe))
        except BackboneError as error:
            yield name, str(error)


def _recipe_for(name: str, recipe: Recipe) -> Recipe:
    """The recipe as another network can carry it out."""
    if name == recipe.network:
        return recipe
    if name == INSTANT:
        return Recipe(network=name, size=recipe.size, strength=recipe.strength, blend=recipe.blend, colour=recipe.colour, seed=recipe.seed)
    return replace(recipe, network=name, weights_file=None, content_layers={}, style_layers={})


def train_painter(
    style: Path, photos: Sequence[str], out: Path, recipe: Recipe, seconds: float, *, steady: float, seed: int, progress: Progress
) -> Facts:  # fmt: skip
    """Learn to paint in one style for so many seconds and write the painter. Raises DataError without photos."""
    deadline = Deadline(seconds)
    found = list(find_pictures(photos))
    if not found:
        raise DataError(f"{' '.join(photos)}: no pictures found to learn painting on")
    network = load_network(recipe.network, recipe.weights_file)
    painting = open_picture(style)
    with progress.task(f"learning to paint like {style.name}", int(seconds)) as advance:
        shown = 0

        def show(_: Learned) -> None:
            nonlocal shown
            while shown < deadline.taken():
                advance()
                shown += 1

        terms = recipe.terms(network)
        own = train(
            painting, style.name, found, network, terms, deadline, size=recipe.size or SIZE, steady=steady, seed=seed, callback=show
        )  # fmt: skip
    own.save(out)
    return own.facts() | {"out": str(out), "stopped": not deadline.passed()}


def apply_painter(file: Path, photos: Sequence[str], out: Path, size: int | None) -> Iterator[Facts]:
    """Paint every photo, and every frame of films, in one pass and write it to a folder: path, out, seconds; or path, error.

    ``size``: pixels of the longer side (default: what the painter learned for, or the photo's own if that is less). Raises DataError
    without photos, DiskError.
    """
    painter = load(file)
    count, written = 0, set[Path]()
    for films, some in groupby(photos, is_film):
        for path in map(Path, some) if films else find_pictures(some):
            count += 1
            try:
                yield _paint_film(painter, path, out, size) if films else _paint_photo(painter, path, out, size, written)
            except (PictureError, FilmError) as error:
                yield {"path": str(path), "error": str(error) if str(path) in str(error) else f"{path}: {error}"}
    if not count:
        raise DataError(f"{' '.join(photos)}: no pictures found")


def _paint_photo(painter: StyleFile, path: Path, out: Path, size: int | None, written: set[Path]) -> Facts:
    picture = _sized(open_picture(path), size, painter)
    begun = time.perf_counter()
    painted = painter(picture)
    seconds = time.perf_counter() - begun
    target = unused(out / f"{path.stem}.png", written)
    save_picture(painted, target)
    return {"path": str(path), "out": str(target), "seconds": round(seconds, 3)}


def _paint_film(painter: StyleFile, path: Path, out: Path, size: int | None) -> Facts:
    """A film painted frame by frame, each at its own time, without its sound."""
    target = out / f"{path.stem}.mp4"
    if target.exists():
        raise FilmError(f"{target}: is there already; name another folder")
    film, begun = Film.open(path), time.perf_counter()
    with whole(target) as partial, closing(Drawn(partial, film.rate)) as painted:
        for frame in film.frames(film.chosen(), size or painter.size):
            painted.add(painter(_sized(frame.picture, size, painter)), frame.time)
    return {"path": str(path), "out": str(target), "seconds": round(time.perf_counter() - begun, 3), "frames": len(film.times)}


def _sized(picture: Image.Image, size: int | None, painter: StyleFile) -> Image.Image:
    """A picture whose longer side has so many pixels; without a size at most as many as the painter learned for."""
    scale = (size or min(painter.size, max(picture.size))) / max(picture.size)
    return picture if scale == 1 else picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))

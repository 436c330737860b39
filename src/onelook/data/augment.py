"""Augmentation: views of a training picture, with boxes, masks and points moving along.

A view is deterministic in (picture, view number, seed): its random numbers come from the picture's content hash. View 0 is the
picture itself; the next are its mirror images, exact to the pixel; the others are drawn from a recipe, by name:

    none          the picture itself
    light         mirrored, cropped
    signs         never mirrored, for what has a left and a right (digits, letters, signs): cropped, turned a little, sheared
    photo         mirrored, cropped, turned a little, sheared, colours shifted, PCA colour noise
    aerial        as seen from above: also upside down and in quarter turns
    microscope    as aerial, locally warped, any angle

PCA colour noise: Krizhevsky et al. 2012 ("ImageNet classification with deep convolutional neural networks", section 4.1),
with the components of the user's own training pictures. Warping: Simard et al. 2003 ("Best practices for convolutional
neural networks", section 2). Views are made from pixels and looked at again; flipping a network's maps instead would not give
the maps of the flipped picture (a convolution's padding and stride are not symmetric).

    onelook data views photos/ --augment photo --out sheet.png
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional
from torchvision.transforms.v2.functional import InterpolationMode

from onelook.data.pictures import open_picture
from onelook.errors import DataError, PictureError
from onelook.geometry.masks import IGNORE
from onelook.geometry.objects import Objects

VERSION = 3  # part of the cache's key: change it whenever the pixels of a view change
PCA_DEVIATION = 0.1  # of the factor on each component, as in the paper
PCA_PICTURES = 256  # training pictures from which the components are computed
LEAST_SHOWN = 0.3  # share of an object's area that a view must show for it to be learned from


@dataclass(frozen=True)
class Components:
    """Principal components of RGB in 0..1: variances (3,), directions (3, 3) in rows."""

    variances: tuple[float, ...]
    directions: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Recipe:
    """How far views may differ from their picture.

    ``mirror``, ``upside_down``, ``quarters`` (turns by 90 degrees). ``crop``: smallest share of each side that is kept.
    ``rotate``, ``shear``: largest angle in degrees. ``warp``: deviation of the local displacement, as a share of the longer side.
    ``colour``: largest relative change of brightness, contrast and saturation; hue changes by a tenth of it. ``pca``: whether
    colour noise along ``components`` is added.
    """

    name: str
    mirror: bool = False
    upside_down: bool = False
    quarters: bool = False
    crop: float = 1.0
    rotate: float = 0.0
    shear: float = 0.0
    warp: float = 0.0
    colour: float = 0.0
    pca: bool = False
    components: Components | None = None

    @property
    def fixed(self) -> int:
        """Views below this number are the picture and its mirror images, the same for every seed."""
        return (2 if self.mirror else 1) * (2 if self.upside_down else 1)

    @property
    def key(self) -> str:
        """All that changes the pixels of a view, in a word."""
        colours = hashlib.sha256(str(self.components).encode()).hexdigest()[:8] if self.components else "plain"
        return f"{self.name}-{VERSION}-{colours}"


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("none"),
        Recipe("light", mirror=True, crop=0.8),
        Recipe("signs", crop=0.85, rotate=8, shear=8),
        Recipe("photo", mirror=True, crop=0.7, rotate=10, shear=5, colour=0.2, pca=True),
        Recipe("aerial", mirror=True, upside_down=True, quarters=True, crop=0.8, rotate=10, shear=3, colour=0.15, pca=True),
        Recipe("microscope", mirror=True, upside_down=True, quarters=True, crop=0.85, rotate=180, warp=0.01, colour=0.1, pca=True),
    )
}


@dataclass(frozen=True)
class View:
    """A picture with what is known about it, in its own pixels.

    ``boxes``: (N, 4) xyxy. ``mask``: (H, W) integers. ``points``: (..., K, 2 or more) as x, y and what else is known of them; points that
    leave the picture are left outside it, boxes are cut to it (and have no area if they left it). ``blank``: only its size counts.
    """

    picture: Image.Image
    boxes: Tensor | None = None
    mask: Tensor | None = None
    points: Tensor | None = None
    blank: bool = False


def recipe_by_name(name: str) -> Recipe:
    """The recipe of this name. Raises DataError naming those there are."""
    if name not in RECIPES:
        raise DataError(f"--augment {name}: unknown; use one of {', '.join(RECIPES)}")
    return RECIPES[name]


def unmirrored(recipe: Recipe) -> Recipe:
    """The same recipe without mirror images, for key points of which left and right are not known."""
    if not recipe.mirror and not recipe.upside_down:
        return recipe
    return replace(recipe, name=f"{recipe.name}-unmirrored", mirror=False, upside_down=False)


def with_components(recipe: Recipe, paths: Sequence[Path], seed: int = 0) -> Recipe:
    """``recipe`` with the colour components of these training pictures, if it uses them; unreadable pictures are passed over."""
    if not recipe.pca or recipe.components is not None:
        return recipe
    chosen = np.random.default_rng(seed).permutation(len(paths))[:PCA_PICTURES]
    return replace(recipe, components=colour_components([paths[index] for index in sorted(chosen)]))


def colour_components(paths: Sequence[Path]) -> Components:
    """Principal components of all pixels of the pictures at ``paths`` (shrunk to 64 pixels; RGB in 0..1)."""
    count, total, squares = 0, np.zeros(3), np.zeros((3, 3))
    for path in paths:
        try:
            picture = open_picture(path, at_least=64)
        except PictureError:
            continue
        picture.thumbnail((64, 64))
        pixels = np.asarray(picture, dtype=np.float64).reshape(-1, 3) / 255
        count, total, squares = count + len(pixels), total + pixels.sum(0), squares + pixels.T @ pixels
    if not count:
        return Components((0.0,) * 3, ((0.0,) * 3,) * 3)
    mean = total / count
    variances, directions = np.linalg.eigh(squares / count - np.outer(mean, mean))
    rounded = np.round(np.maximum(variances[::-1], 0), 6).tolist()
    return Components(tuple(rounded), tuple(tuple(row) for row in np.round(directions.T[::-1], 6).tolist()))


def make_view(
    view: View, recipe: Recipe, number: int, digest: str, seed: int = 0, pairs: Sequence[tuple[int, int]] = (), colours: bool = True
) -> View:
    """View ``number`` of a picture whose content hash is ``digest``; the same arguments give the same pixels.

    ``pairs``: indices of points that change places in a mirror (left and right eye). ``colours``: false leaves colours as they are, where
    only the geometry is wanted.
    """
    if number == 0 or recipe.name == "none":
        return view
    draw = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{digest}-{number}-{seed}".encode()).digest()[:8], "big"))
    if not colours:
        view = replace(view, blank=True)
    if number >= recipe.fixed:
        view = _drawn(view, recipe, draw, colours)
    if recipe.mirror and number % 2:
        view = _swapped(_each(view, functional.horizontal_flip), pairs)
    if recipe.upside_down and number // (2 if recipe.mirror else 1) % 2:
        view = _swapped(_each(view, functional.vertical_flip), pairs)
    return view


def move_objects(
    objects: Objects, size: tuple[int, int], recipe: Recipe, number: int, digest: str, seed: int = 0, pairs: Sequence[tuple[int, int]] = ()
) -> tuple[Objects, tuple[int, int]]:
    """Where objects (in pixels of a picture of ``size``) lie in view ``number`` of it, and the view's size.

    Objects of which a view shows less than LEAST_SHOWN of their area become ignored; points outside it count as not labelled.
    """
    blank = View(Image.new("L", size), objects.boxes, None, objects.points)
    view = make_view(blank, recipe, number, digest, seed, pairs, colours=False)
    assert view.boxes is not None
    assert view.points is not None
    shown, whole = ((boxes[:, 2:] - boxes[:, :2]).clamp_min(0).prod(1) for boxes in (view.boxes, objects.boxes))
    points = view.points.clone()
    inside = (points[..., :2] >= 0).all(-1) & (points[..., 0] < view.picture.width) & (points[..., 1] < view.picture.height)
    points[..., 2] *= inside
    return Objects(view.boxes, objects.labels, objects.ignored | (shown < LEAST_SHOWN * whole), points), view.picture.size


def _drawn(view: View, recipe: Recipe, draw: np.random.Generator, colours: bool) -> View:
    if recipe.quarters and (turns := int(draw.integers(4))):
        view = _each(view, lambda item: functional.rotate(item, 90.0 * turns, expand=True))
    if recipe.warp:
        view = _warped(view, recipe.warp, draw)
    if recipe.rotate or recipe.shear:
        view = _turned(view, float(draw.uniform(-recipe.rotate, recipe.rotate)), float(draw.uniform(-recipe.shear, recipe.shear)))
    if recipe.crop < 1:
        view = _cropped(view, recipe.crop, draw)
    return replace(view, picture=_coloured(view.picture, recipe, draw)) if colours else view


def _each(view: View, move: Callable[[Any], Any]) -> View:
    """The same geometric change to the picture and to all that lies on it."""
    width, height = view.picture.size
    canvas = (height, width)
    boxes, points = view.boxes, view.points
    if boxes is not None:
        boxes = move(tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=canvas, clamping_mode="hard")).as_subclass(Tensor)
    if points is not None and points.numel():
        # as boxes without area: torchvision's own key points count pixels from their centres, its boxes from their corners
        flat = points[..., :2].reshape(-1, 2).repeat(1, 2)
        moved = move(tv_tensors.BoundingBoxes(flat, format="XYXY", canvas_size=canvas, clamping_mode=None))
        points = torch.cat([moved.as_subclass(Tensor)[:, :2].reshape(*points.shape[:-1], 2), points[..., 2:]], dim=-1)
    mask = None if view.mask is None else cast(Tensor, move(tv_tensors.Mask(view.mask[None])).as_subclass(Tensor)[0])
    return View(move(view.picture), boxes, mask, points, view.blank)


def _swapped(view: View, pairs: Sequence[tuple[int, int]]) -> View:
    if view.points is None or not pairs:
        return view
    order = list(range(view.points.shape[-2]))
    for left, right in pairs:
        order[left], order[right] = right, left
    return replace(view, points=view.points[..., order, :])


def _cropped(view: View, least: float, draw: np.random.Generator) -> View:
    width, height = view.picture.size
    keep = draw.uniform(least, 1.0)
    wide, high = max(1, round(width * keep)), max(1, round(height * keep))
    left, top = int(draw.integers(width - wide + 1)), int(draw.integers(height - high + 1))
    return _each(view, lambda item: functional.crop(item, top, left, high, wide))


def _turned(view: View, angle: float, shear: float) -> View:
    """Turned about the centre and sheared."""
    width, height = view.picture.size
    cos, sin, lean = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle))), abs(math.tan(math.radians(shear)))
    wide, high = width * cos + height * (sin + lean), width * sin + height * cos  # of what is needed to fill the frame
    margin = (math.ceil((wide - width) / 2), math.ceil((high - height) / 2))
    return _inside(view, margin, lambda item, blend, outside: functional.affine(item, angle, [0, 0], 1.0, [shear, 0.0], blend, outside))


def _warped(view: View, deviation: float, draw: np.random.Generator) -> View:
    """Smooth random displacements: a coarse grid of normal numbers, enlarged to the picture."""
    width, height = view.picture.size
    longer = max(width, height)
    reach = math.ceil(4 * deviation * longer)
    wide, high = width + 2 * _margin(reach, width), height + 2 * _margin(reach, height)
    grid = torch.from_numpy(draw.normal(0, 1, (1, 2, 5, 5)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(grid, (high, wide), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    displacement = smooth * deviation * 2 * torch.tensor([longer / wide, longer / high])  # in units of half the picture
    return _inside(view, (reach, reach), lambda item, blend, outside: functional.elastic(item, displacement, blend, outside))


def _inside(view: View, margin: tuple[int, int], change: Callable[[Any, InterpolationMode, list[float]], Any]) -> View:
    """``change`` made on the picture with a margin of its mirrored border (a mask says IGNORE there), which is cut off again."""
    width, height = view.picture.size
    across, down = _margin(margin[0], width), _margin(margin[1], height)

    def move(item: Any) -> Any:
        if view.blank and isinstance(item, Image.Image):
            return item  # its size stays the same
        mask = isinstance(item, tv_tensors.Mask)
        outside, blend = (IGNORE, InterpolationMode.NEAREST) if mask else (0, InterpolationMode.BILINEAR)
        if isinstance(item, Image.Image):
            item = functional.pad(item, [across, down], padding_mode="symmetric")
        else:
            item = functional.pad(item, [across, down], fill=outside)
        return functional.crop(change(item, blend, [outside]), down, across, height, width)

    return _each(view, move)


def _margin(wanted: int, side: int) -> int:
    """A border can be mirrored once at most."""
    return max(0, min(wanted, side - 1))


def _coloured(picture: Image.Image, recipe: Recipe, draw: np.random.Generator) -> Image.Image:
    if recipe.colour:
        brightness, contrast, saturation = (float(factor) for factor in draw.uniform(1 - recipe.colour, 1 + recipe.colour, 3))
        picture = functional.adjust_brightness(picture, brightness)
        picture = functional.adjust_contrast(picture, contrast)
        picture = functional.adjust_saturation(picture, saturation)
        picture = functional.adjust_hue(picture, float(draw.uniform(-recipe.colour, recipe.colour)) / 10)
    if recipe.pca and recipe.components:
        shift = pca_shift(recipe.components, draw.normal(0, PCA_DEVIATION, 3))
        picture = Image.fromarray((np.asarray(picture) + shift * 255).round().clip(0, 255).astype(np.uint8))
    return picture


def pca_shift(components: Components, factors: np.ndarray) -> np.ndarray:
    """What is added to every pixel (3,), RGB in 0..1: the directions, each times its variance and its factor."""
    shift: np.ndarray = np.asarray(components.directions).T @ (np.asarray(components.variances) * factors)
    return shift

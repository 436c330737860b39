"""Outlines of objects, as polygons or run lengths, and the masks that they make: what every pixel shows, the smaller object in front.

Lin et al. 2014, "Microsoft COCO"; shapes are decoded by the COCO tools' own code. Class 0 is the background.

    onelook data check coco/ --task segment
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from onelook.data.readers.written_size import Fit, Size
from onelook.geometry.masks import Mask

Xyxy = tuple[float, float, float, float]
Polygon = tuple[float, ...]  # x, y, x, y ... in pixels
FEWEST = 6  # numbers of a polygon
CORNERS = 32  # of the polygon around an ellipse
TURNS = {
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # EXIF's orientation -> what undoes it  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """Polygons, or run lengths (COCO's ``counts``, a list or packed into text) of a picture of ``size``.

    ``lost``: how many of its polygons are none.
    """

    polygons: tuple[Polygon, ...] = ()
    counts: tuple[int, ...] | str = ()
    size: Size = (0, 0)
    lost: int = 0

    @property
    def bounds(self) -> Xyxy | None:
        """What encloses its polygons, or its run lengths where they can be read."""
        xs, ys = [x for polygon in self.polygons for x in polygon[0::2]], [y for polygon in self.polygons for y in polygon[1::2]]
        if xs:
            return min(xs), min(ys), max(xs), max(ys)
        inside = decode(self, Fit(self.size, self.size)) if self.counts else np.zeros((0, 0), dtype=bool)
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)) if len(rows) else None


def shape_of(written: object) -> Shape | None:
    """The shape of a COCO segmentation: polygons, also one as a flat list, or run lengths; None for what is neither."""
    if isinstance(written, dict):
        counts, size = written.get("counts"), written.get("size")
        if not isinstance(size, list) or len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
            return None
        if isinstance(counts, list):
            counts = tuple(int(count) for count in counts) if all(isinstance(count, int) for count in counts) else None
        return Shape(counts=counts, size=(size[1], size[0])) if counts and isinstance(counts, str | tuple) else None
    if not isinstance(written, list) or not written:
        return None
    parts = written if any(isinstance(part, list) for part in written) else [written]
    polygons = [polygon for part in parts if (polygon := polygon_of(part))]
    return Shape(tuple(polygons), lost=len(parts) - len(polygons)) if polygons else None


def ellipse(x: float, y: float, wide: float, high: float) -> Polygon:
    """A polygon around an ellipse with these half axes."""
    steps = [2 * math.pi * step / CORNERS for step in range(CORNERS)]
    return tuple(value for angle in steps for value in (x + wide * math.cos(angle), y + high * math.sin(angle)))


def turned_box(x: float, y: float, width: float, height: float, degrees: float, about: tuple[float, float]) -> Polygon:
    """The corners of a box with its corner at (x, y) that is turned clockwise around a point."""
    angle = math.radians(degrees)
    corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
    moved = ((px - about[0], py - about[1]) for px, py in corners)
    cos, sin = math.cos(angle), math.sin(angle)
    return tuple(value for px, py in moved for value in (about[0] + px * cos - py * sin, about[1] + px * sin + py * cos))


def shape_of_pixels(inside: np.ndarray) -> Shape:
    """The shape of booleans (H, W)."""
    flat = inside.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges.tolist(), len(flat)]).tolist()
    counts = ([0] if len(flat) and flat[0] else []) + runs
    return Shape(counts=tuple(counts), size=(inside.shape[1], inside.shape[0]))


def polygon_of(numbers: object) -> Polygon | None:
    """x, y, x, y ... of at least three points, as numbers or as text; None for anything else."""
    if not isinstance(numbers, list | tuple) or len(numbers) < FEWEST or len(numbers) % 2:
        return None
    try:
        polygon = tuple(float(value) for value in numbers)
    except (TypeError, ValueError):
        return None
    return polygon if all(map(math.isfinite, polygon)) else None


def mask_of_shapes(fit: Fit, shapes: Sequence[tuple[int, Shape]], classes: int) -> Mask:
    """The mask of class ids and shapes; pixels of none are class 0."""
    load = partial(_draw, fit, tuple(shapes))
    counts = np.bincount(load().numpy().ravel(), minlength=256)[:classes]
    return Mask(fit.size, tuple(map(int, counts)), load)


def _draw(fit: Fit, shapes: Sequence[tuple[int, Shape]]) -> Tensor:
    """Class ids (H, W) uint8: larger shapes first, so that what lies in front stays whole."""
    drawn = [(label, decode(shape, fit)) for label, shape in shapes]
    mask = np.zeros((fit.size[1], fit.size[0]), dtype=np.uint8)
    for label, inside in sorted(drawn, key=lambda entry: -int(entry[1].sum())):
        mask[inside] = label
    return torch.from_numpy(mask)


def decode(shape: Shape, fit: Fit) -> np.ndarray:
    """A shape (H, W) of booleans in the upright picture; run lengths of another size are scaled to it. Raises whatever the decoder does."""
    from faster_coco_eval.core import mask as coco

    width, height = fit.size
    if shape.polygons:
        moved = [[value for at in range(0, len(polygon), 2) for value in fit.point(*polygon[at : at + 2])] for polygon in shape.polygons]
        return np.asarray(coco.decode(coco.merge(coco.frPyObjects(moved, height, width))), dtype=bool)
    size = [shape.size[1], shape.size[0]]
    written = {"counts": shape.counts if isinstance(shape.counts, str) else list(shape.counts), "size": size}
    runs = written if isinstance(shape.counts, str) else coco.frPyObjects(written, *size)
    picture = Image.fromarray(np.asarray(coco.decode(runs), dtype=np.uint8))
    if fit.turn in TURNS:
        picture = picture.transpose(TURNS[fit.turn])
    return np.asarray(picture.resize((width, height), Image.Resampling.NEAREST), dtype=bool)

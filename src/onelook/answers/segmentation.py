"""What every pixel of a picture shows, and the single objects in it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from onelook.answers.answer import Answer
from onelook.answers.canvas import PALETTE, Colour
from onelook.facts import Facts
from onelook.geometry.instances import BACKGROUND, How, Instances, find_instances
from onelook.geometry.masks import IGNORE, nearest

if TYPE_CHECKING:
    import supervision

TINT, ROWS = 0.5, 256  # how strong colours are; rows that are tinted at once


def class_colour(classes: Sequence[str], name: str) -> Colour | None:
    """The colour of a class, the same in every picture; None for the background, which is left as it is."""
    return None if name == BACKGROUND else PALETTE[classes.index(name) % len(PALETTE)]


@dataclass(frozen=True, eq=False)
class Segmentation(Answer):
    """What every pixel of a picture shows.

    ``mask`` (H, W) uint8 class ids, ``sure`` (H, W) uint8 the share of that class in steps of 1/255.
    """

    mask: np.ndarray
    sure: np.ndarray
    classes: tuple[str, ...]
    instances: Instances | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Class -> share of the picture's pixels (0..1), those that are there, largest first."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.classes)) / max(1, self.mask.size)
        order = sorted(range(len(self.classes)), key=lambda index: -counts[index])
        return {self.classes[index]: float(counts[index]) for index in order if counts[index] > 0}

    def with_instances(self, how: How) -> "Segmentation":
        """The same with the single objects in it, see ``onelook.geometry.instances``."""
        return replace(self, instances=find_instances(self.mask, self.sure, self.classes, how))

    def polygons(self) -> list[Facts]:
        """The outlines of all regions, largest class first: label, points [[x, y], ...] in pixels.

        Corners off by less than a pixel are left out.
        """
        from onelook.geometry.supervision import supervision

        found = []
        for name in self.shares:
            inside = self.mask == self.classes.index(name)
            for polygon in supervision.mask_to_polygons(inside):
                found.append({"label": name, "points": _straightened(polygon).tolist()})
        return found

    def to_json(self) -> Facts:
        height, width = self.mask.shape
        objects = {"instances": self.instances.to_json()} if self.instances is not None else {}
        return {"size": [width, height], "shares": self.shares, **objects, "polygons": self.polygons()}

    def rows(self) -> list[Facts]:
        if self.instances is not None:
            return self.instances.rows()
        return [{"label": name, "share": share} for name, share in self.shares.items()]

    def to_supervision(self) -> "supervision.Detections":
        """A ``supervision.Detections``: a mask a class, or one an object where they were asked for."""
        from onelook.geometry.supervision import supervision

        if self.instances is not None:
            return self.instances.to_supervision()
        ids = [self.classes.index(name) for name in self.shares]
        masks = np.stack([self.mask == label for label in ids])
        sure = np.array([float(self.sure[mask].mean()) / 255 for mask in masks], dtype=np.float32)
        names = np.array([self.classes[label] for label in ids], dtype=str)
        boxes = supervision.mask_to_xyxy(masks).astype(np.float32)
        return supervision.Detections(xyxy=boxes, mask=masks, class_id=np.array(ids), confidence=sure, data={"class_name": names})

    def draw(self, picture: Image.Image, grow: float = 1.0, colour: Colour | None = None) -> Image.Image:
        """Every pixel tinted by its class, or by its object where objects were told apart; borders are drawn darker."""
        size = picture.size
        if self.instances is not None:
            numbers = self.instances.regions
            table = np.array([(0, 0, 0), *(PALETTE[number % len(PALETTE)] for number in range(len(self.instances)))], dtype=np.uint8)
            shown = np.array([False, *([True] * len(self.instances))])
        else:
            numbers = self.mask.astype(np.int32)
            colours = [class_colour(self.classes, name) for name in self.classes]
            colours = [*colours, *[None] * (IGNORE + 1 - len(colours))]
            colours[IGNORE] = None  # what nobody knows is left as it is
            table = np.array([one or (0, 0, 0) for one in colours], dtype=np.uint8)
            shown = np.array([one is not None for one in colours])
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

    def key(self) -> Sequence[tuple[str, Colour | None]]:
        """The colour and the share of every class that is there; none where objects were told apart."""
        if self.instances is not None:
            return ()
        return [(f"{label} {share:.0%}", class_colour(self.classes, label)) for label, share in self.shares.items()]

    def object_mask(self) -> Image.Image | None:
        """The number of the object that every pixel is part of, 0 for none, 16 bit; None where objects were not told apart."""
        return None if self.instances is None else Image.fromarray(self.instances.regions.astype(np.uint16))

    def index_mask(self) -> Image.Image:
        """Class ids with a palette."""
        whole = Image.fromarray(self.mask)
        whole.putpalette([value for label in self.classes for value in class_colour(self.classes, label) or (0, 0, 0)])
        return whole

    def __str__(self) -> str:
        if self.instances is not None:
            return ", ".join(f"{count} {name}" for name, count in self.instances.counts.items()) or "no objects"
        return ", ".join(f"{name} {share:.0%}" for name, share in list(self.shares.items())[:6])


def _straightened(polygon: np.ndarray, tolerance: float = 0.7) -> np.ndarray:
    """A closed outline (N, 2) without corners nearer than ``tolerance`` to the line past them (Douglas & Peucker 1973)."""
    keep = np.zeros(len(polygon), dtype=bool)
    far = int(np.abs(polygon - polygon[0]).sum(1).argmax())
    keep[[0, far]] = True
    stack = [(0, far), (far, len(polygon))]
    closed = np.concatenate([polygon, polygon[:1]]).astype(np.float64)
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        line, between = closed[last] - closed[first], closed[first + 1 : last] - closed[first]
        length = float(np.hypot(*line))
        distance = np.abs(line[0] * between[:, 1] - line[1] * between[:, 0]) / length if length else np.hypot(*between.T)
        worst = int(distance.argmax())
        if distance[worst] > tolerance:
            middle = first + 1 + worst
            keep[middle] = True
            stack += [(first, middle), (middle, last)]
    return polygon[keep]

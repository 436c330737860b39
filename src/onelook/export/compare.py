"""Whether a file says what its model says, on real pictures: the same numbers, labels and boxes, one picture at a time and three.

A file is asked with its runtime's own settings, as whoever gets it will ask. Numbers may differ by TOLERANCE of a head's largest, boxes
by half a pixel, and one pixel in a thousand may change its class, where two are equally likely.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

from onelook.backbones.bfloat16 import float32_only
from onelook.data.pictures import find_pictures, open_picture, read_bytes
from onelook.errors import PictureError
from onelook.export.target import Ask
from onelook.looks.extractor import Extractor, Pixels
from onelook.looks.features import union
from onelook.model import Model

TOLERANCE = 1e-4  # of a head's largest number
HALF_A_PIXEL = 0.5  # by which a box may differ
SWAPPED = 1e-3  # share of pixels that may change their class; score by which a box may be missing at the edge of being one
EVERY = 10  # pictures of which one is asked about three at a time
MOST = 100  # pictures


@dataclass
class Difference:
    """How far a file's answers for one head are from the model's.

    ``apart``, ``largest``: of each output the largest difference, and the largest number of all pictures. ``pixels``: by which a box is
    off, at most. ``swapped``: share of pixels with another class. ``other``: what differs in kind: a label, a box that is not there.
    """

    apart: dict[str, float] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)
    pixels: float = 0.0
    swapped: float = 0.0
    other: str = ""

    @property
    def numbers(self) -> float:
        """The largest difference of numbers, as a share of the largest of them."""
        return max((apart / max(self.largest[part], 1e-12) for part, apart in self.apart.items()), default=0.0)

    @property
    def same(self) -> bool:
        return self.numbers <= TOLERANCE and self.pixels <= HALF_A_PIXEL and self.swapped <= SWAPPED and not self.other

    def __str__(self) -> str:
        parts = [f"numbers by {self.numbers:.1e}"]
        parts += [f"boxes by {self.pixels:.2f} pixels"] if self.pixels > HALF_A_PIXEL else []
        parts += [f"{self.swapped:.1%} of the pixels have another class"] if self.swapped > SWAPPED else []
        return ", ".join([*parts, self.other] if self.other else parts)

    def worst(self, more: "Difference") -> None:
        """Take in another picture's."""
        for mine, theirs in ((self.apart, more.apart), (self.largest, more.largest)):
            mine |= {part: max(mine.get(part, 0.0), value) for part, value in theirs.items()}
        self.pixels, self.swapped = max(self.pixels, more.pixels), max(self.swapped, more.swapped)
        self.other = self.other or more.other


@dataclass
class Compared:
    """What a comparison found, head by head, on so many pictures."""

    heads: dict[str, Difference]
    pictures: int = 0
    unreadable: list[str] = field(default_factory=list)

    @property
    def largest(self) -> float:
        """The largest relative difference of numbers."""
        return max(difference.numbers for difference in self.heads.values())

    @property
    def worst(self) -> tuple[str, Difference] | None:
        """The head that differs most of those that differ too much."""
        wrong = [(name, difference) for name, difference in self.heads.items() if not difference.same]
        return max(wrong, key=lambda pair: (pair[1].numbers, bool(pair[1].other)), default=None)


def pixels_of(extractor: Extractor, pictures: Sequence[str], shape: tuple[int, int] | None) -> Iterator[Pixels | str]:
    """Pictures as an extractor reads them, at most MOST, laid into ``shape`` (width, height) if given; for one unreadable, why."""
    for picture in _pictures(pictures):
        try:
            if isinstance(picture, Path) and shape is None:
                yield extractor.decode(picture, *read_bytes(picture))[0]
            else:
                opened = open_picture(picture) if isinstance(picture, Path) else picture
                opened = letterboxed(opened, shape) if shape else opened
                yield extractor.scale(opened, ("", 0), opened.size)
        except PictureError as error:
            yield str(error)


def letterboxed(picture: Image.Image, shape: tuple[int, int]) -> Image.Image:
    """A picture in the left top corner of a black one of the shape's (width, height) proportions, as small as it can be."""
    scale = max(picture.width / shape[0], picture.height / shape[1])
    whole = Image.new("RGB", (max(picture.width, round(shape[0] * scale)), max(picture.height, round(shape[1] * scale))))
    whole.paste(picture, (0, 0))
    return whole


@torch.inference_mode()
def compare(
    model: Model, names: Sequence[str], ask: Ask, pixels: Iterable[Pixels | str], one_by_one: bool, suppressed: bool = True
) -> Compared:
    """Ask the file and the model about the same pixels."""
    heads = {name: model.head(name) for name in names}
    extractor = model.extractor(model.geometry_of(names[0]))
    needs = union(head.needs for head in heads.values())
    found = Compared({name: Difference() for name in names})
    for one in pixels:
        if isinstance(one, str):
            found.unreadable.append(one)
            continue
        batches = [[one]]
        if not one_by_one and found.pictures % EVERY == 0:
            batches.append([one, _turned(one, 2), _turned(one, 1)])
        found.pictures += 1
        for batch in batches:
            answers = ask(np.stack([np.ascontiguousarray(each.content.permute(1, 2, 0).numpy()) for each in batch]))
            with float32_only():
                look = extractor.look(batch, needs)
                for name, head in heads.items():
                    expected = (head.tensors if suppressed else head.unsuppressed)(head(look), one.placement)
                    given = {part: torch.from_numpy(np.asarray(answers[f"{name}.{part}"])) for part in expected}
                    conf = float(head.core.reading().get("conf", 0.0))
                    found.heads[name].worst(difference(given, expected, len(batch), one.placement.original, conf))
    return found


def difference(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], count: int, size: tuple[int, int], conf: float) -> Difference:
    """How a file's answers differ from a head's on ``count`` pictures of ``size``; boxes that score less than ``conf`` are none."""
    if "pictures" in expected:
        return _of_boxes(given, expected, count, size, conf)
    found = Difference()
    for part, value in expected.items():
        if given[part].shape != value.shape:
            return Difference(other=f"{part} has shape {tuple(given[part].shape)} instead of {tuple(value.shape)}")
        if value.is_floating_point():
            found.apart[part] = float((given[part] - value).abs().max()) if bool(given[part].isfinite().all()) else float("inf")
            found.largest[part] = float(value.abs().max())
        else:
            found.swapped = max(found.swapped, float((given[part].long() != value.long()).float().mean()))
    return found


def _of_boxes(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], count: int, size: tuple[int, int], conf: float) -> Difference:
    """Boxes have no order: each is compared with the nearest of its picture and label."""
    found, span = Difference({"scores": 0.0}, {"scores": 1.0}), torch.tensor([*size, *size])
    for picture in range(count):
        for one, other, where in ((expected, given, "missing"), (given, expected, "not the model's")):
            mine, theirs = one["pictures"] == picture, other["pictures"] == picture
            mine &= one["scores"] >= conf + (SWAPPED if where == "missing" else 2 * SWAPPED)
            for box, score, label in zip(one["boxes"][mine], one["scores"][mine], one["labels"][mine], strict=True):
                same = theirs & (other["labels"] == label)
                if not bool(same.any()):
                    found.other = f"a box is {where}"
                    continue
                apart = ((other["boxes"][same] - box) * span).abs().amax(1)
                nearest = int(apart.argmin())
                found.pixels = max(found.pixels, float(apart[nearest]))
                found.apart["scores"] = max(found.apart["scores"], float((other["scores"][same][nearest] - score).abs()))
    return found


def _turned(pixels: Pixels, axis: int) -> Pixels:
    return Pixels(pixels.row, pixels.content.flip(axis), pixels.placement)


def _pictures(asked: Sequence[str]) -> Iterator[Path | Image.Image]:
    """Those asked for, evenly from all of them; else parts of the two photographs that scikit-learn brings, of several shapes."""
    if asked:
        found = list(find_pictures(asked))
        yield from found[:: max(1, -(-len(found) // MOST))]
        return
    for photo in map(Image.fromarray, load_sample_images().images):
        for number in range(10):
            wide, high = 200 + 40 * number, 420 - 25 * number
            left, top = (photo.width - wide) * number // 10, (photo.height - high) * (9 - number) // 9
            yield photo.crop((left, top, left + wide, top + high))

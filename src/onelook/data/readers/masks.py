"""Pictures with a mask each: folders of pictures beside folders of index, colour or black-and-white masks.

Folders are found by their usual names, in any of these shapes, or else because their files' names match; pictures and masks are paired by
their names (photo.jpg with photo.png, photo_mask.png, photo.jpg.png, Cityscapes' endings):

    images/ and masks/ (image/label, JPEGImages/SegmentationClass ...), with train/ and val/ inside or outside
    train/ and trainannot/ (train/train_masks ...), the same for val and test
    one folder with photo.jpg and photo_mask.png

Several black-and-white masks of one picture (photo_0.png, photo_1.png, or a folder photo/) are put together.

What a value means is said by a legend beside the folders, or follows from the values themselves: 0 and 255 (or 1) are background and
foreground, 255 beside other values is IGNORE. Values, sizes and pairs that do not fit become findings.

    onelook data check people/ --task segment
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onelook.data.pictures import ahead, files_in, is_picture
from onelook.data.readers.legend import colour_name, read_legend
from onelook.data.readers.mask_pairs import matched, pairs
from onelook.data.readers.mask_values import Meaning, Scanned, meaning_of, scan, values_together
from onelook.data.readers.request import Reader, Request
from onelook.data.samples import Dataset, Finding, Sample
from onelook.data.sides import left_out, used_sides
from onelook.errors import DataError
from onelook.geometry.masks import IGNORE, Mask

OTHER_SHAPE = 1.02  # ratio of the sides' ratios from which a mask does not belong to its picture's way up


def read_masks(
    source: Path, split: str | None, ignore: Sequence[str] = (), classes: Sequence[str] = (), apart: Path | None = None
) -> Dataset:
    """Every picture with its mask. ``split``: a folder's name, or a list of VOC's. ``ignore``: values or names that count as IGNORE.

    ``apart``: the folder of the masks, where it is not to be found by names.

    Raises DataError where nothing is found or values have no meaning.
    """
    if not source.is_dir():
        raise DataError(f"{source}: segment needs a folder with pictures and their masks, or a COCO file")
    findings: list[Finding] = []
    found = list(matched(source, split, findings, apart))
    if not found:
        reason = f" ({findings[0].file}: {findings[0].reason})" if findings else ""
        raise DataError(
            f"{source}: no pictures with masks found{reason}; expected images/ and masks/, train/ and trainannot/, or photo_mask.png "
            "beside photo.jpg"
        )
    legend = read_legend([source, *dict.fromkeys(masks[0].parent for _, masks, _ in found)], source.parent)
    scanned = []
    for result in ahead(partial(scan, coloured=legend is not None and legend.coloured), found):
        if isinstance(result, Finding):
            findings.append(result)
        else:
            scanned.append(result)
    if not scanned:
        raise DataError(f"{source}: none of the {len(found)} masks can be read ({findings[0].file}: {findings[0].reason})")
    meaning = meaning_of(source, scanned, legend, ignore, classes)
    used = used_sides(entry.side for entry in scanned)
    samples = []
    for entry in scanned:
        if entry.side not in used:
            continue
        findings += _wrong(entry, meaning)
        if not _is_turned(entry):
            samples.append(Sample(entry.picture, _mask_of(entry, meaning), side=used[entry.side]))
    several = ", several a picture put together" if any(len(entry.masks) > 1 for entry in scanned) else ""
    rest = left_out(Counter(entry.side for entry in scanned), used)
    form = f"{source}: masks ({meaning.said}{several}){rest}"
    return Dataset(tuple(samples), meaning.classes, "masks", source, form, findings=tuple(findings))


def _is_turned(entry: Scanned) -> bool:
    """Whether a mask lies on its side beside its picture."""
    (wide, high), (width, height) = entry.size, entry.of_picture
    ratio = wide / high / (width / height)
    return max(ratio, 1 / ratio) > OTHER_SHAPE and (wide > high) != (width > height)


def _wrong(entry: Scanned, meaning: Meaning) -> Iterator[Finding]:
    """What does not fit in one mask."""
    (wide, high), (width, height) = entry.size, entry.of_picture
    if _is_turned(entry):
        yield Finding("size-mismatch", str(entry.mask), f"is {wide}x{high}, its picture {width}x{height}: one of them is turned; left out")
    elif entry.size != entry.of_picture:
        yield Finding("size-mismatch", str(entry.mask), f"is {wide}x{high}, its picture {width}x{height}; resized by nearest neighbour")
    unknown = [value for value in entry.values if value not in meaning.ids]
    if unknown:
        shown = ", ".join(colour_name(value) if entry.coloured else str(value) for value in unknown[:5])
        count = sum(entry.values[value] for value in unknown)
        yield Finding("unknown-value", str(entry.mask), f"{shown} ({count} pixels) is in no legend; it is ignored")
    if all(meaning.id_of(value) == IGNORE for value in entry.values):
        yield Finding("all-ignored", str(entry.mask), "every pixel is ignored; nothing is learned from it")


def _mask_of(entry: Scanned, meaning: Meaning) -> Mask:
    pixels = [0] * len(meaning.classes)
    for value, count in entry.values.items():
        label = meaning.id_of(value)
        if label != IGNORE:
            pixels[label] += count
    return Mask(entry.of_picture, tuple(pixels), partial(_load, entry.masks, meaning))


def _load(paths: Sequence[Path], meaning: Meaning) -> Tensor:
    values, _ = values_together(paths, meaning.coloured)
    there, places = np.unique(values, return_inverse=True) if values.max() > 255 else (np.arange(256), values)
    table = np.array([meaning.id_of(int(value)) for value in there], dtype=np.uint8)
    return torch.from_numpy(table[places].reshape(values.shape))


def _recognised(source: Path, request: Request) -> bool:
    if not source.is_dir():
        return False
    return any(any(map(is_picture, files_in(pair.masks))) for pair in pairs(source))


def _read_dataset(source: Path, request: Request) -> Dataset:
    return read_masks(source, request.split, request.ignore, request.classes, request.masks)


READER = Reader(("masks",), "pictures with masks", _recognised, _read_dataset)

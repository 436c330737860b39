"""What the values of masks mean: by a legend beside the folders, or as follows from the values themselves.

0 and 255 (or 1) are background and foreground, also with soft edges; 255 beside other values is IGNORE; few values are class ids; CamVid's
and Pascal VOC's are known.

    onelook data check people/ --task segment
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from onelook.data.pictures import open_raw, picture_size
from onelook.data.readers.legend import Legend, colour_name
from onelook.data.samples import Finding
from onelook.errors import DataError, PictureError
from onelook.geometry.masks import IGNORE, MOST_CLASSES

BINARY = ("background", "foreground")
MOST_VALUES = 64  # of masks without a legend
SOFT, HARD_SHARE = 16, 0.95  # a black-and-white mask with soft edges: so near to 0 and 255 lies so much of it
BETWEEN = 8  # and so many other values lie in the middle at least
GREY = 10  # difference of red, green and blue up to which a mask is grey: lossy files blur it
CAMVID = ("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "Sign", "Fence", "Car", "Pedestrian", "Bicyclist")
CAMVID_VOID = 11
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class Scanned:
    """The mask files of a picture as they are: values (colours as 0xRRGGBB) with their numbers of pixels, its size and its picture's."""

    picture: Path
    masks: tuple[Path, ...]
    side: str | None
    values: Mapping[int, int]
    coloured: bool
    size: tuple[int, int]
    of_picture: tuple[int, int]

    @property
    def mask(self) -> Path:
        """The file that findings name."""
        return self.masks[0]


@dataclass(frozen=True)
class Meaning:
    """What values mean: class names, value -> class id or IGNORE, and in words how that is known; ``coloured``: values are colours."""

    classes: tuple[str, ...]
    ids: Mapping[int, int]
    said: str
    coloured: bool = False

    def id_of(self, value: int) -> int:
        """The class id of a value; IGNORE for one that means nothing."""
        return self.ids.get(value, IGNORE)


def values_of(path: Path, coloured: bool = False) -> tuple[np.ndarray, bool]:
    """A mask file's values (H, W) int32, and whether they are colours (0xRRGGBB), always if ``coloured``. Raises PictureError."""
    picture = open_raw(path)
    if coloured:
        return _packed(picture.convert("RGB")), True
    if picture.mode in ("RGBA", "LA", "PA") and (cut_out := _alpha_of(picture)) is not None:
        return cut_out, False
    if picture.mode in ("1", "L", "P", "I", "I;16", "I;16B", "I;16L"):
        return np.asarray(picture).astype(np.int32), False
    if picture.mode in ("LA", "F"):
        return np.asarray(picture.convert("L")).astype(np.int32), False
    colours = np.asarray(picture.convert("RGB")).astype(np.int32)
    if int(np.ptp(colours, axis=2).max(initial=0)) <= GREY:
        return colours[..., 1], False
    return _packed(picture.convert("RGB")), True


def _alpha_of(picture: Image.Image) -> np.ndarray | None:
    """The transparency (H, W) of a picture that shows a shape by it only: its colours are all one."""
    channels = np.asarray(picture.convert("RGBA")).astype(np.int32)
    alpha, colours = channels[..., 3], channels[..., :3]
    seen = colours[alpha > 0]
    plain = len(seen) == 0 or int(np.ptp(seen.reshape(-1, 3), axis=0).max()) == 0
    return alpha if plain and int(np.ptp(alpha)) > 0 else None


def values_together(paths: Sequence[Path], coloured: bool = False) -> tuple[np.ndarray, bool]:
    """The values of a picture's masks; of several the largest at each pixel. Raises PictureError."""
    found = [values_of(path, coloured) for path in paths]
    sizes = {values.shape for values, _ in found}
    if len(sizes) > 1:
        raise PictureError(f"{paths[0]}: the masks of one picture have different sizes")
    return np.maximum.reduce([values for values, _ in found]), any(is_coloured for _, is_coloured in found)


def _packed(picture: Image.Image) -> np.ndarray:
    """Colours (H, W) as 0xRRGGBB, int32."""
    colours = np.asarray(picture).astype(np.int32)
    packed: np.ndarray = (colours[..., 0] << 16) | (colours[..., 1] << 8) | colours[..., 2]
    return packed


def scan(found: tuple[Path, tuple[Path, ...], str | None], coloured: bool) -> Scanned | Finding:
    """The values of a picture's masks, or why they cannot be had. ``found``: picture, masks, side; ``coloured``: as colours."""
    picture, masks, side = found
    try:
        size = picture_size(picture)
    except PictureError as error:
        return Finding("unreadable", str(picture), str(error).removeprefix(f"{picture}: "))
    try:
        values, coloured = values_together(masks, coloured)
    except PictureError as error:
        return Finding("unreadable", str(masks[0]), str(error).removeprefix(f"{masks[0]}: "))
    there, counts = np.unique(values, return_counts=True)
    counted = dict(zip(there.tolist(), counts.tolist(), strict=True))
    return Scanned(picture, masks, side, counted, coloured, (values.shape[1], values.shape[0]), size)


def meaning_of(source: Path, scanned: Sequence[Scanned], legend: Legend | None, ignore: Sequence[str], classes: Sequence[str]) -> Meaning:
    """What the values of all masks mean. Raises DataError where that cannot be known."""
    total: Counter[int] = Counter()
    first: dict[int, Path] = {}
    for entry in scanned:
        total.update(entry.values)
        for value in entry.values:
            first.setdefault(value, entry.mask)
    coloured = any(entry.coloured for entry in scanned)
    if coloured and (legend is None or not legend.coloured):
        common = ", ".join(colour_name(value) for value, _ in total.most_common(6))
        raise DataError(
            f"{first[total.most_common(1)[0][0]]}: colour masks without a legend ({len(total)} colours: {common} ...); write "
            f"{source / 'legend.csv'} with a line name,red,green,blue for each class"
        )
    if legend is None and max(total) > IGNORE:
        worst = max(total)
        raise DataError(f"{first[worst]}: value {worst} in a 16-bit mask; masks hold class ids from 0 to 254 and 255 for what is ignored")
    meaning = _by_legend(legend, total) if legend else _by_values(total, scanned, source, classes)
    meaning = _ignoring(meaning, ignore, total, strict=not classes)
    if len(meaning.classes) > MOST_CLASSES:
        raise DataError(f"{source}: {len(meaning.classes)} classes; at most {MOST_CLASSES} can be told apart")
    return _in_order(meaning, tuple(classes), total, first, source) if classes else meaning


def _by_legend(legend: Legend, total: Mapping[int, int]) -> Meaning:
    largest = max((value for value in total if value != IGNORE), default=0)
    if not legend.numbered and 0 in total and largest == len(legend.entries) and "background" not in {n.lower() for n, _ in legend.entries}:
        counted = (BINARY[0], *(name for name, _ in legend.entries))
        ids = {value: value for value in range(len(counted))} | {IGNORE: IGNORE}
        return Meaning(counted, ids, f"0 read as background, 1 to {largest} as the lines of {legend.path.name}")
    names = list(dict.fromkeys(name for name, _ in legend.entries if name not in legend.ignored))
    ids = {value: IGNORE if name in legend.ignored else names.index(name) for name, value in legend.entries}
    if not legend.coloured:
        ids.setdefault(IGNORE, IGNORE)
    said = f"{len(names)} classes by {legend.path.name}"
    return Meaning(tuple(names), ids, said + (f", {', '.join(sorted(legend.ignored))} ignored" if legend.ignored else ""), legend.coloured)


def _by_values(total: Counter[int], scanned: Sequence[Scanned], source: Path, classes: Sequence[str]) -> Meaning:
    values = sorted(total)
    binary = not classes or tuple(classes) == BINARY
    if binary and values in ([0, 255], [255]):
        return Meaning(BINARY, {0: 0, 255: 1}, "0 read as background, 255 as foreground")
    if binary and IGNORE in values and set(values) <= {0, 1, IGNORE}:
        return Meaning(BINARY, {0: 0, 1: 1, IGNORE: IGNORE}, "0 read as background, 1 as foreground, 255 ignored")
    if binary and set(values) <= {0, 1}:
        return Meaning(BINARY, {0: 0, 1: 1}, "0 read as background, 1 as foreground")
    if binary and _is_soft(total):
        ids = {value: int(value >= 128) for value in range(256)}
        return Meaning(BINARY, ids, "black and white with soft edges: below 128 read as background, the rest as foreground")
    names = [entry.picture.name for entry in scanned]
    if max((value for value in values if value != IGNORE), default=0) <= CAMVID_VOID and any(
        re.match(r"(0001TP|0006R0|0016E5|Seq05VD)_", n) for n in names
    ):
        ids = {value: value for value in range(len(CAMVID))} | {CAMVID_VOID: IGNORE, IGNORE: IGNORE}
        return Meaning(CAMVID, ids, "CamVid's 11 classes, 11 (void) ignored")
    if all((source / name).is_dir() for name in ("JPEGImages", "SegmentationClass")) and set(values) <= {*range(len(VOC)), IGNORE}:
        return Meaning(VOC, {value: value for value in range(len(VOC))} | {IGNORE: IGNORE}, "Pascal VOC's classes, 255 ignored")
    if len(values) > MOST_VALUES:
        raise DataError(
            f"{source}: {len(values)} different values without a legend; masks of classes have few (are these instance ids, or pictures?). "
            f"If they are classes, write {source / 'legend.csv'} with a line name,value for each"
        )
    known = [value for value in values if value != IGNORE]
    said = f"values {', '.join(map(str, known[:12]))}{' ...' if len(known) > 12 else ''} are the classes"
    ids = {value: index for index, value in enumerate(known)} | {IGNORE: IGNORE}
    return Meaning(tuple(map(str, known)), ids, said + (", 255 ignored" if IGNORE in values else ""))


def _is_soft(total: Counter[int]) -> bool:
    greys = sum(2 * SOFT < value < 255 - 2 * SOFT for value in total)
    if greys < BETWEEN and not any(255 - SOFT <= value < 255 for value in total):
        return False  # class ids, with or without 255 for what is ignored
    near = sum(count for value, count in total.items() if value <= SOFT or value >= 255 - SOFT)
    return near >= HARD_SHARE * sum(total.values())


def _ignoring(meaning: Meaning, ignore: Sequence[str], total: Mapping[int, int], strict: bool) -> Meaning:
    """The same with more names or values that count as IGNORE. Raises DataError for a name (if ``strict``, a value) that is not there."""
    if not ignore:
        return meaning
    gone = set()
    for word in ignore:
        if word in meaning.classes:
            gone.add(meaning.classes.index(word))
        elif word.isdecimal() and int(word) in meaning.ids:
            gone.add(meaning.ids[int(word)])
        elif not word.isdecimal():
            raise DataError(f"--ignore {word}: no class of this name; there is {', '.join(meaning.classes)}")
        elif strict and word != str(IGNORE):
            raise DataError(f"--ignore {word}: no mask has this value; there is {', '.join(map(str, sorted(total)[:20]))}")
    kept = [index for index in range(len(meaning.classes)) if index not in gone]
    ids = {value: kept.index(label) if label in kept else IGNORE for value, label in meaning.ids.items()}
    return Meaning(tuple(meaning.classes[index] for index in kept), ids, f"{meaning.said}, {', '.join(ignore)} ignored", meaning.coloured)


def _in_order(meaning: Meaning, classes: tuple[str, ...], total: Mapping[int, int], first: Mapping[int, Path], source: Path) -> Meaning:
    """The same meaning in the order of a trained head's classes. Raises DataError for what the head does not know."""
    if not set(meaning.classes) <= set(classes) and len(meaning.classes) <= len(classes) and not meaning.coloured:
        unnamed = {value: value if value < len(classes) else IGNORE for value in total}  # a folder without the legend of the training one
        if all(value in (*range(len(classes)), IGNORE) for value in total):
            return Meaning(classes, unnamed, "values read as the head's classes, in their order")
    unknown = [name for name in meaning.classes if name not in classes]
    shown = [value for value, label in meaning.ids.items() if value in total and label != IGNORE and meaning.classes[label] in unknown]
    if shown:
        raise DataError(
            f"{first[shown[0]]}: {meaning.classes[meaning.ids[shown[0]]]} is no class of this head; it knows {', '.join(classes)}"
        )
    order = [classes.index(name) if name in classes else IGNORE for name in meaning.classes]
    return Meaning(classes, {v: i if i == IGNORE else order[i] for v, i in meaning.ids.items()}, meaning.said, meaning.coloured)

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

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from onelook.data.pictures import ahead, files_in, is_picture, open_raw, picture_size
from onelook.data.readers.legend import Legend, colour_name, read_legend
from onelook.data.readers.request import Reader, Request
from onelook.data.samples import Dataset, Finding, Sample
from onelook.data.sides import left_out, side_in, side_word, used_sides
from onelook.errors import DataError, PictureError
from onelook.geometry.masks import IGNORE, MOST_CLASSES, Mask

PICTURES = ("images", "image", "imgs", "img", "jpegimages", "pictures", "photos", "inputs", "input", "raw", "x")
MASKS = (
    "masks", "mask", "labels", "label", "segmentationclass", "annotations", "annotation", "annots", "annot", "gt", "ground_truth",
    "groundtruth", "segmentation", "segmentations", "seg", "labelids", "targets", "y",
)  # fmt: skip
NOT_MASKS = ("color", "colour", "instanceids", "labeltrainids", "polygons")  # what Cityscapes has beside its masks
ENDINGS = ("annot", "annotations", "masks", "mask", "labels", "label", "gt", "seg")  # train_masks/ beside train/, photo_mask.png
BINARY = ("background", "foreground")
MOST_VALUES = 64  # of masks without a legend
ALIKE = 0.5  # share of names that two folders must have in common to be pictures and masks
WORDS = ("mask", "truth", "gt", "label", "annot", "seg", "target")  # in the path of a folder of masks
SOFT, HARD_SHARE = 16, 0.95  # a black-and-white mask with soft edges: so near to 0 and 255 lies so much of it
BETWEEN = 8  # and so many other values lie in the middle at least
GREY = 10  # difference of red, green and blue up to which a mask is grey: lossy files blur it
OTHER_SHAPE = 1.02  # ratio of the sides' ratios from which a mask does not belong to its picture's way up
CAMVID = ("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "Sign", "Fence", "Car", "Pedestrian", "Bicyclist")
CAMVID_VOID = 11
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A folder of pictures and the folder of their masks. ``side``: the split's name, where the folders are named for one."""

    pictures: Path
    masks: Path
    side: str | None = None


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
    matched = list(_matched(source, split, findings, apart))
    if not matched:
        reason = f" ({findings[0].file}: {findings[0].reason})" if findings else ""
        raise DataError(
            f"{source}: no pictures with masks found{reason}; expected images/ and masks/, train/ and trainannot/, or photo_mask.png "
            "beside photo.jpg"
        )
    legend = read_legend([source, *dict.fromkeys(masks[0].parent for _, masks, _ in matched)], source.parent)
    scanned = []
    for result in ahead(partial(_scan, coloured=legend is not None and legend.coloured), matched):
        if isinstance(result, Finding):
            findings.append(result)
        else:
            scanned.append(result)
    if not scanned:
        raise DataError(f"{source}: none of the {len(matched)} masks can be read ({findings[0].file}: {findings[0].reason})")
    meaning = _meaning(source, scanned, legend, ignore, classes)
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


# --- pairs


def pairs(root: Path) -> list[Pair]:
    """All folders of pictures with folders of masks, in ``root`` and two levels down."""
    found: list[Pair] = []
    for folder in [root, *_folders(root), *(inner for outer in _folders(root) for inner in _folders(outer))]:
        inside = {child.name.lower(): child for child in _folders(folder)}
        pictures = next((inside[name] for name in PICTURES if name in inside), None)
        masks = next((inside[name] for name in MASKS if name in inside), None)
        if pictures and masks:
            sides = [(one, masks / one.name) for one in _folders(pictures) if (masks / one.name).is_dir()]
            found += [Pair(one, other, one.name) for one, other in sides]
            if any(map(is_picture, pictures.iterdir())):
                found.append(Pair(pictures, masks, folder.name if folder != root else None))
        elif masks and any(map(is_picture, folder.iterdir())):
            found.append(Pair(folder, masks, folder.name if folder != root else None))
        for name, child in inside.items():
            other = next(
                (inside[key] for end in ENDINGS for key in (f"{name}{end}", f"{name}_{end}", f"{name}-{end}") if key in inside), None
            )
            if other:
                found.append(Pair(child, other, child.name))
    if not found and any(_without_ending(file.stem) != file.stem for file in root.iterdir() if is_picture(file)):
        found.append(Pair(root, root))
    return list(dict.fromkeys(found)) or list(_alike(root))


def _pairs_with(source: Path, masks: Path) -> list[Pair]:
    """The folders of pictures in ``source``, each with the folder of the same name in ``masks``; else those two."""
    sides = [Pair(folder, masks / folder.name, folder.name) for folder in _folders(source) if (masks / folder.name).is_dir()]
    inside = next((folder for folder in _folders(source) if folder.name.lower() in PICTURES and folder != masks), source)
    return sides or [Pair(source if any(map(is_picture, source.iterdir())) else inside, masks)]


def _alike(root: Path) -> Iterator[Pair]:
    """Folders whose files' names match, side by side or in two trees, one of them called like masks (Training_Images, Ground_Truth)."""
    below = _below(root)
    if not any(_called_like_masks(folder, root) for folder in below):
        return
    filled = [folder for folder in below if any(map(is_picture, folder.iterdir()))]
    called = [folder for folder in filled if _called_like_masks(folder, root)]
    names = {folder: {_key(file) for file in _pictures_in(folder)} for folder in filled}
    for masks in called:
        side = side_in(masks.relative_to(root))
        others = [one for one in filled if one not in called and _may_be_of(side, side_in(one.relative_to(root)))]
        best = max(others, key=lambda one: len(names[one] & names[masks]), default=None)
        if best is not None and len(names[best] & names[masks]) >= ALIKE * len(names[best]):
            yield Pair(best, masks, side)


def _called_like_masks(folder: Path, root: Path) -> bool:
    return any(word in str(folder.relative_to(root)).lower() for word in WORDS)


def _may_be_of(side: str | None, other: str | None) -> bool:
    """Whether two folders can hold one side's pictures and masks: neither names another side."""
    return side is None or other is None or side == other


def _below(root: Path) -> list[Path]:
    """The folders in a folder, to a depth of four."""
    found = [root]
    for folder in found:
        if len(folder.relative_to(root).parts) < 4:
            found += _folders(folder)
    return found


def _matched(
    source: Path, split: str | None, findings: list[Finding], apart: Path | None = None
) -> Iterator[tuple[Path, tuple[Path, ...], str | None]]:
    """Picture, its masks and side (train, val, test) of every pair, those of ``split`` or all."""
    every = pairs(source) if apart is None else _pairs_with(source, apart)
    listed = _voc_lists(source)
    if split is not None:
        chosen = [pair for pair in every if split in _names(pair, source)]
        if chosen:
            every = [Pair(pair.pictures, pair.masks) for pair in chosen]
        elif split in listed:
            listed = {split: listed[split]}
        elif (source / split).is_dir() and (inside := pairs(source / split)):
            every = [Pair(pair.pictures, pair.masks) for pair in inside]
        else:
            known = sorted({pair.side for pair in every if pair.side} | listed.keys())
            raise DataError(f"{source}: no part {split!r}; there is {', '.join(known) or 'none'}")
    for pair in every:
        for picture, masks in _by_name(pair, findings):
            if not listed or pair.side:
                yield picture, masks, None if split or not pair.side else side_word(pair.side)
                continue
            side = next((name for name, stems in listed.items() if picture.stem in stems), None)
            if side is not None:
                yield picture, masks, None if split else side_word(side)


def _names(pair: Pair, source: Path) -> set[str]:
    """What a split may be called: the folder's name or its path within the data."""
    folders = [pair.pictures.relative_to(source), pair.pictures.parent.relative_to(source)]
    return {str(folder) for folder in folders} | ({pair.side} if pair.side else set()) - {"."}


def _voc_lists(source: Path) -> dict[str, set[str]]:
    """Names listed for training and validation in a VOC set."""
    files = {file.stem: file for file in source.glob("ImageSets/Segmentation/*.txt")}
    return {name: set(files[name].read_text().split()) for name in ("train", "val", "trainval", "test") if name in files}


def _by_name(pair: Pair, findings: list[Finding]) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    """Pictures with the masks of their name; those without become findings.

    The same name comes first, then the name without an ending, then several masks a picture, then, where no name fits at all, the last
    number in it.
    """
    pictures, masks = _pictures_in(pair.pictures), [file for file in _pictures_in(pair.masks) if not _ends_in(file.stem, NOT_MASKS)]
    if pair.pictures == pair.masks:
        stems = {file.stem for file in pictures}
        masks = [file for file in masks if _without_ending(file.stem) in stems - {file.stem}]
        pictures = [file for file in pictures if file not in set(masks)]
    exact, short = ({name(file): file for file in masks} for name in (lambda file: file.stem, _key))
    found: dict[Path, tuple[Path, ...]] = {}
    for file in pictures:
        mask = exact.get(file.stem) or exact.get(file.name) or short.get(file.stem) or short.get(_key(file))
        found[file] = (mask,) if mask else _several(file, masks, pair.masks)
    if len(pictures) == 1 and not any(found.values()):  # a folder for each picture: cell7/images/cell7.png, cell7/masks/*.png
        found = {pictures[0]: tuple(masks)}
    if not any(found.values()):  # image_001 and mask_001
        numbered = _by_number(masks)
        found = {file: (numbered[number],) if (number := next(iter(_by_number([file])), "")) in numbered else () for file in pictures}
    for picture, of_it in found.items():
        if of_it:
            yield picture, of_it
        else:
            findings.append(Finding("missing-mask", str(picture), f"has no mask in {pair.masks}; it is left out"))
    for mask in sorted(set(masks) - {mask for of_it in found.values() for mask in of_it}):
        findings.append(Finding("missing-picture", str(mask), f"is a mask without a picture in {pair.pictures}; it is left out"))


def _several(picture: Path, masks: Sequence[Path], folder: Path) -> tuple[Path, ...]:
    """The masks of single objects of a picture: ``photo_0.png``, ``photo_1.png``, or a folder ``photo``."""
    if (folder / picture.stem).is_dir():
        return tuple(_pictures_in(folder / picture.stem))
    numbered = re.compile(rf"{re.escape(picture.stem)}[-_. ]\w+")
    return tuple(file for file in masks if numbered.fullmatch(file.stem))


def _key(file: Path) -> str:
    """The name without endings, by which pictures and masks are paired."""
    return _without_ending(Path(file.stem).stem if is_picture(Path(file.stem)) else file.stem)


def _ends_in(stem: str, endings: Sequence[str]) -> bool:
    return any(stem.lower().endswith(f"_{ending}") for ending in endings)


def _pictures_in(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.iterdir()) if is_picture(file) and not file.name.startswith(".")]


def _by_number(files: Sequence[Path]) -> dict[str, Path]:
    """Files by the last number in their names; none if two have the same."""
    numbers = {file: re.findall(r"\d+", file.stem)[-1:] for file in files}
    found = {number[0].lstrip("0") or "0": file for file, number in numbers.items() if number}
    return found if len(found) == len(files) else {}


def _without_ending(stem: str) -> str:
    """``photo`` of ``photo_mask``, ``town_01`` of ``town_01_gtFine_labelIds`` and of ``town_01_leftImg8bit``."""
    endings = "|".join((*ENDINGS, "segmentation", "labelids", "l", "leftimg8bit", "gtfine_labelids", "gtcoarse_labelids"))
    return re.sub(rf"[-_. ]({endings})$", "", stem, flags=re.IGNORECASE)


def _folders(root: Path) -> list[Path]:
    return sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))


# --- values


def _scan(found: tuple[Path, tuple[Path, ...], str | None], coloured: bool) -> Scanned | Finding:
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


def _meaning(source: Path, scanned: Sequence[Scanned], legend: Legend | None, ignore: Sequence[str], classes: Sequence[str]) -> Meaning:
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
    if {child.name for child in _folders(source)} >= {"JPEGImages", "SegmentationClass"} and set(values) <= {*range(len(VOC)), IGNORE}:
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

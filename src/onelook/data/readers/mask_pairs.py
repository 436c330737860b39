"""Which mask belongs to which picture: folders found by their usual names, or because their files' names match; then files by names.

photo.jpg with photo.png, photo_mask.png, photo.jpg.png, photo_0.png and photo_1.png, a folder photo/, Cityscapes' endings; image_001 with
mask_001.

    python -c "from onelook.data.readers.mask_pairs import pairs; from pathlib import Path; print(pairs(Path('people')))"
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from onelook.data.pictures import is_picture
from onelook.data.samples import Finding
from onelook.data.sides import side_in, side_word
from onelook.errors import DataError

PICTURES = ("images", "image", "imgs", "img", "jpegimages", "pictures", "photos", "inputs", "input", "raw", "x")
MASKS = (
    "masks", "mask", "labels", "label", "segmentationclass", "annotations", "annotation", "annots", "annot", "gt", "ground_truth",
    "groundtruth", "segmentation", "segmentations", "seg", "labelids", "targets", "y",
)  # fmt: skip
NOT_MASKS = ("color", "colour", "instanceids", "labeltrainids", "polygons")  # what Cityscapes has beside its masks
ENDINGS = ("annot", "annotations", "masks", "mask", "labels", "label", "gt", "seg")  # train_masks/ beside train/, photo_mask.png
ALIKE = 0.5  # share of names that two folders must have in common to be pictures and masks
WORDS = ("mask", "truth", "gt", "label", "annot", "seg", "target")  # in the path of a folder of masks


@dataclass(frozen=True)
class Pair:
    """A folder of pictures and the folder of their masks. ``side``: the split's name, where the folders are named for one."""

    pictures: Path
    masks: Path
    side: str | None = None


def matched(
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

"""Class folders: ``photos/CLASS/*.jpg``, or ``photos/train/CLASS`` and ``photos/val/CLASS``.

onelook train photos/ --name kind --model mine.onelook
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from onelook.data.pictures import PLUGINS, files_in, is_picture, why_no_picture
from onelook.data.readers.request import Reader, Request
from onelook.data.readers.table import refuse_unknown
from onelook.data.samples import Dataset, Finding, Sample
from onelook.data.sides import left_out, side_word, used_sides
from onelook.errors import DataError


def class_folders(root: Path) -> dict[str, list[Path]]:
    """Class name -> its files (pictures or not), for each visible subfolder of ``root``, sorted."""
    return {folder.name: files_in(folder) for folder in _folders(root)}


def sides(root: Path) -> dict[str | None, Path]:
    """Side (train, val, test) -> folder, where ``root`` is split on disk, else {None: root}.

    A side holds class folders; a folder called ``train`` that holds pictures is a class of trains.
    """
    found = {side_word(folder.name): folder for folder in _folders(root) if _folders(folder) and side_word(folder.name)}
    return {None: root} if "train" not in found else {**found}


def read_folders(root: Path, classes: tuple[str, ...]) -> Dataset:
    """Class folders, split on disk or not, or one folder further down. Raises DataError where there are none."""
    parts = {side: class_folders(folder) for side, folder in sides(root).items()}
    used = used_sides(parts)
    found = {name for side, folders in parts.items() if side in used for name, files in folders.items() if any(map(is_picture, files))}
    inner = _folders(root)
    if len(inner) == 1 and None in parts and _folders(inner[0]):  # photos/photos/CLASS, as archives unpack
        return read_folders(inner[0], classes)
    if not found:
        raise DataError(f"{root}: no pictures in class folders; expected {root}/CLASS/picture.jpg for every class")
    names = classes or tuple(sorted(found))
    refuse_unknown(found, names, root)
    ids = {name: index for index, name in enumerate(names)}
    samples = tuple(
        Sample(file, ids[name], side=used[side])
        for side, folders in parts.items()
        if side in used
        for name, files in folders.items()
        for file in files
        if is_picture(file)
    )
    how = "class folders" if None in parts else f"class folders, split on disk into {' and '.join(str(side) for side in parts)}"
    counts = Counter({side: sum(is_picture(file) for files in folders.values() for file in files) for side, folders in parts.items()})
    findings = [
        finding
        for side, folders in parts.items()
        if side in used
        for name, files in folders.items()
        for finding in _skipped(name, files, sides(root)[side])
    ]
    return Dataset(samples, names, "single", root, f"{root}: {how}{left_out(counts, used)}", findings=tuple(findings))


def _skipped(name: str, files: list[Path], folder: Path) -> Iterator[Finding]:
    """Files of a class that are no pictures, and a class without any."""
    for file in files:
        if not is_picture(file):
            kind = PLUGINS.get(file.suffix.lower(), "not-a-picture")
            yield Finding(kind, str(file), f"{why_no_picture(file)}; it is skipped (class {name})")
    if not any(map(is_picture, files)):
        yield Finding("empty-class", str(folder / name), f"class {name} has no pictures")


def _folders(root: Path) -> list[Path]:
    """The visible folders in a folder."""
    return sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith((".", "__MACOSX")))


def _recognised(source: Path, request: Request) -> bool:
    return source.is_dir()


def _read_dataset(source: Path, request: Request) -> Dataset:
    part = source if request.split is None else source / request.split
    if not part.is_dir():
        raise DataError(f"{source}: no subfolder {request.split!r}")
    return read_folders(part, request.classes)


READER = Reader(("single",), "class folders", _recognised, _read_dataset)

"""Class folders: ``photos/CLASS/*.jpg``, or ``photos/train/CLASS`` and ``photos/val/CLASS``.

onelook train photos/ --name kind --model mine.onelook
"""

from pathlib import Path

from onelook.data.pictures import SUFFIXES
from onelook.data.readers.request import Reader, Request
from onelook.data.readers.table import refuse_unknown
from onelook.data.samples import TRAIN_NAMES, VAL_NAMES, Dataset, Sample
from onelook.errors import DataError


def class_folders(root: Path) -> dict[str, list[Path]]:
    """Class name -> its files (pictures or not), for each visible subfolder of ``root``, sorted."""
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    return {
        folder.name: sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith(".")) for folder in folders
    }


def sides(root: Path) -> dict[str | None, Path]:
    """Side -> folder: {"train": ..., "val": ...} where ``root`` is split on disk, else {None: root}.

    A side holds class folders; a folder called ``train`` that holds pictures is a class of trains.
    """
    names = {folder.name.lower(): folder for folder in root.iterdir() if folder.is_dir() and any(map(Path.is_dir, folder.iterdir()))}
    train = next((names[name] for name in TRAIN_NAMES if name in names), None)
    val = next((names[name] for name in VAL_NAMES if name in names), None)
    if train is None:
        return {None: root}
    return {"train": train} if val is None else {"train": train, "val": val}


def is_picture(file: Path) -> bool:
    """Whether a file's name says that it is a picture."""
    return file.suffix.lower() in SUFFIXES


def read_folders(root: Path, classes: tuple[str, ...]) -> Dataset:
    """Class folders, split on disk or not. Raises DataError where there are none."""
    parts = {side: class_folders(folder) for side, folder in sides(root).items()}
    found = {name for folders in parts.values() for name, files in folders.items() if any(map(is_picture, files))}
    if not found:
        raise DataError(f"{root}: no pictures in class folders; expected {root}/CLASS/picture.jpg for every class")
    names = classes or tuple(sorted(found))
    refuse_unknown(found, names, root)
    ids = {name: index for index, name in enumerate(names)}
    samples = tuple(
        Sample(file, ids[name], side=side)
        for side, folders in parts.items()
        for name, files in folders.items()
        for file in files
        if is_picture(file)
    )
    how = "class folders" if None in parts else f"class folders, split on disk into {' and '.join(map(str, parts))}"
    return Dataset(samples, names, "single", root, f"{root}: {how}")


def _recognised(source: Path, request: Request) -> bool:
    return source.is_dir()


def _read_dataset(source: Path, request: Request) -> Dataset:
    part = source if request.split is None else source / request.split
    if not part.is_dir():
        raise DataError(f"{source}: no subfolder {request.split!r}")
    return read_folders(part, request.classes)


READER = Reader(("single",), "class folders", _recognised, _read_dataset)

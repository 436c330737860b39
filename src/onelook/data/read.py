"""Labelled pictures from class folders or a table; the format is recognised, never asked for.

onelook train photos/ ...            # photos/CLASS/*.jpg, or photos/train/CLASS and photos/val/CLASS
onelook train labels.csv ...         # path,label   or   path,scratch,dent (0/1)   or   path,weight (regress)
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from onelook.data.pictures import SUFFIXES
from onelook.data.samples import Dataset, Sample, Target
from onelook.errors import DataError, UnreadableError

PATH_COLUMNS = ("path", "image", "file", "filename", "picture", "image_path", "filepath")
TABLES = (".csv", ".tsv")
TRAIN_FOLDERS, VAL_FOLDERS = ("train", "training"), ("val", "valid", "validation", "test")


def read(
    source: Path | str,
    *,
    task: str = "classify",
    columns: Sequence[str] = (),
    group: str | None = None,
    classes: Sequence[str] = (),
) -> Dataset:
    """Read class folders or a table.

    ``columns``: which label columns of a table to use (default: all but path, group and split). ``group``: the column
    whose pictures stay together. ``classes``: names that must be used, in this order (those of a trained head).
    Raises DataError for what cannot be used, UnreadableError for what cannot be read.
    """
    source = Path(source)
    if source.is_dir():
        if task == "regress":
            raise DataError(f"{source}: folders hold classes; regress needs a table: a CSV with a path column and number columns")
        return _read_folders(source, tuple(classes))
    if source.suffix.lower() in TABLES:
        return _read_table(source, task, tuple(columns), group, tuple(classes))
    if source.exists():
        raise DataError(f"{source}: is neither a folder of class folders nor a table ({', '.join(TABLES)})")
    raise UnreadableError(f"{source}: no such folder or table")


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
    train = next((names[name] for name in TRAIN_FOLDERS if name in names), None)
    val = next((names[name] for name in VAL_FOLDERS if name in names), None)
    if train is None:
        return {None: root}
    return {"train": train} if val is None else {"train": train, "val": val}


def is_picture(file: Path) -> bool:
    """Whether a file's name says that it is a picture."""
    return file.suffix.lower() in SUFFIXES


def _read_folders(root: Path, classes: tuple[str, ...]) -> Dataset:
    parts = {side: class_folders(folder) for side, folder in sides(root).items()}
    found = {name for folders in parts.values() for name, files in folders.items() if any(map(is_picture, files))}
    if not found:
        raise DataError(f"{root}: no pictures in class folders; expected {root}/CLASS/picture.jpg for every class")
    names = classes or tuple(sorted(found))
    _refuse_unknown(found, names, root)
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


def _read_table(path: Path, task: str, columns: tuple[str, ...], group: str | None, classes: tuple[str, ...]) -> Dataset:
    header, rows = _rows(path)
    lower = {name.lower(): name for name in header}
    path_column = next((lower[name] for name in PATH_COLUMNS if name in lower), None)
    if path_column is None:
        raise DataError(f"{path}: no path column; name one of the columns ({', '.join(header)}) 'path'")
    split_column = lower.get("split")
    for name in (*columns, *((group,) if group else ())):
        if name not in header:
            raise DataError(f"{path}: no column {name!r}; it has {', '.join(header)}")
    used = {path_column, split_column, group}
    columns = columns or tuple(name for name in header if name not in used)
    if not columns:
        raise DataError(f"{path}: no label column beside {path_column!r}")
    kind, names = _kind_of(path, task, columns, rows, classes)
    samples = []
    for number, row in rows:
        side = _side(row[split_column]) if split_column else None
        target = _target(path, number, kind, [row[name] for name in columns], columns, names)
        samples.append(Sample(path.parent / row[path_column], target, row[group] if group else None, side))
    return Dataset(tuple(samples), names, kind, path, f"{path}: table with {', '.join(columns)}")


def _rows(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Header and (line number, row) of a table; every row has every column."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            rows = [(reader.line_num, row) for row in reader]
            header = [name.strip() for name in reader.fieldnames or []]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(f"{path}: cannot be read as a table in UTF-8 ({error})") from error
    if not rows:
        raise DataError(f"{path}: no rows; expected a header line and one line per picture")
    for number, row in rows:
        if None in row or None in row.values():
            raise DataError(f"{path}, line {number}: has another number of cells than the header ({len(header)})")
    return header, [(number, {name.strip(): value.strip() for name, value in row.items()}) for number, row in rows]


def _kind_of(
    path: Path, task: str, columns: tuple[str, ...], rows: list[tuple[int, dict[str, str]]], classes: tuple[str, ...]
) -> tuple[str, tuple[str, ...]]:
    if task == "regress":
        return "values", columns
    if len(columns) > 1:
        for number, row in rows:
            wrong = next((name for name in columns if row[name] not in ("0", "1", "0.0", "1.0")), None)
            if wrong:
                raise DataError(
                    f"{path}, line {number}: {wrong} is {row[wrong]!r}; several label columns must hold 0 or 1 "
                    "(use --columns NAME to choose one, or --task regress for numbers)"
                )
        return "multi", columns
    labels = {row[columns[0]] for _, row in rows}
    if any("|" in label for label in labels):
        found = {part for label in labels for part in label.split("|") if part}
        names = classes or tuple(sorted(found))
        _refuse_unknown(found, names, path)
        return "multi", names
    names = classes or tuple(sorted(labels, key=_natural))
    _refuse_unknown(labels, names, path)
    return "single", names


def _target(path: Path, number: int, kind: str, cells: list[str], columns: tuple[str, ...], names: tuple[str, ...]) -> Target:
    if kind == "single":
        return names.index(cells[0])
    if kind == "multi" and len(columns) == 1:
        present = set(cells[0].split("|"))
        return tuple(float(name in present) for name in names)
    try:
        values = tuple(float(cell) for cell in cells)
    except ValueError as error:
        raise DataError(f"{path}, line {number}: {error}; regress needs numbers in {', '.join(columns)}") from error
    if not all(map(math.isfinite, values)):
        raise DataError(f"{path}, line {number}: a value is not finite")
    return values


def _side(cell: str) -> str:
    return "train" if cell.lower() in ("", *TRAIN_FOLDERS) else "val"


def _refuse_unknown(found: set[str], names: tuple[str, ...], source: Path) -> None:
    unknown = sorted(found - set(names))
    if unknown:
        raise DataError(f"{source}: {', '.join(unknown[:5])} is no class of this head; it knows {', '.join(names)}")


def _natural(label: str) -> tuple[int, float, str]:
    try:
        return (0, float(label), label)
    except ValueError:
        return (1, 0.0, label)

"""Tables: a CSV (or TSV) with a path column and labels, several 0/1 columns, or numbers.

onelook train labels.csv ...         # path,label   or   path,scratch,dent (0/1)   or   path,weight (regress)
"""

import csv
import math
from pathlib import Path

from onelook.data.kinds import Target
from onelook.data.readers.request import Reader, Request
from onelook.data.samples import TRAIN_NAMES, Dataset, Sample
from onelook.errors import DataError, UnreadableError

PATH_COLUMNS = ("path", "image", "file", "filename", "picture", "image_path", "filepath")
TABLES = (".csv", ".tsv")

TableRows = list[tuple[int, dict[str, str]]]  # line number, cells by column


def read_table(
    path: Path, numbers: bool, columns: tuple[str, ...], group: str | None, classes: tuple[str, ...], split: str | None = None
) -> Dataset:
    """A table of labels or numbers. ``split``: only the rows with this in their column split. Raises DataError, UnreadableError."""
    header, rows = read_rows(path)
    path_column, split_column = path_column_of(path, header), split_column_of(header)
    for name in (*columns, *((group,) if group else ())):
        if name not in header:
            raise DataError(f"{path}: no column {name!r}; it has {', '.join(header)}")
    used = {path_column, split_column, group}
    columns = columns or tuple(name for name in header if name not in used)
    if not columns:
        raise DataError(f"{path}: no label column beside {path_column!r}")
    kind, names = _kind_of(path, numbers, columns, rows, classes)
    samples = []
    if split is not None:
        rows = [(number, row) for number, row in rows if split_column and row[split_column] == split]
        if not rows:
            raise DataError(f"{path}: no rows with {split!r} in a column named split")
    for number, row in rows:
        side = side_of(row[split_column]) if split_column and split is None else None
        target = _target(path, number, kind, [row[name] for name in columns], columns, names)
        samples.append(Sample(path.parent / row[path_column], target, row[group] if group else None, side))
    return Dataset(tuple(samples), names, kind, path, f"{path}: table with {', '.join(columns)}")


def read_rows(path: Path) -> tuple[list[str], TableRows]:
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


def _kind_of(path: Path, numbers: bool, columns: tuple[str, ...], rows: TableRows, classes: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    if numbers:
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
        refuse_unknown(found, names, path)
        return "multi", names
    names = classes or tuple(sorted(labels, key=_natural))
    refuse_unknown(labels, names, path)
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


def side_of(cell: str) -> str:
    """The side that a cell of the column ``split`` names."""
    return "train" if cell.lower() in ("", *TRAIN_NAMES) else "val"


def path_column_of(path: Path, header: list[str]) -> str:
    """The column that names pictures. Raises DataError."""
    lower = {name.lower(): name for name in header}
    column = next((lower[name] for name in PATH_COLUMNS if name in lower), None)
    if column is None:
        raise DataError(f"{path}: no path column; name one of the columns ({', '.join(header)}) 'path'")
    return column


def split_column_of(header: list[str]) -> str | None:
    """The column that says which side a picture is on, if there is one."""
    return next((name for name in header if name.lower() == "split"), None)


def refuse_unknown(found: set[str], names: tuple[str, ...], source: Path) -> None:
    """Raise DataError for classes that a head does not know."""
    unknown = sorted(found - set(names))
    if unknown:
        raise DataError(f"{source}: {', '.join(unknown[:5])} is no class of this head; it knows {', '.join(names)}")


def _natural(label: str) -> tuple[int, float, str]:
    try:
        return (0, float(label), label)
    except ValueError:
        return (1, 0.0, label)


def _recognised(source: Path, request: Request) -> bool:
    return source.is_file() and source.suffix.lower() in TABLES


def _read_dataset(source: Path, request: Request) -> Dataset:
    return read_table(source, request.wants("values"), request.columns, request.group, request.classes, request.split)


READER = Reader(("single", "multi", "values"), f"a table with a path column ({', '.join(TABLES)})", _recognised, _read_dataset)

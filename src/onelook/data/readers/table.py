"""Tables: a CSV (TSV, JSON lines, Parquet) with a path column and labels, several 0/1 columns, or numbers.

Cells may be parted by commas, semicolons or tabs, whatever the suffix says. Rows and columns without anything in them, and columns
without a name (the row numbers that pandas writes), are passed over; a row without a label or a path is left out, with a finding.

onelook train labels.csv ...         # path,label   or   path,scratch,dent (0/1)   or   path,weight (regress)
"""

import csv
import json
import math
import re
from collections import Counter
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from onelook.data.kinds import Target
from onelook.data.readers.locate import Locator
from onelook.data.readers.request import Reader, Request
from onelook.data.samples import Dataset, Finding, Sample
from onelook.data.sides import left_out, side_word, used_sides
from onelook.errors import DataError, UnreadableError

PATH_COLUMNS = (
    "path", "image", "file", "filename", "file_name", "picture", "image_path", "filepath", "file_path", "image_name", "image_id", "img",
    "id",
)  # fmt: skip
LABEL_COLUMNS = ("label", "class", "category", "target", "class_name", "labels", "tags")
SPLIT_COLUMNS = ("split", "subset")
MANY = 20  # different numbers, which are hardly classes
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")  # Hugging Face's, in a folder of pictures
DELIMITERS = ",;\t"

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
    columns = columns or _label_columns([name for name in header if name not in {path_column, split_column, group}], rows, numbers)
    if not columns:
        raise DataError(f"{path}: no label column beside {path_column!r}")
    if split is not None:
        rows = [(number, row) for number, row in rows if split_column and row[split_column] == split]
        if not rows:
            raise DataError(f"{path}: no rows with {split!r} in a column named split")
    findings: list[Finding] = []
    rows = _labelled(path, rows, path_column, columns, findings)
    kind, names = _kind_of(path, numbers, columns, rows, classes)
    sides = sides_of(path, rows, split_column if split is None else None, findings)
    used = used_sides(sides.values())
    locator = Locator(path)
    samples = []
    for number, row in rows:
        if number not in sides or sides[number] not in used:
            continue
        target = _target(path, number, kind, [row[name] for name in columns], columns, names)
        picture = locator.find(row[path_column], path.parent, f"{path}:{number}", findings, sides[number])
        if picture is not None:
            samples.append(Sample(picture, target, (row[group] or None) if group else None, used[sides[number]]))
    rest = left_out(Counter(sides.values()), used)
    return Dataset(tuple(samples), names, kind, path, f"{path}: table with {', '.join(columns)}{rest}", findings=tuple(findings))


def read_rows(path: Path) -> tuple[list[str], TableRows]:
    """Header and (line number, row) of a table; every row has every column. Blank rows and columns without a name are not among them."""
    if path.suffix.lower() == ".parquet":
        return _of_parquet(path)
    text = read_text(path)
    if path.suffix.lower() == ".jsonl":
        return _of_json_lines(path, text)
    try:
        reader = csv.DictReader(StringIO(text, newline=""), delimiter=_delimiter(text), skipinitialspace=True)
        rows = [(reader.line_num, row) for row in reader]
        header = [name.strip() for name in reader.fieldnames or []]
    except csv.Error as error:
        raise UnreadableError(f"{path}: cannot be read as a table ({error})") from error
    rows = [(number, row) for number, row in rows if any(cell and cell.strip() for cell in row.values() if isinstance(cell, str))]
    if not rows:
        raise DataError(f"{path}: no rows; expected a header line and one line per picture")
    twice = next((name for name, count in Counter(filter(None, header)).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{path}: two columns are called {twice!r}")
    for number, row in rows:
        if None in row or None in row.values():
            raise DataError(f"{path}, line {number}: has another number of cells than the header ({len(header)})")
    plain = _with_points if _delimiter(text) == ";" else str.strip
    stripped = [(number, {name.strip(): plain(value) for name, value in row.items()}) for number, row in rows]
    named = [name for name in header if name and not name.startswith("Unnamed: ")]
    return named, [(number, {name: row[name] for name in named}) for number, row in stripped]


def _of_json_lines(path: Path, text: str) -> tuple[list[str], TableRows]:
    """Header and rows of a file with a JSON object a line; lists and objects in it are no cells."""
    rows: TableRows = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            facts = json.loads(line) if line.strip() else {}
        except ValueError as error:
            raise UnreadableError(f"{path}, line {number}: cannot be read as JSON ({error})") from error
        if isinstance(facts, dict) and facts:
            rows.append((number, {str(key): "" if value is None else str(value) for key, value in facts.items() if _is_cell(value)}))
    header = list(dict.fromkeys(name for _, row in rows for name in row))
    if not rows:
        raise DataError(f"{path}: no rows; expected a JSON object a line")
    return header, [(number, {name: row.get(name, "") for name in header}) for number, row in rows]


def _of_parquet(path: Path) -> tuple[list[str], TableRows]:
    """Header and rows of a Parquet file; rows are counted from 1, lists and structures in them are no cells."""
    table = _parquet(path).read_table(path)
    inside = next((field.name for field in table.schema if str(field.type).startswith(("struct<bytes", "binary"))), None)
    if inside is not None and not {name.lower() for name in table.column_names if name != inside} & set(PATH_COLUMNS):
        raise DataError(
            f"{path}: the pictures are inside the table (column {inside}); write them into files first, "
            "with a column file_name that names them: https://huggingface.co/docs/datasets/image_dataset"
        )
    facts = table.to_pylist()
    header = [name for name in table.column_names if all(_is_cell(row[name]) for row in facts)]
    if not facts:
        raise DataError(f"{path}: no rows; expected one row per picture")
    rows = [{name: "" if row[name] is None else str(row[name]) for name in header} for row in facts]
    return header, list(enumerate(rows, start=1))


def _parquet(path: Path) -> Any:
    """Arrow's reader of Parquet. Raises DataError where it is not installed."""
    if find_spec("pyarrow") is None:
        raise DataError(f"{path}: reading Parquet needs: pip install 'onelook[parquet]'")
    return import_module("pyarrow.parquet")


def _is_cell(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def read_text(path: Path) -> str:
    """A text file: UTF-8 with or without a mark, UTF-16 with one, else as Windows writes it in China or in the West.

    Chinese letters are two bytes each, so that bytes beyond ASCII come in even numbers. Raises UnreadableError.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read ({error.strerror})") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ["utf-16"]
    else:
        paired = all(len(run) % 2 == 0 for run in re.findall(rb"[\x80-\xff]+", content))
        encodings = ["utf-8-sig", *(["gb18030"] if paired else []), "cp1252"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text
    raise UnreadableError(f"{path}: is no text in UTF-8, nor in what Windows writes in China or in the West")


def header_of(path: Path) -> list[str]:
    """The names in a table's first line; none where it cannot be read."""
    if path.suffix.lower() == ".parquet":
        return _parquet_names(path)
    try:
        with path.open("rb") as file:
            line = file.readline(100_000).decode("utf-8-sig", errors="replace")
    except OSError:
        return []
    if path.suffix.lower() == ".jsonl":
        return list(re.findall(r'"([^"]+)"\s*:', line))
    return [name.strip() for name in next(csv.reader([line.strip()], delimiter=_delimiter(line)), [])]


def _parquet_names(path: Path) -> list[str]:
    try:
        return list(_parquet(path).read_schema(path).names)
    except (OSError, ValueError):
        return []


def _delimiter(text: str) -> str:
    """What parts the cells of the first line: what is there most often."""
    first = text.lstrip().splitlines()[0] if text.strip() else ""
    return max(DELIMITERS, key=first.count)


def _with_points(cell: str) -> str:
    """A cell of a table parted by semicolons, whose numbers have a comma before their decimals, with a point instead."""
    return cell.strip().replace(",", ".") if re.fullmatch(r"\s*[-+]?\d+,\d+\s*", cell) else cell.strip()


def _label_columns(there: list[str], rows: TableRows, numbers: bool) -> tuple[str, ...]:
    """The columns that hold labels: all that hold anything; of several that are not 0 or 1, the one that is called like a label."""
    filled = [name for name in there if any(row[name] for _, row in rows)]
    several = len(filled) > 1 and not numbers and not all(row[name] in ("", "0", "1", "0.0", "1.0") for _, row in rows for name in filled)
    named = [name for name in filled if name.lower() in LABEL_COLUMNS]
    return (named[0],) if several and len(named) == 1 else tuple(filled)


def _labelled(path: Path, rows: TableRows, path_column: str, columns: tuple[str, ...], findings: list[Finding]) -> TableRows:
    """The rows that have a path and labels; the others are findings."""
    joined = len(columns) == 1 and any("|" in row[columns[0]] for _, row in rows)  # several labels in a cell, or none
    kept = []
    for number, row in rows:
        needed = (path_column,) if joined else (path_column, *columns)
        lacking = next((name for name in needed if not row[name]), None)
        if lacking is None:
            kept.append((number, row))
        else:
            kind = "no-path" if lacking == path_column else "no-label"
            findings.append(Finding(kind, f"{path}:{number}", f"nothing in column {lacking}; the row is left out"))
    if not kept:
        raise DataError(f"{path}: none of {len(rows)} rows has both a path and a label ({findings[0].reason})")
    return kept


def sides_of(path: Path, rows: TableRows, column: str | None, findings: list[Finding]) -> dict[int, str | None]:
    """Line number -> side (train, val, test) by the column that says it; rows with another word there are findings and not among them."""
    sides: dict[int, str | None] = {}
    for number, row in rows:
        cell = row[column] if column else ""
        side = side_word(cell) or ("train" if column and not cell else None)
        if column and side is None:
            findings.append(
                Finding(
                    "unknown-side", f"{path}:{number}", f"{column} is {cell!r}, no name of a side (train, val, test); the row is not used"
                )
            )
            continue
        sides[number] = side
    return sides


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
    names = classes or tuple(sorted(labels, key=natural))
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


def path_column_of(path: Path, header: list[str]) -> str:
    """The column that names pictures. Raises DataError."""
    lower = {name.lower(): name for name in header}
    column = next((lower[name] for name in PATH_COLUMNS if name in lower), None)
    if column is None:
        first = ", ".join(header)
        if any(Path(name).suffix for name in header):
            raise DataError(
                f"{path}: its first line ({first}) names a picture: the header line is missing; write path,label (or what it is) above"
            )
        raise DataError(f"{path}: no path column; name one of the columns ({first}) 'path'")
    return column


def split_column_of(header: list[str]) -> str | None:
    """The column that says which side a picture is on, if there is one."""
    return next((name for name in header if name.lower() in SPLIT_COLUMNS), None)


def refuse_unknown(found: set[str], names: tuple[str, ...], source: Path) -> None:
    """Raise DataError for classes that a head does not know."""
    unknown = sorted(found - set(names))
    if unknown:
        raise DataError(f"{source}: {', '.join(unknown[:5])} is no class of this head; it knows {', '.join(names)}")


def natural(label: str) -> tuple[int, float, str]:
    """A key by which names are sorted as people do: numbers by their value, before words."""
    try:
        return (0, float(label), label)
    except ValueError:
        return (1, 0.0, label)


def tables_of(source: Path) -> list[tuple[Path, str | None]]:
    """The table itself, or a folder's metadata.csv or .jsonl, or those of its sides, each with its side."""
    if source.is_file():
        return [(source, None)] if source.suffix.lower() in TABLES else []
    own: list[tuple[Path, str | None]] = [(source / name, None) for name in METADATA if _names_pictures(source / name)]
    sides = {folder: side_word(folder.name) for folder in sorted(source.iterdir())}
    inside: list[tuple[Path, str | None]] = [
        (folder / name, side) for folder, side in sides.items() if side for name in METADATA if _names_pictures(folder / name)
    ]
    return own[:1] or sorted(inside, key=lambda entry: entry[1] != "train")


def _names_pictures(table: Path) -> bool:
    return table.is_file() and bool({name.lower() for name in header_of(table)} & set(PATH_COLUMNS))


def _recognised(source: Path, request: Request) -> bool:
    return bool(tables_of(source))


def _read_dataset(source: Path, request: Request) -> Dataset:
    tables = tables_of(source)
    if len(tables) == 1:
        return read_table(tables[0][0], request.wants("values"), request.columns, request.group, request.classes, request.split)
    if request.split is not None:
        tables = [(path, side) for path, side in tables if request.split in (path.parent.name, side)]
        if not tables:
            raise DataError(f"{source}: no folder {request.split!r} with a table")

    def read_all(classes: tuple[str, ...]) -> list[Dataset]:
        return [read_table(path, request.wants("values"), request.columns, request.group, classes) for path, _ in tables]

    parts = read_all(request.classes)
    if len({part.classes for part in parts}) > 1:
        parts = read_all(tuple(sorted({name for part in parts for name in part.classes}, key=natural)))
    used = used_sides(side for _, side in tables)
    sides = [side for _, side in tables]
    samples = tuple(
        replace(sample, side=used[side]) for part, side in zip(parts, sides, strict=True) if side in used for sample in part.samples
    )
    counts = Counter({side: len(part) for part, side in zip(parts, sides, strict=True)})
    found = f"{source}: tables {', '.join(path.relative_to(source).as_posix() for path, _ in tables)}{left_out(counts, used)}"
    return replace(
        parts[0], samples=samples, source=source, found=found, findings=tuple(finding for part in parts for finding in part.findings)
    )


def _holds(source: Path) -> tuple[str, ...]:
    """Values where a single column of labels holds numbers that are no class ids: with decimals, or hardly two alike."""
    table = tables_of(source)[0][0]
    header, rows = read_rows(table)
    others = [name for name in header if name not in (path_column_of(table, header), split_column_of(header))]
    columns = _label_columns(others, rows, numbers=False)
    cells = [row[columns[0]] for _, row in rows if len(columns) == 1 and row[columns[0]]]
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        numbers = []
    if not numbers:
        return "single", "multi"
    measured = any(number != int(number) for number in numbers if math.isfinite(number)) or MANY < len(set(numbers)) > len(numbers) / 2
    return ("values", "single") if measured else ("single", "multi", "values")


READER = Reader(("single", "multi", "values"), f"a table with a path column ({', '.join(TABLES)})", _recognised, _read_dataset, _holds)

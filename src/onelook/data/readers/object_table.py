"""Tables of boxes (a line an object) and of key points (a line a picture).

Boxes: a path column, a class column (class, label or name) and xmin, ymin, xmax, ymax, or x, y, width, height with a class; an empty
class with empty numbers is a picture without objects. Key points: a path column and NAME_x, NAME_y and, if some are hidden, NAME_v (0 not
labelled, 1 hidden, 2 visible) for every point; empty cells are points that are not labelled. Left and right are known by their names.

    onelook train raccoon/ --task detect --train-split train_labels.csv --val-split test_labels.csv --name raccoon --model mine.onelook
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from onelook.data.pictures import is_picture
from onelook.data.readers.annotations import Annotated, Annotations, Point, Written, assemble
from onelook.data.readers.locate import Locator
from onelook.data.readers.request import Reader, Request
from onelook.data.readers.table import TABLES, TableRows, header_of, path_column_of, read_rows, sides_of, split_column_of
from onelook.data.samples import Dataset, Finding, paired_names
from onelook.data.sides import side_word
from onelook.errors import DataError, UnreadableError
from onelook.geometry.objects import Layout

CLASS_COLUMNS = ("class", "label", "name", "category", "class_name")
CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
    ("x_min", "y_min", "x_max", "y_max"),
)
SIZE_COLUMNS = (("width", "height"), ("image_width", "image_height"), ("img_width", "img_height"))
SIZED = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("bbox_x", "bbox_y", "bbox_width", "bbox_height"))


def object_tables(source: Path, split: str | None = None, points: bool = False) -> list[tuple[Path, str | None]]:
    """The tables of boxes (or of key points) in a folder, or the file itself, with the side that each one's name says."""
    files = [source] if source.is_file() else sorted(file for file in source.iterdir() if file.suffix.lower() in TABLES)
    usable = [file for file in files if file.suffix.lower() in TABLES and _is_object_table(file, points)]
    if split is not None:
        named = [file for file in usable if split in (file.stem, file.name, side_word(file.stem))]
        return [(named[0], None)] if named else []
    sides = [(file, side_word(file.stem)) for file in usable]
    several = any(side == "train" for _, side in sides)
    return sorted(sides, key=lambda entry: entry[1] != "train") if several else [(file, None) for file, _ in sides[:1]]


def read_object_tables(tables: Sequence[tuple[Path, str | None]], root: Path, group: str | None = None) -> Annotations:
    """All pictures that these tables list, in their order. ``group``: the column whose pictures stay together."""
    pictures: list[Annotated] = []
    findings: list[Finding] = []
    layout: Layout | None = None
    for path, side in tables:
        table = _Opened(path, root, side, group, findings)
        columns = _point_columns(table.header)
        if columns:
            layout = Layout(tuple(columns), paired_names(tuple(columns)), ())
            pictures += _read_points(table, columns)
        else:
            pictures += _read_boxes(table)
    form = f"table of {'key points' if layout else 'boxes'}, {', '.join(path.name for path, _ in tables)}"
    return Annotations(
        root if root.is_dir() and len(tables) > 1 else tables[0][0], form, tuple(pictures), layout=layout, findings=tuple(findings)
    )


class _Opened:
    """One table: its header, its rows with a path, and what they say beside labels. ``side``: by the file's name."""

    def __init__(self, path: Path, root: Path, side: str | None, group: str | None, findings: list[Finding]) -> None:
        self.path, self.findings, self.group = path, findings, group
        self.header, rows = read_rows(path)
        if group is not None and group not in self.header:
            raise DataError(f"{path}: no column {group!r}; it has {', '.join(self.header)}")
        self.where, split = path_column_of(path, self.header), split_column_of(self.header)
        self.sides = sides_of(path, rows, split, findings) if split else dict.fromkeys((number for number, _ in rows), side)
        self.rows: TableRows = [(number, row) for number, row in rows if number in self.sides and self._has_path(number, row)]
        self.locator = Locator(root)

    def picture(self, number: int, row: dict[str, str]) -> Path | None:
        """The picture of a row."""
        return self.locator.find(row[self.where], self.path.parent, self.place(number), self.findings, self.sides[number])

    def place(self, number: int) -> str:
        """Where a row is, for a finding."""
        return f"{self.path}:{number}"

    def group_of(self, row: dict[str, str]) -> str | None:
        """The group of a row's picture."""
        return (row[self.group] or None) if self.group else None

    def _has_path(self, number: int, row: dict[str, str]) -> bool:
        if not row[self.where]:
            self.findings.append(Finding("no-path", self.place(number), f"nothing in column {self.where}; the row is left out"))
        return bool(row[self.where])


def headless(source: Path) -> str | None:
    """The first line of a table whose header is missing: it names a picture and holds numbers."""
    header = header_of(source) if source.is_file() and source.suffix.lower() in TABLES else []
    numbers = sum(cell.replace(".", "", 1).isdecimal() for cell in header)
    return ",".join(header) if numbers >= 4 and any(is_picture(Path(cell)) for cell in header) else None


def _is_object_table(path: Path, points: bool) -> bool:
    header = header_of(path)
    return bool(_point_columns(header)) if points else _box_columns(header) is not None


def _box_columns(header: list[str]) -> tuple[tuple[str, ...], bool] | None:
    """The four columns of a box, and whether the last two are sizes."""
    lower = {name.lower(): name for name in header}
    for sized, choices in ((False, CORNERS), (True, SIZED)):
        for names in choices:
            if all(name in lower for name in names):
                return tuple(lower[name] for name in names), sized
    return None


def _point_columns(header: list[str]) -> dict[str, tuple[str, str, str | None]]:
    """Point -> its columns of x, y and visibility."""
    return {
        name[:-2]: (name, f"{name[:-2]}_y", f"{name[:-2]}_v" if f"{name[:-2]}_v" in header else None)
        for name in header
        if name.endswith("_x") and f"{name[:-2]}_y" in header and name not in ("bbox_x",)
    }


def _read_boxes(table: _Opened) -> list[Annotated]:
    found = _box_columns(table.header)
    if found is None:
        raise DataError(f"{table.path}: no boxes; it needs columns {', '.join(CORNERS[0])} and a class (it has {', '.join(table.header)})")
    columns, sized = found
    lower = {name.lower(): name for name in table.header}
    kind = next((lower[name] for name in CLASS_COLUMNS if name in lower and lower[name] != table.where), None)
    sizes = next(((lower[wide], lower[high]) for wide, high in SIZE_COLUMNS if {wide, high} <= lower.keys() - set(columns)), None)
    entries: dict[tuple[str, str | None], list[Written]] = {}
    first: dict[tuple[str, str | None], tuple[int, dict[str, str]]] = {}
    for number, row in table.rows:
        place, key = table.place(number), (row[table.where], table.sides[number])
        of_picture = entries.setdefault(key, [])
        first.setdefault(key, (number, row))
        cells = [row[column] for column in columns]
        label = row[kind] if kind else "object"
        if not any(cells):
            if kind and label:
                table.findings.append(Finding("no-box", place, f"a {label} without a box; it is left out"))
            continue
        try:
            left, top, right, bottom = map(float, cells)
        except ValueError:
            table.findings.append(Finding("not-a-number", place, f"box {', '.join(cells)}; it is left out"))
            continue
        if not label:
            table.findings.append(Finding("no-name", place, "a box without a class; it is left out"))
            continue
        box = (left, top, left + right, top + bottom) if sized else (left, top, right, bottom)
        of_picture.append(Written(label, box, place))
    pictures = []
    for key, (number, row) in first.items():
        path = table.picture(number, row)
        if path is not None:
            size = _size(row, sizes)
            pictures.append(Annotated(path, tuple(entries[key]), size, key[1], table.group_of(row), table.place(number)))
    return pictures


def _size(row: dict[str, str], columns: tuple[str, str] | None) -> tuple[int, int] | None:
    """The picture's size by the columns that say it."""
    cells = [row[name] for name in columns] if columns else []
    return (int(cells[0]), int(cells[1])) if cells and all(cell.isdecimal() for cell in cells) else None


def _read_points(table: _Opened, columns: dict[str, tuple[str, str, str | None]]) -> list[Annotated]:
    pictures = []
    for number, row in table.rows:
        try:
            points = tuple(_point(row, *names) for names in columns.values())
        except ValueError as error:
            table.findings.append(Finding("not-a-number", table.place(number), f"{error}; the row is left out"))
            continue
        path = table.picture(number, row)
        if path is not None:
            picture = around(path, points, table.place(number), table.sides[number], table.findings)
            pictures.append(replace(picture, group=table.group_of(row)))
    return pictures


def _point(row: dict[str, str], x: str, y: str, seen: str | None) -> Point:
    if not row[x] or not row[y]:
        return (0.0, 0.0, 0.0)
    return (float(row[x]), float(row[y]), float(row[seen]) if seen and row[seen] else 2.0)


def around(picture: Path, points: tuple[Point, ...], place: str, side: str | None, findings: list[Finding]) -> Annotated:
    """A picture with one set of key points and the box around those that are labelled; none at all is a finding."""
    known = [point for point in points if point[2] > 0]
    if not known:
        findings.append(Finding("no-points", place, "all key points are without a label; nothing is learned from it"))
        return Annotated(picture, (), None, side, where=place)
    xs, ys = [point[0] for point in known], [point[1] for point in known]
    box = (min(xs), min(ys), max(xs) + 1e-3, max(ys) + 1e-3)  # a box around a single point has an area too
    return Annotated(picture, (Written("object", box, place, points=points),), None, side, where=place)


def _names_table(source: Path, request: Request) -> bool:
    return request.split is not None and Path(request.split).suffix.lower() in TABLES


def _read_named(source: Path, request: Request) -> Dataset:
    """The table that a split names: in the data's folder, or from here. Raises UnreadableError."""
    root = source if source.is_dir() else source.parent
    for path in (root / str(request.split), Path(str(request.split))):
        if path.is_file():
            return assemble(read_object_tables([(path, None)], root, request.group), request)
    raise UnreadableError(f"{source}: no table {request.split!r} in it")


def _recognised(source: Path, request: Request) -> bool:
    wanted = [points for points in (False, True) if request.wants("points" if points else "objects")]
    return any(object_tables(source, request.split, points) for points in wanted)


def _read_dataset(source: Path, request: Request) -> Dataset:
    tables = object_tables(source, request.split, request.wants("points"))
    return assemble(read_object_tables(tables, source, request.group), request)


def _holds(source: Path) -> tuple[str, ...]:
    found = {"objects": object_tables(source), "points": object_tables(source, points=True)}
    return tuple(kind for kind, tables in found.items() if tables)


NAMED = Reader(("objects", "points"), "", _names_table, _read_named)
READER = Reader(("objects", "points"), "a CSV with xmin, or with NAME_x and NAME_y", _recognised, _read_dataset, _holds)

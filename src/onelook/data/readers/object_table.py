"""Tables of boxes (a line an object) and of key points (a line a picture).

Boxes: a path column, a class column (class, label or name) and xmin, ymin, xmax, ymax, or x, y, width, height with a class; an empty
class with empty numbers is a picture without objects. Key points: a path column and NAME_x, NAME_y and, if some are hidden, NAME_v (0 not
labelled, 1 hidden, 2 visible) for every point; empty cells are points that are not labelled. Left and right are known by their names.

    onelook train raccoon/ --task detect --train-split train_labels.csv --val-split test_labels.csv --name raccoon --model mine.onelook
"""

from collections.abc import Sequence
from pathlib import Path

from onelook.data.readers.annotations import Annotated, Annotations, Point, Written, assemble, locate
from onelook.data.readers.request import Reader, Request
from onelook.data.readers.table import TABLES, TableRows, path_column_of, read_rows, side_of, split_column_of
from onelook.data.samples import TRAIN_NAMES, VAL_NAMES, Dataset, Finding, paired_names
from onelook.errors import DataError, UnreadableError
from onelook.geometry.objects import Layout

CLASS_COLUMNS = ("class", "label", "name", "category", "class_name")
CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
    ("x_min", "y_min", "x_max", "y_max"),
)
SIZED = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("bbox_x", "bbox_y", "bbox_width", "bbox_height"))


def object_tables(source: Path, split: str | None = None, points: bool = False) -> list[tuple[Path, str | None]]:
    """The tables of boxes (or of key points) in a folder, or the file itself, with the side that each one's name says."""
    files = [source] if source.is_file() else sorted(file for file in source.iterdir() if file.suffix.lower() in TABLES)
    usable = [file for file in files if file.suffix.lower() in TABLES and _is_object_table(file, points)]
    if split is not None:
        chosen = [file for file in usable if split in file.stem]
        return [(file, None) for file in chosen[:1]]
    sides = [(file, _side_of(file)) for file in usable]
    if any(side == "train" for _, side in sides):
        return sorted(((file, side) for file, side in sides if side is not None), key=lambda entry: entry[1] == "val")
    return [(file, None) for file, _ in sides[:1]]


def read_object_tables(tables: Sequence[tuple[Path, str | None]], root: Path) -> Annotations:
    """All pictures that these tables list, in their order."""
    pictures: list[Annotated] = []
    findings: list[Finding] = []
    layout: Layout | None = None
    for path, side in tables:
        header, rows = read_rows(path)
        columns = _point_columns(header)
        if columns:
            layout = Layout(tuple(columns), paired_names(tuple(columns)), ())
            pictures += _read_points(path, header, rows, columns, root, side, findings)
        else:
            pictures += _read_boxes(path, header, rows, root, side, findings)
    form = f"table of {'key points' if layout else 'boxes'}, {', '.join(path.name for path, _ in tables)}"
    return Annotations(
        root if root.is_dir() and len(tables) > 1 else tables[0][0], form, tuple(pictures), layout=layout, findings=tuple(findings)
    )


def _is_object_table(path: Path, points: bool) -> bool:
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline().strip().replace("\t", ",").split(",")
    except (OSError, UnicodeDecodeError):
        return False
    header = [name.strip() for name in header]
    return bool(_point_columns(header)) if points else _box_columns(header) is not None


def _side_of(file: Path) -> str | None:
    words = file.stem.lower().replace("-", "_").split("_")
    if set(words) & set(TRAIN_NAMES):
        return "train"
    return "val" if set(words) & set(VAL_NAMES) else None


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


def _read_boxes(path: Path, header: list[str], rows: TableRows, root: Path, side: str | None, findings: list[Finding]) -> list[Annotated]:
    found = _box_columns(header)
    if found is None:
        raise DataError(f"{path}: no boxes; it needs columns {', '.join(CORNERS[0])} and a class (it has {', '.join(header)})")
    columns, sized = found
    where, split = path_column_of(path, header), split_column_of(header)
    lower = {name.lower(): name for name in header}
    kind = next((lower[name] for name in CLASS_COLUMNS if name in lower and lower[name] != where), None)
    by_picture: dict[str, list[Written]] = {}
    sides: dict[str, str | None] = {}
    for number, row in rows:
        place = f"{path}:{number}"
        entries = by_picture.setdefault(row[where], [])
        sides[row[where]] = side_of(row[split]) if split else side
        cells = [row[column] for column in columns]
        label = row[kind] if kind else "object"
        if not any(cells):
            continue
        try:
            left, top, right, bottom = map(float, cells)
        except ValueError:
            findings.append(Finding("not-a-number", place, f"box {', '.join(cells)}; it is left out"))
            continue
        if not label:
            findings.append(Finding("no-name", place, "a box without a class; it is left out"))
            continue
        box = (left, top, left + right, top + bottom) if sized else (left, top, right, bottom)
        entries.append(Written(label, box, place))
    return [Annotated(locate(name, [path.parent, root]), tuple(entries), None, sides[name]) for name, entries in by_picture.items()]


def _read_points(
    path: Path,
    header: list[str],
    rows: TableRows,
    columns: dict[str, tuple[str, str, str | None]],
    root: Path,
    side: str | None,
    findings: list[Finding],
) -> list[Annotated]:
    where, split = path_column_of(path, header), split_column_of(header)
    pictures = []
    for number, row in rows:
        place = f"{path}:{number}"
        try:
            points = tuple(_point(row, *names) for names in columns.values())
        except ValueError as error:
            findings.append(Finding("not-a-number", place, f"{error}; the row is left out"))
            continue
        picture = locate(row[where], [path.parent, root])
        pictures.append(around(picture, points, place, side_of(row[split]) if split else side, findings))
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
        return Annotated(picture, (), None, side)
    xs, ys = [point[0] for point in known], [point[1] for point in known]
    box = (min(xs), min(ys), max(xs) + 1e-3, max(ys) + 1e-3)  # a box around a single point has an area too
    return Annotated(picture, (Written("object", box, place, points=points),), None, side)


def _names_table(source: Path, request: Request) -> bool:
    return request.split is not None and Path(request.split).suffix.lower() in TABLES


def _read_named(source: Path, request: Request) -> Dataset:
    """The table that a split names: in the data's folder, or from here. Raises UnreadableError."""
    root = source if source.is_dir() else source.parent
    for path in (root / str(request.split), Path(str(request.split))):
        if path.is_file():
            return assemble(read_object_tables([(path, None)], root), request.wants("points"), request.classes)
    raise UnreadableError(f"{source}: no table {request.split!r} in it")


def _recognised(source: Path, request: Request) -> bool:
    return bool(object_tables(source, request.split, request.wants("points")))


def _read_dataset(source: Path, request: Request) -> Dataset:
    points = request.wants("points")
    tables = object_tables(source, request.split, points)
    return assemble(read_object_tables(tables, source if source.is_dir() else source.parent), points, request.classes)


NAMED = Reader(("objects", "points"), "", _names_table, _read_named)
READER = Reader(("objects", "points"), "a CSV with xmin, or with NAME_x and NAME_y", _recognised, _read_dataset)

"""Films as labelled pictures: a table of stretches (``start,end,label``), events of ``onelook video``, or a folder of clips a class.

    start,end,label                     # game.csv beside game.mp4; or with a column film
    0:12,0:15.5,dunk
    40,55,other

Frames of a stretch, two a second and one at least, are decoded once and kept as pictures beside the looks (``onelook cache clear`` deletes
them). Neighbouring frames look alike, so a split never parts those of one stretch. What no stretch covers is not learned from.

    onelook train game.csv --val 0.25
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from onelook.data.pictures import FILMS, files_in, is_film, is_picture
from onelook.data.readers.request import Reader, Request
from onelook.data.readers.table import (
    LABEL_COLUMNS,
    PATH_COLUMNS,
    header_of,
    natural,
    read_rows,
    read_text,
    refuse_unknown,
    sides_of,
    split_column_of,
)
from onelook.data.samples import Dataset, Finding, Sample
from onelook.data.sides import left_out, side_in, used_sides
from onelook.errors import DataError, DiskError
from onelook.files import cache_folder, write_atomically

if TYPE_CHECKING:
    from onelook.data.film import Film

FILM_COLUMNS = ("film", "video", *PATH_COLUMNS)
LABELS = (*LABEL_COLUMNS, "event", "action", "tag")
SHEETS = (".csv", ".tsv", ".jsonl")
STEP = 0.5  # seconds between frames that are learned from
SHORTER = 720  # pixels of a kept frame's shorter side at most
QUALITY = 95  # of the JPEGs that frames are kept as
ROUNDED = 1e-3  # seconds by which a written time may lie beside its frame
EXAMPLE = "start,end,label in seconds, such as 12,15.5,dunk"


@dataclass(frozen=True)
class Stretch:
    """A labelled part of a film in seconds; ``end`` None: all of it. ``place``: file and line that say so."""

    film: Path
    start: float
    end: float | None
    label: str
    place: str
    group: str
    side: str | None = None

    def covers(self, time: float) -> bool:
        """Whether a moment lies in it."""
        return self.start <= time and (self.end is None or time <= self.end)


def read_stretches(source: Path, request: Request) -> Dataset:
    """Frames of all stretches. Raises DataError where there are none, UnreadableError."""
    findings: list[Finding] = []
    found = [one for table in _tables(source) for one in _of_table(table, request, findings)] or _clips(source)
    if not found:
        reason = f" ({findings[0].file}: {findings[0].reason})" if findings else ""
        raise DataError(f"{source}: no labelled stretch of a film{reason}; write {source.with_suffix('.csv').name}: {EXAMPLE}")
    if request.split is not None:
        found = [replace(one, side=None) for one in found if request.split in (one.side, one.film.parent.name)]
        if not found:
            raise DataError(f"{source}: no stretch in {request.split!r}")
    names = request.classes or tuple(sorted({one.label for one in found}, key=natural))
    refuse_unknown({one.label for one in found}, names, source)
    used = used_sides(one.side for one in found)
    rest = left_out(Counter(one.side for one in found), used, "stretches")
    by_film: dict[Path, list[Stretch]] = {}
    for one in found:
        if one.side in used:
            by_film.setdefault(one.film, []).append(one)
    samples = [sample for film in sorted(by_film) for sample in _frames(film, by_film[film], names, used, findings)]
    told = f"{source}: {len(found)} stretches of {len(by_film)} films{rest}"
    return Dataset(tuple(samples), names, "single", source, told, findings=tuple(findings))


def _of_table(path: Path, request: Request, findings: list[Finding]) -> list[Stretch]:
    if _is_events(path):
        return _of_events(path, request, findings)
    header, rows = read_rows(path)
    lower = {name.lower(): name for name in header}
    label = request.columns[0] if request.columns else next((lower[name] for name in LABELS if name in lower), None)
    if label not in header:
        raise DataError(f"{path}: no column {label or 'label'!r}; it has {', '.join(header)}")
    if request.group is not None and request.group not in header:
        raise DataError(f"{path}: no column {request.group!r}; it has {', '.join(header)}")
    named = next((lower[name] for name in FILM_COLUMNS if name in lower), None)
    sides = sides_of(path, rows, split_column_of(header), findings)
    found = []
    for number, row in rows:
        place = f"{path}:{number}"
        times = seconds_of(row[lower["start"]]), seconds_of(row[lower["end"]])
        film = _film(path, row[named] if named else "")
        reason = _wrong(row[label], *times) or ("" if film.is_file() else f"there is no film {film}")
        if reason:
            findings.append(Finding("bad-stretch", place, f"{reason}; the row is left out"))
        elif number in sides:
            group = row[request.group] if request.group else ""
            found.append(Stretch(film, times[0] or 0.0, times[1], row[label], place, group or place, sides[number]))
    return found


def _wrong(label: str, start: float | None, end: float | None) -> str:
    """Why a row says no stretch, if so."""
    if not label:
        return "nothing in the column of labels"
    if start is None or end is None:
        return "start and end must be seconds, or as in 1:23.5"
    return "" if end > start else f"ends at {end:g} s, before it starts"


def _of_events(path: Path, request: Request, findings: list[Finding]) -> list[Stretch]:
    """What a head said over time, as ``onelook video --events`` writes it: moments in a row with one label are a stretch."""
    said: list[tuple[int, float, str, str]] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            facts = json.loads(line)
            labels = {head: answer["label"] for head, answer in facts["answers"].items() if isinstance(answer.get("label"), str)}
            head = request.columns[0] if request.columns else next(iter(labels), "a class is said by no head")
            if len(labels) > 1 and not request.columns:
                raise DataError(f"{path}: heads {', '.join(labels)} say a class; which one is meant: --columns {head}")
            said.append((number, float(facts["time"]), labels[head], str(facts.get("film", ""))))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            findings.append(Finding("malformed", f"{path}:{number}", f"is no event ({str(error)[:60]}); the line is left out"))
    found = []
    for (film, label), group in groupby(said, key=lambda one: (one[3], one[2])):
        moments = list(group)
        place = f"{path}:{moments[0][0]}"
        found.append(Stretch(_film(path, film), moments[0][1] - ROUNDED, moments[-1][1] + ROUNDED, label, place, place))
    findings += [Finding("no-film", one.place, f"there is no film {one.film}") for one in found if not one.film.is_file()]
    return [one for one in found if one.film.is_file()]


def _clips(source: Path) -> list[Stretch]:
    """Whole films in a folder a class; on a side where a folder above says so."""
    if not source.is_dir():
        return []
    films = [file for file in files_in(source) if is_film(file) and file.parent != source]
    return [Stretch(film, 0.0, None, film.parent.name, str(film), str(film), side_in(film.relative_to(source).parent)) for film in films]


def _film(table: Path, name: str) -> Path:
    """The film that a row names; else the one that is called like the table, or is alone with it. Raises DataError where it is not said."""
    if name:
        written = Path(name.replace("\\", "/"))
        return next((file for file in (table.parent / written, table.parent / written.name) if file.is_file()), written)
    called = [file for end in sorted(FILMS) for file in (table.with_suffix(end), table.with_suffix(end.upper())) if file.is_file()]
    alone = [file for file in sorted(table.parent.iterdir()) if is_film(file)]
    if not called and len(alone) != 1:
        raise DataError(f"{table}: of which film? Add a column film, or call it like the film ({table.stem}.mp4)")
    return (called or alone)[0]


def _frames(
    path: Path, stretches: Sequence[Stretch], names: Sequence[str], used: dict[str | None, str | None], findings: list[Finding]
) -> list[Sample]:
    """A sample for every frame of a film that is learned from; none, with a finding, of one that cannot be read."""
    from onelook.data.film import Film, FilmError

    try:
        film = Film.open(path)
    except FilmError as error:
        findings.append(Finding("unreadable", str(path), str(error).removeprefix(f"{path}: ")))
        return []
    of: dict[int, Stretch] = {}
    for one in stretches:
        inside = film.chosen(None, max(0.0, one.start), one.end)
        if not inside:
            findings.append(Finding("bad-stretch", one.place, f"begins at {one.start:g} s, the film has {film.seconds:.1f} s"))
        for number in film.chosen(f"{STEP}s", max(0.0, one.start), one.end) if len(inside) > 1 else inside:
            of.setdefault(number, one)
    for number in _torn(film, of, stretches, findings):
        del of[number]
    kept = _kept(film, sorted(of))
    return [Sample(picture, names.index(of[number].label), of[number].group, used[of[number].side]) for number, picture in kept.items()]


def _torn(film: "Film", numbers: Iterable[int], stretches: Sequence[Stretch], findings: list[Finding]) -> list[int]:
    """Frames that lie in stretches with different labels."""
    over = {number: [one for one in stretches if one.covers(float(film.times[number]))] for number in numbers}
    torn = {number: ones for number, ones in over.items() if len({one.label for one in ones}) > 1}
    if torn:
        first = next(iter(torn.values()))
        both, where = " and ".join(sorted({one.label for one in first})), ", ".join(one.place for one in first)
        reason = f"frames that are two things at once, such as {both} ({where}), are left out: {len(torn)}"
        findings.append(Finding("two-labels", str(film.path), reason))
    return list(torn)


def _kept(film: "Film", numbers: Sequence[int]) -> dict[int, Path]:
    """The frames as pictures, decoded where they are not kept yet; those that cannot be decoded are not among them."""
    folder = cache_folder() / "frames" / f"{re.sub(r'[^A-Za-z0-9_-]', '_', film.path.stem)[:40]}-{film.digest[:16]}"
    paths = {number: folder / f"{number:07}-{film.times[number]:.2f}s.jpg" for number in numbers}
    for frame in film.frames([number for number, path in paths.items() if not path.exists()], SHORTER):
        content = BytesIO()
        frame.picture.save(content, "JPEG", quality=QUALITY, subsampling=0)
        try:
            write_atomically(paths[frame.number], content.getvalue())
        except OSError as error:
            raise DiskError(f"{folder}: frames cannot be written ({error.strerror}); set ONELOOK_CACHE to another folder") from error
    return {number: path for number, path in paths.items() if path.exists()}


def seconds_of(text: str) -> float | None:
    """Seconds of "83.5", "1:23.5" or "0:01:23.5"; None for anything else."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        return None
    seconds = sum(part * 60**power for power, part in enumerate(reversed(parts)))
    return seconds if len(parts) <= 3 and all(part >= 0 for part in parts) and math.isfinite(seconds) else None


def _tables(source: Path) -> list[Path]:
    """The tables of stretches: the source itself, one called like a film that is the source, or those in a folder."""
    if is_film(source):
        beside = [source.with_suffix(end) for end in SHEETS]
    elif source.is_dir():
        beside = sorted(source.iterdir())
    else:
        beside = [source]
    return [file for file in beside if file.suffix.lower() in SHEETS and file.is_file() and (_is_table(file) or _is_events(file))]


def _is_table(file: Path) -> bool:
    return {"start", "end"} <= {name.lower() for name in header_of(file)}


def _is_events(file: Path) -> bool:
    return file.suffix.lower() == ".jsonl" and {"time", "answers"} <= set(header_of(file))


def _recognised(source: Path, request: Request) -> bool:
    if _tables(source) or is_film(source):
        return True
    return source.is_dir() and not any(map(is_picture, files_in(source))) and bool(_clips(source))


READER = Reader(("single",), "a film with a table start,end,label of its name", _recognised, read_stretches)

"""WebDataset, unpacked: a picture and its label are files of one name, KEY.jpg with KEY.cls (also KEY.txt, KEY.json).

Tars are not read where they lie: the message says how they are unpacked.

    mkdir flowers && cat flowers-*.tar | tar -xif - -C flowers && onelook train flowers
"""

import json
from collections import Counter
from itertools import islice
from pathlib import Path

from onelook.data.pictures import files_in, is_picture
from onelook.data.readers.request import Reader, Request
from onelook.data.readers.table import natural, read_text, refuse_unknown
from onelook.data.samples import Dataset, Finding, Sample
from onelook.data.sides import left_out, side_in, used_sides
from onelook.errors import DataError, UnreadableError

LABELS = (".cls", ".cls.txt", ".json", ".txt")  # the first that is there names the class
FIELDS = ("cls", "label", "class", "class_name", "category")  # of the JSON
SAMPLE = 20  # pictures that show what a folder holds


def read_webdataset(source: Path, request: Request) -> Dataset:
    """Every picture with its label file; pictures without one are findings. Raises DataError where nothing can be used, or for tars."""
    tars = _tars(source)
    if tars:
        out = source.stem if source.is_file() else source.name
        raise DataError(
            f"{source}: holds tars ({tars[0].name}); unpack them and train the folder: mkdir {out}-unpacked && "
            f"cat {source if source.is_file() else source / '*.tar'} | tar -xif - -C {out}-unpacked"
        )
    findings: list[Finding] = []
    labelled: list[tuple[Path, str]] = []
    for picture in filter(is_picture, files_in(source)):
        label = _label(picture, findings)
        if label:
            labelled.append((picture, label))
    sides = {picture: side_in(picture.relative_to(source).parent) for picture, _ in labelled}
    if request.split is not None:
        labelled = [(picture, label) for picture, label in labelled if request.split in (sides[picture], picture.parent.name)]
        sides = dict.fromkeys(sides)
    if not labelled:
        raise DataError(f"{source}: no picture with a label file{f' in {request.split!r}' if request.split else ''}")
    names = request.classes or tuple(sorted({label for _, label in labelled}, key=natural))
    refuse_unknown({label for _, label in labelled}, names, source)
    used = used_sides(sides[picture] for picture, _ in labelled)
    samples = tuple(Sample(picture, names.index(label), side=used[sides[picture]]) for picture, label in labelled if sides[picture] in used)
    rest = left_out(Counter(sides[picture] for picture, _ in labelled), used)
    return Dataset(samples, names, "single", source, f"{source}: pictures with a label file each{rest}", findings=tuple(findings))


def _label(picture: Path, findings: list[Finding]) -> str:
    """What the file beside a picture says; empty, with a finding, where there is none or it says nothing."""
    file = next((file for end in LABELS if (file := picture.with_suffix(end)).is_file()), None)
    if file is None:
        findings.append(Finding("no-label-file", str(picture), "has no label file of its name; it is left out"))
        return ""
    try:
        text = read_text(file).strip()
        facts = json.loads(text) if file.suffix == ".json" else text
    except (UnreadableError, ValueError) as error:
        findings.append(Finding("malformed", str(file), f"cannot be read ({str(error)[:80]}); its picture is left out"))
        return ""
    value = next((facts[name] for name in FIELDS if name in facts), None) if isinstance(facts, dict) else facts
    if value is None or isinstance(value, list | dict) or not str(value):
        findings.append(Finding("no-label", str(file), f"says no class; expected {', '.join(FIELDS)}"))
        return ""
    return str(value)


def _tars(source: Path) -> list[Path]:
    """The tars of a source: the file itself, or those in a folder that holds hardly anything else."""
    if source.is_file():
        return [source] if source.suffix.lower() == ".tar" else []
    return sorted(source.glob("*.tar"))


def _recognised(source: Path, request: Request) -> bool:
    if _tars(source):
        return True
    if not source.is_dir():
        return False
    first = list(islice(filter(is_picture, files_in(source)), SAMPLE))
    return bool(first) and any(picture.with_suffix(end).is_file() for picture in first for end in (".cls", ".cls.txt"))


READER = Reader(("single",), "pictures with a .cls file each", _recognised, read_webdataset)

"""Labelled pictures, whatever the format; it is recognised, never asked for.

onelook train photos/ ...            # class folders: photos/CLASS/*.jpg
onelook train labels.csv ...         # a table: path,label ; path,scratch,dent (0/1) ; path,weight (regress)
onelook train dataset/ --task detect ...    # COCO JSON, YOLO data.yaml, Pascal VOC, a CSV with xmin,ymin,xmax,ymax
onelook train people/ --task segment ...    # images/ and masks/, train/ and trainannot/, COCO JSON
onelook train poses/ --task keypoints ...   # COCO key points, YOLO pose, a CSV with NAME_x,NAME_y, joints.mat
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from onelook.data.kinds import KINDS, Masks
from onelook.data.readers import expected, reader_of
from onelook.data.readers.object_table import headless
from onelook.data.readers.request import Request
from onelook.data.samples import Dataset
from onelook.errors import DataError, UnreadableError


def read_kinds(
    source: Path | str,
    kinds: Sequence[str],
    *,
    columns: Sequence[str] = (),
    group: str | None = None,
    classes: Sequence[str] = (),
    split: str | None = None,
    ignore: Sequence[str] = (),
    masks: Path | str | None = None,
) -> Dataset:
    """Read pictures that are labelled with one of these kinds of targets (``onelook.data.kinds``).

    ``columns``: which label columns of a table to use (default: all but path, group and split). ``group``: the column (of COCO, the field
    of its images) whose pictures stay together, or a pattern for file names, with what is equal in a group within parentheses.
    ``classes``: names that must be used, in this order (those of a trained head). ``split``: only this part of the source: a subfolder of
    class folders, a value of a table's column split, a VOC list, a COCO file, a key of a YOLO file, a CSV in the folder; a folder of
    pictures with masks. ``ignore``: values or classes of masks from which nothing is learned. ``masks``: the folder of the masks of the
    pictures in ``source``, where their folders' names do not tell.
    Raises DataError for what cannot be used, UnreadableError for what cannot be read.
    """
    source = Path(source)
    if not source.exists():
        raise UnreadableError(f"{source}: no such folder or table")
    pattern = group if group and "(" in group else None
    request = Request(tuple(kinds), tuple(columns), None if pattern else group, tuple(classes), split, tuple(ignore), _masks(masks, kinds))
    reader = reader_of(source, request)
    if reader is None:
        first = headless(source)
        if first is not None:
            raise DataError(f"{source}: its first line ({first}) is no header; write one above, such as path,xmin,ymin,xmax,ymax,class")
        nouns = " or ".join(dict.fromkeys(KINDS[kind].noun for kind in kinds))
        raise DataError(f"{source}: no {nouns} found here; expected {', '.join(expected(kinds))}")
    data = reader.read(source, request)
    if pattern is not None:
        return _grouped(data, pattern)
    if group is not None and all(sample.group is None for sample in data.samples):
        raise DataError(
            f"--group {group}: {data.found} says no such thing; a pattern for file names works everywhere: --group '(patient[0-9]+)'"
        )
    return data


def _masks(folder: Path | str | None, kinds: Sequence[str]) -> Path | None:
    """The folder of masks that was named. Raises DataError where there is none, or no masks are wanted."""
    if folder is None:
        return None
    if Masks.name not in kinds:
        raise DataError(f"--masks {folder}: only what pixels are is learned from masks; add --task segment")
    if not Path(folder).is_dir():
        raise UnreadableError(f"--masks {folder}: no such folder")
    return Path(folder)


def _grouped(data: Dataset, pattern: str) -> Dataset:
    """The same pictures in groups by what a pattern finds in their paths. Raises DataError where it finds nothing."""
    try:
        found = [re.search(pattern, sample.path.as_posix()) for sample in data.samples]
    except re.error as error:
        raise DataError(f"--group {pattern}: is no pattern ({error}); such as '(patient[0-9]+)'") from error
    if not any(found):
        raise DataError(f"--group {pattern}: is in no file name, such as {data.samples[0].path.name if data.samples else ''}")
    groups = [match[1] if match else None for match in found]
    return replace(data, samples=tuple(replace(sample, group=group) for sample, group in zip(data.samples, groups, strict=True)))

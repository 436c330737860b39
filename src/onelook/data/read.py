"""Labelled pictures, whatever the format; it is recognised, never asked for.

onelook train photos/ ...            # class folders: photos/CLASS/*.jpg
onelook train labels.csv ...         # a table: path,label ; path,scratch,dent (0/1) ; path,weight (regress)
onelook train dataset/ --task detect ...    # COCO JSON, YOLO data.yaml, Pascal VOC, a CSV with xmin,ymin,xmax,ymax
onelook train people/ --task segment ...    # images/ and masks/, train/ and trainannot/, COCO JSON
onelook train poses/ --task keypoints ...   # COCO key points, YOLO pose, a CSV with NAME_x,NAME_y, joints.mat
"""

from collections.abc import Sequence
from pathlib import Path

from onelook.data.kinds import KINDS
from onelook.data.readers import READERS, reader_of
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
) -> Dataset:
    """Read pictures that are labelled with one of these kinds of targets (``onelook.data.kinds``).

    ``columns``: which label columns of a table to use (default: all but path, group and split). ``group``: the column
    whose pictures stay together. ``classes``: names that must be used, in this order (those of a trained head). ``split``: only this part
    of the source: a subfolder of class folders, a value of a table's column split, a VOC list, a COCO file, a key of a YOLO file, a CSV
    in the folder; a folder of pictures with masks. ``ignore``: values or classes of masks from which nothing is learned.
    Raises DataError for what cannot be used, UnreadableError for what cannot be read.
    """
    source = Path(source)
    if not source.exists():
        raise UnreadableError(f"{source}: no such folder or table")
    request = Request(tuple(kinds), tuple(columns), group, tuple(classes), split, tuple(ignore))
    reader = reader_of(source, request)
    if reader is None:
        nouns = " or ".join(dict.fromkeys(KINDS[kind].noun for kind in kinds))
        expected = ", ".join(one.expects for one in READERS if one.expects and set(one.gives) & set(kinds))
        raise DataError(f"{source}: no {nouns} found here; expected {expected}")
    return reader.read(source, request)

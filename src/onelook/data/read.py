"""Labelled pictures, whatever the format; it is recognised, never asked for.

onelook train photos/ ...            # class folders: photos/CLASS/*.jpg
onelook train labels.csv ...         # a table: path,label ; path,scratch,dent (0/1) ; path,weight (regress)
onelook train dataset/ --task detect ...    # COCO JSON, YOLO data.yaml, Pascal VOC, a CSV with xmin,ymin,xmax,ymax
onelook train people/ --task segment ...    # images/ and masks/, train/ and trainannot/, COCO JSON
onelook train poses/ --task keypoints ...   # COCO key points, YOLO pose, a CSV with NAME_x,NAME_y, joints.mat
"""

from collections.abc import Sequence
from pathlib import Path

from onelook.data.annotations import Source, assemble
from onelook.data.coco import coco_files, read_coco
from onelook.data.coco_masks import read_coco_masks
from onelook.data.folders import read_folders
from onelook.data.joints import is_joints, read_joints
from onelook.data.masks import read_masks
from onelook.data.object_table import object_tables, read_object_tables
from onelook.data.samples import Dataset
from onelook.data.table import TABLES, read_table
from onelook.data.voc import is_voc, read_voc
from onelook.data.yolo import is_yolo, read_yolo
from onelook.errors import DataError, UnreadableError

OBJECT_TASKS = ("detect", "localize", "keypoints")


def read(
    source: Path | str,
    *,
    task: str = "classify",
    columns: Sequence[str] = (),
    group: str | None = None,
    classes: Sequence[str] = (),
    split: str | None = None,
    ignore: Sequence[str] = (),
) -> Dataset:
    """Read labelled pictures for ``task``.

    ``columns``: which label columns of a table to use (default: all but path, group and split). ``group``: the column
    whose pictures stay together. ``classes``: names that must be used, in this order (those of a trained head). ``split``: only this part
    of the source: a subfolder of class folders, a value of a table's column split, a VOC list, a COCO file, a key of a YOLO file, a CSV
    in the folder; a folder of pictures with masks. ``ignore``: values or classes of masks from which nothing is learned.
    Raises DataError for what cannot be used, UnreadableError for what cannot be read.
    """
    source = Path(source)
    if not source.exists():
        raise UnreadableError(f"{source}: no such folder or table")
    if task in OBJECT_TASKS:
        return assemble(_read_objects(source, split, task == "keypoints"), task, classes)
    if task == "segment":
        if coco_files(source):
            return read_coco_masks(source, split, ignore, classes)
        return read_masks(source, split, ignore, classes)
    if source.is_dir():
        if task == "regress":
            raise DataError(f"{source}: folders hold classes; regress needs a table: a CSV with a path column and number columns")
        return read_folders(_part(source, split), tuple(classes))
    if source.suffix.lower() in TABLES:
        return read_table(source, task, tuple(columns), group, tuple(classes), split)
    raise DataError(f"{source}: is neither a folder of class folders nor a table ({', '.join(TABLES)})")


def _read_objects(source: Path, split: str | None, points: bool) -> Source:
    """Whichever format of boxes or key points this is."""
    if split is not None and Path(split).suffix.lower() in TABLES:
        return read_object_tables([(_named(source, split), None)], source if source.is_dir() else source.parent)
    if points and (joints := is_joints(source)):
        return read_joints(joints)
    if coco_files(source):
        return read_coco(source, split, points)
    if is_yolo(source):
        return read_yolo(source, split)
    if source.is_dir() and is_voc(source):
        return read_voc(source, split)
    tables = object_tables(source, split, points)
    if tables:
        return read_object_tables(tables, source if source.is_dir() else source.parent)
    wanted = "COCO key points, YOLO pose, a CSV with NAME_x and NAME_y, or joints.mat" if points else "COCO, YOLO, VOC or a CSV with xmin"
    raise DataError(f"{source}: no {'key points' if points else 'boxes'} found here; expected {wanted}")


def _part(source: Path, split: str | None) -> Path:
    if split is None:
        return source
    if not (source / split).is_dir():
        raise DataError(f"{source}: no subfolder {split!r}")
    return source / split


def _named(source: Path, split: str) -> Path:
    """The table that a split names: in the data's folder, or from here."""
    for path in ((source if source.is_dir() else source.parent) / split, Path(split)):
        if path.is_file():
            return path
    raise UnreadableError(f"{source}: no table {split!r} in it")

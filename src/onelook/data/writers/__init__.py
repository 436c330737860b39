"""Writers of boxes and key points, one file a format; a line in WRITERS makes one a choice of ``onelook data convert --to``."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from onelook.data.samples import Dataset
from onelook.data.writers.coco import write_coco
from onelook.data.writers.csv_table import write_csv
from onelook.data.writers.cvat import write_cvat
from onelook.data.writers.labelme import write_labelme
from onelook.data.writers.voc import write_voc
from onelook.data.writers.yolo import write_yolo


@dataclass(frozen=True)
class Writer:
    """``takes``: the kinds of targets that the format can hold."""

    write: Callable[[Dataset, Path], None]
    takes: tuple[str, ...] = ("objects", "points")


WRITERS: dict[str, Writer] = {
    "coco": Writer(write_coco),
    "voc": Writer(write_voc, ("objects",)),
    "yolo": Writer(write_yolo),
    "csv": Writer(write_csv),
    "labelme": Writer(write_labelme),
    "cvat": Writer(write_cvat, ("objects",)),
}

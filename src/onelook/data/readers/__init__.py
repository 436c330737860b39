"""Readers of labelled data, one file a format; a line in READERS makes one known.

The first that gives a wanted kind of targets and recognises the source reads it.
"""

from pathlib import Path

from onelook.data.readers import coco, coco_masks, folders, joints, masks, object_table, table, voc, yolo
from onelook.data.readers.request import Reader, Request

READERS: tuple[Reader, ...] = (
    object_table.NAMED,
    joints.READER,
    coco.READER,
    yolo.READER,
    voc.READER,
    object_table.READER,
    coco_masks.READER,
    masks.READER,
    folders.READER,
    table.READER,
)


def reader_of(source: Path, request: Request) -> Reader | None:
    """The reader that recognises a source as holding what is wanted; None if none does."""
    for reader in READERS:
        if set(reader.gives) & set(request.kinds) and reader.recognises(source, request):
            return reader
    return None

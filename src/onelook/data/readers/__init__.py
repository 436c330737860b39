"""Readers of labelled data, one file a format; a line in READERS makes one known.

The first that gives a wanted kind of targets and recognises the source reads it.
"""

from collections.abc import Sequence
from pathlib import Path

from onelook.data.readers import (
    coco,
    createml,
    cvat,
    folders,
    joints,
    label_studio,
    labelme,
    masks,
    object_table,
    stretches,
    supervisely,
    table,
    via,
    voc,
    webdataset,
    yolo,
)
from onelook.data.readers.request import Reader, Request

READERS: tuple[Reader, ...] = (
    stretches.READER,
    object_table.NAMED,
    joints.READER,
    coco.READER,
    labelme.READER,
    label_studio.READER,
    via.READER,
    createml.READER,
    supervisely.READER,
    cvat.READER,
    masks.READER,
    yolo.READER,
    voc.READER,
    object_table.READER,
    table.READER,
    webdataset.READER,
    folders.READER,
)


def expected(kinds: Sequence[str] = ()) -> list[str]:
    """What labelled pictures look like, of these kinds of targets or of all."""
    return [reader.expects for reader in READERS if reader.expects and (not kinds or set(reader.gives) & set(kinds))]


def kinds_in(source: Path) -> tuple[str, ...]:
    """The kinds of targets that a source holds by the first reader that recognises it, the likeliest first; none if no reader does."""
    for reader in READERS:
        if reader.recognises(source, Request(reader.gives)):
            return reader.kinds(source)
    return ()


def reader_of(source: Path, request: Request) -> Reader | None:
    """The reader that recognises a source as holding what is wanted; None if none does. Where masks are named, it is theirs."""
    if request.masks is not None:
        return masks.READER
    for reader in READERS:
        if set(reader.gives) & set(request.kinds) and reader.recognises(source, request):
            return reader
    return None

"""Labelled pictures for a task: read, checked, converted; what ``onelook data`` does.

python -c "from onelook import read; print(read('photos/').describe())"
"""

from collections.abc import Sequence
from pathlib import Path

from onelook.data import check as checking
from onelook.data import convert as converting
from onelook.data.check import Report
from onelook.data.convert import Converted
from onelook.data.read import read_kinds
from onelook.data.samples import Dataset
from onelook.heads import kinds_of
from onelook.workflows.tasks import guess_task


def read(
    source: Path | str,
    *,
    task: str | None = None,
    columns: Sequence[str] = (),
    group: str | None = None,
    classes: Sequence[str] = (),
    split: str | None = None,
    ignore: Sequence[str] = (),
    masks: Path | str | None = None,
) -> Dataset:
    """Read labelled pictures for ``task`` (default: read off the data); the rest as ``onelook.data.read.read_kinds`` says it."""
    kinds = _kinds(source, task, masks)
    return read_kinds(source, kinds, columns=columns, group=group, classes=classes, split=split, ignore=ignore, masks=masks)


def check(
    source: Path | str,
    *,
    task: str | None = None,
    columns: Sequence[str] = (),
    val: Path | str | None = None,
    train_split: str | None = None,
    val_split: str | None = None,
    ignore: Sequence[str] = (),
    masks: Path | str | None = None,
) -> Report:
    """What is wrong with pictures that are labelled for ``task``, see ``onelook.data.check``."""
    return checking.check(
        source, kinds=_kinds(source, task, masks), columns=columns, val=val, train_split=train_split, val_split=val_split, ignore=ignore,
        masks=masks,
    )  # fmt: skip


def convert(source: Path, out: Path, form: str, *, task: str | None = None, split: str | None = None) -> Converted:
    """Write what ``source`` holds for ``task`` in another format, see ``onelook.data.convert``."""
    return converting.convert(source, out, form, kinds=_kinds(source, task), split=split)


def _kinds(source: Path | str, task: str | None, masks: Path | str | None = None) -> tuple[str, ...]:
    return kinds_of(task or guess_task(source, masks).task)

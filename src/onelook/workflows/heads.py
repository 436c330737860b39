"""Heads inside model files: renamed, removed, copied to other files, and whole files put together.

onelook head list mine.onelook
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from onelook import modelfile
from onelook.errors import HeadError
from onelook.model import Model


def rename(path: Path, name: str, new: str) -> None:
    """Call a head otherwise. Raises HeadError for a name that is not there or is taken."""
    with modelfile.locked(path):
        model = Model.load(path, device="cpu")
        _refuse_unknown(path, model, name)
        _refuse_taken(path, model, new)
        _written(model, {other: new if other == name else other for other in model.heads}, path)


def remove(path: Path, name: str) -> None:
    """Take a head out of a file. Raises HeadError for one that is not there, or the only one."""
    with modelfile.locked(path):
        model = Model.load(path, device="cpu")
        _refuse_unknown(path, model, name)
        if len(model.heads) == 1:
            raise HeadError(f"{path}: {name!r} is its only head; delete the file instead")
        _written(model, {other: other for other in model.heads if other != name}, path)


def copy(path: Path, name: str, to: Path, new: str | None = None) -> None:
    """Put a head of one file into another, which is made if absent. Raises HeadError, BackboneError where they do not fit."""
    model = Model.load(path, device="cpu")
    _refuse_unknown(path, model, name)
    with modelfile.locked(to):
        there = Model.load(to, device="cpu") if to.exists() else Model(model.backbone, None)
        _refuse_taken(to, there, new or name)
        _refuse_other_backbone(there, model, to)
        there.adopt(new or name, model, name)
        there.save(to)


def merge(paths: Sequence[Path], out: Path) -> list[str]:
    """Put all heads of several files into a new one; the names of its heads. Raises HeadError, BackboneError where they do not fit."""
    if out.exists():
        raise HeadError(f"{out}: is there already; name a new file")
    models = [Model.load(path, device="cpu") for path in paths]
    together = Model(models[0].backbone, None)
    for path, model in zip(paths, models, strict=True):
        _refuse_other_backbone(together, model, path)
        for name in model.heads:
            _refuse_taken(path, together, name, "; rename one: onelook head rename")
            together.adopt(name, model, name)
    together.save(out)
    return list(together.heads)


def _written(model: Model, names: Mapping[str, str], path: Path) -> None:
    """Write a file anew with these heads (old name -> new)."""
    kept = Model(model.backbone, None)
    for old, new in names.items():
        kept.adopt(new, model, old)
    kept.save(path)


def _refuse_unknown(path: Path, model: Model, name: str) -> None:
    if name not in model.heads:
        raise HeadError(f"{path}: no head {name!r}; it has {', '.join(model.heads) or 'none'}")


def _refuse_taken(path: Path, model: Model, name: str, hint: str = "") -> None:
    if name in model.heads:
        raise HeadError(f"{path}: a head {name!r} is there already{hint}")


def _refuse_other_backbone(ours: Model, theirs: Model, path: Path) -> None:
    if ours.backbone.fingerprint != theirs.backbone.fingerprint:
        raise HeadError(f"{path}: its heads read {theirs.backbone.name} ({theirs.backbone.fingerprint}), not {ours.backbone.fingerprint}")

"""Every head of a model trained again at another input size, from the pictures that its file remembers.

onelook retrain mine.onelook --size 320
"""

import os
from pathlib import Path

from onelook import modelfile
from onelook.errors import DataError, HeadError
from onelook.facts import Facts
from onelook.heads import HEADS
from onelook.heads.options import options_of
from onelook.model import Model
from onelook.progress import QUIET, Progress
from onelook.workflows.train import is_share, train

OPTIONS = ("train_split", "val_split", "columns", "ignore", "group", "freeze", "budget", "epochs", "views", "augment", "seed")


def retrain(
    model_path: Path | str, *, size: int, weights: Path | None = None, device: str = "auto", progress: Progress = QUIET
) -> list[Facts]:
    """Train every head of a model again at another input size, from the data that the file remembers.

    The old file stays until all heads are trained. Raises DataError if a head's pictures are not where they were, or are not known.
    """
    model_path = Path(model_path)
    modelfile.check_writable(model_path)
    old = Model.load(model_path, weights=weights, device=device)
    if not old.heads:
        raise HeadError(f"{model_path}: has no trained heads")
    partial = model_path.with_name(f".{model_path.stem}.{os.getpid()}.retrain.onelook")
    results = []
    try:
        for name, record in old.records.items():
            learned = record.training
            if "data" not in learned:
                raise DataError(
                    f"{model_path}: does not say which pictures head {name!r} learned from (it was trained in Python); fit it anew"
                )
            source, val = model_path.parent / learned["data"], learned.get("val")
            if not source.exists():
                raise DataError(f"{source}: the pictures of head {name!r} are not there any more; train it anew")
            where = val if val is None or is_share(val) else str(model_path.parent / val)
            kept, masks = learned.get("weights"), learned.get("masks")
            method = record.method or record.task
            results.append(
                train(
                    source, name=name, model_path=partial, task=record.task, method=method, val=where, size=size,
                    geometry=old.geometry_of(name).mode, backbone=old.backbone.name, device=device, progress=progress,
                    weights=weights or (model_path.parent / kept if kept else None),
                    masks=model_path.parent / masks if masks else None,
                    **{key: learned[key] for key in OPTIONS if key in learned}, **_options(method, learned),
                )
            )  # fmt: skip
        partial.replace(model_path)
    finally:
        partial.unlink(missing_ok=True)
        partial.with_name(f".{partial.name}.lock").unlink(missing_ok=True)
    return [result | {"model": str(model_path)} for result in results]


def _options(method: str, learned: Facts) -> Facts:
    """A head's own options as its record has them; records of before had those of all heads side by side."""
    kept = learned.get("options", learned)
    return {option.name: kept[option.name] for option in options_of(HEADS[method].Options) if option.name in kept}

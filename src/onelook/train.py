"""From a data set on disk to a head in a model file: what ``onelook train`` and ``onelook retrain`` do.

from onelook.train import train
train("photos/", name="kind", model_path="mine.onelook", val="0.25")
"""

import csv
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from onelook.data.augment import recipe_by_name
from onelook.data.pictures import picture_size
from onelook.data.read import read
from onelook.data.samples import Dataset, mask_of, objects_of
from onelook.data.split import split, write_split
from onelook.draw import contact_sheet, views_sheet
from onelook.errors import BackboneError, DataError, HeadError, PictureError
from onelook.fit import Step, log_steps
from onelook.heads.facts import Attach, Loss, PixelFacts
from onelook.heads.readout import Form
from onelook.look import Mode
from onelook.model import RECIPE, RECIPES_OF, Fitted, Model
from onelook.progress import QUIET, Progress
from onelook.report import require_tensorboard, worst_errors, write_tensorboard, write_training
from onelook.weights import DEFAULT_BACKBONE

SIZES = {"localize": 320, "keypoints": 320}  # of a new model's input, where no --size is given
SMALLEST, LARGEST = 320, 640  # of those for detection, by how small the objects are
LEAST_MASK, MOST_MASK = 320, 512  # of those for pixels, by how large the pictures are
WANTED = 40.0  # pixels (square root of the area) that half of the boxes of every class should have in the input at least


@dataclass(frozen=True)
class Sides:
    """Training pictures, and those that only report (None: there are none)."""

    train: Dataset
    val: Dataset | None


def train(
    source: Path | str,
    *,
    name: str,
    model_path: Path | str,
    task: str = "classify",
    method: str = "auto",
    attach: Attach = "conv",
    val: str | None = None,
    train_split: str | None = None,
    val_split: str | None = None,
    columns: Sequence[str] = (),
    ignore: Sequence[str] = (),
    group: str | None = None,
    backbone: str | None = None,
    weights: Path | None = None,
    freeze: str = "auto",
    budget: float | None = None,
    epochs: int | None = None,
    form: Form = "radial",
    views: int | None = None,
    augment: str | None = None,
    balance: bool = False,
    loss: Loss = "ce",
    borders: bool = False,
    width: int = 16,
    size: int | None = None,
    geometry: Mode | None = None,
    replace: bool = False,
    seed: int = 0,
    device: str = "auto",
    report: Path | None = None,
    tensorboard: Path | None = None,
    progress: Progress = QUIET,
) -> dict[str, Any]:
    """Train head ``name`` from labelled pictures and put it into ``model_path``, which is made if absent.

    ``val``: a folder, a table, or a share such as "0.25"; these pictures only report. Without it, the split that the
    source itself makes is used; if it makes none, all pictures train and the metrics are those of held-out training pictures.
    ``train_split``, ``val_split``: which parts of the source train and report, as the source names them (see ``onelook.data.read``).
    ``method``, ``attach``, ``freeze``, ``budget`` (seconds), ``epochs``, ``form``, ``views``, ``augment``: see ``Model.fit``.
    ``ignore``: values or classes of masks from which nothing is learned; ``loss``, ``borders``, ``width``: of pixels, see ``PixelFacts``.
    ``report``: a folder for a page that tells what was learned; ``tensorboard``: one for scalars and sheets.
    Returns what ``onelook train --json`` prints. Raises an OnelookError; the file then stays as it was.
    """
    begun = time.perf_counter()
    if tensorboard is not None:
        require_tensorboard()
    model_path = Path(model_path)
    data = read(source, task=task, columns=columns, group=group, split=train_split, ignore=ignore)
    if val_split is not None:
        val_data: Dataset | str | None = read(
            val or source, task=task, columns=columns, classes=data.classes, split=val_split, ignore=ignore
        )
    else:
        val_data = val
    sides = divide(data, val_data, task=task, columns=columns, ignore=ignore, seed=seed)
    progress.say(sides.train.describe())
    torch.manual_seed(seed)  # of a network that starts from random weights
    model = _open(model_path, name, backbone, weights, device, replace)
    if model.geometry is None and size is None:
        size = usual_size(task, sides.train)
        if size is not None:
            progress.say(f"input size {size} pixels; another: --size")
    model.choose_geometry(name, size, geometry, progress)
    folder = model_path.parent / "runs" / task / name

    (folder / "steps.csv").unlink(missing_ok=True)
    steps: list[tuple[str, Step]] = []

    def through(title: str, new: Iterator[Step]) -> Iterator[Step]:
        folder.mkdir(parents=True, exist_ok=True)
        for step in log_steps(title, new, folder / "steps.csv"):
            if step.epoch % max(1, step.epochs // 10) == 0:
                progress.say(f"{title}: epoch {step.epoch} of {step.epochs}, loss {step.loss:.3f}, {step.seconds:.0f} s")
            steps.append((title, step))
            yield step

    fitted = model.fit(
        name, sides.train, head=task, method=method, attach=attach, freeze=freeze, budget=budget, epochs=epochs, form=form, views=views,
        augment=augment, balance=balance, pixels=PixelFacts(loss, borders, width), hold_out=sides.val is None, seed=seed,
        progress=progress, through=through,
    )  # fmt: skip
    crossed = fitted.held_out["n"] == fitted.images
    on = "cross-validation" if crossed else "held-out training pictures"
    metrics, refused = fitted.held_out | {"on": on}, list(fitted.refused)
    evaluated = None
    if sides.val is not None:
        _say_missing(sides, progress)
        evaluated = model.evaluate(name, sides.val, progress=progress)
        metrics, refused = evaluated.metrics | {"on": "validation pictures"}, refused + list(evaluated.refused)
    options = {
        "data": os.path.relpath(Path(source).resolve(), model_path.parent.resolve()),
        "val": val if val is None or _is_share(val) else os.path.relpath(Path(val).resolve(), model_path.parent.resolve()),
        "train_split": train_split,
        "val_split": val_split,
        "columns": list(columns),
        "ignore": list(ignore),
        "group": group,
        "method": method,
        "attach": attach,
        "freeze": freeze,
        "budget": budget,
        "epochs": epochs,
        "form": form,
        "views": views,
        "augment": augment,
        "balance": balance,
        "loss": loss,
        "borders": borders,
        "width": width,
        "seed": seed,
    }
    images = {"train": fitted.images, "val": metrics["n"] if sides.val else 0, "refused": len(refused)}
    model.note(name, metrics=metrics, training=options | {"images": images})
    model.save(model_path)
    result = {
        "head": name,
        "task": task,
        "method": model.records[name].method,
        "backbone": model.backbone.name,
        "model": str(model_path),
        "images": images,
        "cut": fitted.cut,
        "metrics": metrics,
        "seconds": {
            "look": round(fitted.seconds_look, 3),
            "fit": round(fitted.seconds_fit, 3),
            "total": round(time.perf_counter() - begun, 3),
        },
        "looked": fitted.looked,
        "interrupted": fitted.interrupted,
        "ladder": fitted.climbed.to_json() if fitted.climbed else None,
    }
    _write_run(folder, sides, fitted, result | {"options": options, "geometry": asdict(model.geometry_of(name))})
    if report is not None:
        write_training(report, model, name, result, sides.train, evaluated, steps)
    if tensorboard is not None:
        sheets = {
            "views": views_sheet(
                sides.train.samples[:6], recipe_by_name(augment or RECIPES_OF.get(model.records[name].method, RECIPE)), 6, seed
            )
        }
        if evaluated is not None and model.head(name).vector and (worst := worst_errors(evaluated, model.head(name).classes)):
            cells = [(evaluated.paths[index], said.replace(", ", "\n")) for index, said in worst]
            sheets["worst errors"] = contact_sheet(cells, "worst errors")
        write_tensorboard(tensorboard, result, steps, sheets)
    return result


def retrain(model_path: Path | str, *, size: int, device: str = "auto", progress: Progress = QUIET) -> list[dict[str, Any]]:
    """Train every head of a model again at another input size, from the data that the file remembers.

    The old file stays until all heads are trained. Raises DataError if a head's pictures are not where they were.
    """
    model_path = Path(model_path)
    old = Model.load(model_path, device=device)
    if not old.heads:
        raise HeadError(f"{model_path}: has no trained heads")
    partial = model_path.with_name(f".{model_path.stem}.{os.getpid()}.retrain.onelook")
    results = []
    try:
        for name, record in old.records.items():
            options = dict(record.training)
            options.pop("images", None)
            source, val = model_path.parent / options.pop("data"), options.pop("val")
            if not source.exists():
                raise DataError(f"{source}: the pictures of head {name!r} are not there any more; train it anew")
            where = val if val is None or _is_share(val) else str(model_path.parent / val)
            results.append(
                train(
                    source, name=name, model_path=partial, task=record.task, val=where, size=size,
                    geometry=old.geometry_of(name).mode, backbone=old.backbone.name, device=device, progress=progress, **options
                )
            )  # fmt: skip
        partial.replace(model_path)
    finally:
        partial.unlink(missing_ok=True)
    return [result | {"model": str(model_path)} for result in results]


def usual_size(task: str, data: Dataset) -> int | None:
    """The input size of a new model for this task, None for the backbone's own.

    For detection large enough for its small objects, for pixels as large as the pictures, both within bounds.
    """
    if task == "segment" and len(data):
        longer = median(max(mask_of(sample).size) for sample in data.samples)
        return min(MOST_MASK, max(LEAST_MASK, 32 * round(longer / 32)))
    if task != "detect":
        return SIZES.get(task)
    shares: dict[int, list[float]] = {}
    for sample in data.samples:
        objects = objects_of(sample).learnable
        if len(objects):
            with suppress(PictureError):
                sides = (objects.boxes[:, 2:] - objects.boxes[:, :2]).prod(1).sqrt() / max(picture_size(sample.path))
                for label, side in zip(objects.labels.tolist(), sides.tolist(), strict=True):
                    shares.setdefault(label, []).append(side)
    if not shares:
        return SMALLEST
    wanted = WANTED / min(map(median, shares.values()))
    return min(LARGEST, max(SMALLEST, 32 * round(wanted / 32)))


def divide(
    data: Dataset, val: Dataset | str | None, *, task: str, columns: Sequence[str] = (), ignore: Sequence[str] = (), seed: int = 0
) -> Sides:
    """Which pictures train and which only report, as ``train`` describes it; ``val`` may have been read already."""
    trained = data.pick([index for index, sample in enumerate(data.samples) if sample.side != "val"])
    if val is None:
        inside = data.side("val")
        return Sides(trained, inside if len(inside) else None)
    if isinstance(val, Dataset):
        return Sides(trained, val)
    if _is_share(val):
        train_indices, val_indices = split(trained, float(val), seed)
        return Sides(trained.pick(train_indices), trained.pick(val_indices))
    return Sides(trained, read(val, task=task, columns=columns, classes=data.classes, ignore=ignore))


def _say_missing(sides: Sides, progress: Progress) -> None:
    """Say which classes have no validation pictures: nothing will be known of them."""
    if sides.val is not None and sides.val.kind not in ("values", "points"):
        missing = [name for name, count in sides.val.counts().items() if not count]
        if missing:
            progress.say(f"no validation pictures of class {', '.join(missing)}: the figures say nothing of it")


def _is_share(val: str) -> bool:
    try:
        float(val)
    except ValueError:
        return False
    return True


def _open(path: Path, name: str, backbone: str | None, weights: Path | None, device: str, replace: bool) -> Model:
    if not path.exists():
        if path.suffix != ".onelook":
            raise HeadError(f"--model {path}: call it {path.with_suffix('.onelook')}, so that it is recognised as a model file")
        return Model.new(backbone or DEFAULT_BACKBONE, weights=weights, device=device)
    model = Model.load(path, weights=weights, device=device)
    if backbone not in (None, model.backbone.name):
        raise BackboneError(f"{path}: its heads read {model.backbone.name}, not {backbone}; use another --model FILE")
    if name in model.heads and not replace:
        raise HeadError(f"{path}: already has a head {name!r}; choose another --name, or --replace to train it anew")
    return model


def _write_run(folder: Path, sides: Sides, fitted: Fitted, result: dict[str, Any]) -> None:
    """The split, the candidates that were compared, and the result, for people and for later."""
    folder.mkdir(parents=True, exist_ok=True)
    write_split(folder / "split.csv", sides.train, sides.val)
    rungs = fitted.climbed.evidence if fitted.climbed else ()
    for file_name, entries in (("candidates.csv", fitted.tried), ("ladder.csv", rungs)):
        rows = [asdict(entry) for entry in entries]
        if rows:
            with (folder / file_name).open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
    (folder / "result.json").write_text(json.dumps(result, indent=1, ensure_ascii=False))

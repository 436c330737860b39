"""From a data set on disk to a head in a model file: what ``onelook train`` does.

import onelook
onelook.train("photos/", val="0.25")
"""

import csv
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch

from onelook import modelfile
from onelook.answers.canvas import contact_sheet
from onelook.backbones.weights import DEFAULT_BACKBONE
from onelook.data.augment import recipe_by_name
from onelook.data.kinds import Masks
from onelook.data.read import read_kinds
from onelook.data.samples import Dataset, shared_pictures
from onelook.data.split import by_class, split, write_split
from onelook.deadline import NEVER, Deadline
from onelook.errors import BackboneError, HeadError
from onelook.facts import Facts
from onelook.geometry.placement import Mode
from onelook.heads import find_head, make_options
from onelook.heads.base import AnyHead
from onelook.inference.evaluate import Evaluated, seconds_anew
from onelook.looks.features import Needs
from onelook.model import Model
from onelook.modelparts import Fitted, usual_recipe
from onelook.progress import QUIET, Progress
from onelook.report import write_training
from onelook.report.tensorboard import require_tensorboard, write_tensorboard
from onelook.report.views import views_sheet
from onelook.training import depth_search
from onelook.training.loop import Step, log_steps
from onelook.workflows.tasks import guess_task

FEWEST_JUDGED = 30  # validation pictures whose figures say more than those of held-out training pictures
SAVING, JUDGING = 1.0, 1.25  # seconds kept for writing; times the time of looks that is kept for judging
WORST, SHEET = 18, 6  # pictures on sheets for TensorBoard


@dataclass(frozen=True)
class Split:
    """Training pictures, and those that only report (None: there are none)."""

    train: Dataset
    val: Dataset | None


def train(
    source: Path | str, *, name: str | None = None, model_path: Path | str | None = None, task: str | None = None,
    method: str | None = None, val: str | None = None,
    train_split: str | None = None, val_split: str | None = None, columns: Sequence[str] = (), ignore: Sequence[str] = (),
    masks: Path | str | None = None, group: str | None = None, backbone: str | None = None, weights: Path | None = None,
    freeze: str = "auto", budget: float | None = None, epochs: int | None = None, views: int | None = None,
    augment: str | None = None, size: int | None = None, geometry: Mode | None = None,
    replace: bool = False, seed: int = 0, device: str = "auto", report: Path | None = None, tensorboard: Path | None = None,
    begun: float | None = None, progress: Progress = QUIET, **options: object,
) -> Facts:  # fmt: skip
    """Train head ``name`` from labelled pictures and put it into ``model_path``, which is made if absent.

    ``task``, ``method``: which head (default: read off the data, and said); ``options``: its own (see ``onelook train --help``). ``name``:
    by default the task; ``model_path``: by default the data's name with ``.onelook``, in the current folder.
    ``val``: a folder, a table, or a share such as "0.25"; these pictures only report. Without it, the split that the
    source itself makes is used; if it makes none, all pictures train and the metrics are those of held-out training pictures.
    ``train_split``, ``val_split``: which parts of the source train and report, as the source names them (``onelook.data.read``).
    ``ignore``: values or classes of masks from which nothing is learned; ``masks``: their folder, where it is not to be found by its name.
    ``freeze``, ``epochs``, ``views``, ``augment``: see ``Model.fit``.
    ``budget``: seconds for all of it, looking, judging and saving included, counted from ``begun`` on (a ``time.monotonic``; default: now);
    what is cut short for it is said. ``report``: a folder for a page that tells what was learned; ``tensorboard``: one for its files.
    Returns what ``onelook train --json`` prints. Raises an OnelookError; the file then stays as it was.
    """
    deadline = Deadline(budget, begun)
    if tensorboard is not None:
        require_tensorboard()
    if task is None:
        guess = guess_task(source, masks)
        progress.say(guess.in_words())
        task = guess.task
    head, name = find_head(task, method), name or task
    model_path = Path(model_path) if model_path is not None else _named_after(Path(source))
    own = make_options(head, options)
    modelfile.check_writable(model_path)
    pictures = _read(source, head, val, train_split, val_split, columns, ignore, masks, group, seed)
    progress.say(pictures.train.describe())
    if pictures.val is not None:
        _say_held_back(pictures.train, pictures.val, val, progress)
    torch.manual_seed(seed)  # of a network that starts from random weights
    model = _open(model_path, name, backbone, weights, device, replace)
    if model.geometry is None and size is None:
        size = head.input_size(pictures.train)
        if size is not None:
            progress.say(f"input size {size} pixels; another: --size")
    model.choose_geometry(name, size, geometry, progress)
    folder = model_path.parent / "runs" / task / name
    steps: list[tuple[str, Step]] = []
    fitted = model.fit(
        name, pictures.train, head=head, freeze=freeze, budget=budget, deadline=_fitting(deadline, head, freeze, model, name, pictures),
        epochs=epochs, views=views, augment=augment, hold_out=pictures.val is None, seed=seed, progress=progress,
        callback=lambda title, new: _logged(title, new, folder, steps, progress), **options,
    )  # fmt: skip
    evaluated, metrics = _judge(model, name, fitted, pictures, deadline if budget else NEVER, progress)
    record = {
        "data": _beside(source, model_path), "val": val if val is None or is_share(val) else _beside(val, model_path),
        "train_split": _split_name(train_split, source, model_path), "val_split": _split_name(val_split, source, model_path),
        "columns": list(columns), "ignore": list(ignore),
        "masks": None if masks is None else _beside(masks, model_path), "group": group,
        "method": head.method, "freeze": freeze, "budget": budget,
        "epochs": epochs, "views": views, "augment": augment, "seed": seed, "options": asdict(own),
        "weights": None if weights is None else _beside(weights, model_path), "trained": date.today().isoformat(),
    }  # fmt: skip
    refused = [*fitted.refused, *(evaluated.refused if evaluated else ())]
    images = {"train": fitted.images, "val": metrics["n"] if pictures.val else 0, "refused": len(refused)}
    model.records[name] = dataclasses.replace(model.records[name], metrics=metrics, training=record | {"images": images})
    saved = _add_to_file(model, name, model_path, weights, replace, progress)
    short = [*fitted.trained.cut_short, *([f"judging of {evaluated.left} pictures"] if evaluated and evaluated.left else [])]
    search = fitted.trained.search
    result = {
        "head": saved.name, "task": task, "method": head.method, "backbone": model.backbone.name, "model": str(saved.path),
        "images": images,
        "cut": fitted.trained.cut, "metrics": metrics, "said": model.head(name).judge().in_words(metrics),
        "seconds": {
            "look": round(fitted.seconds_look, 3), "fit": round(fitted.seconds_fit, 3), "total": round(deadline.taken(), 3),
        },
        "looked": fitted.looked, "interrupted": fitted.trained.interrupted, "cut_short": short,
        "search": search.to_json() if search else None,
    }  # fmt: skip
    _write_run(folder, pictures, fitted, result | {"options": record, "geometry": asdict(model.geometry_of(name))})
    if report is not None:
        write_training(report, model, name, result, pictures.train, evaluated, steps)
    if tensorboard is not None:
        _write_board(tensorboard, model, name, result, steps, pictures.train, recipe=augment or usual_recipe(head, model.backbone),
                     seed=seed, evaluated=evaluated)  # fmt: skip
    return result


def _named_after(source: Path) -> Path:
    """The model file that is called like the data, in the current folder."""
    named = source if source.name not in ("", "..") else source.resolve()
    return Path(f"{named.name if named.is_dir() else named.stem}.onelook")


def _say_held_back(learned: Dataset, held: Dataset, val: str | None, progress: Progress) -> None:
    """What there is to know of validation pictures before training: findings, their share where groups decide it, those that train, too."""
    if held.source != learned.source:
        progress.say(f"validation: {held.describe()}")
    if val is not None and is_share(val) and any(sample.group is not None for sample in learned.samples):
        share = len(held) / (len(held) + len(learned))
        progress.say(f"{len(held)} pictures held back, {share:.0%} for the {float(val):.0%} asked for: no group is parted")
    same = shared_pictures(learned, held)
    if same:
        progress.say(f"{len(same)} of {len(held)} validation pictures train as well (such as {same[0]}): the figures flatter")


def divide(
    data: Dataset, val: Dataset | str | None, *, columns: Sequence[str] = (), ignore: Sequence[str] = (), seed: int = 0,
    classes: Sequence[str] | None = None,
) -> Split:  # fmt: skip
    """Which pictures train and which only report, as ``train`` describes it; ``val`` may have been read already.

    ``classes``: those that ``val`` may show (default: those of ``data``; none: any).
    """
    trained = data.pick([index for index, sample in enumerate(data.samples) if sample.side != "val"])
    if val is None:
        inside = data.side("val")
        return Split(trained, inside if len(inside) else None)
    if isinstance(val, Dataset):
        return Split(trained, val)
    if is_share(val):
        train_indices, val_indices = split(trained, float(val), seed)
        return Split(trained.pick(train_indices), trained.pick(val_indices))
    known = data.classes if classes is None else classes
    return Split(trained, read_kinds(val, (data.kind,), columns=columns, classes=known, ignore=ignore))


def is_share(val: str) -> bool:
    """Whether a validation side is a number, such as 0.25."""
    try:
        float(val)
    except ValueError:
        return False
    return True


def _read(
    source: Path | str, head: type[AnyHead], val: str | None, train_split: str | None, val_split: str | None, columns: Sequence[str],
    ignore: Sequence[str], masks: Path | str | None, group: str | None, seed: int,
) -> Split:  # fmt: skip
    """Both sides, read. Raises DataError, HeadError for what is asked of pictures that have no use for it."""
    data = read_kinds(source, head.learns_from, columns=columns, group=group, split=train_split, ignore=ignore, masks=masks)
    table = Path(source).is_file()
    if columns and not (table and data.targets.columns(data.classes)):
        raise HeadError(f"--columns: is for a table of labels; {data.found} has no columns of labels")
    if ignore and data.kind != Masks.name:
        raise HeadError(f"--ignore: is for masks; these are {data.targets.noun}")
    if head.by_identity:
        data = by_class(data)
    known = () if head.by_identity else data.classes
    other: Dataset | str | None = val
    if val_split is not None:
        apart = None if val else masks
        other = read_kinds(val or source, (data.kind,), columns=columns, classes=known, split=val_split, ignore=ignore, masks=apart)
    return divide(data, other, columns=columns, ignore=ignore, seed=seed, classes=known)


def _fitting(deadline: Deadline, head: type[AnyHead], freeze: str, model: Model, name: str, pictures: Split) -> Deadline:
    """When fitting must be done, so that judging and saving have their time; where depth is measured there is a budget in any case."""
    if deadline.seconds is None:
        searched = head.trainer == "pooled" and freeze == "auto"
        return Deadline(depth_search.BUDGET, deadline.begun) if searched else deadline
    reserve = SAVING
    if pictures.val is not None:
        paths = [sample.path for sample in pictures.val.samples]
        look = seconds_anew(model.extractor(model.geometry_of(name)), paths, Needs(embedding=True))
        reserve += JUDGING * look * len(paths)
    return deadline.earlier(reserve, at_most=deadline.left() / 2)


def _logged(title: str, new: Iterator[Step], folder: Path, steps: list[tuple[str, Step]], progress: Progress) -> Iterator[Step]:
    """Steps on their way: written down, said from time to time, collected."""
    folder.mkdir(parents=True, exist_ok=True)
    if not steps:
        (folder / "steps.csv").unlink(missing_ok=True)
    for step in log_steps(title, new, folder / "steps.csv"):
        if step.epoch % max(1, step.epochs // 10) == 0:
            progress.say(f"{title}: epoch {step.epoch} of {step.epochs}, loss {step.loss:.3f}, {step.seconds:.0f} s")
        steps.append((title, step))
        yield step


def _judge(
    model: Model, name: str, fitted: Fitted, pictures: Split, deadline: Deadline, progress: Progress
) -> tuple[Evaluated | None, Facts]:
    """The figures on validation pictures, or on held-out training pictures where there are none."""
    if pictures.val is None:
        crossed = fitted.trained.held_out["n"] == fitted.images
        return None, fitted.trained.held_out | {"on": "cross-validation" if crossed else "held-out training pictures"}
    missing = pictures.val.targets.missing(pictures.val.counts())
    if missing and not model.head(name).core.by_identity:
        progress.say(f"no validation pictures of class {', '.join(missing)}: the figures say nothing of it")
    evaluated = model.evaluate(name, pictures.val, progress=progress, deadline=deadline)
    held_out = fitted.trained.held_out
    if evaluated.left and evaluated.metrics["n"] < min(FEWEST_JUDGED, held_out["n"]):
        progress.say("no time to judge: the figures are those of held-out training pictures")
        return evaluated, held_out | {"on": "held-out training pictures"}
    if evaluated.left:
        progress.say(f"no time to judge {evaluated.left} of {len(pictures.val)} validation pictures, which were drawn at random")
    return evaluated, evaluated.metrics | {"on": "validation pictures"}


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


@dataclass(frozen=True)
class _Saved:
    """Under which name in which file a head was saved."""

    name: str
    path: Path


def _add_to_file(model: Model, name: str, path: Path, weights: Path | None, replace: bool, progress: Progress) -> _Saved:
    """Put a trained head into the file as it is now: another training may have added to it meanwhile."""
    with modelfile.locked(path):
        if not path.exists():
            model.save(path)
            return _Saved(name, path)
        there = Model.load(path, weights=weights, device=model.device)
        if there.backbone.fingerprint != model.backbone.fingerprint:
            apart = path.with_name(f"{path.stem}-{name}{path.suffix}")
            progress.say(f"{path} was written meanwhile, for another network; saved as {apart}")
            model.save(apart)
            return _Saved(name, apart)
        free, number = name, 1
        while free in there.heads and not replace:
            number += 1
            free = f"{name}-{number}"
        if free != name:
            progress.say(f"{path} has got a head {name!r} meanwhile; this one is called {free!r}")
        there.adopt(free, model, name)
        there.save(path)
        return _Saved(free, path)


def _beside(path: Path | str, model_path: Path) -> str:
    """A path as the model file remembers it: from its own folder, or whole where there is no way from there (another drive)."""
    whole = Path(path).resolve()
    try:
        return os.path.relpath(whole, model_path.parent.resolve())
    except ValueError:
        return str(whole)


def _split_name(name: str | None, source: Path | str, model_path: Path) -> str | None:
    """The name of a part of the data as the model file remembers it; a table that lies elsewhere by its path from there."""
    root = Path(source) if Path(source).is_dir() else Path(source).parent
    if name is None or (root / name).exists() or not Path(name).is_file():
        return name
    return str(Path(name).resolve())


def _write_run(folder: Path, pictures: Split, fitted: Fitted, result: Facts) -> None:
    """The split, the candidates that were compared, and the result, for people and for later."""
    folder.mkdir(parents=True, exist_ok=True)
    write_split(folder / "split.csv", pictures.train, pictures.val)
    trials = fitted.trained.search.evidence if fitted.trained.search else ()
    for file_name, entries in (("candidates.csv", fitted.trained.tried), ("search.csv", trials)):
        rows = [asdict(entry) for entry in entries]
        if rows:
            with (folder / file_name).open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
    (folder / "result.json").write_text(json.dumps(result, indent=1, ensure_ascii=False), "utf-8", "backslashreplace")


def _write_board(
    folder: Path, model: Model, name: str, result: Facts, steps: Sequence[tuple[str, Step]], data: Dataset, *, recipe: str,
    seed: int, evaluated: Evaluated | None,
) -> None:  # fmt: skip
    """Scalars and sheets of pictures for TensorBoard."""
    sheets = {"views": views_sheet(data.samples[:SHEET], recipe_by_name(recipe), SHEET, seed)}
    worst = evaluated.judge.worst(WORST) if evaluated else []
    if evaluated and worst:
        sheets["worst errors"] = contact_sheet(
            [(evaluated.paths[index], said.replace(", ", "\n")) for index, said in worst], "worst errors"
        )
    write_tensorboard(folder, result, steps, sheets)

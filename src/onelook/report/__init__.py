"""The report that a manager can read: what was learned from how many pictures, how right it is, what it costs, how to use it.

onelook train photos/ --name kind --model mine.onelook --val 0.25 --report report/
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch

from onelook.calibrate import reliability
from onelook.compare import Comparison
from onelook.data.samples import Dataset
from onelook.fit import Step
from onelook.heads import ObjectHead
from onelook.measure import wilson_interval
from onelook.model import Evaluated, Model
from onelook.price import price
from onelook.report.figures import curve_plot, ladder_plot, learning_curves, reliability_plot, time_plot
from onelook.report.objects import worst_objects
from onelook.report.page import Cell, Picture, Section, Table, thumbnail, write_page
from onelook.report.pixels import worst_pixels
from onelook.report.tensorboard import require_tensorboard as require_tensorboard
from onelook.report.tensorboard import write_tensorboard as write_tensorboard
from onelook.tta import Gain

FIGURES = {
    "accuracy": "share right",
    "label_accuracy": "share of single labels right",
    "f1_macro": "F1, mean of classes",
    "mean_average_precision": "mean average precision",
    "log_loss": "log loss",
    "ece": "calibration error",
    "ece_before": "calibration error before the temperature",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R2",
    "ap50": "average precision at IoU 0.5 (AP50)",
    "ap": "average precision, mean over IoU 0.5 to 0.95 (AP)",
    "ap75": "average precision at IoU 0.75",
    "ar": "average recall",
    "ap50_voc07": "average precision at IoU 0.5, VOC 2007",
    "miou": "IoU, mean of the classes (mIoU)",
    "pixel_accuracy": "share of pixels right",
    "dice": "Dice, mean of the classes",
    "boundary_f1": "boundaries met (F1)",
    "foreground_rand": "regions kept apart (foreground-restricted Rand)",
    "mean_iou": "mean IoU",
    "correct_loc": "right class and IoU above 0.5",
    "pck20": "points within 0.2 of the torso (PCK@0.2)",
    "pck10": "points within 0.1",
    "pcp": "right limbs (PCP)",
    "nme": "mean error, as a share of the torso (NME)",
}
OBJECT_HEADLINES = {
    "ap50": "Average precision at IoU 0.5:",
    "mean_iou": "Mean IoU",
    "miou": "Mean IoU",
    "pck20": "Points placed right (PCK@0.2):",
}
WORST = 18
MOST_CLASSES = 40  # whose confusion is shown cell by cell


def write_training(
    folder: Path, model: Model, name: str, result: dict[str, Any], data: Dataset, found: Evaluated | None, steps: Sequence[tuple[str, Step]]
) -> Path:
    """The page of a training run, from what ``train`` returned, the training pictures, the validation answers, and the epochs."""
    images, seconds, metrics = result["images"], result["seconds"], result["metrics"]
    lead = f"{_headline(metrics)} ({metrics['on']}). Learned from {images['train']} pictures in {_time(seconds['total'])}."
    sections = [_data(data, images), *_judged(model, name, metrics, found)]
    if result["ladder"]:
        sections.append(_ladder(result["ladder"], model.head(name).judge().headline))
    if steps:
        sections.append(Section("How the loss fell", svg=learning_curves(steps)))
    sections += [_costs(model), _licences(model), _use(result["model"], name)]
    return write_page(folder, f"{name}: {_question(model, name)}", lead, sections)


def write_validation(folder: Path, model: Model, name: str, source: Path, found: Evaluated, gains: Sequence[Gain], file: Path) -> Path:
    """The page of a validation run: one head, or an ensemble whose members answer like ``model``'s head."""
    lead = f"{_headline(found.metrics)} on the pictures of {source}."
    sections = [*_judged(model, name, found.metrics, found)]
    if gains:
        rows = tuple((g.what, g.over, f"{g.gain:+.4f}", f"{g.interval[0]:+.4f} to {g.interval[1]:+.4f}", f"{g.ms:.1f}") for g in gains)
        sections.append(Section("What more looks bring", table=Table(("what", "over", "gain", "95 % interval", "ms a picture"), rows)))
    sections += [_costs(model), _licences(model), _use(str(file), name)]
    return write_page(folder, f"{name}: {_question(model, name)}", lead, sections)


def write_comparison(folder: Path, found: Comparison, source: Path) -> Path:
    """The page of a comparison: every method's figures, accuracy against time, the papers' ratios beside ours."""
    done = [row for row in found.rows if row.error is None]
    best = max(done, key=lambda row: row.ap50 or 0.0, default=None)
    lead = f"{len(done)} methods learned from {found.train} pictures of {source}, judged on {found.val} others."
    rows = tuple(
        (
            row.method, f"{row.ap50 or 0:.3f}", _interval({"_interval": row.ap50_interval}, ""), f"{row.ap or 0:.3f}", f"{row.minutes:.1f}",
            f"{row.ms:.1f}", f"{row.ms - row.ms_proposals:.1f}", f"{row.forwards:.0f}", f"{row.parameters:,}",
        )
        for row in done
    )  # fmt: skip
    header = ("method", "AP50", "95 % interval", "AP", "minutes", "ms a picture", "without proposals", "forwards", "parameters")
    plot = time_plot([(row.method, row.ms, row.ap50 or 0.0) for row in done]) if done else ""
    sections = [Section("Accuracy against time", svg=plot, table=Table(header, rows, done.index(best) if best else -1))]
    if found.ratios:
        ratios = tuple((f"{r.faster} against {r.slower}", f"{r.ours:.1f}", f"{r.paper:g}", r.how) for r in found.ratios)
        sections.append(Section("How many times as fast", table=Table(("what", "here", "in the paper", "how it was counted"), ratios)))
    failed = [row for row in found.rows if row.error is not None]
    if failed:
        sections.append(Section("Not trained", table=Table(("method", "why"), tuple((row.method, row.error) for row in failed))))
    return write_page(folder, "Which detector for these pictures?", lead, sections)


def worst_errors(found: Evaluated, classes: Sequence[str], count: int = WORST) -> list[tuple[int, str]]:
    """Index and caption of the answers that were wrong and surest (for values: furthest off), worst first."""
    raw, truth = found.raw.double(), found.targets
    if truth.ndim == 1:
        probability, said = raw.softmax(1).max(1)
        wrong = (said != truth).nonzero().flatten().tolist()
        wrong.sort(key=lambda index: -float(probability[index]))
        return [(i, f"said {classes[int(said[i])]} {float(probability[i]):.0%}, is {classes[int(truth[i])]}") for i in wrong[:count]]
    if "mae" in found.metrics:
        error = (raw - truth).abs().mean(1)
        order = error.argsort(descending=True).tolist()[:count]
        return [(i, ", ".join(f"{n} {float(raw[i, k]):.3g}, is {float(truth[i, k]):.3g}" for k, n in enumerate(classes))) for i in order]
    probabilities = raw.sigmoid()
    error = (probabilities - truth).abs()
    order = error.max(1).values.argsort(descending=True).tolist()[:count]
    captions = []
    for index in order:
        column = int(error[index].argmax())
        there = "is there" if truth[index, column] >= 0.5 else "is not there"
        captions.append((index, f"{classes[column]} {float(probabilities[index, column]):.0%}, {there}"))
    return [entry for entry in captions if float(error[entry[0]].max()) >= 0.5]


def _question(model: Model, name: str) -> str:
    head = model.head(name)
    shown = ", ".join(head.classes[:8]) + (" ..." if len(head.classes) > 8 else "")
    return {
        "regress": "how much",
        "detect": "where is",
        "localize": "where is",
        "keypoints": "where is",
        "segment": "which pixels are",
    }.get(head.task, "which of") + f" {shown}"


def _time(seconds: float) -> str:
    """Seconds, or minutes from two on."""
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.1f} minutes"


def _headline(metrics: dict[str, Any]) -> str:
    for key, said in OBJECT_HEADLINES.items():
        if key in metrics:
            low, high = metrics[f"{key}_interval"]
            return f"{said} {metrics[key] or 0:.1%} on {metrics['n']} pictures (95 % interval {low:.1%} to {high:.1%})"
    if "accuracy" in metrics:
        low, high = metrics["accuracy_interval"]
        return f"Right for {metrics['accuracy']:.1%} of {metrics['n']} pictures (95 % interval {low:.1%} to {high:.1%})"
    low, high = metrics["mae_interval"]
    return f"Off by {metrics['mae']:.4g} on average over {metrics['n']} pictures (95 % interval {low:.4g} to {high:.4g})"


def _data(data: Dataset, images: dict[str, int]) -> Section:
    counts = data.counts()
    total = sum(counts.values()) if data.kind == "objects" else len(data)
    rows = tuple((name, str(count), f"{count / max(total, 1):.0%}") for name, count in counts.items())
    what = {"objects": ("class", "boxes"), "points": ("point", "pictures with it"), "masks": ("class", "pictures with it")}.get(
        data.kind, ("class", "training pictures")
    )
    text = f"{images['train']} pictures to learn from, {images['val']} that only report, {images['refused']} that could not be read."
    table = None if data.kind == "values" else Table((*what, "share"), rows)
    return Section("The pictures", text, table=table, note=data.found)


def _judged(model: Model, name: str, metrics: dict[str, Any], found: Evaluated | None) -> list[Section]:
    """Figures, confusion, reliability and worst errors; the last two need answers picture by picture."""
    rows = tuple((word, f"{metrics[key]:.4f}", _interval(metrics, key)) for key, word in FIGURES.items() if metrics.get(key) is not None)
    note = "Nothing was chosen on these pictures." if metrics.get("on", "validation pictures") == "validation pictures" else ""
    sections = [Section("How right it is", table=Table(("figure", "value", "95 % interval"), rows), note=note)]
    if "confusion" in metrics and len(metrics["confusion"]["classes"]) <= MOST_CLASSES:
        sections.append(_confusion(metrics["confusion"]))
    if "miou" in metrics:
        kinds = tuple((kind, f"{e['iou']:.3f}", f"{e['dice']:.3f}", f"{e['share']:.1%}") for kind, e in metrics["per_class"].items())
        header = ("class", "IoU", "Dice", "of the pixels")
        sections.append(Section("Class by class", table=Table(header, kinds), note=metrics["ignored"]))
    elif "per_class" in metrics:
        classes = tuple((kind, f"{one['ap50'] or 0:.3f}", f"{one['ap'] or 0:.3f}") for kind, one in metrics["per_class"].items())
        sections.append(Section("Class by class", table=Table(("class", "AP50", "AP"), classes)))
    if "pck20_per_point" in metrics:
        points = tuple((point, f"{share:.3f}") for point, share in metrics["pck20_per_point"].items())
        sections.append(Section("Point by point", table=Table(("point", "PCK@0.2"), points)))
    if found is None:
        return sections
    if not model.head(name).vector:
        return sections + _objects(model, name, found)
    if "ece" in metrics:
        plot = reliability_plot(reliability(found.raw, found.targets), reliability(found.before, found.targets))
        note = "On the dashed line, of the answers given with 80 % confidence 80 % are right. Larger dots: more answers."
        sections.append(Section("Can the probabilities be believed?", svg=plot, note=note))
    worst = worst_errors(found, model.head(name).classes)
    if worst:
        pictures: tuple[Picture, ...] = tuple(thumbnail(found.paths[index], caption) for index, caption in worst)
        sections.append(Section("Worst errors", f"The {len(pictures)} surest or largest of them.", pictures=pictures))
    return sections


def _objects(model: Model, name: str, found: Evaluated) -> list[Section]:
    """Precision against recall, and the pictures on which most was missed or invented, truth beside answer."""
    head = model.head(name)
    sections = []
    if head.task == "detect":
        judge = head.judge()
        judge.add(found.raw, found.targets)
        note = "At IoU 0.5. To the right: more of the objects are found; up: more of the answers are right."
        sections.append(Section("Precision and recall", svg=curve_plot(judge.curves()), note=note))
    if head.task == "segment":
        pictures, text = worst_pixels(model, name, found), "Left: what was said; right: what is true."
    else:
        pictures, text = worst_objects(cast(ObjectHead, head), found), "Green: what is there; red: what was said."
    if pictures:
        sections.append(Section("Where it goes wrong most", text, pictures=pictures))
    return sections


def _interval(metrics: dict[str, Any], key: str) -> str:
    interval = metrics.get(f"{key}_interval")
    return f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""


def _confusion(matrix: dict[str, Any]) -> Section:
    """Truth by row, answer by column; every class's share of right answers with its interval."""
    rows = []
    for index, (name, counts) in enumerate(zip(matrix["classes"], matrix["rows_truth"], strict=True)):
        total = sum(counts)
        low, high = wilson_interval(counts[index], total)
        right = f"{counts[index] / total:.0%} ({low:.0%} to {high:.0%})" if total else "no pictures"
        rows.append((name, *(Cell(str(count), round(0.75 * count / max(1, total), 3)) for count in counts), right))
    header = ("truth \\ answer", *matrix["classes"], "right (95 % interval)")
    return Section("What is taken for what", table=Table(header, tuple(rows)))


def _ladder(ladder: dict[str, Any], metric: str) -> Section:
    """Every rung's figures; those for which there was no time with their forecast only."""
    evidence = [rung for rung in ladder["evidence"] if rung["metric"] is not None]
    chosen = next((index for index, rung in enumerate(evidence) if rung["remark"] == "chosen"), -1)
    rows = [
        (
            rung["rung"], f"{rung['metric']:.3f}", f"{rung['interval'][0]:.3f} to {rung['interval'][1]:.3f}", str(rung["n"]),
            f"{rung['loss']:.3f}", f"{rung['seconds']:.1f}", f"{rung['forecast']:.1f}", f"{rung['bytes'] / 1e6:.1f}",
        )
        for rung in evidence
    ]  # fmt: skip
    rows += [(r["rung"], "no time", "", "", "", "", f"{r['forecast']:.1f}", "") for r in ladder["evidence"] if r["metric"] is None]
    header = ("rung", metric, "95 % interval", "held out", "loss", "seconds", "forecast", "looks, MB")
    plot = ladder_plot(
        [r["rung"] for r in evidence], [r["metric"] for r in evidence], [tuple(r["interval"]) for r in evidence], chosen, metric
    )
    note = f"Planned {ladder['forecast_seconds']} s, took {ladder['seconds']} s. Held-out training pictures only."
    return Section("How deep to go", ladder["why"], plot, Table(header, tuple(rows), chosen), note=note)


def _costs(model: Model) -> Section:
    bill = price(model)
    rows = tuple((p.part, f"{p.parameters:,}", f"{p.macs / 1e6:,.1f} M", f"{p.bytes / 1e6:.2f} MB", f"{p.ms:.2f}") for p in bill.parts)
    text = f"A picture takes {bill.ms_together:.1f} ms on this machine for all heads together ({torch.get_num_threads()} threads)."
    return Section("What it costs", text, table=Table(("part", "parameters", "multiplications", "size", "ms a picture"), rows))


def _licences(model: Model) -> Section:
    source = model.backbone.source
    rows = (("onelook", "Apache-2.0"), (f"weights of {model.backbone.name} ({source.name})", source.licence))
    return Section("Licences", table=Table(("what", "licence"), rows), note="The licence of your pictures is yours to know.")


def _use(file: str, name: str) -> Section:
    lines = [
        f"onelook predict photos/ --model {file} --json",
        "",
        "import onelook",
        f'model = onelook.load("{file}")',
        'for answers in model.predict("photos/"):',
        f'    print(answers.path, answers["{name}"])',
    ]
    return Section("How to use it", code="\n".join(lines))

"""The report that a manager can read: what was learned from how many pictures, how right it is, what it costs, how to use it.

onelook train photos/ --name kind --model mine.onelook --val 0.25 --report report/
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from onelook.data.pictures import open_picture
from onelook.data.samples import Dataset
from onelook.facts import Facts
from onelook.inference.evaluate import Evaluated
from onelook.metrics.intervals import Gain
from onelook.metrics.judge import Table
from onelook.model import Model
from onelook.report.figures import curve_plot, learning_curves, search_plot
from onelook.report.page import Picture, Section, shown, side_by_side, thumbnail
from onelook.report.profile import profile
from onelook.report.sheets import write_with_sheets
from onelook.training.loop import Step

WORST, DRAWN = 18, 12  # worst pictures that are shown: as they are, and with what was said and what is true
SIZE = 420  # pixels of a drawn one
GREEN, RED = (40, 160, 70), (215, 45, 45)
MOST_COLUMNS = 42  # of a table that is shown cell by cell


def write_training(
    folder: Path, model: Model, name: str, result: Facts, data: Dataset, found: Evaluated | None, steps: Sequence[tuple[str, Step]]
) -> Path:
    """The page of a training run, from what ``train`` returned, the training pictures, the validation answers, and the epochs."""
    images, seconds, metrics = result["images"], result["seconds"], result["metrics"]
    said = model.head(name).judge().in_words(metrics)
    lead = f"{said[0].upper()}{said[1:]} ({metrics['on']}). Learned from {images['train']} pictures in {_time(seconds['total'])}."
    sections = [_data(data, images), *_judged(model, name, metrics, found)]
    if result["search"]:
        sections.append(_search(result["search"], model.head(name).judge().headline))
    if steps:
        sections.append(Section("How the loss fell", svg=learning_curves(steps)))
    sections += [_costs(model), _licences(model), _use(result["model"], name)]
    return write_with_sheets(folder, f"{name}: {_question(model, name)}", lead, sections)


def write_validation(folder: Path, model: Model, name: str, source: Path, found: Evaluated, gains: Sequence[Gain], file: Path) -> Path:
    """The page of a validation run: one head, or an ensemble whose members answer like ``model``'s head."""
    said = model.head(name).judge().in_words(found.metrics)
    lead = f"{said[0].upper()}{said[1:]}: the pictures of {source}."
    sections = [*_judged(model, name, found.metrics, found)]
    if gains:
        rows = tuple((g.what, g.over, f"{g.gain:+.4f}", f"{g.interval[0]:+.4f} to {g.interval[1]:+.4f}", f"{g.ms:.1f}") for g in gains)
        header = ("what", "over", "gain", "95 % interval", "ms a picture")
        sections.append(Section("What more looks bring", table=Table("", header, rows)))
    sections += [_costs(model), _licences(model), _use(str(file), name)]
    return write_with_sheets(folder, f"{name}: {_question(model, name)}", lead, sections)


def _question(model: Model, name: str) -> str:
    head = model.head(name)
    return f"{head.core.question} " + ", ".join(head.classes[:8]) + (" ..." if len(head.classes) > 8 else "")


def _time(seconds: float) -> str:
    """Seconds, or minutes from two on."""
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.1f} minutes"


def _data(data: Dataset, images: dict[str, int]) -> Section:
    counts, kind = data.counts(), data.targets
    total = sum(counts.values()) if kind.counted[1] != "pictures with it" else len(data)
    rows = tuple((name, str(count), f"{count / max(total, 1):.0%}") for name, count in counts.items())
    text = f"{images['train']} pictures to learn from, {images['val']} that only report, {images['refused']} that could not be read."
    table = Table("", (*kind.counted, "share"), rows) if len(set(counts.values())) > 1 or kind.named else None
    return Section("The pictures", text, table=table, note=data.found)


def _judged(model: Model, name: str, metrics: Facts, found: Evaluated | None) -> list[Section]:
    """Figures, tables, plots and the worst pictures; the last two need answers picture by picture."""
    judge = found.judge if found else model.head(name).judge()
    rows = tuple(
        (word, f"{metrics[key]:.4f}", _interval(metrics, key)) for key, word in judge.figures.items() if metrics.get(key) is not None
    )
    note = "Nothing was chosen on these pictures." if metrics.get("on", "validation pictures") == "validation pictures" else ""
    sections = [Section("How right it is", table=Table("", ("figure", "value", "95 % interval"), rows), note=note)]
    sections += [Section(table.title, table=table, note=table.note) for table in judge.tables(metrics) if len(table.header) <= MOST_COLUMNS]
    if found is None:
        return sections
    sections += [Section(curves.title, svg=curve_plot(curves), note=curves.note) for curves in judge.curves(found.before)]
    worst = _worst(model, name, found)
    return [*sections, worst] if worst else sections


def _worst(model: Model, name: str, found: Evaluated) -> Section | None:
    """The worst pictures: with answer and truth drawn where both can be, else as they are."""
    worst = found.judge.worst(WORST)
    if not worst:
        return None
    head = model.head(name)
    if not head.core.placed:
        pictures = tuple(thumbnail(found.paths[index], caption) for index, caption in worst)
        return Section("Where it goes wrong most", f"The {len(pictures)} surest or largest errors.", pictures=pictures)
    drawn = []
    overlay = True
    for index, caption in worst[:DRAWN]:
        path, prediction = found.paths[index], found.predictions[index]
        if prediction is None:  # too large to have been kept
            prediction = next(model.predictions([path], [name])).by_head[name]
        said, true = head.answer(prediction), head.truth(found.targets[index])
        if true is None:
            continue
        picture, overlay = open_picture(path), said.overlay
        both = said.draw(true.draw(picture, colour=GREEN), colour=RED) if overlay else side_by_side(said.draw(picture), true.draw(picture))
        drawn.append(shown(both, path.name, caption, SIZE if overlay else 2 * SIZE, said.spots() if overlay else ()))
    text = "Green: what is there; red: what was said." if overlay else "Left: what was said; right: what is true."
    return Section("Where it goes wrong most", text, pictures=tuple[Picture, ...](drawn))


def _interval(metrics: Facts, key: str) -> str:
    interval = metrics.get(f"{key}_interval")
    return f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""


def _search(search: Facts, metric: str) -> Section:
    """Every trial's figures; those for which there was no time with their forecast only."""
    evidence = [trial for trial in search["evidence"] if trial["metric"] is not None]
    chosen = next((index for index, trial in enumerate(evidence) if trial["remark"] == "chosen"), -1)
    rows = [
        (
            trial["trial"], f"{trial['metric']:.3f}", f"{trial['interval'][0]:.3f} to {trial['interval'][1]:.3f}", str(trial["n"]),
            f"{trial['loss']:.3f}", f"{trial['seconds']:.1f}", f"{trial['forecast']:.1f}", f"{trial['bytes'] / 1e6:.1f}",
        )
        for trial in evidence
    ]  # fmt: skip
    rows += [(t["trial"], "no time", "", "", "", "", f"{t['forecast']:.1f}", "") for t in search["evidence"] if t["metric"] is None]
    header = ("trial", metric, "95 % interval", "held out", "loss", "seconds", "forecast", "looks, MB")
    plot = search_plot(
        [t["trial"] for t in evidence], [t["metric"] for t in evidence], [tuple(t["interval"]) for t in evidence], chosen, metric
    )
    note = f"Planned {search['forecast_seconds']} s, took {search['seconds']} s. Held-out training pictures only."
    return Section("How deep to go", search["why"], plot, Table("", header, tuple(rows), chosen=chosen), note=note)


def _costs(model: Model) -> Section:
    bill = profile(model)
    rows = tuple((p.part, f"{p.parameters:,}", f"{p.macs / 1e6:,.1f} M", f"{p.bytes / 1e6:.2f} MB", f"{p.ms:.2f}") for p in bill.parts)
    text = f"A picture takes {bill.ms_together:.1f} ms on this machine for all heads together ({torch.get_num_threads()} threads)."
    return Section("What it costs", text, table=Table("", ("part", "parameters", "multiplications", "size", "ms a picture"), rows))


def _licences(model: Model) -> Section:
    source = model.backbone.source
    rows = (("onelook", "Apache-2.0"), (f"weights of {model.backbone.name} ({source.name})", source.licence))
    return Section("Licences", table=Table("", ("what", "licence"), rows), note="The licence of your pictures is yours to know.")


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

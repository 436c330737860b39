"""How much the rule that chooses the depth gives away, over many small data sets and several margins.

    python bench/depth_rule.py
    python bench/depth_rule.py --sets trashnet:250,elpv:250 --margins 0,0.25,1 --budget 90

Every set is ``name:n``: n training pictures, stratified; judged on pictures that nothing was learned from (at most 800).
One search a set, with the time that a user gives; then every contender of the search (the frozen head, its means with tails) is trained
on all its pictures and judged there, so that each rule and each fixed policy stands beside the best in hindsight. A policy that was not
tried because there was no time counts as the frozen head: that is what it would have been given.
Given away: the error of what a rule chooses minus that of the best fixed policy (the one that is best on average over all sets is named,
too). The last line is JSON.
"""

import argparse
import json
import statistics
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

from accuracy import DATA, elpv
from onelook import Geometry, Model, read
from onelook.data.samples import Dataset
from onelook.data.split import split
from onelook.deadline import NEVER
from onelook.progress import Progress
from onelook.training import depth_search
from onelook.training.contenders import Contender, choose

SETS = (
    "trashnet:1769,trashnet:500,trashnet:200,trashnet:100,elpv:1968,elpv:500,elpv:200,elpv:100,"
    "digits:1000,digits:200,faces:200,people:180,cells:300,cells:60"
)
MOST = 800  # pictures that are judged
SEARCHES: list[depth_search._Search] = []


class Kept(depth_search._Search):
    """A search that can be asked for its contenders afterwards."""

    def run(self) -> object:
        SEARCHES.append(self)
        return super().run()


def digits(folder: Path) -> Dataset:
    found = load_digits()
    for number, (image, label) in enumerate(zip(found.images, found.target, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9).astype("uint8")).resize((64, 64), Image.Resampling.BICUBIC).save(
            folder / str(label) / f"{number}.png"
        )
    return read(folder)


def cells(folder: Path) -> Dataset:
    """Single blood cells cut out of the smears of BCCD, at most 400 a class."""
    seen: dict[str, int] = {}
    for file in sorted((DATA / "bccd" / "Annotations").glob("*.xml")):
        picture = None
        for entry in ET.parse(file).getroot().iter("object"):
            name = str(entry.findtext("name"))
            corners = [int(entry.findtext(f"bndbox/{side}") or 0) for side in ("xmin", "ymin", "xmax", "ymax")]
            if seen.get(name, 0) >= 400 or corners[2] - corners[0] < 8 or corners[3] - corners[1] < 8:
                continue
            picture = picture or Image.open(DATA / "bccd" / "JPEGImages" / f"{file.stem}.jpg").convert("RGB")
            seen[name] = seen.get(name, 0) + 1
            (folder / name).mkdir(parents=True, exist_ok=True)
            picture.crop(tuple(corners)).save(folder / name / f"{file.stem}_{seen[name]}.png")
    return read(folder)


def load(name: str, folder: Path) -> Dataset:
    if name == "digits":
        return digits(folder)
    if name == "cells":
        return cells(folder)
    if name == "elpv":
        return elpv("defect")
    return read(DATA / {"trashnet": "trashnet_112x84", "faces": "att_orl", "people": "lfw_small"}[name])


def divided(data: Dataset, count: int, seed: int = 0) -> tuple[Dataset, Dataset]:
    """``count`` pictures to learn from and at most MOST others, both stratified."""
    data = replace(data, samples=tuple(replace(sample, side=None) for sample in data.samples))
    rest, learned = split(data, count / len(data), seed)
    others = data.pick(rest)
    return data.pick(learned), others if len(others) <= MOST else others.pick(split(others, MOST / len(others), seed)[1])


def policy(contender: Contender) -> str:
    """The fixed policy whose result a contender is."""
    return contender.name if contender.judged else "frozen"


def held_out(search: depth_search._Search, contender: Contender) -> list[tuple[int, float, bool]]:
    """Picture, loss and whether it was wrong, of the held-out pictures by which contenders are compared."""
    trained, targets = contender.trained, search.problem.data.targets
    wrong = trained.scores.argmax(1) != targets[trained.where]
    by_picture = dict(zip(trained.where.tolist(), wrong.tolist(), strict=True))
    return [(index, loss, by_picture[index]) for index, loss in (contender.held or contender.losses).items()]


def measure(name: str, count: int, seed: int, budget: float, margins: list[float]) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as place:
        learned, judged = divided(load(name, Path(place) / "pictures"), count, seed)
        model = Model.new(geometry=Geometry(224), cache=Path(place) / "cache")
        begun = time.perf_counter()
        fitted = model.fit("head", learned, freeze="auto", budget=budget, seed=seed, progress=Progress())
        seconds = time.perf_counter() - begun
        search = SEARCHES.pop()
        search.deadline = NEVER
        accuracy: dict[str, float] = {}
        loss: dict[str, float] = {}
        held: dict[str, object] = {}
        chosen = fitted.trained.search.evidence if fitted.trained.search else ()
        record = model.records["head"]
        for contender in search.contenders:
            trained = search._refit(contender)
            model.heads["head"], model.records["head"] = trained.head, replace(record, cut=trained.cut)
            found = model.evaluate("head", judged).metrics
            accuracy[policy(contender)], loss[policy(contender)] = found["accuracy"], found["log_loss"]
            held[policy(contender)] = held_out(search, contender)
        rules = {f"margin {margin:g}": accuracy[policy(choose(search.contenders, margin))] for margin in margins}
    row = {
        "set": f"{name}:{len(learned)}",
        "judged": len(judged),
        "seconds": round(seconds, 1),
        "chosen": next((trial.trial for trial in chosen if trial.remark == "chosen"), "frozen"),
        "accuracy": accuracy,
        "log loss": loss,
        "rules": rules,
    }
    print(json.dumps(row), flush=True)
    return row | {"held": held}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=SETS)
    parser.add_argument("--margins", default="0,0.25,0.5,1")
    parser.add_argument("--budget", type=float, default=90)
    parser.add_argument("--seed", type=int, default=0, help="of the divisions and of the training")
    parser.add_argument("--keep", type=Path, help="a JSON file for the losses of every held-out picture, to try other rules on")
    arguments = parser.parse_args()
    depth_search._Search = Kept  # type: ignore[misc]
    margins = [float(margin) for margin in arguments.margins.split(",")]
    rows = []
    for entry in arguments.sets.split(","):
        name, count = entry.split(":")
        rows.append(measure(name, int(count), arguments.seed, arguments.budget, margins))
    policies = sorted({name for row in rows for name in row["accuracy"]})
    fixed = {name: [row["accuracy"].get(name, row["accuracy"]["frozen"]) for row in rows] for name in policies}
    usual = max(fixed, key=lambda name: statistics.mean(fixed[name]))
    summary = {}
    for rule in rows[0]["rules"]:
        given = [100 * (fixed[usual][number] - row["rules"][rule]) for number, row in enumerate(rows)]
        hindsight = [100 * (max(row["accuracy"].values()) - row["rules"][rule]) for row in rows]
        summary[rule] = {
            "given away against the best policy": {"mean": statistics.mean(given), "worst": max(given)},
            "against the best of each set": {"mean": statistics.mean(hindsight), "worst": max(hindsight)},
        }
    if arguments.keep:
        arguments.keep.write_text(json.dumps(rows))
    rows = [{key: value for key, value in row.items() if key != "held"} for row in rows]
    means = {name: statistics.mean(values) for name, values in fixed.items()}
    print(
        json.dumps(
            {"budget": arguments.budget, "seed": arguments.seed, "best policy": usual, "policies": means, "rules": summary, "rows": rows}
        )
    )


if __name__ == "__main__":
    main()

"""The demo: two heads from one set of looks at 2,624 real solar cells, judged beside the paper's figures.

Deitsch et al. 2019, "Automatic classification of defective photovoltaic module cells in electroluminescence images"
(Solar Energy 185): 1,968 cells to train, 656 to test; fine-tuned VGG-19 88.42 %, hand-made features and an SVM 82.44 %.
Differs: their split is not published cell by cell, ours is stratified and seeded; a cell counts as defective from a
probability of 0.5 up, as in theirs. The pictures (package ``elpv-dataset``) are CC BY-NC-SA 4.0.

    onelook demo
"""

import csv
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from onelook.answers.canvas import contact_sheet
from onelook.data.samples import Dataset, Sample
from onelook.data.split import split
from onelook.errors import OnelookError
from onelook.facts import Facts
from onelook.inference.evaluate import Evaluated
from onelook.model import Model
from onelook.progress import QUIET, Progress
from onelook.report.profile import Profile, profile
from onelook.workflows.data import read
from onelook.workflows.train import train

LICENCE = "CC BY-NC-SA 4.0, non-commercial"
PAPER = {"fine-tuned VGG-19": 0.8842, "hand-made features + SVM": 0.8244}
VAL_SHARE, WORST = 656 / 2624, 18
HEADS = {"defect": "is the cell defective?", "cell": "mono- or polycrystalline?"}


@dataclass(frozen=True)
class Demo:
    """What the demo made and found."""

    heads: dict[str, Facts]
    bill: Profile
    seconds: float
    model: Path
    sheet: Path

    def to_json(self) -> Facts:
        return {
            "heads": self.heads,
            "paper": PAPER,
            "price": self.bill.to_json(),
            "model": str(self.model),
            "sheet": str(self.sheet),
            "seconds": {"total": round(self.seconds, 2)},
            "licence_of_pictures": LICENCE,
        }


def run(folder: Path, *, seed: int = 0, progress: Progress = QUIET) -> Demo:
    """Train and judge both heads in ``folder``. Raises OnelookError if the pictures are not installed."""
    begun = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    model_path = folder / "cells.onelook"
    model_path.unlink(missing_ok=True)
    table = write_labels(folder / "cells.csv", seed)
    results = {name: train(table, name=name, model_path=model_path, columns=[name], seed=seed, progress=progress) for name in HEADS}
    model = Model.load(model_path)
    held_out = read(table, columns=["defect"]).side("val")
    sheet = folder / "worst_errors.png"
    _worst(model.evaluate("defect", held_out)).save(sheet)
    return Demo(results, profile(model), time.perf_counter() - begun, model_path, sheet)


def write_labels(path: Path, seed: int) -> Path:
    """Write a table of the installed cells: path, defect, cell, split (stratified by both labels)."""
    spec = find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise OnelookError('the demo pictures are not installed; run: pip install "onelook[demo]" (or: pip install elpv-dataset)')
    root = Path(spec.origin).parent / "data"
    lines = [line.split() for line in (root / "labels.csv").read_text().splitlines() if line.strip()]
    cells = [(root / name, "defective" if float(probability) >= 0.5 else "intact", kind) for name, probability, kind in lines]
    both = sorted({cell[1:] for cell in cells})
    samples = tuple(Sample(picture, both.index((defect, kind))) for picture, defect, kind in cells)
    _, held_out = split(Dataset(samples, tuple(map(str, both)), "single", root, "cells"), VAL_SHARE, seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "defect", "cell", "split"])
        for index, cell in enumerate(cells):
            writer.writerow([*cell, "val" if index in held_out else "train"])
    return path


def _worst(found: Evaluated) -> Image.Image:
    """A contact sheet of the errors that the head was surest of."""
    cells = [(found.paths[index], said.replace(", ", "\n")) for index, said in found.judge.worst(WORST)]
    return contact_sheet(cells, f"defect: the {len(cells)} surest errors on {len(found.paths)} cells")

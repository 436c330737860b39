"""Boxes and key points on real pictures that are not in the repository: known traps, a worked example, what heads must reach."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import loadmat

from onelook import Geometry, Model, read
from onelook.cli import main
from onelook.data.readers.joints import PAIRS
from onelook.data.samples import objects_of
from onelook.data.split import split
from onelook.geometry.boxes import ScoredBoxes, xywh_to_xyxy
from onelook.geometry.mirror_pairs import find_pairs
from onelook.geometry.objects import Objects
from onelook.heads import HEADS
from onelook.metrics.boxes import average_precisions
from onelook.workflows.data import check

from .test_real_pictures import need

pytestmark = pytest.mark.real


def test_the_worked_example_of_average_precision() -> None:
    """At IoU 0.3: 24.56 % over all points, 26.84 % over eleven. Its boxes include their last pixel: they are one wider and higher."""
    last = torch.tensor([0.0, 0, 1, 1])
    root = need("od_metrics")
    founds, truths = [], []
    for file in sorted((root / "groundtruths").glob("*.txt")):
        boxes = torch.tensor([[float(v) for v in line.split()[1:]] for line in file.read_text().splitlines() if line.strip()])
        said = torch.tensor(
            [[float(v) for v in line.split()[1:]] for line in (root / "detections" / file.name).read_text().splitlines() if line.strip()]
        )
        truths.append(Objects.of(xywh_to_xyxy(boxes + last).tolist(), [0] * len(boxes)))
        founds.append(ScoredBoxes(xywh_to_xyxy(said[:, 1:] + last), said[:, 0], torch.zeros(len(said)).long()))
    assert average_precisions(founds, truths, 1, iou=0.3)[0] == pytest.approx(0.2456, abs=1e-4)
    assert average_precisions(founds, truths, 1, iou=0.3, points=11)[0] == pytest.approx(0.2684, abs=1e-4)


def test_known_traps_are_found() -> None:
    cells = check(need("bccd"), task="detect").findings
    flat = {Path(finding.file.rsplit(":", 1)[0]).stem for finding in cells if finding.kind == "zero-area"}
    assert {"BloodImage_00338", "BloodImage_00343"} & flat  # those of the sides that are used
    same = [
        {Path(f).stem for f in (x.file, *x.others)}
        for x in check(need("raccoon"), task="detect").findings
        if x.kind in ("duplicate", "two-labels", "leak")
    ]
    for one, other in ((65, 98), (83, 120), (11, 116), (74, 52)):
        assert {f"raccoon-{one}", f"raccoon-{other}"} in same


def test_every_split_is_read_as_it_is_told() -> None:
    assert [len(read(need("bccd"), task="detect", split=name)) for name in ("trainval", "test")] == [292, 72]
    assert [len(read(need("raccoon"), task="detect", split=f"{name}_labels.csv")) for name in ("train", "test")] == [160, 40]
    poses = read(need("lsp_ext400"), task="keypoints")
    assert len(poses) == 400
    joints = loadmat(need("lsp_ext400") / "joints.mat")["joints"]
    assert sum(int((objects_of(sample).points[..., 2] > 0).sum()) for sample in poses.samples) == int((joints[:, 2] > 0).sum())
    people = np.stack([objects_of(sample).points[0].numpy() for sample in poses.samples if len(objects_of(sample))])
    assert find_pairs(people) == PAIRS  # as the set's paper has them
    assert HEADS["fcos"].input_size(read(need("bccd"), task="detect")) == 640
    assert HEADS["fcos"].input_size(read(need("raccoon"), task="detect")) == 320


def test_cells_are_found_beside_a_class_in_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At 448 pixels and ten epochs, for time; bench/detectors.py measures what the defaults reach."""
    model = tmp_path / "m.onelook"
    root = str(need("bccd"))
    run(["train", root, "--task", "detect", "--train-split", "trainval", "--val-split", "test", "--name", "cells", "--model", str(model),
         "--size", "448", "--epochs", "10", "--json", "--quiet"])  # fmt: skip
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert metrics["ap50"] >= 0.87
    assert metrics["ap"] >= 0.50
    picture = next(iter(read(root, task="detect", split="test").samples)).path
    run(["predict", str(picture), "--model", str(model), "--json"])
    boxes = json.loads(capsys.readouterr().out)["answers"]["cells"]["boxes"]
    assert all(0 <= box["box"][0] < box["box"][2] <= 640 and 0 <= box["box"][1] < box["box"][3] <= 480 for box in boxes)
    run(["val", root, "--split", "test", "--model", str(model), "--head", "cells", "--json", "--quiet"])
    assert json.loads(capsys.readouterr().out)["metrics"]["ap50"] == pytest.approx(metrics["ap50"], abs=1e-6)


def test_a_raccoon_is_located() -> None:
    data, held = (read(need("raccoon"), task="localize", split=f"{name}_labels.csv") for name in ("train", "test"))
    model = Model.new(geometry=Geometry(320))
    model.fit("where", data, head="localize", hold_out=False)
    metrics = model.evaluate("where", held).metrics
    assert metrics["mean_iou"] >= 0.66
    assert metrics["correct_loc"] >= 0.8


def test_joints_are_found_better_by_heat_maps() -> None:
    data = read(need("lsp_ext400"), task="keypoints")
    train, val = split(data, 0.25, 0)
    model = Model.new(geometry=Geometry(224))
    model.fit("pose", data.pick(train), head="keypoints", freeze="all", epochs=8, hold_out=False)
    model.fit("plain", data.pick(train), head="deeppose", epochs=20, hold_out=False)
    heat, plain = (model.evaluate(name, data.pick(val)).metrics["pck20"] for name in ("pose", "plain"))
    assert heat >= plain + 0.05


def run(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0

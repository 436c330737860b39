"""From pictures with boxes or points to a judged head in a file: real flowers laid on real walls, so that boxes are known to the pixel."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from onelook import Geometry, Model, read
from onelook.backbones.backbone import Backbone
from onelook.cli import main
from onelook.data.augment import recipe_by_name
from onelook.data.pictures import picture_size, read_bytes
from onelook.data.samples import Dataset, objects_of
from onelook.errors import BudgetError, DataError, HeadError, OnelookError
from onelook.heads import HEADS, methods_of
from onelook.training.loop import Step
from onelook.workflows.compare import compare
from tests.conftest import SIDE, write_scenes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root / "train", 36)
    write_scenes(root / "val", 12, 100)
    return root


@pytest.fixture
def small(lite0: Backbone, cache_root: Path) -> Model:
    return Model(lite0, Geometry(SIDE), cache=cache_root, device="cpu")


def data(root: Path, side: str, task: str = "detect") -> Dataset:
    return read(root / side / ("points.csv" if task == "keypoints" else "labels.csv"), task=task)


def test_the_usual_detector_finds_flowers(scenes: Path, small: Model, tmp_path: Path) -> None:
    fitted = small.fit("flowers", data(scenes, "train"), head="detect", epochs=12)
    assert fitted.trained.held_out["n"] == pytest.approx(36 / 5, abs=1.1)
    found = small.evaluate("flowers", data(scenes, "val"))
    assert found.metrics["ap50"] > 0.8
    small.save(tmp_path / "m.onelook")
    again = Model.load(tmp_path / "m.onelook", device="cpu")
    one, other = (next(model.predict([scenes / "val" / "scene100.png"], conf=0.01))["flowers"] for model in (small, again))
    assert np.array_equal(one.xyxy, other.xyxy)
    assert all(name == "flower" for name in one.data["class_name"])


@pytest.mark.real
@pytest.mark.parametrize(
    ("method", "least"),
    [("yolo", 0.4), ("faster_rcnn", 0.6), ("rcnn", 0.3), ("windows", 0.1), ("fast_rcnn", 0.2), ("sppnet", 0.1), ("overfeat", 0.2)],
)
def test_the_others_find_some(method: str, least: float, scenes: Path, small: Model) -> None:
    long = {} if HEADS[method].crops else {"epochs": 24}
    small.fit("flowers", data(scenes, "train"), head=method, hold_out=False, **long)
    assert small.evaluate("flowers", data(scenes, "val")).metrics["ap50"] > least


@pytest.mark.parametrize("method", [method for method in methods_of("detect") if method != "fcos"])
def test_every_method_trains_and_answers(method: str, scenes: Path, small: Model, tmp_path: Path) -> None:
    few = data(scenes, "val")
    once = {} if HEADS[method].crops else {"epochs": 1}
    small.fit("flowers", few.pick(range(4)), head=method, hold_out=False, **once)
    small.save(tmp_path / "m.onelook")
    found = Model.load(tmp_path / "m.onelook", device="cpu").evaluate("flowers", few.pick(range(6, 9)))
    assert found.metrics["n"] == 3


@pytest.mark.slow
def test_one_look_serves_boxes_points_and_classes(scenes: Path, photos: Path, small: Model, tmp_path: Path) -> None:
    small.fit("flowers", data(scenes, "train"), head="detect", epochs=1, hold_out=False)
    small.fit("corner", data(scenes, "train", "keypoints"), head="keypoints", epochs=10, hold_out=False)
    small.fit("where", data(scenes, "train"), head="localize", epochs=20, hold_out=False)
    alone = {name: _parts(next(small.predict([scenes / "val" / "scene100.png"], heads=[name]))[name]) for name in small.heads}
    small.fit("kind", read(photos), freeze="all")
    answers = next(small.predict([scenes / "val" / "scene100.png"]))
    for name, parts in alone.items():  # a later head changes no bit of them
        assert all(np.array_equal(one, other) for one, other in zip(parts, _parts(answers[name]), strict=True))
    assert set(answers.to_json()["answers"]) == {"flowers", "corner", "where", "kind"}
    assert len(small.by_geometry(small.heads)) == 1
    assert small.evaluate("where", data(scenes, "val")).metrics["mean_iou"] > 0.3
    assert small.evaluate("corner", data(scenes, "val", "keypoints")).metrics["pck50"] > 0.3


def _parts(answer: Any) -> list[Any]:
    return [answer.xyxy, answer.confidence] if hasattr(answer, "xyxy") else [answer.xy, answer.keypoint_confidence]


def test_a_tail_trains_with_the_detector(scenes: Path, small: Model) -> None:
    before = {name: value.clone() for name, value in small.backbone.state_dict().items()}
    fitted = small.fit("flowers", data(scenes, "train"), head="detect", freeze="stride8", epochs=4, hold_out=False)
    assert fitted.trained.cut == 3
    assert all(torch.equal(value, before[name]) for name, value in small.backbone.state_dict().items())
    assert small.evaluate("flowers", data(scenes, "val")).metrics["n"] == 12


def test_two_runs_give_equal_bytes(scenes: Path, small: Model) -> None:
    def weights() -> dict[str, Tensor]:
        small.fit("flowers", data(scenes, "train"), head="detect", epochs=2, hold_out=False, seed=3)
        return {name: value.clone() for name, value in small.heads["flowers"].state_dict().items()}  # type: ignore[attr-defined]

    one, other = weights(), weights()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_ctrl_c_keeps_what_was_learned(scenes: Path, small: Model) -> None:
    def callback(title: str, steps: Iterator[Step]) -> Iterator[Step]:
        for step in steps:
            yield step
            if step.epoch == 2:
                raise KeyboardInterrupt

    fitted = small.fit("flowers", data(scenes, "train"), head="detect", epochs=8, hold_out=False, callback=callback)
    assert fitted.trained.interrupted
    assert next(small.predict([scenes / "val" / "scene100.png"], conf=0.0))["flowers"].xyxy.shape[1] == 4


def test_the_whole_network_trains_with_the_detector(scenes: Path, small: Model) -> None:
    fitted = small.fit("flowers", data(scenes, "train").pick(range(6)), head="detect", freeze="none", epochs=1, hold_out=False)
    assert fitted.trained.cut == 0
    assert small.evaluate("flowers", data(scenes, "val").pick(range(2))).metrics["n"] == 2


def test_proposed_regions_reach_a_head_behind_a_tail(scenes: Path, small: Model) -> None:
    few = data(scenes, "train").pick(range(6))
    small.fit("flowers", few, head="sppnet", freeze="stride16", epochs=1, hold_out=False)
    assert small.evaluate("flowers", few).metrics["n"] == 6


def test_a_class_that_is_told_apart_at_once_is_not_lost(scenes: Path, small: Model) -> None:
    """Mining finds no negative within the margin; those there were must stay."""
    small.fit("flowers", data(scenes, "train").pick(range(4)), head="windows", hold_out=False)
    head: Any = small.heads["flowers"]
    assert bool(head.weight.any())


def test_every_picture_is_asked_once(scenes: Path, small: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    small.fit("flowers", data(scenes, "train"), head="detect", epochs=1, hold_out=False)
    head: Any = small.heads["flowers"]
    asked: list[int] = []
    find = type(head).postprocess
    monkeypatch.setattr(
        type(head), "postprocess", lambda self, raw, placements: asked.append(len(placements)) or find(self, raw, placements)
    )
    small.evaluate("flowers", data(scenes, "val"))
    assert sum(asked) == 12


def test_a_method_that_cannot_run_has_its_reason_in_its_row(scenes: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: object) -> Tensor:
        raise OnelookError("no regions today")

    monkeypatch.setattr("onelook.looks.extractor.selective_search", lacking)
    few = data(scenes, "val").pick(range(4))
    found = compare(few, few, ["sppnet"], size=160, cache=cache_root, device="cpu")
    assert found.rows[0].error == "no regions today"


@pytest.mark.parametrize("recipe", ["light", "photo", "aerial", "microscope"])
def test_boxes_move_with_every_view(recipe: str, scenes: Path, small: Model) -> None:
    """A bright square's box, moved without pixels, is where the pixels of the view show it."""
    path = scenes / "square.png"
    pixels = np.zeros((220, 300, 3), dtype=np.uint8)
    pixels[60:120, 90:190] = 255
    Image.fromarray(pixels).save(path)
    content, digest = read_bytes(path)
    extractor, chosen = small.extractor(Geometry(160)), recipe_by_name(recipe)
    from onelook.geometry.objects import Objects

    truth = Objects.of([(90, 60, 190, 120)], [0])
    for number in range(6):
        shown = extractor.decode(path, content, digest, [number], chosen)[0].content.float().mean(0)
        box = extractor.move(truth, picture_size(path), (digest, number), chosen, 0, ())
        bright = (shown > 128).nonzero()
        if not len(bright) or bool(box.ignored[0]):
            continue
        seen = torch.tensor([bright[:, 1].min(), bright[:, 0].min(), bright[:, 1].max() + 1, bright[:, 0].max() + 1]).float()
        assert float((box.boxes[0] - seen).abs().max()) < 4.0, number


class TestCommands:
    @pytest.mark.slow
    def test_train_val_predict_and_draw(self, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model, drawn = tmp_path / "m.onelook", tmp_path / "drawn"
        common = ["--model", str(model), "--size", "128", "--epochs", "8", "--quiet"]
        run("train", scenes / "train" / "labels.csv", "--task", "detect", "--name", "flowers", "--val", scenes / "val" / "labels.csv",
            "--report", tmp_path / "report", "--json", *common)  # fmt: skip
        result = json.loads(capsys.readouterr().out)
        assert result["method"] == methods_of("detect")[0]
        assert result["metrics"]["ap50"] > 0.3
        page = (tmp_path / "report" / "index.html").read_text()
        assert "Precision and recall" in page
        run("val", scenes / "val" / "labels.csv", "--model", model, "--head", "flowers", "--tta", "flips", "--json", "--quiet")
        judged = json.loads(capsys.readouterr().out)
        assert judged["gains"][0]["what"] == "--tta flips"
        assert -1 <= judged["gains"][0]["gain"] <= 1
        picture = scenes / "val" / "scene100.png"
        run("predict", picture, "--model", model, "--json", "--conf", "0.001", "--draw", drawn)
        boxes = json.loads(capsys.readouterr().out)["answers"]["flowers"]["boxes"]
        assert boxes == sorted(boxes, key=lambda box: -box["score"])
        assert (drawn / "scene100.png").is_file()
        run("predict", picture, "--model", model)
        assert "flower" in capsys.readouterr().out
        run("info", model)
        assert "AP50" in capsys.readouterr().out

    def test_retrain_at_another_size(self, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model = tmp_path / "m.onelook"
        run("train", scenes / "train" / "labels.csv", "--task", "detect", "--method", "yolo", "--name", "flowers", "--model", model,
        "--val", "0.25",
            "--size", "128", "--epochs", "1", "--quiet")  # fmt: skip
        run("retrain", model, "--size", "160", "--quiet")
        again = Model.load(model, device="cpu")
        assert again.geometry is not None
        assert again.geometry.size == 160
        assert again.records["flowers"].method == "yolo"

    @pytest.mark.slow
    def test_compare(self, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run("compare", scenes / "train" / "labels.csv", "--methods", "fcos,faster_rcnn", "--val", "0.25", "--size", "128", "--budget",
        "40s",
            "--report", tmp_path / "report", "--json", "--quiet")  # fmt: skip
        rows = json.loads(capsys.readouterr().out)["rows"]
        assert [row["method"] for row in rows] == ["fcos", "faster_rcnn"]
        assert all(row["error"] is None and row["ms"] > 0 and row["forwards"] == 1 for row in rows)
        assert "Accuracy against time" in (tmp_path / "report" / "index.html").read_text()

    def test_mistakes_in_one_line(self, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        labels, model = str(scenes / "train" / "labels.csv"), str(tmp_path / "m.onelook")
        for arguments, said in (
            (["train", labels, "--task", "detect", "--method", "heatmap", "--name", "x", "--model", model], "no way to detect"),
            (
                ["train", labels, "--task", "detect", "--method", "rcnn", "--freeze", "stride8", "--name", "x", "--model", model],
                "--freeze all",
            ),
            (
                ["train", labels, "--task", "detect", "--budget", "0.01s", "--name", "x", "--model", model, "--size", "128"],
                "give at least --budget",
            ),
            (["compare", labels, "--methods", "yolo9", "--val", "0.25"], "no way to detect"),
            (["data", "convert", labels, "--to", "coco", "--out", str(scenes)], "not empty"),
        ):
            with pytest.raises(SystemExit) as stop:
                main([*arguments])
            assert stop.value.code == 2
            assert said in capsys.readouterr().err


def run(*arguments: object) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 0


class TestBadData:
    def test_no_box_at_all(self, scenes: Path, small: Model, tmp_path: Path) -> None:
        (tmp_path / "labels.csv").write_text(
            f"path,class,xmin,ymin,xmax,ymax\n{scenes}/train/scene000.png,,,,,\n{scenes}/train/scene001.png,,,,,\n"
        )
        with pytest.raises(DataError, match="has a box to learn from"):
            small.fit("x", read(tmp_path / "labels.csv", task="detect"), head="detect")

    def test_tall_tiny_and_crowded_pictures(self, small: Model, tmp_path: Path) -> None:
        Image.new("RGB", (10, 2000), (90, 90, 90)).save(tmp_path / "tall.png")
        Image.new("RGB", (12, 9), (30, 90, 90)).save(tmp_path / "tiny.png")
        Image.new("RGB", (300, 200), (90, 20, 90)).save(tmp_path / "crowd.png")
        rows = ["path,class,xmin,ymin,xmax,ymax", "tall.png,a,1,5,9,1900", "tiny.png,b,1,1,3,3", "tiny.png,b,1,1,3,3"]
        rows += [f"crowd.png,a,{x},{y},{x + 6},{y + 5}" for x in range(0, 290, 12) for y in range(0, 190, 12)]
        (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
        odd = read(tmp_path / "labels.csv", task="detect")
        assert [finding.kind for finding in odd.findings] == ["duplicate-box"]
        for method in ("fcos", "yolo", "faster_rcnn"):
            small.fit("x", odd, head=method, epochs=1, hold_out=False)
            assert small.evaluate("x", odd).metrics["n"] == 3

    def test_key_points_that_are_all_hidden(self, scenes: Path, small: Model, tmp_path: Path) -> None:
        (tmp_path / "points.csv").write_text(f"path,a_x,a_y\n{scenes}/train/scene000.png,,\n{scenes}/train/scene001.png,,\n")
        with pytest.raises(DataError, match="key point to learn from"):
            small.fit("x", read(tmp_path / "points.csv", task="keypoints"), head="keypoints")

    def test_boxes_are_no_classes(self, scenes: Path, photos: Path, small: Model) -> None:
        with pytest.raises(DataError, match="classify cannot learn from boxes"):
            small.fit("x", data(scenes, "train"), head="classify")
        small.fit("x", data(scenes, "train"), head="detect", epochs=1, hold_out=False)
        with pytest.raises(HeadError, match="crops cannot be put together"):
            small.evaluate("x", data(scenes, "val"), tta="tencrop")

    def test_a_budget_too_small_says_what_it_takes(self, scenes: Path, small: Model) -> None:
        with pytest.raises(BudgetError, match=r"give at least --budget \d+s"):
            small.fit("x", data(scenes, "train"), head="detect", budget=1e-3)

    def test_a_picture_lost_since_it_was_labelled(self, scenes: Path, small: Model, tmp_path: Path) -> None:
        rows = (scenes / "train" / "labels.csv").read_text().replace("scene", f"{scenes}/train/scene") + "gone.png,flower,1,1,9,9\n"
        (tmp_path / "labels.csv").write_text(rows)
        fitted = small.fit("x", read(tmp_path / "labels.csv", task="detect"), head="detect", epochs=1, hold_out=False)
        assert [refused.path.name for refused in fitted.refused] == ["gone.png"]
        assert objects_of(read(tmp_path / "labels.csv", task="detect").samples[0]).boxes.shape[1] == 4

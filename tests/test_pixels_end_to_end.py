"""From pictures with masks to a judged head in a file: real flowers laid on real walls, so that every pixel is known."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from onelook import Geometry, Model, read
from onelook.answers.segmentation import Segmentation
from onelook.backbones.backbone import Backbone
from onelook.cli import main
from onelook.data.pictures import open_picture, picture_size
from onelook.data.readers.mask_values import values_of
from onelook.data.readers.masks import read_masks
from onelook.data.samples import Dataset, mask_of
from onelook.errors import BudgetError, DataError, HeadError
from onelook.workflows.validate import validate
from tests.conftest import write_masks


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("masks")
    write_masks(root / "train", 32)
    write_masks(root / "val", 8, offset=100)
    return root


@pytest.fixture
def small(lite0: Backbone, cache_root: Path) -> Model:
    return Model(lite0, Geometry(128), cache=cache_root, device="cpu")


def data(scenes: Path, side: str) -> Dataset:
    return read(scenes, task="segment", split=side)


@pytest.fixture(scope="module")
def trained(scenes: Path, lite0: Backbone, cache_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = Model(lite0, Geometry(128), cache=cache_root, device="cpu")
    model.fit("flowers", data(scenes, "train"), head="segment", freeze="all", epochs=12, hold_out=False)
    path = tmp_path_factory.mktemp("model") / "m.onelook"
    model.save(path)
    return path


def test_frozen_all_the_way(trained: Path, scenes: Path, small: Model) -> None:
    model = Model.load(trained, device="cpu")
    found = model.evaluate("flowers", data(scenes, "val"))
    assert found.metrics["miou"] > 0.8
    assert found.metrics["n"] == len(found.each) == 8
    assert found.metrics["dice"] > found.metrics["miou"]
    assert all(
        torch.equal(one, other)
        for one, other in zip(model.backbone.state_dict().values(), small.backbone.state_dict().values(), strict=True)
    )


def test_answers_are_in_the_pictures_own_size(trained: Path, scenes: Path, tmp_path: Path) -> None:
    model = Model.load(trained, device="cpu")
    path = scenes / "val" / "images" / "scene100.png"
    odd = tmp_path / "odd.png"
    open_picture(path).resize((301, 173)).save(odd)
    speck = tmp_path / "speck.png"
    open_picture(path).resize((9, 5)).save(speck)
    for file, size in ((path, picture_size(path)), (odd, (301, 173)), (speck, (9, 5))):
        answer = next(model.predict([file]))["flowers"]
        assert isinstance(answer, Segmentation)
        assert answer.mask.shape == answer.sure.shape == size[::-1]
        assert sum(answer.shares.values()) == pytest.approx(1.0)
    assert next(model.predict([odd], instances="watershed")).draw().width >= 301


def test_ensembles_and_versions(trained: Path, scenes: Path) -> None:
    models = [Model.load(trained, device="cpu") for _ in range(2)]
    found = validate(scenes, models[:1], "flowers", split="val", tta="flips")
    assert [gain.n for gain in found.gains] == [8]
    assert found.found.metrics["miou"] > 0.8
    together = validate(scenes, models, "flowers", split="val")
    alone = validate(scenes, models[:1], "flowers", split="val")
    assert together.found.metrics["miou"] == pytest.approx(alone.found.metrics["miou"], abs=2e-3)
    pieces = validate(scenes, models[:1], "flowers", split="val", tiles=True)
    assert pieces.found.metrics["miou"] > 0.7
    with pytest.raises(HeadError, match="not together with --tta"):
        validate(scenes, models[:1], "flowers", split="val", tiles=True, tta="flips")
    with pytest.raises(HeadError, match="cannot be put together"):
        validate(scenes, models[:1], "flowers", split="val", tta="tencrop")


@pytest.mark.slow
def test_a_tail_trains_with_the_decoder(scenes: Path, small: Model) -> None:
    before = {name: value.clone() for name, value in small.backbone.state_dict().items()}
    fitted = small.fit("flowers", data(scenes, "train"), head="segment", freeze="stride8", epochs=4)
    assert fitted.trained.cut == 3
    assert fitted.trained.held_out["n"] > 0
    assert all(torch.equal(value, before[name]) for name, value in small.backbone.state_dict().items())
    assert small.evaluate("flowers", data(scenes, "val")).metrics["miou"] > 0.6


@pytest.mark.parametrize("options", [{"loss": "dice"}, {"loss": "focal"}, {"borders": True}])
def test_every_loss_learns(options: dict[str, Any], scenes: Path, small: Model) -> None:
    few = data(scenes, "train").pick(range(16))
    small.fit("flowers", few, head="segment", freeze="all", epochs=8, hold_out=False, **options)
    assert small.evaluate("flowers", few).metrics["miou"] > 0.6


@pytest.mark.slow
def test_the_original_unet_learns_from_scratch(scenes: Path, small: Model, tmp_path: Path) -> None:
    few = data(scenes, "train").pick(range(8))
    small.choose_geometry("flowers", 64)
    small.fit("flowers", few, head="unet2015", epochs=40, augment="none", width=8, hold_out=False)
    small.save(tmp_path / "m.onelook")
    found = Model.load(tmp_path / "m.onelook", device="cpu").evaluate("flowers", few)
    assert found.metrics["miou"] > 0.6
    with pytest.raises(HeadError, match="reads pixels"):
        small.fit("other", few, head="unet2015", freeze="stride8", epochs=1)


def test_two_runs_give_equal_bytes(scenes: Path, small: Model) -> None:
    few = data(scenes, "train").pick(range(8))

    def weights() -> list[torch.Tensor]:
        small.fit("flowers", few, head="segment", freeze="stride16", epochs=2, hold_out=False, seed=3)
        return [value.clone() for value in small.heads["flowers"].state_dict().values()]  # type: ignore[attr-defined]

    assert all(torch.equal(one, other) for one, other in zip(weights(), weights(), strict=True))


def test_what_cannot_be_learned(scenes: Path, small: Model, tmp_path: Path) -> None:
    write_masks(tmp_path, 4)
    for file in (tmp_path / "masks").iterdir():
        Image.new("L", picture_size(file)).save(file)
    with pytest.raises(DataError, match="show only"):
        small.fit("flowers", read(tmp_path, task="segment"), head="segment", epochs=1)
    with pytest.raises(DataError, match="cannot learn from masks"):
        small.fit("flowers", data(scenes, "train"), head="classify", epochs=1)


def test_a_class_that_training_never_shows(scenes: Path, small: Model, tmp_path: Path) -> None:
    write_masks(tmp_path, 8)
    (tmp_path / "legend.csv").write_text("wall,0\nflower,255\nbird,7\n")
    small.fit("flowers", read(tmp_path, task="segment"), head="segment", freeze="all", epochs=4, hold_out=False)
    answer = next(small.predict([tmp_path / "images" / "scene000.png"]))["flowers"]
    assert answer.classes == ("wall", "flower", "bird")
    assert "bird" not in answer.shares


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(stop.value.code or 0), said.out, said.err


@pytest.mark.slow
def test_the_command_line(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.onelook"
    split = ("--train-split", "train", "--val-split", "val")
    how = ("--freeze", "all", "--epochs", "6", "--size", "128", "--report", tmp_path / "page", "--json")
    code, out, err = run(capsys, "train", scenes, "--task", "segment", "--name", "flowers", "--model", model, *split, *how)
    assert code == 0
    result = json.loads(out)
    assert {"miou", "pixel_accuracy", "dice", "boundary_f1", "per_class"} <= result["metrics"].keys()
    assert (result["task"], result["method"], result["metrics"]["n"]) == ("segment", "unet", 8)
    assert "0 read as background, 255 as foreground" in err
    page = (tmp_path / "page" / "index.html").read_text()
    assert "which pixels are background, foreground" in page
    assert "what is true" in page
    code, out, _ = run(capsys, "val", scenes, "--model", model, "--head", "flowers", "--split", "val")
    assert code == 0
    assert "mean IoU" in out
    assert "boundary F1" in out
    pictures = sorted((scenes / "val" / "images").iterdir())[:3]
    written_to = ("--masks", tmp_path / "masks", "--draw", tmp_path / "drawn")
    written_to = (*written_to, "--csv", tmp_path / "objects.csv")
    code, out, _ = run(capsys, "predict", *pictures, "--model", model, "--json", *written_to, "--instances", "components")
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    answer = lines[0]["answers"]["flowers"]
    assert set(answer) == {"size", "shares", "instances", "polygons"}
    assert answer["instances"]["counts"].keys() <= {"foreground"}
    assert len(list((tmp_path / "drawn").iterdir())) == 3
    written, _ = values_of(tmp_path / "masks" / f"{pictures[0].stem}.png")
    assert set(np.unique(written).tolist()) <= {0, 1}
    numbers = np.array(Image.open(tmp_path / "masks" / "objects" / f"{pictures[0].stem}.png"))
    with (tmp_path / "objects.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if Path(row["path"]) == pictures[0]]
    assert [int(row["area"]) for row in rows] == [int((numbers == int(row["object"])).sum()) for row in rows]
    assert len(rows) == numbers.max() == sum(answer["instances"]["counts"].values())
    with (tmp_path / "masks" / "legend.csv").open() as file:
        assert list(csv.reader(file)) == [["background", "0"], ["foreground", "1"]]
    code, out, _ = run(capsys, "predict", pictures[0], "--model", model, "--tiles", "--json")
    assert code == 0
    code, _, err = run(capsys, "predict", pictures[0], "--masks", tmp_path / "none")
    assert code == 2
    assert "no head here says what pixels are" in err


def test_what_was_said_can_be_learned_from(trained: Path, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Written masks and their legend are a data set like any other."""
    (tmp_path / "images").symlink_to(scenes / "val" / "images")
    assert run(capsys, "predict", tmp_path / "images", "--model", trained, "--masks", tmp_path / "masks")[0] == 0
    again = read_masks(tmp_path, None)
    assert again.findings == ()
    judged = Model.load(trained, device="cpu").evaluate("flowers", again)
    assert judged.metrics["miou"] == pytest.approx(1.0)
    assert mask_of(again.samples[0]).read().unique().tolist() == [0, 1]


def test_checking_masks(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_masks(tmp_path, 12)
    code, out, _ = run(capsys, "data", "check", tmp_path, "--task", "segment")
    assert (code, "nothing found" in out) == (0, True)
    (tmp_path / "masks" / "scene003.png").unlink()
    Image.new("L", (20, 20), 255).save(tmp_path / "masks" / "scene004.png")
    code, out, _ = run(capsys, "data", "check", tmp_path, "--task", "segment")
    assert code == 1
    assert "missing-mask" in out
    assert "size-mismatch" in out
    code, out, _ = run(capsys, "data", "views", tmp_path, "--task", "segment", "--augment", "microscope", "--out", tmp_path / "sheet.png")
    assert code == 0
    assert (tmp_path / "sheet.png").exists()


@pytest.mark.slow
def test_depth_is_measured_within_a_budget(scenes: Path, small: Model) -> None:
    """Three depths for an equal short time, judged on a fold of the training pictures; the best of those that fit is trained on."""
    before = {name: value.clone() for name, value in small.backbone.state_dict().items()}
    fitted = small.fit("flowers", data(scenes, "train"), head="segment", budget=15, hold_out=False)
    assert fitted.trained.search is not None
    trials = fitted.trained.search.evidence
    assert [trial.trial for trial in trials] == ["frozen", "tail behind stride8", "everything"]
    judged = [trial for trial in trials if trial.metric is not None]
    chosen = next(trial for trial in trials if trial.remark == "chosen")
    if len(judged) > 1:  # on a slow machine there may be no time to judge two
        assert chosen == max(judged, key=lambda trial: trial.metric or 0)
    assert fitted.trained.cut == chosen.cut
    assert small.evaluate("flowers", data(scenes, "val")).metrics["miou"] > 0.6
    assert all(torch.equal(value, before[name]) for name, value in small.backbone.state_dict().items())
    with pytest.raises(BudgetError, match="give at least --budget"):
        small.fit("other", data(scenes, "train"), head="segment", budget=0.01)

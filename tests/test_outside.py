"""A stranger's task and a stranger's method of a known task, from a package of their own: everything works as for ours."""

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from onelook import Model, read
from onelook.errors import HeadError, ModelFileError
from onelook.heads import HEADS, Heads, find_head, register
from tests.conftest import write_crops

from .conftest import Run

PACKAGE = Path(__file__).parent / "files" / "outside" / "toy_heads.py"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as pip would install it: a module, and a folder that names its entry points."""
    site = tmp_path / "site"
    facts = site / "toy_heads-1.0.dist-info"
    facts.mkdir(parents=True)
    shutil.copy(PACKAGE, site / "toy_heads.py")
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-heads\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[onelook.heads]\nprototype = toy_heads:Prototype\npinpoint = toy_heads:Pinpoint\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(HEADS, "_looked_outside", False)
    monkeypatch.setattr(HEADS, "_places", dict(HEADS._places))
    monkeypatch.setattr(HEADS, "_classes", dict(HEADS._classes))
    monkeypatch.delitem(sys.modules, "toy_heads", raising=False)
    return site


def test_a_method_of_a_known_task(installed: Path, run: Run, tmp_path: Path) -> None:
    write_crops(tmp_path / "photos", 12)
    model = tmp_path / "m.onelook"
    how = ("--task", "classify", "--method", "prototype", "--name", "kind", "--model", model, "--size", "64", "--val", "0.25")
    code, out, err = run("train", tmp_path / "photos", *how, "--sharpness", "8", "--report", tmp_path / "page", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["task"], result["method"]) == ("classify", "prototype")
    assert result["metrics"]["accuracy"] >= 0.8
    assert "What is taken for what" in (tmp_path / "page" / "index.html").read_text()
    assert Model.load(model).heads["kind"].sharpness == 8  # type: ignore[comparison-overlap]
    assert json.loads(run("val", tmp_path / "photos", "--model", model, "--head", "kind", "--tta", "flips", "--json")[1])["n"] == 24
    assert "classify by prototype" in run("info", model)[1]
    assert run("retrain", model, "--size", "96", "--json", "--quiet")[0] == 0
    code, _, err = run("train", tmp_path / "photos", *how[:5], "x", "--model", model, "--form", "linear")
    assert (code, "--form: prototype has no such option; it is an option of classify, regress" in err) == (2, True)


def test_a_task_of_its_own(installed: Path, run: Run, tmp_path: Path) -> None:
    with (tmp_path / "places.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "x", "y"])
        for number in range(24):
            x, y = 20 + 11 * (number % 8), 20 + 17 * (number % 5)
            picture = Image.new("RGB", (128, 128), (20, 60, 20))
            picture.paste((250, 240, 90), (x - 9, y - 9, x + 9, y + 9))
            picture.save(tmp_path / f"{number:02}.png")
            writer.writerow([f"{number:02}.png", x, y])
    model, drawn = tmp_path / "m.onelook", tmp_path / "drawn"
    how = ("--task", "pinpoint", "--name", "sun", "--model", model, "--size", "128", "--epochs", "40", "--val", "0.25")
    code, out, err = run("train", tmp_path / "places.csv", *how, "--report", tmp_path / "page", "--json")
    assert code == 0, err
    assert json.loads(out)["metrics"]["mae"] < 20
    page = (tmp_path / "page" / "index.html").read_text()
    assert "where lies x, y" in page
    assert "Green: what is there; red: what was said." in page
    code, out, _ = run("predict", tmp_path / "00.png", "--model", model, "--json", "--draw", drawn)
    assert json.loads(out)["answers"]["sun"].keys() == {"x", "y"}
    assert (drawn / "00.png").is_file()
    assert "sun at " in run("predict", tmp_path / "00.png", "--model", model)[1]


def test_both_are_listed_in_the_help(installed: Path, run: Run) -> None:
    out = run("train", "--help")[1]
    assert "Options of prototype" in out
    assert "--sharpness" in out
    with pytest.raises(HeadError, match="pinpoint"):
        find_head("dance")


def test_a_class_can_be_given_itself(installed: Path, model: Model, photos: Path, tmp_path: Path) -> None:
    from toy_heads import Prototype  # type: ignore[import-not-found]

    fitted = model.fit("kind", read(photos), head=Prototype, sharpness=8.0, epochs=40)
    assert fitted.trained.held_out["accuracy"] >= 0.7
    model.save(tmp_path / "m.onelook")
    with pytest.raises(HeadError, match=r"sharpness 1000\.0: use 0\.1 to 100"):
        model.fit("other", read(photos), head=Prototype, sharpness=1000.0)


def test_a_file_whose_package_is_not_here_says_so(
    installed: Path, model: Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.fit("kind", read(photos), head="prototype", epochs=1)
    model.save(tmp_path / "m.onelook")
    monkeypatch.setattr("onelook.modelparts.HEADS", Heads({}))
    monkeypatch.setattr("onelook.heads.entry_points", lambda group: ())
    with pytest.raises(ModelFileError, match=r"is a 'prototype', which this onelook does not know; .* install the package"):
        Model.load(tmp_path / "m.onelook")


def test_a_name_that_is_taken(installed: Path) -> None:
    from toy_heads import Prototype

    class Other(Prototype):  # type: ignore[misc]
        method = "fcos"

    with pytest.raises(HeadError, match="a method 'fcos' is there already"):
        register(Other)

"""A newcomer's first minute: nothing but DATA is named, pictures come in any form, and mistakes end in one line that helps."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

import onelook
from onelook import Model
from onelook.cli import main
from onelook.data.pictures import is_picture, open_picture
from onelook.errors import DataError, PictureError
from onelook.progress import Progress
from tests.conftest import write_scenes


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(stop.value.code or 0), said.out, said.err


class TestTrain:
    def test_data_is_enough(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("my photos").symlink_to(photos)
        code, out, err = run(capsys, "train", "my photos", "--size", 64, "--freeze", "all")
        assert code == 0
        assert "these are classes: --task classify" in err
        assert "saved in my photos.onelook" in out
        assert onelook.load("my photos.onelook", device="cpu").heads.keys() == {"classify"}

    def test_boxes_are_recognised_and_the_other_choice_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_scenes(tmp_path / "scenes", 8)
        (tmp_path / "scenes" / "points.csv").unlink()
        monkeypatch.chdir(tmp_path)
        result = onelook.train("scenes", size=96, epochs=1, progress=Progress())
        assert (result["head"], result["task"], result["model"]) == ("detect", "detect", "scenes.onelook")
        assert "these are boxes: --task detect; also possible: --task localize" in capsys.readouterr().err

    def test_validation_pictures_that_train_as_well_are_said(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        onelook.train(photos, val=str(photos), size=64, freeze="all", progress=Progress())
        assert "48 of 48 validation pictures train as well" in capsys.readouterr().err

    def test_val_says_that_pictures_have_trained(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        onelook.train(photos, val="0.25", size=64, freeze="all", model_path="m.onelook")
        code, _, err = run(capsys, "val", photos, "--model", "m.onelook", "--head", "classify")
        assert code == 0
        assert "36 of 48 pictures are among those that classify has learned from" in err

    def test_groups_say_what_share_was_held_back(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        rows = [f"{file},{file.parent.name},patient{int(file.stem[-2:]) % 3}" for file in sorted(photos.rglob("*.png"))]
        Path("t.csv").write_text("path,label,patient\n" + "\n".join(rows))
        onelook.train("t.csv", val="0.1", group="patient", size=64, freeze="all", progress=Progress())
        assert "16 pictures held back, 33% for the 10% asked for: no group is parted" in capsys.readouterr().err


class TestHeads:
    def test_rename_remove_copy_and_merge(self, model: Model, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Answers stay equal to the bit wherever a head goes."""
        file, other, both = (tmp_path / f"{name}.onelook" for name in ("one", "other", "both"))
        for number, name in enumerate(("kind", "again")):
            model.fit(name, photos, freeze="all", seed=number)
        model.save(file)
        expected = [answers["kind"].to_json() for answers in model.predict(photos, heads=["kind"])]
        assert "again" in run(capsys, "head", "list", file)[1]
        assert run(capsys, "head", "copy", file, "kind", "--to", other, "--as", "animal")[0] == 0
        assert run(capsys, "head", "rename", file, "kind", "what")[0] == 0
        assert run(capsys, "head", "remove", file, "again")[0] == 0
        assert run(capsys, "merge", file, other, "--out", both)[0] == 0
        loaded = onelook.load(both, device="cpu")
        assert list(loaded.heads) == ["what", "animal"]
        for name in loaded.heads:
            assert [answers[name].to_json() for answers in loaded.predict(photos, heads=[name])] == expected
        for arguments, said in (
            (["head", "remove", file, "what"], "is its only head"),
            (["head", "rename", both, "what", "animal"], "is there already"),
            (["head", "rename", both, "none", "x"], "no head 'none'; it has what, animal"),
            (["merge", file, both, "--out", tmp_path / "x.onelook"], "rename one"),
            (["merge", file, other, "--out", both], "name a new file"),
        ):
            code, _, err = run(capsys, *arguments)
            assert code == 2
            assert said in err

    def test_rows_for_a_table(self, model: Model, photos: Path, tmp_path: Path) -> None:
        model.fit("kind", photos, freeze="all")
        (tmp_path / "bad.png").write_bytes(b"x")
        found = onelook.rows(model.predict([*sorted(photos.rglob("*.png"))[:2], tmp_path / "bad.png"]))
        assert [sorted(row) for row in found] == [["head", "label", "path", "probability"]] * 2 + [["error", "path"]]


class TestPredict:
    def test_pictures_in_memory_are_answered_as_their_files(self, model: Model, photos: Path) -> None:
        file = next(photos.rglob("*.png"))
        picture = Image.open(file).convert("RGB")
        expected = next(model.predict(file))["imagenet"].to_json()
        content = file.read_bytes()
        for given in (
            picture,
            np.asarray(picture),
            content,
            io.BytesIO(content),
            [picture],
            [np.asarray(picture)],
            np.asarray(picture)[None],
        ):
            (answers,) = model.predict(given)
            assert answers["imagenet"].to_json() == expected
            assert answers.path == Path("picture 1")
            assert answers.draw().width >= picture.width
            png = answers._repr_png_()
            assert png is not None
            assert png.startswith(b"\x89PNG")
        assert [answers.path for answers in model.predict([file, picture])] == [file, Path("picture 1")]

    @pytest.mark.parametrize(
        "given", [np.zeros((4, 4, 3)), np.zeros((4, 4, 7), dtype=np.uint8), np.zeros((0, 4), dtype=np.uint8), [3], b"none"]
    )
    def test_what_is_no_picture_says_so(self, model: Model, given: object) -> None:
        with pytest.raises(PictureError, match="picture 1: "):
            list(model.predict(given))

    def test_stdin(self, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        file = next(photos.rglob("*.png"))
        for content, name in ((file.read_bytes(), "picture 1"), (f"{file}\n".encode(), str(file))):
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
            code, out, _ = run(capsys, "predict", "-", "--json")
            assert code == 0
            assert json.loads(out)["path"] == name

    def test_nothing_of_the_users_is_overwritten(self, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = next(photos.rglob("*.png"))
        mine = tmp_path / file.name
        mine.write_bytes(file.read_bytes())
        code, _, err = run(capsys, "predict", mine, "--draw", tmp_path)
        assert (code, mine.read_bytes()) == (2, file.read_bytes())
        assert "was not written by onelook" in err
        for _ in range(2):  # what onelook wrote is written anew
            assert run(capsys, "predict", mine, "--draw", tmp_path / "drawn")[0] == 0
        assert [path.name for path in (tmp_path / "drawn").iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predict", "https://example.org/cat.jpg"], "nothing is fetched"),
        (["predict", "film.mp4"], "films are not read here; ask it as one: onelook video film.mp4"),
        (["train", "photos", "--imgsz", "320"], "the input size is --size here"),
        (["train", "photos", "--batch=16"], "the batch is chosen by itself"),
        (["train", "photos", "--resume"], "nothing is to be resumed"),
    ],
)
def test_one_line_that_helps(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, *arguments)
    assert code in (2, 3)
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[:2] == (0, f"onelook {onelook.__version__}\n")


def test_a_model_says_what_it_is(model: Model, photos: Path) -> None:
    assert repr(model) == "<Model on efficientnet_lite0: no heads>"
    model.fit("kind", photos, freeze="all")
    assert repr(model) == "<Model on efficientnet_lite0: kind (classify)>"
    with pytest.raises(DataError):
        model.fit("boxes", photos, head="detect")


def test_names_that_are_no_utf_8(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As old archives leave them: answered, trained on, written down and reported."""
    for kind in ("flower", "temple"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number, file in enumerate(sorted((photos / kind).iterdir())[:6]):
            (tmp_path / "photos" / kind / f"caf\udce9{number}.png").write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "train", "photos", "--val", "0.34", "--size", "64", "--freeze", "all", "--report", "report")[0] == 0
    assert run(capsys, "predict", "photos", "--model", "photos.onelook", "--draw", "drawn", "--json")[0] == 0
    assert b"caf\xe90.png" in Path("runs/classify/classify/split.csv").read_bytes()
    assert len(list(Path("drawn").iterdir())) == 12


@pytest.mark.parametrize(
    ("suffix", "package", "extra"), [("HEIC", "pillow_heif", "heic"), ("jxl", "pillow_jxl", "jxl"), ("avif", None, None)]
)
def test_pictures_that_need_a_plugin(
    suffix: str, package: str | None, extra: str | None, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read where the plugin is installed; else the reason names it."""
    if package is not None:
        pytest.importorskip(package)
    elif not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    file = next(photos.rglob("*.png"))
    open_picture(file)
    Image.open(file).convert("RGB").save(tmp_path / f"IMG_1.{suffix}", quality=95)
    shown = open_picture(tmp_path / f"IMG_1.{suffix}")
    assert is_picture(tmp_path / f"IMG_1.{suffix}")
    assert np.abs(np.asarray(shown).astype(int) - np.asarray(Image.open(file).convert("RGB")).astype(int)).mean() < 8
    if extra is None:
        return
    monkeypatch.setattr("onelook.data.pictures._plugged", lambda extra: False)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.open(file).save(tmp_path / "photos" / name / "1.png")
    (tmp_path / "photos" / "a" / f"IMG_1.{suffix}").write_bytes(b"x")
    assert f"1 {extra}" in onelook.read(tmp_path / "photos").describe()
    with pytest.raises(PictureError, match=rf"pip install 'onelook\[{extra}\]'"):
        open_picture(tmp_path / "photos" / "a" / f"IMG_1.{suffix}")


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_cameras_of_fewer_bits_are_not_dark(bits: int, tmp_path: Path) -> None:
    ramp = np.linspace(0, (1 << bits) - 1, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "a.tiff")
    assert np.abs(np.asarray(open_picture(tmp_path / "a.tiff"))[..., 0].astype(int).ravel() - np.linspace(0, 255, 64)).max() <= 1


def test_a_strip_of_example_answers(kind_file: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "info", str(kind_file), "--examples", str(photos), "--out", str(tmp_path / "strip.png"))
    assert code == 0, err
    assert "strip.png: its answers to 12 pictures" in out.replace("\n", " ")
    with Image.open(tmp_path / "strip.png") as sheet:
        assert sheet.width == 4 * 360
    code, _, err = run(capsys, "info", str(kind_file), "--examples", str(tmp_path / "none"))
    assert (code, "no pictures that can be read" in err) == (2, True)

"""The command line: the promised forms, honest exit codes, one-line errors, nothing heavy at import."""

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from onelook import Model, read
from onelook.cli import app, main
from onelook.data.pictures import open_picture
from onelook.serve.run import Server
from onelook.style import feedforward
from onelook.style.feedforward import StyleFile
from onelook.training import dense
from tests.conftest import write_crops, write_masks, write_places, write_scenes
from tests.test_video import FLOWER, WALL, write_film

from .conftest import Run

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "mine.onelook"
    arguments = [
        "train",
        photos,
        "--task",
        "classify",
        "--name",
        "kind",
        "--model",
        path,
        "--val",
        "0.25",
        "--size",
        "64",
        "--quiet",
        "--json",
    ]
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, arguments)))
    assert not stop.value.code
    return path


def test_train_json(run: Run, photos: Path, trained: Path) -> None:
    before = trained.read_bytes()
    first = [json.loads(line) for line in run("predict", photos, "--model", trained, "--heads", "kind", "--json")[1].splitlines()]
    code, out, _ = run(
        "train", photos, "--task", "classify", "--name", "second", "--model", trained, "--seed", "1", "--views", "1", "--json"
    )
    assert code == 0
    result = json.loads(out)
    assert (result["head"], result["task"], result["backbone"]) == ("second", "classify", "efficientnet_lite0")
    assert result["images"] == {"train": 48, "val": 0, "refused": 0}
    assert result["metrics"]["on"] == "cross-validation"
    assert {"look", "fit", "total"} == result["seconds"].keys()
    again = [json.loads(line) for line in run("predict", photos, "--model", trained, "--heads", "kind", "--json")[1].splitlines()]
    assert [line["answers"] for line in again] == [line["answers"] for line in first]
    folder = trained.parent / "runs" / "classify"
    assert {"split.csv", "candidates.csv", "result.json"} <= {path.name for path in (folder / "kind").iterdir()}
    assert len(read(folder / "kind" / "split.csv").side("val")) == 12
    trained.write_bytes(before)


def test_val_json(run: Run, trained: Path, tmp_path: Path) -> None:
    write_crops(tmp_path, 5, offset=100)
    code, out, _ = run("val", tmp_path, "--model", trained, "--head", "kind", "--json")
    assert code == 0
    metrics = json.loads(out)["metrics"]
    assert metrics["n"] == 10
    assert metrics["accuracy"] >= 0.8
    assert 0 <= metrics["f1_macro"] <= 1
    assert sum(map(sum, metrics["confusion"]["rows_truth"])) == 10
    code, out, _ = run("val", tmp_path, "--model", trained, "--head", "kind")
    assert "accuracy" in out
    assert "truth \\ answer" in out


def test_predict_forms(run: Run, trained: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"x")
    one = sorted((photos / "temple").iterdir())[0]
    code, out, err = run(
        "predict", str(photos / "flower" / "*.png"), tmp_path, one, "--model", trained, "--json", "--draw", tmp_path / "drawn"
    )
    assert code == 3
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == 26
    assert "bad.png: not a picture" in err
    good = lines[0]
    assert set(good) == {"path", "answers", "ms"}
    assert set(good["ms"]) == {"decode", "look", "kind"}
    assert set(good["answers"]["kind"]) == {"label", "probability", "probabilities"}
    assert "error" in lines[24]
    drawn = sorted((tmp_path / "drawn").iterdir())
    assert len(drawn) == 25
    assert open_picture(drawn[0]).width >= 300


def test_predict_without_a_model(run: Run, photos: Path) -> None:
    code, out, _ = run("predict", sorted((photos / "flower").iterdir())[0], "--json")
    assert code == 0
    assert len(json.loads(out)["answers"]["imagenet"]["probabilities"]) == 1000


def test_info(run: Run, trained: Path) -> None:
    code, out, _ = run("info", trained, "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["heads"]["kind"]["classes"] == ["flower", "temple"]
    assert [part["part"] for part in facts["parts"]] == ["look", "kind"]
    assert {"parameters", "macs", "bytes", "ms"} <= facts["parts"][0].keys()
    assert facts["one_look"]["ms_apart"] > 0
    assert facts["licences"]["efficientnet-lite0-57934424.pth"] == "Apache-2.0"
    assert "ms a picture" in run("info", trained)[1]
    assert "random:alexnet" in run("info", "--backbone", "random:alexnet")[1]


def test_reports_views_and_test_time_augmentation(run: Run, trained: Path, photos: Path, tmp_path: Path) -> None:
    code, out, _ = run(
        "val", photos, "--model", trained, "--model", trained, "--head", "kind", "--tta", "flips", "--report", tmp_path, "--json"
    )
    assert code == 0
    result = json.loads(out)
    assert [gain["what"] for gain in result["gains"]][-1] == "the ensemble"
    assert {"ece", "ece_before"} <= result["metrics"].keys()
    assert "<svg" in (tmp_path / "index.html").read_text()
    out = run("val", photos, "--model", trained, "--head", "kind", "--tta", "flips")[1]
    assert "calibration error" in out
    assert "--tta flips" in out
    assert (
        run("data", "views", photos, "--out", tmp_path / "sheet.png", "--views", "3", "--pictures", "2", "--augment", "microscope")[0] == 0
    )
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * 160, 40 + 2 * 160)
    plain = json.loads(run("predict", next(photos.rglob("*.png")), "--model", trained, "--json")[1])
    wide = json.loads(run("predict", next(photos.rglob("*.png")), "--model", trained, "--json", "--tta", "tencrop")[1])
    assert plain["answers"].keys() == wide["answers"].keys()


def test_a_tail_from_the_command_line(run: Run, trained: Path, photos: Path, tmp_path: Path) -> None:
    before = trained.read_bytes()
    code, _, err = run(
        "train", photos, "--name", "deep", "--model", trained, "--freeze", "stride16", "--epochs", "1", "--val", "0.25",
        "--report", tmp_path / "report", "--tensorboard", tmp_path / "board",
    )  # fmt: skip
    assert code == 0
    assert "frozen, shared" in err
    assert "stride32" in err
    assert "tail behind stride16" in run("info", trained)[1]
    facts = json.loads(run("info", trained, "--json")[1])
    assert [part["part"] for part in facts["parts"]] == ["look", "kind", "deep: tail behind stride16", "deep"]
    assert facts["heads"]["deep"]["cut"].startswith("frozen and shared up to stride16")
    assert (tmp_path / "report" / "index.html").exists()
    assert list((tmp_path / "board").iterdir())
    rows = (trained.parent / "runs" / "classify" / "deep" / "steps.csv").read_text().splitlines()
    assert len(rows) == 1 + 1 + 2  # a header, one epoch judged, two with all pictures
    trained.write_bytes(before)


def test_retrain(run: Run, trained: Path) -> None:
    before = trained.read_bytes()
    code, out, _ = run("retrain", trained, "--size", "96", "--json", "--quiet")
    assert code == 0
    assert json.loads(out)[0]["images"] == {"train": 36, "val": 12, "refused": 0}
    assert json.loads(run("info", trained, "--json")[1])["heads"]["kind"]["geometry"] == {"mode": "fit", "size": 96}
    trained.write_bytes(before)


def test_data_check(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run("data", "check", photos)[0] == 0
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bad.png").write_bytes(b"x")
    code, out, _ = run("data", "check", tmp_path, "--json")
    assert code == 1
    assert json.loads(out)["findings"][0]["file"].endswith("bad.png")


def test_cache_and_doctor(run: Run, trained: Path) -> None:
    entries = json.loads(run("cache", "list", "--json")[1])["caches"]
    assert entries
    assert "key" in run("cache", "list")[1]
    assert run("cache", "clear", "nonsense")[0] == 2
    assert json.loads(run("cache", "clear", entries[0]["key"], "--json")[1])["freed_bytes"] > 0
    code, out, _ = run("doctor", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["missing"] == []
    assert {"cores", "free_disk_gb", "default_weights"} <= facts.keys()


MISTAKES = [
    (["train", "nowhere", "--name", "x", "--model", "x.onelook"], 3, "nowhere: no such folder or table"),
    (["train", "{photos}", "--name", "x", "--model", "x.pt"], 2, "x.onelook"),
    (["train", "{photos}", "--name", "kind", "--model", "{model}"], 2, "already has a head 'kind'"),
    (["train", "{photos}", "--name", "x", "--model", "{model}", "--backbone", "resnet18"], 2, "not resnet18"),
    (["train", "{photos}", "--name", "x", "--model", "x.onelook", "--backbone", "resnet5000"], 2, "did you mean"),
    (["train", "{photos}", "--name", "x", "--model", "x.onelook", "--val", "2"], 2, "between 0 and 1"),
    (["train", "{photos}", "--name", "x", "--model", "x.onelook", "--views", "0"], 2, "use 1 to 64"),
    (["train", "{photos}", "--name", "x", "--model", "x.onelook", "--task", "dance"], 2, "dance"),
    (["train", "{photos}", "--name", "x", "--model", "x.onelook", "--freeze", "conv9"], 2, "--freeze conv9: matches no stage"),
    (["train", "{photos}", "--name", "x", "--model", "x.onelook", "--budget", "soon"], 2, "--budget soon: not a time; use 90s, 10m or 1h"),
    (["train", "{photos}", "--name", "x", "--model", "x.onelook", "--size", "64", "--budget", "0.001s"], 2, "give at least --budget"),
    (["train", "{photos}", "--name", "x", "--model", "x.onelook", "--augment", "dance"], 2, "dance"),
    (["val", "{photos}", "--model", "{model}", "--head", "kind", "--tta", "dance"], 2, "dance"),
    (["val", "{photos}", "--model", "{model}", "--model", "none.onelook", "--head", "kind"], 3, "none.onelook: no such model file"),
    (["data", "views", "{photos}", "--out", "sheet.what"], 2, "sheet.what: cannot be written"),
    (["data", "views", "nowhere", "--out", "sheet.png"], 3, "nowhere: no such folder or table"),
    (["predict", "{photos}", "--model", "none.onelook"], 3, "no such model file"),
    (["predict", "{photos}", "--model", "{model}", "--heads", "who"], 2, "no head 'who'; this model has kind"),
    (["predict", "empty*"], 2, "no pictures found"),
    (["predict", "none.jpg"], 3, "none.jpg: No such file"),
    (["val", "{photos}", "--model", "{model}", "--head", "who"], 2, "no head 'who'"),
    (["info", "{photos}"], 3, "no such model file"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), MISTAKES)
def test_mistakes_are_one_line(
    run: Run, photos: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = trained.read_bytes()
    found, out, err = run(*(argument.format(photos=photos, model=trained) for argument in arguments))
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err
    assert trained.read_bytes() == before
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run("predict", next(photos.rglob("*.png")), "--draw", tmp_path / "file" / "drawn")
    assert (code, err.count("\n")) == (2, 1)
    assert "Not a directory" in err


def test_debug_shows_the_traceback(run: Run) -> None:
    from onelook.errors import UnreadableError

    with pytest.raises(UnreadableError):
        run("train", "nowhere", "--name", "x", "--model", "x.onelook", "--debug")


def test_interrupt_while_fitting_keeps_the_file(run: Run, photos: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = trained.read_bytes()

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for phase in (
        "onelook.training.depth_search.radial",
        "onelook.training.gather.collect",
        "onelook.modelfile.save",
        "onelook.workflows.train.read_kinds",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(phase, interrupt)
            code, _, err = run("train", photos, "--name", "x", "--model", trained, "--quiet")
        assert (code, trained.read_bytes() == before) == (130, True)
        assert "interrupted; what was saved is still there" in err
    assert run("predict", next(photos.rglob("*.png")), "--model", trained)[0] == 0


def test_interrupted_search_saves_the_best_trial(run: Run, photos: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = trained.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("onelook.training.depth_search._Search._tails", interrupt)
    code, out, err = run("train", photos, "--name", "x", "--model", trained)
    assert code == 130
    assert "interrupted: the best trial so far is kept" in err
    assert "accuracy" in out
    assert run("predict", next(photos.rglob("*.png")), "--model", trained, "--heads", "x")[0] == 0
    trained.write_bytes(before)


def commands() -> list[list[str]]:
    found = [
        ["train"],
        ["val"],
        ["predict"],
        ["compare"],
        ["info"],
        ["anatomy"],
        ["filters"],
        ["patches"],
        ["deconvnet"],
        ["explain"],
        ["video"],
        ["video", "summary"],
        ["video", "match"],
        ["export"],
        ["serve"],
        ["style"],
        ["retrain"],
        ["bench"],
        ["doctor"],
        ["demo"],
        ["merge"],
    ]
    found += [["head", name] for name in ("list", "rename", "remove", "copy")]
    found += [["data", name] for name in ("check", "convert", "browse", "views")] + [["cache", "list"], ["cache", "clear"]]
    verbs = ("enroll", "identify", "verify", "eval", "list", "rename", "remove", "export", "merge", "crop", "attributes", "blur")
    return [*found, *(["faces", name] for name in verbs), ["style", "train"], ["style", "apply"]]


def test_every_command_is_listed() -> None:
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    groups = {group.name for group in app.registered_groups}
    assert names | groups == {command[0] for command in commands()}


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_help_has_an_example(run: Run, command: list[str]) -> None:
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert "Example: onelook " + " ".join(command) in re.sub(r"\s+", " ", out)


def test_help_and_import_are_quick() -> None:
    """The promises are 0.5 s and 0.1 s on a quiet machine; here the medians of three runs, with room for a noisy one."""

    def median(*arguments: str) -> float:
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            times.append(time.perf_counter() - begun)
        return sorted(times)[1]

    bare = median("-c", "pass")
    assert median("-m", "onelook", "--help") - bare < 1.0
    assert median("-c", "import onelook") - bare < 0.2


def test_nothing_heavy_is_imported() -> None:
    check = "import sys, onelook, onelook.cli; bad = {'torch', 'timm', 'numpy', 'onnxruntime'} & set(sys.modules); assert not bad, bad"
    subprocess.run([sys.executable, "-c", check], check=True)


def commands_of(file: Path) -> list[str]:
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", file.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("onelook ") and "demo" not in line]


def readme_commands() -> list[Any]:
    """Those of the README, and those of two guides that are not there; what trains long, and the guides, are slow tests."""
    first = commands_of(README)
    long = re.compile(r"--task segment|--budget|weights\.csv|--name kind")
    guides = [
        line
        for name in ("inside.md", "style.md", "export.md", "serve.md", "video.md")
        for line in commands_of(README.parent / "docs" / name)
    ]
    guide = [line for line in guides if line not in first]
    return [pytest.param(line, marks=pytest.mark.slow) if line in guide or long.search(line) else line for line in first + guide]


@pytest.mark.parametrize("line", readme_commands())
def test_readme_commands(run: Run, photos: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """Every command of the README, run as written in a folder that has what it names (smaller pictures, a trained model)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(photos)
    for name, picture in zip(("photo.jpg", "painting.jpg", "other.jpg"), sorted(photos.rglob("*.png")), strict=False):
        Image.open(picture).save(name)
    (tmp_path / "test-photos").symlink_to(photos)
    write_scenes(tmp_path / "boxes", 12)
    write_scenes(tmp_path / "points", 12)
    write_masks(tmp_path / "masks", 12)
    write_places(tmp_path / "people", 6, 3)
    monkeypatch.setattr(dense, "FEWEST_EPOCHS", 1)
    monkeypatch.setattr(dense, "MOST_EPOCHS", 2)
    if "things.onelook" in line and "--model things" in line and " train " not in line:
        write_scenes(tmp_path / "scenes", 12)
        assert run("train", "scenes", "--task", "detect", "--model", "things.onelook", "--freeze", "all", "--epochs", "1")[0] == 0
        Path("zones.json").write_text('{"lines": {"gate": [[60, 0], [60, 90]]}}')
    if "film.mp4" in line:
        write_film(tmp_path / "film.mp4", [(WALL, 30), (FLOWER, 30)])
    if "game." in line:
        write_film(tmp_path / "game.mp4", [(WALL, 100), (FLOWER, 100)])
        Path("game.csv").write_text("start,end,label\n" + "".join(f"{t},{t}.9,{'dunk' if t < 4 else 'other'}\n" for t in range(8)))
        assert "train" in line or run("train", "game.csv", "--freeze", "all")[0] == 0
    if " serve " in line:  # started and stopped
        monkeypatch.setattr(Server, "run", lambda self, ready: (ready(), self.pool.close(), self.socket.close()))
        other = Model.load(trained)
        other.heads["other"] = other.heads.pop("kind")
        other.records = {"other": other.records["kind"]}
        other.heads = {"other": other.heads["other"]}
        other.save("boxes.onelook")
    if " train " not in line:
        for name in ("mine.onelook", "photos.onelook"):
            Path(name).write_bytes(trained.read_bytes())
    if "pixels.onelook:" in line:
        assert run("train", "masks", "--task", "segment", "--name", "people", "--model", "pixels.onelook", "--freeze", "all")[0] == 0
        Image.open(next(Path("masks/images").iterdir())).save("photo.jpg")
    if "style apply painter.style" in line:
        StyleFile(feedforward.Painter(4, 1).eval(), "painting.jpg", "", "", 1, 1.0, 1, 64).save(Path("painter.style"))
    line = line.replace("--budget 15m", "--budget 5s") if "style train" in line else line
    files = sorted(photos.rglob("*.png"))[:12]
    Path("weights.csv").write_text("path,weight\n" + "\n".join(f"{file},{number}" for number, file in enumerate(files)))
    code, _, err = run(*shlex.split(line)[1:])
    assert code == 0, err

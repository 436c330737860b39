"""``onelook faces`` from enrolment to forgetting, with an embed head of a model as encoder: places of photographs in the part of people."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onelook.cli import main
from onelook.workflows.train import train
from tests.conftest import write_places

from .conftest import Run
from .test_video import film_of


@pytest.fixture
def run(run: Run) -> Run:
    """The commands of faces."""
    return lambda *arguments: run("faces", *arguments)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Six places of two photographs, five crops each, and an encoder that has learned from them."""
    root = tmp_path_factory.mktemp("places")
    write_places(root / "all", 6, 5)
    train(root / "all", task="embed", name="who", model_path=root / "m.onelook", size=64, epochs=2)
    return root / "all", root / "m.onelook"


def test_from_enrolment_to_forgetting(places: tuple[Path, Path], tmp_path: Path, run: Run) -> None:
    folder, model = places
    gallery, encoder = tmp_path / "g.gallery", ("--encoder", f"{model}:who")
    code, out, _ = run("enroll", gallery, folder, *encoder, "--json", "-q")
    assert (code, json.loads(out)["added"]) == (0, {f"p{n}": 5 for n in range(6)})
    code, out, _ = run("enroll", gallery, "p0", folder / "p0" / "0_0.png", *encoder, "-q", "--json")
    assert json.loads(out)["known"] == 1
    code, out, _ = run("enroll", gallery, "alias", folder / "p0" / "0_0.png", *encoder, "-q", "--json")
    assert "is enrolled as p0 already" in json.loads(out)["warnings"][0]
    code, out, _ = run("list", gallery, "--json")
    assert json.loads(out)["identities"]["alias"] == 1
    code, out, _ = run("identify", gallery, folder / "p3" / "3_1.png", tmp_path / "none.png", *encoder, "--json", "--draw", tmp_path / "d")
    first, second = map(json.loads, out.splitlines())
    assert code == 3
    assert first["faces"][0]["name"] == "p3"
    assert first["faces"][0].keys() == {"box", "name", "nearest", "distance", "score"}
    assert "no such file" in second["error"]
    with Image.open(tmp_path / "d" / "3_1.png") as drawn:
        assert drawn.size == (96, 96)
    code, out, _ = run("identify", gallery, folder / "p3" / "3_1.png", *encoder)
    assert "p3" in out
    assert "encoder's own threshold is used" in out
    assert run("rename", gallery, "alias", "other")[0] == 0
    code, out, _ = run("remove", gallery, "other", "--forget", "--json")
    assert json.loads(out) == {"removed": 1, "forgotten": True, "name": "other"}
    assert b"other" not in gallery.read_bytes()
    assert run("export", gallery, "--out", tmp_path / "v.npz")[0] == 0
    assert np.load(tmp_path / "v.npz")["vectors"].shape[0] == 30
    run("enroll", tmp_path / "h.gallery", "guest", folder / "p1" / "1_0.png", *encoder)
    assert run("merge", gallery, tmp_path / "h.gallery")[0] == 0
    assert "guest" in run("list", gallery)[1]


def test_who_is_when_in_a_film(places: tuple[Path, Path], tmp_path: Path, run: Run) -> None:
    folder, model = places
    encoder = ("--encoder", f"{model}:who")
    run("enroll", tmp_path / "g.gallery", folder, *encoder, "-q")
    who = [3] * 16 + [1] * 16 + [3] * 8  # p3 for four seconds, p1 for four, p3 for two
    film_of(tmp_path / "party.mkv", [folder / f"p{one}" / f"{one}_{number % 5}.png" for number, one in enumerate(who)])
    code, out, err = run("identify", tmp_path / "g.gallery", tmp_path / "party.mkv", *encoder, "--json", "--draw", tmp_path / "d")
    assert code == 0, err
    *frames, last = map(json.loads, out.splitlines())
    assert [frame["time"] for frame in frames] == [number / 2 for number in range(20)]
    found = [(one["name"], one["start"], one["end"], one["frames"]) for one in last["appearances"]]
    assert found == [("p3", 0.0, 3.5, 8), ("p1", 4.0, 7.5, 8), ("p3", 8.0, 9.5, 4)]
    assert len(list((tmp_path / "d").glob("party-*.png"))) == 20
    out = run("identify", tmp_path / "g.gallery", tmp_path / "party.mkv", *encoder, "--every", "8")[1]
    assert "p3 from 0:00.0 to 0:02.0, in 2 frames" in out
    (tmp_path / "no.mp4").write_bytes(b"no film")
    code, out, _ = run("identify", tmp_path / "g.gallery", tmp_path / "no.mp4", folder / "p3" / "3_1.png", *encoder)
    assert code == 3
    assert "not a film that can be read" in out
    assert run("identify", tmp_path / "g.gallery", tmp_path / "party.mkv", *encoder, "--every", "x")[0] == 2


def test_predict_says_who_beside_the_other_answers(
    places: tuple[Path, Path], tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, model = places
    run("enroll", tmp_path / "g.gallery", folder, "--encoder", f"{model}:who", "-q")
    asked = ["predict", str(folder / "p2" / "2_0.png"), "--gallery", str(tmp_path / "g.gallery"), "--encoder", f"{model}:who"]
    with pytest.raises(SystemExit):
        main([*asked, "--json", "--draw", str(tmp_path / "drawn"), "--csv", str(tmp_path / "found.csv")])
    answers = json.loads(capsys.readouterr().out.splitlines()[-1])["answers"]
    assert answers.keys() == {"imagenet", "who"}
    assert answers["who"]["faces"][0]["name"] == "p2"
    assert ",who," in (tmp_path / "found.csv").read_text()
    with Image.open(tmp_path / "drawn" / "2_0.png") as drawn:
        assert drawn.width >= 320


def test_verify(places: tuple[Path, Path], run: Run) -> None:
    folder, model = places
    encoder = ("--encoder", f"{model}:who", "--json")
    code, out, _ = run("verify", folder / "p0" / "0_0.png", folder / "p0" / "0_1.png", *encoder)
    found = json.loads(out)
    assert (code, found["same"]) == (0, True)
    assert found.keys() == {"same", "distance", "threshold", "far"}
    code, out, _ = run("verify", folder / "p0" / "0_0.png", folder / "p1" / "1_1.png", *encoder)
    assert (code, json.loads(out)["same"]) == (0, False)


def test_eval_with_pairs_tags_and_a_page(places: tuple[Path, Path], tmp_path: Path, run: Run) -> None:
    folder, model = places
    others = [(n, (n + 1) % 6) for n in range(6)]
    lines = [f"p{n}\t{n}_0.png\t{n}_1.png\np{n}\t{n}_0.png\tp{m}\t{m}_2.png\n" for n, m in others]
    (tmp_path / "pairs.txt").write_text("".join(lines))
    (tmp_path / "tags.csv").write_text("name,group\n" + "".join(f"p{n},{'flower' if n % 2 else 'temple'}\n" for n in range(6)))
    asked = ("--pairs", tmp_path / "pairs.txt", "--tags", tmp_path / "tags.csv", "--report", tmp_path / "page", "--encoder", f"{model}:who")
    code, out, _ = run("eval", folder, *asked, "--json", "-q")
    facts = json.loads(out)
    assert code == 0
    assert facts.keys() >= {"n", "missed", "eer", "eer_interval", "val_at_far", "rank1", "accuracy", "accuracy_std"}
    assert (facts["n"], facts["missed"], facts["people"]) == (30, 0, 6)
    assert facts["rank1"] > 0.9
    assert {group["group"] for group in facts["groups"]} == {"flower", "temple"}
    page = (tmp_path / "page" / "index.html").read_text()
    assert "Group by group" in page
    assert "false rejects" in page


def test_mistakes_are_one_line(places: tuple[Path, Path], tmp_path: Path, run: Run) -> None:
    folder, model = places
    encoder = ("--encoder", f"{model}:who")
    picture = folder / "p0" / "0_0.png"
    for arguments, said in (
        (("identify", tmp_path / "no.gallery", picture, *encoder), "no such gallery"),
        (("enroll", tmp_path / "g", picture, *encoder), "is no folder with a folder for everybody"),
        (("enroll", tmp_path / "g", "ada", tmp_path / "none.jpg", *encoder), "No such file"),
        (("verify", picture, picture, "--encoder", "nobody"), "neither dlib nor FILE.onelook:HEAD"),
        (("verify", picture, picture, "--encoder", f"{model}:nobody"), "no head 'nobody'"),
        (("eval", tmp_path, *encoder), "no pictures in folders"),
    ):
        code, out, err = run(*arguments)
        assert code in (2, 3)
        assert said in err + out
        assert "Traceback" not in err

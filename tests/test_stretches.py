"""Labelled stretches of films as pictures: the right frames with the right labels, stretches never parted, what cannot be used said."""

import json
from pathlib import Path

import pytest
from PIL import Image

from onelook import read
from onelook.data.film import Film
from onelook.data.readers.stretches import seconds_of
from onelook.data.split import split
from onelook.errors import DataError, OnelookError

from .conftest import Run
from .test_video import FLOWER, RATE, WALL, write_film


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of a temple, four of a flower, twice."""
    path = tmp_path_factory.mktemp("game") / "game.mp4"
    write_film(path, [(WALL, 100), (FLOWER, 100)] * 2)
    return path


@pytest.fixture
def folder(game: Path, tmp_path: Path) -> Path:
    (tmp_path / "game.mp4").symlink_to(game)
    return tmp_path


def table(folder: Path, text: str, name: str = "game.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(
    ("text", "seconds"), [("83.5", 83.5), ("1:23.5", 83.5), ("0:01:23.5", 83.5), ("-1", None), ("1:2:3:4", None), ("", None), ("nan", None)]
)
def test_seconds(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


def test_frames_of_stretches(folder: Path) -> None:
    data = read(table(folder, "start,end,label\n0:00.5,0:02,temple\n4.1,6,flower\n"))
    assert data.classes == ("flower", "temple")
    assert [(sample.target, sample.group.rpartition(":")[2]) for sample in data.samples if sample.group] == [(1, "2")] * 3 + [(0, "3")] * 4
    film = Film.open(folder / "game.mp4")
    numbers = [13, 26, 38, 103, 116, 128, 141]  # the first frames behind 0.52, 1.02, 1.52 and 4.12, 4.62, 5.12, 5.62
    assert [int(sample.path.name[:7]) for sample in data.samples] == numbers
    for sample, frame in zip(data.samples, film.frames(numbers), strict=True):
        assert f"{frame.time:.2f}s" in sample.path.name
        with Image.open(sample.path) as kept:
            assert kept.size == frame.picture.size
            differences = [abs(a - b) for a, b in zip(kept.tobytes(), frame.picture.tobytes(), strict=True)]
        assert sum(differences) / len(differences) < 2


def test_no_stretch_is_parted(folder: Path) -> None:
    lines = "".join(f"{start},{start + 0.9},{'temple' if start % 8 < 4 else 'flower'}\n" for start in range(16))
    data = read(table(folder, f"start,end,label\n{lines}"))
    train, val = split(data, 0.25, 0)
    assert not {data.samples[index].group for index in train} & {data.samples[index].group for index in val}
    assert len(val) == pytest.approx(0.25 * len(data), abs=2)


def test_a_short_stretch_has_a_frame(folder: Path) -> None:
    data = read(table(folder, "start,end,label\n1.0,1.05,temple\n5.03,5.05,flower\n"))
    assert [int(sample.path.name[:7]) for sample in data.samples] == [25, 126]


def test_what_cannot_be_used_is_said(folder: Path) -> None:
    lines = ("0,2,temple", "4.1,6,flower", "9,8,temple", "a,b,temple", "99,100,temple", "10,11,", "1,1.5,flower")
    data = read(table(folder, "start,end,label\n" + "\n".join(lines)))
    said = {finding.file.rpartition(":")[2]: finding.reason for finding in data.findings if finding.kind == "bad-stretch"}
    assert set(said) == {"4", "5", "6", "7"}
    assert "before it starts" in said["4"]
    assert "seconds, or as in 1:23.5" in said["5"]
    assert "the film has 16.0 s" in said["6"]
    (both,) = (finding.reason for finding in data.findings if finding.kind == "two-labels")
    assert "two things at once, such as flower and temple" in both
    assert both.endswith(": 1")
    assert {int(sample.path.name[:7]) for sample in data.samples} == {0, 13, 38, 50, 103, 116, 128, 141}


def test_films_by_column_and_sides(folder: Path) -> None:
    (folder / "film").mkdir()
    (folder / "film" / "other.mp4").symlink_to((folder / "game.mp4").resolve())
    rows = ["game.mp4,0,2,temple,train", "game.mp4,4.1,6,flower,train", "film/other.mp4,8.1,10,temple,val", "gone.mp4,0,1,temple,train"]
    data = read(table(folder, "film,start,end,label,split\n" + "\n".join(rows), "all.csv"))
    assert len(data.side("train")) == 9
    assert {sample.path.parent.name.split("-")[0] for sample in data.side("val").samples} == {"other"}
    assert [finding.reason for finding in data.findings] == ["there is no film gone.mp4; the row is left out"]
    assert len(read(table(folder, "film,start,end,label,split\n" + "\n".join(rows[:3]), "all.csv"), split="val")) == 4


def test_a_film_that_cannot_be_read_is_left_out(folder: Path) -> None:
    (folder / "broken.mp4").write_bytes(b"no film")
    rows = ["game.mp4,0,2,temple", "game.mp4,4.1,6,flower", "broken.mp4,0,1,temple"]
    data = read(table(folder, "film,start,end,label\n" + "\n".join(rows), "all.csv"))
    assert len(data) == 9
    (finding,) = data.findings
    assert (finding.kind, finding.file) == ("unreadable", str(folder / "broken.mp4"))
    assert "not a film that can be read" in finding.reason


def test_folders_of_clips(game: Path, tmp_path: Path) -> None:
    for side, label, number in (("train", "a", 1), ("train", "b", 2), ("val", "a", 3), ("val", "b", 4)):
        (tmp_path / side / label).mkdir(parents=True)
        (tmp_path / side / label / f"{number}.mp4").symlink_to(game)
    data = read(tmp_path)
    assert (data.classes, len(data.side("train")), len(data.side("val"))) == (("a", "b"), 64, 64)
    assert len({sample.group for sample in data.samples}) == 4


def test_events_are_learned_from(folder: Path) -> None:
    said = [(0.0, "temple"), (0.52, "temple"), (4.0, "flower"), (4.52, "flower"), (8.0, "temple")]
    lines = [
        {"film": "/gone/game.mp4", "time": time, "answers": {"kind": {"label": label}, "things": {"boxes": []}}} for time, label in said
    ]
    data = read(table(folder, "\n".join(map(json.dumps, lines)), "e.jsonl"))
    assert [(int(sample.path.name[:7]), sample.target) for sample in data.samples] == [(0, 1), (13, 1), (100, 0), (113, 0), (200, 1)]
    assert len({sample.group for sample in data.samples}) == 3
    lines = [line | {"answers": {"one": {"label": "x"}, "two": {"label": str(number % 2)}}} for number, line in enumerate(lines)]
    several = table(folder, "\n".join(map(json.dumps, lines)), "e.jsonl")
    with pytest.raises(DataError, match="heads one, two say a class; which one is meant: --columns one"):
        read(several)
    assert read(several, columns=["two"]).classes == ("0", "1")
    boxes = [{"time": 1.0, "answers": {"things": {"boxes": []}}}]
    with pytest.raises(DataError, match="a class is said by no head"):
        read(table(folder, "\n\n".join(map(json.dumps, boxes)) + "\n\n", "e.jsonl"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("game.csv", "start,end,what\n0,1,temple\n", "no column 'label'; it has start, end, what"),
        ("game.csv", "start,end,label\nx,1,temple\n", r"no labelled stretch of a film \(.*game.csv:2: start and end must be seconds"),
        ("game.csv", "start,end,label\n0,1,temple\n2,3,temple\n", "temple"),
        ("b.csv", "start,end,label\n0,1,temple\n", r"of which film\? Add a column film, or call it like the film \(b.mp4\)"),
    ],
)
def test_mistakes(folder: Path, name: str, text: str, said: str) -> None:
    (folder / "second.mp4").symlink_to((folder / "game.mp4").resolve())
    with pytest.raises(OnelookError, match=said):
        read(table(folder, text, name)).refuse_unlearnable()


def test_a_film_without_labels(run: Run, folder: Path) -> None:
    code, _, err = run("train", folder / "game.mp4")
    assert code == 2
    assert "no labelled stretch of a film; write game.csv: start,end,label in seconds, such as 12,15.5,dunk" in err


def test_from_labels_to_highlights(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few labelled seconds, a head, and the stretches of the film that show the thing."""
    monkeypatch.chdir(folder)
    table(folder, "start,end,label\n0,1,temple\n2,3,temple\n4.1,5,flower\n6,7,flower\n")
    code, out, err = run("train", "game.csv", "--freeze", "all", "--json")
    assert code == 0, err
    code, out, err = run(
        "video", "game.mp4", "--model", "game.onelook", "--highlights", "best.mp4", "--when", "flower > 0.5", "--pad", "0", "--json"
    )
    assert code == 0, err
    clips = json.loads(out)["clips"]
    assert [(clip["start"], clip["end"]) for clip in clips] == [pytest.approx((4, 8), abs=0.1), pytest.approx((12, 16), abs=0.1)]
    assert 100 / RATE == 4

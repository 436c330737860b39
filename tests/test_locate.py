"""Which picture an annotation means, and which side a name is: what is ambiguous or elsewhere is never guessed."""

from pathlib import Path

import pytest
from PIL import Image

from onelook.data.pictures import files_in
from onelook.data.readers.locate import Locator
from onelook.data.samples import Finding
from onelook.data.sides import left_out, side_in, side_word, used_sides


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / name)
    return root


@pytest.mark.parametrize(
    ("there", "written", "side", "found"),
    [
        ("images/a.jpg", "a.jpg", None, "images/a.jpg"),
        ("images/a.JPG", "a.jpg", None, "images/a.JPG"),
        ("images/a.png", "a", None, "images/a.png"),
        ("images/a.png", "a.jpg", None, "images/a.png"),
        ("deep/down/a.jpg", "a.jpg", None, "deep/down/a.jpg"),
        ("images/one/a.jpg images/two/a.jpg", "two/a.jpg", None, "images/two/a.jpg"),
        ("images/one/a.jpg images/two/a.jpg", "H:\\data\\set\\two\\a.jpg", None, "images/two/a.jpg"),
        ("images/one/a.jpg images/two/a.jpg", "C:/x/TWO/A.JPG", None, "images/two/a.jpg"),
        ("images/train/a.jpg images/val/a.jpg", "a.jpg", "val", "images/val/a.jpg"),
        ("images/train/a.jpg images/test/a.jpg", "a.jpg", "train", "images/train/a.jpg"),
        ("images/train2017/a.jpg other/a.jpg", "a.jpg", "train", "images/train2017/a.jpg"),
        ("images/a.jpg images/a.png", "a.png", None, "images/a.png"),
    ],
)
def test_the_picture_that_is_meant(tmp_path: Path, there: str, written: str, side: str | None, found: str) -> None:
    touch(tmp_path, *there.split())
    findings: list[Finding] = []
    assert Locator(tmp_path).find(written, tmp_path / "annotations", "here", findings, side) == tmp_path / found
    assert not findings


def test_two_that_would_do_are_a_finding(tmp_path: Path) -> None:
    touch(tmp_path, "images/one/a.jpg", "images/two/a.jpg")
    findings: list[Finding] = []
    assert Locator(tmp_path).find("a.jpg", tmp_path, "labels.csv:7", findings) is None
    assert [(finding.kind, finding.file) for finding in findings] == [("ambiguous-picture", "labels.csv:7")]
    assert "images/one/a.jpg or images/two/a.jpg" in findings[0].reason


def test_pictures_of_the_other_side_and_of_other_sets_are_missing(tmp_path: Path) -> None:
    touch(tmp_path, "mine/images/train/a.jpg", "theirs/b.jpg")
    locator = Locator(tmp_path / "mine")
    for written, side in (("a.jpg", "val"), ("b.jpg", None)):
        found = locator.find(written, tmp_path / "mine", "here", [], side)
        assert found == tmp_path / "mine" / written
        assert not found.is_file()


def test_a_mask_is_not_the_picture_that_it_is_of(tmp_path: Path) -> None:
    touch(tmp_path, "masks/a.png", "SegmentationClass/a.png")
    assert not Locator(tmp_path).find("a.jpg", tmp_path, "here", []).is_file()  # type: ignore[union-attr]


def test_a_file_in_a_folder_of_annotations_belongs_to_the_folder_above(tmp_path: Path) -> None:
    touch(tmp_path, "set/images/a.jpg", "set/annotations/x.png")
    assert Locator(tmp_path / "set" / "annotations" / "train.json").root == tmp_path / "set"
    assert Locator(tmp_path / "set" / "train.json").root == tmp_path / "set"


def test_hidden_files_are_not_there_and_links_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "a/.ipynb_checkpoints/1-checkpoint.png", "__MACOSX/._1.png", "elsewhere/2.png", "a/._3.png")
    (tmp_path / "a" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a" / "round").symlink_to(tmp_path / "a")
    assert [file.relative_to(tmp_path).as_posix() for file in files_in(tmp_path / "a")] == ["a/1.png", "a/linked/2.png"]


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("instances_train2017", "train"),
        ("TrainImages", "train"),
        ("training_set", "train"),
        ("trainval", "train"),
        ("valid", "val"),
        ("val2017", "val"),
        ("dev-set", "val"),
        ("Testing", "test"),
        ("test_set", "test"),
        ("latest", None),
        ("trains", None),
        ("train_test", None),
        ("photos", None),
    ],
)
def test_words_that_name_a_side(name: str, side: str | None) -> None:
    assert side_word(name) == side


def test_the_innermost_part_decides() -> None:
    assert side_in(Path("training_data/val.json")) == "val"
    assert side_in(Path("data/train/images")) == "train"
    assert side_in(Path("photos/cats")) is None


def test_what_sides_are_used_for() -> None:
    assert used_sides(["train", "val", "test"]) == {"train": "train", "val": "val"}
    assert used_sides(["train", "test"]) == {"train": "train", "test": "val"}
    assert used_sides(["train", None]) == {"train": "train"}
    assert used_sides(["val", "test", None]) == {"val": None, "test": None, None: None}
    used = used_sides(["train", "val", "test", None])
    assert left_out({"train": 3, "val": 2, "test": 4, None: 1}, used) == "; not used: 4 pictures of test, 1 pictures on no side"
    assert left_out({"train": 3}, used) == ""

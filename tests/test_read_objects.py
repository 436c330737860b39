"""Readers of boxes and key points: each format from disk, what is wrong in it, and the same data through every writer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from onelook.data.samples import objects_of, paired_names
from onelook.errors import DataError, OnelookError, UnreadableError
from onelook.workflows.data import check, convert, read


def picture(path: Path, size: tuple[int, int] = (100, 80), shade: int = 120) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, shade, shade)).save(path)
    return path


def xml(name: str, *objects: tuple[str, float, float, float, float], difficult: int = 0) -> str:
    inner = "".join(
        f"<object>\n<name>{label}</name><difficult>{difficult}</difficult><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
        f"<ymax>{d}</ymax></bndbox></object>\n"
        for label, a, b, c, d in objects
    )
    return f"<annotation>\n<filename>{name}</filename>\n{inner}</annotation>"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    root = tmp_path / "voc"
    for number in range(4):
        picture(root / "JPEGImages" / f"p{number}.png", shade=50 + number)
    (root / "Annotations").mkdir()
    (root / "Annotations" / "p0.xml").write_text(xml("p0.png", ("cat", 1, 1, 50, 40), ("dog", 20, 30, 90, 80)))
    (root / "Annotations" / "p1.xml").write_text(xml("other-name.png", ("cat", 11, 11, 30, 30), difficult=1))
    (root / "Annotations" / "p2.xml").write_text(
        xml(
            "p2.png",
            ("cat", 5, 5, 5, 20),
            ("cat", 40, 5, 30, 20),
            ("dog", 60, 10, 140, 50),
            ("dog", 200, 200, 240, 240),
            ("dog", 6, 6, 9, 9),
        )
    )
    (root / "Annotations" / "p3.xml").write_text("<annotation><object>")
    main = root / "ImageSets" / "Main"
    main.mkdir(parents=True)
    (main / "train.txt").write_text("p0\np2\n")
    (main / "val.txt").write_text("p1\np3\np9\n")
    return root


class TestVoc:
    def test_devkit(self, voc: Path) -> None:
        data = read(voc, task="detect")
        assert data.classes == ("cat", "dog")
        first = objects_of(data.samples[0])
        assert first.boxes.tolist() == [[0, 0, 50, 40], [19, 29, 90, 80]]  # pixels are counted from 1 there
        assert [sample.side for sample in data.samples] == ["train", "train", "val"]
        assert objects_of(data.samples[2]).ignored.tolist() == [True]
        assert data.samples[2].path.name == "p1.png"  # found by the XML's own name

    def test_findings_name_file_line_and_reason(self, voc: Path) -> None:
        data = read(voc, task="detect")
        kinds = {finding.kind: finding for finding in data.findings}
        assert set(kinds) == {"zero-area", "inverted", "outside", "unreadable", "missing-annotation", "renamed"}
        assert kinds["zero-area"].file.endswith("p2.xml:3")
        assert kinds["inverted"].file.endswith("p2.xml:5")
        outside = [finding.reason for finding in data.findings if finding.kind == "outside"]
        assert ["cut to it" in outside[0], "left out" in outside[1]] == [True, True]
        assert objects_of(data.samples[1]).boxes.tolist() == [[59, 9, 100, 50], [5, 5, 9, 9]]

    def test_lists(self, voc: Path) -> None:
        assert len(read(voc, task="detect", split="train")) == 2
        assert len(read(voc, task="detect", split="trainval")) == 3
        with pytest.raises(DataError, match=r"no list 'test'.*train, val"):
            read(voc, task="detect", split="test")

    def test_loose_files_beside_pictures_count_from_the_corner(self, tmp_path: Path) -> None:
        picture(tmp_path / "loose" / "a.png")
        (tmp_path / "loose" / "a.xml").write_text(xml("a.png", ("cat", 10, 10, 20, 20)))
        data = read(tmp_path / "loose", task="detect")
        assert objects_of(data.samples[0]).boxes.tolist() == [[10, 10, 20, 20]]


def coco(root: Path, name: str = "instances_train.json", **changes: Any) -> Path:
    picture(root / "images" / "a.png")
    picture(root / "images" / "b.png", shade=10)
    facts = {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 100, "height": 80},
            {"id": 9, "file_name": "b.png", "width": 100, "height": 80},
        ],
        "categories": [{"id": 90, "name": "truck"}, {"id": 3, "name": "car"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 10, 30, 20], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 90, "bbox": [50, 10, 30, 20], "iscrowd": 1},
        ],
    }
    path = root / "annotations" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts | changes))
    return path


class TestCoco:
    def test_ids_become_contiguous(self, tmp_path: Path) -> None:
        coco(tmp_path)
        data = read(tmp_path, task="detect")
        assert data.classes == ("car", "truck")
        assert objects_of(data.samples[0]).boxes.tolist() == [[10, 10, 40, 30], [50, 10, 80, 30]]
        assert objects_of(data.samples[0]).labels.tolist() == [0, 1]
        assert objects_of(data.samples[0]).ignored.tolist() == [False, True]
        assert len(objects_of(data.samples[1])) == 0  # a picture without objects is a picture

    def test_a_file_alone_and_splits_by_name(self, tmp_path: Path) -> None:
        file = coco(tmp_path)
        coco(tmp_path, "instances_val2017.json")
        assert len(read(file, task="detect")) == 2
        assert {sample.side for sample in read(tmp_path, task="detect").samples} == {"train", "val"}
        assert len(read(tmp_path, task="detect", split="val2017")) == 2
        with pytest.raises(DataError, match="no COCO file of split 'test'"):
            read(tmp_path, task="detect", split="test")

    def test_wrong_entries_are_findings(self, tmp_path: Path) -> None:
        wrong = [
            {"image_id": 7, "category_id": 5, "bbox": [1, 1, 5, 5]},
            {"image_id": 1, "category_id": 3, "bbox": [1, 1, 5, 5]},
            {"image_id": 7, "category_id": 3, "bbox": [1, 1, 5]},
            {"image_id": 7, "category_id": 3, "bbox": [1, 1, float("nan"), 5]},
        ]
        coco(tmp_path, annotations=wrong)
        kinds = [finding.kind for finding in read(tmp_path, task="detect").findings]
        assert kinds == ["unknown-class", "unknown-picture", "malformed", "not-a-number"]

    def test_not_json(self, tmp_path: Path) -> None:
        path = coco(tmp_path)
        path.write_text(path.read_text()[:-30])
        with pytest.raises(UnreadableError, match="cannot be read as JSON"):
            read(tmp_path, task="detect")

    def test_key_points(self, tmp_path: Path) -> None:
        categories = [{"id": 1, "name": "person", "keypoints": ["nose", "left_eye", "right_eye"], "skeleton": [[1, 2], [1, 3]]}]
        entry = {"image_id": 7, "category_id": 1, "bbox": [10, 10, 30, 20], "keypoints": [20, 15, 2, 18, 12, 1, 0, 0, 0]}
        coco(tmp_path, "person_keypoints_train.json", categories=categories, annotations=[entry])
        data = read(tmp_path, task="keypoints")
        assert data.layout is not None
        assert data.layout.pairs == ((1, 2),)
        assert data.layout.skeleton == ((0, 1), (0, 2))
        assert objects_of(data.samples[0]).points.tolist() == [[[20, 15, 2], [18, 12, 1], [0, 0, 0]]]


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    root = tmp_path / "yolo"
    for side in ("train", "val"):
        picture(root / "images" / side / f"{side}.png", shade=len(side))
        (root / "labels" / side).mkdir(parents=True)
    (root / "labels" / "train" / "train.txt").write_text(
        "1 0.5 0.5 0.2 0.4\n7 0.5 0.5 0.1 0.1\n0 0.1 0.1 0.3 0.1 0.3 0.4\nx y\n0 0.5 0.5\n"
    )
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n")
    return root


class TestYolo:
    def test_boxes_polygons_and_what_is_wrong(self, yolo: Path) -> None:
        data = read(yolo, task="detect")
        assert data.classes == ("cat", "dog")
        assert np.allclose(objects_of(data.samples[0]).boxes, [[40, 24, 60, 56], [10, 8, 30, 32]], atol=1e-3)
        assert [sample.side for sample in data.samples] == ["train", "val"]
        assert [(finding.kind, finding.file.rsplit("/", 1)[1]) for finding in data.findings] == [
            ("unknown-class", "train.txt:2"), ("not-a-number", "train.txt:4"), ("malformed", "train.txt:5"), ("no-label-file", "val.png"),
        ]  # fmt: skip

    def test_without_a_yaml_file(self, yolo: Path) -> None:
        (yolo / "data.yaml").unlink()
        with pytest.raises(UnreadableError, match="no class names"):
            read(yolo, task="detect")
        (yolo / "classes.txt").write_text("cat\ndog\n")
        assert read(yolo, task="detect").classes == ("cat", "dog")

    def test_names_with_gaps_and_splits_that_are_not_there(self, yolo: Path) -> None:
        with pytest.raises(DataError, match=r"no split 'test'"):
            read(yolo, task="detect", split="test")
        (yolo / "data.yaml").write_text("train: images/train\nnames: {0: cat, 2: dog}\n")
        with pytest.raises(UnreadableError, match=r"without gaps"):
            read(yolo, task="detect")


class TestTables:
    def test_boxes(self, tmp_path: Path) -> None:
        picture(tmp_path / "images" / "a.png")
        picture(tmp_path / "images" / "b.png", shade=9)
        (tmp_path / "train_labels.csv").write_text(
            "filename,class,xmin,ymin,xmax,ymax\na.png,cat,1,2,30,40\na.png,dog,5,5,9,9\nb.png,,,,,\n"
        )
        (tmp_path / "test_labels.csv").write_text("filename,class,xmin,ymin,xmax,ymax\nb.png,cat,1,2,3000,40\n")
        data = read(tmp_path, task="detect")
        assert [(sample.side, len(objects_of(sample))) for sample in data.samples] == [("train", 2), ("train", 0), ("val", 1)]
        assert data.findings[0].kind == "outside"
        assert data.findings[0].file.endswith("test_labels.csv:2")
        assert len(read(tmp_path, task="localize", split="test_labels.csv")) == 1
        with pytest.raises(UnreadableError, match=r"no table 'no\.csv'"):
            read(tmp_path, task="detect", split="no.csv")

    def test_key_points(self, tmp_path: Path) -> None:
        picture(tmp_path / "a.png")
        picture(tmp_path / "b.png", shade=9)
        (tmp_path / "points.csv").write_text("path,left_eye_x,left_eye_y,right_eye_x,right_eye_y\na.png,10,10,20,12\nb.png,,,,\n")
        data = read(tmp_path / "points.csv", task="keypoints")
        assert data.classes == ("left_eye", "right_eye")
        assert data.counts() == {"left_eye": 1, "right_eye": 1}
        assert [finding.kind for finding in data.findings] == ["no-points"]

    @pytest.mark.parametrize("hidden", [False, True])
    def test_joints(self, tmp_path: Path, hidden: bool) -> None:
        picture(tmp_path / "images" / "im1.png")
        joints = np.tile(np.array([[30.0, 20.0, 1.0]]), (14, 1))[..., None]
        joints[3] = [[-5.0], [-5.0], [0.0]]
        savemat(tmp_path / "joints.mat", {"joints": joints.transpose(1, 0, 2) if hidden else joints})
        points = objects_of(read(tmp_path, task="keypoints").samples[0]).points[0]
        assert points[0].tolist() == [29.5, 19.5, 1.0 if hidden else 2.0]
        assert points[3, 2] == (2.0 if hidden else 0.0)

    def test_joints_of_other_pictures(self, tmp_path: Path) -> None:
        picture(tmp_path / "images" / "im1.png")
        savemat(tmp_path / "joints.mat", {"joints": np.zeros((14, 3, 2))})
        with pytest.raises(DataError, match=r"joints of 2 pictures"):
            read(tmp_path, task="keypoints")
        savemat(tmp_path / "joints.mat", {"joints": np.zeros((4, 4))})
        with pytest.raises(UnreadableError, match="shape"):
            read(tmp_path, task="keypoints")


@pytest.mark.parametrize("form", ["coco", "voc", "yolo", "csv"])
def test_the_same_boxes_through_every_writer(form: str, voc: Path, tmp_path: Path) -> None:
    (voc / "Annotations" / "p3.xml").unlink()
    before = read(voc, task="detect", split="trainval")
    out = tmp_path / "out"
    convert(voc, out, form, task="detect", split="trainval")
    after = read(out, task="detect")
    assert after.classes == before.classes
    assert not [finding for finding in after.findings if finding.kind != "missing-annotation"]
    found = {sample.path.name: objects_of(sample) for sample in after.samples}
    for sample in before.samples:
        one, other = objects_of(sample), found[sample.path.name]
        kept = one if form not in ("yolo", "csv") else one.pick(~one.ignored)
        assert np.allclose(kept.boxes, other.boxes, atol=0.1)
        assert kept.labels.tolist() == other.labels.tolist()
    with pytest.raises(OnelookError, match="not empty"):
        convert(voc, out, form, task="detect", split="trainval")


def test_check_lists_what_readers_found(voc: Path) -> None:
    report = check(voc, task="detect")
    assert {"zero-area", "inverted", "outside", "unreadable"} <= {finding.kind for finding in report.findings}
    assert not report.clean


def test_leak_between_splits(voc: Path) -> None:
    (voc / "ImageSets" / "Main" / "val.txt").write_text("p0\n")
    report = check(voc, task="detect", train_split="train", val_split="val")
    assert "leak" in {finding.kind for finding in report.findings}


def test_no_boxes_and_no_such_thing(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no boxes found here; expected a COCO JSON"):
        read(photos, task="detect")
    with pytest.raises(UnreadableError, match="no such folder"):
        read(tmp_path / "nowhere", task="detect")
    with pytest.raises(DataError, match=r"no key points found here"):
        read(photos, task="keypoints")


def test_names_in_pairs() -> None:
    assert paired_names(("nose", "left_eye", "right_eye", "Right ankle", "Left ankle")) == ((1, 2), (4, 3))
    assert paired_names(("neck", "head")) == ()

"""What people's files really look like: each habit is used rightly, or is a finding that names the file and the reason.

Made after public bug reports of other toolkits; nothing may be lost or bound to another picture without a word.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask
from PIL import Image

from onelook.data.samples import Dataset, mask_of, objects_of
from onelook.data.split import assign_folds, split
from onelook.errors import DataError, UnreadableError
from onelook.workflows.data import check, convert, read
from onelook.workflows.tasks import guess_task


def picture(path: Path, size: tuple[int, int] = (100, 80), shade: int = 120) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, shade, shade)).save(path)
    return path


def kinds(data: Dataset) -> Counter[str]:
    return Counter(finding.kind for finding in data.findings)


def names(data: Dataset) -> list[str]:
    return [sample.path.name for sample in data.samples]


class TestTables:
    @pytest.mark.parametrize(
        "text",
        [
            "path;label\na.png;cat\nb.png;dog\n",
            "\ufeffpath;label\r\na.png;cat\r\nb.png;dog\r\n",
            "path\tlabel\na.png\tcat\nb.png\tdog\n",
            "path,label\na.png,cat\nb.png,dog\n,\n,\n",
            ",path,label\n0,a.png,cat\n1,b.png,dog\n",
            "Unnamed: 0,file_name,label\n0,a.png,cat\n1,b.png,dog\n",
            "path,label,,\na.png,cat,,\nb.png,dog,,\n",
            "image,label\na,cat\nb,dog\n",
            "path,label\nsome\\where\\a.png,cat\nD:\\x\\b.png,dog\n",
            "path,label,note\na.png,cat,blurred\nb.png,dog,\n",
        ],
    )
    def test_are_read_as_they_are_meant(self, tmp_path: Path, text: str) -> None:
        picture(tmp_path / "images" / "a.png")
        picture(tmp_path / "images" / "b.png")
        (tmp_path / "labels.csv").write_text(text, encoding="utf-8", newline="")
        data = read(tmp_path / "labels.csv", task="classify")
        assert data.classes == ("cat", "dog")
        assert [(sample.path.name, sample.target) for sample in data.samples] == [("a.png", 0), ("b.png", 1)]
        assert all(sample.path.is_file() for sample in data.samples)
        assert not data.findings

    def test_rows_without_label_path_or_side_are_findings(self, tmp_path: Path) -> None:
        (tmp_path / "labels.csv").write_text(
            "path,label,split\na.png,cat,train\nb.png,,train\n,dog,val\nc.png,dog,unused\nd.png,dog,test\n"
        )
        data = read(tmp_path / "labels.csv", task="classify")
        assert kinds(data) == {"no-label": 1, "no-path": 1, "unknown-side": 1}
        assert [(sample.path.name, sample.side) for sample in data.samples] == [("a.png", "train"), ("d.png", "val")]
        assert "1 no-label" in data.describe()

    @pytest.mark.parametrize("form", ["csv", "jsonl"])
    def test_metadata_beside_pictures_and_in_sides(self, tmp_path: Path, form: str) -> None:
        def write(folder: Path, labels: dict[str, str]) -> None:
            for name in labels:
                picture(folder / name)
            rows = [json.dumps({"file_name": name, "label": label, "boxes": [1]}) for name, label in labels.items()]
            table = ["file_name,label", *(",".join(pair) for pair in labels.items())]
            (folder / f"metadata.{form}").write_text("\n".join(rows if form == "jsonl" else table))

        write(tmp_path / "one", {"a.png": "cat", "b.png": "dog"})
        write(tmp_path / "two" / "train", {"a.png": "cat", "b.png": "dog"})
        write(tmp_path / "two" / "test", {"a.png": "dog"})
        one, two = read(tmp_path / "one", task="classify"), read(tmp_path / "two", task="classify")
        assert (one.classes, len(one)) == (("cat", "dog"), 2)
        assert [(sample.path.parent.name, sample.side, sample.target) for sample in two.samples] == [
            ("train", "train", 0), ("train", "train", 1), ("test", "val", 1),
        ]  # fmt: skip

    def test_decimal_commas_and_utf_16(self, tmp_path: Path) -> None:
        (tmp_path / "weights.csv").write_text("path;weight\na.png;3,5\nb.png;-2\n", encoding="utf-16")
        assert [sample.target for sample in read(tmp_path / "weights.csv", task="regress").samples] == [(3.5,), (-2.0,)]

    @pytest.mark.parametrize(("encoding", "name"), [("utf-8", "猫"), ("gb18030", "花猫与狗"), ("cp1252", "Löwe"), ("utf-8-sig", "Löwe")])
    def test_letters_of_other_systems(self, tmp_path: Path, encoding: str, name: str) -> None:
        (tmp_path / "t.csv").write_bytes(f"path,label\na.png,{name}\nb.png,dog\n".encode(encoding))
        assert name in read(tmp_path / "t.csv", task="classify").classes
        root = yolo(tmp_path / "set", "")
        (root / "classes.txt").write_bytes(f"{name}\n".encode(encoding))
        assert read(root, task="detect").classes == (name,)

    def test_two_columns_of_one_name_and_a_missing_header(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("path,label,label\na.png,x,y\n")
        with pytest.raises(DataError, match="two columns are called 'label'"):
            read(tmp_path / "t.csv", task="classify")
        (tmp_path / "t.csv").write_text("000.jpg,24,24,65,53,ball\n")
        with pytest.raises(DataError, match=r"first line \(000\.jpg,24,24,65,53,ball\) is no header"):
            read(tmp_path / "t.csv", task="detect")
        (tmp_path / "t.csv").write_text("a.png,cat\nb.png,dog\n")
        with pytest.raises(DataError, match="header line is missing"):
            read(tmp_path / "t.csv", task="classify")


class TestFolders:
    def test_sides_under_the_names_that_people_use(self, tmp_path: Path) -> None:
        for side in ("Training", "Testing"):
            for kind in ("cat", "dog"):
                picture(tmp_path / side / kind / f"{side}.png")
        data = read(tmp_path)
        assert data.classes == ("cat", "dog")
        assert Counter(sample.side for sample in data.samples) == {"train": 2, "val": 2}

    def test_a_test_side_beside_a_validation_side_is_said_to_be_left(self, tmp_path: Path) -> None:
        for side in ("train", "valid", "test_set"):
            for kind in ("cat", "dog"):
                picture(tmp_path / side / kind / "1.png")
        data = read(tmp_path)
        assert len(data) == 4
        assert "not used: 2 pictures of test" in data.found

    def test_a_folder_in_a_folder_and_what_is_no_picture(self, tmp_path: Path) -> None:
        for kind in ("cat", "dog"):
            picture(tmp_path / "photos" / kind / "1.png")
        (tmp_path / "photos" / "dog" / "notes.txt").write_bytes(b"x")
        picture(tmp_path / "photos" / "dog" / ".ipynb_checkpoints" / "1-checkpoint.png")
        data = read(tmp_path)
        assert (data.classes, len(data)) == (("cat", "dog"), 2)
        assert [finding.kind for finding in data.findings] == ["not-a-picture"]


def coco(root: Path, annotations: list[dict[str, Any]], **changes: Any) -> Path:
    for name in ("a.png", "b.png"):
        picture(root / "images" / name)
    images = [{"id": number, "file_name": f"{name}.png", "width": 100, "height": 80} for number, name in enumerate("ab", start=1)]
    facts = {"images": images, "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}], "annotations": annotations}
    (root / "instances.json").write_text(json.dumps(facts | changes))
    return root


class TestCoco:
    def test_ids_as_text_and_floats(self, tmp_path: Path) -> None:
        coco(
            tmp_path,
            [
                {"image_id": "1", "category_id": "2", "bbox": [1, 1, 9, 9]},
                {"image_id": 2.0, "category_id": 1, "bbox": ["1", "1", "9", "9"]},
            ],
            categories=[{"id": "2", "name": "dog"}, {"id": 1, "name": "cat"}, {"id": "x", "name": "cow"}],
        )
        data = read(tmp_path, task="detect")
        assert data.classes == ("cat", "dog", "cow")
        assert [objects_of(sample).labels.tolist() for sample in data.samples] == [[1], [0]]
        assert not data.findings
        assert {finding.kind: finding.reason for finding in check(tmp_path, task="detect").findings}["empty-class"].startswith(
            "nothing is labelled cow"
        )

    def test_polygons_without_boxes_and_flat_ones(self, tmp_path: Path) -> None:
        polygon = [10, 10, 40, 10, 40, 30, 10, 30]
        coco(
            tmp_path,
            [
                {"image_id": 1, "category_id": 1, "bbox": [], "segmentation": [polygon, [3, 3, 9, 9]]},
                {"image_id": 2, "category_id": 2, "segmentation": [str(value) for value in polygon]},
            ],
        )
        assert [objects_of(sample).boxes.tolist() for sample in read(tmp_path, task="detect").samples] == [[[10, 10, 40, 30]]] * 2
        masks = read(tmp_path, task="segment")
        assert [mask_of(sample).pixels for sample in masks.samples] == [(8000 - 600, 600, 0), (8000 - 600, 0, 600)]
        assert kinds(masks) == {"malformed": 1}  # the polygon of two points, and nothing else of that object

    def test_run_lengths_as_list_and_as_text(self, tmp_path: Path) -> None:
        inside = np.zeros((80, 100), dtype=np.uint8, order="F")
        inside[20:50, 30:70] = 1
        packed = coco_mask.encode(inside)
        flat, counts = inside.T.ravel(), []
        edges = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), len(flat)]
        counts = [int(count) for count in np.diff(edges)]
        shapes = [{"counts": counts, "size": [80, 100]}, {"counts": packed["counts"].decode(), "size": [80, 100]}]
        coco(tmp_path, [{"image_id": n, "category_id": 1, "iscrowd": 1, "segmentation": shape} for n, shape in enumerate(shapes, start=1)])
        for sample in read(tmp_path, task="segment").samples:
            assert (mask_of(sample).read().numpy() == inside).all()
        assert objects_of(read(tmp_path, task="detect").samples[0]).boxes.tolist() == [[30, 20, 70, 50]]

    def test_key_points_with_null_as_triples_and_of_several_kinds(self, tmp_path: Path) -> None:
        categories = [{"id": 1, "name": "box", "keypoints": ["left", "right"]}, {"id": 2, "name": "rod", "keypoints": ["head", "x", "y"]}]
        entries = [
            {"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "keypoints": [[5, 6, 2], [None, None, 0]]},
            {"image_id": 2, "category_id": 1, "bbox": [1, 1, 9, 9], "keypoints": [5, 6, 2, 7, 8, 1]},
            {"image_id": 2, "category_id": 1, "bbox": [1, 1, 9, 9], "keypoints": [5, 6, 2]},
            {"image_id": 2, "category_id": 2, "bbox": [1, 1, 9, 9], "keypoints": [5, 6, 2, 5, 6, 2, 5, 6, 2]},
        ]
        coco(tmp_path, entries, categories=categories)
        data = read(tmp_path, task="keypoints")
        assert [objects_of(sample).points.tolist() for sample in data.samples] == [[[[5, 6, 2], [0, 0, 0]]], [[[5, 6, 2], [7, 8, 1]]]]
        assert kinds(data) == {"other-points": 1, "malformed": 1}
        assert "1 annotations are left out" in next(finding.reason for finding in data.findings if finding.kind == "other-points")

    def test_the_name_that_others_are_grouped_by_is_no_class(self, tmp_path: Path) -> None:
        categories = [{"id": 0, "name": "animals", "supercategory": "none"}, {"id": 1, "name": "cat", "supercategory": "animals"}]
        coco(tmp_path, [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}], categories=categories)
        data = read(tmp_path, task="detect")
        assert data.classes == ("cat",)
        assert kinds(data) == {"group-name": 1}

    def test_equal_names_in_two_splits(self, tmp_path: Path) -> None:
        for number, side in enumerate(("train", "val")):
            picture(tmp_path / "images" / side / "1.png", shade=number)
            (tmp_path / f"instances_{side}.json").write_text(
                json.dumps(
                    {
                        "images": [{"id": 1, "file_name": "1.png", "width": 100, "height": 80}],
                        "categories": [{"id": 1, "name": "cat"}],
                        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}],
                    }
                )
            )
        data = read(tmp_path, task="detect")
        assert [(sample.side, sample.path.parent.name) for sample in data.samples] == [("train", "train"), ("val", "val")]


def yolo(root: Path, yaml: str, images: str = "images/train", labels: str = "labels/train", line: str = "0 .5 .5 .2 .2") -> Path:
    for name in ("a", "b"):
        picture(root / images / f"{name}.png")
        (root / labels).mkdir(parents=True, exist_ok=True)
        (root / labels / f"{name}.txt").write_text(f"{line}\n")
    if yaml:
        (root / "data.yaml").write_text(yaml)
    return root


class TestYolo:
    @pytest.mark.parametrize(
        ("yaml", "classes"),
        [
            ("train: images/train\nnames: [no, yes]\n", ("no", "yes")),
            ("train: images/train\nnames: {0: on, 1: off}\n", ("on", "off")),
            ("train: images/train\nnames: [010, 1e3]\n", ("010", "1e3")),
            ("train: D:\\data\\set\\images\\train\nval:\nnames: [x]\n", ("x",)),
            ("path: C:\\gone\ntrain: .\\images\\train\ntest: null\nnames: [x]\n", ("x",)),
        ],
    )
    def test_names_and_paths_are_what_is_written(self, tmp_path: Path, yaml: str, classes: tuple[str, ...]) -> None:
        data = read(yolo(tmp_path, yaml), task="detect")
        assert (data.classes, len(data), data.findings) == (classes, 2, ())

    def test_a_backslash_in_quotes_names_its_line(self, tmp_path: Path) -> None:
        with pytest.raises(UnreadableError, match=r"data\.yaml, line 2: .*a backslash must be doubled"):
            read(yolo(tmp_path, 'names: [x]\ntrain: "C:\\Users\\x"\n'), task="detect")

    def test_capitals_lists_of_other_machines_and_darknet(self, tmp_path: Path) -> None:
        capital = yolo(tmp_path / "1", "train: Images/train\nnames: [x]\n", "Images/train", "Labels/train")
        listed = yolo(tmp_path / "2", "train: train.txt\nnames: [x]\n")
        (listed / "train.txt").write_text("H:/sets/robot/images/train/a.png\nH:/sets/robot/images/train/b.png\n")
        darknet = yolo(tmp_path / "3", "", "obj_train_data", "obj_train_data")
        (darknet / "obj.data").write_text("classes = 1\ntrain = data/train.txt\nnames = data/obj.names\n")
        (darknet / "obj.names").write_text("x\n")
        (darknet / "train.txt").write_text("data/obj_train_data/a.png\ndata/obj_train_data/b.png\n")
        beside = yolo(tmp_path / "4", "", ".", ".")
        (beside / "classes.txt").write_text("x\n")
        for root in (capital, listed, darknet, beside):
            data = read(root, task="detect")
            assert data.counts() == {"x": 2}, root
            assert not data.findings, root

    def test_missing_and_orphaned_label_files(self, tmp_path: Path) -> None:
        root = yolo(tmp_path, "train: images/train\nnames: [x]\n")
        (root / "labels" / "train" / "a.txt").rename(root / "labels" / "train" / "c.txt")
        data = read(root, task="detect")
        assert {finding.kind: Path(finding.file).name for finding in data.findings} == {
            "no-label-file": "a.png",
            "missing-picture": "c.txt",
        }
        for file in (root / "labels" / "train").iterdir():
            file.unlink()
        with pytest.raises(DataError, match="none of 2 pictures has a label file; that of the first would be"):
            read(root, task="detect")

    @pytest.mark.parametrize(
        ("line", "kind", "reason"), [("0 44 38 41 29", "in-pixels", "are pixels"), ("0,.5,.5,.1,.1", "not-a-number", "not commas")]
    )
    def test_pixels_and_commas_say_so(self, tmp_path: Path, line: str, kind: str, reason: str) -> None:
        data = read(yolo(tmp_path, "train: images/train\nnames: [x]\n", line=line), task="detect")
        assert kinds(data) == {kind: 2}
        assert reason in data.findings[0].reason

    def test_two_pictures_never_share_a_label_file(self, tmp_path: Path) -> None:
        root = yolo(tmp_path, "train: images/train\nnames: [x]\n")
        Image.new("RGB", (50, 50)).save(root / "images" / "train" / "a.jpg")
        data = read(root, task="detect")
        assert names(data) == ["b.png"]
        assert kinds(data) == {"ambiguous-label": 1}

    def test_polygons_are_masks_too(self, tmp_path: Path) -> None:
        data = read(yolo(tmp_path, "train: images/train\nnames: [x]\n", line="0 .1 .25 .5 .25 .5 .75 .1 .75"), task="segment")
        assert mask_of(data.samples[0]).pixels == (8000 - 40 * 40, 40 * 40)


def xml(name: str, inner: str = "", size: tuple[int, int] = (100, 80)) -> str:
    box = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>"
    shape = inner or box
    return (
        f"<annotation><filename>{name}</filename><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        f"<object><name>cat</name>{shape}</object></annotation>"
    )


class TestVoc:
    def test_sides_by_folders_keep_equal_names_apart(self, tmp_path: Path) -> None:
        for number, side in enumerate(("train", "valid", "test")):
            picture(tmp_path / side / "1.png", shade=number)
            (tmp_path / side / "1.xml").write_text(xml("1.png"))
        data = read(tmp_path, task="detect")
        assert [(sample.path.parent.name, sample.side) for sample in data.samples] == [("train", "train"), ("valid", "val")]
        assert "not used: 1 pictures of test" in data.found
        assert len(read(tmp_path, task="detect", split="test")) == 1

    def test_renamed_files_never_label_one_picture_twice(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            picture(tmp_path / f"{name}.png")
        for name, said in (("a", "a.png"), ("b", "a.png"), ("c", "a.png")):
            (tmp_path / f"{name}.xml").write_text(xml(said))
        data = read(tmp_path, task="detect")
        assert names(data) == ["a.png", "b.png"]
        assert kinds(data) == {"renamed": 1, "labelled-twice": 1}

    def test_polygons_and_declared_encodings(self, tmp_path: Path) -> None:
        picture(tmp_path / "é.png")
        corners = "".join(f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate([(10, 10), (40, 10), (40, 30), (10, 30)], start=1))
        text = '<?xml version="1.0" encoding="ISO-8859-1"?>' + xml("é.png", f"<polygon>{corners}</polygon>")
        (tmp_path / "é.xml").write_text(text, encoding="latin-1")
        assert objects_of(read(tmp_path, task="detect").samples[0]).boxes.tolist() == [[10, 10, 40, 30]]
        assert mask_of(read(tmp_path, task="segment").samples[0]).pixels == (8000 - 600, 600)


def masks(root: Path, pairs: dict[str, str], values: tuple[int, ...] = (0, 255)) -> Path:
    """Pictures and masks by their paths; of each mask the left half is the second value."""
    for name, mask in pairs.items():
        picture(root / name, (40, 30))
        pixels = np.full((30, 40), values[0], dtype=np.uint8)
        pixels[:, :20] = values[1]
        for place, value in enumerate(values[2:]):
            pixels[place, 30:] = value
        (root / mask).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / mask)
    return root


class TestMasks:
    @pytest.mark.parametrize(
        "pairs",
        [
            {"images/a.jpg": "masks/a.jpg.png", "images/b.jpg": "masks/b.jpg.png"},
            {"Training_Images/a.jpg": "Ground_Truth/a.png", "Training_Images/b.jpg": "Ground_Truth/b.png"},
            {
                "leftImg8bit/train/town/t_1_leftImg8bit.png": "gtFine/train/town/t_1_gtFine_labelIds.png",
                "leftImg8bit/train/town/t_2_leftImg8bit.png": "gtFine/train/town/t_2_gtFine_labelIds.png",
            },
        ],
    )
    def test_pairs_by_the_names_that_tools_write(self, tmp_path: Path, pairs: dict[str, str]) -> None:
        masks(tmp_path, pairs)
        for mask in pairs.values():
            if "labelIds" in mask:
                Image.new("L", (40, 30), 7).save(tmp_path / mask.replace("labelIds", "instanceIds"))
        data = read(tmp_path, task="segment")
        assert [mask_of(sample).pixels for sample in data.samples] == [(600, 600)] * 2
        assert not data.findings

    def test_classes_counted_from_one(self, tmp_path: Path) -> None:
        masks(tmp_path, {"images/a.jpg": "masks/a.png"}, (0, 1, 2))
        (tmp_path / "classes.txt").write_text("ball\nbrick\n")
        data = read(tmp_path, task="segment")
        assert data.classes == ("background", "ball", "brick")
        assert mask_of(data.samples[0]).pixels == (590, 600, 10)
        assert "1 to 2 as the lines of classes.txt" in data.found

    @pytest.mark.parametrize("colour", [0, 255])
    def test_shapes_that_are_in_the_transparency_only(self, tmp_path: Path, colour: int) -> None:
        masks(tmp_path, {"images/a.jpg": "masks/a.png"})
        pixels = np.full((30, 40, 4), colour, dtype=np.uint8)
        pixels[..., 3] = 0
        pixels[:, :10, 3] = 255
        Image.fromarray(pixels).save(tmp_path / "masks" / "a.png")
        assert mask_of(read(tmp_path, task="segment").samples[0]).pixels == (900, 300)

    @pytest.mark.parametrize("form", ["masks/a_{n}.png", "masks/a/{n}.png"])
    def test_masks_of_single_objects_are_put_together(self, tmp_path: Path, form: str) -> None:
        picture(tmp_path / "images" / "a.jpg", (40, 30))
        for number in range(3):
            pixels = np.zeros((30, 40), dtype=np.uint8)
            pixels[:, 10 * number : 10 * number + 5] = 255
            path = tmp_path / form.format(n=number)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        data = read(tmp_path, task="segment")
        assert mask_of(data.samples[0]).pixels == (1200 - 450, 450)
        assert "put together" in data.found


class TestGroups:
    def boxes(self, root: Path) -> Path:
        rows = ["path,class,xmin,ymin,xmax,ymax,cow"]
        for number in range(12):
            picture(root / f"cow{number // 3}_{number}.png", shade=number)
            rows.append(f"cow{number // 3}_{number}.png,cat,1,1,9,9,{number // 3 if number < 9 else ''}")
        (root / "boxes.csv").write_text("\n".join(rows))
        return root

    def test_by_a_column_of_boxes_and_by_file_names(self, tmp_path: Path) -> None:
        root = self.boxes(tmp_path)
        by_column = read(root, task="detect", group="cow")
        assert [sample.group for sample in by_column.samples] == ["0"] * 3 + ["1"] * 3 + ["2"] * 3 + [None] * 3  # blank cells are no group
        by_name = read(root, task="detect", group="(cow[0-9]+)")
        assert [sample.group for sample in by_name.samples] == [f"cow{number // 3}" for number in range(12)]
        with pytest.raises(DataError, match="no column 'farm'"):
            read(root, task="detect", group="farm")
        with pytest.raises(DataError, match="is in no file name"):
            read(root, task="detect", group="(pig[0-9]+)")

    def test_are_never_parted_however_few(self, tmp_path: Path) -> None:
        data = read(self.boxes(tmp_path), task="detect", group="(cow[0-9]+)")
        for share in (0.05, 0.25, 0.5):
            train, val = split(data, share, 0)
            assert sorted(train + val) == list(range(12))
            assert not {data.samples[i].group for i in train} & {data.samples[i].group for i in val}
        folds = assign_folds(data, 9, 0)
        assert all(len({folds[i] for i in range(12) if data.samples[i].group == group}) == 1 for group in ("cow0", "cow1", "cow2", "cow3"))
        with pytest.raises(DataError, match="all 3 pictures are of one group"):
            split(data.pick(range(3)), 0.5, 0)


class TestConvert:
    def test_pictures_of_one_stem_keep_their_boxes(self, tmp_path: Path) -> None:
        picture(tmp_path / "in" / "a.png")
        picture(tmp_path / "in" / "a.jpg", shade=9)
        (tmp_path / "in" / "boxes.csv").write_text(
            "path,class,xmin,ymin,xmax,ymax\na.png,cat,1,1,9,9\na.jpg,dog,2,2,8,8\na.jpg,dog,3,3,7,7\n"
        )
        for form in ("yolo", "voc", "csv", "coco"):
            done = convert(tmp_path / "in", tmp_path / form, form)
            assert (done.written, done.labels, done.whole) == (3, 3, True)
            assert read(tmp_path / form, task="detect").counts() == {"cat": 1, "dog": 2}

    def test_what_a_format_cannot_hold_is_counted(self, tmp_path: Path) -> None:
        coco(tmp_path / "in", [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9 + crowd, 9], "iscrowd": crowd} for crowd in (0, 1)])
        done = convert(tmp_path / "in", tmp_path / "yolo", "yolo", task="detect")
        assert (done.written, done.labels, done.whole) == (1, 2, False)
        with pytest.raises(DataError, match="is the data itself"):
            convert(tmp_path / "in", tmp_path / "in", "csv", task="detect")


class TestTasks:
    def test_are_read_off_the_data(self, tmp_path: Path, photos: Path) -> None:
        polygons = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "segmentation": [[1, 1, 9, 1, 9, 9]]}
        coco(tmp_path / "coco", [polygons])
        yolo(tmp_path / "yolo", "train: images/train\nnames: [x]\n")
        masks(tmp_path / "masks", {"images/a.jpg": "masks/a.png"})
        (tmp_path / "classes.csv").write_text("path,label\na.png,1\nb.png,2\n")
        (tmp_path / "numbers.csv").write_text("path,weight\na.png,1.5\nb.png,2\n")
        (tmp_path / "points.csv").write_text("path,eye_x,eye_y\na.png,1,2\n")
        found = {name: guess_task(tmp_path / name) for name in ("coco", "yolo", "masks", "classes.csv", "numbers.csv", "points.csv")}
        assert {name: guess.task for name, guess in found.items()} == {
            "coco": "detect", "yolo": "detect", "masks": "segment", "classes.csv": "classify", "numbers.csv": "regress",
            "points.csv": "keypoints",
        }  # fmt: skip
        assert set(found["coco"].others) == {"localize", "segment"}
        assert "--task segment" in found["coco"].in_words()
        assert guess_task(photos).task == "classify"
        with pytest.raises(DataError, match="no labelled pictures are recognised"):
            guess_task(picture(tmp_path / "x.png"))


def test_check_never_says_nothing_found_when_nothing_is_labelled(tmp_path: Path) -> None:
    coco(tmp_path, [])
    report = check(tmp_path, task="detect")
    assert not report.clean
    assert "none of 2 pictures has boxes" in {finding.reason for finding in report.findings}


def test_check_says_what_it_read(tmp_path: Path) -> None:
    for side in ("train", "val"):
        for kind in ("cat", "dog"):
            picture(tmp_path / side / kind / f"{side}{kind}.png", shade=len(side + kind) * 9)
    words = check(tmp_path).in_words()
    assert "4 pictures (2 train, 2 val); cat 2, dog 2" in words

"""Formats of other tools: written by supervision, or by hand as the tools write them, and read as the same boxes and outlines."""

import base64
import csv
import itertools
import json
import subprocess
import tarfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onelook.data.readers.label_studio import decode_brush
from onelook.data.samples import Dataset, mask_of, objects_of
from onelook.errors import DataError, OnelookError
from onelook.geometry.supervision import supervision as sv
from onelook.workflows.data import convert, read

SIZE = (100, 80)
BOX, OTHER = (10.0, 20.0, 40.0, 50.0), (50.0, 5.0, 90.0, 45.0)
POLYGON = [(10.0, 20.0), (40.0, 20.0), (40.0, 50.0), (10.0, 50.0)]


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, (120, 120, 120)).save(path)
    return path


def boxes(data: Dataset) -> list[tuple[str, list[float]]]:
    objects = objects_of(data.samples[0])
    return [(data.classes[label], box) for label, box in zip(objects.labels.tolist(), objects.boxes.tolist(), strict=True)]


@pytest.mark.parametrize("form", ["labelme", "createml", "coco", "yolo", "voc"])
def test_what_supervision_writes(form: str, tmp_path: Path) -> None:
    """Boxes of two classes on two pictures, through supervision's writers, within half a pixel."""
    paths = [str(picture(tmp_path / "in" / f"{name}.png")) for name in "ab"]
    found = sv.Detections(xyxy=np.array([BOX, OTHER]), class_id=np.array([0, 1]))
    data = sv.DetectionDataset(["cat", "dog"], paths, dict.fromkeys(paths, found))
    out = tmp_path / "out"
    if form == "labelme":
        data.as_labelme(images_directory_path=str(out), annotations_directory_path=str(out))
    elif form == "createml":
        data.as_createml(images_directory_path=str(out), annotations_path=str(out / "_annotations.createml.json"))
    elif form == "coco":
        data.as_coco(images_directory_path=str(out), annotations_path=str(out / "annotations.json"))
    elif form == "yolo":
        data.as_yolo(str(out / "images"), str(out / "labels"), str(out / "data.yaml"))
    else:
        data.as_pascal_voc(str(out / "JPEGImages"), str(out / "Annotations"))
    ours = read(out, task="detect")
    assert len(ours) == 2
    for sample in ours.samples:
        assert np.allclose(objects_of(sample).boxes.numpy(), [BOX, OTHER], atol=1.0 if form == "voc" else 0.5)
        assert [ours.classes[label] for label in objects_of(sample).labels.tolist()] == ["cat", "dog"]


def labelme(root: Path, shapes: list[dict[str, Any]]) -> Path:
    picture(root / "a.png")
    facts = {"version": "5", "shapes": shapes, "imagePath": "a.png", "imageWidth": SIZE[0], "imageHeight": SIZE[1]}
    (root / "a.json").write_text(json.dumps(facts))
    return root


def test_labelme(tmp_path: Path) -> None:
    shapes = [
        {"label": "cat", "shape_type": "rectangle", "points": [[40, 50], [10, 20]]},
        {"label": "dog", "shape_type": "circle", "points": [[60, 40], [60, 50]]},
        {"label": "dog", "shape_type": "line", "points": [[1, 1], [2, 2]]},
        {"label": "cow", "points": None},
    ]
    data = read(labelme(tmp_path, shapes), task="detect")
    assert boxes(data) == [("cat", list(BOX)), ("dog", [50, 30, 70, 50])]
    assert [finding.kind for finding in data.findings] == ["no-area", "malformed"]
    pixels = mask_of(read(tmp_path, task="segment").samples[0]).pixels
    assert pixels[1] == 900
    assert pixels[2] == pytest.approx(np.pi * 100, rel=0.05)


def test_points_of_labelme(tmp_path: Path) -> None:
    shapes = [{"label": name, "shape_type": "point", "points": [[x, 5]]} for name, x in (("left_eye", 10), ("right_eye", 20))]
    data = read(labelme(tmp_path, shapes))  # read off the data
    assert (data.kind, data.classes) == ("points", ("left_eye", "right_eye"))
    assert objects_of(data.samples[0]).points.tolist() == [[[10, 5, 2], [20, 5, 2]]]


def test_cvat(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    runs = "0,4,2,4"  # of a part of 5 x 2: four pixels of the first row, four of the second
    (tmp_path / "annotations.xml").write_text(
        f"""<annotations><version>1.1</version><image id="0" name="a.png" width="100" height="80">
        <box label="cat" xtl="10" ytl="20" xbr="40" ybr="50"/>
        <box label="turned" xtl="50" ytl="20" xbr="70" ybr="40" rotation="45"/>
        <polygon label="dog" points="10,20;40,20;40,50;10,50"/>
        <ellipse label="ball" cx="60" cy="60" rx="10" ry="5"/>
        <mask label="spot" left="2" top="3" width="5" height="2" rle="{runs}"/>
        <polyline label="line" points="1,1;2,2"/></image></annotations>"""
    )
    data = read(tmp_path, task="detect")
    found = {name: box for name, box in boxes(data) if name not in ("dog",)}
    half = 10 * np.sqrt(2)
    assert found["cat"] == list(BOX)
    assert np.allclose(found["turned"], [60 - half, 30 - half, 60 + half, 30 + half], atol=1e-4)
    assert np.allclose(found["ball"], [50, 55, 70, 65])
    assert found["spot"] == [2, 3, 7, 5]
    assert sorted(finding.kind for finding in data.findings) == ["no-area", "turned-box"]
    shown = read(tmp_path, task="segment")
    spot = mask_of(shown.samples[0]).read().numpy() == shown.classes.index("spot")
    assert spot[3:5, 2:7].tolist() == [[True, True, True, True, False], [False, True, True, True, True]]
    assert spot.sum() == 8


def brush(inside: np.ndarray) -> list[int]:
    """Label Studio's run lengths of booleans (H, W): four bytes a pixel, each run of one value, as its editor packs them."""
    flat = np.repeat(inside.ravel().astype(np.uint8) * 255, 4)
    bits = [f"{len(flat):032b}", f"{7:05b}", *(f"{length - 1:04b}" for length in (3, 4, 8, 16))]
    edges = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), len(flat)]
    for start, end in itertools.pairwise(edges):
        for at in range(start, end, 1 << 16):
            bits += ["1", f"{3:02b}", f"{min(end, at + (1 << 16)) - at - 1:016b}", f"{int(flat[start]):08b}"]
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


def test_brush_run_lengths() -> None:
    inside = np.random.default_rng(0).random((9, 13)) > 0.6
    found = decode_brush(bytes(brush(inside))).reshape(9, 13, 4)[..., 3] > 0
    assert (found == inside).all()
    with pytest.raises(ValueError, match="too soon"):
        decode_brush(bytes(brush(inside)[:20]))


def test_label_studio(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a b.png")
    inside = np.zeros((80, 100), dtype=bool)
    inside[60:70, 60:90] = True
    size = {"original_width": 100, "original_height": 80}
    result = [
        size
        | {"type": "rectanglelabels", "value": {"x": 10, "y": 25, "width": 30, "height": 37.5, "rotation": 0, "rectanglelabels": ["cat"]}},
        size
        | {"type": "rectanglelabels", "value": {"x": 50, "y": 0, "width": 20, "height": 10, "rotation": 90, "rectanglelabels": ["up"]}},
        size | {"type": "polygonlabels", "value": {"points": [[10, 25], [40, 25], [40, 62.5], [10, 62.5]], "polygonlabels": ["dog"]}},
        size | {"type": "brushlabels", "value": {"format": "rle", "rle": brush(inside), "brushlabels": ["spot"]}},
        {"type": "choices", "value": {"choices": ["indoors"]}},
    ]
    tasks = [
        {"data": {"image": "/data/upload/3/0a1b2c3d-a%20b.png"}, "annotations": [{"result": result}, {"result": [], "was_cancelled": True}]}
    ]
    (tmp_path / "project.json").write_text(json.dumps(tasks))
    data = read(tmp_path, task="detect")
    assert boxes(data) == [("cat", list(BOX)), ("up", [42, 0, 50, 20]), ("dog", list(BOX)), ("spot", [60, 60, 90, 70])]
    assert [finding.kind for finding in data.findings] == ["turned-box"]
    shown = read(tmp_path, task="segment")
    assert (mask_of(shown.samples[0]).read().numpy() == shown.classes.index("spot")).sum() == inside.sum()


def test_via(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    xs, ys = ([point[axis] for point in POLYGON] for axis in (0, 1))
    regions = [
        {"shape_attributes": {"name": "rect", "x": 10, "y": 20, "width": 30, "height": 30}, "region_attributes": {"class": "cat"}},
        {"shape_attributes": {"name": "polygon", "all_points_x": xs, "all_points_y": ys}, "region_attributes": {"what": {"dog": True}}},
        {"shape_attributes": {"name": "point", "cx": 1, "cy": 1}, "region_attributes": {"class": "cat"}},
        {"shape_attributes": {"name": "rect", "x": 1, "y": 1, "width": 3, "height": 3}, "region_attributes": {}},
    ]
    entry = {"filename": "a.png", "size": 1, "regions": regions, "file_attributes": {}}
    for facts in ({"a.png1": entry}, {"_via_img_metadata": {"a.png1": entry}}, {"a.png1": entry | {"regions": dict(enumerate(regions))}}):
        (tmp_path / "via.json").write_text(json.dumps(facts))
        data = read(tmp_path, task="detect")
        assert boxes(data) == [("cat", list(BOX)), ("dog", list(BOX))]
        assert [finding.kind for finding in data.findings] == ["no-area", "no-name"]


def test_supervisely(tmp_path: Path) -> None:
    picture(tmp_path / "ds" / "img" / "a.png")
    buffer = BytesIO()
    Image.new("RGBA", (6, 4), (255, 255, 255, 255)).save(buffer, "PNG")
    packed = base64.b64encode(zlib.compress(buffer.getvalue())).decode()
    objects = [
        {"classTitle": "cat", "geometryType": "rectangle", "points": {"exterior": [[10, 20], [40, 50]], "interior": []}},
        {"classTitle": "dog", "geometryType": "polygon", "points": {"exterior": POLYGON, "interior": []}},
        {"classTitle": "spot", "geometryType": "bitmap", "bitmap": {"data": packed, "origin": [70, 60]}},
        {"classTitle": "line", "geometryType": "line", "points": {"exterior": [[1, 1], [2, 2]], "interior": []}},
    ]
    (tmp_path / "ds" / "ann").mkdir()
    (tmp_path / "ds" / "ann" / "a.png.json").write_text(json.dumps({"size": {"width": 100, "height": 80}, "objects": objects}))
    data = read(tmp_path, task="detect")
    assert boxes(data) == [("cat", list(BOX)), ("dog", list(BOX)), ("spot", [70, 60, 76, 64])]
    assert [finding.kind for finding in data.findings] == ["no-area"]


def test_a_round_trip_through_coco_keeps_half_a_pixel(tmp_path: Path) -> None:
    shapes = [{"label": "cat", "shape_type": "rectangle", "points": [[10.25, 20.5], [40.75, 50.125]]}]
    before = read(labelme(tmp_path / "in", shapes), task="detect")
    done = convert(tmp_path / "in", tmp_path / "out", "coco", task="detect")
    assert done.whole
    assert np.allclose(objects_of(read(tmp_path / "out", task="detect").samples[0]).boxes, objects_of(before.samples[0]).boxes, atol=0.5)


def test_via_csv(tmp_path: Path) -> None:
    """As the annotator writes it: JSON within quoted cells, a line a region, an empty one for a picture without regions."""
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    shapes = [{"name": "rect", "x": 10, "y": 20, "width": 30, "height": 30}, {"name": "circle", "cx": 60, "cy": 40, "r": 10}, {}]
    rows = [("a.png", shapes[0], {"class": "cat"}), ("a.png", shapes[1], {"class": "dog"}), ("b.png", shapes[2], {})]
    with (tmp_path / "via_export_csv.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["filename", "file_size", "file_attributes", "region_count", "region_id", "region_shape_attributes", "region_attributes"]
        )
        for number, (name, shape, attributes) in enumerate(rows):
            writer.writerow([name, 10, "{}", 2, number, json.dumps(shape), json.dumps(attributes)])
    data = read(tmp_path)
    assert boxes(data) == [("cat", list(BOX)), ("dog", [50, 30, 70, 50])]
    assert [len(objects_of(sample)) for sample in data.samples] == [2, 0]
    assert not data.findings
    text = (tmp_path / "via_export_csv.csv").read_text().replace("""{""class"": ""dog""}""", "{broken", 1)
    (tmp_path / "via_export_csv.csv").write_text(text)
    assert [finding.kind for finding in read(tmp_path, task="detect").findings] == ["malformed"]


@pytest.mark.parametrize("form", ["labelme", "cvat", "coco", "yolo", "voc", "csv"])
def test_every_writer_is_read_again(form: str, tmp_path: Path) -> None:
    """Boxes of two sides, one picture without any: the same sides, classes and boxes come back."""
    for name in ("a", "b", "c"):
        picture(tmp_path / "in" / f"{name}.png")
    rows = ["a.png,train,cat,10.25,20.5,40.75,50", "a.png,train,dog,50,5,90,45", "b.png,val,dog,1,2,30,40", "c.png,train,,,,,"]
    (tmp_path / "in" / "boxes.csv").write_text("\n".join(["path,split,class,xmin,ymin,xmax,ymax", *rows]) + "\n")
    done = convert(tmp_path / "in", tmp_path / "out", form)
    assert (done.labels, done.written, done.whole) == (3, 3, True)
    before, after = read(tmp_path / "in"), read(tmp_path / "out", task="detect")
    found = {sample.path.name: sample for sample in after.samples}
    for sample in before.samples:
        other = found[sample.path.name]
        assert other.side == sample.side
        assert np.allclose(objects_of(other).boxes, objects_of(sample).boxes, atol=0.5)
        names = [[data.classes[label] for label in objects_of(one).labels.tolist()] for data, one in ((before, sample), (after, other))]
        assert names[0] == names[1]


def test_labelme_is_read_by_supervision(tmp_path: Path) -> None:
    source = labelme(tmp_path / "in", [{"label": "cat", "shape_type": "rectangle", "points": [[10, 20], [40, 50]]}])
    out = tmp_path / "out"
    convert(source, out, "labelme", task="detect")
    theirs = sv.DetectionDataset.from_labelme(images_directory_path=str(out), annotations_directory_path=str(out))
    (_, _, found), *_ = list(theirs)
    assert theirs.classes == ["cat"]
    assert np.allclose(found.xyxy, [BOX])


def test_points_through_labelme(tmp_path: Path) -> None:
    shapes = [{"label": name, "shape_type": "point", "points": [[x, 5]]} for name, x in (("left_eye", 10), ("right_eye", 20))]
    convert(labelme(tmp_path / "in", shapes), tmp_path / "out", "labelme", task="keypoints")
    assert objects_of(read(tmp_path / "out").samples[0]).points.tolist() == [[[10, 5, 2], [20, 5, 2]]]


def test_parquet(tmp_path: Path) -> None:
    """A Hugging Face folder with metadata.parquet; and one whose pictures are inside the table, which is said."""
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    names = [picture(tmp_path / "set" / f"{letter}.png").name for letter in "abcd"]
    facts = {"file_name": names, "label": ["cat", "dog", "cat", None], "tags": [["x"], [], [], []]}
    parquet.write_table(arrow.table(facts), tmp_path / "set" / "metadata.parquet")
    data = read(tmp_path / "set")
    assert (data.classes, len(data), [finding.kind for finding in data.findings]) == (("cat", "dog"), 3, ["no-label"])
    inside = arrow.table({"image": [{"bytes": b"x", "path": "a.png"}], "label": [0]})
    parquet.write_table(inside, tmp_path / "inside.parquet")
    with pytest.raises(DataError, match="inside the table"):
        read(tmp_path / "inside.parquet")


def test_webdataset(tmp_path: Path) -> None:
    """Unpacked: a label file a picture, folders of sides; packed: one line says how to unpack, and that command works."""
    for side, names in (("train", "abc"), ("val", "de")):
        for number, name in enumerate(names):
            picture(tmp_path / "set" / side / f"{name}.png").with_suffix(".cls").write_text(f"{number % 2}\n")
    picture(tmp_path / "set" / "train" / "z.png")
    data = read(tmp_path / "set")
    assert (data.classes, [sample.side for sample in data.samples]) == (("0", "1"), ["train"] * 3 + ["val"] * 2)
    assert [finding.kind for finding in data.findings] == ["no-label-file"]
    (tmp_path / "packed").mkdir()
    for side in ("train", "val"):
        with tarfile.open(tmp_path / "packed" / f"{side}.tar", "w") as tar:
            tar.add(tmp_path / "set" / side, arcname=".")
    with pytest.raises(DataError, match="unpack them") as raised:
        read(tmp_path / "packed")
    subprocess.run(str(raised.value).split("folder: ")[1], shell=True, check=True, cwd=tmp_path)
    assert len(read(tmp_path / "packed-unpacked")) == 5


def test_masks_whose_folder_says_nothing(tmp_path: Path) -> None:
    """``--masks DIR``: two folders whose names tell nothing; with folders of sides inside both, too."""
    for inner in ("", "one/"):
        for name in "ab":
            picture(tmp_path / f"first{inner[:-1]}" / inner / f"{name}.png")
            path = tmp_path / f"second{inner[:-1]}" / inner / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", SIZE, 1 if name == "a" else 0).save(path)
    for ending in ("", "one"):
        data = read(tmp_path / f"first{ending}", masks=tmp_path / f"second{ending}")
        assert (data.kind, len(data)) == ("masks", 2)
    with pytest.raises(OnelookError, match="no such folder"):
        read(tmp_path / "first", masks=tmp_path / "nowhere")
    with pytest.raises(DataError, match="add --task segment"):
        read(tmp_path / "first", task="classify", masks=tmp_path / "second")

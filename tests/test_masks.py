"""Pictures with masks: every layout and meaning of values that is read, and what happens to those that do not fit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from sklearn.datasets import load_sample_image

from onelook import read
from onelook.backbones.engines import TorchEngine
from onelook.data.augment import RECIPES
from onelook.data.readers.legend import write_legend
from onelook.data.readers.mask_values import BINARY, CAMVID, VOC
from onelook.data.samples import Dataset, mask_of
from onelook.errors import DataError, PictureError, UnreadableError
from onelook.geometry.masks import IGNORE, mirrored, nearest
from onelook.geometry.placement import Geometry
from onelook.looks.extractor import Extractor
from onelook.workflows.data import check

PHOTO = Image.fromarray(load_sample_image("flower.jpg"))


def picture(path: Path, number: int = 0, size: tuple[int, int] = (48, 32)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PHOTO.crop((10 * number, 0, 10 * number + size[0], size[1])).save(path)
    return path


def mask(path: Path, values: Any, size: tuple[int, int] = (48, 32), mode: str = "L") -> Path:
    """A mask in vertical stripes of these values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stripes = np.array(values)[np.arange(size[0]) * len(values) // size[0]]
    array = np.broadcast_to(stripes[None], (size[1], *stripes.shape)).astype(np.uint16 if mode == "I;16" else np.uint8)
    Image.fromarray(array).save(path) if mode != "P" else _with_palette(array).save(path)
    return path


def _with_palette(array: np.ndarray) -> Image.Image:
    found = Image.fromarray(array)
    found.putpalette([value for index in range(256) for value in (255 - index, index, 7)])
    return found


def pairs(root: Path, values: Any, count: int = 3, **how: Any) -> Path:
    for number in range(count):
        picture(root / "images" / f"p{number}.jpg", number)
        mask(root / "masks" / f"p{number}.png", values, **how)
    return root


def read_one(root: Path, **how: Any) -> tuple[Dataset, torch.Tensor]:
    data = read(root, task="segment", **how)
    return data, mask_of(data.samples[0]).read()


@pytest.mark.parametrize(
    ("pictures", "masks", "split"),
    [
        ("images/{}.jpg", "masks/{}.png", None),
        ("image/{}.png", "label/{}.png", None),
        ("JPEGImages/{}.jpg", "SegmentationClass/{}.png", None),
        ("train/{}.jpg", "trainannot/{}.png", "train"),
        ("train/{}.jpg", "train_masks/{}_mask.png", "train"),
        ("train/images/{}.jpg", "train/masks/{}.png", "train"),
        ("images/train/{}.jpg", "masks/train/{}.png", "train"),
        ("images/image_{}.jpg", "masks/mask_{}.png", None),
        ("{}.jpg", "{}_mask.png", None),
        ("{}.jpg", "masks/{}.png", None),
        ("deep/down/here/images/{}.jpg", "deep/down/here/masks/{}.png", "deep/down/here"),
    ],
)
def test_layouts(pictures: str, masks: str, split: str | None, tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / pictures.format(f"{number:02}"), number)
        mask(tmp_path / masks.format(f"{number:02}"), [0, 1, 2])
    for asked in {None if "deep" not in pictures else split, split}:
        data = read(tmp_path, task="segment", split=asked)
        assert [sample.path.name for sample in data.samples] == [Path(pictures.format(f"{n:02}")).name for n in range(3)]
        assert data.classes == (VOC if "JPEG" in pictures else ("0", "1", "2"))
        assert data.findings == ()


def test_sides_of_a_source(tmp_path: Path) -> None:
    for side, count in (("train", 3), ("val", 2), ("test", 4)):
        for number in range(count):
            picture(tmp_path / side / f"{number}.jpg", number)
            mask(tmp_path / f"{side}annot" / f"{number}.png", [0, 1])
    data = read(tmp_path, task="segment")
    assert (len(data.side("train")), len(data.side("val"))) == (3, 2)
    assert len(read(tmp_path, task="segment", split="test")) == 4
    with pytest.raises(DataError, match="no part 'nope'; there is test, train, val"):
        read(tmp_path, task="segment", split="nope")


def test_voc_lists(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "JPEGImages" / f"{number}.jpg", number)
        mask(tmp_path / "SegmentationClass" / f"{number}.png", [0, 15, 255], mode="P")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n1\n")
    (lists / "val.txt").write_text("2\n")
    data = read(tmp_path, task="segment")
    assert (len(data.side("train")), len(data.side("val"))) == (2, 1)
    assert len(read(tmp_path, task="segment", split="val")) == 1
    assert set(mask_of(data.samples[0]).read().unique().tolist()) == {0, 15, IGNORE}


@pytest.mark.parametrize(
    ("values", "classes", "expected", "said"),
    [
        ([0, 255], BINARY, [0, 1], "0 read as background, 255 as foreground"),
        ([0, 1], BINARY, [0, 1], "1 as foreground"),
        ([0, 1, 255], BINARY, [0, 1, IGNORE], "255 ignored"),
        ([0, 3, 7], ("0", "3", "7"), [0, 1, 2], "values 0, 3, 7 are the classes"),
        ([1, 2, 255], ("1", "2"), [0, 1, IGNORE], "255 ignored"),
    ],
)
def test_values_without_a_legend(values: list[int], classes: tuple[str, ...], expected: list[int], said: str, tmp_path: Path) -> None:
    for mode in ("L", "P"):
        data, found = read_one(pairs(tmp_path / mode, values, mode=mode))
        assert data.classes == classes
        assert found[0].unique_consecutive().tolist() == expected
        assert said in data.found


def test_a_mask_of_one_bit(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.arange(48 * 32).reshape(32, 48) % 48 < 20).save(tmp_path / "masks" / "a.png")
    data, found = read_one(tmp_path)
    assert data.classes == BINARY
    assert mask_of(data.samples[0]).pixels == (28 * 32, 20 * 32)
    assert found.shape == (32, 48)


def test_soft_edges_are_cut_in_the_middle(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg", size=(200, 200))
    values = np.zeros((200, 200), dtype=np.uint8)
    values[:, 100:] = 255
    values[:2, :100] = np.arange(40, 140)
    (tmp_path / "masks").mkdir()
    Image.fromarray(values).save(tmp_path / "masks" / "a.png")
    data, found = read_one(tmp_path)
    assert data.classes == BINARY
    assert "soft edges" in data.found
    assert torch.equal(found, torch.from_numpy((values >= 128).astype(np.uint8)))


def test_lossy_masks(tmp_path: Path) -> None:
    """A black-and-white mask saved as a colour JPEG, with a few grey values at the edges."""
    picture(tmp_path / "images" / "a.jpg", size=(200, 160))
    (tmp_path / "masks").mkdir()
    values = np.zeros((160, 200), dtype=np.uint8)
    values[40:120, 60:150] = 255
    Image.fromarray(values).convert("RGB").save(tmp_path / "masks" / "a.jpg", quality=70)
    data, found = read_one(tmp_path)
    assert data.classes == BINARY
    assert float((found == torch.from_numpy(values // 255)).float().mean()) > 0.99


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("legend.csv", "sky,0,0,255\nroad,128,64,128\nvoid,0,0,0\n"),
        ("class_dict.csv", "name,r,g,b\nsky,0,0,255\nroad,128,64,128\nvoid,0,0,0\n"),
        ("label_colors.txt", "0 0 255\tsky\n128 64 128\troad\n0 0 0\tvoid\n"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nsky:0,0,255::\nroad:128,64,128::\nvoid:0,0,0::\n"),
        ("legend.json", '{"sky": [0, 0, 255], "road": [128, 64, 128], "void": [0, 0, 0]}'),
    ],
)
def test_colour_masks_with_a_legend(name: str, text: str, tmp_path: Path) -> None:
    root = pairs(tmp_path, [(0, 0, 255), (128, 64, 128), (0, 0, 0), (9, 9, 200)])
    (root / name).write_text(text)
    data, found = read_one(root)
    assert data.classes == ("sky", "road")
    assert found[0].unique_consecutive().tolist() == [0, 1, IGNORE]
    assert {finding.kind for finding in data.findings} == {"unknown-value"}
    assert "#0909c8" in data.findings[0].reason


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "sky\nroad\nvoid\n"),
        ("legend.csv", "sky,0\nroad,1\nvoid,2\n"),
        ("legend.json", '{"0": "sky", "1": "road", "2": "void"}'),
    ],
)
def test_index_masks_with_a_legend(name: str, text: str, tmp_path: Path) -> None:
    root = pairs(tmp_path, [0, 1, 2, 7])
    (root / name).write_text(text)
    data, found = read_one(root)
    assert data.classes == ("sky", "road")
    assert found[0].unique_consecutive().tolist() == [0, 1, IGNORE]
    assert "7 (" in data.findings[0].reason


def test_grey_colours_of_a_colour_legend(tmp_path: Path) -> None:
    """CamVid's sky is (128, 128, 128): a picture that shows nothing but grey colours is a colour mask all the same."""
    root = pairs(tmp_path, [(128, 128, 128), (0, 0, 0)])
    (root / "legend.csv").write_text("name,r,g,b\nsky,128,128,128\nblue,0,0,128\nvoid,0,0,0\n")
    data, found = read_one(root)
    assert found[0].unique_consecutive().tolist() == [0, IGNORE]
    assert data.findings == ()


def test_written_legends_are_read_back(tmp_path: Path) -> None:
    classes = ("7", "class 1", "traffic, light", "ü")
    root = pairs(tmp_path, [0, 1, 2, 3])
    write_legend(root / "masks" / "legend.csv", classes)
    assert read_one(root)[0].classes == classes


def test_a_file_of_classes_above_is_anothers(tmp_path: Path) -> None:
    root = pairs(tmp_path / "data", [0, 1, 2])
    (tmp_path / "classes.txt").write_text("cat\ndog\nbird\n")
    assert read_one(root)[0].classes == ("0", "1", "2")
    (tmp_path / "legend.csv").write_text("cat,0\ndog,1\nbird,2\n")
    assert read_one(root)[0].classes == ("cat", "dog", "bird")


def test_endings_do_not_mix_up_names(tmp_path: Path) -> None:
    """a and a_l are two pictures with a mask each."""
    for number, name in enumerate(("a", "a_l")):
        picture(tmp_path / "images" / f"{name}.jpg", number)
        mask(tmp_path / "masks" / f"{name}.png", [number, 2])
    data = read(tmp_path, task="segment")
    assert [int(mask_of(sample).read()[0, 0]) for sample in data.samples] == [0, 1]
    assert data.findings == ()


def test_colours_without_a_legend_say_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"colour masks without a legend \(2 colours: #0000ff.*legend.csv"):
        read(pairs(tmp_path, [(0, 0, 255), (128, 64, 128), (0, 0, 255)]), task="segment")


def test_a_legend_beside_the_masks_and_files_that_are_none(tmp_path: Path) -> None:
    root = pairs(tmp_path / "data", [0, 1])
    (root / "labels.csv").write_text("path,xmin,ymin\na.jpg,1,2\n")
    (root / "masks" / "legend.csv").write_text("sky,0\nroad,1\n")
    assert read_one(root)[0].classes == ("sky", "road")


@pytest.mark.parametrize("text", ["sky,0\nroad,0\n", "sky,0,0,300\nroad,1,1,1\n", "sky,0\nroad,1,2,3\n"])
def test_a_legend_that_cannot_be(text: str, tmp_path: Path) -> None:
    root = pairs(tmp_path, [0, 1])
    (root / "legend.csv").write_text(text)
    with pytest.raises(DataError, match=r"legend\.csv"):
        read(root, task="segment")
    (root / "legend.csv").unlink()
    (root / "legend.json").write_text("{")
    with pytest.raises(UnreadableError, match=r"legend\.json"):
        read(root, task="segment")


def test_sixteen_bits(tmp_path: Path) -> None:
    data, _ = read_one(pairs(tmp_path / "few", [0, 2, 4], mode="I;16"))
    assert data.classes == ("0", "2", "4")
    with pytest.raises(DataError, match="value 1000 in a 16-bit mask"):
        read(pairs(tmp_path / "many", [0, 1000], mode="I;16"), task="segment")


def test_many_values_are_no_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="instance ids"):
        read(pairs(tmp_path, list(range(0, 240, 5)) + list(range(1, 240, 5)), size=(96, 32)), task="segment")


def test_camvid_is_known_by_its_names(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "0001TP_006690.jpg")
    mask(tmp_path / "trainannot" / "0001TP_006690.png", [0, 3, 11])
    data, found = read_one(tmp_path)
    assert data.classes == CAMVID
    assert found[0].unique_consecutive().tolist() == [0, 3, IGNORE]


@pytest.mark.parametrize("ignore", ["7", "255"])
def test_ignored_values(ignore: str, tmp_path: Path) -> None:
    data, found = read_one(pairs(tmp_path, [0, 3, 7]), ignore=[ignore])
    assert data.classes == (("0", "3") if ignore == "7" else ("0", "3", "7"))
    assert found[0].unique_consecutive().tolist() == ([0, 1, IGNORE] if ignore == "7" else [0, 1, 2])
    with pytest.raises(DataError, match="--ignore sky: no class"):
        read(tmp_path, task="segment", ignore=["sky"])
    with pytest.raises(DataError, match="--ignore 99: no mask has this value; there is 0, 3, 7"):
        read(tmp_path, task="segment", ignore=["99"])


def test_another_size_is_resized_and_said(tmp_path: Path) -> None:
    root = pairs(tmp_path, [0, 1], size=(24, 16))
    data, found = read_one(root)
    assert found.shape == (32, 48)
    assert torch.equal(found[0], torch.tensor([0] * 24 + [1] * 24, dtype=torch.uint8))
    assert {finding.kind for finding in data.findings} == {"size-mismatch"}
    mask(root / "masks" / "p1.png", [0, 1], size=(32, 48))
    data = read(root, task="segment")
    assert len(data) == 2
    assert any("turned" in finding.reason for finding in data.findings)


def test_missing_pairs_and_damaged_files(tmp_path: Path) -> None:
    root = pairs(tmp_path, [0, 1], count=4)
    (root / "masks" / "p0.png").unlink()
    (root / "images" / "p1.jpg").unlink()
    (root / "masks" / "p2.png").write_bytes(b"not a picture")
    data = read(root, task="segment")
    assert [sample.path.name for sample in data.samples] == ["p3.jpg"]
    assert {finding.kind for finding in data.findings} == {"missing-mask", "missing-picture", "unreadable"}
    report = check(root, task="segment")
    assert not report.clean


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no masks found here; expected .*pictures with masks"):
        read(tmp_path, task="segment")
    picture(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="no masks found here"):
        read(tmp_path / "a.jpg", task="segment")


def test_check_names_empty_classes(tmp_path: Path) -> None:
    root = pairs(tmp_path, [0, 1])
    (root / "classes.txt").write_text("sky\nroad\ncar\n")
    kinds = {(finding.kind, finding.reason.split(";")[0]) for finding in check(root, task="segment").findings}
    assert ("empty-class", "nothing is labelled car") in kinds


def test_classes_of_a_head(tmp_path: Path) -> None:
    data, found = read_one(pairs(tmp_path / "few", [3, 7]), classes=("0", "3", "7"))
    assert data.classes == ("0", "3", "7")
    assert found[0].unique_consecutive().tolist() == [1, 2]
    with pytest.raises(DataError, match="9 is no class of this head"):
        read(pairs(tmp_path / "new", [3, 9, 11]), task="segment", classes=("0", "3", "7"))
    data, found = read_one(pairs(tmp_path / "bare", [0, 1, 2]), classes=("sky", "road", "car"))
    assert found[0].unique_consecutive().tolist() == [0, 1, 2]
    data, found = read_one(pairs(tmp_path / "black", [0, 255]), classes=BINARY)
    assert found[0].unique_consecutive().tolist() == [0, 1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_coco_shapes_as_the_coco_tools_draw_them(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg", size=(60, 40))
    big, small = [[2, 2, 50.5, 3, 48, 37, 4, 35]], [[10, 10, 30, 10, 30, 30, 10, 30]]
    runs = {"size": [40, 60], "counts": [100, 50, 2250]}
    entries = [(1, small), (2, big), (2, runs)]
    annotations = [
        {
            "id": number,
            "image_id": 1,
            "category_id": kind,
            "segmentation": shape,
            "iscrowd": int(isinstance(shape, dict)),
            "area": 1,
            "bbox": [0, 0, 1, 1],
        }
        for number, (kind, shape) in enumerate(entries, start=1)
    ]
    annotations.append({"id": 9, "image_id": 1, "category_id": 1, "segmentation": [[1, 2, 3]], "iscrowd": 0})
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    image = {"id": 1, "file_name": "a.jpg", "width": 60, "height": 40}
    file = tmp_path / "instances_train.json"
    file.write_text(json.dumps({"images": [image], "annotations": annotations, "categories": categories}))
    data, found = read_one(tmp_path)
    assert data.classes == ("background", "cat", "dog")
    tools = COCO(str(file))
    drawn = [tools.annToMask(tools.loadAnns(number)[0]).astype(bool) for number in (1, 2, 3)]
    wanted = np.zeros((40, 60), dtype=np.uint8)
    for number in sorted(range(3), key=lambda index: -drawn[index].sum()):
        wanted[drawn[number]] = entries[number][0]
    assert np.array_equal(found.numpy(), wanted)
    assert [finding.kind for finding in data.findings] == ["malformed"]


# --- masks move with their pictures


@pytest.mark.parametrize("mode", ["fit", "stretch", "crop"])
@pytest.mark.parametrize("recipe", ["light", "aerial", "microscope"])
def test_masks_move_as_their_pictures_do(mode: Any, recipe: str, tmp_path: Path, tiny: Any) -> None:
    """A picture shows its own mask in grey; in every view the moved mask is what the pixels show, but for blended borders."""
    draw = np.random.default_rng(0)
    blocks = np.kron(draw.integers(0, 2, (5, 7)), np.ones((16, 16))).astype(np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(blocks * 255).convert("RGB").save(path)
    extractor = Extractor(tiny, TorchEngine(tiny), Geometry(96, mode))
    for number in range(6):
        row = ("5" * 32, number)
        pixels = extractor.decode(path, path.read_bytes(), row[0], [number], RECIPES[recipe])[0]
        moved = extractor.move_mask(torch.from_numpy(blocks), (112, 80), row, RECIPES[recipe], 0)
        shown = pixels.content.float().mean(0)
        inside = moved[: shown.shape[0], : shown.shape[1]]
        assert bool((moved[shown.shape[0] :] == IGNORE).all())
        known = inside != IGNORE
        right = (shown > 127) == (inside > 0)
        assert float(known.float().mean()) > 0.6
        assert float(right[known].float().mean()) > 0.93


def test_to_the_input_and_back() -> None:
    placement = Geometry(64).place(128, 96)
    mask = (torch.arange(96)[:, None] // 8 * 3 + torch.arange(128)[None] // 8).remainder(5).to(torch.uint8)
    there = placement.mask_to_input(mask)
    assert there.shape == (64, 64)
    for y, x in ((0, 0), (95, 127), (40, 77), (13, 2)):  # the input has half the resolution, and 8 pixels are of one class
        assert there[y // 2, x // 2] == mask[y, x]
    assert (there[48:] == IGNORE).all()


@pytest.mark.parametrize("length", [1, 2, 5, 9])
def test_mirrored_as_numpy_reflects(length: int) -> None:
    places = torch.arange(-20, 30)
    line = np.arange(length)
    wanted = np.pad(line, (20, 30 - length), mode="reflect") if length > 1 else np.zeros(50, dtype=int)
    assert mirrored(places, length).tolist() == wanted.tolist()


def test_nearest_as_pil_resizes() -> None:
    values = np.random.default_rng(1).integers(0, 9, (13, 17)).astype(np.uint8)
    for size in ((34, 26), (51, 13), (5, 4)):
        wanted = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.NEAREST))
        assert np.array_equal(nearest(torch.from_numpy(values), size).numpy(), wanted)


def test_a_mask_that_went_missing_is_named(tmp_path: Path) -> None:
    data = read(pairs(tmp_path, [0, 1]), task="segment")
    (tmp_path / "masks" / "p0.png").unlink()
    with pytest.raises(PictureError, match=r"p0\.png"):
        mask_of(data.samples[0]).read()


@pytest.mark.parametrize("mode", ["fit", "stretch", "crop"])
@pytest.mark.parametrize("size", [(1237, 811), (811, 1237), (640, 480)])
def test_masks_of_large_pictures_fit_their_looks(mode: Any, size: tuple[int, int], tmp_path: Path, tiny: Any) -> None:
    """Pictures are made smaller before views are drawn: masks follow, to the very size of the input."""
    path = tmp_path / "a.png"
    blocks = np.kron(np.random.default_rng(0).integers(0, 2, (size[1] // 80 + 1, size[0] // 80 + 1)), np.ones((80, 80)))[
        : size[1], : size[0]
    ]
    Image.fromarray((blocks * 255).astype(np.uint8)).convert("RGB").save(path)
    extractor = Extractor(tiny, TorchEngine(tiny), Geometry(96, mode))
    for number in range(4):
        row = ("7" * 32, number)
        pixels = extractor.decode(path, path.read_bytes(), row[0], [number], RECIPES["light"])[0]
        moved = extractor.move_mask(torch.from_numpy(blocks.astype(np.uint8)), size, row, RECIPES["light"], 0)
        assert (moved.shape[1], moved.shape[0]) == pixels.placement.input
        shown = pixels.content.float().mean(0) > 127
        assert float((shown == (moved[: shown.shape[0], : shown.shape[1]] == 1)).float().mean()) > 0.95

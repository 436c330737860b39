"""Labels written for another size or way up than the picture has: turned and scaled with it, or not used."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from onelook.data.readers.written_size import Fit, fit_to_picture, upright
from onelook.data.samples import Finding, mask_of, objects_of
from onelook.workflows.data import read

ORIENTATION = 0x0112


def stored(path: Path, size: tuple[int, int], turn: int = 1, box: tuple[int, int, int, int] = (10, 20, 40, 30)) -> Path:
    """A black picture with a white box, whose EXIF says that it is stored turned."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.mark.parametrize("turn", range(1, 9))
def test_points_turn_as_pillow_turns_pixels(tmp_path: Path, turn: int) -> None:
    path = stored(tmp_path / "a.png", (90, 60), turn)
    rows, columns = np.nonzero(np.asarray(ImageOps.exif_transpose(Image.open(path)))[..., 0])
    corners = [upright(x, y, (90, 60), turn) for x, y in ((10, 20), (40, 30))]
    xs, ys = sorted(x for x, _ in corners), sorted(y for _, y in corners)
    assert (xs, ys) == ([columns.min(), columns.max() + 1], [rows.min(), rows.max() + 1])


def test_equal_scaled_turned_and_foreign(tmp_path: Path) -> None:
    upright_picture = stored(tmp_path / "up.png", (90, 60))
    on_its_side = stored(tmp_path / "side.png", (90, 60), 6)  # seen as 60 x 90
    findings: list[Finding] = []
    assert fit_to_picture(upright_picture, (90, 60), "x", findings) == Fit((90, 60), (90, 60))
    assert not findings
    half = fit_to_picture(upright_picture, (181, 120), "x", findings)
    assert half is not None
    assert half.box((0, 0, 181, 120)) == pytest.approx((0, 0, 90, 60))
    turned = fit_to_picture(on_its_side, (90, 60), "x", findings)
    assert turned is not None
    assert turned.box((10, 20, 40, 30)) == (30, 10, 40, 40)
    for wrong in ((60, 90), (90, 90), (1000, 60)):
        assert fit_to_picture(upright_picture, wrong, "x", findings) is None
    assert [finding.kind for finding in findings] == ["scaled-labels", "turned-labels", *["size-mismatch"] * 3]


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_boxes_and_masks_lie_where_the_pixels_are(tmp_path: Path, task: str) -> None:
    """One picture stored turned, one made smaller, one of another size; labels as they were made."""
    stored(tmp_path / "images" / "turned.png", (90, 60), 8)
    stored(tmp_path / "images" / "smaller.png", (45, 30), box=(5, 10, 20, 15))
    stored(tmp_path / "images" / "other.png", (70, 60))
    images = [{"id": n, "file_name": name, "width": 90, "height": 60} for n, name in enumerate(("turned.png", "smaller.png", "other.png"))]
    outline = {"bbox": [10, 20, 30, 10], "segmentation": [[10, 20, 40, 20, 40, 30, 10, 30]], "category_id": 1}
    facts = {"images": images, "categories": [{"id": 1, "name": "box"}], "annotations": [outline | {"image_id": n} for n in range(3)]}
    (tmp_path / "instances.json").write_text(json.dumps(facts))
    data = read(tmp_path, task=task)
    assert [finding.kind for finding in data.findings] == ["turned-labels", "scaled-labels", "size-mismatch"]
    assert len(data) == 2
    for sample in data.samples:
        seen = np.asarray(ImageOps.exif_transpose(Image.open(sample.path)))[..., 0] > 0
        if task == "segment":
            assert (mask_of(sample).read().numpy() == seen).all()
        else:
            rows, columns = np.nonzero(seen)
            assert objects_of(sample).boxes.tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]

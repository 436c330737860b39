"""Single objects out of masks: discs that touch, regions that do not, and what is too small."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from onelook.answers.segmentation import Segmentation
from onelook.geometry.instances import BACKGROUND, find_instances, parted

CLASSES = (BACKGROUND, "cell", "other")


def discs(*circles: tuple[int, int, int], size: tuple[int, int] = (120, 160)) -> np.ndarray:
    rows, columns = np.indices(size)
    inside = np.zeros(size, dtype=bool)
    for y, x, radius in circles:
        inside |= (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    return inside


def sure(mask: np.ndarray) -> np.ndarray:
    return np.full(mask.shape, 255, dtype=np.uint8)


def test_components_as_scipy_labels_them() -> None:
    mask = (discs((30, 30, 15), (80, 100, 25), (30, 120, 9))).astype(np.uint8)
    mask[100:110, 10:30] = 2
    found = find_instances(mask, sure(mask), CLASSES, "components")
    assert found.counts == {"cell": 3, "other": 1}
    for number, (label, box, area) in enumerate(zip(found.labels, found.boxes, found.areas, strict=True), start=1):
        inside = found.regions == number
        rows, columns = np.nonzero(inside)
        assert (mask[inside] == label).all()
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert area == inside.sum()
    assert ((found.regions > 0) == (mask > 0)).all()


@pytest.mark.parametrize("second", [(60, 92, 20), (60, 88, 14), (76, 86, 20)])
def test_discs_that_touch_are_parted(second: tuple[int, int, int]) -> None:
    inside = discs((60, 60, 20), second)
    assert ndimage.label(inside)[1] == 1
    parts = parted(inside, sure(inside))
    assert parts.max() == 2
    assert parts[60, 50] != parts[second[0], second[1] + second[2] // 2]
    assert ((parts > 0) == inside).all()
    areas = np.bincount(parts.ravel())[1:]
    whole = [discs((60, 60, 20)).sum(), discs(second).sum()]
    assert min(areas) > 0.8 * min(whole)


def test_one_object_stays_one() -> None:
    rows, columns = np.indices((120, 160))
    ellipse = ((rows - 60) / 20) ** 2 + ((columns - 80) / 60) ** 2 < 1
    bar = (abs(rows - 60) < 6) & (abs(columns - 80) < 70)
    for shape in (ellipse, bar, discs((60, 80, 30))):
        assert parted(shape, sure(shape)).max() == 1


def test_a_chain_of_five() -> None:
    chain = discs(*((60, 20 + 28 * number, 16) for number in range(5)))
    mask = chain.astype(np.uint8)
    assert len(find_instances(mask, sure(mask), CLASSES, "watershed")) == 5


def test_specks_and_the_background_are_no_objects() -> None:
    mask = discs((60, 60, 20)).astype(np.uint8)
    mask[5:7, 5:7] = 1
    found = find_instances(mask, sure(mask), CLASSES, "components")
    assert len(found) == 1
    assert len(find_instances(np.zeros_like(mask), sure(mask), CLASSES, "watershed")) == 0


def test_an_answer_with_instances() -> None:
    mask = discs((60, 60, 20), (60, 92, 20)).astype(np.uint8)
    plain = Segmentation(mask, sure(mask), CLASSES)
    found = plain.with_instances("watershed")
    assert str(found) == "2 cell"
    assert plain.shares["cell"] == pytest.approx(mask.mean())
    detections = found.to_supervision()
    assert sorted(detections.mask.sum(axis=(1, 2)).tolist()) == sorted(entry["area"] for entry in found.to_json()["instances"]["objects"])
    by_class = plain.to_supervision()
    assert list(by_class.data["class_name"]) == [BACKGROUND, "cell"]
    assert by_class.mask[1].sum() == mask.sum()


def test_polygons_outline_their_regions() -> None:
    mask = np.zeros((60, 80), dtype=np.uint8)
    mask[10:40, 20:70] = 1
    mask |= discs((45, 30, 12), size=(60, 80)).astype(np.uint8)
    canvas = Image.new("L", (80, 60))
    for polygon in Segmentation(mask, sure(mask), CLASSES).polygons():
        if polygon["label"] == "cell":
            ImageDraw.Draw(canvas).polygon([tuple(point) for point in polygon["points"]], fill=1)
            assert len(polygon["points"]) < 60
    drawn = np.asarray(canvas)
    assert (drawn & mask).sum() / (drawn | mask).sum() > 0.97

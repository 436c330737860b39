"""Average precision against pycocotools, worked examples and invariants; localisation and key-point judges by hand."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
import torch

from onelook.geometry.boxes import ScoredBoxes, no_boxes
from onelook.geometry.objects import Objects
from onelook.metrics.boxes import BoxJudge, PlaceJudge, area_under, average_precisions, coco_results, to_coco
from onelook.metrics.keypoints import PointJudge, reference


def scene(seed: int, classes: int = 3) -> tuple[list[ScoredBoxes], list[Objects]]:
    """Ten pictures with objects and answers that are moved, missed, doubled or invented."""
    draw = np.random.default_rng(seed)
    founds, truths = [], []
    for _ in range(10):
        count = int(draw.integers(0, 8))
        corner, side = draw.uniform(0, 300, (count, 2)), draw.uniform(8, 180, (count, 2))
        boxes = np.concatenate([corner, corner + side], axis=1)
        labels, ignored = draw.integers(0, classes, count), draw.random(count) < 0.15
        truths.append(Objects.of(boxes.tolist(), labels.tolist(), ignored.tolist()))
        kept = draw.random(count) < 0.8
        said = boxes[kept] + draw.normal(0, 6, (kept.sum(), 4))
        wrong = draw.uniform(0, 200, (3, 2))
        said = np.concatenate([said, np.concatenate([wrong, wrong + 60], axis=1)])
        kinds = np.concatenate([labels[kept], draw.integers(0, classes, 3)])
        founds.append(ScoredBoxes(torch.tensor(said).float(), torch.tensor(draw.random(len(said))).float(), torch.tensor(kinds)))
    return founds, truths


def pycoco(founds: list[ScoredBoxes], truths: list[Objects], classes: int) -> dict[str, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = to_coco(truths, classes)
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(coco_results(founds)), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return dict(zip(("ap", "ap50", "ap75", "small", "medium", "large"), judged.stats[:6], strict=True)) | {"ar": judged.stats[8]}


@pytest.mark.parametrize("seed", range(4))
def test_parity_with_pycocotools(seed: int) -> None:
    founds, truths = scene(seed)
    judge = BoxJudge(("a", "b", "c"))
    for found, truth in zip(founds, truths, strict=True):
        judge.add([found], [truth])
    ours, theirs = judge.result(), pycoco(founds, truths, 3)
    for name in ("ap", "ap50", "ap75", "ar"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-9)
    for name, value in ours["ap_by_size"].items():
        assert value == pytest.approx(theirs[name], abs=1e-9)
    low, high = ours["ap50_interval"]
    assert low <= high


def test_area_by_hand() -> None:
    """Right, wrong, right of three objects: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3."""
    right = np.array([1.0, 0.0, 1.0])
    assert area_under(right, 3) == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert area_under(right, 3, 11) == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)
    assert area_under(np.zeros(0), 3) == 0.0


def test_the_second_answer_for_one_object_is_wrong() -> None:
    truth = [Objects.of([(0, 0, 10, 10)], [0])]
    twice = [ScoredBoxes(torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9]]), torch.tensor([0.9, 0.8]), torch.tensor([0, 0]))]
    assert average_precisions(twice, truth, 1, iou=0.5) == [1.0]
    worse = [ScoredBoxes(twice[0].boxes, torch.tensor([0.8, 0.9]), twice[0].labels)]
    assert average_precisions(worse, truth, 1, iou=0.95) == [pytest.approx(0.5)]


def test_an_ignored_object_is_neither_right_nor_wrong() -> None:
    truth = [Objects.of([(0, 0, 10, 10), (50, 50, 90, 90)], [0, 0], [True, False])]
    found = [ScoredBoxes(torch.tensor([[0.0, 0, 10, 10], [50, 50, 90, 90]]), torch.tensor([0.9, 0.8]), torch.tensor([0, 0]))]
    judge = BoxJudge(("a",))
    judge.add(found, truth)
    assert judge.result()["ap50"] == pytest.approx(1.0)
    assert average_precisions(found, truth, 1, iou=0.5) == [1.0]


def test_nothing_found_and_nothing_there() -> None:
    judge = BoxJudge(("a", "b"))
    judge.add([no_boxes(), no_boxes()], [Objects.of([(0, 0, 9, 9)], [0]), Objects.of([], [])])
    result = judge.result()
    assert result["ap50"] == 0.0
    assert result["n"] == 2
    bare = BoxJudge(("a",))
    bare.add([no_boxes()], [Objects.of([], [])])
    assert bare.result()["ap50"] is None


def test_places() -> None:
    judge = PlaceJudge(("a", "b"))
    there = Objects.of([(0, 0, 10, 10), (0, 0, 2, 2)], [1, 0])
    judge.add([ScoredBoxes(torch.tensor([[0.0, 0, 10, 5]]), torch.tensor([0.9]), torch.tensor([1]))], [there])  # the largest counts
    judge.add([no_boxes(), no_boxes()], [there, Objects.of([], [])])
    result = judge.result()
    assert result["mean_iou"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert result["accuracy"] == pytest.approx(2 / 3)
    assert result["correct_loc"] == pytest.approx(1 / 3)  # an IoU of 0.5 is not above it


class TestPoints:
    names = ("left shoulder", "right hip", "nose")
    person = Objects.of([(0, 0, 30, 40)], [0], None, [[(0, 0, 2), (30, 40, 2), (5, 5, 0)]])

    def test_the_torso_is_the_measure(self) -> None:
        assert reference(self.person.points[0], self.names) == 50.0
        assert reference(self.person.points[0], ("a", "b", "c")) == 40.0

    def test_pck_and_pcp_by_hand(self) -> None:
        judge = PointJudge(self.names, ((0, 1),))
        judge.add([torch.tensor([[9.9, 0, 1], [30, 61, 1], [99, 99, 1]])], [self.person])
        result: dict[str, Any] = judge.result()
        assert result["points"] == 2
        assert result["pck20"] == 0.5
        assert result["nme"] == pytest.approx((9.9 + 21) / 50 / 2)
        assert result["pcp"] == 1.0  # both ends within 25 pixels
        assert result["pck20_per_point"] == {"left shoulder": 1.0, "right hip": 0.0}

    def test_all_points_without_a_label(self) -> None:
        judge = PointJudge(self.names)
        judge.add([torch.zeros(3, 3)], [Objects.of([(0, 0, 1, 1)], [0], None, [[(0, 0, 0)] * 3])])
        assert judge.result()["n"] == 0
        assert judge.result()["nme"] is None

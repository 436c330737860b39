"""Boxes against torchvision's own functions, slow loops, and the course notes' numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_convert, clip_boxes_to_image, complete_box_iou, nms

from onelook.answers.detections import Detections
from onelook.geometry import boxes as b
from onelook.geometry.anchors import cells, cluster_shapes, mean_best_iou, shape_iou

side = st.floats(0, 200, width=32)
box = st.tuples(side, side, side, side).map(lambda v: (min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]) + 1, max(v[1], v[3]) + 1))
several = st.lists(box, min_size=1, max_size=12)


def slow_iou(one: Tensor, other: Tensor) -> float:
    wide = max(0.0, min(float(one[2]), float(other[2])) - max(float(one[0]), float(other[0])))
    high = max(0.0, min(float(one[3]), float(other[3])) - max(float(one[1]), float(other[1])))
    areas = [float((c[2] - c[0]) * (c[3] - c[1])) for c in (one, other)]
    return wide * high / (sum(areas) - wide * high)


class TestConversions:
    @given(several)
    def test_there_and_back_and_as_torchvision(self, given_boxes: list[tuple[float, ...]]) -> None:
        boxes = torch.tensor(given_boxes)
        for name, there, back in (("xywh", b.xyxy_to_xywh, b.xywh_to_xyxy), ("cxcywh", b.xyxy_to_cxcywh, b.cxcywh_to_xyxy)):
            torch.testing.assert_close(there(boxes), box_convert(boxes, "xyxy", name))
            torch.testing.assert_close(back(there(boxes)), boxes, atol=1e-3, rtol=1e-4)

    @given(several)
    def test_clip(self, given_boxes: list[tuple[float, ...]]) -> None:
        boxes = torch.tensor(given_boxes)
        torch.testing.assert_close(b.clip(boxes, 100, 60), clip_boxes_to_image(boxes, (60, 100)))


class TestOverlap:
    def test_the_notes_example(self) -> None:
        """Intersection over union: two 2 x 2 squares that share a 1 x 1 corner."""
        one, other = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[1.0, 1, 3, 3]])
        assert float(b.box_iou(one, other)) == pytest.approx(1 / 7)

    @given(several, several)
    def test_against_a_slow_loop(self, first: list[tuple[float, ...]], second: list[tuple[float, ...]]) -> None:
        one, other = torch.tensor(first), torch.tensor(second)
        slow = torch.tensor([[slow_iou(x, y) for y in other] for x in one])
        torch.testing.assert_close(b.box_iou(one, other), slow, atol=1e-4, rtol=1e-3)
        count = min(len(one), len(other))
        torch.testing.assert_close(b.paired_iou(one[:count], other[:count]), slow.diagonal()[:count], atol=1e-4, rtol=1e-3)

    @given(several)
    def test_generalised_and_distance_never_exceed_it(self, given_boxes: list[tuple[float, ...]]) -> None:
        boxes = torch.tensor(given_boxes)
        plain = b.box_iou(boxes, boxes)
        assert bool((b.generalized_box_iou(boxes, boxes) <= plain + 1e-4).all())
        assert bool((b.distance_box_iou(boxes, boxes) <= plain + 1e-4).all())
        assert bool((complete_box_iou(boxes, boxes) <= plain + 1e-4).all())


class TestSuppression:
    @given(several, st.randoms())
    @settings(max_examples=60)
    def test_three_steps_by_hand(self, given_boxes: list[tuple[float, ...]], random: object) -> None:
        """Drop what scores less than 0.6; keep the best; drop what overlaps it by more than 0.5; go on."""
        boxes = torch.tensor(given_boxes)
        draw = torch.Generator().manual_seed(len(given_boxes))
        scores, labels = torch.rand(len(boxes), generator=draw), torch.randint(0, 2, (len(boxes),), generator=draw)
        left = [i for i in scores.argsort(descending=True).tolist() if float(scores[i]) >= 0.6]
        kept = []
        while left:
            best, *left = left
            kept.append(best)
            left = [i for i in left if labels[i] != labels[best] or slow_iou(boxes[i], boxes[best]) <= 0.5]
        assert b.suppress(boxes, scores, labels, conf=0.6, iou=0.5).tolist() == kept

    def test_classes_do_not_suppress_each_other(self) -> None:
        boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])
        assert len(b.suppress(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]), conf=0.6, iou=0.5)) == 2
        assert len(nms(boxes, torch.tensor([0.9, 0.8]), 0.5)) == 1

    def test_nothing_in_nothing_out(self) -> None:
        none, zero = torch.zeros(0, 4), torch.zeros(0)
        assert len(b.suppress(none, zero, zero.long(), conf=0.5, iou=0.5)) == 0


class TestFusion:
    def test_two_models_agree(self) -> None:
        """The weighted mean of the boxes, the mean of the scores."""
        boxes, scores, labels = b.fuse(
            [torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 12, 10]])], [torch.tensor([0.9]), torch.tensor([0.3])],
            [torch.zeros(1).long(), torch.zeros(1).long()],
        )  # fmt: skip
        torch.testing.assert_close(boxes, torch.tensor([[0.0, 0, (0.9 * 10 + 0.3 * 12) / 1.2, 10]]))
        assert float(scores) == pytest.approx(0.6)
        assert labels.tolist() == [0]

    def test_what_only_one_of_two_found_counts_half(self) -> None:
        none = torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long()
        one = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([0.8]), torch.tensor([1])
        _, scores, labels = b.fuse(*zip(one, none, strict=True))
        assert float(scores) == pytest.approx(0.4)
        assert labels.tolist() == [1]

    def test_overfeat_merges_close_boxes_and_adds_their_scores(self) -> None:
        boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10.2], [80, 80, 90, 90]])
        merged, scores = b.merge_greedily(boxes, torch.tensor([0.5, 0.6, 0.4]))
        torch.testing.assert_close(merged, torch.tensor([[0.0, 0, 10, 10.1], [80, 80, 90, 90]]))
        torch.testing.assert_close(scores, torch.tensor([1.1, 0.4]))


class TestCoding:
    @given(several, several)
    def test_as_torchvision_and_back(self, first: list[tuple[float, ...]], second: list[tuple[float, ...]]) -> None:
        count = min(len(first), len(second))
        boxes, anchors = torch.tensor(first[:count]), torch.tensor(second[:count])
        codes = b.encode(boxes, anchors)
        torch.testing.assert_close(codes, BoxCoder((1.0, 1.0, 1.0, 1.0)).encode_single(boxes, anchors), atol=1e-4, rtol=1e-4)
        if bool((codes[:, 2:] < b.LARGEST_GROWTH).all()):
            torch.testing.assert_close(b.decode(codes, anchors), boxes, atol=0.02, rtol=1e-3)

    def test_decoding_never_overflows(self) -> None:
        assert bool(torch.isfinite(b.decode(torch.full((1, 4), 1e4), torch.tensor([[0.0, 0, 1, 1]]))).all())


class TestAnchors:
    def test_cells_are_row_by_row(self) -> None:
        assert cells(2, 3, 8).tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]

    def test_shape_iou_against_boxes_on_one_corner(self) -> None:
        draw = torch.Generator().manual_seed(0)
        shapes = torch.rand(7, 2, generator=draw) * 50 + 1
        laid = torch.cat([torch.zeros_like(shapes), shapes], dim=1)
        torch.testing.assert_close(shape_iou(shapes, shapes), b.box_iou(laid, laid))

    def test_clusters_find_the_three_shapes_that_are_there(self) -> None:
        draw = torch.Generator().manual_seed(0)
        true = torch.tensor([[10.0, 10], [30, 90], [120, 60]])
        shapes = true.repeat_interleave(40, 0) * (1 + 0.05 * torch.randn(120, 2, generator=draw))
        found = cluster_shapes(shapes, 3)
        assert float(((found - true).abs() / true).max()) < 0.05
        assert mean_best_iou(shapes, found) > 0.9
        assert torch.equal(found, cluster_shapes(shapes, 3))

    def test_fewer_shapes_than_anchors(self) -> None:
        found = cluster_shapes(torch.tensor([[10.0, 20.0]] * 5 + [[0.0, 3.0]]), 3)
        assert found.shape == (3, 2)
        assert bool((found > 0).all())
        with pytest.raises(ValueError, match="no box"):
            cluster_shapes(torch.zeros(3, 2), 2)


def test_labels_at_the_border_of_a_crowded_picture_are_inside() -> None:
    """Fifteen boxes, the first at the top and the last at the right: each one's label is seen."""
    boxes = np.array([[30.0, 0, 60, 40], *([30.0 + 40 * n, 150, 60 + 40 * n, 200] for n in range(13)), [600, 60, 640, 100]])
    found = Detections.of(boxes, np.full(15, 0.9), np.arange(15) % 2, ["platelet", "red"])
    picture = Image.new("RGB", (640, 240), (0, 0, 0))
    drawn = np.asarray(found.draw(picture)).astype(int)
    lines = np.asarray(found.draw(picture, colour=(255, 255, 255))).astype(int)
    written = (drawn.sum(2) > 0) & (lines.sum(2) == 0)
    assert written[:14, 28:80].mean() > 0.5
    assert written[40:62, 560:640].mean() > 0.3

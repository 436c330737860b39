"""The lineage of detectors, piece by piece, against torchvision, slow loops and the course notes' numbers."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign

from onelook.geometry.boxes import box_iou
from onelook.geometry.objects import Objects
from onelook.geometry.placement import Geometry
from onelook.geometry.selective_search import selective_search
from onelook.heads.faster_rcnn import PROPOSALS, RATIOS, SIZES, anchors_of, choose_proposals, label_anchors, pool_regions
from onelook.heads.fcos import BINS, assign, reach_loss
from onelook.heads.heatmap import Heat, HeatMap
from onelook.heads.localize import Localize, Votes, corners, squared_error
from onelook.heads.overfeat import POOL, SIDE, OverFeat, fully_convolutional, pool_everywhere, windows_of
from onelook.heads.rcnn import CROP, cut, slide
from onelook.heads.roi_head import Regions, draw, label_regions, region_boxes
from onelook.heads.yolo import Yolo, encode_grid
from onelook.looks.features import Look


class NotesNetwork(nn.Module):
    """The course notes' network of 14 x 14 windows, no padding: 5 x 5 convolution, 2 x 2 pooling, two dense layers, four classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 16, 5), nn.ReLU(), nn.MaxPool2d(2))
        self.dense = nn.ModuleList([nn.Linear(5 * 5 * 16, 400), nn.Linear(400, 400), nn.Linear(400, 4)])

    def window(self, x: Tensor) -> Tensor:
        x = self.features(x).flatten(1)
        for layer in list(self.dense)[:-1]:
            x = layer(x).relu()
        return cast(Tensor, self.dense[-1](x))

    def at_once(self, x: Tensor) -> Tensor:
        layers = cast(list[nn.Linear], list(self.dense))
        x = fully_convolutional(layers[0], 16, 5)(self.features(x)).relu()
        x = fully_convolutional(layers[1], 400, 1)(x).relu()
        return cast(Tensor, fully_convolutional(layers[2], 400, 1)(x))


class TestOverFeat:
    @pytest.mark.parametrize(("size", "windows"), [(14, 1), (16, 2), (28, 8)])
    @torch.inference_mode()
    def test_all_windows_at_once_as_one_by_one(self, size: int, windows: int) -> None:
        network = NotesNetwork().eval()
        picture = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(size))
        dense = network.at_once(picture)
        assert dense.shape == (1, 4, windows, windows)
        for row in range(windows):
            for column in range(windows):
                window = picture[:, :, 2 * row : 2 * row + 14, 2 * column : 2 * column + 14]
                torch.testing.assert_close(network.window(window)[0], dense[0, :, row, column], atol=1e-5, rtol=1e-5)

    @torch.inference_mode()
    def test_the_offset_trick(self) -> None:
        """Pooling at every offset and reading each pooled map, interleaved, is one dilated convolution on stride-1 maxima."""
        torch.manual_seed(0)
        level, reader = torch.randn(2, 5, 12, 14), nn.Conv2d(5, 3, SIDE)
        dilated = nn.Conv2d(5, 3, SIDE, dilation=POOL)
        dilated.load_state_dict(reader.state_dict())
        found = dilated(pool_everywhere(level))
        for down in range(POOL):
            for across in range(POOL):
                apart = reader(functional.max_pool2d(level[:, :, down:, across:], POOL))
                here = found[:, :, down::POOL, across::POOL]
                rows, columns = (min(a, b) for a, b in zip(apart.shape[2:], here.shape[2:], strict=True))
                torch.testing.assert_close(apart[:, :, :rows, :columns], here[:, :, :rows, :columns])

    def test_windows_lie_where_they_look(self) -> None:
        assert windows_of(2, 2, (8.0, 16.0))[3].tolist() == [8, 16, 8 + 8 * SIDE * POOL, 16 + 16 * SIDE * POOL]

    def test_maps_smaller_than_a_window(self, tiny: Any) -> None:
        head = OverFeat(("a",), channels={"16": 4}).eval()
        placement = Geometry(32).place(32, 32)
        raw = head(Look((placement,), {16: torch.randn(1, 4, 2, 2)}))
        assert len(head.answers(raw, (placement,))) == 1


class TestYolo:
    anchors = torch.tensor([[20.0, 60.0], [60.0, 20.0]])

    def test_the_notes_encoding(self) -> None:
        """3 x 3 x 2 x 8: the centre's cell and the anchor of the best shape; bx, by within the cell, bh, bw in cells."""
        truth = Objects.of([(30, 40, 90, 60), (10, 0, 26, 64)], [1, 2])
        target = encode_grid(truth, (96, 96), (3, 3), self.anchors, 3)
        assert target.shape == (3, 3, 2, 8)
        assert int((target[..., 0] == 1).sum()) == 2
        car = target[1, 1, 1]  # centre (60, 50): second cell each way; wide, so the second anchor
        torch.testing.assert_close(car, torch.tensor([1, 60 / 32 - 1, 50 / 32 - 1, 20 / 32, 60 / 32, 0, 1, 0]))
        person = target[1, 0, 0]  # centre (18, 32): on the line between two rows, the lower one
        torch.testing.assert_close(person, torch.tensor([1, 18 / 32, 0, 64 / 32, 16 / 32, 0, 0, 1]))

    def test_the_rows_that_answer_are_those_of_the_encoding(self) -> None:
        head = Yolo(("a", "b", "c"), channels={"32": 8}, anchors=self.anchors.tolist())
        placement = Geometry(96).place(96, 96)
        raw = head.eval()(Look((placement,), {32: torch.randn(1, 8, 3, 3)}))
        assert raw.shape == (1, 3 * 3 * 2, 9 + 3)
        truth = Objects.of([(30, 40, 90, 60), (10, 0, 26, 63)], [1, 2])
        mine = head.responsible(raw[0, :, :4], truth)
        target = encode_grid(truth, (96, 96), (3, 3), self.anchors, 3)
        assert sorted(mine.tolist()) == (target[..., 0].flatten() == 1).nonzero().flatten().tolist()


class TestFcos:
    centres = torch.tensor([[x * 8.0 + 4, y * 8.0 + 4] for y in range(8) for x in range(8)])

    def test_only_cells_inside_answer_and_each_for_one(self) -> None:
        truth = Objects.of([(0, 0, 30, 30), (20, 20, 64, 64)], [0, 1])
        boxes = torch.cat([self.centres - 10, self.centres + 10], dim=1)
        quality, mine, ignored = assign(self.centres, boxes, torch.full((64, 2), 0.5), truth)
        for index in (mine >= 0).nonzero().flatten().tolist():
            box, label = truth.boxes[mine[index]], int(truth.labels[mine[index]])
            assert bool((self.centres[index] > box[:2]).all())
            assert bool((self.centres[index] < box[2:]).all())
            assert float(quality[index, 1 - label]) == 0
        assert not bool(ignored.any())
        for label in range(2):  # the best cell's wanted score is the IoU that the best box has
            overlap = box_iou(boxes[mine == label], truth.boxes[label : label + 1])
            assert float(quality[:, label].max()) == pytest.approx(float(overlap.max()), abs=1e-4)

    def test_an_object_smaller_than_a_cell_has_one(self) -> None:
        truth = Objects.of([(30.0, 30.0, 31.0, 31.0)], [0])
        _, mine, _ = assign(self.centres, torch.cat([self.centres - 4, self.centres + 4], dim=1), torch.full((64, 1), 0.1), truth)
        assert int((mine == 0).sum()) == 1

    def test_distances_between_two_bins(self) -> None:
        logits = torch.zeros(1, 4, BINS)
        logits[0, :, 3], logits[0, :, 4] = 30.0, 30.0
        assert float(reach_loss(logits, torch.full((1, 4), 3.5))) == pytest.approx(np.log(2), abs=1e-4)
        assert float(reach_loss(logits, torch.full((1, 4), 9.0))) > 20
        assert bool(torch.isfinite(reach_loss(logits, torch.full((1, 4), 1e6))))


class TestRegions:
    def test_anchors_as_torchvision(self) -> None:
        ours = anchors_of(3, 4, 16)
        sizes = tuple(size * 16 for size in SIZES)
        make = AnchorGenerator((sizes,), (RATIOS,))
        theirs = make(ImageList(torch.zeros(1, 3, 48, 64), [(48, 64)]), [torch.zeros(1, 1, 3, 4)])[0]
        shapes = lambda boxes: sorted({tuple((box[2:] - box[:2]).round().tolist()) for box in boxes})  # noqa: E731
        assert len(ours) == len(theirs)
        for one, other in zip(shapes(ours), shapes(theirs), strict=True):
            assert one == pytest.approx(other, abs=1.01)  # theirs are rounded to whole pixels

    def test_proposals_are_the_likeliest_that_do_not_overlap(self) -> None:
        anchors = torch.tensor([[0.0, 0, 50, 50], [1, 1, 50, 50], [60, 60, 90, 90]])
        likely, still = torch.tensor([[2.0, 1.0, 0.5], [0.5, 1.0, 2.0]]), torch.zeros(2, 3, 4)
        found = choose_proposals([anchors], [likely], [still], torch.tensor([80.0, 80.0]))
        assert found.shape == (2, PROPOSALS, 4)
        torch.testing.assert_close(found[0, :2], torch.tensor([[0.0, 0, 50, 50], [60, 60, 80, 80]]))
        torch.testing.assert_close(found[1, :2], torch.tensor([[60.0, 60, 80, 80], [1, 1, 50, 50]]))
        assert not bool(found[:, 2:].any())

    def test_regions_are_pooled_like_torchvision_s(self) -> None:
        """From the map that suits their size, also where the batch is not the first picture's."""
        levels = [torch.randn(2, 4, 320 // stride, 320 // stride) for stride in (8, 16, 32)]
        sides = torch.tensor([20.0, 90, 130, 250, 300, 0])
        boxes = torch.stack([torch.zeros(6), torch.zeros(6), sides, sides], dim=1) + torch.tensor([5.0, 9, 5, 9])
        oracle = MultiScaleRoIAlign(["0", "1", "2"], 7, 2)
        expected = oracle({str(n): level for n, level in enumerate(levels)}, [boxes, boxes / 2], [(320, 320)] * 2)
        torch.testing.assert_close(pool_regions(levels, (8, 16, 32), torch.stack([boxes, boxes / 2])), expected.flatten(1))

    def test_every_object_has_an_anchor(self) -> None:
        truth = Objects.of([(3, 3, 9, 9), (0, 0, 60, 60)], [0, 0])
        kinds, nearest = label_anchors(anchors_of(4, 4, 16), truth)
        assert set(nearest[kinds == 1].tolist()) == {0, 1}

    def test_labels_of_regions(self) -> None:
        boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 4], [50, 50, 60, 60], [0, 0, 0, 0]])
        kinds, nearest = label_regions(boxes, Objects.of([(0, 0, 10, 10), (50, 50, 60, 60)], [2, 0], [False, True]))
        assert kinds.tolist() == [3, 0, -1, -1]
        assert int(nearest[0]) == 0

    def test_a_sample_has_a_quarter_of_objects_at_most(self) -> None:
        kinds = torch.tensor([1] * 40 + [0] * 100 + [-1] * 10)
        chosen = kinds[draw(kinds)]
        assert (int((chosen > 0).sum()), int((chosen == 0).sum())) == (16, 48)

    def test_boxes_of_unmoved_regions(self) -> None:
        raw = Regions(torch.tensor([[[0.0, 0, 10, 20]]]), torch.tensor([[[0.0, 5.0, 0.0]]]), torch.zeros(1, 1, 2, 4))
        boxes, scores = (part[0] for part in region_boxes(raw))
        torch.testing.assert_close(boxes, torch.tensor([[0.0, 0, 10, 20]] * 2))
        torch.testing.assert_close(scores.diagonal(), torch.tensor([0.0, 5.0, 0.0]).softmax(0)[1:])
        assert float(scores[0, 1]) == float(scores[1, 0]) == 0


class TestCrops:
    def test_a_crop_without_context_is_the_region(self) -> None:
        pixels = torch.arange(40.0).expand(3, 40, 40).clone()
        crop = cut(pixels, torch.tensor([[10.0, 10, 30, 30]]), size=20, context=0.0)
        torch.testing.assert_close(crop[0, :, 1:-1, 1:-1], pixels[:, 11:29, 11:29], atol=0.3, rtol=0)

    def test_context_shows_sixteen_pixels_of_two_hundred_and_twenty_seven(self) -> None:
        pixels = torch.zeros(3, 100, 100)
        pixels[:, 30:70, 30:70] = 1
        crop = cut(pixels, torch.tensor([[30.0, 30, 70, 70]]), size=CROP)
        inside = float((crop[0, 0] > 0.5).float().mean()) ** 0.5
        assert inside == pytest.approx(1 - 32 / 227, abs=0.02)

    def test_windows_cover_the_frame(self) -> None:
        found = slide((100, 60), (40.0, 40.0))
        assert float(found[:, :2].min()) == 0
        assert float(found[:, 2].max()) == 100
        assert float(found[:, 3].max()) == 60
        assert len(slide((20, 20), (500.0, 500.0))) == 1


class TestProposals:
    def test_a_flower_is_proposed_and_twice_the_same(self) -> None:
        photo = load_sample_images().images[1]  # the flower, in the middle of the picture
        pixels = torch.from_numpy(np.asarray(Image.fromarray(photo).resize((320, 214))).copy()).permute(2, 0, 1)
        found = selective_search(pixels, 200)
        assert torch.equal(found, selective_search(pixels, 200))
        flower = torch.tensor([[95.0, 20, 225, 200]])
        assert float(box_iou(found, flower).max()) > 0.5

    def test_small_and_flat_pictures(self) -> None:
        assert selective_search(torch.zeros(3, 4, 300, dtype=torch.uint8), 5).shape == (5, 4)
        assert selective_search(torch.zeros(3, 64, 64, dtype=torch.uint8), 5).shape == (5, 4)


class TestLocalize:
    def test_the_notes_loss(self) -> None:
        """All eight squared errors where there is an object, that of Pc alone where there is none."""
        wanted = torch.tensor([[1, 0.5, 0.7, 0.3, 0.4, 0, 1, 0], [0, 0, 0, 0, 0, 0, 0, 0.0]])
        said = torch.tensor([[0.9, 0.4, 0.7, 0.3, 0.2, 0.1, 0.8, 0], [0.2, 9, 9, 9, 9, 9, 9, 9]])
        assert squared_error(said, wanted).tolist() == pytest.approx([0.01 + 0.01 + 0.04 + 0.01 + 0.04, 0.04])

    def test_nothing_but_pc_moves_where_there_is_no_object(self) -> None:
        for form in ("squared", "logistic"):
            head = Localize(("a", "b", "c"), channels={"8": 4}, inputs=4, loss=cast(Any, form))
            raw = torch.rand(1, 1, 8, requires_grad=True)
            nothing = Objects(torch.zeros(0, 4), torch.zeros(0).long(), torch.zeros(0).bool(), torch.zeros(0, 0, 3), (64, 64))
            votes = Votes(raw, torch.ones(1, 1), torch.zeros(1, 0, 2))
            torch.stack(list(head.loss(votes, [nothing]).values())).sum().backward()
            assert raw.grad is not None
            assert raw.grad[0, 0, 0] != 0
            assert not bool(raw.grad[0, 0, 1:].any())

    def test_target_rows_are_shares_of_the_input(self) -> None:
        head = Localize(("a", "b"), channels={"8": 4}, inputs=4)
        truth = Objects(torch.tensor([[10.0, 20, 50, 40]]), torch.tensor([1]), torch.tensor([False]), torch.zeros(1, 0, 3), (100, 80))
        row = head.wanted(torch.zeros(1, 7), [truth])[0]
        torch.testing.assert_close(row, torch.tensor([1, 0.3, 30 / 80, 20 / 80, 0.4, 0, 1]))
        torch.testing.assert_close(corners(row[None])[0], torch.tensor([0.1, 0.25, 0.5, 0.5]))


def test_the_point_is_where_the_heat_is() -> None:
    head = HeatMap(("a", "b"), channels={"8": 4})
    placement = Geometry(64).place(64, 64)
    logits = torch.full((1, 2, 64), -9.0)
    logits[0, 0, 3 * 8 + 5] = 9.0  # row 3, column 5
    logits[0, 1, 2], logits[0, 1, 3] = 9.0, 9.0  # between columns 2 and 3 of row 0
    found = head.postprocess(Heat(logits, (8, 8), 8), (placement,))[0]
    torch.testing.assert_close(found[:, :2], torch.tensor([[44.0, 28.0], [24.0, 4.0]]), atol=0.05, rtol=0)
    assert float(found[0, 2]) > 0.95

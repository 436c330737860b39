"""Judges of pixels against scikit-learn, slow loops and pairs of pixels."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torch import Tensor
from torch.nn import functional

from onelook.geometry.masks import IGNORE, Mask, ProbabilityMap
from onelook.metrics.pixels import PixelJudge, boundary_f1, confusion, foreground_rand, ious, pixel_error

NAMES = ("a", "b", "c", "d")


def random_masks(seed: int, shape: tuple[int, int] = (12, 15), ignored: bool = True) -> tuple[Tensor, Tensor]:
    draw = np.random.default_rng(seed)
    said, truth = draw.integers(0, 3, shape), draw.integers(0, 3, shape)  # class d is never there
    if ignored:
        truth[draw.random(shape) < 0.2] = IGNORE
    return torch.from_numpy(said.astype(np.uint8)), torch.from_numpy(truth.astype(np.uint8))


def judged(pairs: list[tuple[Tensor, Tensor]]) -> PixelJudge:
    judge = PixelJudge(NAMES)
    for said, truth in pairs:
        judge.add_masks(said, truth)
    return judge


def test_as_scikit_learn_counts() -> None:
    pairs = [random_masks(seed) for seed in range(4)]
    result = judged(pairs).result()
    said, truth = (torch.cat([pair[side].flatten() for pair in pairs]).numpy() for side in (0, 1))
    known = truth != IGNORE
    said, truth = said[known], truth[known]
    jaccard = metrics.jaccard_score(truth, said, average=None)
    assert [result["per_class"][name]["iou"] for name in "abc"] == pytest.approx(jaccard.tolist())
    assert result["miou"] == pytest.approx(jaccard.mean())
    assert result["pixel_accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))
    assert result["dice"] == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    assert np.array_equal(confusion(*random_masks(0, ignored=False), 3).numpy(), _table(*random_masks(0, ignored=False)))
    assert result["miou_interval"][0] < result["miou"] < result["miou_interval"][1]


def _table(said: Tensor, truth: Tensor) -> np.ndarray:
    found: np.ndarray = metrics.confusion_matrix(truth.flatten(), said.flatten())
    return found


def test_the_mean_is_over_classes_that_are_there() -> None:
    truth = torch.tensor([[0, 0, 1, IGNORE]], dtype=torch.uint8)
    result = judged([(torch.tensor([[0, 3, 1, 2]], dtype=torch.uint8), truth)]).result()
    assert set(result["per_class"]) == {"a", "b"}
    assert result["miou"] == pytest.approx((0.5 + 1) / 2)
    assert result["pixels"] == 3


def test_nothing_known() -> None:
    judge = judged([(torch.zeros(3, 3, dtype=torch.uint8), torch.full((3, 3), IGNORE, dtype=torch.uint8))])
    assert judge.result()["miou"] == 0
    assert bool(judge.each().isnan().all())
    assert PixelJudge(NAMES).result()["n"] == 0


def test_boundary_f1_as_a_slow_loop() -> None:
    for seed in range(6):
        draw = np.random.default_rng(seed)
        said, truth = (torch.from_numpy(np.kron(draw.integers(0, 3, (4, 5)), np.ones((6, 6))).astype(np.uint8)) for _ in range(2))
        truth[:, :2] = IGNORE
        assert boundary_f1(said, truth, 3, within=0.05) == pytest.approx(_slow_boundary(said, truth, 0.05), nan_ok=True)


def _slow_boundary(said: Tensor, truth: Tensor, within: float) -> float:
    height, width = truth.shape
    reach, scores = within * math.hypot(height, width), []
    for label in range(3):
        edges = []
        for mask in (said, truth):
            edge = set()
            for y in range(height):
                for x in range(width):
                    if mask[y, x] != label or truth[y, x] == IGNORE:
                        continue
                    for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                        if 0 <= v < height and 0 <= u < width and mask[v, u] != label and truth[v, u] != IGNORE:
                            edge.add((y, x))
            edges.append(edge)
        if not edges[0] and not edges[1]:
            continue
        shares = []
        for ours, theirs in (edges, edges[::-1]):
            met = sum(any(math.dist(one, other) <= reach for other in theirs) for one in ours)
            shares.append(met / len(ours) if ours else 0.0)
        scores.append(2 * shares[0] * shares[1] / sum(shares) if sum(shares) else 0.0)
    return float(np.mean(scores)) if scores else math.nan


def test_boundaries_of_large_pictures_are_compared_smaller() -> None:
    truth = torch.zeros(1200, 1600, dtype=torch.uint8)
    truth[300:900, 400:1200] = 1
    assert boundary_f1(truth, truth, 2) == 1.0
    assert boundary_f1(torch.roll(truth, 200, 1), truth, 2) < 0.8


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_rand_score_over_all_pairs_of_pixels(seed: int) -> None:
    """Pixels that were said to lie between regions are regions of their own; a pixel is paired with itself, too."""
    draw = np.random.default_rng(seed)
    said, truth = torch.from_numpy(draw.integers(0, 4, (5, 6))), torch.from_numpy(draw.integers(0, 3, (5, 6)))
    inside = [(y, x) for y in range(5) for x in range(6) if truth[y, x] > 0]
    if not inside:
        return
    same_said = same_truth = both = len(inside)
    for one, other in combinations(inside, 2):
        joined = bool(said[one] == said[other]) and bool(said[one] > 0)
        belongs = bool(truth[one] == truth[other])
        same_said, same_truth, both = same_said + 2 * joined, same_truth + 2 * belongs, both + 2 * (joined and belongs)
    assert foreground_rand(said, truth) == pytest.approx(2 * both / (same_said + same_truth))


def test_rand_score_of_the_same_regions_is_one() -> None:
    regions = torch.tensor([[1, 1, 0, 2, 2], [1, 1, 0, 2, 2]])
    assert foreground_rand(regions, regions) == 1.0
    assert foreground_rand((regions > 0).long(), regions) < 0.7  # merged
    assert pixel_error(torch.zeros(2, 2), torch.tensor([[0.0, 1.0], [255.0, 1.0]])) == pytest.approx(2 / 3)


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_shares_are_enlarged_strip_by_strip_as_at_once(classes: int, high: int, wide: int, height: int, width: int, seed: int) -> None:
    values = torch.rand(classes, high, wide, generator=torch.Generator().manual_seed(seed)).softmax(0)
    wanted = functional.interpolate(values[None], size=(height, width), mode="bilinear", align_corners=False)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("onelook.geometry.masks.STRIP", 3 * classes * width)
        shares = ProbabilityMap(values, (width, height))
        found = torch.cat([strip for _, strip in shares.strips()], dim=1)
        label, sure = shares.surest()
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert label.shape == (height, width)
    assert int((sure.float() - (wanted.amax(0) * 255).round()).abs().max()) <= 1


def test_two_classes_have_the_challenge_figures() -> None:
    truth = torch.tensor([[1, 1, 0, 1, 1], [1, 1, 0, 1, 1]], dtype=torch.uint8)
    judge = PixelJudge(("membrane", "inside"))
    judge.add_masks(truth, truth)
    assert judge.result()["foreground_rand"] == 1.0
    judge = PixelJudge(("membrane", "inside"))
    judge.add_masks(torch.ones_like(truth), truth)  # two cells made one
    found = judge.result()
    assert found["pixel_error"] == pytest.approx(0.2)
    assert found["foreground_rand"] == pytest.approx(2 * 0.5 / (1 + 0.5))


def test_shares_and_masks_go_through_the_judge() -> None:
    truth = torch.tensor([[0, 1], [1, 1]], dtype=torch.uint8)
    values = functional.one_hot(truth.long(), 4).permute(2, 0, 1).half()
    judge = PixelJudge(NAMES)
    judge.add([ProbabilityMap(values, (2, 2))], [Mask((2, 2), (1, 3, 0, 0), lambda: truth)])
    assert judge.result()["miou"] == 1.0
    assert float(ious(judge.confusions[0]).nanmean()) == 1.0

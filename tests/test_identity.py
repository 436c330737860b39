"""Heads that compare: the notes' sums, figures against other libraries and slow loops, splits that part no identity."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from onelook import Geometry, Model, read
from onelook.backbones.backbone import Backbone
from onelook.data.split import by_class, split
from onelook.errors import DataError, HeadError
from onelook.heads import HEADS
from onelook.heads.embed import Embed
from onelook.heads.pair import Pair
from onelook.metrics.verification import IdentityJudge, accepted, equal_error, first_ranks, pairs_of, threshold_at
from onelook.training.identity import held_identities
from onelook.workflows.train import train
from tests.conftest import write_crops, write_places


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight "people" with six pictures each."""
    root = tmp_path_factory.mktemp("people")
    write_places(root, 8, 6)
    return root


# --- the notes' forms


def test_the_notes_triplet_loss() -> None:
    """J = sum over triplets of max(|f(A) - f(P)|^2 - |f(A) - f(N)|^2 + alpha, 0), by hand and as pytorch-metric-learning has it."""
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.reducers import SumReducer

    anchor, positive, negative = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.2]])
    by_hand = max(1.0 - 1.44 + 0.5, 0.0)
    points = torch.cat([anchor, positive, negative])
    loss = TripletMarginLoss(0.5, distance=LpDistance(normalize_embeddings=False, power=2), reducer=SumReducer())
    triplets = (torch.tensor([0]), torch.tensor([1]), torch.tensor([2]))
    assert float(loss(points, torch.tensor([0, 0, 1]), triplets)) == pytest.approx(by_hand)
    far = torch.cat([anchor, positive, torch.tensor([[0.0, 2.0]])])
    assert float(loss(far, torch.tensor([0, 0, 1]), triplets)) == 0  # 1 - 4 + 0.5 < 0
    zero = torch.zeros(3, 2)
    assert float(loss(zero, torch.tensor([0, 0, 1]), triplets)) == pytest.approx(0.5)  # all the same: the margin alone, as the notes say


@pytest.mark.parametrize(("features", "expected"), [("difference", [1.0, 0.0, 3.0]), ("chi_square", [1 / 5, 0.0, 9 / 5])])
def test_the_notes_logistic_unit(features: str, expected: list[float]) -> None:
    """sigma(sum w_k |a_k - b_k| + b), and with (a_k - b_k)^2 / (a_k + b_k), by hand."""
    head = Pair(("a", "b"), inputs=3, features=features)  # type: ignore[arg-type]
    head.mean.zero_()
    head.deviation.fill_(1)
    with torch.no_grad():
        head.unit.weight.copy_(torch.tensor([[-1.0, 2.0, -0.5]]))
        head.unit.bias.fill_(0.25)
    one, other = torch.tensor([2.0, 1.0, 4.0]), torch.tensor([3.0, 1.0, 1.0])
    logit = -expected[0] + 2 * expected[1] - 0.5 * expected[2] + 0.25
    with torch.no_grad():
        said, distance = float(head.logits(one, other)), float(head.distances(one[None], other[None]))
    assert said == pytest.approx(logit, abs=1e-5)
    assert distance == pytest.approx(-logit, abs=1e-5)


# --- figures


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 60), st.integers(3, 200))
def test_equal_error_against_sklearn(seed: int, same: int, different: int) -> None:
    draw = np.random.default_rng(seed)
    near, far = draw.normal(0, 1, same), draw.normal(1.5, 1, different)
    rate, threshold = equal_error(near, far)
    false, true, _ = roc_curve(np.r_[np.ones(same), np.zeros(different)], -np.r_[near, far], drop_intermediate=False)
    expected = brentq(lambda x: 1 - x - float(interp1d(false, true)(x)), 0.0, 1.0)
    assert rate == pytest.approx(expected, abs=0.5 / min(same, different))
    assert near.min() - 5 <= threshold <= far.max() + 5


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.001, 0.5))
def test_thresholds_keep_their_rate(seed: int, rate: float) -> None:
    """Ties included: at most the rate is accepted, and at the next larger distance more would be."""
    far = np.random.default_rng(seed).integers(0, 30, 200) / 10.0
    threshold = threshold_at(far, rate)
    assert (far <= threshold).mean() <= rate + 1e-9
    larger = far[far > threshold]
    if len(larger):
        assert (far <= larger.min()).mean() > rate + 1e-9


def test_pairs_and_ranks_against_slow_loops() -> None:
    draw = np.random.default_rng(0)
    vectors, ids = draw.normal(size=(30, 5)), draw.integers(0, 8, 30)
    distances = ((vectors[:, None] - vectors[None]) ** 2).sum(-1)
    pairs = pairs_of(distances, ids)
    same, different = [], []
    for one in range(30):
        for other in range(one + 1, 30):
            (same if ids[one] == ids[other] else different).append(distances[one, other])
    assert sorted(pairs.same.tolist()) == sorted(same)
    assert sorted(pairs.different.tolist()) == sorted(different)
    firsts = first_ranks(distances, ids)
    for one in range(30):
        others = [other for other in range(30) if other != one]
        if not any(ids[other] == ids[one] for other in others):
            assert np.isnan(firsts[one])
        else:
            assert firsts[one] == (ids[min(others, key=lambda other: distances[one, other])] == ids[one])
    assert accepted(pairs.same, pairs.different, 0.1) == np.mean([d <= threshold_at(np.array(different), 0.1) for d in same])


def test_the_judge_says_what_it_cannot_say() -> None:
    judge = IdentityJudge(lambda one, other: 2 - 2 * one @ other.T, 1.0)
    judge.add([torch.tensor([1.0, 0.0])] * 3, [0, 0, 0])
    assert judge.result()["eer"] is None
    assert "two with two pictures each" in judge.in_words(judge.result())
    judge.add([torch.tensor([0.0, 1.0])] * 2, [1, 1])
    result = judge.result()
    assert (result["eer"], result["rank1"], result["accuracy"]) == (0.0, 1.0, 1.0)
    assert judge.worst(5) == []


# --- training


def test_splits_part_no_identity(people: Path) -> None:
    data = by_class(read(people))
    train_indices, val_indices = split(data, 0.25, 0)
    learned = {data.samples[index].target for index in train_indices}
    held = {data.samples[index].target for index in val_indices}
    assert not learned & held
    assert len(held) == 2


@pytest.mark.parametrize(
    ("method", "options"),
    [("embed", {}), ("embed", {"loss": "triplet", "start": "principal", "mining": "semi_hard", "dimensions": 8}), ("pair", {})],
)
def test_unknown_people_are_told_apart(
    method: str, options: dict[str, object], people: Path, lite0: Backbone, cache_root: Path, tmp_path: Path
) -> None:
    """Trained on six, judged on two others; saved, loaded, and the same vectors to the bit."""
    model = Model(lite0, Geometry(64), cache=cache_root, device="cpu")
    data = by_class(read(people))
    train_indices, val_indices = split(data, 0.25, 0)
    fitted = model.fit("who", data.pick(train_indices), head=method, epochs=6, **options)
    assert fitted.trained.held_out["identities"] == 2
    found = model.evaluate("who", data.pick(val_indices))
    assert found.metrics["identities"] == 2
    assert found.metrics["eer"] < 0.25
    model.save(tmp_path / "m.onelook")
    again = Model.load(tmp_path / "m.onelook", cache=cache_root, device="cpu")
    path = data.samples[0].path
    before, after = (next(one.predict([path]))["who"] for one in (model, again))
    assert (before.values == after.values).all()
    assert again.head("who").threshold == model.head("who").threshold
    if method == "embed":
        assert np.linalg.norm(before.values) == pytest.approx(1, abs=1e-5)


def test_whitening_evens_out_what_differs_within_an_identity() -> None:
    """Along one direction pictures of one identity differ much, along another identities do: only the second is kept large."""
    draw = torch.Generator().manual_seed(0)
    identities = torch.arange(200) % 20
    vectors = torch.randn(200, 6, generator=draw) * torch.tensor([20.0, 0.1, 1, 1, 1, 1])
    vectors[:, 1] += 2.0 * torch.randn(20, generator=draw)[identities]
    head = Embed([str(n) for n in range(20)], strides=(), embedding=True, inputs=6, dimensions=6, loss="none")
    head.observe(vectors, identities, torch.zeros(6), torch.ones(6))
    head.readout.standardize = False
    weights = head.project.weight.norm(dim=0)
    assert weights[1] > 2 * weights[0]  # and an unwhitened start is the other way round
    head = Embed([str(n) for n in range(20)], strides=(), embedding=True, inputs=6, dimensions=1, loss="none", start="principal")
    head.observe(vectors, identities, torch.zeros(6), torch.ones(6))
    weights = head.project.weight.norm(dim=0)
    assert weights[0] > 2 * weights[1]


def test_bad_input(people: Path, lite0: Backbone, cache_root: Path, tmp_path: Path) -> None:
    model = Model(lite0, Geometry(64), cache=cache_root, device="cpu")
    write_crops(tmp_path / "two", 6)
    with pytest.raises(DataError, match="four are needed"):
        model.fit("who", read(tmp_path / "two"), head="embed")
    with pytest.raises(HeadError, match="frozen network"):
        model.fit("who", read(people), head="embed", freeze="none")
    assert held_identities(torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 4]), 0).sum() == 4
    assert HEADS["embed"].named_only


def test_from_the_command_to_another_folder_of_people(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``train --task embed`` holds whole identities back; ``val`` takes people whom the head has never heard of."""
    from onelook.workflows.validate import validate

    monkeypatch.chdir(tmp_path)
    result = train(people, task="embed", model_path="m.onelook", val="0.25", size=64, epochs=2)
    assert result["metrics"].keys() >= {"eer", "eer_interval", "rank1", "val_at_far"}
    for number in range(2):
        (tmp_path / "others" / f"stranger{number}").mkdir(parents=True)
        for file in sorted((people / f"p{number}").iterdir()):
            (tmp_path / "others" / f"stranger{number}" / file.name).write_bytes(file.read_bytes())
    judged = validate(tmp_path / "others", [Model.load("m.onelook", device="cpu")], "embed")
    assert judged.found.metrics["identities"] == 2

"""The ladder: plans that fit, the one-standard-error rule, evidence that adds up, and Ctrl-C that keeps the best rung."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

from onelook import Geometry, Model, read
from onelook.averaged import Averaged, tails_of
from onelook.backbone import Backbone
from onelook.errors import BudgetError
from onelook.ladder import FEWEST_EPOCHS, Plan, Rate, difference, make_plan, measure_steps
from onelook.progress import Progress
from onelook.tune import usual_epochs

RATE = Rate(0.008, {0: 0.037, 2: 0.014, 3: 0.011, 4: 0.005})


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of one photograph, sharp or blurred a little: a question that a frozen network does not answer without error."""
    root = tmp_path_factory.mktemp("hard")
    photo = Image.fromarray(load_sample_images().images[0])
    draw = np.random.default_rng(0)
    for number in range(60):
        kind = ("sharp", "blurred")[number % 2]
        left, top = draw.integers(0, photo.width - 80), draw.integers(0, photo.height - 80)
        crop = photo.crop((left, top, left + 80, top + 80))
        if kind == "blurred":
            crop = crop.resize((66, 66), Image.Resampling.BILINEAR).resize((80, 80), Image.Resampling.BILINEAR)
        (root / kind).mkdir(exist_ok=True)
        crop.save(root / kind / f"{number}.png")
    return root


@given(count=st.integers(20, 20_000), budget=st.floats(5, 7200))
def test_plans_keep_to_the_budget(count: int, budget: float) -> None:
    try:
        plan = make_plan(count, budget, RATE)
    except BudgetError as error:
        least = float(str(error).split("--budget ")[-1].split("s,")[0])
        make_plan(count, least, RATE)  # what the message asks for is enough
        return
    assert plan.seconds <= budget or (plan.views == 1 and not plan.cuts)
    assert list(plan.cuts) == sorted(plan.cuts, reverse=True)
    assert not plan.cuts or FEWEST_EPOCHS <= plan.epochs <= usual_epochs(count)


def test_more_time_climbs_higher() -> None:
    plans = [make_plan(2000, budget, RATE) for budget in (60, 180, 600, 3600)]
    assert [len(plan.cuts) for plan in plans] == sorted(len(plan.cuts) for plan in plans)
    assert plans[0].cuts == ()
    assert plans[-1].cuts == (4, 3, 2, 0)
    words = plans[1].in_words(("stride2", "stride4", "stride8", "stride16", "stride32", "final"), 2000, 180)
    assert "behind stride16" in words
    assert "no time for tails" in Plan(2, (), 0, 5).in_words((), 10, 6)


def test_what_the_user_insists_on() -> None:
    plan = make_plan(2000, 600, RATE, views=8, epochs=9)
    assert (plan.views, plan.epochs) == (8, 9)
    assert make_plan(2000, 600, RATE, epochs=1).epochs == 1


def test_a_budget_too_small_for_anything() -> None:
    with pytest.raises(BudgetError, match=r"--budget 3s: looking at 2000 pictures once .* takes about 19 s; give at least --budget 23s"):
        make_plan(2000, 3, RATE)


def test_paired_differences_are_over_shared_pictures() -> None:
    mean, error = difference({1: 0.5, 2: 0.7, 3: 0.1}, {2: 0.5, 3: 0.2, 4: 9.0})
    pairs = np.array([0.2, -0.1])
    assert mean == pytest.approx(pairs.mean())
    assert error == pytest.approx(pairs.std(ddof=1) / np.sqrt(2))
    assert difference({1: 1.0}, {2: 1.0}) == (0.0, 0.0)


def test_steps_are_measured_where_they_are_worth_a_rung(lite0: Backbone) -> None:
    steps = measure_steps(lite0, Geometry(64), (64, 64))
    assert 0 in steps
    assert all(steps[deep] > steps[shallow] for deep, shallow in zip(sorted(steps), sorted(steps)[1:], strict=False))
    assert measure_steps(Backbone.load("random:hrnet_w18_small"), Geometry(64), (64, 64)) == {}


class TestClimb:
    @pytest.fixture
    def model(self, lite0: Backbone, tmp_path: Path) -> Model:
        return Model(lite0, Geometry(64), cache=tmp_path, device="cpu")

    def test_evidence_and_choice(self, model: Model, hard: Path, capsys: pytest.CaptureFixture[str]) -> None:
        begun = time.perf_counter()
        fitted = model.fit("kind", read(hard), budget=60, progress=Progress())
        taken = time.perf_counter() - begun
        climbed = fitted.climbed
        assert climbed is not None
        names = [rung.rung for rung in climbed.evidence]
        assert names[:7] == [*(f"linear, stride {stride}" for stride in (2, 4, 8, 16, 32)), "linear, embedding", "all depths, 2 views"]
        assert any("tail behind stride16" in name for name in names)
        assert [rung.remark for rung in climbed.evidence].count("chosen") == 1
        assert all(rung.interval[0] <= rung.metric <= rung.interval[1] for rung in climbed.evidence if rung.interval and rung.metric)
        assert sum(rung.seconds for rung in climbed.evidence) <= climbed.seconds <= taken
        assert climbed.why.endswith(".")
        assert fitted.cut == climbed.cut
        said = capsys.readouterr().err
        assert "frozen heads on 4 views, then tails" in said
        assert "all depths, 2 views: accuracy" in said
        assert model.evaluate("kind", read(hard)).metrics["accuracy"] > 0.8

    def test_the_cheaper_rung_wins_within_one_standard_error(self, model: Model, hard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Tails that say at random what they say are no better, and one that is right by construction wins with its tail."""
        monkeypatch.setattr("onelook.ladder.judge", judged_as(lambda scores, targets: torch.zeros_like(scores)))
        assert model.fit("kind", read(hard), budget=60).cut == 6
        right = judged_as(lambda scores, targets: 8.0 * torch.nn.functional.one_hot(targets, 2).float())
        monkeypatch.setattr("onelook.ladder.judge", right)
        fitted = model.fit("kind", read(hard), budget=60)
        assert fitted.cut == 4  # the shallowest: deeper ones bring nothing more
        assert tails_of(model.heads["kind"])

    def test_interrupted_the_best_rung_so_far_is_kept(
        self, model: Model, hard: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("onelook.ladder.judge", interrupt)
        fitted = model.fit("kind", read(hard), budget=60, progress=Progress())
        assert fitted.climbed is not None
        assert fitted.climbed.interrupted
        assert fitted.cut == 6
        assert "interrupted: the best rung so far is kept (all depths" in capsys.readouterr().err
        monkeypatch.setattr("onelook.ladder.radial", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.fit("other", read(hard), budget=60)
        assert "other" not in model.heads

    def test_interrupted_while_refitting_the_judged_tail_is_kept(self, model: Model, hard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        right = judged_as(lambda scores, targets: 8.0 * torch.nn.functional.one_hot(targets, 2).float())
        monkeypatch.setattr("onelook.ladder.judge", right)
        monkeypatch.setattr("onelook.ladder.carry_on", interrupt)
        fitted = model.fit("kind", read(hard), budget=60)
        assert fitted.cut == 4
        assert fitted.climbed is not None
        assert fitted.climbed.interrupted
        assert isinstance(model.heads["kind"], Averaged) or tails_of(model.heads["kind"])
        assert next(model.predict(hard))["kind"]

    def test_too_little_time_says_what_it_takes(self, model: Model, hard: Path) -> None:
        with pytest.raises(BudgetError, match=r"give at least --budget \d+s"):
            model.fit("kind", read(hard), budget=0.001)
        assert not model.heads
        with pytest.raises(BudgetError, match="that tail takes about"):
            model.fit("kind", read(hard), budget=0.5, freeze="none")

    def test_random_weights_are_trained_whole(self, tiny: Backbone, hard: Path, tmp_path: Path) -> None:
        model = Model(tiny, Geometry(64), cache=tmp_path / "cache", device="cpu")
        fitted = model.fit("kind", read(hard), epochs=1)
        assert (fitted.cut, fitted.climbed) == (0, None)


def judged_as(score):  # type: ignore[no-untyped-def]
    """``tune.judge`` with an untrained tail whose held-out scores are ``score(scores, targets)``."""
    from onelook.tune import Tuned, start

    def judge(problem, cut, epochs, through):  # type: ignore[no-untyped-def]
        where = (problem.rows.folds == 0).nonzero().flatten()
        targets = problem.rows.targets[where]
        return Tuned(start(problem, cut), score(torch.zeros(len(where), 2), targets), where)

    return judge

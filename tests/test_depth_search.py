"""The ladder: plans that fit, the one-standard-error rule, evidence that adds up, and Ctrl-C that keeps the best trial."""

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

from onelook import Geometry, Model, read
from onelook.backbones.backbone import Backbone
from onelook.errors import BudgetError
from onelook.heads import HEADS
from onelook.heads.ensemble import Averaged
from onelook.looks.collect import Collected, collect
from onelook.progress import Progress
from onelook.training.contenders import Contender, choose, difference
from onelook.training.depth_plan import FEWEST_EPOCHS, Plan, Rate, make_plan
from onelook.training.finetune import usual_epochs

USUAL = HEADS["classify"].usual
RATE = Rate(0.008, {0: 0.037, 2: 0.014, 3: 0.011, 4: 0.005})


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of one photograph, sharp or blurred a little: a question that a frozen network does not answer without error."""
    root = tmp_path_factory.mktemp("hard")
    photo = Image.fromarray(load_sample_images().images[0])
    draw = np.random.default_rng(0)
    for number in range(40):
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
    wanted = usual_epochs(USUAL, count)
    plan = make_plan(count, budget, RATE, wanted)
    assert plan.seconds <= budget or (plan.views == 1 and not plan.cuts)
    assert list(plan.cuts) == sorted(plan.cuts, reverse=True)
    assert not plan.cuts or FEWEST_EPOCHS <= plan.epochs <= wanted


def test_more_time_goes_deeper() -> None:
    plans = [make_plan(2000, budget, RATE, 6) for budget in (60, 180, 600, 3600)]
    assert [len(plan.cuts) for plan in plans] == sorted(len(plan.cuts) for plan in plans)
    assert plans[0].cuts == ()
    assert plans[-1].cuts == (4, 3, 2, 0)
    words = plans[1].in_words(("stride2", "stride4", "stride8", "stride16", "stride32", "final"), 2000, 180)
    assert "behind stride16" in words
    assert "no time for tails" in Plan(2, (), 0, 5).in_words((), 10, 6)


def test_what_the_user_insists_on() -> None:
    plan = make_plan(2000, 600, RATE, 9, views=8)
    assert (plan.views, plan.epochs) == (8, 9)
    assert make_plan(2000, 600, RATE, 1).epochs == 1


class TestRule:
    """The cheapest at prediction wins within a margin, in standard errors, of the best."""

    def contender(self, name: str, losses: list[float], tail: bool, cut: int = 4) -> Contender:
        twin = SimpleNamespace(head=SimpleNamespace(tail=SimpleNamespace(cut=cut)))
        judged: Any = (twin,) if tail else ()
        return Contender(name, cast(Any, None), dict(enumerate(losses)), judged)

    def test_the_smaller_loss_wins_without_a_margin(self) -> None:
        frozen, tail = self.contender("frozen", [0.5, 0.5, 0.4], False), self.contender("tail", [0.5, 0.4, 0.4], True)
        assert choose([frozen, tail], margin=0.0) is tail
        assert choose([tail, frozen], margin=5.0) is frozen
        worse = self.contender("worse", [0.9, 0.9, 0.9], True)
        assert choose([frozen, worse], margin=0.0) is frozen
        assert choose([worse, frozen, tail], margin=0.0) is tail

    def test_the_margin_counts_standard_errors(self) -> None:
        """Differences -0.3, -0.1, -0.2: mean -0.2, deviation 0.1, standard error 0.1 / sqrt 3."""
        frozen, tail = self.contender("frozen", [0.5, 0.5, 0.5], False), self.contender("tail", [0.2, 0.4, 0.3], True)
        error = 0.1 / np.sqrt(3)
        assert choose([frozen, tail], margin=0.99 * 0.2 / error) is tail
        assert choose([frozen, tail], margin=1.01 * 0.2 / error) is frozen

    def test_the_shallower_of_two_that_are_as_good(self) -> None:
        frozen = self.contender("frozen", [0.9, 0.9, 0.8], False)
        deep, shallow = self.contender("deep", [0.1, 0.2, 0.3], True, cut=3), self.contender("shallow", [0.1, 0.3, 0.2], True)
        assert choose([frozen, deep, shallow], margin=0.5) is shallow

    def test_alone(self) -> None:
        only = self.contender("tail", [0.1], True)
        assert choose([only]) is only


def test_paired_differences_are_over_shared_pictures() -> None:
    mean, error = difference({1: 0.5, 2: 0.7, 3: 0.1}, {2: 0.5, 3: 0.2, 4: 9.0})
    pairs = np.array([0.2, -0.1])
    assert mean == pytest.approx(pairs.mean())
    assert error == pytest.approx(pairs.std(ddof=1) / np.sqrt(2))
    assert difference({1: 1.0}, {2: 1.0}) == (0.0, 0.0)


class TestSearch:
    @pytest.fixture
    def model(self, lite0: Backbone, fresh_cache: Path) -> Model:
        return Model(lite0, Geometry(64), cache=fresh_cache, device="cpu")

    @pytest.mark.slow
    def test_evidence_and_choice(self, model: Model, hard: Path, capsys: pytest.CaptureFixture[str]) -> None:
        begun = time.perf_counter()
        fitted = model.fit("kind", read(hard), budget=12, progress=Progress())
        taken = time.perf_counter() - begun
        search = fitted.trained.search
        assert search is not None
        names = [trial.trial for trial in search.evidence]
        assert names[:7] == [*(f"linear, stride {stride}" for stride in (2, 4, 8, 16, 32)), "linear, embedding", "all depths, 2 views"]
        assert any("tail behind stride16" in name for name in names)
        assert [trial.remark for trial in search.evidence].count("chosen") == 1
        assert all(trial.interval[0] <= trial.metric <= trial.interval[1] for trial in search.evidence if trial.interval and trial.metric)
        assert sum(trial.seconds for trial in search.evidence) <= search.seconds <= taken <= 1.1 * 12
        assert search.why.endswith(".")
        said = capsys.readouterr().err
        assert "frozen heads on 4 views, then tails" in said
        assert "all depths, 2 views: accuracy" in said
        assert model.evaluate("kind", read(hard)).metrics["accuracy"] > 0.8

    @pytest.mark.slow
    def test_wrong_tails_lose_and_right_ones_win(self, model: Model, hard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Tails that are wrong by construction lose; those that are right win, in their mean with the frozen head."""
        monkeypatch.setattr(
            "onelook.training.depth_search.judge", judged_as(lambda scores, targets: -8.0 * torch.nn.functional.one_hot(targets, 2).float())
        )
        assert model.fit("kind", read(hard), budget=40).trained.cut == 6
        right = judged_as(lambda scores, targets: 8.0 * torch.nn.functional.one_hot(targets, 2).float())
        monkeypatch.setattr("onelook.training.depth_search.judge", right)
        fitted = model.fit("kind", read(hard), budget=40)
        assert fitted.trained.cut < 6
        assert isinstance(model.heads["kind"], Averaged)
        assert len(model.heads["kind"].heads) == 1 + len(model.heads["kind"].tails)

    @pytest.mark.slow
    def test_interrupted_the_best_rung_so_far_is_kept(
        self, model: Model, hard: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("onelook.training.depth_search.judge", interrupt)
        fitted = model.fit("kind", read(hard), budget=20, progress=Progress())
        assert fitted.trained.search is not None
        assert fitted.trained.interrupted
        assert fitted.trained.cut == 6
        assert "interrupted: the best trial so far is kept (all depths" in capsys.readouterr().err
        monkeypatch.setattr("onelook.training.depth_search.radial", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.fit("other", read(hard), budget=20)
        assert "other" not in model.heads

    def test_interrupted_while_refitting_the_judged_tail_is_kept(self, model: Model, hard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        right = judged_as(lambda scores, targets: 8.0 * torch.nn.functional.one_hot(targets, 2).float())
        monkeypatch.setattr("onelook.training.depth_search.judge", right)
        monkeypatch.setattr("onelook.training.depth_search.carry_on", interrupt)
        fitted = model.fit("kind", read(hard), budget=20)
        assert fitted.trained.cut < 6
        assert fitted.trained.search is not None
        assert next(trial for trial in fitted.trained.search.evidence if trial.remark == "chosen").cut == fitted.trained.cut
        assert fitted.trained.interrupted
        assert isinstance(model.heads["kind"], Averaged) or model.heads["kind"].tails
        assert next(model.predict(hard))["kind"]

    def test_too_little_time_is_refused_before_a_look_with_a_number_that_is_enough(self, model: Model, hard: Path) -> None:
        with pytest.raises(BudgetError, match=r"looking at 40 pictures once .* give at least --budget \d+s") as refused:
            model.fit("kind", read(hard), budget=0.001)
        assert not model.heads
        assert not list((model.cache_root / "looks").glob("*/index.bin")) or not any(
            path.stat().st_size for path in (model.cache_root / "looks").glob("*/index.bin")
        )
        least = float(str(refused.value).split("--budget ")[-1].split("s,")[0])
        model.fit("kind", read(hard), budget=least)
        with pytest.raises(BudgetError, match="that tail takes about"):
            model.fit("kind", read(hard), budget=0.5, freeze="none")

    @pytest.mark.slow
    def test_no_time_to_look_again_leaves_what_is_there(self, model: Model, hard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """More views, or what tails read, of fewer pictures: the looks that are there are learned from, all of them."""
        calls: list[int] = []

        def late(*arguments: Any) -> Collected:
            found = collect(*arguments)
            calls.append(len(found.digests))
            if len(calls) == 1:
                return found
            last = list(found.digests)[-1]
            digests = {path: digest for path, digest in found.digests.items() if path != last}
            return replace(found, digests=digests, left=(last,))

        monkeypatch.setattr("onelook.training.gather.collect", late)
        fitted = model.fit("kind", read(hard), budget=12)
        assert len(calls) > 1
        assert (fitted.images, fitted.trained.cut) == (40, 6)

    def test_random_weights_are_trained_whole(self, tiny: Backbone, hard: Path, tmp_path: Path) -> None:
        model = Model(tiny, Geometry(64), cache=tmp_path / "cache", device="cpu")
        fitted = model.fit("kind", read(hard), epochs=1)
        assert (fitted.trained.cut, fitted.trained.search) == (0, None)


def judged_as(score):  # type: ignore[no-untyped-def]
    """``finetune.judge`` with an untrained tail whose held-out scores are ``score(scores, targets)``."""
    from onelook.training.finetune import Finetuned, start

    def judge(problem, cut, epochs, deadline, out):  # type: ignore[no-untyped-def]
        where = out.nonzero().flatten()
        targets = problem.data.targets[where]
        return Finetuned(start(problem, cut), score(torch.zeros(len(where), 2), targets), where)

    return judge

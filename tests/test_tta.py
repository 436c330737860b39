"""Shots, averages, gains and ensembles."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ttest_1samp
from torchvision.transforms.functional import ten_crop

from onelook import Geometry, Model, read
from onelook.backbones.backbone import Backbone
from onelook.errors import HeadError
from onelook.heads.classify import Classify
from onelook.heads.regress import Regress
from onelook.looks.tta import TTA_VIEWS, tta_views
from onelook.metrics.classification import MultiLabelJudge, SingleLabelJudge
from onelook.metrics.intervals import paired_gain
from onelook.metrics.regression import ValueJudge
from onelook.workflows.validate import validate


@pytest.fixture(scope="module")
def models(lite0: Backbone, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Sequence[Model]:
    made = []
    for seed in (0, 1):
        model = Model(lite0, Geometry(64), cache=tmp_path_factory.mktemp("cache"), device="cpu")
        model.fit("kind", read(photos).pick([*range(4 + seed, 12), *range(28, 36 - seed)]), freeze="all", form="linear", seed=seed)
        made.append(model)
    return made


def test_ten_crops_are_torchvisions(photos: Path) -> None:
    """Of a picture of 64 x 48 at 7/8: 56 x 42, corners and centre, then mirrored."""
    picture = Image.open(next(photos.rglob("*.png"))).convert("RGB").resize((64, 48))
    ours = {tta_view.make(picture).tobytes() for tta_view in TTA_VIEWS["tencrop"]}
    theirs = {crop.tobytes() for crop in ten_crop(picture, [42, 56])}
    assert len(ours) == 10
    assert ours == theirs


def test_mirrors(photos: Path) -> None:
    picture = Image.open(next(photos.rglob("*.png"))).convert("RGB")
    pixels = np.asarray(picture)
    made = [np.asarray(tta_view.make(picture)) for tta_view in TTA_VIEWS["mirrors"]]
    for found, expected in zip(made, (pixels, pixels[:, ::-1], pixels[::-1], pixels[::-1, ::-1]), strict=True):
        assert np.array_equal(found, expected)
    with pytest.raises(HeadError, match="--tta dance: unknown; use one of none, flips, mirrors, tencrop, scales"):
        tta_views("dance")


def test_averages_are_of_probabilities() -> None:
    raws = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0)) * 3
    single, multi = (Classify("abc", multi=several, inputs=2, form="linear") for several in (False, True))
    values = Regress("abc", inputs=2, form="linear")
    torch.testing.assert_close(single.mean(raws).softmax(1), raws.softmax(2).mean(0))
    torch.testing.assert_close(multi.mean(raws).sigmoid(), raws.sigmoid().mean(0))
    torch.testing.assert_close(values.mean(raws), raws.mean(0))


@pytest.mark.parametrize("tta", [name for name in TTA_VIEWS if name != "none"])
@pytest.mark.slow
def test_predict_averages_looks_at_every_shot(models: Sequence[Model], photos: Path, tmp_path: Path, tta: str) -> None:
    """Against one prediction per tta_view, each made from a file of that tta_view."""
    if tta == "scales":
        pytest.skip("another input size, not another picture")
    path = sorted(photos.rglob("*.png"))[5]
    picture = Image.open(path).convert("RGB")
    rows = []
    for number, tta_view in enumerate(TTA_VIEWS[tta]):
        tta_view.make(picture).save(tmp_path / f"{number}.png")
        rows.append(next(models[0].predict(tmp_path / f"{number}.png"))["kind"].probabilities)  # type: ignore[union-attr]
    found = next(models[0].predict(path, tta=tta))["kind"].probabilities  # type: ignore[union-attr]
    for name, probability in found.items():
        assert probability == pytest.approx(np.mean([row[name] for row in rows]), abs=1e-5)


def test_scales_look_at_three_sizes(models: Sequence[Model], photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    place = Geometry.place
    monkeypatch.setattr(Geometry, "place", lambda self, w, h: sizes.append(self.size) or place(self, w, h))
    next(models[0].predict(sorted(photos.rglob("*.png"))[0], tta="scales"))
    assert set(sizes) == {64, 96}  # 0.75 * 64 = 48 and 1.25 * 64 = 80, both rounded up to the stride


def test_gain_and_its_interval() -> None:
    ours, theirs = torch.tensor([1.0, 1, 0, 1, 1, 0, 1, 1]), torch.tensor([1.0, 0, 0, 1, 0, 0, 1, 1])
    gain, (low, high) = paired_gain(ours, theirs)
    assert gain == pytest.approx(0.25)
    wider = ttest_1samp((ours - theirs).numpy(), 0).confidence_interval(0.95)  # Student's is a little wider than the normal's
    assert wider.low < low < gain < high < wider.high
    for judge, said, true, right in (
        (SingleLabelJudge("ab"), [1.0, 2.0], 1, 1.0),
        (MultiLabelJudge("ab"), [1.0, -2.0], [1.0, 1.0], 0.0),
        (ValueJudge("ab"), [1.0, 2.0], [2.0, 4.0], -1.5),
    ):
        judge.add([torch.tensor(said)], [torch.tensor(true)])
        assert judge.each().tolist() == [right]


def test_an_ensemble_is_the_mean_of_its_models(models: Sequence[Model], photos: Path) -> None:
    together = validate(photos, models, "kind")
    parts = [validate(photos, [model], "kind").found for model in models]
    mean = torch.stack([torch.stack(part.predictions).softmax(1) for part in parts]).mean(0)
    torch.testing.assert_close(torch.stack(together.found.predictions).softmax(1), mean, rtol=1e-4, atol=1e-5)
    assert [(gain.what, gain.over) for gain in together.gains] == [("the ensemble", "model 1"), ("the ensemble", "model 2")]
    for gain, part in zip(together.gains, parts, strict=True):
        assert gain.gain == pytest.approx(together.found.metrics["accuracy"] - part.metrics["accuracy"])
    wide = validate(photos, models, "kind", tta="flips")
    assert [gain.what for gain in wide.gains] == ["--tta flips, model 1", "--tta flips, model 2", "the ensemble", "the ensemble"]
    assert wide.gains[0].ms > 0


def test_an_ensemble_of_other_classes(models: Sequence[Model], lite0: Backbone, photos: Path, tmp_path: Path, fresh_cache: Path) -> None:
    files = sorted(photos.rglob("*.png"))
    (tmp_path / "t.csv").write_text("path,kind\n" + "\n".join(f"{file},{'even' if n % 2 else 'odd'}" for n, file in enumerate(files)))
    other = Model(lite0, Geometry(64), cache=fresh_cache, device="cpu")
    other.fit("kind", read(tmp_path / "t.csv"), freeze="all")
    with pytest.raises(
        HeadError, match="no ensemble: head 'kind' is classify of flower, temple in the first model and classify of even, odd"
    ):
        validate(photos, [models[0], other], "kind")

"""Pictures unlike those that a head has learned from: the limit by a slow loop, in files, in every answer, and on real sets."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onelook import Model, read
from onelook.asker import Asker
from onelook.data.samples import Dataset
from onelook.errors import DiskError
from onelook.heads.familiar import FEWEST, MOST, Familiar

from .conftest import Run
from .real.test_real_pictures import need


def test_the_limit_by_a_slow_loop() -> None:
    draw = np.random.default_rng(0)
    vectors, groups = draw.normal(size=(40, 8)), [f"g{number // 3}" for number in range(40)]
    found = Familiar.of(torch.from_numpy(vectors), groups)
    assert found is not None
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16).astype(np.float64)
    fifth = [sorted(1 - unit[one] @ unit[other] for other in range(40) if groups[other] != groups[one])[4] for one in range(40)]
    assert float(found.limit) == pytest.approx(1.1 * np.quantile(fifth, 0.95), abs=1e-5)
    others = draw.normal(size=(200, 8))
    distances = [sorted(1 - unit @ (other / np.linalg.norm(other)))[4] for other in others]
    assert found(torch.from_numpy(others)).tolist() == [distance > float(found.limit) for distance in distances]


def test_too_few_groups_say_nothing() -> None:
    assert Familiar.of(torch.rand(30, 4), [str(number % (FEWEST - 1)) for number in range(30)]) is None


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that is neither a temple nor a flower: one colour."""
    path = tmp_path_factory.mktemp("odd") / "blue.png"
    Image.new("RGB", (96, 96), (120, 120, 200)).save(path)
    return path


def test_in_answers_and_files(kind_model: Model, kind_file: Path, odd: Path, photos: Path, run: Run, tmp_path: Path) -> None:
    known = next(photos.rglob("flower*.png"))
    for model in (kind_model, Model.load(kind_file)):
        marked, plain = model([odd, known])
        assert (marked.unlike, plain.unlike) == (("kind",), ())
        assert str(marked).endswith("; unlike the pictures that kind learned from")
        assert (marked.to_json()["unlike"], "unlike" in plain.to_json()) == (["kind"], False)
        assert (marked.rows()[0]["unlike"], "unlike" in plain.rows()[0]) == (True, False)
    assert marked.draw().height > Model.new()([odd])[0].draw().height
    asker = Asker([kind_model])
    assert [one.unlike for one in asker.answer([asker.decode(path.name, path.read_bytes()) for path in (odd, known)])] == [("kind",), ()]
    run("predict", odd, known, "--model", kind_file, "--csv", tmp_path / "found.csv", "-q")
    assert [row["unlike"] for row in csv.DictReader((tmp_path / "found.csv").read_text().splitlines())] == ["True", ""]
    code, out, _ = run("video", odd.parent, "--model", kind_file, "--every", "1", "--json")
    assert (code, json.loads(out.splitlines()[0])["unlike"]) == (0, ["kind"])


def test_another_head_s_answers_do_not_change(model: Model, photos: Path) -> None:
    """Nor do one's own."""
    model.fit("kind", photos, freeze="all", views=1)
    head, path = model.heads["kind"], next(photos.rglob("flower*.png"))
    before = model([path])[0]["kind"].probabilities
    head.familiar = None
    assert model([path])[0]["kind"].probabilities == before


@pytest.mark.parametrize("error", [DiskError("the disk is full"), KeyboardInterrupt()])
def test_a_trained_head_is_not_lost_for_it(error: BaseException, model: Model, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("onelook.training.gather.embeddings", fails)
    model.fit("kind", photos, freeze="all", views=1)
    assert model.heads["kind"].familiar is None
    assert model([next(photos.rglob("flower*.png"))])[0]["kind"].label == "flower"


@pytest.mark.real
def test_real_sets() -> None:
    """Held-out pictures of a set are hardly marked, those of another kind nearly all."""
    trash = read(need("trashnet_112x84"), task="classify")
    chosen = trash.pick(np.random.default_rng(0).permutation(len(trash))[:400].tolist())
    model = Model.new()
    model.fit("kind", Dataset(chosen.samples[:250], trash.classes, "single", trash.source, ""), freeze="all", views=1)
    familiar = model.heads["kind"].familiar
    assert familiar is not None
    assert len(familiar.vectors) == MOST

    def marked(paths: list[Path]) -> float:
        return float(familiar(torch.from_numpy(model.embeddings(paths).vectors)).float().mean())

    assert marked([sample.path for sample in chosen.samples[250:]]) <= 0.04
    assert marked(sorted(need("bccd").rglob("*.jpg"))[:100]) >= 0.95
    assert marked(sorted(need("camvid").rglob("*.png"))[:100]) >= 0.95

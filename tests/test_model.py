"""The model: heads that cannot disturb each other, files that cannot be half written."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.metrics import accuracy_score

import onelook
from onelook import Geometry, Look, Model, read
from onelook.answers.labels import Label, Labels, Values
from onelook.backbones.backbone import Backbone
from onelook.data.split import split
from onelook.errors import DataError, DiskError, HeadError, ModelFileError, OnelookError
from onelook.progress import QUIET, Progress
from onelook.report.profile import profile


def fresh(lite0: Backbone, cache: Path) -> Model:
    return Model(lite0, Geometry(64), cache=cache, device="cpu")


def tensors(model: Model, name: str) -> bytes:
    return b"".join(value.numpy().tobytes() for value in model.heads[name].state_dict().values())  # type: ignore[attr-defined]


def raw_answers(model: Model, name: str, photos: Path) -> list[dict]:
    return [answers[name].to_json() for answers in model.predict(photos, heads=[name])]


@pytest.fixture(scope="module")
def sizes_table(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another question about other pictures: how wide is it, and several labels at once."""
    path = tmp_path_factory.mktemp("table") / "sizes.csv"
    rows = ["path,width,bright,green"]
    for file in sorted(photos.rglob("*.png"))[::2]:
        pixels = np.asarray(Image.open(file))
        rows.append(f"{file},{pixels.shape[1]},{int(pixels.mean() > 110)},{int(pixels[..., 1].mean() > pixels[..., 0].mean())}")
    path.write_text("\n".join(rows))
    return path


@pytest.mark.parametrize("form", ["radial", "linear", "hidden"])
def test_learns_photos_it_has_not_seen(model: Model, photos: Path, form: str) -> None:
    data = read(photos)
    train, val = split(data, 0.25, 0)
    fitted = model.fit("kind", data.pick(train), freeze="all", form=form)  # type: ignore[arg-type]
    assert fitted.trained.held_out["accuracy"] >= 0.9
    found = model.evaluate("kind", data.pick(val))
    assert found.metrics["accuracy"] >= 0.9
    assert found.metrics["accuracy"] == accuracy_score(found.targets, torch.stack(found.predictions).argmax(1))
    for answers in model.predict(photos / "temple"):
        assert isinstance(answers["kind"], Label)
        assert sum(answers["kind"].probabilities.values()) == pytest.approx(1)


def test_two_heads_in_either_order_to_the_bit(lite0: Backbone, photos: Path, sizes_table: Path, tmp_path: Path) -> None:
    kind, width = read(photos), read(sizes_table, task="regress", columns=["width"])
    one, two = fresh(lite0, tmp_path / "a"), fresh(lite0, tmp_path / "b")
    one.fit("kind", kind, freeze="all")
    alone = raw_answers(one, "kind", photos)
    one.fit("width", width, head="regress", freeze="all")
    two.fit("width", width, head="regress", freeze="all")
    two.fit("kind", kind, freeze="all")
    for name in ("kind", "width"):
        assert tensors(one, name) == tensors(two, name)
        assert raw_answers(one, name, photos) == raw_answers(two, name, photos)
    assert raw_answers(one, "kind", photos) == alone
    together = [answers["kind"].to_json() for answers in one.predict(photos)]
    assert together == alone


def test_two_runs_with_one_seed_give_equal_files(lite0: Backbone, photos: Path, tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        model = fresh(lite0, tmp_path / name)
        model.fit("kind", read(photos), freeze="all", seed=5)
        model.save(tmp_path / f"{name}.onelook")
        files.append((tmp_path / f"{name}.onelook").read_bytes())
    assert files[0] == files[1]


@pytest.mark.slow
def test_regress_and_several_labels(model: Model, sizes_table: Path, photos: Path) -> None:
    fitted = model.fit("width", read(sizes_table, task="regress", columns=["width"]), head="regress", freeze="all")
    assert fitted.trained.held_out["n"] == 24
    model.fit("traits", read(sizes_table, columns=["bright", "green"]))
    answers = next(model.predict(photos))
    assert isinstance(answers["width"], Values)
    assert 50 < answers["width"].values["width"] < 200
    assert isinstance(answers["traits"], Labels)
    assert set(answers["traits"].probabilities) == {"bright", "green"}


def test_save_and_load_give_the_same_answers(model: Model, photos: Path, tmp_path: Path) -> None:
    model.fit("kind", read(photos), freeze="all")
    model.save(tmp_path / "m.onelook")
    loaded = onelook.load(tmp_path / "m.onelook", device="cpu")
    assert raw_answers(loaded, "kind", photos) == raw_answers(model, "kind", photos)
    assert loaded.geometry == Geometry(64)
    assert loaded.records["kind"].config["classes"] == ["flower", "temple"]


def test_balance_counts_classes_alike(model: Model, photos: Path) -> None:
    data = read(photos)
    few = data.pick([*range(24), *range(24, 28)])
    model.fit("kind", few, balance=True, freeze="all")
    weights = model.heads["kind"].class_weights  # type: ignore[attr-defined]
    torch.testing.assert_close(weights, torch.tensor([28 / 48, 28 / 8]))


def test_ready_head_is_the_networks_own_classifier(lite0: Backbone, cache_root: Path, photos: Path) -> None:
    """Against timm's whole network on the same pixels."""
    model = Model(lite0, None, cache=cache_root, device="cpu")
    path = sorted((photos / "flower").iterdir())[0]
    (answers,) = model.predict(path)
    picture = lite0.own_geometry().apply(Image.open(path).convert("RGB"), Image.Resampling.BICUBIC)
    pixels = lite0.normalize(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
    with torch.inference_mode():
        expected = lite0.network(pixels[None]).softmax(1)[0]
    found = torch.tensor(list(answers["imagenet"].probabilities.values()))  # type: ignore[union-attr]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_ready_head_cuts_nothing(lite0: Backbone, cache_root: Path) -> None:
    """Embeddings of other networks may be large; the classifier reads them as they are."""
    embedding = 100 * torch.randn(3, 1280, generator=torch.Generator().manual_seed(0))
    head = Model(lite0, None, cache=cache_root, device="cpu").head("imagenet")
    assert lite0.classifier is not None
    with torch.inference_mode():
        assert torch.equal(head(Look((), embedding=embedding)), lite0.classifier(embedding))


def test_a_later_head_of_another_size_looks_apart(model: Model, photos: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model.fit("kind", read(photos), freeze="all")
    before = raw_answers(model, "kind", photos)
    model.choose_geometry("fine", 96, None, Progress())
    assert "costs a second look" in capsys.readouterr().err
    model.fit("fine", read(photos), freeze="all")
    assert model.geometry_of("fine").size == 96
    assert model.geometry_of("kind").size == 64
    assert profile(model).looks == 2
    model.save(tmp_path / "m.onelook")
    loaded = Model.load(tmp_path / "m.onelook", device="cpu")
    answers = list(loaded.predict(photos))
    assert set(answers[0].answers) == {"kind", "fine"}
    assert [answer["kind"].to_json() for answer in answers] == before


def test_price_adds_up(model: Model, photos: Path) -> None:
    model.fit("kind", read(photos), freeze="all")
    bill = profile(model)
    look, head = bill.parts
    assert (look.part, head.part) == ("look", "kind")
    assert look.parameters == pytest.approx(3.37e6, rel=0.02)
    assert bill.ms_together == pytest.approx(look.ms + head.ms)


def test_default_network_costs_what_its_paper_says(lite0: Backbone, cache_root: Path) -> None:
    """EfficientNet-Lite0: 407 M multiply-accumulates at 224 px (TensorFlow's page); ours counts convolutions only."""
    bill = profile(Model(lite0, Geometry(224), cache=cache_root, device="cpu"))
    assert bill.parts[0].macs == pytest.approx(407e6, rel=0.07)


def test_merge(lite0: Backbone, cache_root: Path, photos: Path) -> None:
    one, two = fresh(lite0, cache_root), fresh(lite0, cache_root)
    one.fit("kind", read(photos), freeze="all")
    two.fit("other", read(photos), freeze="all")
    expected = raw_answers(two, "other", photos)
    one.merge(two)
    assert raw_answers(one, "other", photos) == expected
    with pytest.raises(HeadError, match="both have a head 'other'"):
        one.merge(two)


class TestBadFiles:
    @pytest.fixture
    def saved(self, model: Model, photos: Path, tmp_path: Path) -> Path:
        model.fit("kind", read(photos), freeze="all")
        model.save(tmp_path / "m.onelook")
        return tmp_path / "m.onelook"

    def test_cut_short(self, saved: Path) -> None:
        for size in (0, 5, 2000, saved.stat().st_size - 1):
            saved.with_name("cut.onelook").write_bytes(saved.read_bytes()[:size])
            with pytest.raises(ModelFileError, match=r"cut\.onelook: cut short or not a model file"):
                Model.load(saved.with_name("cut.onelook"))

    def test_foreign(self, tmp_path: Path) -> None:
        save_file({"x": torch.zeros(1)}, tmp_path / "x.onelook")
        with pytest.raises(ModelFileError, match="not one that onelook wrote"):
            Model.load(tmp_path / "x.onelook")
        with pytest.raises(ModelFileError, match="no such model file"):
            Model.load(tmp_path / "none.onelook")

    def test_another_backbone_shows_both_fingerprints(self, saved: Path, lite0: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
        other = Backbone.load()
        other.network.get_parameter("conv_stem.weight").data += 1
        monkeypatch.setattr(Backbone, "load", staticmethod(lambda *_, **__: other))
        with pytest.raises(ModelFileError, match=f"fingerprint {lite0.fingerprint}, here it is {other.fingerprint}.*--weights FILE"):
            Model.load(saved)

    def test_a_full_disk_leaves_the_old_file(self, saved: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        before = saved.read_bytes()

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("onelook.files.os.fsync", full)
        with pytest.raises(DiskError, match=r"No space left on device.*is unchanged"):
            model.save(saved)
        assert saved.read_bytes() == before
        assert [path.name for path in saved.parent.iterdir()] == ["m.onelook"]


def test_random_backbones_travel_in_the_file(tiny: Backbone, photos: Path, tmp_path: Path) -> None:
    model = Model(tiny, Geometry(64), cache=tmp_path / "cache", device="cpu")
    model.fit("kind", read(photos), epochs=1)
    model.save(tmp_path / "m.onelook")
    loaded = Model.load(tmp_path / "m.onelook", cache=tmp_path / "cache", device="cpu")
    assert loaded.backbone.fingerprint == tiny.fingerprint
    assert raw_answers(loaded, "kind", photos) == raw_answers(model, "kind", photos)


def test_frozen_means_frozen(model: Model, photos: Path) -> None:
    before = {name: value.clone() for name, value in model.backbone.network.state_dict().items()}
    model.fit("kind", read(photos), form="hidden")
    after = model.backbone.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


class TestBadData:
    def test_one_class(self, model: Model, photos: Path) -> None:
        data = read(photos)
        with pytest.raises(DataError, match="only one class"):
            model.fit("kind", data.pick([i for i, s in enumerate(data.samples) if s.target == 0]))
        assert not model.heads

    def test_bad_pictures_are_left_out_by_name(
        self, model: Model, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for kind in ("flower", "temple"):
            (tmp_path / kind).mkdir()
            for file in sorted((photos / kind).iterdir())[:6]:
                (tmp_path / kind / file.name).write_bytes(file.read_bytes())
        (tmp_path / "flower" / "bad.png").write_bytes(b"none")
        fitted = model.fit("kind", read(tmp_path), progress=Progress(), freeze="all")
        assert fitted.images == 12
        assert [refused.path.name for refused in fitted.refused] == ["bad.png"]
        assert "bad.png: not a picture" in capsys.readouterr().err

    @pytest.mark.slow
    def test_a_class_with_one_picture(self, model: Model, photos: Path) -> None:
        data = read(photos)
        model.fit("kind", data.pick([*range(8), 24]))
        assert next(model.predict(photos))["kind"].label in ("flower", "temple")  # type: ignore[union-attr]

    def test_two_pictures(self, model: Model, photos: Path) -> None:
        model.fit("kind", read(photos).pick([0, 24]))
        assert model.heads["kind"].classes == ("flower", "temple")

    @pytest.mark.parametrize("name", ["", "a/b", "look", "imagenet"])
    def test_head_names(self, model: Model, photos: Path, name: str) -> None:
        with pytest.raises(HeadError, match="cannot be used"):
            model.fit(name, read(photos))

    def test_task_and_data_must_agree(self, model: Model, photos: Path) -> None:
        with pytest.raises(DataError, match="regress cannot learn from classes"):
            model.fit("kind", read(photos), head="regress")
        with pytest.raises(HeadError, match="task 'dance' is unknown"):
            model.fit("kind", read(photos), head="dance")

    def test_same_labels_everywhere(self, model: Model, photos: Path, tmp_path: Path) -> None:
        files = sorted(photos.rglob("*.png"))[:4]
        (tmp_path / "same.csv").write_text("path,weight\n" + "\n".join(f"{file},3" for file in files))
        with pytest.raises(DataError, match="same labels"):
            model.fit("w", read(tmp_path / "same.csv", task="regress"), head="regress")

    def test_unknown_head(self, model: Model) -> None:
        with pytest.raises(HeadError, match="no head 'kind'; this model has imagenet"):
            model.head("kind")

    def test_other_classes(self, model: Model, photos: Path, sizes_table: Path) -> None:
        model.fit("kind", read(photos), freeze="all")
        with pytest.raises(DataError, match="head 'kind' knows flower, temple"):
            model.evaluate("kind", read(sizes_table, columns=["bright", "green"]))


def test_interrupting_while_looking_keeps_looks(lite0: Backbone, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fresh(lite0, tmp_path)
    original = onelook.looks.extractor.Extractor.look  # type: ignore[attr-defined]
    calls = []

    def look(self, batch, needs):  # type: ignore[no-untyped-def]
        calls.append(len(batch))
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return original(self, batch, needs)

    monkeypatch.setattr("onelook.looks.extractor.Extractor.look", look)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started without it
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit("kind", read(photos), freeze="all")
    finally:
        signal.signal(signal.SIGINT, before)
    monkeypatch.undo()
    assert model.fit("kind", read(photos), freeze="all").looked == 96 - calls[0]


def test_odd_pictures_are_answered(model: Model, photos: Path, tmp_path: Path) -> None:
    model.fit("kind", read(photos), freeze="all")
    for size in ((1, 1), (1, 999), (2000, 10)):
        Image.new("RGB", size, "green").save(tmp_path / f"{size[0]}x{size[1]}.png")
    (tmp_path / "bad.png").write_bytes(b"x")
    found = {answers.path.name: answers for answers in model.predict(tmp_path)}
    assert found.pop("bad.png").error
    assert len(found) == 3
    assert all(json.dumps(answers.to_json()) for answers in found.values())


def test_geometry_modes_agree_on_square_pictures(lite0: Backbone, cache_root: Path, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "x.png")
    said = [
        next(Model(lite0, Geometry(64, mode), cache=cache_root, device="cpu").predict(tmp_path))["imagenet"].to_json()  # type: ignore[arg-type]
        for mode in ("fit", "stretch", "crop")
    ]
    assert said[0] == said[1] == said[2]


def test_quiet_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    QUIET.say("hello")
    with QUIET.task("work", 3) as advance:
        advance()
    assert capsys.readouterr().err == ""
    assert issubclass(HeadError, OnelookError)

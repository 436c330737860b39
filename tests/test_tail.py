"""Tails: before training they are the network; training them touches nothing shared; what cannot be is said."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from onelook import Geometry, Model, read
from onelook.backbones.backbone import Backbone
from onelook.backbones.engines import TorchEngine
from onelook.errors import BackboneError
from onelook.geometry.placement import PIXELS
from onelook.heads.classify import Classify
from onelook.heads.ensemble import Averaged, rebuild, uncalibrated
from onelook.heads.pooled import part_lengths
from onelook.heads.tail import Tail, Tailed, parse_freeze, trains_table, what_trains
from onelook.looks.extractor import Extractor, Pixels
from onelook.looks.features import Look, Needs
from onelook.training.finetune import rates
from tests.contract.test_backbones import FAMILIES, equal

WIDE = Geometry(64).place(64, 40)  # padded below


def pixels(geometry: Geometry, size: tuple[int, int], n: int = 3) -> list[Pixels]:
    draw = torch.Generator().manual_seed(0)
    placement = geometry.place(*size)
    shape = (3, placement.content[1], placement.content[0])
    return [Pixels((f"{i:032x}", 0), torch.randint(0, 256, shape, dtype=torch.uint8, generator=draw), placement) for i in range(n)]


def state(module: torch.nn.Module) -> bytes:
    return b"".join(value.contiguous().numpy().tobytes() for value in module.state_dict().values())


@pytest.mark.parametrize("name", [*FAMILIES, "alexnet", "googlenet", "lenet5", "alexnet_2012", "nin"])
def test_an_untrained_tail_gives_what_the_network_gives(name: str) -> None:
    """At every cut, pixels included: maps, statistics (padding left out) and embedding of the whole network."""
    torch.manual_seed(0)
    backbone = Backbone.load(f"random:{name}")
    size = 2 * max(32, backbone.size_multiple) if name not in ("alexnet", "alexnet_2012") else 192
    extractor = Extractor(backbone, TorchEngine(backbone), Geometry(size, multiple=backbone.size_multiple))
    reads = Needs(maps=backbone.strides[-1:], pooled=backbone.strides, embedding=True)
    whole = extractor.look(pixels(extractor.geometry, (size, size - 20)), Needs((PIXELS, *backbone.strides), backbone.strides, True))
    for cut in range(len(backbone.stages)):
        tail = Tail(backbone, cut, reads)
        with torch.inference_mode():
            found = tail(extractor.look(pixels(extractor.geometry, (size, size - 20)), tail.needs))
        for stride in backbone.strides:
            equal(found.pooled[stride], whole.pooled[stride])
        equal(found.maps[backbone.strides[-1]], whole.maps[backbone.strides[-1]])
        assert found.embedding is not None
        assert whole.embedding is not None
        equal(found.embedding, whole.embedding)
        own = sum(value.numel() for value in tail.state_dict().values())
        assert own <= sum(value.numel() for value in backbone.network.state_dict().values())


def test_a_tail_holds_the_stages_behind_its_cut_and_nothing_else(lite0: Backbone) -> None:
    for cut in range(len(lite0.stages)):
        tail = Tail(lite0, cut, Needs(embedding=True))
        expected = sum(parameter.numel() for stage in list(lite0.stages)[cut:] for parameter in stage.parameters())
        assert sum(parameter.numel() for parameter in tail.parameters()) == expected
        assert tail.needs == Needs(maps=(lite0.stride_before(cut),))
        assert all(parameter.requires_grad for parameter in tail.parameters())
    assert not any(parameter.requires_grad for parameter in lite0.parameters())


@pytest.mark.parametrize("freeze", [4, "stride8", "none"])
def test_the_shared_part_keeps_every_byte(lite0: Backbone, photos: Path, freeze: str | int, fresh_cache: Path) -> None:
    """Batch normalisation included; the tail's own statistics and weights move."""
    model = Model(lite0, Geometry(64), cache=fresh_cache, device="cpu")
    before = state(lite0.network)
    fitted = model.fit("kind", read(photos), freeze=freeze, epochs=2)
    assert state(lite0.network) == before
    (tail,) = model.heads["kind"].tails
    fresh = Tail(lite0, fitted.trained.cut, Needs(embedding=True))
    moved = [name for name, value in tail.state_dict().items() if not torch.equal(value, fresh.state_dict()[name])]
    assert any("running_mean" in name for name in moved)
    assert any(name.endswith("weight") for name in moved)
    assert model.evaluate("kind", read(photos)).metrics["accuracy"] > 0.9


def test_kept_statistics_are_kept(lite0: Backbone) -> None:
    for statistics, moves in (("kept", False), ("own", True)):
        tail = Tail(lite0, 4, Needs(embedding=True), cast(Any, statistics)).train()
        before = {name: value.clone() for name, value in tail.named_buffers()}
        tail(Look((WIDE,) * 4, {16: torch.randn(4, 112, 4, 4)}))
        changed = [name for name, value in tail.named_buffers() if not torch.equal(value, before[name])]
        assert bool(changed) == moves


def test_the_file_keeps_a_tail_exactly_in_half_precision(lite0: Backbone, photos: Path, tmp_path: Path, fresh_cache: Path) -> None:
    model = Model(lite0, Geometry(64), cache=fresh_cache, device="cpu")
    model.fit("kind", read(photos), freeze=4, epochs=1)
    model.save(tmp_path / "m.onelook")
    (tail,) = model.heads["kind"].tails
    (again,) = Model.load(tmp_path / "m.onelook").heads["kind"].tails
    assert state(again) == state(tail)
    weights = 4 * sum(parameter.numel() for parameter in tail.parameters())
    assert (tmp_path / "m.onelook").stat().st_size < 0.6 * weights


def test_two_runs_give_equal_bytes(lite0: Backbone, photos: Path, tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        model = Model(lite0, Geometry(64), cache=tmp_path / name, device="cpu")
        model.fit("kind", read(photos), freeze=4, epochs=2, seed=3)
        model.save(tmp_path / f"{name}.onelook")
        files.append((tmp_path / f"{name}.onelook").read_bytes())
    assert files[0] == files[1]


@pytest.mark.slow
def test_heads_with_different_cuts_in_one_file(
    lite0: Backbone, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_cache: Path
) -> None:
    """Shared stages run once for all heads, and no head changes another's answer by one bit."""
    model = Model(lite0, Geometry(64), cache=fresh_cache, device="cpu")
    alone = {}
    for name, freeze in (("frozen", "all"), ("four", 4), ("eight", "stride8"), ("pixels", "none")):
        model.fit(name, read(photos), freeze=freeze, **({} if freeze == "all" else {"epochs": 1}))
        alone[name] = [answers[name].to_json() for answers in model.predict(photos, heads=[name])]
    model.save(tmp_path / "m.onelook")
    loaded = Model.load(tmp_path / "m.onelook", device="cpu")
    calls = []
    look = Extractor.look
    monkeypatch.setattr(Extractor, "look", lambda self, batch, needs: calls.append(len(batch)) or look(self, batch, needs))
    together = list(loaded.predict(photos))
    assert sum(calls) == 48
    for name, answers in alone.items():
        assert [found[name].to_json() for found in together] == answers
    assert [loaded.records[name].cut for name in alone] == [6, 4, 3, 0]


@pytest.mark.parametrize(("task", "columns"), [("regress", ["width"]), ("classify", ["bright", "green"])])
@pytest.mark.slow
def test_values_and_several_labels_behind_a_tail(
    lite0: Backbone, photos: Path, tmp_path: Path, task: str, columns: list[str], fresh_cache: Path
) -> None:
    rows = ["path,width,bright,green"]
    for file in sorted(photos.rglob("*.png")):
        pixels = np.asarray(Image.open(file))
        rows.append(f"{file},{pixels.shape[1]},{int(pixels.mean() > 110)},{int(pixels[..., 1].mean() > pixels[..., 0].mean())}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    data = read(tmp_path / "t.csv", task=task, columns=columns)
    model = Model(lite0, Geometry(64), cache=fresh_cache, device="cpu")
    fitted = model.fit("x", data, head=task, freeze=4, epochs=2)
    assert fitted.trained.held_out["n"] == 10
    assert next(model.predict(photos))["x"].to_json()
    search = model.fit("y", data, head=task, budget=5).trained.search
    assert search is not None
    tried = [trial for trial in search.evidence if trial.trial.startswith("tail")]  # also one for which there was no time says so
    assert tried or max(trial.metric or 0 for trial in search.evidence) == 1.0


@pytest.mark.parametrize("freeze", [4, 0])
def test_a_picture_that_is_alone_in_its_size(lite0: Backbone, tmp_path: Path, freeze: int, fresh_cache: Path) -> None:
    """At 32 pixels the last map is 1 x 1: batch statistics of one picture would be none."""
    for number in range(9):
        size = (64, 20) if number == 8 else (32, 32)
        folder = tmp_path / "data" / ("a", "b")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    model = Model(lite0, Geometry(32), cache=fresh_cache, device="cpu")
    fitted = model.fit("x", read(tmp_path / "data"), freeze=freeze, epochs=1, views=1)
    assert fitted.images == 9


def test_averages_are_rebuilt_and_average(lite0: Backbone) -> None:
    inputs = sum(part_lengths(Needs(pooled=lite0.strides), lite0.channels, 0))
    torch.manual_seed(0)
    frozen = Classify("ab", strides=lite0.strides, inputs=inputs, form="linear", temperature=2.0)
    tuned = Tailed(Tail(lite0, 4, Needs(embedding=True)), Classify("ab", embedding=True, inputs=1280, form="linear"))
    head = Averaged([tuned.eval(), frozen.eval()], temperature=0.5)
    extractor = Extractor(lite0, TorchEngine(lite0), Geometry(64))
    look = extractor.look(pixels(Geometry(64), (64, 64)), head.needs)
    again = rebuild(Classify, head.config(), lite0)
    cast(torch.nn.Module, again).load_state_dict(head.state_dict())
    with torch.inference_mode():
        assert torch.equal(again(look), head(look))
        plain = uncalibrated(again)
    with torch.inference_mode():
        torch.testing.assert_close(plain(look), Averaged([tuned, uncalibrated(cast(Any, frozen))])(look))  # type: ignore[list-item]
    assert cast(Any, again).heads[1].temperature == 2.0


def test_what_trains(lite0: Backbone) -> None:
    table = what_trains(lite0, 3, 2e-3, [0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0, 1.0])
    assert [row.learning_rate for row in table] == [0, 0, 0, 5e-4, 1e-3, 2e-3]
    assert [row.stage for row in table] == ["stride2", "stride4", "stride8", "stride16", "stride32", "final"]
    assert sum(row.parameters for row in table) == lite0.parameter_count()
    assert trains_table(table, 2e-3).count("frozen, shared") == 3


def test_rates_of_networks_that_start_at_random(lite0: Backbone) -> None:
    """Tensor programs V, table 3: a wide layer's rate falls with its inputs; where something normalises, it need not."""
    assert rates(lite0) == pytest.approx([0.5 * 0.7**5, 0.5 * 0.7**4, 0.5 * 0.7**3, 0.5 * 0.7**2, 0.5 * 0.7, 0.5, 0.5])
    assert set(rates(Backbone.load("random:test_efficientnet"))) == {1.0}
    alexnet = Backbone.load("random:alexnet_2012")
    table = what_trains(alexnet, 0, 1.0, rates(alexnet))
    by_stage = {row.stage: row.learning_rate for row in table}
    assert by_stage == pytest.approx({"stride8": 1.0, "stride16": 400 / 2304, "stride32": 400 / 1728, "embedding": 400 / 9216})
    assert sum(row.parameters for row in table) == alexnet.parameter_count() == 60_965_224 - 4_097_000


@pytest.mark.parametrize(("freeze", "cut"), [("all", 6), ("none", 0), (0, 0), ("3", 3), ("stride8", 3), ("final", 6), (6, 6)])
def test_freeze_words(lite0: Backbone, freeze: str | int, cut: int) -> None:
    assert parse_freeze(freeze, lite0) == cut


@pytest.mark.parametrize("freeze", ["stride7", "7", "-1", "blocks", "1.5", ""])
def test_a_selector_that_matches_nothing(lite0: Backbone, freeze: str) -> None:
    with pytest.raises(BackboneError, match=r"matches no stage .* use all, none, auto, a number from 0 to 6, or one of stride2, "):
        parse_freeze(freeze, lite0)


def test_a_network_that_cannot_be_split(photos: Path, tmp_path: Path) -> None:
    backbone = Backbone.load("random:hrnet_w18_small")
    with pytest.raises(BackboneError, match="cannot be split, so it can only be frozen whole; use --freeze all"):
        parse_freeze("stride8", backbone)
    assert parse_freeze("all", backbone) == 1

"""Two networks on the same pictures: likeness against slow loops and invariants, aliasing of waves, fine-tuned stages in their places."""

import json
from itertools import permutations
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from onelook import Model
from onelook.data.pictures import find_pictures
from onelook.errors import DataError, HeadError
from onelook.heads.tail import Tail
from onelook.inside.beside import beside, folded, likeness
from onelook.inside.opened import network_of, open_network
from onelook.inside.patches import patches
from onelook.looks.features import Needs

from .conftest import Run


def slow_hsic(one: Tensor, other: Tensor) -> float:
    """Song et al. 2012: as a mean over quadruples of pictures that differ, of h = K_ij (L_ij + L_kl - 2 L_ik)."""
    n = len(one)
    total, count = 0.0, 0
    for i, j, k, last in permutations(range(n), 4):
        total += float(one[i, j] * (other[i, j] + other[k, last] - 2 * other[i, k]))
        count += 1
    return total / count


class TestLikeness:
    def test_against_a_slow_loop(self) -> None:
        draw = torch.Generator().manual_seed(0)
        x = torch.randn(7, 3, generator=draw, dtype=torch.float64)
        y = torch.cat([x[:, :1], torch.randn(7, 4, generator=draw, dtype=torch.float64)], 1)
        one, other = ((values - values.mean(0)) @ (values - values.mean(0)).T for values in (x, y))
        expected = slow_hsic(one, other) / (slow_hsic(one, one) * slow_hsic(other, other)) ** 0.5
        assert likeness(x, y) == pytest.approx(expected, rel=1e-9)

    def test_the_same_but_for_a_rotation(self) -> None:
        x = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
        turned = 3 * x @ torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(1)))[0] + 5
        assert likeness(x, turned) == pytest.approx(1, abs=1e-4)

    def test_nothing_in_common(self) -> None:
        """More units than pictures: what is biased says 0.9 here."""
        draw = torch.Generator().manual_seed(0)
        found = [likeness(torch.randn(30, 300, generator=draw), torch.randn(30, 300, generator=draw)) for _ in range(20)]
        assert abs(sum(found) / 20) < 0.02


class TestFolded:
    @pytest.mark.parametrize(("cycles", "strides"), [(0.05, {1: 0, 2: 0, 4: 0}), (0.2, {1: 0, 2: 0, 4: 1}), (0.4, {1: 0, 2: 1, 4: 1})])
    def test_waves(self, cycles: float, strides: dict[int, int]) -> None:
        """A wave of 0.2 cycles a pixel is held by a stride of 2 (up to 0.25), not by one of 4 (0.125)."""
        wave = torch.sin(2 * torch.pi * cycles * torch.arange(120.0)).expand(3, 120, 120)
        for stride, share in strides.items():
            layer = nn.Conv2d(3, 2, 3, stride)
            assert folded(layer, wave) == pytest.approx(share, abs=0.02)

    def test_down_as_across(self) -> None:
        wave = torch.sin(2 * torch.pi * 0.4 * torch.arange(120.0))
        layer = nn.Conv2d(3, 2, 1, 2)
        down, across = (folded(layer, one.expand(3, 120, 120)) for one in (wave[:, None], wave[None]))
        assert down == pytest.approx(across, rel=1e-3)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.new(device="cpu")


def test_a_network_beside_one_with_dead_units(photos: Path) -> None:
    """Ten filters of the second stage never say anything: there, and at no stage before it, the networks differ."""
    both = []
    for _ in range(2):
        torch.manual_seed(0)
        both.append(Model.new("random:alexnet_2012", device="cpu"))
    last = [module for module in both[1].backbone.stages[1].modules() if isinstance(module, nn.Conv2d)][-1]
    last.weight.data[:10], last.bias.data[:10] = 0, -1  # type: ignore[union-attr, index]
    paths = list(find_pictures([photos]))[:12]
    found = beside(both[0], both[1], paths, ("one", "other"))
    assert (found.pictures, list(found.stages)) == (12, ["stride8", "stride16", "stride32"])
    assert found.first[0] == found.first[1]
    one, same, alike = found.stages["stride8"]
    assert one == same
    assert alike == pytest.approx(1, abs=1e-6)
    one, changed, alike = found.stages["stride16"]
    for stage, model in ((one, both[0]), (changed, both[1])):
        assert (stage.units, round(384 * stage.dead)) == (384, patches(model, paths, "stride16").dead)
    assert changed.dead >= one.dead + 5 / 384
    assert changed.active < one.active
    assert alike is not None
    assert 0.9 < alike < 1 - 1e-7  # ten small terms of 384
    assert json.loads(json.dumps(found.to_json()))["stages"]["stride16"]["stages"][1]["dead"] == changed.dead


def test_what_cannot_be_compared(model: Model, photos: Path, tmp_path: Path) -> None:
    few = list(find_pictures([photos]))[:3]
    assert beside(model, model, few, ("a", "b")).stages["stride2"][2] is None
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of 1 pictures can be read"):
        beside(model, model, [tmp_path / "broken.jpg"], ("a", "b"))
    with pytest.raises(HeadError, match="no stage in common"):
        beside(Model.new("random:nin"), Model.new("random:alexnet_2012"), few, ("a", "b"))


class TestFineTuned:
    def test_its_own_stages_stand_in_their_places(self, model: Model) -> None:
        """The network with a tail's stages gives what the tail gives behind the shared ones."""
        backbone = model.backbone
        tail = Tail(backbone, 3, Needs(maps=(32,), embedding=True))
        with torch.no_grad():
            for parameter in tail.parameters():
                parameter.mul_(1.1)
        own = tail.network(backbone)
        x = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            maps, shared = own(x), backbone(x)
            y = shared[2]
            for stage in tail.stages:
                y = stage(y)
            torch.testing.assert_close(maps[2], shared[2])
            torch.testing.assert_close(maps[-1], y, rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(own.embed(maps[-1]), tail.embed(y), rtol=1e-3, atol=1e-4)
            assert not torch.allclose(maps[3], shared[3])
        assert own.fingerprint != backbone.fingerprint

    @pytest.fixture
    def both_file(self, run: Run, photos: Path, tmp_path: Path) -> Path:
        """A file with a frozen head and one with stages of its own behind stride 8."""
        file = tmp_path / "both.onelook"
        base = ("train", photos, "--model", file, "-q")
        assert run(*base, "--name", "frozen", "--freeze", "all")[0] == 0
        assert run(*base, "--name", "tuned", "--freeze", "stride8", "--epochs", 1, "--size", 128)[0] == 0
        return file

    def test_the_network_that_a_head_reads(self, run: Run, photos: Path, both_file: Path, tmp_path: Path) -> None:
        """Frozen against fine-tuned, from files: stages before the cut are the same, those behind it are not."""
        shared, head = open_network(str(both_file))
        assert head is None
        assert network_of(shared, head) is shared
        tuned = network_of(*open_network(f"{both_file}:tuned"))
        assert tuned.geometry_of("").size == 128
        assert tuned.backbone.fingerprint != shared.backbone.fingerprint
        code, text, err = run("anatomy", "efficientnet_lite0", "--beside", f"{both_file}:tuned", "--over", photos, "--json")
        assert code == 0, err
        found = json.loads(text)
        assert set(found["stages"]) == {f"stride{stride}" for stride in shared.backbone.strides}
        assert found["first"][0]["filters"] == found["first"][1]["filters"]
        bare = found["stages"]  # looks as the head does: before the cut there is nothing between them
        assert bare["stride8"]["stages"][0] == bare["stride8"]["stages"][1]
        assert bare["stride8"]["alike"] == pytest.approx(1, abs=1e-6)
        assert bare["stride16"]["alike"] < 0.9999
        code, text, _ = run("patches", f"{both_file}:tuned", photos, "--layer", "stride32", "--json")
        ours = json.loads(text)["units"][0]["pictures"][0]["value"]
        assert ours == pytest.approx(patches(tuned, list(find_pictures([photos])), "stride32", units=[0]).units[0].patches[0].value)
        assert run("anatomy", f"{both_file}:tuned", "--json")[0] == 0
        assert run("filters", f"{both_file}:tuned", f"{both_file}:frozen", "--out", tmp_path / "f.png")[0] == 0
        assert run("head", "remove", both_file, "tuned")[0] == 0
        alone, head = open_network(str(both_file))
        assert head == "frozen"
        assert network_of(alone, head).backbone.fingerprint == alone.backbone.fingerprint

    @pytest.mark.slow
    def test_the_page_shows_filters_regions_reconstructions_and_reasons(self, run: Run, photos: Path, both_file: Path) -> None:
        page = both_file.with_name("page")
        words = ("anatomy", f"{both_file}:frozen", "--beside", f"{both_file}:tuned", "--over", photos, "-q", "--report", page)
        assert run(*words)[0] == 0
        text = (page / "index.html").read_text()
        stages = [f"stride{stride}" for stride in (2, 4, 8, 16, 32)]
        assert all(f"{stage}: what excites the units" in text for stage in stages)
        assert text.count('alt="patches"') == text.count('alt="reconstructions"') == 2 * len(stages)
        assert text.count('alt="filters"') == 1
        assert "Why they answer so" in text

    def test_mistakes(self, run: Run, photos: Path, tmp_path: Path, kind_file: Path) -> None:
        code, _, err = run("anatomy", "lenet5", "--beside", "alexnet")
        assert (code, "on which pictures? add --over DATA" in err) == (2, True)
        code, _, err = run("anatomy", "lenet5", "--beside", "alexnet", "--over", photos, "--size", 32)
        assert (code, "--size: of one network" in err) == (2, True)
        code, _, err = run("anatomy", "lenet5", "--beside", "alexnet", "--over", photos, "--out", tmp_path / "a.png")
        assert (code, "--out: of one network" in err) == (2, True)
        code, _, err = run("explain", f"{kind_file}:kind", next(photos.rglob("*.png")), "--head", "imagenet")
        assert (code, "names another head" in err) == (2, True)
        code, _, err = run("patches", f"{kind_file}:kinds", photos)
        assert (code, "kind" in err) == (2, True)

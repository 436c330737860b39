"""Looking inside: patches against a slow loop and changed pixels; the deconvnet by hand, against captum, and never a plain gradient."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from captum.attr import NeuronDeconvolution, NeuronGuidedBackprop
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from onelook import Backbone, Model
from onelook.backbones.by_name import architecture
from onelook.cli import main
from onelook.data.pictures import find_pictures, read_bytes
from onelook.errors import HeadError
from onelook.inside.activations import activations, strength
from onelook.inside.deconvnet import reconstructions, rule_for, send_back
from onelook.inside.layers import Layer, find_layer, run_to
from onelook.inside.patches import patches
from onelook.inside.rectifiers import Rectified
from onelook.looks.features import shown
from onelook.report.inside import deconvnet_sheet, patch_sheet

from .conftest import Run


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.new(device="cpu")


def inputs(model: Model, path: Path) -> tuple[Tensor, object]:
    extractor = model.extractor(model.geometry_of("imagenet"))
    (pixels,) = extractor.decode(path, *read_bytes(path))
    return extractor.input([pixels]), pixels.placement


@pytest.mark.parametrize("layer", ["stride8", "blocks.3.1"])
def test_patches_against_a_slow_loop(model: Model, photos: Path, layer: str) -> None:
    """Nine pictures for every unit, one a picture, the strongest first; values and places are those of each map's maximum."""
    paths = list(find_pictures([photos]))[:20]
    found = patches(model, paths, layer, units=[0, 3, 7])
    assert found.pictures == 20
    maps = {path: run_to(model.backbone, find_layer(model.backbone, layer), inputs(model, path)[0])[0] for path in paths}
    for unit in found.units:
        best = sorted(((float(maps[path][unit.unit].max()), path) for path in paths), reverse=True)[:9]
        assert [patch.value for patch in unit.patches] == pytest.approx([value for value, _ in best], rel=1e-3, abs=1e-3)
        assert len({patch.path for patch in unit.patches}) == 9
        for patch in unit.patches:
            assert float(maps[patch.path][unit.unit][patch.place]) == pytest.approx(patch.value, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("layer", ["stride4", "stride8", "blocks.1.0"])
def test_nothing_outside_a_patch_matters(model: Model, photos: Path, layer: str) -> None:
    """All pixels outside the box are changed: the unit's value stays within 1e-6. Of the pixels at the box's border some matter."""
    paths = list(find_pictures([photos]))[:12]
    found = patches(model, paths, layer, units=[1, 5])
    known = find_layer(model.backbone, layer)
    for unit in found.units:
        for patch in unit.patches[:4]:
            x, placement = inputs(model, patch.path)
            left, top, right, bottom = patch.seen
            changed = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)) * 3
            changed[:, :, top:bottom, left:right] = x[:, :, top:bottom, left:right]
            row, column = patch.place
            before, after = (float(run_to(model.backbone, known, each)[0, unit.unit, row, column]) for each in (x, changed))
            assert after == pytest.approx(before, abs=1e-6 * max(1, abs(before)))
            box = placement.boxes_to_original(torch.tensor([[left, top, right, bottom]], dtype=torch.float32))[0].tolist()
            assert list(patch.box) == pytest.approx(box)


def test_layers_that_are_not_there(model: Model, photos: Path) -> None:
    paths = list(find_pictures([photos]))[:2]
    with pytest.raises(HeadError, match=r"--layer blocks.9.1: there is no such layer; stages: stride2, .*blocks.\d.1"):
        patches(model, paths, "blocks.9.1")
    with pytest.raises(HeadError, match="unit 4000: stride8 has units 0 to 39"):
        patches(model, paths, "stride8", units=[4000])
    with pytest.raises(HeadError, match="does not run in a look"):
        patches(model, paths, "classifier")
    hooks = [hook for module in model.backbone.modules() for hook in module._forward_hooks]
    assert not hooks


class Overlapping(nn.Module):
    """A pool whose blocks overlap, behind a rectifier."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(3, 2)
        self.last = nn.Conv2d(1, 1, (1, 2), bias=False)
        self.last.weight.data[:] = torch.tensor([2.0, 3.0])

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu_(self.last(self.pool(functional.relu(x, inplace=True))))


def test_overlapping_pools_add_by_hand() -> None:
    """Two blocks share their maximum 5: what comes back to it is 2 + 3 times the unit's gradient; all else is zero."""
    x = torch.tensor([[[[1.0, 2, 1, 0, 1], [0, 1, 5, 1, 0], [1, 0, 2, 1, -3]]]], requires_grad=True)
    with Rectified("deconvnet") as mode:
        out = Overlapping()(x.clone())
    (back,) = torch.autograd.grad(out, x, torch.full_like(out, 4.0))
    expected = torch.zeros(1, 1, 3, 5)
    expected[0, 0, 1, 2] = 4 * (2 + 3)
    assert torch.equal(back, expected)
    assert mode.count == 2
    assert out.item() == 25.0


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
def test_against_captum_where_it_must_agree(rule: str) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(2, ceil_mode=True), nn.Conv2d(8, 6, 3), nn.ReLU(),
    ).eval()  # fmt: skip
    x = torch.randn(2, 3, 40, 40, requires_grad=True)
    with Rectified(rule):
        out = network(x)
    place = tuple(int(each) for each in (out[0] == out[0].max()).nonzero()[0])
    assert out[(0, *place)].item() > 0
    (ours,) = torch.autograd.grad(out[(slice(None), *place)].sum(), x)
    theirs = (NeuronDeconvolution if rule == "deconvnet" else NeuronGuidedBackprop)(network, network[-1])
    with pytest.warns(UserWarning, match="hooks"):
        expected = theirs.attribute(x.detach().clone().requires_grad_(), place)
    assert torch.allclose(ours, expected, atol=1e-6)


OTHERWISE = ("regnety_002", "mobilenetv3_small_050", "convnext_atto", "lenet5")  # gates, hard swish, GELU, tanh
FAMILIES = (
    "resnet18", "vgg11", "densenet121", "mobilenetv2_050", "efficientnet_lite0", "googlenet", "inception_v3", "alexnet", "zfnet", "nin",
)  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES + OTHERWISE)
def test_never_the_plain_gradient(name: str) -> None:
    """Every family either has its rectifiers' rule, whichever way they are called, or is refused by the name of what it has instead."""
    torch.manual_seed(0)
    network = architecture(name)[0].eval()
    x = torch.randn(1, 3, 96, 96, requires_grad=True)
    (plain,) = torch.autograd.grad(network.forward_features(x).sum(), x)
    for rule in ("deconvnet", "guided"):
        if name in OTHERWISE:
            with pytest.raises(HeadError, match="is no rectifier"), Rectified(rule):
                network.forward_features(x)
            continue
        with Rectified(rule):
            out = network.forward_features(x)
        (found,) = torch.autograd.grad(out.sum(), x)
        assert torch.allclose(out, network.forward_features(x), atol=1e-5)
        assert float((found - plain).abs().max()) > 1e-3 * float(found.abs().max())


def test_reconstructions_lie_in_their_patches(model: Model, photos: Path) -> None:
    """What comes back of one value lies in what the unit sees, nearly all of it is shown; the model has no byte changed."""
    before = model.backbone.fingerprint
    paths = list(find_pictures([photos]))[:9]
    layer = find_layer(model.backbone, "stride4")
    found = patches(model, paths, "stride4", units=[2])
    for _, each in reconstructions(model.extractor(model.geometry_of("imagenet")), found):
        for one in each:
            assert one.seen.shape[:2] == one.made.shape[1:]
            x = inputs(model, one.patch.path)[0]
            back = send_back(model.backbone, layer, x, 2, [one.patch.place])[0]
            left, top, right, bottom = one.patch.seen
            inside = back[:, top:bottom, left:right].abs().sum()
            assert float(inside) == pytest.approx(float(back.abs().sum()), rel=1e-5)
            assert 0.88 * float(inside) <= float(one.made.abs().sum()) <= float(inside) * 1.00001
            assert one.rule == "guided"  # there are no pools
    assert Backbone.load().fingerprint == before


def test_networks_with_pools_have_switches() -> None:
    for name, stage, rule in (("alexnet", "stride8", "deconvnet"), ("vgg11", "stride32", "deconvnet"), ("resnet18", "stride32", "guided")):
        backbone = Backbone.load(f"random:{name}")
        assert rule_for(backbone, find_layer(backbone, stage)) == rule


def test_a_rule_can_be_asked_for(photos: Path) -> None:
    """Other than the usual one: behind several rectifiers their reconstructions differ."""
    torch.manual_seed(0)
    model = Model.new("random:alexnet_2012", device="cpu")
    found = patches(model, list(find_pictures([photos]))[:3], "stride16", units=[0])
    extractor = model.extractor(model.geometry_of("imagenet"))
    (_, usual), (_, guided) = (next(reconstructions(extractor, found, rule)) for rule in (None, "guided"))  # type: ignore[arg-type]
    assert (usual[0].rule, guided[0].rule) == ("deconvnet", "guided")
    assert usual[0].made.shape != guided[0].made.shape or not torch.equal(usual[0].made, guided[0].made)


def test_a_dead_unit_has_no_regions(photos: Path) -> None:
    """Where a rectifier lets nothing pass, no region excites the unit, and a sheet shows none."""
    torch.manual_seed(0)
    model = Model.new("random:alexnet_2012", device="cpu")
    first = next(module for module in model.backbone.network.modules() if isinstance(module, nn.Conv2d))
    first.weight.data[0], first.bias.data[0] = 0, -1  # type: ignore[index]
    found = patches(model, list(find_pictures([photos]))[:5], "stride8", units=[0, 1])
    assert [len(unit.patches) for unit in found.units] == [0, 5]
    assert found.dead == 1
    sent = list(reconstructions(model.extractor(model.geometry_of("imagenet")), found))
    assert [len(made) for _, made in sent] == [0, 5]
    empty, full = patch_sheet(replace(found, units=found.units[:1])), patch_sheet(replace(found, units=found.units[1:]))
    assert len(empty.crop((0, 50, *empty.size)).getcolors() or []) == 1
    assert len(full.crop((0, 50, *full.size)).getcolors(1 << 20) or []) > 1
    assert deconvnet_sheet("stride8", sent).width > 0


def test_a_layer_before_any_rectifier() -> None:
    backbone = Backbone.load("random:lenet5")
    with pytest.raises(HeadError, match="tanh is no rectifier"):
        send_back(backbone, Layer("stride2", backbone.stages[0]), torch.randn(1, 3, 32, 32), 0, [(0, 0)])


@pytest.mark.slow
def test_the_commands(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments)])
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    code, out, _ = run("patches", "efficientnet_lite0", photos, "--layer", "stride16", "--out", tmp_path / "s.png", "--json")
    units = json.loads(out)["units"]
    assert (code, len(units), len(units[0]["pictures"])) == (0, 112, 9)
    assert set(units[0]["pictures"][0]) == {"path", "box", "value"}
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.size[1] > 1000
    code, out, _ = run("deconvnet", "efficientnet_lite0", photos, "--layer", "stride4", "--units", "0-1", "--out", tmp_path / "d.png")
    assert (code, "2 units of stride4, 48 pictures" in out) == (0, True)
    words = ("deconvnet", "random:alexnet_2012", photos, "--layer", "stride8", "--units", "0", "--out", tmp_path / "g.png")
    assert run(*words, "--rule", "guided")[0] == 0
    code, _, err = run(*words, "--rule", "plain")
    assert (code, "--rule plain: use auto, deconvnet, guided" in err) == (2, True)
    assert run("patches", "efficientnet_lite0", photos, "--layer", "stride3")[0] == 2
    code, _, err = run("patches", "efficientnet_lite0", photos, "--units", "x")
    assert (code, "not numbers; use 0-15 or 3,8,12" in err) == (2, True)
    code, out, _ = run("anatomy", "lenet5", "--size", 32, "--json", "--report", tmp_path / "page")
    found = json.loads(out)
    assert (found["total"]["macs"], found["layers"][0]["receptive_field"], found["layers"][0]["stride"]) == (651720, 5, 1)
    assert "Layer by layer" in (tmp_path / "page" / "index.html").read_text()
    code, _, err = run("anatomy", "lenet6")
    assert (code, "did you mean lenet5" in err) == (2, True)


def test_what_a_picture_becomes(model: Model, photos: Path) -> None:
    """The maps are the network's own, of the units with the highest peaks, in order, without the padding."""
    path = next(photos.rglob("flower*.png"))
    found = activations(model.extractor(model.geometry_of("imagenet")), path, 5)
    assert [one.layer for one in found] == [f"stride{stride}" for stride in model.backbone.strides]
    x, placement = inputs(model, path)
    for one in found:
        whole = run_to(model.backbone, find_layer(model.backbone, one.layer), x)
        maps = shown(whole, placement)[0]  # type: ignore[arg-type]
        assert one.shape == tuple(maps.shape)
        peaks = maps.flatten(1).amax(1)
        assert peaks[list(one.units)].tolist() == pytest.approx(sorted(peaks.tolist(), reverse=True)[:5], rel=1e-3)
        torch.testing.assert_close(one.maps, maps[list(one.units)].detach(), rtol=1e-3, atol=2e-3)
        assert one.silent == pytest.approx(float((peaks <= 0).float().mean()), abs=0.01)
        assert strength(one).amax(2).amax(1).tolist() == pytest.approx([1.0] * 5)


def test_the_command_draws_what_a_picture_becomes(photos: Path, tmp_path: Path, run: Run) -> None:
    picture = next(photos.rglob("flower*.png"))
    code, out, err = run("anatomy", "efficientnet_lite0", "--picture", picture, "--out", tmp_path / "a.png")
    assert code == 0, err
    assert "a.png: what" in out
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.height > 5 * 150
    code, _, err = run("anatomy", "efficientnet_lite0", "--picture", tmp_path / "none.png")
    assert (code, "no such file" in err) == (3, True)


@pytest.mark.slow
def test_a_page_to_click_on(kind_file: Path, photos: Path, tmp_path: Path, run: Run, browser: Callable[[str], str]) -> None:
    """In headless Chromium: every stage opens by a click and by the keyboard, shows its sheets, and fits on a phone."""
    code, _, err = run(
        "anatomy", kind_file, "--over", photos, "--picture", next(photos.rglob("*.png")), "--report", tmp_path / "page", "-q"
    )
    assert code == 0, err
    said = browser(f"""
        const others = [];
        page.on("request", (request) => others.push(request.url()));
        await page.setViewport({{ width: 380, height: 800 }});
        await page.goto({json.dumps((tmp_path / "page" / "index.html").as_uri())});
        const titles = await page.$$eval("details > summary", (all) => all.map((one) => one.textContent));
        const open = () => page.$$eval("details", (all) => all.filter((one) => one.open).length);
        const before = await open();
        await page.click("details > summary");
        const clicked = await open(), drawn = await page.$eval("details[open] img", (one) => one.naturalWidth * one.clientWidth);
        await page.focus("details:nth-of-type(2) > summary");
        await page.keyboard.press("Enter");
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        console.log(JSON.stringify({{ titles, before, clicked, drawn, keyed: await open(), wide, others }}));
    """)
    told = json.loads(said)
    assert [title for title in told["titles"] if title.startswith("stride8: 40 units")]
    assert {"What a picture becomes", "kind: why it answers so", "Layer by layer"} <= set(told["titles"])
    assert (told["before"], told["clicked"], told["keyed"]) == (0, 1, 2)
    assert told["drawn"] > 0
    assert told["wide"] <= 380
    assert [url for url in told["others"] if not url.startswith(("file:", "data:"))] == []

"""Why a head says so: Grad-CAM against captum's, completeness, a planted mark that is found, weights that are shuffled, nothing changed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from PIL import Image, ImageDraw
from torch import nn

from onelook import Model, read
from onelook.cli import main
from onelook.errors import HeadError
from onelook.inside import saliency
from onelook.inside import trust as trust_module
from onelook.inside.asked import Asked, ask
from onelook.inside.explain import explain
from onelook.inside.over import explain_over
from onelook.inside.saliency import METHODS

from .conftest import write_scenes


@pytest.fixture(scope="module")
def model(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A frozen classifier, one with a tail, and vectors of four places."""
    places = tmp_path_factory.mktemp("places")
    for number, path in enumerate(sorted(photos.rglob("*.png"))):
        folder = places / f"place{number // 12}"
        folder.mkdir(exist_ok=True)
        (folder / path.name).symlink_to(path)
    model = Model.new(device="cpu")
    model.fit("kind", photos, freeze="all", hold_out=False)
    model.fit("own", photos, freeze="stride16", epochs=1, views=1, hold_out=False)
    model.fit("who", places, head="embed", hold_out=False)
    return model


@pytest.fixture(scope="module")
def photo(photos: Path) -> Path:
    return sorted(photos.rglob("flower*.png"))[0]


@pytest.mark.parametrize("head", ["kind", "own"])
@pytest.mark.slow
def test_gradcam_against_captum(model: Model, photo: Path, head: str) -> None:
    """The same map, whether the stage is shared or the head's own; captum runs everything in torch."""
    asked = ask(model, head, photo)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([asked.way.backbone, asked.way.head])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return asked(x)

    stride = 16 if head == "kind" else 32
    place = model.backbone.strides.index(stride)
    stage = model.backbone.stages[place] if head == "kind" else model.head(head).tails[0].stages[0]
    theirs = LayerGradCam(Whole(), stage).attribute(asked.x.requires_grad_(), relu_attributions=True)
    ours = saliency.speaking_for(METHODS["gradcam"](asked, stride), asked.x)
    theirs = theirs.detach()
    expected = nn.functional.interpolate(theirs, size=asked.x.shape[2:], mode="bilinear")[0, 0]
    assert float((ours - expected).abs().max()) <= 2e-3 * float(expected.abs().max())


@pytest.mark.slow
def test_integrated_gradients_are_complete(model: Model, photo: Path) -> None:
    """Their sum is the difference in evidence to the picture of the mean colour (Sundararajan et al. 2017, axiom 2)."""
    from captum.attr import IntegratedGradients

    asked = ask(model, "kind", photo)
    parts = IntegratedGradients(asked).attribute(asked.x, torch.zeros_like(asked.x), n_steps=64, internal_batch_size=8)
    difference = float((asked(asked.x) - asked(torch.zeros_like(asked.x)))[0].detach())
    assert float(parts.sum()) == pytest.approx(difference, rel=0.1, abs=0.2)


@pytest.mark.parametrize(
    ("head", "method"),
    [
        *(("kind", method) for method in ("hirescam", "gradcam", "guided")),
        *(pytest.param("kind", method, marks=pytest.mark.slow) for method in ("integrated_gradients", "occlusion")),
        ("own", "hirescam"),
        ("who", "hirescam"),
    ],
)
def test_every_method_of_heads_that_differ(model: Model, photos: Path, photo: Path, head: str, method: str) -> None:
    others = sorted(photos.rglob("flower*.png"))
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    trust = method in ("hirescam", "guided") or head == "who"
    found = explain(model, head, photo, method=method, other=others[5] if head == "who" else None, trust=trust)
    assert found.values.shape == (found.placement.content[1], found.placement.content[0])
    assert 0 <= float(found.values.min()) <= float(found.values.max()) <= 1.0 + 1e-6
    facts = found.to_json()
    if trust:
        assert 0 <= facts["randomised_changes"] <= 1
        wanted = {"method", "layer", "answer", "randomised_changes", "deletion", "insertion"}
        assert wanted | {f"{kind}_{which}" for kind in ("random", "centre") for which in ("deletion", "insertion")} <= set(facts)
    assert found.seconds < 10
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items())
    hooks = [hook for part in (model.backbone, model.head(head)) for module in part.modules() for hook in module._forward_hooks]
    assert not hooks


def test_a_method_that_shows_the_pictures_edges_is_said_to_fail(model: Model, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks like an explanation and has nothing to do with the head: shuffled weights leave it as it is."""
    monkeypatch.setitem(METHODS, "gradcam", lambda asked, _: asked.x[0].mean(0).diff(dim=0, append=asked.x[0, :1, -1]).abs())
    found = explain(model, "kind", photo, method="gradcam")
    assert found.trust is not None
    assert found.trust.randomised_changes == pytest.approx(0)
    assert not found.trust.depends_on_weights
    assert "FAILS: hardly depends on the weights" in str(found.trust)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_input(model: Model, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for three pictures no more go through at once, and the maps and curves stay the same."""
    asked = ask(model, "kind", photo)
    usual = {method: METHODS[method](asked, 32) for method in ("integrated_gradients", "occlusion")}
    curves = trust_module._curves(asked, usual["occlusion"][::8, ::8])
    monkeypatch.setattr(saliency, "AT_ONCE", 3 * asked.x[0, 0].numel())
    seen: list[int] = []
    for name in ("__call__", "quick"):
        true = getattr(Asked, name)
        monkeypatch.setattr(Asked, name, lambda self, x, true=true: (seen.append(len(x)), true(self, x))[1])
    for method, expected in usual.items():
        torch.testing.assert_close(METHODS[method](asked, 32), expected, rtol=1e-3, atol=1e-4)
    found = trust_module._curves(asked, usual["occlusion"][::8, ::8])
    assert (found is None) == (curves is None)
    assert found is None or found.deletion == pytest.approx(curves.deletion, abs=1e-3)
    assert max(seen) == 6  # twice as many where no gradients are kept


def test_boxes_are_asked_where_they_lie(tmp_path: Path) -> None:
    """The map of a box's score lies more in the box than outside of it."""
    write_scenes(tmp_path / "scenes", 40)
    model = Model.new(device="cpu")
    model.choose_geometry("where", 128)
    model.fit("where", read(tmp_path / "scenes"), head="fcos", epochs=8, views=2, hold_out=False)
    path = tmp_path / "scenes" / "scene000.png"
    for method in ("hirescam", "occlusion"):
        found = explain(model, "where", path, method=method, trust=False)
        assert found.layer == ("stride16" if method == "hirescam" else "pixels")
        assert found.place is not None
        left, top, right, bottom = (round(value) for value in found.place)
        inside = torch.zeros_like(found.values, dtype=torch.bool)
        inside[max(0, top) : bottom, max(0, left) : right] = True
        assert float(found.values[inside].mean()) > 3 * float(found.values[~inside].mean()), method


def write_marked(root: Path, photos: Path) -> None:
    """Two kinds of crops of one photograph, of which those of one kind carry a small mark in the corner."""
    for name, marked in (("plain", False), ("marked", True)):
        (root / name).mkdir(parents=True)
        for number, path in enumerate(sorted(photos.rglob("temple*.png"))):
            picture = Image.open(path).convert("RGB").resize((128, 128))
            if marked:
                ImageDraw.Draw(picture).ellipse((98, 98, 122, 122), fill=(230, 30, 40))
            picture.save(root / name / f"{number}.png")


@pytest.mark.slow
def test_a_planted_mark_is_found(tmp_path: Path, photos: Path) -> None:
    write_marked(tmp_path, photos)
    model = Model.new(device="cpu")
    model.fit("kind", tmp_path, freeze="all", hold_out=False)
    for method in ("hirescam", "occlusion"):
        found = explain(model, "kind", tmp_path / "marked" / "3.png", method=method, trust=method == "hirescam")
        assert "marked" in found.claim
        row, column = divmod(int(found.values.argmax()), found.values.shape[1])
        scale = 128 / found.values.shape[0]
        assert 80 <= row * scale <= 128, method
        assert 80 <= column * scale <= 128, method
        assert found.trust is None or found.trust.beats_chance


@pytest.mark.slow
def test_what_leads_astray_is_found_over_many(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The mark decides: its corner is named, and hiding it changes answers; of pictures without marks nothing is suspected."""
    write_marked(tmp_path, photos)
    model = Model.new(device="cpu")
    model.fit("kind", tmp_path, freeze="all", hold_out=False)
    model.fit("honest", photos, freeze="all", hold_out=False)
    model.save(tmp_path / "m.onelook")
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "explain",
                str(tmp_path / "m.onelook"),
                "--head",
                "kind",
                "--over",
                str(tmp_path),
                "--report",
                str(tmp_path / "page"),
                "--json",
            ]
        )
    assert stop.value.code in (0, None)
    groups = json.loads(capsys.readouterr().out)["groups"]
    worst = groups[0]
    assert (worst["claim"], worst["where"], worst["suspicious"]) == ("marked", "bottom right", True)
    assert worst["changed"] > 0.5
    assert "decides" in (tmp_path / "page" / "index.html").read_text()
    assert not any(group.suspicious for group in explain_over(model, "honest", sorted(photos.rglob("*.png"))))


def test_mistakes(model: Model, photo: Path) -> None:
    with pytest.raises(HeadError, match="--layer stride3: there is no such stage; there are stride2"):
        explain(model, "kind", photo, layer="stride3")
    with pytest.raises(HeadError, match="--method saliency: there is auto, hirescam"):
        explain(model, "kind", photo, method="saliency")
    with pytest.raises(HeadError, match="--about car: there is no such answer; there are flower, temple"):
        explain(model, "kind", photo, about="car")
    with pytest.raises(HeadError, match="--other PICTURE"):
        explain(model, "who", photo)
    tanh = Model.new("random:lenet5", device="cpu")
    tanh.fit("kind", photo.parent.parent, freeze="all", hold_out=False)
    with pytest.raises(HeadError, match=r"tanh is no rectifier: guided has no rule for it.*--method gradcam"):
        explain(tanh, "kind", photo, method="guided")


def test_small_pictures(model: Model, tmp_path: Path) -> None:
    Image.fromarray(np.full((1, 1, 3), 90, dtype=np.uint8)).save(tmp_path / "one.png")
    assert explain(model, "kind", tmp_path / "one.png").trust is not None


@pytest.mark.slow
def test_the_command(model: Model, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.save(tmp_path / "m.onelook")

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments)])
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    code, out, _ = run("explain", tmp_path / "m.onelook", photo, "--head", "kind", "--out", tmp_path / "map.png", "--json")
    found = json.loads(out)
    assert (code, found["method"], found["layer"], found["claim"]) == (0, "hirescam", "stride32", "flower")
    with Image.open(tmp_path / "map.png") as drawn:
        assert drawn.width > drawn.height
    code, _, err = run("explain", tmp_path / "m.onelook", photo)
    assert (code, "which one? there are kind, own, who" in err) == (2, True)
    code, _, err = run("explain", tmp_path / "m.onelook", "--head", "kind", "--over", photo.parent, "--out", "x.png", "--about", "flower")
    assert (code, "--about, --out: of one picture" in err) == (2, True)
    code, out, _ = run("explain", "efficientnet_lite0", photo, "--no-trust", "--method", "occlusion")
    assert (code, "imagenet says" in out, "occlusion on pixels" in out) == (0, True, True)

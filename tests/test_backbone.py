"""The default backbone, its weights, and where weights come from."""

import pickle
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images
from torch import nn

from onelook import Model
from onelook.backbones.backbone import Backbone
from onelook.backbones.weights import DEFAULT_BACKBONE, load_weights, packaged, read_state
from onelook.errors import BackboneError, UnreadableError, WeightsMissing


def test_default_facts(lite0: Backbone) -> None:
    assert lite0.strides == (2, 4, 8, 16, 32)
    assert lite0.channels == {2: 16, 4: 24, 8: 40, 16: 112, 32: 320}
    assert lite0.embedding_size == 1280
    assert lite0.preprocess.mean == lite0.preprocess.std == (0.5, 0.5, 0.5)
    assert lite0.preprocess.crop_share == 0.875
    assert lite0.source.licence == "Apache-2.0"
    assert lite0.class_names[281] == "tabby"
    assert len(set(lite0.class_names)) == 1000
    assert sum(p.numel() for p in lite0.network.parameters()) == pytest.approx(4.65e6, rel=0.01)  # timm's table: 4.65 M


def test_lite2_by_position(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every tensor in its place: the network knows what a temple is, and onnxruntime answers as torch does."""
    backbone = Backbone.load("efficientnet_lite2")
    assert sum(p.numel() for p in backbone.network.parameters()) == pytest.approx(6.09e6, rel=0.01)  # timm's table: 6.09 M
    assert (backbone.preprocess.size, backbone.preprocess.crop_share, backbone.source.licence) == (260, 0.89, "Apache-2.0")
    Image.fromarray(load_sample_images().images[0]).save(tmp_path / "temple.png")
    model = Model.new("efficientnet_lite2", cache=tmp_path / "cache", device="cpu")
    assert model.geometry_of("imagenet").size == 288
    (found,) = model.predict(tmp_path, heads=["imagenet"])
    assert found["imagenet"].label == "palace"
    assert "differs" not in capsys.readouterr().err


def test_fingerprint_knows_weights_and_preprocessing(tiny: Backbone) -> None:
    torch.manual_seed(0)
    again = Backbone.load("random:test_efficientnet")
    assert again.fingerprint == tiny.fingerprint
    next(again.network.parameters()).data[0] += 1
    del again.__dict__["fingerprint"]
    assert again.fingerprint != tiny.fingerprint


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_from_a_file(tmp_path: Path, tiny: Backbone, suffix: str) -> None:
    path = tmp_path / f"mine{suffix}"
    state = {name: value.contiguous().clone() for name, value in tiny.network.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    loaded = Backbone.load("test_efficientnet", weights_file=path)
    assert loaded.source.kind == "file"
    assert all(torch.equal(a, b) for a, b in zip(loaded.network.state_dict().values(), state.values(), strict=True))


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(BackboneError, match="tensors are missing or have another shape"):
        Backbone.load("resnet18", weights_file=packaged(DEFAULT_BACKBONE))


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"x": Path("/")}))
    with pytest.raises(UnreadableError, match=r"evil\.pth"):
        read_state(path)


def test_truncated_and_missing_weights(tmp_path: Path) -> None:
    path = tmp_path / "short.pth"
    path.write_bytes(packaged(DEFAULT_BACKBONE).read_bytes()[:100_000])
    for file in (path, tmp_path / "none.pth"):
        with pytest.raises(UnreadableError, match=file.name):
            read_state(file)


def test_unknown_name_suggests() -> None:
    with pytest.raises(BackboneError, match="did you mean resnet50"):
        Backbone.load("resnet5000")


def test_no_network_names_the_way_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    with pytest.raises(WeightsMissing, match=r"no network, and timm/resnet18.* --weights FILE"):
        Backbone.load("resnet18")
    monkeypatch.setattr("onelook.backbones.nets.of_torchvision.alexnet", refuse)
    with pytest.raises(WeightsMissing, match=r"no route to host.* --weights FILE"):
        Backbone.load("alexnet")
    said = capsys.readouterr().err
    assert "47 MB" in said
    assert "licence apache-2.0" in said


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("resnet18", "resnet18"), ("mobilenetv2_100", "mobilenet_v2"), pytest.param("vgg11", "vgg11", marks=pytest.mark.slow)],
)
def test_torchvisions_files(name: str, theirs: str, tmp_path: Path) -> None:
    """Names and dense layers differ from timm's: the same logits from their files."""
    torch.manual_seed(0)
    network = torchvision.models.get_model(theirs, weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "theirs.pth")
    ours = Backbone.load(name, weights_file=tmp_path / "theirs.pth")
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(x)
        torch.testing.assert_close(ours.network(x), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_files_of_other_networks_are_not_taken_by_position() -> None:
    """As many tensors, and one that does not fit: it is named."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2))
    state = {"a.weight": torch.zeros(4, 3, 3, 3), "a.bias": torch.zeros(4), "b.weight": torch.zeros(2, 5), "b.bias": torch.zeros(2)}
    with pytest.raises(BackboneError, match=r"other.pth: b.weight \(2, 5\) stands where the network has 1.weight \(2, 4\)"):
        load_weights(network, state, "other.pth")
    swapped = {"a.bias": torch.ones(4), "a.weight": torch.zeros(4, 3, 3, 3), "b.weight": torch.zeros(2, 4), "b.bias": torch.zeros(2)}
    with pytest.raises(BackboneError, match=r"a.bias \(4,\) stands where the network has 0.weight"):
        load_weights(network, swapped, "other.pth")
    fits = dict(sorted(state.items())) | {"b.weight": torch.ones(2, 4)}
    load_weights(network, {name: fits[name] for name in ("a.weight", "a.bias", "b.weight", "b.bias")}, "other.pth")
    assert float(network[1].weight.detach().sum()) == 8  # type: ignore[operator]
    with pytest.raises(BackboneError, match="4 of 4 tensors are missing"):  # those keep no order
        load_weights(network, fits, "other.safetensors")

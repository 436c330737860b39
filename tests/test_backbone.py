"""The default backbone, its weights, and where weights come from."""

import pickle
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images

from onelook import Model
from onelook.backbones.backbone import Backbone
from onelook.backbones.weights import DEFAULT_BACKBONE, packaged, read_state
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

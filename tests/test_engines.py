"""onnxruntime says what torch says, whatever the batch; where it cannot, torch does the work."""

from pathlib import Path

import pytest
import torch

from onelook.backbones import engines
from onelook.backbones.backbone import Backbone
from onelook.backbones.engines import OnnxEngine, TorchEngine, make_engine


@pytest.fixture(scope="module")
def engine(lite0: Backbone, cache_root: Path) -> OnnxEngine:
    made = make_engine(lite0, cache_root / "engines", "cpu")
    assert isinstance(made, OnnxEngine)
    return made


@pytest.mark.parametrize("shape", [(3, 3, 224, 224), (2, 3, 64, 96), (1, 3, 32, 224)])
def test_equals_torch_at_every_size(engine: OnnxEngine, lite0: Backbone, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for ours, theirs in zip(engine(x), lite0(x), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=float(theirs.abs().max()) * 1e-4)
    assert engine.agrees[shape[2], shape[3]]


def test_a_picture_does_not_depend_on_its_batch(engine: OnnxEngine) -> None:
    x = torch.randn(7, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    whole = engine(x)
    for part in ([0], [6, 2], [3, 1, 0, 5]):
        assert all(torch.equal(a, b[part]) for a, b in zip(engine(x[part]), whole, strict=True))


def test_exported_once(engine: OnnxEngine, lite0: Backbone, cache_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_export", lambda *_: pytest.fail("exported again"))
    assert make_engine(lite0, cache_root / "engines", "cpu").name == "onnxruntime"


def test_torch_when_export_fails(
    lite0: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(engines, "_export", fail)
    x = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        assert all(torch.equal(a, b) for a, b in zip(make_engine(lite0, tmp_path, "cpu")(x), lite0(x), strict=True))
    assert "no such operator" in capsys.readouterr().err


def test_torch_when_answers_differ(
    engine: OnnxEngine, lite0: Backbone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    x = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    monkeypatch.setattr(engine, "_run", lambda x: tuple(value * 1.01 for value in lite0(x)))
    with torch.inference_mode():
        assert all(torch.equal(a, b) for a, b in zip(engine(x), lite0(x), strict=True))
    assert "differs from torch by" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda(lite0: Backbone) -> None:
    x = torch.randn(2, 3, 224, 224)
    expected = [value.clone() for value in lite0(x)]
    for ours, theirs in zip(TorchEngine(Backbone.load(), "cuda")(x), expected, strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=2e-2, atol=float(theirs.abs().max()) * 2e-2)

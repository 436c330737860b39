"""What goes wrong on disks and beside other processes: damaged bytes, edited headers, two trainings into one file, signals, warnings."""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from onelook import Geometry, Model, read
from onelook.backbones.backbone import Backbone
from onelook.cli import main
from onelook.cli.interruption import signals_interrupt
from onelook.cli.options import Started
from onelook.data.pictures import open_picture
from onelook.errors import BackboneError, DiskError, ModelFileError, PictureError
from onelook.looks.cache import FeatureCache
from onelook.workflows.train import train
from tests.conftest import write_crops


@pytest.fixture(scope="module")
def saved(lite0: Backbone, photos: Path, cache_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = Model(lite0, Geometry(64), cache=cache_root, device="cpu")
    model.fit("kind", read(photos), freeze="all", form="linear")
    path = tmp_path_factory.mktemp("saved") / "m.onelook"
    model.save(path)
    return path


def header_of(content: bytes) -> tuple[int, dict[str, Any]]:
    """Length of a safetensors header, and what onelook says in it."""
    (length,) = struct.unpack("<Q", content[:8])
    return length, json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["onelook"])


def with_header(content: bytes, facts: Any) -> bytes:
    (length,) = struct.unpack("<Q", content[:8])
    whole = json.loads(content[8 : 8 + length])
    whole["__metadata__"]["onelook"] = json.dumps(facts)
    header = json.dumps(whole).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


class TestModelFiles:
    def test_flipped_bytes_among_the_weights_are_refused(self, saved: Path, tmp_path: Path) -> None:
        content = bytearray(saved.read_bytes())
        start = 8 + header_of(bytes(content))[0]
        for place in np.random.default_rng(0).integers(start, len(content), 20):
            content[place] ^= 0xFF
        (tmp_path / "m.onelook").write_bytes(content)
        with pytest.raises(ModelFileError, match="the weights of 'kind' are damaged"):
            Model.load(tmp_path / "m.onelook")

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    @pytest.mark.slow
    def test_an_edited_header_is_a_message_not_a_traceback(self, saved: Path, tmp_path: Path, data: st.DataObject) -> None:
        content = saved.read_bytes()
        _, facts = header_of(content)
        spots: list[tuple[Any, Any]] = []

        def walk(node: Any) -> None:
            for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
                spots.append((node, key))
                walk(node[key])

        walk(facts)
        node, key = data.draw(st.sampled_from(spots))
        node[key] = data.draw(st.sampled_from([None, -1, "x", [], {}, 1e9, {"a": 1}]))
        path = tmp_path / "m.onelook"
        path.write_bytes(with_header(content, facts))
        with suppress(ModelFileError, BackboneError):  # anything else is a traceback
            assert Model.load(path, device="cpu").heads.keys() <= {"kind", "x"}

    def test_an_unknown_key_is_left_out(self, saved: Path, tmp_path: Path) -> None:
        content = saved.read_bytes()
        _, facts = header_of(content)
        facts["heads"]["kind"]["mood"] = "good"
        (tmp_path / "m.onelook").write_bytes(with_header(content, facts))
        assert list(Model.load(tmp_path / "m.onelook", device="cpu").heads) == ["kind"]
        facts["heads"]["kind"]["config"]["mood"] = "good"
        (tmp_path / "m.onelook").write_bytes(with_header(content, facts))
        with pytest.raises(ModelFileError, match=r"head 'kind' cannot be rebuilt .*mood"):
            Model.load(tmp_path / "m.onelook", device="cpu")

    def test_a_file_that_cannot_be_written_is_noticed_before_training(self, tmp_path: Path, photos: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(DiskError, match="cannot be written"):
            train(photos, name="x", model_path=tmp_path / "file" / "m.onelook")


class TestCache:
    @pytest.fixture
    def filled(self, lite0: Backbone, tmp_path: Path, fresh_cache: Path) -> tuple[Model, Path]:
        write_crops(tmp_path / "photos", 8)
        model = Model(lite0, Geometry(64), cache=fresh_cache, device="cpu")
        model.fit("kind", read(tmp_path / "photos"), freeze="all", form="linear")
        (folder,) = (tmp_path / "cache" / "looks").iterdir()
        return model, folder

    def weights(self, model: Model) -> bytes:
        return b"".join(value.numpy().tobytes() for value in model.heads["kind"].state_dict().values())

    @pytest.mark.parametrize("harm", ["flip", "cut", "empty"])
    def test_damaged_looks_are_looked_at_again(self, filled: tuple[Model, Path], tmp_path: Path, harm: str) -> None:
        model, folder = filled
        before, content = self.weights(model), bytearray((folder / "looks.f16").read_bytes())
        if harm == "flip":
            content[len(content) // 2] ^= 0xFF
        (folder / "looks.f16").write_bytes(content if harm == "flip" else content[: len(content) // 3] if harm == "cut" else b"")
        fitted = model.fit("kind", read(tmp_path / "photos"), freeze="all", form="linear")
        assert 0 < fitted.looked <= 32
        assert self.weights(model) == before

    def test_an_empty_key_file_is_written_again(self, filled: tuple[Model, Path]) -> None:
        model, folder = filled
        (folder / "key.json").write_text("")
        model.fit("kind", read(folder.parents[2] / "photos"), freeze="all", form="linear")
        assert json.loads((folder / "key.json").read_text())["backbone"] == "efficientnet_lite0"

    def test_an_interrupted_append_leaves_no_row(self, filled: tuple[Model, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        model, folder = filled
        Image.new("RGB", (70, 70), "red").save(folder.parents[2] / "photos" / "flower" / "new.png")

        def interrupt(_: int) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("onelook.looks.cache.os.fsync", interrupt)
            with pytest.raises(KeyboardInterrupt):
                model.fit("kind", read(folder.parents[2] / "photos"), freeze="all", form="linear")
        assert model.fit("kind", read(folder.parents[2] / "photos"), freeze="all", form="linear").looked == 2

    def test_engines_do_not_share_looks(self, filled: tuple[Model, Path]) -> None:
        assert json.loads((filled[1] / "key.json").read_text())["engine"] == "onnxruntime"


@pytest.mark.slow
def test_two_trainings_into_one_file(tmp_path: Path) -> None:
    """Both heads are there, in whatever order they end; equal names get a number."""
    write_crops(tmp_path / "photos", 8)
    model = tmp_path / "m.onelook"
    train(tmp_path / "photos", name="first", model_path=model, size=64, freeze="all", form="linear")
    errors: list[BaseException] = []

    def run(name: str, seed: int) -> None:
        try:
            train(tmp_path / "photos", name=name, model_path=model, freeze="all", form="linear", seed=seed)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(name, seed)) for seed, name in enumerate(("one", "same", "same"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = set(Model.load(model, device="cpu").heads)
    if errors:  # the second of equal names began when the first had ended
        assert "already has a head 'same'" in str(errors[0])
        assert names == {"first", "one", "same"}
    else:
        assert names == {"first", "one", "same", "same-2"}


@pytest.mark.slow
def test_a_termination_is_an_interruption(tmp_path: Path, cache_root: Path) -> None:
    write_crops(tmp_path / "photos", 24)
    command = [
        sys.executable,
        "-m",
        "onelook",
        *["train", "photos", "--name", "x", "--model", "m.onelook", "--freeze", "none", "--epochs", "999"],
    ]
    environment = os.environ | {"ONELOOK_CACHE": str(cache_root)}
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "learning rate" in line:
                break
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
        assert process.wait(30) in (130, -signal.SIGINT)  # a shell says 130 to both
    assert "interrupted" in said
    assert not (tmp_path / "m.onelook").exists()


def test_an_interruption_waits_for_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while a module is loaded comes when it is: the module is whole, and no other error takes its place."""
    (tmp_path / "slow_module.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(0.2)\nwhole = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def load_and_wait() -> None:
        with signals_interrupt():
            import_module("slow_module")
            time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        load_and_wait()
    assert sys.modules.pop("slow_module").whole


def test_a_command_inside_a_program_leaves_its_signals_and_its_clock_alone(photos: Path, tmp_path: Path) -> None:
    """A budget counts from the call, not from the program's start; the program's own handling of SIGTERM comes back."""
    before = signal.getsignal(signal.SIGTERM)
    time.sleep(0.2)
    begun = time.monotonic()
    with pytest.raises(SystemExit):
        main(["data", "check", str(photos)])
    assert Started.at >= begun
    assert signal.getsignal(signal.SIGTERM) is before


def test_decoding_in_threads_silences_no_other_warning(photos: Path) -> None:
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [open_picture(path) for path in photos.rglob("*.png")]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_postscript_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    with pytest.raises(PictureError, match="not a picture that can be read"):
        open_picture(tmp_path / "x.png")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_here_is_one_line(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", str(photos), "--name", "x", "--model", str(tmp_path / "m.onelook"), "--device", "cuda"])
    assert stop.value.code == 2
    assert "--device cuda: this machine has none that torch can use; use --device cpu, or auto" in capsys.readouterr().err


def test_random_networks_and_pixels_are_not_exported(tiny: Backbone, photos: Path, tmp_path: Path) -> None:
    model = Model(tiny, Geometry(64), cache=tmp_path, device="cpu")
    model.fit("kind", read(photos), epochs=1)
    assert not (tmp_path / "engines").exists()


def test_brackets_in_class_names_are_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_crops(tmp_path / "photos", 8)
    (tmp_path / "photos" / "flower").rename(tmp_path / "photos" / "[red]rose")
    for arguments in (
        ["train", "photos", "--name", "x", "--model", "m.onelook", "--size", "64", "--val", "0.25", "--freeze", "all"],
        ["val", "photos", "--model", "m.onelook", "--head", "x"],
    ):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit):
            main(arguments)
    assert "[red]rose" in capsys.readouterr().out


def test_rows_are_written_after_what_they_name(lite0: Backbone) -> None:
    """The order that survives a kill is in the code: data are flushed before their index."""
    source = Path(sys.modules[FeatureCache.__module__].__file__ or "").read_text()
    assert source.index("os.fsync(data.fileno())") < source.index('index.write(b"".join(records))')

"""Files for other programs: they say what the model says, or are not kept; strangers can read them."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from onelook import Backbone, Geometry, Model
from onelook.errors import HeadError, OnelookError
from onelook.export import compare as comparing
from onelook.export import target as targets
from onelook.export.compare import difference, letterboxed, pixels_of
from onelook.export.graph import Graph
from onelook.export.onnx import Onnx
from onelook.heads import HEADS
from onelook.workflows.export import TARGETS, Differs, export
from tests.contract.test_heads import CASES, make

from .conftest import Run

ROOT = Path(__file__).parent.parent
GRAPHS = [case for case in CASES if not HEADS[case[0]].no_graph]
FIRST = {method: next(case for case in GRAPHS if case[0] == method) for method, _, _ in GRAPHS}  # others are slow tests


@pytest.fixture(scope="module")
def model(kind_model: Model) -> Model:
    return kind_model


@pytest.fixture(scope="module")
def file(kind_file: Path) -> Path:
    return kind_file


def spoilt(graph: Graph) -> None:
    """One weight of the backbone off by a tenth."""
    layer = next(module for module in graph.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        layer.weight[0, 0, 0, 0] += 0.1


def some(tiny: Backbone, case: tuple[str, str, str]) -> Model:
    """A model with one head of a kind, untrained."""
    model = Model(tiny, Geometry(128))
    model.heads["head"] = make(case, tiny)
    return model


class TestEveryHead:
    @pytest.mark.parametrize(
        "case", [case if case in FIRST.values() else pytest.param(case, marks=pytest.mark.slow) for case in GRAPHS], ids="-".join
    )
    def test_onnx_says_what_the_model_says_of_any_shape(self, case: tuple[str, str, str], tiny: Backbone, tmp_path: Path) -> None:
        found = export(some(tiny, case), "onnx", tmp_path / "head.onnx")
        assert found.compared.pictures == 20
        assert found.compared.largest <= 1e-4

    @pytest.mark.slow
    @pytest.mark.parametrize("case", GRAPHS, ids="-".join)
    @pytest.mark.parametrize("to", ["pt2"])
    def test_pt2(self, to: str, case: tuple[str, str, str], tiny: Backbone, tmp_path: Path) -> None:
        assert export(some(tiny, case), to, tmp_path / "head").compared.largest <= 1e-4

    @pytest.mark.parametrize("method", [method for method, head in HEADS.items() if head.no_graph])
    def test_those_that_are_no_graph_are_refused(self, method: str, tiny: Backbone, tmp_path: Path) -> None:
        with pytest.raises(HeadError, match=f"'head' by {method} cannot be exported: .*--heads"):
            export(some(tiny, (method, "objects", "")), "onnx", tmp_path / "head.onnx")
        assert not list(tmp_path.iterdir())


class TestCommand:
    def test_forms(self, run: Run, file: Path, photos: Path, tmp_path: Path) -> None:
        out = tmp_path / "there" / "mine.onnx"
        code, said, err = run("export", file, "--to", "onnx", "--out", out, "--pictures", photos, "--json")
        assert code == 0, err
        facts = json.loads(said)
        assert (facts["target"], facts["file"], facts["pictures"]) == ("onnx", str(out), 48)
        assert 0 < facts["max_relative_difference"] <= 1e-4
        assert facts["facts"]["heads"]["kind"]["classes"] == ["flower", "temple"]
        assert facts["facts"]["fingerprint"] == Model.load(file).backbone.fingerprint
        assert facts["bytes"] == out.stat().st_size
        assert [path.name for path in out.parent.iterdir()] == ["mine.onnx"]
        code, said, _ = run("export", file, "--to", "onnx", "--quiet")
        assert (code, said, file.with_suffix(".onnx").exists()) == (0, "", True)

    @pytest.mark.slow
    def test_eight_bits_say_what_they_cost(self, run: Run, file: Path, photos: Path, tmp_path: Path) -> None:
        code, said, err = run("export", file, "--to", "onnx", "--int8", "--pictures", photos, "--out", tmp_path / "small.onnx", "--json")
        assert code == 0, err
        cost = json.loads(said)["int8"]
        assert cost["heads"]["kind"]["same_label"] > 0.9
        assert cost["heads"]["kind"]["relative_difference"] > 1e-4
        assert 0 < cost["share_of_bytes"] < 0.9
        assert cost["times_as_fast"] > 0

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--to", "onnx", "--heads", "other"], "no head 'other'"),
            (["--to", "pt2", "--int8"], "--int8: is for --to onnx"),
            (["--to", "pt2", "--size", "640"], "--size 640: not a size"),
            (["--to", "onnx", "--pictures", "nowhere/*.jpg"], "no picture here to compare with"),
            (["--to", "onnx", "--pictures", "nowhere.jpg"], "no picture here to compare with (nowhere.jpg: No such file or directory)"),
        ],
    )
    def test_mistakes_are_one_line(self, run: Run, file: Path, tmp_path: Path, words: list[str], said: str) -> None:
        code, out, err = run("export", file, *words, "--out", tmp_path / "x", "--quiet")
        assert (code, out) == (2, "")
        assert said in err
        assert err.count("\n") == 1
        assert not list(tmp_path.iterdir())

    def test_an_unreadable_picture_is_named_and_the_rest_compared(self, run: Run, file: Path, photos: Path, tmp_path: Path) -> None:
        (tmp_path / "broken.jpg").write_bytes(b"not a picture")
        good = next(photos.rglob("*.png"))
        words = ["--pictures", tmp_path / "broken.jpg", "--pictures", good]
        code, out, err = run("export", file, "--to", "onnx", *words, "--out", tmp_path / "x.onnx", "--json", "--quiet")
        assert (code, json.loads(out)["pictures"]) == (0, 1)
        assert "broken.jpg" in err

    def test_a_model_without_heads(self, tmp_path: Path) -> None:
        with pytest.raises(HeadError, match="no trained heads"):
            export(Model.new(), "onnx", tmp_path / "x.onnx")

    def test_heads_that_look_differently_are_exported_apart(self, tiny: Backbone, tmp_path: Path) -> None:
        model = some(tiny, CASES[0])
        model.heads["apart"] = model.heads["head"]
        model._apart["apart"] = Geometry(64)
        with pytest.raises(HeadError, match="look at pictures in different ways"):
            export(model, "onnx", tmp_path / "x.onnx")
        assert export(model, "onnx", tmp_path / "x.onnx", heads=["apart"]).compared.pictures == 20

    def test_nothing_is_installed(self, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(targets, "find_spec", lambda name: None)
        with pytest.raises(OnelookError, match=r"openvino is not installed; pip install 'onelook\[openvino\]'"):
            export(model, "openvino", tmp_path / "x.xml")


class TestDifferent:
    @pytest.mark.parametrize("to", ["onnx", "pt2", "openvino", "litert"])
    def test_a_spoilt_weight_is_refused_and_the_old_file_stays(
        self, to: str, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = TARGETS[to]
        if not all(map(find_spec, target.packages)):
            pytest.skip(f"{to} is not installed")
        out = (tmp_path / "mine").with_suffix(target.suffix)
        out.write_bytes(b"old")
        write = type(target).write

        def wrong(self: Any, graph: Graph, *rest: Any) -> None:
            spoilt(graph)
            write(self, graph, *rest)

        monkeypatch.setattr(type(target), "write", wrong)
        with pytest.raises(Differs, match=r"head most: .*the file is not kept"):
            export(some(tiny, ("unet", "masks", "")), to, out)
        assert Differs.exit_code == 1
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]

    def test_what_a_package_raises_is_one_line(self, run: Run, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(*_: Any) -> None:
            raise RuntimeError("\nno such operation\nat line 3")

        monkeypatch.setattr(Onnx, "open", fails)
        code, _, err = run("export", file, "--to", "onnx", "--out", tmp_path / "x.onnx", "--quiet")
        assert (code, list(tmp_path.iterdir())) == (2, [])
        assert err.strip().endswith("--to onnx: it cannot hold these heads (no such operation); others with --heads, or another format")

    def test_the_command_ends_with_one(self, run: Run, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write = Onnx.write
        monkeypatch.setattr(Onnx, "write", lambda self, graph, *rest: (spoilt(graph), write(self, graph, *rest)))
        code, out, err = run("export", file, "--to", "onnx", "--out", tmp_path / "x.onnx", "--json", "--quiet")
        assert (code, out, err.count("\n"), list(tmp_path.iterdir())) == (1, "", 1, [])
        assert "kind most" in err

    @pytest.mark.slow
    def test_openvino_says_what_the_model_says_by_default(self, tiny: Backbone, model: Model, tmp_path: Path) -> None:
        if find_spec("openvino") is None:
            pytest.skip("openvino is not installed")
        for case in (("unet", "masks", ""), ("fcos", "objects", ""), ("heatmap", "points", "")):
            export(some(tiny, case), "openvino", tmp_path / "head.xml")
        assert export(model, "openvino", tmp_path / "radial.xml").compared.largest < 1e-4
        assert sys.modules["openvino_telemetry"] is None

    def test_boxes(self) -> None:
        def boxes(*rows: tuple[float, ...]) -> dict[str, Tensor]:
            table = torch.tensor(rows).reshape(-1, 7)
            labels, pictures = table[:, 5].long(), table[:, 6].long()
            return {"boxes": table[:, :4], "scores": table[:, 4], "labels": labels, "pictures": pictures}

        compare: Callable[..., Any] = partial(difference, count=2, size=(100, 200), conf=0.2)
        one, two = (0.1, 0.1, 0.4, 0.4, 0.9, 0, 0), (0.5, 0.5, 0.9, 0.9, 0.8, 1, 1)
        assert compare(boxes(two, one), boxes(one, two)).same  # in any order
        assert compare(boxes(one, two, (0, 0, 1, 1, 0.1, 0, 0)), boxes(one, two)).same  # too faint to be a box
        assert compare(boxes(one), boxes(one, two)).other == "a box is missing"
        assert compare(boxes(one, two), boxes(one)).other == "a box is not the model's"
        assert compare(boxes(one, (*two[:6], 0)), boxes(one, two)).other == "a box is missing"
        moved = compare(boxes((0.1, 0.1, 0.4, 0.404, *one[4:]), two), boxes(one, two))
        assert moved.pixels == pytest.approx(0.8, abs=1e-3)
        assert not moved.same
        assert compare(boxes((0.1, 0.1, 0.4, 0.402, *one[4:]), two), boxes(one, two)).same

    def test_numbers(self) -> None:
        compare: Callable[..., Any] = partial(difference, count=1, size=(9, 9), conf=0.0)
        whole = {"values": torch.tensor([[10.0, 1.0]])}
        assert compare({"values": torch.tensor([[10.0, 1.0009]])}, whole).same
        assert not compare({"values": torch.tensor([[10.0, 1.0011]])}, whole).same
        assert not compare({"values": torch.tensor([[10.0, float("nan")]])}, whole).same
        assert "shape" in compare({"values": torch.tensor([[10.0]])}, whole).other
        mask = torch.zeros(1, 50, 50, dtype=torch.uint8)
        swapped = mask.clone()
        swapped[0, 0, :3] = 255
        assert compare({"mask": swapped}, {"mask": mask}).swapped == pytest.approx(3 / 2500)


def test_a_letterbox_keeps_the_picture_and_fills_the_rest() -> None:
    picture = Image.new("RGB", (30, 90), "white")
    for shape, size in (((2, 1), (180, 90)), ((1, 3), (30, 90)), ((1, 9), (30, 270))):
        whole = letterboxed(picture, shape)
        assert whole.size == size
        assert np.asarray(whole).mean() * whole.width * whole.height == pytest.approx(255 * 30 * 90)


def test_pictures_are_taken_evenly(model: Model, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "MOST", 10)
    taken = list(pixels_of(model.extractor(Geometry(64)), [str(photos)], None))
    assert 6 <= len(taken) <= 10


def loader() -> str:
    """The README's."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return next(block for block in blocks if "onnxruntime.InferenceSession" in block)


def test_the_loader_of_the_readme_answers_like_predict(run: Run, file: Path, photos: Path, tmp_path: Path) -> None:
    """In fifteen lines, without onelook or torch."""
    assert len(loader().strip().splitlines()) <= 15
    run("export", file, "--to", "onnx", "--out", tmp_path / "mine.onnx", "--quiet")
    forbidden = "import sys\nsys.modules['onelook'] = sys.modules['torch'] = None\n"
    for picture in sorted(photos.rglob("*.png"))[::12]:
        Image.open(picture).save(tmp_path / "photo.jpg", quality=95)
        said = subprocess.run([sys.executable, "-c", forbidden + loader()], cwd=tmp_path, capture_output=True, text=True, check=True)
        answer = json.loads(run("predict", tmp_path / "photo.jpg", "--model", file, "--json")[1])["answers"]["kind"]
        assert said.stdout.split() == ["kind", answer["label"]]


@pytest.mark.slow
def test_the_loader_of_the_readme_in_a_fresh_environment(run: Run, file: Path, photos: Path, tmp_path: Path) -> None:
    run("export", file, "--to", "onnx", "--out", tmp_path / "mine.onnx", "--quiet")
    Image.open(next(photos.rglob("temple*.png"))).save(tmp_path / "photo.jpg")
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "onnxruntime", "numpy", "pillow"], check=True, capture_output=True)
    said = subprocess.run([python, "-c", loader()], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["kind", "temple"]


@pytest.mark.slow
def test_the_loader_of_the_guide_in_a_browser(run: Run, file: Path, model: Model, photos: Path, tmp_path: Path) -> None:
    """Headless Chromium with onnxruntime-web, against ``predict``, on a picture that has the input's size already."""
    chromium, npm = which("chromium"), which("npm")
    if chromium is None or npm is None:
        pytest.skip("no chromium or npm here")
    facts = run("export", file, "--to", "onnx", "--out", tmp_path / "mine.onnx", "--quiet", "--json")[1]
    (tmp_path / "mine.json").write_text(facts)
    subprocess.run([npm, "install", "--no-save", "--ignore-scripts", "onnxruntime-web"], cwd=tmp_path, check=True, capture_output=True)
    for piece in (tmp_path / "node_modules" / "onnxruntime-web" / "dist").glob("ort*wasm*"):
        (tmp_path / piece.name).symlink_to(piece)
    Image.open(next(photos.rglob("temple*.png"))).resize((64, 64)).save(tmp_path / "photo.png")
    guide = re.search(r"```js\n(.*?)```", (ROOT / "docs" / "export.md").read_text(encoding="utf-8"), re.DOTALL)
    assert guide is not None
    (tmp_path / "look.js").write_text(guide[1])
    (tmp_path / "page.html").write_text(
        """<script type="module">
        try {
          const { look } = await import("./look.js");
          const answers = await look(await (await fetch("photo.png")).blob());
          await fetch("said", { method: "POST", body: JSON.stringify([...answers["kind.probabilities"].data]) });
        } catch (error) { await fetch("said", { method: "POST", body: JSON.stringify(String(error)) }); }
        </script>"""
    )
    heard: list[Any] = []
    done = threading.Event()

    class Handler(SimpleHTTPRequestHandler):
        extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript", ".wasm": "application/wasm"}  # noqa: RUF012

        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            done.set()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = f"http://127.0.0.1:{server.server_address[1]}/page.html"
    words = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--remote-debugging-port=0",
    ]
    browser = subprocess.Popen([*words, page], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert done.wait(90), "the page said nothing"
    finally:
        browser.kill()
        browser.wait()
        server.shutdown()
        server.server_close()
    expected = model([tmp_path / "photo.png"])[0]["kind"].probabilities
    assert heard[0] == pytest.approx(list(expected.values()), abs=1e-4), heard

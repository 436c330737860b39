"""Fixtures: a cache shared by the session (the exported network is made once), and small folders of real photographs.

The photographs are crops of the two that scikit-learn ships (china.jpg, flower.jpg), so that no test needs a network.
"""

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import which

if "PYTEST_XDIST_WORKER" in os.environ:  # a core for each of the processes that share the tests; read when torch is imported
    os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

from onelook import Geometry, Model
from onelook.backbones.backbone import Backbone
from onelook.backbones.engines import make_engine
from onelook.cli import main
from onelook.training import depth_search

SIDE = 128  # pixels of a scene
Run = Callable[..., tuple[int, str, str]]  # a command's words -> exit code, stdout, stderr

settings.register_profile("repeatable", derandomize=True)  # the same examples in every run; others: HYPOTHESIS_PROFILE=default pytest
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="session", autouse=True)
def cache_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every test's cache; command-line tests inherit it through the environment."""
    root = tmp_path_factory.mktemp("cache")
    os.environ["ONELOOK_CACHE"] = str(root)
    os.environ["ONELOOK_THREADS"] = "all"  # equal bytes whatever else this machine does
    return root


@pytest.fixture(autouse=True)
def short_searches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few seconds a search where a test gives no budget, but on real pictures."""
    if request.node.get_closest_marker("real") is None:
        monkeypatch.setattr(depth_search, "BUDGET", 8.0)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    return call


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of real crops: 24 of a temple, 24 of a flower, of different sizes."""
    root = tmp_path_factory.mktemp("photos")
    write_crops(root, 24)
    return root


@pytest.fixture
def browser(tmp_path: Path) -> Callable[[str], str]:
    """Drive headless Chromium: JavaScript that has ``page`` (of puppeteer) -> what it prints. Skips where there is no Chromium or npm."""
    chromium, npm, node = which("chromium"), which("npm"), which("node")
    if chromium is None or npm is None or node is None:
        pytest.skip("no chromium or npm here")
    subprocess.run([npm, "install", "--no-save", "--ignore-scripts", "puppeteer-core"], cwd=tmp_path, check=True, capture_output=True)

    def drive(script: str) -> str:
        (tmp_path / "drive.mjs").write_text(
            f"""import puppeteer from "puppeteer-core";
            const browser = await puppeteer.launch({{ executablePath: {json.dumps(chromium)}, args: ["--no-sandbox", "--disable-gpu"] }});
            const page = await browser.newPage();
            page.on("pageerror", (error) => console.error(String(error)));
            try {{ {script} }} finally {{ await browser.close(); }}"""
        )
        ended = subprocess.run([node, "drive.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended.stderr
        assert not ended.stderr
        return ended.stdout

    return drive


def small_model(photos: Path) -> Model:
    """A model with one quickly trained head, ``kind``."""
    model = Model.new(geometry=Geometry(64))
    model.fit("kind", photos, freeze="all", views=1)
    return model


@pytest.fixture(scope="session")
def kind_model(photos: Path) -> Model:
    """``small_model``, to be read only."""
    return small_model(photos)


@pytest.fixture(scope="session")
def kind_file(kind_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kind") / "mine.onelook"
    kind_model.save(path)
    return path


def write_crops(root: Path, count: int, offset: int = 0) -> None:
    for name, array in zip(("temple", "flower"), load_sample_images().images, strict=True):
        (root / name).mkdir(parents=True, exist_ok=True)
        photo = Image.fromarray(array)
        for number in range(count):
            step = number + offset
            left, top = 17 * step % 440, 11 * step % 260
            size = (96 + 8 * (step % 5), 80 + 8 * (step % 4))
            photo.crop((left, top, left + size[0], top + size[1])).save(root / name / f"{name}{step:03}.png")


def write_scenes(root: Path, count: int, offset: int = 0) -> None:
    """Pictures of a temple's wall with one or two flowers of different sizes, and ``labels.csv``; every sixth has none."""
    wall, flower = (Image.fromarray(array) for array in load_sample_images().images)
    blossom = flower.crop((150, 30, 450, 330))
    root.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(offset)
    lines = []
    for number in range(count):
        left, top = int(draw.integers(0, 500)), int(draw.integers(200, 290))
        scene = wall.crop((left, top, left + SIDE + 8 * (number % 3), top + SIDE))
        name = f"scene{offset + number:03}.png"
        boxes = []
        for place in range(0 if number % 6 == 5 else 1 + number % 2):
            side = int(draw.integers(32, 60))
            x, y = 64 * place + int(draw.integers(0, 64 - side + 1)), int(draw.integers(0, SIDE - side))
            scene.paste(blossom.resize((side, side)), (x, y))
            boxes.append((x, y, x + side, y + side))
        scene.save(root / name)
        lines += [(name, "flower", *box, boxes[0][0], boxes[0][1]) for box in boxes] or [(name, "", "", "", "", "", "", "")]
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "class", "xmin", "ymin", "xmax", "ymax"), *(line[:6] for line in lines)])
    with (root / "points.csv").open("w", newline="") as file:
        once = {line[0]: line for line in reversed(lines) if line[1]}
        rows = [(line[0], line[2], line[3], line[4], line[5]) for line in once.values()]
        csv.writer(file).writerows([("path", "left_x", "left_y", "right_x", "right_y"), *rows])


def write_masks(root: Path, count: int, offset: int = 0) -> None:
    """Pictures of a temple's wall with one or two round flowers, in ``images``, and black-and-white masks of them in ``masks``."""
    wall, flower = (Image.fromarray(array) for array in load_sample_images().images)
    blossom = flower.crop((150, 30, 450, 330))
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(offset)
    for number in range(count):
        left, top = int(draw.integers(0, 500)), int(draw.integers(200, 290))
        size = (SIDE + 8 * (number % 3), SIDE)
        scene, mask = wall.crop((left, top, left + size[0], top + size[1])), Image.new("L", size)
        for place in range(1 + number % 2):
            side = int(draw.integers(36, 62))
            x, y = 64 * place + int(draw.integers(0, 64 - side + 1)), int(draw.integers(0, SIDE - side))
            disc = Image.new("L", (side, side))
            ImageDraw.Draw(disc).ellipse((0, 0, side - 1, side - 1), fill=255)
            scene.paste(blossom.resize((side, side)), (x, y), disc)
            mask.paste(255, (x, y), disc)
        scene.save(root / "images" / f"scene{offset + number:03}.png")
        mask.save(root / "masks" / f"scene{offset + number:03}.png")


@pytest.fixture(scope="session")
def lite0() -> Backbone:
    return Backbone.load()


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    """A small network with random weights."""
    torch.manual_seed(0)
    return Backbone.load("random:test_efficientnet")


@pytest.fixture(scope="session")
def engines(lite0: Backbone, cache_root: Path) -> Path:
    """The default network as onnxruntime takes it, prepared once."""
    make_engine(lite0, cache_root / "engines")(torch.zeros(1, 3, 64, 64))
    return cache_root / "engines"


@pytest.fixture
def fresh_cache(engines: Path, tmp_path: Path) -> Path:
    """A cache without looks, in which the default network is prepared already."""
    shutil.copytree(engines, tmp_path / "cache" / "engines")
    return tmp_path / "cache"


@pytest.fixture
def model(lite0: Backbone, cache_root: Path) -> Model:
    """The default backbone at 64 px, so that looks cost little."""
    return Model(lite0, Geometry(64), cache=cache_root, device="cpu")


def write_places(root: Path, count: int, each: int) -> None:
    """Places of two photographs in the part of identities: a folder each, with crops that hardly differ."""
    draw = np.random.default_rng(0)
    for number in range(count):
        photo = Image.fromarray(load_sample_images().images[number % 2])
        for picture in range(each):
            x, y = 40 + 120 * (number // 2) + int(draw.integers(0, 15)), 60 + 70 * (number // 2) + int(draw.integers(0, 15))
            (root / f"p{number}").mkdir(exist_ok=True, parents=True)
            photo.crop((x, y, x + 96, y + 96)).save(root / f"p{number}" / f"{number}_{picture}.png")

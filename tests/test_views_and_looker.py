"""Views are what they say; looks leave padding out; drawings hold the picture."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onelook.answers.answer import Answers
from onelook.answers.canvas import contact_sheet
from onelook.answers.labels import Label
from onelook.backbones.backbone import Backbone
from onelook.backbones.engines import TorchEngine
from onelook.geometry.placement import Geometry
from onelook.looks.extractor import Extractor, Refused, look_at
from onelook.looks.features import Needs, pool_statistics


@pytest.fixture
def photo(photos: Path) -> Image.Image:
    return Image.open(sorted((photos / "temple").iterdir())[3]).convert("RGB")


def test_flipped_maps_are_not_the_maps_of_the_flipped_picture(photo: Image.Image, lite0: Backbone) -> None:
    """Why views are made from pixels: an even stride sees the mirror image half a step off."""
    pixels = lite0.normalize(torch.from_numpy(np.array(photo.resize((64, 64)))).permute(2, 0, 1))[None]
    with torch.inference_mode():
        pairs = [
            (looked.flatten(), flipped.flip(-1).flatten()) for looked, flipped in zip(lite0(pixels.flip(-1)), lite0(pixels), strict=True)
        ]
    assert min(float(torch.cosine_similarity(looked, flipped, dim=0)) for looked, flipped in pairs) < 0.9


@pytest.mark.parametrize("size", [(64, 40), (33, 64), (64, 1), (500, 499)])
def test_padding_is_left_out_of_statistics(tiny: Backbone, size: tuple[int, int]) -> None:
    extractor = Extractor(tiny, TorchEngine(tiny), Geometry(64))
    picture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    content = BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    (pixels,) = extractor.decode(Path("x.png"), content.getvalue(), "0" * 32)
    needs = Needs(maps=tiny.strides, pooled=tiny.strides, embedding=True)
    look = extractor.look([pixels], needs)
    width, height = look.placements[0].content
    for stride in tiny.strides:
        shown = look.maps[stride][:, :, : -(-height // stride), : -(-width // stride)]
        torch.testing.assert_close(look.pooled[stride], pool_statistics(shown))


def test_look_at_yields_every_picture_once(tiny: Backbone, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"x")
    paths = [*sorted(photos.rglob("*.png")), tmp_path / "bad.png"]
    extractor = Extractor(tiny, TorchEngine(tiny), Geometry(64))
    results = list(look_at(extractor, paths, Needs(embedding=True)))
    seen = [path for result in results if not isinstance(result, Refused) for path in result.paths]
    assert sorted(seen) == sorted(paths[:-1])
    assert [result.path.name for result in results if isinstance(result, Refused)] == ["bad.png"]


def test_drawings_hold_the_picture_and_a_caption(photos: Path) -> None:
    path = sorted((photos / "flower").iterdir())[0]
    answers = Answers(path, {"kind": Label("花", 0.9, {"花": 0.9, "tree": 0.1})}, {"look": 1.0})
    drawn = np.asarray(answers.draw())
    photo = np.asarray(Image.open(path).convert("RGB"))
    grow = drawn.shape[1] // photo.shape[1]
    assert np.array_equal(drawn[: photo.shape[0] * grow : grow, ::grow], photo)
    band = drawn[photo.shape[0] * grow :]
    assert band.min() < 40 < 200 < band.max()
    sheet = contact_sheet([(path, "one\ntwo")] * 7, "title", columns=3, cell=100)
    assert sheet.size == (300, 40 + 3 * 144)


def test_answers_convert_to_supervision() -> None:
    found = Label("b", 0.7, {"a": 0.3, "b": 0.7}).to_supervision()
    assert found.class_id.tolist() == [0, 1]
    assert found.confidence.tolist() == [0.3, 0.7]

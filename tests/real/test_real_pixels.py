"""Real road scenes and membranes: recognised, learned in a minute, better than what is there by chance, counted."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from torch import from_numpy, ones_like

from onelook import Geometry, Model, read
from onelook.data.readers.mask_values import CAMVID
from onelook.data.samples import mask_of
from onelook.metrics.pixels import foreground_rand, pixel_error
from onelook.workflows.data import check

from .test_real_pictures import need

pytestmark = pytest.mark.real


def test_camvid_is_clean_and_its_sides_are_known() -> None:
    report = check(need("camvid"), task="segment")
    assert report.clean, report.findings[:3]
    assert "void" in report.found
    data = read(need("camvid"), task="segment")
    assert (len(data.side("train")), len(data.side("val"))) == (367, 101)
    assert len(read(need("camvid"), task="segment", split="test")) == 233
    assert data.classes == CAMVID


def test_road_scenes_in_a_minute(tmp_path: Path) -> None:
    """Half resolution, every third picture, six epochs, a tail behind stride 8."""
    train, test = (read(need("camvid"), task="segment", split=side) for side in ("train", "test"))
    model = Model.new(geometry=Geometry(240), cache=tmp_path, device="cpu")
    fitted = model.fit("road", train.pick(range(0, len(train), 3)), head="segment", epochs=6, hold_out=False)
    assert fitted.trained.cut == 3
    found = model.evaluate("road", test.pick(range(0, len(test), 6))).metrics
    assert found["pixel_accuracy"] > 0.78
    assert found["miou"] > 0.36
    assert found["per_class"]["Road"]["iou"] > 0.8


def test_membranes(tmp_path: Path) -> None:
    """Half resolution, twelve sections to learn from, four to judge on; a tail that is the whole network."""
    data = read(need("isbi2012_membrane"), task="segment")
    assert "0 read as background, 255 as foreground" in data.found
    model = Model.new(geometry=Geometry(256), cache=tmp_path, device="cpu")
    how = {"augment": "aerial", "epochs": 30, "hold_out": False, "loss": "dice"}
    model.fit("cells", data.pick(range(12)), head="segment", freeze="none", **how)  # type: ignore[arg-type]
    errors, rands, plain = [], [], []
    for sample, answers in zip(
        data.samples[-4:], model.predict([sample.path for sample in data.samples[-4:]], instances="components"), strict=True
    ):
        truth, answer = mask_of(sample).read(), answers["cells"]
        errors.append(pixel_error(from_numpy(answer.mask), truth))
        plain.append(pixel_error(ones_like(truth), truth))
        rands.append(foreground_rand(from_numpy(answer.instances.regions), from_numpy(ndimage.label(truth.numpy() == 1)[0])))
        assert answer.instances.counts["foreground"] > 10
    assert np.mean(errors) < 0.88 * np.mean(plain), (errors, plain)  # plain: to say that there is no membrane
    assert np.mean(rands) > 0.25, rands

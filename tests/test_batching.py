"""Batches of several input sizes: as many as are counted, none much smaller than the others, padding that changes nothing it should not."""

from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from onelook import Geometry, Model, read
from onelook.backbones.backbone import Backbone
from onelook.backbones.engines import TorchEngine
from onelook.geometry.objects import Objects
from onelook.geometry.placement import PIXELS
from onelook.heads.deeppose import DeepPose
from onelook.heads.localize import Localize
from onelook.looks.extractor import Extractor
from onelook.looks.features import Look, Needs, join, padded
from onelook.training.batching import SizeBatcher, batch_count
from onelook.training.dataset import TrainingSet, _framed
from tests.conftest import write_scenes

SIZES = st.lists(st.sampled_from([(224, 160), (160, 224), (224, 224), (224, 96), (96, 224)]), min_size=1, max_size=200)


@given(sizes=SIZES, size=st.integers(1, 40))
def test_every_item_once_in_the_counted_number_of_nearly_equal_batches(sizes: list[tuple[int, int]], size: int) -> None:
    batcher: SizeBatcher[int] = SizeBatcher(len(sizes), size)
    batches = [batch for index, place in enumerate(sizes) if (batch := batcher.add(index, place))]
    batches += list(batcher.rest())
    assert sorted(index for batch in batches for index in batch) == list(range(len(sizes)))
    assert len(batches) == batch_count(len(sizes), size)
    lengths = [len(batch) for batch in batches]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1


def test_pictures_of_one_size_go_together() -> None:
    batcher: SizeBatcher[int] = SizeBatcher(16, 4)
    sizes = [(64, 64), (64, 32)] * 8
    batches = [batch for index, place in enumerate(sizes) if (batch := batcher.add(index, place))]
    assert len(batches) == 4
    assert all(len({sizes[index] for index in batch}) == 1 for batch in batches)
    assert list(batcher.rest()) == []


class _Level(nn.Module):
    """Stands for a pyramid: the map of stride 16 as it is."""

    strides = (16,)

    def forward(self, maps: dict[int, Tensor]) -> list[Tensor]:
        return [maps[16]]


@torch.inference_mode()
@pytest.mark.parametrize("method", ["localize", "deeppose"])
def test_shares_are_of_the_pictures_own_input_whatever_its_batch(method: str, tiny: Backbone) -> None:
    """A wide, a tall and a square picture together say what each says alone; so do the targets that they learn from."""
    torch.manual_seed(0)
    channels, sizes = {"16": 64}, [(64, 32), (32, 64), (64, 64)]
    alone = []
    for wide, high in sizes:
        placement = Geometry(64).place(10 * wide, 10 * high)
        assert placement.input == (wide, high)
        alone.append(Look((placement,), {16: torch.randn(1, 64, high // 16, wide // 16)}))
    together = join([padded(look, (64, 64), {16: (4, 4)}) for look in alone])
    head: Any
    if method == "localize":
        head = Localize("a", channels=channels, inputs=1280).eval()
        head.tower, head.output = nn.Identity(), nn.Conv2d(64, 7, 1)
    else:
        head = DeepPose("abc", channels=channels, inputs=1280).eval()
        head.grid[0] = nn.Identity()
    head.pyramid = _Level()
    one_by_one = [head.postprocess(head(look), look.placements)[0] for look in alone]
    for found, expected in zip(head.postprocess(head(together), together.placements), one_by_one, strict=True):
        boxes = (found.boxes, expected.boxes) if method == "localize" else (found, expected)
        torch.testing.assert_close(*boxes)
    framed = [_framed(Objects.of([(1, 1, 9, 9)], [0]), placement) for placement in together.placements]
    assert [cast(Objects, target).frame for target in framed] == sizes


@torch.inference_mode()
def test_a_padded_look_has_the_statistics_of_its_picture(tiny: Backbone, tmp_path: Path) -> None:
    """Pixels filled up with zeros are what a geometry with more padding gives; statistics leave it out."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    extractor = Extractor(tiny, TorchEngine(tiny), Geometry(64))
    (pixels,) = extractor.decode(tmp_path / "a.png", (tmp_path / "a.png").read_bytes(), "0" * 32)
    look = extractor.look([pixels], Needs(maps=(PIXELS, 16), pooled=(16,)))
    assert look.placements[0].input == (64, 64)
    wide = padded(look, (96, 128), {PIXELS: (128, 96), **tiny.map_sizes(128, 96)})
    assert wide.placements[0].input == (96, 128)
    assert wide.placements[0].content == look.placements[0].content
    assert wide.maps[PIXELS].shape == (1, 3, 128, 96)
    assert torch.equal(wide.maps[PIXELS][..., :64, :64], look.maps[PIXELS])
    assert not wide.maps[PIXELS][..., 64:, :].any()
    assert torch.equal(wide.pooled[16], look.pooled[16])


@pytest.mark.parametrize("freeze", ["stride16", "none"])
def test_photos_of_mixed_shapes_are_learned_with_a_rate_that_falls_to_the_end(
    freeze: str, lite0: Backbone, photos: Path, tmp_path: Path, fresh_cache: Path
) -> None:
    """Shapes as in VOC: seven sizes of input for 48 pictures, of which some have one or two; the last epoch still learns."""
    shapes = [(90, 60), (60, 90), (80, 80), (90, 30), (30, 90), (90, 75), (75, 90)]
    for number, file in enumerate(sorted(photos.rglob("*.png"))):
        width, height = shapes[min(number % 16, 6)]
        folder = tmp_path / "data" / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        Image.open(file).convert("RGB").resize((width, height)).save(folder / file.name)
    data = read(tmp_path / "data")
    model = Model(lite0, Geometry(96), cache=fresh_cache, device="cpu")
    rates, counts = [], []
    epoch_of = TrainingSet._batched

    def counted(self, needs, rows, size):  # type: ignore[no-untyped-def]
        batches = list(epoch_of(self, needs, rows, size))
        counts.append([len(look) for look, _ in batches])
        yield from batches

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingSet, "_batched", counted)
        fitted = model.fit(
            "kind",
            data,
            freeze=freeze,
            epochs=4,
            callback=lambda title, steps: (rates.append(step.learning_rate) or step for step in steps),
        )
    judged = rates[:4]
    assert all(one > other > 0 for one, other in pairwise(judged[1:]))
    assert judged[-1] > 0.1 * max(judged)  # before, the rate was 0 long before the end
    assert all(min(lengths) >= 16 for lengths in counts)  # before, batches of one picture were doubled
    assert fitted.trained.held_out["accuracy"] > 0.7


def test_boxes_and_masks_of_mixed_shapes(lite0: Backbone, tmp_path: Path, fresh_cache: Path) -> None:
    write_scenes(tmp_path, 12)
    for number, file in enumerate(sorted(tmp_path.glob("scene*.png"))):
        if number % 3 == 0:
            Image.open(file).crop((0, 0, 128, 200)).save(file)
    model = Model(lite0, Geometry(128), cache=fresh_cache, device="cpu")
    for method in ("fcos", "yolo", "faster_rcnn", "localize"):
        data = read(tmp_path / "labels.csv", task="localize" if method == "localize" else "detect")
        model.fit(method, data, head=method, epochs=1, hold_out=False)
        assert model.evaluate(method, data).metrics["n"] == 12

"""Geometry and its inverse, pooled statistics: properties and a slow loop."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from onelook.errors import HeadError, OnelookError
from onelook.geometry.placement import Geometry
from onelook.looks.features import Look, Needs, pool_statistics, summarize

sizes = st.integers(1, 3000)
geometries = st.builds(
    Geometry, st.integers(16, 640), st.sampled_from(["fit", "stretch", "crop"]), st.sampled_from([1, 16, 32]), st.sampled_from([0.875, 1.0])
)


@given(geometries, sizes, sizes)
def test_placement_is_inside_and_padded_to_the_multiple(geometry: Geometry, width: int, height: int) -> None:
    placement = geometry.place(width, height)
    assert all(side % geometry.multiple == 0 for side in placement.input)
    assert all(1 <= content <= side for content, side in zip(placement.content, placement.input, strict=True))
    assert max(placement.input) == geometry.size
    if geometry.mode == "fit":
        assert max(placement.content) == geometry.size
        assert all(side - content < geometry.multiple for content, side in zip(placement.content, placement.input, strict=True))


@given(geometries, sizes, sizes, st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5))
def test_points_come_back(geometry: Geometry, width: int, height: int, shares: list[tuple[float, float]]) -> None:
    placement = geometry.place(width, height)
    points = torch.tensor(shares, dtype=torch.float64) * torch.tensor([width, height])
    torch.testing.assert_close(placement.points_to_original(placement.points_to_input(points)), points, rtol=1e-9, atol=1e-6)


@given(geometries, sizes, sizes)
def test_boxes_come_back_inside(geometry: Geometry, width: int, height: int) -> None:
    placement = geometry.place(width, height)
    box = torch.tensor([[0.0, 0.0, width, height]], dtype=torch.float64)
    torch.testing.assert_close(placement.boxes_to_original(placement.boxes_to_input(box)), box, rtol=1e-9, atol=1e-6)
    beyond = placement.boxes_to_original(torch.tensor([[-50.0, -50.0, 5000.0, 5000.0]], dtype=torch.float64))
    assert beyond.min() >= 0
    assert bool((beyond[0, 2:] <= torch.tensor([width, height])).all())


def test_crop_is_torchvisions_evaluation_transform() -> None:
    """Resize(256) + CenterCrop(224), the transform ImageNet networks are evaluated with; within a grey level inside."""
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8).astype(np.uint8))
    photo = photo.resize((500, 400), Image.Resampling.BICUBIC)
    ours = np.asarray(Geometry(224, "crop", 32, 0.875).apply(photo, Image.Resampling.BICUBIC)).astype(float)
    theirs = np.asarray(v2.CenterCrop(224)(v2.Resize(256, v2.InterpolationMode.BICUBIC)(photo))).astype(float)
    assert np.abs(ours - theirs)[4:-4, 4:-4].mean() < 1.0


def test_pooled_statistics_against_a_loop() -> None:
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    found = pool_statistics(maps)
    for b in range(2):
        for c in range(3):
            values = maps[b, c].numpy().ravel()
            expected = [values.mean(), values.max(), values.std()]
            np.testing.assert_allclose(found[b, :, c], expected, rtol=1e-5, atol=1e-6)


def test_a_batch_is_summarized_as_its_pictures_one_by_one_and_dense_layers_run_once_a_size() -> None:
    geometry = Geometry(224, "fit", 32)
    wide, square = geometry.place(224, 140), geometry.place(224, 158)  # both in an input of 224 x 160; at stride 32 both show 5 rows
    placements = [wide, square, geometry.place(224, 129), square, wide]
    assert {placement.input for placement in placements} == {(224, 160)}
    maps = {stride: torch.randn(5, 3, 160 // stride, 224 // stride) for stride in (8, 32)}
    needs, asked = Needs(maps=(32,), pooled=(8, 32), embedding=True), []

    def embed(final: torch.Tensor) -> torch.Tensor:
        asked.append(len(final))
        return final.mean((2, 3)) @ torch.ones(3, 2)

    together = summarize(maps, maps[32], placements, needs, embed)
    assert asked == [5]
    for index, placement in enumerate(placements):
        alone = summarize(
            {key: value[index : index + 1] for key, value in maps.items()}, maps[32][index : index + 1], [placement], needs, embed
        )
        picked = together.pick([index])
        torch.testing.assert_close(picked.embedding, alone.embedding)
        for stride in (8, 32):
            torch.testing.assert_close(picked.pooled[stride], alone.pooled[stride])


def test_needs_unite_and_missing_strides_are_listed() -> None:
    assert Needs(pooled=(8,)) | Needs(pooled=(4,), embedding=True) == Needs(pooled=(4, 8), embedding=True)
    look = Look((), pooled={8: torch.zeros(1, 3, 2)})
    with pytest.raises(HeadError, match=r"strides \[4\], this look has \[8\]"):
        look.require(Needs(pooled=(4,)))
    with pytest.raises(HeadError, match="embedding"):
        look.require(Needs(embedding=True))


@pytest.mark.parametrize("options", [{"mode": "squash"}, {"size": 3}, {"size": 100_000}])
def test_bad_geometry(options: dict) -> None:
    with pytest.raises(OnelookError):
        Geometry(**options)

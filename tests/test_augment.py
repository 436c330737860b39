"""Views: exact where they are mirrors, the same for the same inputs, and boxes, masks and points go where the pixels go."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA

from onelook.data.augment import (
    IGNORE,
    RECIPES,
    Components,
    Recipe,
    View,
    colour_components,
    make_view,
    pca_shift,
    recipe_by_name,
    with_components,
)
from onelook.data.samples import Sample
from onelook.errors import DataError
from onelook.report.views import views_sheet

COLOURS = Components((0.2, 0.02, 0.004), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))


@pytest.fixture
def photo(photos: Path) -> Image.Image:
    return Image.open(sorted((photos / "temple").iterdir())[3]).convert("RGB")


def view(picture: Image.Image, recipe: str, number: int, digest: str = "ab", seed: int = 0) -> Image.Image:
    made = replace(RECIPES[recipe], components=COLOURS) if RECIPES[recipe].pca else RECIPES[recipe]
    return make_view(View(picture), made, number, digest, seed).picture


def test_fixed_views_are_mirror_images_to_the_pixel(photo: Image.Image) -> None:
    pixels = np.asarray(photo)
    mirrors = [pixels, pixels[:, ::-1], pixels[::-1], pixels[::-1, ::-1]]
    for name, recipe in RECIPES.items():
        assert recipe.fixed == {"none": 1, "light": 2, "signs": 1, "photo": 2, "aerial": 4, "microscope": 4}[name]
        for number in range(recipe.fixed):
            for seed in (0, 1):
                assert np.array_equal(np.asarray(view(photo, name, number, seed=seed)), mirrors[number])


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "none"])
def test_drawn_views_depend_on_picture_number_and_seed_only(photo: Image.Image, name: str) -> None:
    def made(number: int, digest: str = "ab", seed: int = 0) -> bytes:
        return view(photo, name, number, digest, seed).tobytes()

    assert made(5) == made(5)
    assert len({made(5), made(9), made(5, "cd"), made(5, seed=1)}) == 4
    torch.manual_seed(9)  # no global generator is asked
    again = made(5)
    torch.manual_seed(10)
    assert made(5) == again


def test_none_is_the_picture_itself(photo: Image.Image) -> None:
    assert all(view(photo, "none", number).tobytes() == photo.tobytes() for number in range(9))


def blob(size: tuple[int, int], centre: tuple[float, float], radius: int = 5) -> Image.Image:
    """Black with a white disc."""
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    disc = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2
    return Image.fromarray(np.repeat((disc * 255).astype(np.uint8)[..., None], 3, axis=2))


STEPS = {
    "mirror": Recipe("mirror", mirror=True),
    "upside down": Recipe("upside down", upside_down=True),
    "crop": Recipe("crop", crop=0.7),
    "quarters": Recipe("quarters", quarters=True),
    "rotate": Recipe("rotate", rotate=40),
    "shear": Recipe("shear", shear=20),
    "warp": Recipe("warp", warp=0.02),
    "all": Recipe("all", mirror=True, upside_down=True, quarters=True, crop=0.8, rotate=180, shear=10, warp=0.01),
}


@pytest.mark.parametrize("name", list(STEPS))
def test_boxes_masks_and_points_go_where_the_pixels_go(name: str) -> None:
    """The oracle is the picture: a white disc is found again by its centre of gravity."""
    size, centre = (90, 64), (40.0, 30.0)
    picture = blob(size, centre)
    mask = torch.from_numpy(np.asarray(picture)[..., 0].copy() > 127).long()
    start = View(picture, torch.tensor([[35.0, 25.0, 45.0, 35.0]]), mask, torch.tensor([[centre]]))
    seen = 0
    for number in range(1, 25):
        made = make_view(start, STEPS[name], number, "ab")
        white = np.asarray(made.picture)[..., 0] > 127
        if white.sum() < 60:
            continue  # turned or cut away
        seen += 1
        y, x = (np.argwhere(white) + 0.5).mean(0)
        assert made.points is not None
        assert made.boxes is not None
        assert made.mask is not None
        np.testing.assert_allclose(made.points.flatten(), [x, y], atol=1.2)
        left, top, right, bottom = made.boxes[0].tolist()
        assert left - 1.5 <= x - 4
        assert x + 4 <= right + 1.5
        assert top - 1.5 <= y - 4
        assert y + 4 <= bottom + 1.5
        known = made.mask.numpy() != IGNORE
        assert made.mask.shape == white.shape
        assert ((made.mask.numpy() == 1) == white)[known].mean() > 0.985
    assert seen >= 12


def test_left_and_right_change_places_in_a_mirror(photo: Image.Image) -> None:
    eyes = torch.tensor([[[10.0, 20.0], [30.0, 20.0], [20.0, 30.0]]])
    recipe = Recipe("mirror", mirror=True)
    mirrored = make_view(View(photo, points=eyes), recipe, 1, "ab", pairs=[(0, 1)]).points
    assert mirrored is not None
    width = photo.width
    assert mirrored.tolist() == [[[width - 30, 20], [width - 10, 20], [width - 20, 30]]]
    again = make_view(View(photo, points=mirrored), recipe, 1, "ab", pairs=[(0, 1)]).points
    assert again is not None
    assert torch.equal(again, eyes)


def test_points_outside_stay_outside() -> None:
    start = View(blob((80, 80), (40, 40)), points=torch.tensor([[1.0, 1.0]]))
    for number in range(1, 20):
        made = make_view(start, Recipe("crop", crop=0.5), number, "ab")
        assert made.points is not None
        x, y = made.points[0].tolist()
        width, height = made.picture.size
        inside = np.asarray(made.picture).any()  # the crop holds the disc; nothing is clamped onto its border
        assert not inside or x < 1.01 or y < 1.01 or (0 < x < width and 0 < y < height)
    assert any(
        float(make_view(start, Recipe("crop", crop=0.5), number, "ab").points.min()) < 0  # type: ignore[union-attr]
        for number in range(1, 20)
    )


def test_components_are_scikit_learns(photos: Path) -> None:
    paths = sorted(photos.rglob("*.png"))[:10]
    found = colour_components(paths)
    pixels = []
    for path in paths:
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((64, 64))
        pixels.append(np.asarray(picture).reshape(-1, 3) / 255)
    expected = PCA().fit(np.concatenate(pixels))
    np.testing.assert_allclose(found.variances, expected.explained_variance_, rtol=1e-3, atol=2e-6)
    for ours, theirs in zip(found.directions, expected.components_, strict=True):
        assert abs(float(np.dot(ours, theirs))) == pytest.approx(1, abs=1e-4)


def test_pca_noise_is_the_papers_formula(photo: Image.Image) -> None:
    """[p1, p2, p3] [a1 l1, a2 l2, a3 l3]^T, the same for every pixel."""
    directions = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]  # columns p1, p2, p3
    components = Components((0.2, 0.02, 0.004), tuple(tuple(column) for column in directions.T))
    factors = np.array([0.1, -0.2, 0.3])
    np.testing.assert_allclose(pca_shift(components, factors), directions @ (factors * [0.2, 0.02, 0.004]))
    recipe = Recipe("pca", pca=True, components=components)
    grey = Image.new("RGB", (8, 8), (128, 128, 128))
    made = np.asarray(make_view(View(grey), recipe, 3, "ab").picture).reshape(-1, 3)
    assert (made == made[0]).all()
    assert (made[0] != 128).any()


def test_the_key_holds_all_that_changes_a_view(photos: Path) -> None:
    light, photo = RECIPES["light"], RECIPES["photo"]
    assert with_components(light, sorted(photos.rglob("*.png"))) is light
    one = with_components(photo, sorted((photos / "flower").iterdir()))
    two = with_components(photo, sorted((photos / "temple").iterdir()))
    assert len({light.key, photo.key, one.key, two.key}) == 4
    with pytest.raises(DataError, match="--augment dance: unknown; use one of none, light, signs, photo, aerial, microscope"):
        recipe_by_name("dance")


def test_the_sheet_shows_views_in_rows(photos: Path, tmp_path: Path) -> None:
    paths = [*sorted((photos / "flower").iterdir())[:2], tmp_path / "none.png"]
    sheet = np.asarray(views_sheet([Sample(path, 0) for path in paths], RECIPES["microscope"], 5, cell=100))
    assert sheet.shape == (240, 500, 3)
    assert all(
        sheet[40 + 100 * row : 140 + 100 * row, 100 * column : 100 * column + 100].std() > 10 for row in range(2) for column in range(5)
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (200, 2), (3, 3)])
@pytest.mark.parametrize("name", list(RECIPES))
def test_tiny_and_narrow_pictures(name: str, size: tuple[int, int]) -> None:
    for number in range(8):
        made = view(Image.new("RGB", size, "green"), name, number)
        assert min(made.size) >= 1


@pytest.mark.parametrize("size", [(80, 60), (60, 90), (64, 64)])
@pytest.mark.parametrize("name", list(STEPS))
def test_nothing_black_comes_in_from_outside(name: str, size: tuple[int, int]) -> None:
    """What a turn or a warp brings in is the mirrored border: a white picture stays white."""
    white = View(Image.new("RGB", size, "white"))
    for number in range(1, 16):
        assert np.asarray(make_view(white, STEPS[name], number, "ab").picture).min() >= 254

"""Left and right points found from the data; where a mirror image is another thing, nothing is mirrored."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onelook import Geometry, Model, read
from onelook.backbones.backbone import Backbone
from onelook.data.augment import recipe_by_name, unmirrored
from onelook.data.readers import joints
from onelook.data.samples import objects_of, paired_names
from onelook.errors import HeadError
from onelook.geometry.limbs import find_limbs
from onelook.geometry.mirror_pairs import find_pairs

FACE = np.array(
    [[-3, 0], [-1, 0], [1, 0], [3, 0], [0, 2], [-2, 4], [2, 4], [0, 5]], dtype=float
)  # eyes' corners, nose, mouth's corners, chin
HOOK = np.array([[0, 0], [0, 4], [0, 8], [3, 8], [3, 6]], dtype=float)
PAIRS = ((0, 3), (1, 2), (5, 6))


def shapes(shape: np.ndarray, count: int = 40, noise: float = 0.25, turn: float = 0.3) -> np.ndarray:
    draw = np.random.default_rng(0)
    found = []
    for angle, size in zip(draw.normal(0, turn, count), draw.uniform(5, 20, count), strict=True):
        rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        moved = (shape + draw.normal(0, noise, shape.shape)) @ rotation * size + draw.uniform(0, 300, 2)
        found.append(np.concatenate([moved, np.full((len(shape), 1), 2.0)], axis=1))
    return np.stack(found)


def test_pairs_of_a_face_in_any_order_of_its_points() -> None:
    order = np.random.default_rng(1).permutation(len(FACE))
    where = {int(old): new for new, old in enumerate(order)}
    expected = {tuple(sorted((where[one], where[other]))) for one, other in PAIRS}
    assert set(find_pairs(shapes(FACE)[:, order])) == expected


def test_what_has_no_mirror_image_has_no_pairs() -> None:
    assert find_pairs(shapes(HOOK)) == ()
    assert find_pairs(shapes(FACE, count=3)) == ()
    hidden = shapes(FACE)
    hidden[:, 0, 2] = 0
    assert find_pairs(hidden) == ()


def table(root: Path, points: np.ndarray, names: list[str]) -> Path:
    rows = ["path," + ",".join(f"{name}_x,{name}_y" for name in names)]
    for number, shape in enumerate(points):
        Image.new("RGB", (400, 400), (number, 90, 90)).save(root / f"{number}.png")
        rows.append(f"{number}.png," + ",".join(f"{x:.2f},{y:.2f}" for x, y, _ in shape))
    (root / "points.csv").write_text("\n".join(rows))
    return root / "points.csv"


def test_what_is_known_of_left_and_right_is_said(tmp_path: Path) -> None:
    found = read(table(tmp_path, shapes(FACE, count=12), [f"p{number}" for number in range(8)]), task="keypoints")
    assert found.layout is not None
    assert found.layout.pairs == PAIRS
    assert "3 pairs of left and right points found from the data (p0-p3, p1-p2, p5-p6)" in found.found
    hook = read(table(tmp_path, np.clip(shapes(HOOK, count=8), 0, 399), ["a", "b", "c", "d", "e"]), task="keypoints")
    assert hook.layout is not None
    assert not hook.layout.mirrors
    assert "nothing is mirrored" in hook.found


def test_names_say_it_in_many_ways() -> None:
    for left, right in (("left_eye", "right_eye"), ("eye_L", "eye_R"), ("LEye left", "LEye right"), ("l-wrist", "r-wrist"), ("L1", "R1")):
        assert paired_names((left, "nose", right)) == ((0, 2),), left
    assert paired_names(("lip", "rip", "heel", "tail")) == ()


def test_unmirrored_views_are_the_picture_and_crops(photos: Path) -> None:
    light = unmirrored(recipe_by_name("light"))
    assert (light.mirror, light.fixed, light.key != recipe_by_name("light").key) == (False, 1, True)
    assert unmirrored(recipe_by_name("signs")) is recipe_by_name("signs")


@pytest.mark.parametrize("known", [True, False])
def test_training_and_test_time_mirror_only_what_is_known(
    known: bool, lite0: Backbone, fresh_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every view that training asks for is mirrored as the layout says, or not at all."""
    root = tmp_path / "data"
    root.mkdir()
    names = ["left", "right", "nose", "d", "e"] if known else ["a", "b", "c", "d", "e"]
    data = read(table(root, np.clip(shapes(HOOK, 6), 1, 399), names), task="keypoints")
    model = Model(lite0, Geometry(64), cache=fresh_cache, device="cpu")
    recipes = []
    move = type(model.extractor(Geometry(64))).move
    monkeypatch.setattr(
        "onelook.looks.extractor.Extractor.move",
        lambda self, objects, size, row, recipe, seed, pairs: recipes.append(recipe) or move(self, objects, size, row, recipe, seed, pairs),
    )
    model.fit("where", data, head="keypoints", freeze="all", epochs=1, hold_out=False)
    assert {recipe.mirror for recipe in recipes} == {known}
    assert torch.isfinite(objects_of(data.samples[0]).points).all()
    if known:
        assert len(list(model.predict(root, tta="flips"))) == 6
    else:
        with pytest.raises(HeadError, match="not known which are left and right"):
            list(model.predict(root, tta="flips"))


COCO = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist",
    "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
COCO_SKELETON = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9), (8, 10), (9, 11), (2, 3), (1, 2), (1, 3),
    (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip


class TestLimbs:
    def test_coco_s_own(self) -> None:
        """The skeleton of person_keypoints_train2017.json, whose points count from 1."""
        assert {frozenset(pair) for pair in find_limbs(COCO)} == {frozenset((one - 1, other - 1)) for one, other in COCO_SKELETON}

    def test_leeds_own(self) -> None:
        """All of LSP's limbs but for the hips and shoulders, which are joined here as well."""
        ours = {frozenset(pair) for pair in find_limbs(joints.NAMES)}
        assert {frozenset(pair) for pair in joints.SKELETON} <= ours
        assert len(ours) == len(joints.SKELETON) + 1

    @pytest.mark.parametrize(
        "names", [["left_knee", "left_ankle"], ["l knee", "l ankle"], ["Left Knee", "Left Ankle"], ["kneeL", "ankleL"]]
    )
    def test_ways_of_writing(self, names: list[str]) -> None:
        assert find_limbs(names) == ((0, 1),)

    def test_no_body(self) -> None:
        assert find_limbs([f"p{number}" for number in range(68)]) == ()
        assert find_limbs(["left_corner", "right_corner"]) == ()

    def test_read_with_the_points(self, tmp_path: Path) -> None:
        Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
        (tmp_path / "points.csv").write_text("path,left_knee_x,left_knee_y,left_ankle_x,left_ankle_y\na.png,10,10,20,30\n")
        layout = read(tmp_path / "points.csv", task="keypoints").layout
        assert layout is not None
        assert layout.skeleton == ((0, 1),)

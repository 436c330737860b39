"""Style: losses against slow loops and the paper's formulas, tiles against the whole, optimizers and networks against others'."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from onelook.backbones.backbone import Backbone
from onelook.data.pictures import open_picture
from onelook.errors import BackboneError, HeadError, OnelookError
from onelook.style import judge as judging
from onelook.style.colour import luminance, matched, with_colours
from onelook.style.instant import Instant
from onelook.style.judge import Judge, find_judge
from onelook.style.losses import PICTURE, Content, Loss, Style, Sum, TotalVariation, Wasserstein, gram
from onelook.style.networks import CONVOLUTIONS, RANDOM, Facts, StyleNetwork, load_network, of_backbone
from onelook.style.objective import Objective, Region, tiles
from onelook.style.optimizers import Adam, Descent, Lbfgs, Optimizer
from onelook.style.painter import SHIFTS, Painter, Stage, Strokes, stages, to_picture, to_tensor
from onelook.style.recipe import Recipe


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def pictures(photos: Path) -> tuple[Image.Image, Image.Image]:
    """A temple and a flower, 96 pixels on the longer side."""
    found = [open_picture(next((photos / name).iterdir())) for name in ("temple", "flower")]
    return found[0].resize((96, 72)), found[1].resize((80, 80))


@pytest.fixture(scope="module")
def small() -> StyleNetwork:
    """Two convolutions with a pool between: a place sees few pixels, so that tiles can be exact."""
    torch.manual_seed(0)
    layers = {"one": nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()), "pool": nn.AvgPool2d(2), "two": nn.Conv2d(6, 8, 3, padding=1)}
    return StyleNetwork(Facts("small", "none", (0.5,) * 3, (0.5,) * 3, ("two",), {"one": 1.0, "two": 1.0}), layers)


class TestLosses:
    def test_gram_against_a_loop(self) -> None:
        """G_ij is the sum over places of F_ik F_jk (eq. 3), here over their number; symmetric."""
        x = numbers(1, 4, 3, 5)
        slow = torch.zeros(4, 4, dtype=torch.float64)
        for i in range(4):
            for j in range(4):
                slow[i, j] = sum(x[0, i, y, z] * x[0, j, y, z] for y in range(3) for z in range(5)) / 15
        assert torch.allclose(gram(x), slow)
        assert torch.equal(gram(x), gram(x).T)

    def test_the_papers_formulas(self) -> None:
        """Content: 1/2 sum (F - P)^2 (eq. 1); style: 1/(4 N^2 M^2) sum (G - A)^2 of sums over places (eq. 4)."""
        f, p = numbers(1, 4, 3, 5), numbers(1, 4, 3, 5, seed=1)
        content = sum(float((a - b) ** 2) for a, b in zip(f.flatten(), p.flatten(), strict=True)) / 2
        assert float(Content("l").value({"l": f}, {"l": p})) == pytest.approx(content)
        n, m = 4, 15
        flat = [x.flatten(2)[0] for x in (f, p)]
        style = float((flat[0] @ flat[0].T - flat[1] @ flat[1].T).square().sum()) / (4 * n**2 * m**2)
        assert float(Style("l").value({"l": f}, {"l": p})) == pytest.approx(style)

    def test_relative_losses_are_one_for_nothing(self) -> None:
        """Outputs of 0 are as far from the target as can be: 1, whatever the layer's size or scale."""
        for loss in (Content("l", relative=True), Style("l", relative=True), Wasserstein("l", relative=True)):
            for scale in (0.01, 100.0):
                target = {"l": scale * numbers(1, 5, 6, 7)}
                assert float(loss.value({"l": torch.zeros_like(target["l"])}, target)) == pytest.approx(1, rel=1e-3)

    def test_wasserstein_is_that_of_normal_distributions(self) -> None:
        """(difference of means)^2 + (difference of deviations)^2, mean over channels; against a loop over numpy's own."""
        f, p = numbers(1, 3, 8, 9), 2 * numbers(1, 3, 8, 9, seed=1) - 1
        slow = np.mean([(a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2 for a, b in zip(f[0].numpy(), p[0].numpy(), strict=True)])
        assert float(Wasserstein("l").value({"l": f}, {"l": p})) == pytest.approx(slow)

    def test_total_variation_against_a_loop(self) -> None:
        x = numbers(1, 3, 4, 5)[0]
        slow = sum(float((x[c, y + 1, z] - x[c, y, z]) ** 2) for c in range(3) for y in range(3) for z in range(5))
        slow += sum(float((x[c, y, z + 1] - x[c, y, z]) ** 2) for c in range(3) for y in range(4) for z in range(4))
        assert float(TotalVariation().value({PICTURE: x[None]}, {PICTURE: x[None]})) == pytest.approx(slow / 60)

    @pytest.mark.parametrize("loss", [Content("l"), Style("l"), Wasserstein("l")])
    def test_the_same_picture_is_no_distance_and_the_gradient_is_right(self, loss: Loss) -> None:
        x, other = numbers(1, 3, 4, 5).requires_grad_(True), numbers(1, 3, 4, 5, seed=1)
        assert float(loss.value({"l": other}, {"l": other})) == pytest.approx(0, abs=1e-9)
        assert torch.autograd.gradcheck(lambda y: loss.value({"l": y}, {"l": other}), (x,))

    def test_losses_are_an_algebra_that_prints_itself(self) -> None:
        total = 0.001 * Content("relu4_2") + 2 * (Style("relu1_1") + Wasserstein("relu2_1")) + TotalVariation()
        assert str(total) == "0.001 content(relu4_2) + 2 style(relu1_1) + 2 wasserstein(relu2_1) + totalvariation(picture)"
        assert [weight for weight, _ in total.parts()] == [0.001, 2, 2, 1]
        assert str(Sum()) == "0"


class TestObjective:
    def test_the_gradient_is_that_of_the_formula(self, small: StyleNetwork, pictures: Sequence[Image.Image]) -> None:
        content, style = (to_tensor(picture) for picture in pictures)
        terms = 0.5 * Content("two") + 3 * Style("one") + Style("two", relative=True) + 0.1 * TotalVariation()
        x = torch.rand_like(content).requires_grad_(True)
        features, kept, wanted = (small(picture, small.names) for picture in (x, content, style))
        total = sum(weight * loss.value(features, kept if loss.like == "content" else wanted) for weight, loss in terms.parts())
        assert isinstance(total, Tensor)
        gradient, losses = Objective(small, terms, content, [Region([(1.0, style)])]).gradient(x.detach())
        assert torch.allclose(gradient, torch.autograd.grad(total, x)[0], atol=1e-6)
        assert sum(losses.values()) == pytest.approx(float(total.detach()), rel=1e-5)

    def test_looked_at_from_elsewhere(self, small: StyleNetwork, pictures: Sequence[Image.Image]) -> None:
        """The gradient of a picture moved round, moved back; all sixteen places come up once before one comes again."""
        content, style = (to_tensor(picture) for picture in pictures)
        objective = Objective(small, Style("one") + TotalVariation(), content, [Region([(1.0, style)])])
        moved = objective.gradient(content.roll((2, 3), (2, 3)))[0]
        assert torch.allclose(objective.gradient(content, (2, 3))[0], moved.roll((-2, -3), (2, 3)))
        assert sorted(SHIFTS) == [(down, across) for down in range(4) for across in range(4)]

    @pytest.mark.parametrize("loss", [Style, Wasserstein])
    def test_tiles_give_the_gradient_of_the_whole(self, small: StyleNetwork, loss: type[Loss], photos: Path) -> None:
        """One Gram target for the whole picture: where a place sees less than the overlap, tiles change nothing."""
        content = to_tensor(open_picture(next((photos / "temple").iterdir())).resize((300, 420)))
        style = content.flip(-1)[..., :200, :]
        terms = Content("two", relative=True) + loss("one", relative=True) + loss("two", relative=True) + TotalVariation()
        x = torch.rand(content.shape, generator=torch.Generator().manual_seed(0))
        places = torch.linspace(0, 1, 300).expand(420, 300)
        regions = [Region([(0.7, style), (0.3, content)]), Region([(1.0, style)], places)]
        whole, losses = Objective(small, terms, content, regions).gradient(x)
        tiled = Objective(small, terms, content, regions, side=288)
        assert len(tiled.tiles) > 4
        gradient, other = tiled.gradient(x)
        assert float((gradient - whole).abs().max()) < 1e-4 * float(whole.abs().max())
        assert other == pytest.approx(losses, rel=1e-4)

    @pytest.mark.slow
    def test_tiles_of_the_usual_network_pull_as_the_whole_does(self, photos: Path) -> None:
        """Its deep layers see more than tiles overlap: nearly the same gradient, at seams as elsewhere."""
        network = load_network()
        content, style = (to_tensor(open_picture(next((photos / name).iterdir())).resize((352, 352))) for name in ("temple", "flower"))
        x, terms = (content + style) / 2, Recipe().terms(network)
        one, other = (Objective(network, terms, content, [Region([(1.0, style)])], side).gradient(x)[0] for side in (None, 320))
        assert float(nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0)) > 0.99
        off = (one - other).abs().mean((0, 1, 2))
        assert float(off[[127, 128, 255, 256]].mean()) < 1.5 * float(off.mean())

    def test_tiles_cover_every_pixel_once(self) -> None:
        for height, width, side in ((1500, 2000, 1024), (33, 700, 300), (512, 512, 512)):
            seen = torch.zeros(height, width)
            for tile in tiles(height, width, side):
                left, top, right, bottom = tile.seen
                assert max(right - left, bottom - top) <= side
                assert left % 32 == top % 32 == 0
                counts = tile.counts(None)
                seen[top:bottom, left:right] += 1 if counts is None else counts
            assert bool((seen == 1).all())

    def test_the_wanted_style_is_the_weighted_mean_of_several(self, small: StyleNetwork, pictures: Sequence[Image.Image]) -> None:
        content, style = (to_tensor(picture) for picture in pictures)
        both = Objective(small, Style("one"), content, [Region([(0.25, style), (0.75, content)])])
        grams = [gram(small(picture, ["one"])["one"]) for picture in (style, content)]
        assert torch.allclose(both.wanted[0].target, 0.25 * grams[0] + 0.75 * grams[1], atol=1e-6)


def bowl(picture: Tensor) -> tuple[Tensor, dict[str, float]]:
    """The gradient of a function whose minimum is at 0.3, steeper along some pixels."""
    steep = torch.linspace(1, 5, picture.numel()).view_as(picture)
    return 2 * steep * (picture - 0.3), {"bowl": float((steep * (picture - 0.3).square()).sum())}


class TestOptimizers:
    @pytest.mark.parametrize("kind", [Adam, Lbfgs, Descent])
    def test_they_go_down_and_on_at_another_size(self, kind: type[Optimizer]) -> None:
        brush = kind(torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0)))
        first = brush.step(bowl, 0.0)["bowl"]
        for step in range(60):
            last = brush.step(bowl, step / 60)["bowl"]
        assert last < first / 4
        brush.resize(17, 23)
        assert brush.best.shape == (1, 3, 17, 23)
        assert brush.step(bowl, 0.0)["bowl"] < first / 4
        assert 0 <= float(brush.best.min()) <= float(brush.best.max()) <= 1

    def test_adam_is_torchs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With a rate that does not fall; the answer is the mean of the pictures passed, each weighing a twentieth less than the next."""
        monkeypatch.setattr("onelook.style.optimizers.LAST", 1.0)
        start = torch.full((1, 3, 4, 5), 0.6)
        theirs = nn.Parameter(start.clone())
        optimizer = torch.optim.Adam([theirs], lr=Adam.rate, betas=(0.9, 0.99), eps=1e-12)
        ours, passed = Adam(start), []
        for _ in range(20):
            theirs.grad = bowl(theirs.detach())[0]
            optimizer.step()
            ours.step(bowl, 0.5)
            passed.append(ours.picture.clone())
        assert torch.allclose(ours.picture, theirs.detach(), atol=1e-6)
        weights = torch.tensor([0.95 ** (19 - n) for n in range(20)])
        mean = sum(weight * picture for weight, picture in zip(weights / weights.sum(), passed, strict=True))
        assert torch.allclose(ours.best, torch.as_tensor(mean), atol=1e-5)

    @pytest.mark.parametrize("kind", [Adam, Lbfgs, Descent])
    def test_numbers_that_overflow_leave_the_picture_as_it_was(self, kind: type[Optimizer]) -> None:
        brush = kind(torch.full((1, 3, 4, 5), 0.6))
        brush.step(bowl, 0.0)
        before, rate = brush.best.clone(), brush.rate
        with pytest.raises(FloatingPointError):
            brush.step(lambda picture: (torch.full_like(picture, float("nan")), {"bowl": 1.0}), 0.0)
        assert torch.allclose(brush.best, before)
        brush.calm()
        assert brush.rate == rate / 2
        brush.step(bowl, 0.0)

    @pytest.mark.parametrize("kind", [Adam, Descent])
    def test_a_state_goes_on_to_the_bit(self, kind: type[Optimizer]) -> None:
        one, other = kind(torch.full((1, 3, 4, 5), 0.6)), kind(torch.full((1, 3, 4, 5), 0.1))
        for _ in range(5):
            one.step(bowl, 0.2)
        other.load({name: value.clone() for name, value in one.state().items()})
        for brush in (one, other):
            brush.step(bowl, 0.4)
        assert torch.equal(one.best, other.best)


class TestPainter:
    def test_sizes_grow_by_the_root_of_two(self) -> None:
        plan = stages((1024, 768), 512, 500)
        assert [(stage.width, stage.height) for stage in plan] == [(128, 96), (181, 136), (256, 192), (362, 272), (512, 384)]
        assert [stage.steps for stage in plan] == [100] * 5
        assert sum(stage.steps for stage in stages((1024, 768), 512, 503)) == 503
        assert [stage.width for stage in stages((1024, 768), 512, 2)] == [362, 512]
        assert [stage.width for stage in stages((1024, 768), 100, 30)] == [100]

    def test_a_strip_is_refused_with_a_size_that_is_enough(self) -> None:
        with pytest.raises(OnelookError, match="use --size 1280 or more"):
            stages((4000, 100), 512, 100)
        assert min(stages((4000, 100), 1280, 100)[-1].width, stages((4000, 100), 1280, 100)[-1].height) == 32

    def painter(self, small: StyleNetwork, pictures: Sequence[Image.Image], **options: object) -> Painter:
        content, style = pictures
        terms = 0.05 * Content("two", True) + Style("one", True) + Style("two", True)
        plan = [Stage(48, 36, 6), Stage(68, 51, 6)]
        given: dict[str, object] = {"begin": content, "strokes": [Strokes([(1.0, style)])], **options}
        strokes = given.pop("strokes")
        return Painter(small, terms, content, strokes, plan, **given)  # type: ignore[arg-type]

    def test_it_paints_the_same_again_and_goes_on_where_it_was_stopped(self, small: StyleNetwork, pictures: Sequence[Image.Image]) -> None:
        whole = self.painter(small, pictures, begin=None, seed=3)
        steps = list(whole)
        assert [step.done for step in steps] == list(range(1, 13))
        assert whole.picture().size == (68, 51)
        stopped = self.painter(small, pictures, begin=None, seed=3)
        for step in stopped:
            if step.done == 8:
                break
        after = self.painter(small, pictures, begin=None, seed=3)
        after.state = stopped.state
        rest = list(after)
        assert [step.done for step in rest] == [9, 10, 11, 12]
        assert after.picture().tobytes() == whole.picture().tobytes()
        assert self.painter(small, pictures, begin=None, seed=4).brush(whole.plan[0]).picture.ne(stopped.brush(whole.plan[0]).picture).any()

    def test_where_no_style_may_be_the_photo_stays(self, small: StyleNetwork, pictures: Sequence[Image.Image]) -> None:
        content, style = pictures
        mask = Image.new("L", content.size)
        mask.paste(255, (0, 0, 48, 72))
        painter = self.painter(small, pictures, strokes=[Strokes([(1.0, style)], mask)], base=content)
        list(painter)
        painted, photo = (
            np.asarray(picture, dtype=int) for picture in (painter.picture(), content.resize((68, 51), Image.Resampling.LANCZOS))
        )
        assert np.abs(painted - photo)[:, 40:].max() <= 1
        assert np.abs(painted - photo)[:, :28].mean() > 5

    def test_numbers_that_overflow_again_and_again_end_it(
        self, small: StyleNetwork, pictures: Sequence[Image.Image], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        painter = self.painter(small, pictures)
        broken = lambda self, picture, shift: (torch.full_like(picture, float("inf")), {"style": 1.0})  # noqa: E731
        monkeypatch.setattr(Objective, "gradient", broken)
        with pytest.raises(OnelookError, match="overflow again and again"):
            list(painter)
        assert len(painter.remarks) == 4


class TestNetworks:
    def test_parameters_of_vggs_convolutions(self) -> None:
        """14.7 million of VGG-16's, 20.0 million of VGG-19's (Simonyan and Zisserman 2014: 138 and 144 with the classifiers)."""
        network = load_network(RANDOM)
        assert sum(value.numel() for value in network.parameters()) == 14_714_688
        assert [name for name in network.names if name.startswith("relu")][-1] == "relu5_3"
        assert sum(CONVOLUTIONS["vgg19"]) == 16

    @pytest.mark.parametrize("name", ["vgg16", "vgg19"])
    def test_a_file_of_weights_gives_the_networks_own_outputs(self, name: str, tmp_path: Path) -> None:
        """Up to the first pool, which takes means here: timm's layers; a file in Caffe's way is the same with pixels in Caffe's way."""
        torch.manual_seed(0)
        theirs = timm.create_model(name, num_classes=0, global_pool="").eval()
        state = {key: value for key, value in theirs.state_dict().items() if key.startswith("features")}
        save_file(state, tmp_path / "weights.safetensors")
        torch.save(state, tmp_path / f"{name}-d01eb7cb.pth")
        pixels = torch.rand(1, 3, 32, 48)
        ours = load_network(name, tmp_path / "weights.safetensors")
        normalised = (pixels - ours.mean) / ours.std
        inner = (..., slice(2, -2), slice(2, -2))  # away from the border, which is repeated here and black there
        with torch.no_grad():
            assert torch.allclose(ours(pixels, ["relu1_2"])["relu1_2"][inner], theirs.features[:4](normalised)[inner], atol=1e-5)
            caffe = load_network(name, tmp_path / f"{name}-d01eb7cb.pth")
            bgr = (pixels * 255 - torch.tensor([123.68, 116.779, 103.939]).view(3, 1, 1)).flip(1)
            found = caffe(pixels, ["relu1_2"])["relu1_2"][inner]
            wanted = theirs.features[:4](bgr)[inner]
        assert torch.allclose(found, wanted, rtol=0.01, atol=0.01 * float(wanted.max()))
        with pytest.raises(BackboneError, match="name the file's network"):
            load_network("vgg16" if name == "vgg19" else "vgg19", tmp_path / "weights.safetensors")

    @pytest.mark.parametrize("name", ["efficientnet_lite0", "random:resnet18", "random:vgg11_bn"])
    def test_folding_changes_nothing(self, name: str) -> None:
        backbone = Backbone.load(name)
        network = of_backbone(backbone)
        pixels = torch.rand(1, 3, 64, 96)
        with torch.no_grad():
            wanted = backbone((pixels - network.mean) / network.std)
            network.facts = Facts(**{**network.facts.__dict__, "border": 0})
            found = network(pixels, network.facts.style)
        for layer in (layer for layer in network.facts.style if layer in backbone.stage_names):
            map_ = wanted[backbone.stage_names.index(layer)]
            assert torch.allclose(found[layer], map_, atol=1e-4 * float(map_.abs().max()))
        assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())

    def test_borders_are_cut_off_again(self) -> None:
        network = load_network()
        with torch.no_grad():
            found = network(torch.rand(1, 3, 100, 76), [*network.facts.style, PICTURE])
        assert {name: tuple(x.shape[-2:]) for name, x in found.items()} == {
            PICTURE: (100, 76), "stride2.1": (50, 38), "stride2": (50, 38), "stride4": (25, 19), "stride8": (12, 10), "stride16": (6, 5),
        }  # fmt: skip

    def test_a_layer_that_is_not_there_is_named_with_those_that_are(self) -> None:
        with pytest.raises(HeadError, match=r"layer conv9: random:vgg16 has relu1_1, relu1_2"):
            Recipe(style_layers={"conv9": 1.0}).terms(load_network(RANDOM))


class TestColour:
    def test_brightness_of_one_colours_of_the_other(self, pictures: Sequence[Image.Image]) -> None:
        photo, painting = pictures[0], pictures[1].resize(pictures[0].size)
        found = with_colours(luminance(painting), photo).convert("YCbCr")
        for channel, other in ((0, painting), (1, photo), (2, photo)):
            ours, theirs = (np.asarray(each.convert("YCbCr"), dtype=float)[..., channel] for each in (found, other))
            assert np.abs(ours - theirs).mean() < 6  # colours that the screen does not have are clipped

    def test_matched_colours_have_the_others_mean_and_covariance(self, pictures: Sequence[Image.Image]) -> None:
        ours, theirs = (np.asarray(x, dtype=float).reshape(-1, 3) for x in (matched(pictures[1], pictures[0]), pictures[0]))
        assert np.abs(ours.mean(0) - theirs.mean(0)).max() < 6
        assert np.abs(np.cov(ours.T) - np.cov(theirs.T)).max() < 0.15 * np.cov(theirs.T).max()
        grey = Image.new("RGB", (40, 40), (90, 90, 90))
        assert matched(grey, pictures[0]).size == (40, 40)  # without colours of its own there is nothing to turn


class TestJudge:
    @pytest.mark.parametrize("name", [RANDOM, "efficientnet_lite0"])
    def test_it_tells_the_photo_from_the_painting(self, name: str, pictures: Sequence[Image.Image]) -> None:
        photo, painting = pictures
        judge = Judge(load_network(name), photo, [(1.0, painting)])
        same, style, between = judge(photo), judge(painting), judge(Image.blend(photo, painting.resize(photo.size), 0.5))
        assert same.content < 1e-6
        assert style.style < 0.1 * same.style
        assert style.content > between.content > same.content
        assert same.style > between.style

    def test_who_paints_does_not_judge(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(judging, "JUDGES", ("efficientnet_lite0", RANDOM))
        assert find_judge("hed").facts.name == "efficientnet_lite0"
        assert find_judge("efficientnet_lite0").facts.name == RANDOM


def test_the_instant_painter_at_any_size(pictures: Sequence[Image.Image]) -> None:
    """At the stored size it gives what the stored graph gives; its picture is nearer to the style than the photo is."""
    photo, painting = pictures
    instant = Instant()
    for size in ((96, 70), (131, 97)):
        assert instant(photo.resize(size), [(1.0, painting)]).size == size
    judge = Judge(load_network("efficientnet_lite0"), photo, [(1.0, painting)])
    large = photo.resize((384, 288))
    assert judge(instant(large, [(1.0, painting)])).style < judge(large).style
    weak = np.asarray(instant(large, [(1.0, painting)], 0.2), dtype=float)
    strong, plain = (np.asarray(instant(large, [(1.0, painting)], strength), dtype=float) for strength in (1.0, 0.0))
    assert np.abs(weak - plain).mean() < np.abs(strong - plain).mean()
    assert to_picture(to_tensor(photo)).tobytes() == photo.tobytes()

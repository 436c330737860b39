"""Losses, borders, transposed convolutions, the original U-Net, tiles: against loops, libraries, the paper's and the notes' numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from scipy.spatial.distance import cdist
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from onelook.backbones.backbone import Backbone
from onelook.backbones.engines import TorchEngine
from onelook.backbones.nets.unet import UNet2015, valid_input
from onelook.geometry.masks import IGNORE, Mask
from onelook.geometry.placement import PIXELS, Geometry
from onelook.heads import HEADS
from onelook.heads.context import Context
from onelook.heads.pixel_head import PixelHead, PixelOptions, Scores, border_weights, class_weights, dice_loss, pixel_losses
from onelook.heads.unet import UNet
from onelook.heads.unet2015 import FromPixels, UNet2015Options
from onelook.inference.tiles import in_tiles
from onelook.looks.extractor import Extractor
from onelook.looks.features import Look, Needs


def logits_and_masks(seed: int = 0, classes: int = 3) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    masks = torch.randint(0, classes, (2, 6, 7), generator=draw)
    masks[0, :2] = IGNORE
    return torch.randn(2, classes, 6, 7, generator=draw), masks


# --- losses


def test_softmax_and_cross_entropy_pixel_by_pixel() -> None:
    """The paper's energy: the weighted sum over pixels of log of the softmax of the true class; h x w softmaxes."""
    logits, masks = logits_and_masks()
    weights, total, count = torch.tensor([1.0, 2.0, 0.5]), 0.0, 0
    for picture in range(2):
        for y in range(6):
            for x in range(7):
                true = int(masks[picture, y, x])
                if true != IGNORE:
                    scores = logits[picture, :, y, x].double().exp()
                    total -= float(weights[true]) * float((scores[true] / scores.sum()).log())
                    count += 1
    assert float(pixel_losses(logits, masks, "ce", weights)["pixels"]) == pytest.approx(total / count, rel=1e-5)


def test_focal_as_torchvision_for_two_classes() -> None:
    logits, masks = logits_and_masks(1, classes=2)
    single = logits[:, 1] - logits[:, 0]
    known = masks != IGNORE
    wanted = sigmoid_focal_loss(single[known], (masks[known] == 1).float(), alpha=-1, gamma=2, reduction="mean")
    assert float(pixel_losses(logits, masks, "focal", torch.ones(2))["pixels"]) == pytest.approx(float(wanted), rel=1e-5)


def test_dice_as_a_loop() -> None:
    logits, masks = logits_and_masks(2)
    shares, scores = logits.softmax(1), []
    for label in range(3):
        both = said = true = 0.0
        for picture, y, x in np.ndindex(2, 6, 7):
            if masks[picture, y, x] == IGNORE:
                continue
            share = float(shares[picture, label, y, x])
            hit = float(masks[picture, y, x] == label)
            both, said, true = both + share * hit, said + share, true + hit
        scores.append((2 * both + 1) / (said + true + 1))
    assert float(dice_loss(shares, masks)) == pytest.approx(1 - np.mean(scores), rel=1e-5)
    assert set(pixel_losses(logits, masks, "dice", torch.ones(3))) == {"pixels", "dice"}


def test_nothing_known_costs_nothing() -> None:
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = pixel_losses(logits, torch.full((1, 3, 3), IGNORE), "ce", torch.ones(2))["pixels"]
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0


def test_class_weights() -> None:
    weights = class_weights([900, 100, 0], even=0.5)
    assert float(weights[1] / weights[0]) == pytest.approx(3.0)  # the root of 9
    assert float(weights[2]) == 0
    assert float((weights * torch.tensor([0.9, 0.1, 0])).sum()) == pytest.approx(1.0)
    assert class_weights([900, 100], even=0.0).tolist() == pytest.approx([1.0, 1.0])


def test_border_weights_as_the_paper_has_them() -> None:
    """w0 = 10, sigma = 5: between two objects; distances to every pixel of every object, by brute force."""
    mask = torch.zeros(24, 30, dtype=torch.uint8)
    mask[4:14, 3:11], mask[5:16, 14:24], mask[18:22, 10:13] = 1, 1, 1
    regions, count = ndimage.label(mask.numpy())
    places = np.argwhere(np.ones((24, 30)))
    distances = np.sort(np.stack([cdist(places, np.argwhere(regions == number)).min(1) for number in range(1, count + 1)]), axis=0)
    wanted = 1 + 10 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * 25)).reshape(24, 30) * (mask.numpy() == 0)
    assert np.allclose(border_weights(mask).numpy(), wanted, atol=1e-4)
    one = torch.zeros(9, 9, dtype=torch.uint8)
    one[2:5, 2:5] = 1
    assert bool((border_weights(one) == 1).all())  # a single object has no neighbour


# --- transposed convolution, as the notes draw it


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding", "overlapped", "result"),
    [
        (2, 3, 2, 1, 5, 3),  # 2x2 input, 3x3 filter: 5x5 before the padding is cut off
        (2, 2, 1, 0, 3, 3),
        (2, 2, 1, 1, 3, 1),  # one more padding takes one more ring
        (2, 3, 1, 1, 4, 2),
        (2, 2, 2, 1, 4, 2),
        (2, 2, 2, 0, 4, 4),  # what the head uses: doubled
    ],
)
def test_transposed_convolution_stamps_and_adds(side: int, kernel: int, stride: int, padding: int, overlapped: int, result: int) -> None:
    """Every input value stamps the filter, times itself; where stamps overlap they are added; then the padding is cut off."""
    draw = torch.Generator().manual_seed(0)
    x, weight = torch.randn(side, side, generator=draw), torch.randn(kernel, kernel, generator=draw)
    canvas = torch.zeros((side - 1) * stride + kernel, (side - 1) * stride + kernel)
    for row in range(side):
        for column in range(side):
            place = canvas[row * stride : row * stride + kernel, column * stride : column * stride + kernel]
            place += x[row, column] * weight
    assert canvas.shape == (overlapped, overlapped)
    cut = canvas[padding : len(canvas) - padding, padding : len(canvas) - padding]
    found = nn.ConvTranspose2d(1, 1, kernel, stride, padding, bias=False)
    found.weight.data = weight[None, None]
    assert found(x[None, None]).shape[-2:] == (result, result)
    torch.testing.assert_close(found(x[None, None])[0, 0], cut)


def test_the_lectures_four_by_four() -> None:
    """2x2 input, 3x3 filter, padding 1, stride 2 -> 4x4, where one more row and column are asked for."""
    assert nn.ConvTranspose2d(1, 1, 3, 2, 1, output_padding=1)(torch.zeros(1, 1, 2, 2)).shape[-2:] == (4, 4)


@pytest.mark.parametrize("up", ["bilinear", "transposed"])
@pytest.mark.parametrize("size", [(64, 64), (96, 64), (52, 36)])
def test_both_ways_up_meet_maps_of_every_size(up: Any, size: tuple[int, int]) -> None:
    height, width = size
    channels = {4: 5, 8: 6, 16: 7, 32: 8}
    look = Look(
        (Geometry(64).place(width, height),),
        {stride: torch.randn(1, n, -(-height // stride), -(-width // stride)) for stride, n in channels.items()},
    )
    head = UNet(("a", "b"), channels={str(stride): n for stride, n in channels.items()}, up=up).eval()
    assert head(look).logits.shape == (1, 2, -(-height // 4), -(-width // 4))


# --- the original network


def test_572_pixels_give_388_scores() -> None:
    """Figure 1, at a sixteenth of its width; every size in the middle of it, too."""
    net = UNet2015(2, channels=1, width=4).eval()
    sizes: list[int] = []
    for block in [*net.down, *net.up]:
        block.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[-1]))
    with torch.inference_mode():
        assert net(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)
    assert sizes == [568, 280, 136, 64, 28, 52, 100, 196, 388]
    assert [valid_input(side) for side in (388, 389, 4)] == [572, 588, 188]


def test_the_papers_parameters() -> None:
    """31,030,658 for one channel and two classes: convolutions with biases, no batch normalisation; 23 layers with weights."""
    net = UNet2015(2, channels=1, normalised=False)
    widths, count, inputs = [64, 128, 256, 512, 1024], 0, 1
    for width in widths:
        count += (9 * inputs + 1) * width + (9 * width + 1) * width
        inputs = width
    for width in widths[-2::-1]:
        count += (4 * 2 * width + 1) * width + (9 * 2 * width + 1) * width + (9 * width + 1) * width
    count += (64 + 1) * 2
    assert sum(parameter.numel() for parameter in net.parameters()) == count == 31_030_658
    assert sum(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in net.modules()) == 23


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
def test_scores_for_every_pixel(padded: bool, size: tuple[int, int]) -> None:
    head = FromPixels(("a", "b"), width=4, padded=padded).eval()
    with torch.inference_mode():
        raw = head(Look((Geometry(64).place(size[1], size[0]),), {PIXELS: torch.randn(1, 3, *size)}))
    assert raw.logits.shape == (1, 2, *size)


def test_unpadded_scores_do_not_depend_on_where_the_edge_is() -> None:
    """The middle of a picture gets the same scores from a larger input: no zeros come in from the edges."""
    torch.manual_seed(0)
    head = FromPixels(("a", "b"), width=4, padded=False).eval()
    x = torch.randn(1, 3, 480, 480)
    with torch.inference_mode():
        whole = head._unpadded(x)
        part = head._unpadded(x[:, :, 48:432, 48:432])
    inside = slice(144, 240)  # 96 pixels see what lies within 92 + 48 of them
    torch.testing.assert_close(part[..., inside, inside], whole[..., 192:288, 192:288], rtol=1e-3, atol=1e-4)


def test_options_and_masks_reach_the_heads() -> None:
    masks = [Mask((9, 9), (900, 100), lambda: torch.zeros(9, 9, dtype=torch.uint8))]
    context = Context(("a", "b"), {4: 5, 8: 6}, 9, "masks", masks=masks, scale=0.5)
    for head in (UNet.fresh(context, PixelOptions("dice", True)), FromPixels.fresh(context, UNet2015Options("dice", True, 8))):
        assert (head.kind, head.borders, head.scale) == ("dice", True, 0.5)
        assert torch.allclose(head.weights, class_weights((900, 100)))
    assert head.width == 8


# --- half precision


@pytest.mark.parametrize("method", ["unet", "unet2015"])
def test_half_precision_changes_next_to_nothing_and_no_weight(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    channels = {4: 24, 8: 40, 16: 112, 32: 320}
    context, cls = Context(("a", "b", "c"), channels, 9, "masks"), HEADS[method]
    head: Any = cls.fresh(context, cls.Options(**({"width": 8} if method == "unet2015" else {})))
    maps = {stride: torch.randn(2, n, 64 // stride, 64 // stride) for stride, n in ({PIXELS: 3} | channels).items()}
    look = Look((Geometry(64).place(64, 64),) * 2, maps)
    found = []
    for wanted in (False, True):
        monkeypatch.setattr("onelook.backbones.bfloat16.native_bfloat16", lambda wanted=wanted: wanted)
        with torch.no_grad():
            found.append(head.eval()(look))
    full, half = (raw.logits for raw in found)
    assert (full.dtype, half.dtype) == (torch.float32, torch.bfloat16)
    assert float((full.softmax(1) - half.float().softmax(1)).abs().max()) < 0.03
    head.train()
    torch.stack(list(head.loss(head(look), [torch.zeros(64, 64, dtype=torch.uint8)] * 2).values())).sum().backward()
    assert {(parameter.dtype, parameter.grad.dtype) for parameter in head.parameters()} == {(torch.float32, torch.float32)}


# --- tiles


class Local(PixelHead, nn.Module):
    """Two classes by a 5x5 convolution of the pixels that is mirrored at the edges: its context is less than a tile's margin."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.classes, self.weights, self.kind, self.borders, self.scale = ("a", "b"), torch.ones(2), "ce", False, 1.0
        self.filter = torch.randn(2, 3, 5, 5)

    @classmethod
    def fresh(cls, context: Context, options: Any) -> "Local":
        return cls()

    def config(self) -> dict[str, Any]:
        return {}

    @property
    def needs(self) -> Needs:
        return Needs(maps=(PIXELS,))

    def forward(self, look: Look) -> Scores:
        return Scores(functional.conv2d(functional.pad(look.maps[PIXELS], (2, 2, 2, 2), mode="reflect"), self.filter), PIXELS)


@pytest.mark.parametrize("size", [(160, 96), (224, 160), (32, 32)])
def test_tiles_give_what_one_look_at_the_whole_gives(size: tuple[int, int], tiny: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)).save(path)
    head: Any = Local()
    found = in_tiles(path, head, Extractor(tiny, TorchEngine(tiny), Geometry(128)))
    extractor = Extractor(tiny, TorchEngine(tiny), Geometry(max(size)))
    look = extractor.look(extractor.decode(path, path.read_bytes(), "0" * 32), head.needs)
    whole = head.postprocess(head(look), look.placements)[0]
    assert found.size == size
    torch.testing.assert_close(found.values.float(), whole.values.float(), rtol=1e-2, atol=2e-3)


def test_tiles_at_the_scale_of_training(tiny: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (190, 310, 3)).astype(np.uint8)).save(path)
    head: Any = Local()
    head.scale = 0.5
    found = in_tiles(path, head, Extractor(tiny, TorchEngine(tiny), Geometry(128)))
    assert found.values.shape == (2, 96, 160)  # half of each side, rounded to what a network takes
    assert found.mask().shape == (190, 310)


# --- from the input back to the picture


@pytest.mark.parametrize("mode", ["fit", "stretch", "crop"])
def test_scores_come_back_to_their_pixels(mode: Any) -> None:
    """A head that says exactly what the mask says, at stride 4, finds the mask again but for its borders."""
    draw = np.random.default_rng(0)
    mask = torch.from_numpy(np.kron(draw.integers(0, 2, (4, 5)), np.ones((40, 38))).astype(np.uint8))
    placement = Geometry(256, mode).place(190, 160)
    moved = placement.mask_to_input(mask)
    known = torch.where(moved == IGNORE, 0, moved)[2::4, 2::4].long()
    head: Any = Local()
    raw = Scores(20 * functional.one_hot(known, 2).permute(2, 0, 1)[None].float(), 4)
    found = head.postprocess(raw, [placement])[0]
    said = found.mask()
    left = (190 - 160) // 2 if mode == "crop" else 0  # what the centre crop does not show, on both sides
    seen = slice(left, 190 - left)
    assert float((said == mask)[:, seen].float().mean()) > 0.96

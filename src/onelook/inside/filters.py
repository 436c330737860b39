"""Convolution by hand: edge filters on a picture, the sizes that come out, filters that are learned, and those that a network begins with.

Course notes 001, 1.2 to 1.6 and 4.11. What networks call convolution is cross-correlation: the filter is laid on as it is written; the
mathematicians' convolution turns it by half a turn first. A filter of size f on n places with padding p and stride s gives
floor((n + 2p - f) / s) + 1 places; "valid" pads nothing, "same" (f - 1) / 2 on each side, for an odd f.

    onelook filters photo.jpg --kernel sobel --out edges.png
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from onelook.errors import OnelookError

FREQUENCIES = 64  # places on which a filter's spectrum is taken
Padding = Literal["valid", "same"] | int

KERNELS: dict[str, list[list[float]]] = {
    "vertical": [[1, 0, -1], [1, 0, -1], [1, 0, -1]],
    "horizontal": [[1, 1, 1], [0, 0, 0], [-1, -1, -1]],
    "sobel": [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
    "sobel_horizontal": [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
    "scharr": [[3, 0, -3], [10, 0, -10], [3, 0, -3]],
    "scharr_horizontal": [[3, 10, 3], [0, 0, 0], [-3, -10, -3]],
    "laplacian": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
}


def find_kernel(text: str) -> Tensor:
    """A kernel (f, f) by its name, or of rows such as "1 0 -1; 1 0 -1; 1 0 -1". Raises OnelookError."""
    if text in KERNELS:
        return torch.tensor(KERNELS[text], dtype=torch.float32)
    try:
        rows = [[float(cell) for cell in row.replace(",", " ").split()] for row in text.split(";") if row.strip()]
        if not rows or len({len(row) for row in rows}) > 1 or not rows[0]:
            raise ValueError
    except ValueError:
        raise OnelookError(
            f'--kernel {text}: is none of {", ".join(KERNELS)}, and no rows of equal length as "1 0 -1; 2 0 -2; 1 0 -1"'
        ) from None
    return torch.tensor(rows)


def output_size(n: int, f: int, padding: int = 0, stride: int = 1, dilation: int = 1) -> int:
    """How many places come out: floor((n + 2p - d(f - 1) - 1) / s) + 1. Raises OnelookError where the filter does not fit."""
    reach = dilation * (f - 1) + 1
    if n + 2 * padding < reach or stride < 1 or padding < 0:
        raise OnelookError(f"a filter of {f} with stride {stride} and padding {padding} does not fit on {n} places")
    return (n + 2 * padding - reach) // stride + 1


def same_padding(f: int) -> int:
    """(f - 1) / 2. Raises OnelookError for an even f, which has no middle."""
    if f % 2 == 0:
        raise OnelookError(f"a filter of even size {f} has no middle: use an odd one, or --padding N")
    return (f - 1) // 2


def places_around(padding: Padding, f: int) -> int:
    """How many places "valid", "same" or a number puts on each side for a filter of size f."""
    return same_padding(f) if padding == "same" else 0 if padding == "valid" else padding


def convolve(values: Tensor, kernel: Tensor, padding: Padding = "valid", stride: int = 1, flip: bool = False) -> Tensor:
    """Values (C, H, W) or (H, W) by one kernel (f, g), for every channel, or (C, f, g) -> (H', W'): the sum over channels.

    ``flip``: true convolution, the kernel turned by half a turn. Raises OnelookError where it does not fit.
    """
    values = values[None] if values.ndim == 2 else values
    kernel = kernel.expand(len(values), -1, -1) if kernel.ndim == 2 else kernel
    if len(kernel) != len(values):
        raise OnelookError(f"a kernel of {len(kernel)} channels on values of {len(values)}")
    kernel = kernel.flip(1, 2) if flip else kernel
    pads = [places_around(padding, side) for side in kernel.shape[1:]]
    for n, f, pad in zip(values.shape[1:], kernel.shape[1:], pads, strict=True):
        output_size(n, f, pad, stride)
    return functional.conv2d(values[None].to(kernel), kernel[None], stride=stride, padding=pads)[0, 0]


@dataclass(frozen=True)
class Learned:
    """A kernel (f, f) on its way: after how many steps, and the mean squared difference of what it gives."""

    step: int
    kernel: Tensor
    loss: float


def learn_kernel(values: Tensor, wanted: Tensor, steps: int = 40, shown: int = 8, seed: int = 0) -> list[Learned]:
    """Find a kernel by back-propagation: random numbers, until they give what ``wanted`` gives on values (H, W), 0..1.

    Course notes 001, 1.3: the numbers of an edge filter need not be chosen by hand. Steps are those of L-BFGS. The ``shown`` stages.
    """
    values = values.double()
    target = convolve(values, wanted.double())
    kernel = nn.Parameter(torch.randn(wanted.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    optimizer = torch.optim.LBFGS([kernel], max_iter=1, history_size=20, line_search_fn="strong_wolfe")
    kept = {round(steps * (number / (shown - 1)) ** 2) for number in range(shown)}
    found = []

    def difference() -> Tensor:
        optimizer.zero_grad()
        loss = functional.mse_loss(convolve(values, kernel), target)
        loss.backward()
        return loss

    for step in range(steps + 1):
        if step in kept:
            found.append(Learned(step, kernel.detach().float(), float(difference().detach())))
        optimizer.step(difference)  # type: ignore[no-untyped-call]
    return found


def grey(picture: Image.Image) -> Tensor:
    """The brightness (H, W) of a picture, 0..1."""
    return torch.from_numpy(np.asarray(picture.convert("L"), dtype=np.float32) / 255)


def first_convolution(network: nn.Module) -> nn.Conv2d:
    """The first convolution of a network. Raises OnelookError for one without."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            return module
    raise OnelookError("the network has no convolution")


@dataclass(frozen=True)
class Spectrum:
    """Of a layer's filters: the mean share of their energy at low, middle and high frequencies (below a sixth, a third and a half of a
    cycle a pixel), and the share of filters that are ``dead``: a hundredth as strong as the strongest, or weaker.

    Zeiler, Fergus 2013, section 4.1: AlexNet's first layer has low and high frequencies and little between, and dead filters; smaller
    filters with a smaller stride mend it.
    """

    filters: int
    size: tuple[int, int]
    low: float
    middle: float
    high: float
    dead: float


def spectrum(kernels: Tensor) -> Spectrum:
    """Of filters (N, C, f, g)."""
    power = torch.fft.fft2(kernels.double(), s=(FREQUENCIES, FREQUENCIES)).abs().square().sum(1)
    line = torch.fft.fftfreq(FREQUENCIES)
    radius = torch.sqrt(line[:, None].square() + line[None].square())
    bands = (radius < 1 / 6, (radius >= 1 / 6) & (radius < 1 / 3), radius >= 1 / 3)
    whole = power.sum((1, 2)).clamp_min(1e-30)
    low, middle, high = (float((power[:, band].sum(1) / whole).mean()) for band in bands)
    strength = kernels.flatten(1).norm(dim=1)
    dead = float((strength <= 0.01 * strength.max()).float().mean())
    return Spectrum(len(kernels), (kernels.shape[2], kernels.shape[3]), low, middle, high, dead)


def words_of(shape: Sequence[int], kernel: Sequence[int], padding: Padding, stride: int) -> str:
    """The sizes as a formula: 6 x 6 by 3 x 3, padding 0, stride 1: floor((6 + 0 - 3) / 1) + 1 = 4, and so on."""
    parts = []
    for n, f in zip(shape, kernel, strict=True):
        pad = places_around(padding, f)
        parts.append(f"floor(({n} + 2 x {pad} - {f}) / {stride}) + 1 = {output_size(n, f, pad, stride)}")
    return "; ".join(parts)

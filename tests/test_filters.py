"""Convolution by hand: the notes' own numbers, a slow loop, numpy and scipy, every formula of sizes, and nine numbers that are learned."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.signal import convolve2d, correlate2d
from torch import nn

from onelook.cli import main
from onelook.errors import OnelookError
from onelook.inside.filters import (
    KERNELS,
    convolve,
    find_kernel,
    first_convolution,
    grey,
    learn_kernel,
    output_size,
    same_padding,
    spectrum,
)


def test_the_notes_example() -> None:
    """Notes 001, 1.2: a 6 x 6 picture by the 3 x 3 vertical filter gives 4 x 4, its first number -5; and the edge in the middle."""
    rows = ("3 0 1 2 7 4", "1 5 8 9 3 1", "2 7 2 5 1 3", "0 1 3 1 7 8", "4 2 1 6 2 8", "2 4 5 2 3 9")
    picture = torch.tensor([[float(number) for number in row.split()] for row in rows])
    expected = [[-5, -4, 0, 8], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]]
    assert convolve(picture, find_kernel("vertical")).tolist() == expected
    edge = torch.cat([torch.full((6, 3), 10.0), torch.zeros(6, 3)], dim=1)
    assert convolve(edge, find_kernel("vertical")).tolist() == [[0, 30, 30, 0]] * 4
    assert convolve(edge.flip(1), find_kernel("vertical")).tolist() == [[0, -30, -30, 0]] * 4


def test_the_notes_sizes() -> None:
    """Same padding keeps 6; 7 by 3 with stride 2 gives 3; 39 by 3 gives 37, 17, 7 by 5 with stride 2 (1.4 to 1.8)."""
    assert output_size(6, 3) == 4
    assert output_size(6, 3, same_padding(3)) == 6
    assert output_size(7, 3, 0, 2) == 3
    assert [output_size(39, 3), output_size(37, 5, 0, 2), output_size(17, 5, 0, 2)] == [37, 17, 7]
    assert output_size(14, 5) == 10
    with pytest.raises(OnelookError, match="no middle"):
        same_padding(4)
    with pytest.raises(OnelookError, match="does not fit on 2 places"):
        output_size(2, 3)


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 4), st.integers(1, 4), st.integers(1, 3))
def test_sizes_against_torch(n: int, f: int, padding: int, stride: int, dilation: int) -> None:
    if n + 2 * padding < dilation * (f - 1) + 1:
        return
    found = nn.functional.conv1d(torch.zeros(1, 1, n), torch.zeros(1, 1, f), None, stride, padding, dilation)
    assert output_size(n, f, padding, stride, dilation) == found.shape[2]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["valid", "same", 2])
def test_against_a_slow_loop(stride: int, padding: object) -> None:
    """Three dimensions: sums over the channels as well, one filter for all."""
    draw = np.random.default_rng(0)
    values, kernel = draw.normal(size=(3, 9, 8)).astype(np.float32), draw.normal(size=(3, 3, 3)).astype(np.float32)
    pad = {"valid": 0, "same": 1}.get(padding, 2)
    around = np.pad(values, ((0, 0), (pad, pad), (pad, pad)))
    rows, columns = ((side + 2 * pad - 3) // stride + 1 for side in (9, 8))
    expected = np.zeros((rows, columns))
    for row in range(rows):
        for column in range(columns):
            expected[row, column] = (around[:, row * stride : row * stride + 3, column * stride : column * stride + 3] * kernel).sum()
    found = convolve(torch.from_numpy(values), torch.from_numpy(kernel), padding, stride)
    assert np.allclose(found.numpy(), expected, atol=1e-4)


def test_cross_correlation_and_convolution_against_scipy() -> None:
    draw = np.random.default_rng(0)
    values, kernel = draw.normal(size=(9, 8)).astype(np.float32), draw.normal(size=(3, 3)).astype(np.float32)
    one, other = torch.from_numpy(values), torch.from_numpy(kernel)
    assert np.allclose(convolve(one, other).numpy(), correlate2d(values, kernel, "valid"), atol=1e-5)
    assert np.allclose(convolve(one, other, flip=True).numpy(), convolve2d(values, kernel, "valid"), atol=1e-5)


def test_kernels_that_are_typed() -> None:
    assert find_kernel("1 0 -1; 2,0,-2 ; 1 0 -1").tolist() == KERNELS["sobel"]
    assert find_kernel("scharr").tolist() == [[3, 0, -3], [10, 0, -10], [3, 0, -3]]
    for text in ("edges", "1 2; 3", "", "1 a"):
        with pytest.raises(OnelookError, match="--kernel"):
            find_kernel(text)


@pytest.mark.parametrize("name", ["sobel", "scharr", "vertical"])
def test_nine_numbers_are_learned(photos: Path, name: str) -> None:
    """Until they equal the filter's, from what it gives of one photograph."""
    values = grey(Image.open(next(photos.rglob("temple*.png"))))
    stages = learn_kernel(values, find_kernel(name))
    assert stages[0].step == 0
    assert stages[-1].loss < 1e-4 * stages[0].loss
    assert torch.allclose(stages[-1].kernel, find_kernel(name), atol=0.02 * float(find_kernel(name).abs().max()))


def test_spectra() -> None:
    """A mean is low, a chessboard high, a wave of four pixels in the middle; what is nothing is dead; together they are everything."""
    line = torch.arange(8.0)
    wave = torch.cos(line * torch.pi / 2)[None].expand(8, -1)
    chess = 1 - 2 * ((line[:, None] + line[None]) % 2)
    found = [spectrum(each[None, None]) for each in (torch.ones(8, 8), wave, chess)]
    assert found[0].low > 0.8
    assert found[1].middle > 0.8
    assert found[2].high > 0.8
    assert all(one.low + one.middle + one.high == pytest.approx(1) for one in found)
    assert spectrum(torch.stack([torch.ones(3, 5, 5), torch.zeros(3, 5, 5)])).dead == 0.5


@pytest.mark.slow
def test_the_command(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments)])
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    photo = next(photos.rglob("temple*.png"))
    with Image.open(photo) as picture:
        wide, high = picture.size
    code, out, _ = run("filters", photo, "--padding", "same", "--stride", 2, "--out", tmp_path / "f.png", "--json")
    found = json.loads(out)
    assert (code, found["output"]) == (0, [(high - 1) // 2 + 1, (wide - 1) // 2 + 1])
    assert found["formula"].startswith(f"floor(({high} + 2 x 1 - 3) / 2) + 1")
    code, out, _ = run("filters", photo, "--learn", "--out", tmp_path / "strip.png", "--json")
    assert (code, np.allclose(json.loads(out)["kernel"], KERNELS["sobel"], atol=0.05)) == (0, True)
    code, out, _ = run("filters", "efficientnet_lite0", "--out", tmp_path / "k.png")
    assert (code, "32 of 3 x 3" in out) == (0, True)
    assert run("filters", photo, "--kernel", "sable")[0] == 2
    assert run("filters", photo, photo)[0] == 2
    Image.new("RGB", (4200, 4100), (9, 90, 200)).save(tmp_path / "large.png")
    assert run("filters", tmp_path / "large.png", "--out", tmp_path / "l.png")[0] == 0
    code, _, err = run("filters", photo, "--padding", "much")
    assert (code, "use valid, same or a number" in err) == (2, True)
    assert first_convolution(nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 5))).weight.shape == (4, 3, 5, 5)

"""Opening pictures: every mode, every kind of damage."""

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onelook.data.pictures import ahead, find_pictures, open_picture
from onelook.errors import PictureError


def gradient(dtype: type, top: int) -> np.ndarray:
    return (np.linspace(0, 1, 64 * 48).reshape(48, 64) * top).astype(dtype)


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("gray.png", Image.fromarray(gradient(np.uint8, 255))),
        ("cmyk.jpg", Image.fromarray(gradient(np.uint8, 255)).convert("CMYK")),
        ("deep.png", Image.fromarray(gradient(np.uint16, 65535))),
        ("float.tif", Image.fromarray(gradient(np.float32, 7))),
        ("palette.gif", Image.fromarray(gradient(np.uint8, 255)).convert("P")),
        ("one.png", Image.new("1", (64, 48), 1)),
        ("clear.png", Image.new("RGBA", (64, 48), (255, 0, 0, 0))),
        ("clear_gray.png", Image.new("LA", (64, 48), (9, 255))),
        ("猫的照片.png", Image.new("RGB", (64, 48), "red")),
    ],
)
def test_every_mode_becomes_rgb(tmp_path: Path, name: str, picture: Image.Image) -> None:
    picture.save(tmp_path / name)
    opened = open_picture(tmp_path / name)
    assert (opened.mode, opened.size) == ("RGB", (64, 48))


def test_values_survive(tmp_path: Path) -> None:
    """A 16-bit ramp becomes the 8-bit ramp; transparent is white, not the colour underneath."""
    Image.fromarray(gradient(np.uint16, 65535)).save(tmp_path / "deep.png")
    ramp = np.asarray(open_picture(tmp_path / "deep.png"))[..., 0]
    assert np.abs(ramp.astype(int) - gradient(np.float64, 255)).max() <= 1.01
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert open_picture(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (60, 20), "red").save(tmp_path / "turned.jpg", exif=exif)
    assert open_picture(tmp_path / "turned.jpg").size == (20, 60)


def test_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert open_picture(tmp_path / "moving.gif").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (10, 2000)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size).save(tmp_path / "odd.png")
    assert open_picture(tmp_path / "odd.png").size == size


def test_huge_png_is_refused_and_huge_jpeg_too(tmp_path: Path) -> None:
    """400 million pixels: refused from the header, before memory is taken."""
    path = tmp_path / "huge.png"
    Image.new("1", (20_000, 20_000)).save(path)
    with pytest.raises(PictureError, match=r"huge\.png: larger than 179 million pixels; save it smaller"):
        open_picture(path)


def test_large_jpeg_is_decoded_small(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.new("RGB", (8000, 6000), "green").save(path)
    begun = time.perf_counter()
    assert open_picture(path, at_least=448).size == (1000, 750)
    assert time.perf_counter() - begun < 5


@pytest.mark.parametrize("content", [b"", b"not a picture at all", b"\x89PNG\r\n\x1a\n broken", b"GIF89a"])
def test_damage_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(PictureError, match=r"bad\.png: "):
        open_picture(tmp_path / "bad.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "tif", "bmp", "webp"])
def test_truncated_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PictureError, match="cut"):
        open_picture(path)


def test_missing_file_and_folder_as_picture(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(PictureError, match=str(path.name)):
            open_picture(path)


def test_find_pictures(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "notes.txt", ".hidden.png", "deep/c.PNG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    names = [path.relative_to(tmp_path).as_posix() for path in find_pictures([tmp_path, str(tmp_path / "*.jpg"), tmp_path / "none.png"])]
    assert names == ["a.jpg", "b.png", "deep/c.PNG", "none.png"]


def test_ahead_keeps_order_and_stays_bounded() -> None:
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        return item * item

    results = ahead(work, range(1000), depth=8)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(started) <= 16
    assert list(results) == [n * n for n in range(3, 1000)]

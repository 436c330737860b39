"""``data check`` finds every kind of trouble and names the file."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onelook.workflows.data import check


def noise(path: Path, seed: int, size: tuple[int, int] = (32, 32), **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(path, **options)
    return path


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for number in range(24):
        noise(root / ("cat" if number % 2 else "dog") / f"{number}.png", number)
    return root


def kinds(root: Path, **options: object) -> set[tuple[str, str]]:
    return {(finding.kind, Path(finding.file).name) for finding in check(root, **options).findings}  # type: ignore[arg-type]


def test_nothing_found(clean: Path) -> None:
    assert check(clean).clean
    assert kinds(clean) == set()


def test_findings(clean: Path) -> None:
    (clean / "cat" / "bad.png").write_bytes(b"no picture")
    cut = noise(clean / "cat" / "cut.jpg", 99)
    cut.write_bytes(cut.read_bytes()[:400])
    shutil.copy(clean / "dog" / "0.png", clean / "dog" / "copy.png")
    shutil.copy(clean / "dog" / "2.png", clean / "cat" / "other.png")
    (clean / "empty").mkdir()
    (clean / "cat" / "notes.txt").write_text("")
    noise(clean / "rare" / "r.png", 50)
    noise(clean / "cat" / "small.png", 51, (4, 4))
    exif = Image.Exif()
    exif[0x0112] = 8
    noise(clean / "cat" / "turned.jpg", 52, exif=exif)
    noise(clean / "Cat" / "c.png", 53)
    found = kinds(clean)
    expected = {
        ("unreadable", "bad.png"), ("unreadable", "cut.jpg"), ("duplicate", "0.png"), ("two-labels", "other.png"),
        ("empty-class", "empty"), ("not-a-picture", "notes.txt"), ("tiny-picture", "small.png"), ("exif-orientation", "turned.jpg"),
        ("tiny-class", "photos"), ("class-clash", "photos"),
    }  # fmt: skip
    assert expected <= found
    assert not check(clean).clean


def test_leaks_and_missing_classes(clean: Path, tmp_path: Path) -> None:
    noise(tmp_path / "val" / "cat" / "new.png", 77)
    shutil.copy(clean / "cat" / "1.png", tmp_path / "val" / "cat" / "seen.png")
    found = kinds(clean, val=tmp_path / "val")
    assert ("leak", "1.png") in found
    assert ("missing-class", "photos") in found


def test_one_class(tmp_path: Path) -> None:
    noise(tmp_path / "only" / "a.png", 0)
    assert "one-class" in {kind for kind, _ in kinds(tmp_path)}


def test_a_table_with_a_missing_file(tmp_path: Path) -> None:
    noise(tmp_path / "a.png", 0)
    (tmp_path / "labels.csv").write_text("path,label\na.png,x\ngone.png,y\n")
    assert ("unreadable", "gone.png") in kinds(tmp_path / "labels.csv")

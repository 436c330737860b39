"""Pictures for benchmarks: photos of a few hundred pixels, cut from the two that scikit-learn ships, as many as asked."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images


def write_photos(root: Path, count: int, size: int = 224) -> None:
    """``count`` JPEG crops with noise of their own (no two files are equal) in two class folders."""
    draw = np.random.default_rng(0)
    photos = load_sample_images().images
    for number in range(count):
        photo, name = photos[number % 2], ("temple", "flower")[number % 2]
        top, left = draw.integers(0, photo.shape[0] - size), draw.integers(0, photo.shape[1] - size)
        crop = photo[top : top + size, left : left + size].astype(int) + draw.integers(-8, 9, (1, 1, 3))
        (root / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(crop.clip(0, 255).astype(np.uint8)).save(root / name / f"{number:06}.jpg", quality=90)

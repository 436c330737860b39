"""Which key points change places in a mirror, found from the points themselves where their names do not say it.

The mean shape (pictures' shapes turned, moved and scaled onto each other: Gower 1975, "Generalized Procrustes analysis") is mirrored and
matched with itself (Kuhn 1955, "The Hungarian method"). Where the matching is its own inverse and hardly anything is left of the
difference, matched points are pairs.

    python -c "from onelook import read; print(read('faces/points.csv').layout.pairs)"
"""

import numpy as np

ROUNDS = 5  # of turning and matching
LEFT = 0.3  # of the distance between neighbouring points: what may be left between a point and its mirrored partner
FEWEST = 5  # pictures with all points


def find_pairs(points: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Pairs of indices for points (P, K, 3) as x, y and whether they are labelled; none where a mirror image is another thing."""
    from scipy.optimize import linear_sum_assignment

    whole = points[(points[..., 2] > 0).all(1)][..., :2].astype(np.float64)
    if len(whole) < FEWEST or points.shape[1] < 2:
        return ()
    mean = _mean_shape(whole)
    mirrored = mean * (-1.0, 1.0)
    partners = np.arange(len(mean))
    for _ in range(ROUNDS):
        distance = np.linalg.norm(mean[:, None] - mirrored[None], axis=-1)
        partners = linear_sum_assignment(distance)[1]
        mirrored = mirrored @ _turn(mirrored[partners], mean)
    left = np.linalg.norm(mean - mirrored[partners], axis=1).mean()
    apart = np.linalg.norm(mean[:, None] - mean[None], axis=-1) + np.diag([np.inf] * len(mean))
    if (partners[partners] != np.arange(len(mean))).any() or left > LEFT * apart.min(1).mean():
        return ()
    return tuple((index, int(partner)) for index, partner in enumerate(partners) if index < partner)


def _mean_shape(shapes: np.ndarray) -> np.ndarray:
    """The mean (K, 2) of shapes (P, K, 2), centred, of size 1, each turned onto it."""
    shapes = shapes - shapes.mean(1, keepdims=True)
    shapes = shapes / np.maximum(np.sqrt((shapes**2).sum((1, 2), keepdims=True)), 1e-12)
    mean = shapes[0]
    for _ in range(ROUNDS):
        mean = np.mean([shape @ _turn(shape, mean) for shape in shapes], axis=0)
        mean = mean / np.sqrt((mean**2).sum())
    turned = shapes.mean(0)  # upright as most pictures are
    return np.asarray(mean @ _turn(mean, turned))


def _turn(shape: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """The rotation (2, 2) that brings the rows of one shape nearest to those of another; no mirror."""
    left, _, right = np.linalg.svd(shape.T @ onto)
    sign = np.sign(np.linalg.det(left @ right))
    return np.asarray(left @ np.diag([1.0, sign]) @ right)

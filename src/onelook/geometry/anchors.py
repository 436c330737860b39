"""Anchors: where they stand (the cells of a map) and what shapes they have (k-means on the user's own boxes).

Redmon & Farhadi 2017 ("YOLO9000", section 2, "Dimension clusters"): k-means under the distance 1 - IoU of shapes laid on one corner,
so that large boxes do not outweigh small ones. Differs: centres are means, the start is k-means++, the best of several starts is kept.

    python -c "import torch; from onelook.geometry.anchors import cluster_shapes; print(cluster_shapes(torch.rand(99, 2) * 99 + 1, 3))"
"""

import torch
from torch import Tensor

STARTS, ROUNDS = 5, 100


def cells(height: int, width: int, stride: int) -> Tensor:
    """Centres (height * width, 2) as x, y in input pixels of a map's cells, row by row."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * stride


def shape_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU (N, M) of shapes (N, 2) and (M, 2), as width and height, laid on one corner."""
    inside = torch.minimum(first[:, None], second[None]).prod(-1)
    return inside / (first.prod(-1)[:, None] + second.prod(-1)[None] - inside).clamp_min(1e-9)


def cluster_shapes(shapes: Tensor, count: int, seed: int = 0) -> Tensor:
    """``count`` typical shapes (count, 2), by ascending area, of boxes' shapes (N, 2); too few different ones are repeated larger."""
    shapes = shapes[(shapes > 0).all(1)].double()
    if len(shapes) == 0:
        raise ValueError("no box with an area to choose anchors from")
    different = torch.unique(shapes, dim=0)
    if len(different) <= count:
        spread = [different * (1.5**more) for more in range(-(-count // len(different)))]
        return _sorted(torch.cat(spread)[:count]).float()
    draw = torch.Generator().manual_seed(seed)
    tries = [_cluster(shapes, count, draw) for _ in range(STARTS)]
    return _sorted(max(tries, key=lambda centres: mean_best_iou(shapes, centres))).float()


def mean_best_iou(shapes: Tensor, centres: Tensor) -> float:
    """The mean IoU of each shape (N, 2) with the centre (M, 2) that suits it best: 0..1, what the clusters are judged by."""
    return float(shape_iou(shapes, centres).amax(1).mean())


def _cluster(shapes: Tensor, count: int, draw: torch.Generator) -> Tensor:
    centres = shapes[torch.randint(len(shapes), (1,), generator=draw)]
    while len(centres) < count:
        far = (1 - shape_iou(shapes, centres).amax(1)).clamp_min(1e-12)
        centres = torch.cat([centres, shapes[torch.multinomial(far**2, 1, generator=draw)]])
    nearest = None
    for _ in range(ROUNDS):
        now = shape_iou(shapes, centres).argmax(1)
        if nearest is not None and torch.equal(now, nearest):
            break
        nearest = now
        centres = torch.stack([shapes[now == k].mean(0) if bool((now == k).any()) else centres[k] for k in range(count)])
    return centres


def _sorted(shapes: Tensor) -> Tensor:
    return shapes[shapes.prod(1).argsort()]

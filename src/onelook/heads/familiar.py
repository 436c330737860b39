"""Whether a picture is unlike those that a head has learned from: its look lies farther from the nearest of theirs than theirs do.

After Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors": the distance to the fifth nearest, so that a few copies
do not make all else look strange. The limit is a tenth more than the distance within which 95 of 100 training pictures have their fifth
neighbour, so that a few odd ones among them do not make all else look usual; of one group (a patient, a stretch of film) none counts as
another's neighbour. On seven real sets, 128 pictures each with three odd ones, 0 to 1.5 % of held-out pictures are marked, and 76 to
100 % of those of the other sets (docs/diary.md).

    onelook predict photo.jpg --model mine.onelook     # "unlike the pictures that kind has learned from"
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

MOST, FEWEST = 128, 12  # training pictures that are kept; groups without which nothing is said
NEAR = 5  # the neighbour whose distance counts
SHARE, MORE = 0.95, 1.1  # of the training pictures lie within a distance, of which the limit is so many times as much


class Familiar(nn.Module):
    """``vectors`` (n, D): embeddings of training pictures, of length 1; ``limit``: the largest distance (1 - cosine) that is usual."""

    vectors: Tensor
    limit: Tensor

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(count, size))
        self.register_buffer("limit", torch.zeros(()))

    @staticmethod
    def of(embeddings: Tensor, groups: Sequence[str]) -> "Familiar | None":
        """From training pictures' embeddings (n, D) and their groups (n,); None for too few groups."""
        if len(set(groups)) < FEWEST:
            return None
        made = Familiar(*embeddings.shape)
        made.vectors.copy_(functional.normalize(embeddings.float(), dim=1).half())
        near = made.vectors @ made.vectors.T
        alike = torch.tensor([[one == other for other in groups] for one in groups])
        made.limit.copy_(MORE * torch.quantile(_apart(near.masked_fill(alike, -1.0)), SHARE))
        return made

    def forward(self, embedding: Tensor) -> Tensor:
        """Embeddings (B, D) -> whether each is unlike all training pictures (B,)."""
        return _apart(functional.normalize(embedding.float(), dim=1) @ self.vectors.T) > self.limit


def _apart(near: Tensor) -> Tensor:
    """Cosines (B, n) -> the distance to the fifth nearest (B,)."""
    return 1 - near.topk(NEAR, dim=1).values[:, -1]

"""The embeddings of pictures: what the network's own classifier reads, one vector a picture, kept like all looks.

python -c "import onelook; print(onelook.Model.new().embeddings(['photos/']).vectors.shape)"
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from onelook.deadline import NEVER, Deadline
from onelook.looks.collect import collect, open_store
from onelook.looks.extractor import PLAIN, Extractor, Refused
from onelook.looks.features import Needs, usually_kept
from onelook.progress import QUIET, Progress

CHUNK = 256
EMBEDDING = Needs(embedding=True)


@dataclass(frozen=True)
class Embeddings:
    """``vectors``: (n, D) float32, those of the pictures ``paths`` in their order; ``refused``: pictures that cannot be read."""

    paths: tuple[Path, ...]
    vectors: np.ndarray
    refused: tuple[Refused, ...] = ()


def embeddings(
    extractor: Extractor, root: Path, paths: Sequence[Path], progress: Progress = QUIET, deadline: Deadline = NEVER
) -> Embeddings:
    """The embedding of every picture that can be read; where ``deadline`` comes too soon, of some."""
    store = open_store(root, extractor, usually_kept(extractor.backbone.strides), PLAIN, 0)
    collected = collect(extractor, store, PLAIN, paths, 1, progress, deadline)
    readable = [path for path in paths if path in collected.digests]
    rows = [(collected.digests[path], 0) for path in readable]
    vectors = []
    for start in range(0, len(rows), CHUNK):
        embedding = store.read(rows[start : start + CHUNK], EMBEDDING).embedding
        assert embedding is not None
        vectors.append(embedding)
    size = extractor.backbone.embedding_size
    return Embeddings(tuple(readable), (torch.cat(vectors) if vectors else torch.zeros(0, size)).numpy(), collected.refused)

"""A look through labelled pictures before they are trained on: what is doubtful first, so that labels are mended in time.

onelook data browse photos/ --report page/
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from onelook.data.near_duplicates import near_duplicates
from onelook.data.samples import Dataset
from onelook.errors import DataError
from onelook.model import Model
from onelook.progress import QUIET, Progress
from onelook.report.browse import Browsed, Doubt, Odd
from onelook.workflows.data import check, read

NEIGHBOURS = 5  # pictures that a picture is compared with, to tell how unlike the others it is
MOST = 24  # of the least likely labels, and of the least alike pictures
SURE = 0.6  # probability of another class from which a label is doubtful
LEAST = 20  # pictures without which neither labels nor pictures can be called odd


def browse(source: Path | str, *, task: str | None = None, cache: Path | None = None, progress: Progress = QUIET) -> Browsed:
    """Look through the pictures for ``task`` (default: read off the data).

    Labels of one class a picture are doubtful where a head on the frozen network, trained without the picture, is sure of another one.
    """
    data = read(source, task=task)
    report = check(source, task=task)
    paths = [sample.path for sample in data.samples]
    model = Model.new(cache=cache)
    odd = _odd(model, paths)
    doubts = _doubts(model, data, progress) if data.targets.exclusive and len(data) >= LEAST else ()
    return Browsed(data, report.findings, doubts, tuple(near_duplicates(paths)), odd)


def _doubts(model: Model, data: Dataset, progress: Progress) -> tuple[Doubt, ...]:
    """The labels that held-out answers contradict, the surest contradictions first; none where it cannot be said."""
    try:
        fitted = model.fit("labels", data, freeze="all", progress=progress)
    except DataError:  # too few pictures of a class, or one class only: check says so
        return ()
    refused = {refused.path for refused in fitted.refused}
    usable = [sample for sample in data.samples if sample.path not in refused]
    trained = fitted.trained
    found = []
    for index, probabilities in zip(trained.where.tolist(), torch.softmax(trained.scores / trained.head.temperature, 1), strict=True):
        sample, instead = usable[index], int(probabilities.argmax())
        if instead != sample.target and probabilities[instead] >= SURE:
            assert isinstance(sample.target, int)
            found.append(Doubt(sample.path, data.classes[sample.target], data.classes[instead], float(probabilities[instead])))
    return tuple(sorted(found, key=lambda doubt: -doubt.probability)[:MOST])


def _odd(model: Model, paths: Sequence[Path]) -> tuple[Odd, ...]:
    """The pictures that are least like those most like them, by the cosine of embeddings around their mean."""
    found = model.embeddings(paths)
    if len(found.paths) < LEAST:
        return ()
    vectors = found.vectors - found.vectors.mean(0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    distances = np.empty(len(vectors))
    for start in range(0, len(vectors), 512):
        alike = vectors[start : start + 512] @ vectors.T
        alike[np.arange(len(alike)), np.arange(start, start + len(alike))] = -1  # itself
        distances[start : start + 512] = 1 - np.sort(alike, axis=1)[:, -NEIGHBOURS:].mean(1)
    order = np.argsort(-distances, kind="stable")[: min(MOST, len(paths) // 10)]
    return tuple(Odd(found.paths[index], float(distances[index])) for index in order)

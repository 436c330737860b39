"""From labelled pictures to a problem: look at them, put the looks on the shelf, and write down what is to be learned.

Asked again for more views or for the maps before another cut, it looks at nothing twice.
"""

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from onelook.cache import Shelf
from onelook.data.augment import Recipe, with_components
from onelook.data.pictures import open_picture, picture_size, read_bytes
from onelook.data.samples import Dataset, Sample, mask_of, objects_of
from onelook.data.split import assign_folds
from onelook.errors import DataError, PictureError
from onelook.look import PIXELS, Needs, union
from onelook.looker import Looker, Refused, collect, open_shelf
from onelook.masks import Mask
from onelook.objects import Objects
from onelook.problem import Problem, candidate_needs
from onelook.progress import QUIET, Progress
from onelook.rows import MaskTargets, ObjectTargets, Rows

FOLDS = 5
SAMPLE = 32  # pictures on which looking is timed


@dataclass
class Gatherer:
    """``gather(views, cuts)`` -> the problem with that many views, and the maps that tails from these cuts read, on the shelf.

    ``refused``, ``seconds``, ``looked``: unreadable pictures, time spent looking and views looked at, over all calls.
    """

    looker: Looker
    root: Path
    task: str
    data: Dataset
    recipe: Recipe
    balance: bool
    seed: int
    progress: Progress
    refused: tuple[Refused, ...] = ()
    seconds: float = 0.0
    looked: int = 0
    _said: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.recipe = with_components(self.recipe, [sample.path for sample in self.data.samples], self.seed)

    def __call__(self, views: int, cuts: tuple[int, ...] = (), *, vectors: bool = True, needs: Needs = Needs()) -> Problem:  # noqa: B008
        """``vectors``: whether pooled statistics and the embedding are wanted too; ``needs``: what else is.

        Raises DataError for what cannot be learned from.
        """
        views = min(views, 1) if self.recipe.name == "none" else views
        shelf = self._shelf(cuts, vectors, needs)
        found = collect(self.looker, shelf, self.recipe, [sample.path for sample in self.data.samples], views, self.progress)
        self.refused, self.seconds, self.looked = found.refused, self.seconds + found.seconds, self.looked + found.looked
        self._report()
        usable = self.data.pick([index for index, sample in enumerate(self.data.samples) if sample.path in found.digests])
        check_learnable(usable)
        digests = tuple(found.digests[sample.path] for sample in usable.samples)
        targets = torch.tensor([_plain_target(sample) for sample in usable.samples])
        folds = torch.from_numpy(assign_folds(_grouped_by_content(usable, digests), FOLDS, self.seed))
        paths = tuple(sample.path for sample in usable.samples)
        rows = Rows(shelf, self.looker, self.recipe, paths, digests, found.views, targets, folds, self._weights(usable), _moving(usable))
        return Problem(self.task, self.data.kind, self.data.classes, rows, self.seed)

    def typical_size(self) -> tuple[int, int]:
        """Width and height of the first picture that can be read; the input's own if there is none."""
        for sample in self.data.samples[:SAMPLE]:
            with suppress(PictureError):
                return open_picture(sample.path, at_least=self.looker.geometry.size).size
        return self.looker.geometry.size, self.looker.geometry.size

    def seconds_a_look(self, cuts: tuple[int, ...]) -> float:
        """Seconds that looking at one view takes, measured on the first pictures; 0 where those are on the shelf already."""
        paths, shelf = [sample.path for sample in self.data.samples[:SAMPLE]], self._shelf(cuts)
        collect(self.looker, shelf, self.recipe, paths[:2], 1, QUIET)  # the first look of a size takes longer
        found = collect(self.looker, shelf, self.recipe, paths[2:], 1, QUIET)
        return found.seconds / found.looked if found.looked else 0.0

    def seconds_a_view(self) -> float:
        """Seconds that decoding a picture and drawing a view of it takes, measured on the first pictures."""
        paths = [sample.path for sample in self.data.samples[:SAMPLE]]
        begun, done = time.perf_counter(), 0
        for path in paths:
            with suppress(PictureError):
                content, digest = read_bytes(path)
                self.looker.decode(path, content, digest, [self.recipe.fixed], self.recipe, self.seed)
                done += 1
        return (time.perf_counter() - begun) / max(1, done)

    def _shelf(self, cuts: tuple[int, ...], vectors: bool = True, more: Needs = Needs()) -> Shelf:  # noqa: B008
        backbone = self.looker.backbone
        needs = Needs(maps=tuple(sorted({backbone.stride_before(cut) for cut in cuts} - {PIXELS}))) | more
        needs = needs | union(candidate_needs(backbone.strides)) if vectors else needs
        return open_shelf(self.root, self.looker, needs, self.recipe, self.seed)

    def _weights(self, data: Dataset) -> torch.Tensor:
        weights = torch.ones(len(data))
        if self.balance and data.kind == "single":
            targets = [sample.target for sample in data.samples]
            counts = Counter(targets)
            weights = torch.tensor([len(data) / len(counts) / counts[target] for target in targets])
        return weights

    def _report(self) -> None:
        fresh = [refused for refused in self.refused if refused.path not in self._said]
        for refused in fresh[:5]:
            self.progress.say(f"left out: {refused.reason}")
        if len(fresh) > 5:
            self.progress.say(f"left out: {len(fresh) - 5} more pictures that cannot be read")
        self._said.update(refused.path for refused in fresh)


def _plain_target(sample: Sample) -> Any:
    """A target as a number, or as one per column; how many objects there are, and nothing of masks."""
    if isinstance(sample.target, Objects):
        return len(sample.target)
    return 0 if isinstance(sample.target, Mask) else sample.target


def _moving(data: Dataset) -> ObjectTargets | MaskTargets | None:
    """What moves with a view."""
    if data.kind == "masks":
        return MaskTargets(tuple(map(mask_of, data.samples)))
    if not data.of_objects:
        return None
    pairs = data.layout.pairs if data.layout else ()
    return ObjectTargets(tuple(map(objects_of, data.samples)), tuple(picture_size(sample.path) for sample in data.samples), pairs)


def check_learnable(data: Dataset) -> None:
    """Raise DataError unless there are two classes with pictures, two pictures with different values, or one object."""
    if len(data) < 2:
        raise DataError(f"{data.source}: {len(data)} usable pictures; at least 2 are needed")
    if data.of_objects:
        if not any(len(objects_of(sample).learnable) for sample in data.samples):
            raise DataError(
                f"{data.source}: none of the {len(data)} pictures has a {'box' if data.kind == 'objects' else 'key point'} to learn from"
            )
        return
    if data.kind == "masks":
        present = [name for name, count in data.counts().items() if count]
        if len(present) < 2:
            raise DataError(f"{data.source}: the masks show only {present[0] if present else 'what is ignored'}; segment needs two classes")
        return
    if data.kind == "single":
        present = [name for name, count in data.counts().items() if count]
        if len(present) < 2:
            raise DataError(f"{data.source}: only one class ({present[0]}); classify needs at least two")
    elif len({sample.target for sample in data.samples}) < 2:
        raise DataError(f"{data.source}: all {len(data)} pictures have the same labels; there is nothing to learn")


def _grouped_by_content(data: Dataset, digests: tuple[str, ...]) -> Dataset:
    """Copies of one picture get one group, so that no fold is judged on a picture that was learned from."""
    repeated = {digest for digest, count in Counter(digests).items() if count > 1}
    if not repeated:
        return data
    samples = tuple(
        replace(sample, group=digest) if digest in repeated and sample.group is None else sample
        for sample, digest in zip(data.samples, digests, strict=True)
    )
    return replace(data, samples=samples)

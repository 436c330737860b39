"""From labelled pictures to a problem: look at them, put the looks into the store, and write down what is to be learned.

Asked again for more views or for the maps before another cut, it looks at nothing twice.
"""

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from onelook.data.augment import Recipe, unmirrored, with_components
from onelook.data.pictures import open_picture, picture_size, read_bytes
from onelook.data.samples import Dataset, mask_of, objects_of
from onelook.data.split import assign_folds
from onelook.errors import DiskError, PictureError
from onelook.geometry.masks import Mask
from onelook.geometry.placement import PIXELS
from onelook.heads.context import Context
from onelook.heads.familiar import MOST, Familiar
from onelook.heads.pooled import PooledHead
from onelook.looks.collect import collect, open_store
from onelook.looks.embeddings import embeddings
from onelook.looks.extractor import Extractor, Refused
from onelook.looks.features import Needs, union
from onelook.looks.store import FeatureStore
from onelook.progress import Progress
from onelook.training.dataset import MaskTargets, Moving, ObjectTargets, TrainingSet
from onelook.training.problem import Problem, candidate_needs
from onelook.training.request import Request, Trained

FOLDS = 5
SAMPLE = 32  # pictures on which decoding is timed
LOOKING = 0.7  # of the time that is left is for looking at most
PROBE = 8  # pictures on which looking is timed


@dataclass
class Gatherer:
    """``gather(views, cuts)`` -> the problem with that many views, and the maps that tails from these cuts read, in the store.

    ``refused``, ``left``, ``seconds``, ``looked``: unreadable pictures, pictures for which there was no time, time spent looking and views
    looked at, over all calls.
    """

    extractor: Extractor
    root: Path
    request: Request
    data: Dataset
    recipe: Recipe
    seed: int
    progress: Progress
    refused: tuple[Refused, ...] = ()
    left: tuple[Path, ...] = ()
    seconds: float = 0.0
    looked: int = 0
    _said: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.data.layout is not None and not self.data.layout.mirrors:
            self.recipe = unmirrored(self.recipe)
        self.recipe = with_components(self.recipe, [sample.path for sample in self.data.samples], self.seed)

    def __call__(self, views: int, cuts: tuple[int, ...] = (), *, vectors: bool = True, needs: Needs = Needs()) -> Problem:
        """``vectors``: whether pooled statistics and the embedding are wanted too; ``needs``: what else is.

        Raises DataError for what cannot be learned from.
        """
        views = min(views, 1) if self.recipe.name == "none" else views
        store = self._store(cuts, vectors, needs)
        paths = [sample.path for sample in self.data.samples if sample.path not in set(self.left)]
        found = collect(self.extractor, store, self.recipe, paths, views, self.progress, self.request.deadline.share(LOOKING))
        self.refused, self.seconds, self.looked = found.refused, self.seconds + found.seconds, self.looked + found.looked
        self._report()
        if found.left:
            self.left = (*self.left, *found.left)
            self.progress.say(f"no time to look at {len(found.left)} of {len(paths)} pictures")
        elif found.views < views:
            self.progress.say(f"no time for more than {found.views} of {views} views of each picture")
        usable = self.data.pick([index for index, sample in enumerate(self.data.samples) if sample.path in found.digests])
        usable.refuse_unlearnable()
        digests = tuple(found.digests[sample.path] for sample in usable.samples)
        targets = torch.tensor([usable.targets.plain(sample.target) for sample in usable.samples])
        folds = torch.from_numpy(assign_folds(_grouped_by_content(usable, digests), FOLDS, self.seed))
        paths_used = tuple(sample.path for sample in usable.samples)
        data = TrainingSet(
            store, self.extractor, self.recipe, paths_used, digests, found.views, targets, folds, self._weights(usable), _moving(usable)
        )
        return Problem(self.request, self.context, data, self.seed)

    def noted(self, trained: Trained) -> Trained:
        """With a word on the pictures that there was no time to look at."""
        unseen = (f"looking at {len(self.left)} pictures",) if self.left else ()
        return replace(trained, cut_short=(*unseen, *trained.cut_short))

    def familiar(self) -> Familiar | None:
        """What tells pictures unlike these; None where that would mean nothing, or cannot be had."""
        if self.request.head.by_identity or self.extractor.backbone.source.kind == "random":
            return None
        data = self.data.pick(np.linspace(0, len(self.data) - 1, min(MOST, len(self.data)), dtype=int).tolist())
        try:
            found = embeddings(self.extractor, self.root, [sample.path for sample in data.samples], deadline=self.request.deadline)
        except (DiskError, KeyboardInterrupt):  # the head is trained: it matters more
            return None
        group = {sample.path: sample.group or str(sample.path) for sample in data.samples}
        return Familiar.of(torch.from_numpy(found.vectors), [group[path] for path in found.paths])

    @property
    def context(self) -> Context:
        """What an untrained head is told, but for examples in input pixels."""
        backbone, data = self.extractor.backbone, self.data
        masks = [mask_of(sample) for sample in data.samples if isinstance(sample.target, Mask)]
        scale = median(self.extractor.geometry.place(*mask.size).scale[0] for mask in masks) if masks else 1.0
        return Context(data.classes, backbone.channels, backbone.embedding_size, data.kind, masks=masks, scale=scale, layout=data.layout)

    def typical_size(self) -> tuple[int, int]:
        """Width and height of the first picture that can be read; the input's own if there is none."""
        for sample in self.data.samples[:SAMPLE]:
            with suppress(PictureError):
                return open_picture(sample.path, at_least=self.extractor.geometry.size).size
        return self.extractor.geometry.size, self.extractor.geometry.size

    def seconds_a_look(self, cuts: tuple[int, ...] = (), needs: Needs = Needs()) -> float:
        """Seconds that looking at one view takes, decoding included, times the share of pictures whose looks are not in the store yet.

        Measured on a few pictures spread over the data; nothing is kept.
        """
        store = self._store(cuts, not needs.maps, needs)
        chosen = [sample.path for sample in self.data.samples[:: max(1, len(self.data) // SAMPLE)]]
        fresh = []
        for path in chosen:
            with suppress(PictureError):
                content, digest = read_bytes(path)
                if store.missing([(digest, 0)]):
                    fresh.append((path, content, digest))
        if not fresh:
            return 0.0
        taken = []
        for path, content, digest in fresh[: PROBE + 1]:
            begun = time.perf_counter()
            with suppress(PictureError):
                self.extractor.look(self.extractor.decode(path, content, digest), store.key.needs)
                taken.append(time.perf_counter() - begun)
        rest = taken[1:] or taken  # the first look of a size takes longer
        return median(rest) * len(fresh) / len(chosen) if rest else 0.0

    def seconds_a_view(self) -> float:
        """Seconds that decoding a picture and drawing a view of it takes, measured on the first pictures."""
        paths = [sample.path for sample in self.data.samples[:PROBE]]
        begun, done = time.perf_counter(), 0
        for path in paths:
            with suppress(PictureError):
                content, digest = read_bytes(path)
                self.extractor.decode(path, content, digest, [self.recipe.fixed], self.recipe, self.seed)
                done += 1
        return (time.perf_counter() - begun) / max(1, done)

    def _store(self, cuts: tuple[int, ...], vectors: bool = True, more: Needs = Needs()) -> FeatureStore:
        backbone = self.extractor.backbone
        needs = Needs(maps=tuple(sorted({backbone.stride_before(cut) for cut in cuts} - {PIXELS}))) | more
        needs = needs | union(candidate_needs(backbone.strides)) if vectors else needs
        return open_store(self.root, self.extractor, needs, self.recipe, self.seed)

    def _weights(self, data: Dataset) -> Tensor:
        head = self.request.head
        return head.weights(data, self.request.options) if issubclass(head, PooledHead) else torch.ones(len(data))

    def _report(self) -> None:
        fresh = [refused for refused in self.refused if refused.path not in self._said]
        for refused in fresh[:5]:
            self.progress.say(f"left out: {refused.reason}")
        if len(fresh) > 5:
            self.progress.say(f"left out: {len(fresh) - 5} more pictures that cannot be read")
        self._said.update(refused.path for refused in fresh)


def _moving(data: Dataset) -> Moving | None:
    """What moves with a view."""
    if not data.targets.moves:
        return None
    if isinstance(data.samples[0].target, Mask):
        return MaskTargets(tuple(map(mask_of, data.samples)))
    pairs = data.layout.pairs if data.layout else ()
    return ObjectTargets(tuple(map(objects_of, data.samples)), tuple(picture_size(sample.path) for sample in data.samples), pairs)


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

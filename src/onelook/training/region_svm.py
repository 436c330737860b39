"""Fitting the heads that look crop by crop (R-CNN, sliding windows): features on disk, support vectors with hard negatives, ridge
regression.

Girshick et al. 2014, sections 2.3 and appendix C. Positives are the labelled boxes, negatives what overlaps them by less than 0.3; every
round adds the negatives that a class's machine finds likelier than its margin allows. Boxes are learned from regions that overlap an
object by at least 0.6.
Memory holds a bounded number of crops' features a class, whatever the number of pictures.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from onelook.facts import Facts
from onelook.geometry.boxes import box_iou, encode
from onelook.geometry.objects import Objects, has_area
from onelook.geometry.placement import PIXELS, Geometry
from onelook.heads.rcnn import CONTEXT, CROP, Rcnn, Windows
from onelook.looks.cache import CacheKey, FeatureCache
from onelook.looks.features import Look, Needs
from onelook.looks.store import check_room
from onelook.progress import Progress
from onelook.training.dataset import ObjectTargets, TrainingSet
from onelook.training.dense import judged
from onelook.training.problem import Problem
from onelook.training.request import Trained

BACKGROUND, NEAR = 0.3, 0.6  # IoU below which a crop is no object, and from which its box is learned from
ROUNDS, KEPT = 3, 8_000  # of mining; crops of a kind a class at most
FIRST = 20  # negatives of a picture with which a class's first machine is fitted
SLACK, SHRINKAGE = 1e-3, 1000.0  # C of the support vector machines, penalty of the ridge
FEWEST_PICTURES = 16  # whose crops are looked at even if there is no time
WINDOWS = 150  # of a grid, drawn from each picture, that are learned from


def train_region_svm(problem: Problem, progress: Progress) -> Trained:
    """A head by R-CNN or sliding windows, fitted on a part and judged on a fold where nothing else judges it, then fitted on all.

    Raises BudgetError where the crops of the first pictures say that there is no time for all.
    """
    data, request = problem.data, problem.request
    head = problem.fresh()
    assert isinstance(head, Rcnn)
    assert request.network is not None
    head.bind(request.network)
    crops = _Crops(problem, head, progress)
    out = data.folds == 0 if request.hold_out else torch.zeros(len(data), dtype=torch.bool)
    _fit(crops, head, (~out).nonzero().flatten().tolist())
    metrics: Facts = {"n": 0}
    if request.hold_out:
        metrics = judged(problem, head, out.nonzero().flatten()).result()
        if not request.deadline.passed():
            _fit(crops, head, list(range(len(data))))
    return Trained(head, len(problem.backbone.stages), metrics, cut_short=crops.cut_short)


class _Crops:
    """Boxes and features of the training pictures' crops: labelled boxes first, then regions or windows; features lie on disk.

    A picture whose boxes were edited is looked at again only where they were: rows are named by the crop's own place.
    """

    def __init__(self, problem: Problem, head: Rcnn, progress: Progress) -> None:
        self.data: TrainingSet = problem.data
        self.head, self.progress, self.deadline = head, progress, problem.request.deadline
        self.cut_short: tuple[str, ...] = ()
        extractor, backbone = self.data.extractor, problem.backbone
        key = CacheKey(
            backbone.fingerprint, len(backbone.stages), Needs(embedding=True), Geometry(CROP), f"crops-{CONTEXT:.3f}", 0,
            extractor.engine.name,
        )  # fmt: skip
        self.cache = FeatureCache(self.data.store.root, key, backbone)
        self.placement = Geometry(CROP).place(CROP, CROP)
        self.geometry = extractor.geometry
        check_room(self.cache.folder, 2 * backbone.embedding_size * len(self.data) * max(head.proposals, WINDOWS), 1)

    def picture(self, index: int) -> tuple[Tensor, Tensor, Objects]:
        """Boxes (R, 4) in input pixels, their features (R, D), and what is in the picture."""
        truth = self.data.moved(index, 0)
        assert isinstance(truth, Objects)
        boxes = torch.cat([truth.learnable.boxes, self._candidates(index, truth)])
        names = [(self._name(index, box), 0) for box in boxes.tolist()]
        self.cache.check(names)
        missing = set(self.cache.missing(names))
        if missing:
            pixels = next(iter(self.data.looks(Needs(maps=(PIXELS,)), torch.tensor([index]))))[0].maps[PIXELS][0]
            todo = [place for place, name in enumerate(names) if name in missing]
            features = self.head.features(pixels, boxes[todo])
            self.cache.append([names[place] for place in todo], Look((self.placement,) * len(todo), embedding=features))
        embedding = self.cache.read(names).embedding if names else torch.zeros(0, self.head.inputs)
        assert embedding is not None
        return boxes, embedding, truth

    def _name(self, index: int, box: list[float]) -> str:
        """The name of a crop's row: its picture's content and its place."""
        return hashlib.sha256(f"{self.data.digests[index]}{self.geometry}{box}".encode()).hexdigest()[:32]

    def pictures(self, indices: list[int], title: str) -> Iterator[tuple[Tensor, Tensor, Objects]]:
        with self.progress.task(title, len(indices)) as advance:
            for done, index in enumerate(indices):
                if self.deadline.passed() and done >= FEWEST_PICTURES:
                    self.cut_short = (f"crops of {len(indices) - done} pictures",)
                    break
                yield self.picture(index)
                advance()

    def _candidates(self, index: int, truth: Objects) -> Tensor:
        if isinstance(self.head, Windows):
            assert isinstance(self.data.moving, ObjectTargets)
            placement = self.geometry.place(*self.data.moving.sizes[index])
            every = self.head.boxes_of(Look((placement,)))[0]
            draw = torch.Generator().manual_seed(index)
            return every[torch.randperm(len(every), generator=draw)[:WINDOWS]]
        regions = self.data.store.read([(self.data.digests[index], 0)], Needs(regions=self.head.proposals)).regions
        assert regions is not None
        boxes = regions[0]
        return boxes[has_area(boxes)]


def _fit(crops: _Crops, head: Rcnn, indices: list[int]) -> None:
    classes = range(len(head.classes))
    nothing = torch.zeros(0, head.inputs)
    positives, negatives = ([nothing for _ in classes] for _ in range(2))
    near = [(nothing, torch.zeros(0, 4)) for _ in classes]
    for boxes, features, truth in crops.pictures(indices, "crops"):
        objects = truth.learnable
        labelled = torch.arange(len(boxes)) < len(objects)
        for label in classes:
            mine = objects.boxes[objects.labels == label]
            positives[label] = torch.cat([positives[label], features[: len(objects)][objects.labels == label]])[-KEPT:]
            spare = _background(boxes, truth, label).nonzero().flatten()
            negatives[label] = torch.cat([negatives[label], features[spare[:: max(1, len(spare) // FIRST)]]])[-KEPT:]
            if len(mine):
                overlap, nearest = box_iou(boxes, mine).max(1)
                close = (overlap >= NEAR) & ~labelled
                learned = (features[close], encode(mine[nearest[close]], boxes[close]))
                near[label] = (torch.cat([near[label][0], learned[0]])[-KEPT:], torch.cat([near[label][1], learned[1]])[-KEPT:])
    whole = torch.cat([*positives, *negatives])
    mean, deviation = whole.mean(0), whole.std(0).clamp_min(1e-3)
    for turn in range(ROUNDS):
        for label in classes:
            _separate(head, label, positives[label], negatives[label], mean, deviation)
        if turn < ROUNDS - 1:
            negatives = _mine(crops, head, indices, negatives)
    if not isinstance(head, Windows):
        for label in classes:
            _regress(head, label, *near[label], mean, deviation)


def _background(boxes: Tensor, truth: Objects, label: int) -> Tensor:
    """Which boxes (R,) overlap no object of a class, ignored ones included."""
    mine = truth.boxes[truth.labels == label]
    return box_iou(boxes, mine).amax(1) < BACKGROUND if len(mine) else torch.ones(len(boxes), dtype=torch.bool)


def _separate(head: Rcnn, label: int, positives: Tensor, negatives: Tensor, mean: Tensor, deviation: Tensor) -> None:
    """A linear support vector machine for one class, and the curve that makes its margins scores."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    if not len(positives) or not len(negatives):
        head.weight[label] = 0
        head.bias[label] = -10.0
        return
    features = ((torch.cat([positives, negatives]) - mean) / deviation).numpy()
    target = np.r_[np.ones(len(positives)), np.zeros(len(negatives))]
    machine = LinearSVC(C=SLACK, class_weight="balanced", dual=False, max_iter=2000).fit(features, target)
    weight = torch.from_numpy(machine.coef_[0]).float() / deviation
    head.weight[label] = weight
    head.bias[label] = float(machine.intercept_[0]) - float(weight @ mean)
    curve = LogisticRegression().fit(machine.decision_function(features)[:, None], target)
    head.curve[label] = torch.tensor([float(curve.coef_[0, 0]), float(curve.intercept_[0])])


def _mine(crops: _Crops, head: Rcnn, indices: list[int], negatives: list[Tensor]) -> list[Tensor]:
    """The negatives of each class with those of all pictures that its machine does not keep at its margin's distance; the hardest KEPT."""
    mined = list(negatives)
    for boxes, features, truth in crops.pictures(indices, "hard negatives"):
        margins = features @ head.weight.T + head.bias
        for label in range(len(head.classes)):
            hard = _background(boxes, truth, label) & (margins[:, label] > -1)
            mined[label] = torch.cat([mined[label], features[hard]])
            if len(mined[label]) > 2 * KEPT:
                mined[label] = _hardest(head, label, mined[label])
    return [_hardest(head, label, every) for label, every in enumerate(mined)]


def _hardest(head: Rcnn, label: int, features: Tensor) -> Tensor:
    """Of crops (N, D) that are not of a class the KEPT likeliest by its machine, each once."""
    once = torch.unique(features, dim=0)
    likeliest = (once @ head.weight[label]).argsort(descending=True)[:KEPT]
    hardest: Tensor = once[likeliest]
    return hardest


def _regress(head: Rcnn, label: int, features: Tensor, codes: Tensor, mean: Tensor, deviation: Tensor) -> None:
    """How regions near an object of one class should be moved to it."""
    from sklearn.linear_model import Ridge

    if not len(features):
        return
    ridge = Ridge(alpha=SHRINKAGE).fit(((features - mean) / deviation).numpy(), codes.numpy())
    weight = torch.from_numpy(ridge.coef_).float() / deviation
    head.ridge[label, :, :-1] = weight
    head.ridge[label, :, -1] = torch.from_numpy(ridge.intercept_).float() - weight @ mean

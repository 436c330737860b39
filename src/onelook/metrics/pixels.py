"""How well pixels are told apart: IoU of every class and its mean, pixel accuracy, Dice, and how well boundaries are met (boundary F1).

Pixels whose truth is IGNORE count nowhere. IoU of a class: pixels that are it and were said to be, over those that are or were, summed
over all pictures (Everingham et al. 2010, VOC); the mean is over classes that are there in the truth. Dice is their F1. Boundary F1:
Csurka et al. 2013 ("What is a good evaluation measure for semantic segmentation?"): a boundary pixel is met if one of the other side's
lies within 0.75 % of the picture's diagonal; the mean over the classes in a picture, then over pictures.

    onelook val people/ --model mine.onelook --head people
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from onelook.facts import Facts
from onelook.geometry.masks import IGNORE, Mask, ProbabilityMap, nearest
from onelook.metrics.intervals import bootstrap_interval
from onelook.metrics.judge import Judge, Table, percent

WITHIN = 0.0075  # of the diagonal
LARGEST_SIDE = 1_000  # boundaries of larger pictures are compared in a smaller one


class PixelJudge(Judge[ProbabilityMap, Mask]):
    """mIoU with its interval, IoU and Dice of every class, pixel accuracy, boundary F1; of two classes pixel error and Rand score, too."""

    headline = "miou"
    figures = {  # noqa: RUF012
        "miou": "IoU, mean of the classes (mIoU)",
        "pixel_accuracy": "share of pixels right",
        "dice": "Dice, mean of the classes",
        "boundary_f1": "boundaries met (F1)",
        "pixel_error": "share of pixels wrong",
        "foreground_rand": "regions kept apart (foreground-restricted Rand)",
    }

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.confusions: list[Tensor] = []  # (K, K) pixels of each picture: rows truth, columns answer
        self.boundaries: list[float] = []
        self.rands: list[float] = []  # of two classes: how well the connected regions of the second are kept apart

    def add(self, predictions: Sequence[ProbabilityMap], targets: Sequence[Mask]) -> None:
        """What was found in each picture, and its mask."""
        for said, truth in zip(predictions, targets, strict=True):
            self.add_masks(said.mask(), truth.read())

    def in_words(self, metrics: Facts) -> str:
        mean = percent(metrics["miou"], metrics["miou_interval"])
        return f"mean IoU {mean}, pixels right {percent(metrics['pixel_accuracy'])}, Dice {metrics['dice']:.3f} on {metrics['n']} pictures"

    def tables(self, metrics: Facts) -> list[Table]:
        rows = tuple((name, percent(one["iou"]), percent(one["dice"]), percent(one["share"])) for name, one in metrics["per_class"].items())
        rand = f", Rand {metrics['foreground_rand']:.3f}" if "foreground_rand" in metrics else ""
        note = f"boundary F1 {metrics['boundary_f1'] or 0:.3f}{rand}; {metrics['ignored']}"
        return [Table("Class by class", ("class", "IoU", "Dice", "of the pixels"), rows, note)]

    def worst(self, count: int) -> list[tuple[int, str]]:
        """The pictures with the lowest mean IoU."""
        each = self.each()
        order = [index for index in each.nan_to_num(2.0).argsort().tolist() if not bool(each[index].isnan())]
        return [(index, f"mean IoU {float(each[index]):.2f}") for index in order[:count]]

    def add_masks(self, said: Tensor, truth: Tensor) -> None:
        """Class ids (H, W) that were said and that are true."""
        self.confusions.append(confusion(said, truth, len(self.classes)))
        self.boundaries.append(boundary_f1(said, truth, len(self.classes)))
        if len(self.classes) == 2:
            regions = [torch.from_numpy(ndimage.label((mask == 1).numpy())[0]) for mask in (said, truth)]
            self.rands.append(foreground_rand(regions[0], regions[1]))

    def each(self) -> Tensor:
        """The mean IoU over the classes of each picture (n,)."""
        return torch.stack([ious(table).nanmean() for table in self.confusions]) if self.confusions else torch.zeros(0, dtype=torch.float64)

    def result(self) -> Facts:
        count = len(self.classes)
        every = torch.stack(self.confusions) if self.confusions else torch.zeros(1, count, count, dtype=torch.float64)
        table = every.sum(0)
        right, true, said = table.diagonal(), table.sum(1), table.sum(0)
        each = ious(table)
        dice = torch.where(true > 0, 2 * right / (true + said).clamp_min(1), torch.nan)
        met = [value for value in self.boundaries if not math.isnan(value)]
        there = [index for index in range(count) if bool(true[index] > 0)]
        right_share = float(right.sum() / table.sum().clamp_min(1))
        of_two = {"pixel_error": 1 - right_share, "foreground_rand": float(np.mean(self.rands))} if self.rands else {}
        return {
            "n": len(self.confusions),
            "pixels": int(table.sum()),
            "miou": float(each.nanmean()) if there else 0.0,
            "miou_interval": list(bootstrap_interval(len(every), lambda chosen: float(ious(every[chosen].sum(0)).nanmean()))),
            "pixel_accuracy": right_share,
            "dice": float(dice.nanmean()) if there else 0.0,
            "boundary_f1": float(np.mean(met)) if met else None,
            **of_two,
            "ignored": "pixels of the truth that are 255 count nowhere; the mean is over classes that the truth shows",
            "per_class": {
                self.classes[index]: {"iou": float(each[index]), "dice": float(dice[index]), "share": float(true[index] / true.sum())}
                for index in there
            },
        }


def confusion(said: Tensor, truth: Tensor, count: int) -> Tensor:
    """Pixels (K, K) by true class (row) and said class (column); those whose truth is IGNORE are left out, float64."""
    known = truth != IGNORE
    pairs = truth[known].long() * count + said[known].long()
    return torch.bincount(pairs, minlength=count * count).reshape(count, count).double()


def ious(table: Tensor) -> Tensor:
    """Intersection over union (..., K) of each class from confusion tables (..., K, K); NaN where the truth does not show a class."""
    right, true, said = table.diagonal(dim1=-2, dim2=-1), table.sum(-1), table.sum(-2)
    return torch.where(true > 0, right / (true + said - right).clamp_min(1), torch.nan)


def boundary_f1(said: Tensor, truth: Tensor, count: int, within: float = WITHIN) -> float:
    """The mean over a picture's classes of the F1 of their boundaries; NaN for a picture without boundaries."""
    height, width = truth.shape
    shrink = max(height, width) / LARGEST_SIDE
    if shrink > 1:
        smaller = (round(width / shrink), round(height / shrink))
        said, truth = nearest(said, smaller), nearest(truth, smaller)
    reach = within * math.hypot(*truth.shape)
    known = (truth != IGNORE).numpy()
    scores = []
    for label in range(count):
        edges = [_boundary((mask == label).numpy(), known) for mask in (said, truth)]
        if not edges[0].any() and not edges[1].any():
            continue
        precision, recall = _met(edges[0], edges[1], reach), _met(edges[1], edges[0], reach)
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return float(np.mean(scores)) if scores else math.nan


def _boundary(region: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Pixels of a region with a known neighbour (of four) outside it."""
    outside = ~region & known
    edge = np.zeros_like(region)
    edge[:-1] |= outside[1:]
    edge[1:] |= outside[:-1]
    edge[:, :-1] |= outside[:, 1:]
    edge[:, 1:] |= outside[:, :-1]
    inside: np.ndarray = edge & region & known
    return inside


def _met(ours: np.ndarray, theirs: np.ndarray, reach: float) -> float:
    """The share of our boundary's pixels that lie within ``reach`` of theirs."""
    if not ours.any():
        return 0.0
    if not theirs.any():
        return 0.0
    near = ndimage.distance_transform_edt(~theirs) <= reach
    return float(near[ours].mean())


def pixel_error(said: Tensor, truth: Tensor) -> float:
    """The share of known pixels that were said wrong (the ISBI 2012 challenge's pixel error for two classes)."""
    known = truth != IGNORE
    return float((said[known] != truth[known]).double().mean())


def foreground_rand(said: Tensor, truth: Tensor) -> float:
    """The foreground-restricted Rand score of two segmentations (H, W) into regions (integers; 0: between regions): 1 is best.

    Arganda-Carreras et al. 2015 ("Crowdsourcing the creation of image segmentation algorithms for connectomics"), V_rand: over pixels
    that the truth puts into a region, the sum of squared joint shares over the mean of the sums of squares of both sides' shares.
    """
    inside = (truth > 0).numpy()
    regions, own = truth.numpy()[inside].astype(np.int64), said.numpy()[inside].astype(np.int64)
    if not len(regions):
        return 1.0
    pairs = np.unique(np.stack([own, regions]), axis=1, return_counts=True)
    joint = pairs[1] / len(regions)
    by_said = np.bincount(pairs[0][0], weights=joint)
    by_truth = np.bincount(pairs[0][1], weights=joint)
    alone = by_said[0] if len(by_said) else 0.0  # said to lie between regions: each such pixel is a region of its own
    together = (joint[pairs[0][0] > 0] ** 2).sum() + alone / len(regions)
    split = (by_truth**2).sum()
    merged = (by_said[1:] ** 2).sum() + alone / len(regions)
    return float(together / (0.5 * split + 0.5 * merged))

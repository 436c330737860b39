"""How well key points are placed: PCK, PCP and the normalised mean error, over points that are labelled.

PCK: Yang & Ramanan 2013 ("Articulated human detection with flexible mixtures of parts", section 7): a point is right within ``0.2`` of a
reference length. Of people with shoulders and hips that is the torso (left shoulder to right hip; where one is not labelled, right
shoulder to left hip), else the longer side of the box around the labelled points, as in that paper with a factor of one. PCP: Ferrari et
al. 2008: a limb is right if both ends lie within half its length. NME: mean distance as a share of the reference length.

    onelook val poses/ --model mine.onelook --head pose
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from onelook.facts import Facts
from onelook.geometry.objects import Objects, main_person
from onelook.metrics.intervals import bootstrap_interval, wilson_interval
from onelook.metrics.judge import Judge, Table, percent

WITHIN = (0.1, 0.2, 0.5)


class PointJudge(Judge[Tensor, Objects]):
    """PCK at 0.1, 0.2 and 0.5, PCP over the skeleton's limbs, NME; per point at 0.2."""

    headline = "pck20"
    figures = {  # noqa: RUF012
        "pck20": "points within 0.2 of the torso (PCK@0.2)",
        "pck10": "points within 0.1",
        "pck50": "points within 0.5",
        "pcp": "right limbs (PCP)",
        "nme": "mean error, as a share of the torso (NME)",
    }

    def __init__(self, names: Sequence[str], skeleton: tuple[tuple[int, int], ...] = ()) -> None:
        self.names, self.skeleton = tuple(names), skeleton
        self.errors: list[Tensor] = []  # (K,) distances in units of the reference length, NaN where not labelled
        self.limbs: list[tuple[int, int]] = []  # right limbs, limbs
        self.off: list[tuple[float, float]] = []  # mean error of every picture, as a share of the person's extent and in pixels
        self.shares: list[float] = []  # of right points, of every picture; NaN of one without any

    def add(self, predictions: Sequence[Tensor], targets: Sequence[Objects]) -> None:
        """The points (K, 2 or more) said of each picture, and its objects, in its own pixels; the largest object counts."""
        for said, truth in zip(predictions, targets, strict=True):
            person = main_person(truth)
            if person is None:
                self.shares.append(math.nan)
                self.off.append((0.0, 0.0))
                continue
            distance = (said[:, :2].double() - person[:, :2].double()).norm(dim=1)
            known = person[:, 2] > 0
            self.errors.append(torch.where(known, distance / reference(person, self.names), torch.nan))
            self.shares.append(float((self.errors[-1][known] <= 0.2).double().mean()))
            self.limbs.append(self._limbs(distance, person, known))
            mean = float(distance[known].mean())
            extent = float((person[known, :2].amax(0) - person[known, :2].amin(0)).max())
            self.off.append((mean / max(extent, 1.0), mean))

    def each(self) -> Tensor:
        """The share of right points (at 0.2) of each picture (n,); NaN of one without any."""
        return torch.tensor(self.shares, dtype=torch.float64)

    def result(self) -> Facts:
        errors = torch.stack(self.errors).numpy() if self.errors else np.full((1, len(self.names)), np.nan)
        known = ~np.isnan(errors)
        count = int(known.sum())
        right = {share: int((errors[known] <= share).sum()) for share in WITHIN}
        limbs = sum(total for _, total in self.limbs)
        return {
            "n": len(self.errors),
            "points": count,
            "pck20": right[0.2] / max(count, 1),
            "pck20_interval": list(self._interval(errors)),
            "pck10": right[0.1] / max(count, 1),
            "pck50": right[0.5] / max(count, 1),
            "nme": float(errors[known].mean()) if count else None,
            "pcp": sum(hit for hit, _ in self.limbs) / limbs if limbs else None,
            "pck20_per_point": {
                name: float((errors[known[:, k], k] <= 0.2).mean()) for k, name in enumerate(self.names) if known[:, k].any()
            },
        }

    def _interval(self, errors: np.ndarray) -> tuple[float, float]:
        """95 % of the PCK@0.2 over pictures drawn anew: the points of one picture are right or wrong together."""
        right, known = (errors <= 0.2).sum(1), (~np.isnan(errors)).sum(1)
        if len(errors) < 2:
            return wilson_interval(int(right.sum()), int(known.sum()))
        return bootstrap_interval(len(errors), lambda chosen: float(right[chosen].sum()) / max(1, int(known[chosen].sum())))

    def in_words(self, metrics: Facts) -> str:
        return f"PCK@0.2 {percent(metrics['pck20'], metrics['pck20_interval'])} on {metrics['points']} points in {metrics['n']} pictures"

    def tables(self, metrics: Facts) -> list[Table]:
        rows = tuple((name, percent(share)) for name, share in metrics["pck20_per_point"].items())
        return [Table("Point by point", ("point", "PCK@0.2"), rows)]

    def worst(self, count: int) -> list[tuple[int, str]]:
        """The pictures whose points lie furthest off, as a share of the person's extent."""
        order = sorted((index for index, (share, _) in enumerate(self.off) if share > 0), key=lambda index: -self.off[index][0])
        return [(index, f"{self.off[index][1]:.0f} pixels off on average") for index in order[:count]]

    def _limbs(self, distance: Tensor, person: Tensor, known: Tensor) -> tuple[int, int]:
        right = total = 0
        for one, other in self.skeleton:
            if bool(known[one]) and bool(known[other]):
                length = float((person[one, :2] - person[other, :2]).norm())
                total += 1
                right += float(distance[one]) <= length / 2 and float(distance[other]) <= length / 2
        return right, total


def reference(person: Tensor, names: Sequence[str]) -> float:
    """The length in pixels by which errors of these key points (K, 3) are measured, at least one pixel."""
    place = {name.lower().replace("_", " "): index for index, name in enumerate(names)}
    for ends in (("left shoulder", "right hip"), ("right shoulder", "left hip")):
        if all(end in place and person[place[end], 2] > 0 for end in ends):
            one, other = (person[place[end], :2] for end in ends)
            return max(1.0, float((one - other).norm()))
    known = person[person[:, 2] > 0, :2]
    return max(1.0, float((known.amax(0) - known.amin(0)).max()))

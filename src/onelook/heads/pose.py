"""What heads that find key points have in common: from points in pixels of a picture to answers, and their judge."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from onelook.answers import Answer, make_key_points
from onelook.look import Placement
from onelook.measure_points import PointJudge
from onelook.objects import Layout


class FindsPoints:
    """The verbs of a head that finds key points; it brings ``layout``, and ``find`` of its raw output: (K, 3) as x, y, score."""

    task = "keypoints"
    vector = False
    temperature = 1.0
    layout: Layout

    def find(self, raw: Any, placements: Sequence[Placement]) -> list[Tensor]:
        """Points (K, 3) of each picture in its own pixels: x, y, score 0..1."""
        raise NotImplementedError

    def say(self, found: Tensor) -> Answer:
        """A ``supervision.KeyPoints`` of one object."""
        return make_key_points(found[:, :2].numpy(), found[:, 2].numpy(), self.layout)

    def answer(self, raw: Any, placements: Sequence[Placement]) -> list[Answer]:
        """One ``supervision.KeyPoints`` per picture, in its own pixels."""
        return [self.say(found) for found in self.find(raw, placements)]

    def mirrored(self, found: Tensor, across: bool, down: bool, frame: tuple[int, int]) -> Tensor:
        """The same points in a picture of size ``frame`` whose sides have changed places; left and right ones change names."""
        points = found.clone()
        for axis, turned in enumerate((across, down)):
            if turned:
                points[:, axis] = frame[axis] - points[:, axis]
        order = list(range(len(points)))
        for left, right in self.layout.pairs if across != down else ():
            order[left], order[right] = right, left
        return points[order]

    def merge(self, founds: Sequence[Tensor]) -> Tensor:
        """Several looks' points (K, 3) as one: places weighted by their scores, and the mean score."""
        whole = torch.stack(list(founds))
        weight = whole[..., 2:].clamp_min(1e-6)
        return torch.cat([(whole[..., :2] * weight).sum(0) / weight.sum(0), whole[..., 2:].mean(0)], dim=1)

    def judge(self) -> PointJudge:
        """A fresh judge for this head's answers."""
        return PointJudge(self.layout.names, self.layout.skeleton)

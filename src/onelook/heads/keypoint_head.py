"""What heads that find key points have in common: from points in pixels of a picture to answers, and their judge."""

from collections.abc import Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from onelook.answers.answer import Answer
from onelook.data.samples import Dataset
from onelook.geometry.objects import Layout, Objects, main_person
from onelook.heads.base import AnswerOptions, Head
from onelook.metrics.judge import Judge
from onelook.metrics.keypoints import PointJudge

SIZE = 320  # pixels of a new model's input

Raw = TypeVar("Raw")


class KeypointHead(Head[Raw, Tensor, Objects], Generic[Raw]):
    """The verbs of a head that finds the key points of one object; it brings ``layout``. Predictions: (K, 3) as x, y, score 0..1."""

    task = "keypoints"
    learns_from = ("points",)
    question = "where is"
    layout: Layout

    @classmethod
    def input_size(cls, data: Dataset) -> int:
        return SIZE

    def answer(self, prediction: Tensor, options: AnswerOptions = AnswerOptions()) -> Answer:
        """A ``supervision.KeyPoints`` of one object."""
        from onelook.answers.detections import KeyPoints

        return KeyPoints.of(prediction[:, :2].numpy(), prediction[:, 2].numpy(), self.layout)

    def truth(self, target: Objects) -> Answer | None:
        """The labelled points."""
        person = main_person(target)
        return None if person is None else self.answer(torch.cat([person[:, :2], (person[:, 2:] > 0).float()], dim=1))

    @property
    def mirrors(self) -> bool:
        return self.layout.mirrors

    def mirror(self, prediction: Tensor, across: bool, down: bool, frame: tuple[int, int]) -> Tensor:
        """The same points in a picture of size ``frame`` whose sides have changed places; left and right ones change names."""
        points = prediction.clone()
        for axis, turned in enumerate((across, down)):
            if turned:
                points[:, axis] = frame[axis] - points[:, axis]
        order = list(range(len(points)))
        for left, right in self.layout.pairs if across != down else ():
            order[left], order[right] = right, left
        return points[order]

    def merge(self, predictions: Sequence[Tensor]) -> Tensor:
        """Several looks' points (K, 3) as one: places weighted by their scores, and the mean score."""
        whole = torch.stack(list(predictions))
        weight = whole[..., 2:].clamp_min(1e-6)
        return torch.cat([(whole[..., :2] * weight).sum(0) / weight.sum(0), whole[..., 2:].mean(0)], dim=1)

    def judge(self) -> Judge[Tensor, Objects]:
        """A fresh judge for this head's answers."""
        return PointJudge(self.layout.names, self.layout.skeleton)

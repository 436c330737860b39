"""What heads whose answers are boxes have in common: from scored boxes in the network's input to answers in the original picture."""

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress as suppress_errors
from statistics import median
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torchvision.ops import box_iou, nms

from onelook.answers.answer import Answer
from onelook.data.pictures import picture_size
from onelook.data.samples import Dataset, objects_of
from onelook.errors import PictureError
from onelook.facts import Facts
from onelook.geometry.boxes import ScoredBoxes, fuse, mirror, no_boxes, suppress
from onelook.geometry.objects import Objects, has_area
from onelook.geometry.placement import Placement
from onelook.heads.base import AnswerOptions, Claim, Head
from onelook.metrics.boxes import CONF, BoxJudge
from onelook.metrics.judge import Judge

LOWEST = 0.005  # scores below are not answers at all
OVERLAP = 0.6  # of two boxes of a class of which one goes
MOST, CANDIDATES = 300, 2000
APART = 2.0  # widths of a picture by which boxes of different classes are moved apart
SAME, LEAST = 0.5, 1e-4  # overlap of boxes of one object; the score that stands for none, where it is asked why
WANTED = 40.0  # pixels (square root of the area) that half of the boxes of every class should have in the input at least
SMALLEST, LARGEST = 320, 640  # input sizes of a new model for detection, by how small the objects are

Raw = TypeVar("Raw")


class PlaceHead(Head[Raw, ScoredBoxes, Objects], Generic[Raw]):
    """The verbs of a head whose predictions are boxes, many or one. Targets: ``Objects``."""

    learns_from = ("objects",)
    question = "where is"
    answer_options = ("conf",)

    def answer(self, prediction: ScoredBoxes, options: AnswerOptions = AnswerOptions()) -> Answer:
        """A ``supervision.Detections`` of the boxes that score ``conf`` or more."""
        from onelook.answers.detections import Detections

        sure = prediction.scores >= (CONF if options.conf is None else options.conf)
        boxes, scores, labels = (part[sure].numpy() for part in (prediction.boxes, prediction.scores, prediction.labels))
        return Detections.of(boxes, scores, labels, self.classes)

    def reading(self) -> Facts:
        return {"conf": CONF}

    def truth(self, target: Objects) -> Answer:
        """The labelled boxes."""
        return self.answer(ScoredBoxes(target.boxes, torch.ones(len(target)), target.labels))

    def mirror(self, prediction: ScoredBoxes, across: bool, down: bool, frame: tuple[int, int]) -> ScoredBoxes:
        """The same boxes in a picture of size ``frame`` whose sides have changed places."""
        return ScoredBoxes(mirror(prediction.boxes, across, down, frame), prediction.scores, prediction.labels)


class BoxHead(PlaceHead[Raw], Generic[Raw]):
    """The verbs of a head that detects; it brings ``boxes_and_scores`` of its raw output."""

    task = "detect"
    overlap = OVERLAP

    @classmethod
    def input_size(cls, data: Dataset) -> int:
        """Large enough for the small objects: the smallest class's typical box gets WANTED pixels, within bounds."""
        shares: dict[int, list[float]] = {}
        for sample in data.samples:
            objects = objects_of(sample).learnable
            if len(objects):
                with suppress_errors(PictureError):
                    sides = (objects.boxes[:, 2:] - objects.boxes[:, :2]).prod(1).sqrt() / max(picture_size(sample.path))
                    for label, side in zip(objects.labels.tolist(), sides.tolist(), strict=True):
                        shares.setdefault(label, []).append(side)
        if not shares:
            return SMALLEST
        return min(LARGEST, max(SMALLEST, 32 * round(WANTED / min(map(median, shares.values())) / 32)))

    @abstractmethod
    def boxes_and_scores(self, raw: Raw) -> tuple[Tensor, Tensor]:
        """Boxes (B, A, 4) xyxy in input pixels, and the score of each class, 0..1, (B, A, classes)."""

    @torch.inference_mode()
    def postprocess(self, raw: Raw, placements: Sequence[Placement]) -> list[ScoredBoxes]:
        """Boxes in pixels of the original pictures after suppression, best first."""
        pairs = zip(*self.boxes_and_scores(raw), placements, strict=True)
        return [self.choose(boxes, scores, placement) for boxes, scores, placement in pairs]

    def tensors(self, raw: Raw, placement: Placement) -> dict[str, Tensor]:
        """Boxes after suppression, best first, of all pictures together."""
        boxes, scores = self.unsuppressed(raw, placement).values()
        picture, row, label = (scores >= LOWEST).nonzero().unbind(1)
        boxes, scores = boxes[picture, row], scores[picture, row, label]
        apart = (picture * len(self.classes) + label)[:, None] * APART  # boxes of other pictures and classes do not meet
        kept = nms(boxes + apart, scores * has_area(boxes), self.overlap)
        return {"boxes": boxes[kept], "scores": scores[kept], "labels": label[kept], "pictures": picture[kept]}

    def unsuppressed(self, raw: Raw, placement: Placement) -> dict[str, Tensor]:
        """All boxes (B, A, 4) and the score of each class (B, A, classes)."""
        if self.no_graph:
            return super().tensors(raw, placement)
        boxes, scores = self.boxes_and_scores(raw)
        return {"boxes": placement.shares(boxes.reshape(-1, boxes.shape[1] * 2, 2)).reshape(boxes.shape), "scores": scores}

    def reading(self) -> Facts:
        return super().reading() | {"overlap": self.overlap}

    def claim(self, raw: Raw, about: Any = None) -> Claim[Raw]:
        """Of the surest box (of a class) the log odds: of the surest one of its class that overlaps it by half."""
        boxes, scores = (part[0].detach() for part in self.boxes_and_scores(raw))
        named = self.named(about)
        label = int(scores.amax(0).argmax()) if named is None else named
        row = int(scores[:, label].argmax())
        place, score = boxes[row], float(scores[row, label])

        def evidence(found: Raw) -> Tensor:
            each = []
            for others, sure in zip(*self.boxes_and_scores(found), strict=True):
                near = box_iou(others, place[None])[:, 0] > SAME
                surest = sure[near, label].amax() if bool(near.any()) else sure[:, label].sum() * 0
                each.append(torch.logit(surest, LEAST))
            return torch.stack(each)

        left, top, right, bottom = place.tolist()
        return Claim(self.classes[label], evidence, (left, top, right, bottom), f"{score:.2f}")

    def merge(self, predictions: Sequence[ScoredBoxes]) -> ScoredBoxes:
        """What several looks (or models) found in one picture as one: weighted fusion."""
        boxes, scores, labels = fuse(*zip(*((one.boxes, one.scores, one.labels) for one in predictions), strict=True))
        return ScoredBoxes(boxes[:MOST], scores[:MOST], labels[:MOST])

    def judge(self) -> Judge[ScoredBoxes, Objects]:
        """A fresh judge for this head's answers."""
        return BoxJudge(self.classes)

    def choose(self, boxes: Tensor, scores: Tensor, placement: Placement) -> ScoredBoxes:
        """The boxes of one picture that are answers, of all (A, 4) in input pixels with their scores (A, classes)."""
        likely = scores.flatten()
        chosen = (likely >= LOWEST).nonzero().flatten()
        if len(chosen) > CANDIDATES:
            chosen = chosen[likely[chosen].topk(CANDIDATES).indices]
        if not len(chosen):
            return no_boxes()
        original = placement.boxes_to_original(boxes[chosen // scores.shape[1]].float())
        labels, likely = chosen % scores.shape[1], likely[chosen].float()
        whole = has_area(original)
        original, labels, likely = original[whole], labels[whole], likely[whole]
        kept = suppress(original, likely, labels, conf=LOWEST, iou=self.overlap, most=MOST)
        return ScoredBoxes(original[kept].clone(), likely[kept].clone(), labels[kept].clone())

"""What detection heads have in common: from scored boxes in the network's input to answers in the original picture, and their judge."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from onelook.answers import Answer, make_detections
from onelook.boxes import fuse, mirror, suppress
from onelook.look import Placement
from onelook.measure_boxes import BoxJudge, Found, empty

LOWEST = 0.005  # scores below are not answers at all
OVERLAP = 0.6  # of two boxes of a class of which one goes
MOST, CANDIDATES = 300, 2000


class SaysBoxes:
    """The verbs of a head whose findings are boxes, many or one; it brings ``classes`` and ``find``."""

    vector = False
    classes: tuple[str, ...]
    temperature = 1.0

    def find(self, raw: Any, placements: Sequence[Placement]) -> list[Found]:
        """Boxes in pixels of the original pictures, best first."""
        raise NotImplementedError

    def say(self, found: Found) -> Answer:
        """A ``supervision.Detections`` of what was found."""
        return make_detections(found.boxes.numpy(), found.scores.numpy(), found.labels.numpy(), self.classes)

    def answer(self, raw: Any, placements: Sequence[Placement]) -> list[Answer]:
        """One ``supervision.Detections`` per picture, in its own pixels."""
        return [self.say(found) for found in self.find(raw, placements)]

    def mirrored(self, found: Found, across: bool, down: bool, frame: tuple[int, int]) -> Found:
        """The same boxes in a picture of size ``frame`` whose sides have changed places."""
        return Found(mirror(found.boxes, across, down, frame), found.scores, found.labels)


class FindsBoxes(SaysBoxes):
    """The verbs of a head that detects; it brings ``classes``, and ``boxes_and_scores`` of its raw output."""

    task = "detect"
    overlap = OVERLAP

    def boxes_and_scores(self, raw: Any) -> list[tuple[Tensor, Tensor]]:
        """Per picture: boxes (A, 4) xyxy in input pixels, and the score of each class, 0..1, (A, classes)."""
        raise NotImplementedError

    @torch.inference_mode()
    def find(self, raw: Any, placements: Sequence[Placement]) -> list[Found]:
        """Boxes in pixels of the original pictures after suppression, best first."""
        pairs = self.boxes_and_scores(raw)
        return [self._find(boxes, scores, placement) for (boxes, scores), placement in zip(pairs, placements, strict=True)]

    def merge(self, founds: Sequence[Found]) -> Found:
        """What several looks (or models) found in one picture as one: weighted fusion."""
        boxes, scores, labels = fuse(*zip(*((one.boxes, one.scores, one.labels) for one in founds), strict=True))
        return Found(boxes[:MOST], scores[:MOST], labels[:MOST])

    def judge(self) -> BoxJudge:
        """A fresh judge for this head's answers."""
        return BoxJudge(self.classes)

    def _find(self, boxes: Tensor, scores: Tensor, placement: Placement) -> Found:
        likely = scores.flatten()
        chosen = (likely >= LOWEST).nonzero().flatten()
        if len(chosen) > CANDIDATES:
            chosen = chosen[likely[chosen].topk(CANDIDATES).indices]
        if not len(chosen):
            return empty()
        original = placement.boxes_to_original(boxes[chosen // scores.shape[1]].float())
        labels, likely = chosen % scores.shape[1], likely[chosen].float()
        whole = ((original[:, 2:] - original[:, :2]) > 0).all(1)
        original, labels, likely = original[whole], labels[whole], likely[whole]
        kept = suppress(original, likely, labels, conf=LOWEST, iou=self.overlap, most=MOST)
        return Found(original[kept].clone(), likely[kept].clone(), labels[kept].clone())

"""What is known to be in a picture: boxes with their classes, and the key points of each.

``Objects`` is a target as readers give it (pixels of the original picture) and as heads learn from it (pixels of the network's input).

    python -c "from onelook.geometry.objects import Objects; print(Objects.of([(10, 20, 50, 60)], [0]))"
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onelook.facts import Facts


@dataclass(frozen=True, eq=False)
class Objects:
    """N objects of one picture.

    ``boxes``: (N, 4) xyxy, float pixels. ``labels``: (N,) class ids. ``ignored``: (N,) true for crowds and what is marked difficult: to
    find it is neither right nor wrong, and nothing is learned from it. ``points``: (N, K, 3) x, y and visibility (0 not labelled, 1
    hidden, 2 visible), K = 0 where there are none.
    ``frame``: width and height of the picture or input in whose pixels they are, where that is known.
    """

    boxes: Tensor
    labels: Tensor
    ignored: Tensor
    points: Tensor
    frame: tuple[int, int] = (0, 0)

    @staticmethod
    def of(
        boxes: Sequence[Sequence[float]],
        labels: Sequence[int],
        ignored: Sequence[bool] | None = None,
        points: Sequence[Sequence[Sequence[float]]] | None = None,
    ) -> "Objects":
        """From plain numbers."""
        count = len(boxes)
        return Objects(
            torch.tensor(boxes, dtype=torch.float32).reshape(count, 4),
            torch.tensor(labels, dtype=torch.long),
            torch.zeros(count, dtype=torch.bool) if ignored is None else torch.tensor(ignored, dtype=torch.bool),
            torch.zeros(count, 0, 3) if not points else torch.tensor(points, dtype=torch.float32).reshape(count, -1, 3),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def learnable(self) -> "Objects":
        """Those to learn from: not ignored, with an area."""
        return self.pick(~self.ignored & has_area(self.boxes))

    def pick(self, which: Tensor) -> "Objects":
        """These objects only: a mask (N,) or indices."""
        return Objects(self.boxes[which], self.labels[which], self.ignored[which], self.points[which], self.frame)

    def moved(
        self, move_points: Callable[[Tensor], Tensor], move_boxes: Callable[[Tensor], Tensor], frame: tuple[int, int] = (0, 0)
    ) -> "Objects":
        """The same objects in other pixels, those of ``frame``: ``move_points`` takes (..., 2), ``move_boxes`` (N, 4)."""
        points = torch.cat([move_points(self.points[..., :2]), self.points[..., 2:]], dim=-1)
        return Objects(move_boxes(self.boxes), self.labels, self.ignored, points, frame)

    def to_json(self) -> Facts:
        return {"boxes": self.boxes.tolist(), "labels": self.labels.tolist(), "points": self.points.tolist()}


@dataclass(frozen=True)
class Layout:
    """What key points mean: their names, which change places in a mirror, which are joined in a drawing (indices)."""

    names: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()

    @property
    def mirrors(self) -> bool:
        """Whether it is known what the points are in a mirror; where it is not, nothing is mirrored."""
        return bool(self.pairs) or len(self.names) == 1

    @staticmethod
    def of(names: Sequence[str], pairs: Sequence[Sequence[int]], skeleton: Sequence[Sequence[int]]) -> "Layout":
        """From what ``config`` gives."""
        return Layout(tuple(names), tuple((one, other) for one, other in pairs), tuple((one, other) for one, other in skeleton))

    def config(self) -> Facts:
        """Plain values, as a head's configuration has them."""
        return {
            "classes": list(self.names),
            "pairs": [list(pair) for pair in self.pairs],
            "skeleton": [list(line) for line in self.skeleton],
        }


def has_area(boxes: Tensor) -> Tensor:
    """Which boxes (N, 4), xyxy, are wider and higher than nothing: (N,) booleans; a corner that is not a number has none."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def largest(objects: Objects) -> Objects:
    """The largest object that can be learned from, alone; none if there is none."""
    usable = objects.learnable
    if len(usable) < 2:
        return usable
    sides = usable.boxes[:, 2:] - usable.boxes[:, :2]
    return usable.pick(sides.prod(1).argmax()[None])


def main_person(objects: Objects) -> Tensor | None:
    """The key points (K, 3) of the largest object that has any labelled; None if there is none."""
    usable = objects.pick((objects.points[..., 2] > 0).any(1)) if objects.points.numel() else objects.pick(torch.zeros(len(objects)).bool())
    if not len(usable):
        return None
    sides = usable.boxes[:, 2:] - usable.boxes[:, :2]
    return usable.points[int(sides.clamp_min(0).prod(1).argmax())]

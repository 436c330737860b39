"""Is there an object, which one, and where: one box a picture, the course notes' [Pc, bx, by, bh, bw, c1..cn].

Attached behind the last convolution (``conv``): as in OverFeat (Sermanet et al. 2014, section 4) every cell of the last maps gives the
whole answer; differs in that the cells' answers are averaged with weights that are learned too, where OverFeat merges them afterwards.
Attached to the embedding (``embedding``): two dense layers, as in DeepPose (Toshev & Szegedy 2014, section 3.1). Losses: ``squared``, the
notes' sum of squared errors, of which only Pc's counts where there is no object; or ``logistic``: logistic for Pc, softmax for the class,
generalised IoU and absolute error for the box.

    onelook train raccoon/ --task localize --train-split train_labels.csv --val-split test_labels.csv --name where --model mine.onelook
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss

from onelook.data.samples import Dataset
from onelook.facts import Facts
from onelook.geometry.anchors import cells
from onelook.geometry.boxes import ScoredBoxes, cxcywh_to_xyxy, no_boxes, xyxy_to_cxcywh
from onelook.geometry.objects import Objects, has_area, largest
from onelook.geometry.placement import Placement, as_tensor
from onelook.heads.base import Claim, Usual
from onelook.heads.box_head import PlaceHead
from onelook.heads.context import Context
from onelook.heads.options import option
from onelook.heads.pyramid import Pyramid, flat, padding, separable
from onelook.looks.features import Look, Needs
from onelook.metrics.boxes import PlaceJudge
from onelook.metrics.judge import Judge

LossName = Literal["logistic", "squared"]
Attach = Literal["conv", "embedding"]
WIDTH, HIDDEN = 64, 256
STRIDES = (16, 32)
BOX_WEIGHT = 5.0
SIZE = 320  # pixels of a new model's input
THERE = 0.5  # Pc from which an object is said to be there


@dataclass(frozen=True)
class Votes:
    """What all places say, ``rows`` (B, P, 5 + classes): Pc, then bx, by (centre), bh, bw as shares of the picture's own input
    (``Placement.frame``), then the classes.

    ``weight`` (B, P): how much each counts, 1 in all. ``centres`` (B, P, 2): where they are, as shares likewise; none for an embedding.
    """

    rows: Tensor
    weight: Tensor
    centres: Tensor

    def mean(self) -> Tensor:
        """The one answer of each picture (B, 5 + classes)."""
        return (self.rows * self.weight[..., None]).sum(1)


@dataclass(frozen=True)
class LocalizeOptions:
    """``attach``: behind the last convolution, or to the embedding. ``loss``: the course notes' squared errors, or what measured better."""

    attach: Attach = option("conv", "What a head of one box or of key points reads.")
    loss: LossName = option("logistic", "Of one box: logistic and generalised IoU, or the notes' squared errors.")


class Localize(PlaceHead[Votes]):
    """Look -> ``Votes``. Targets: ``Objects``, of which the largest counts.

    With ``logistic`` Pc and classes are logits; with ``squared`` all are plain numbers.
    """

    task = method = "localize"
    named_only = True
    usual = Usual(views=8, pictures_seen=6_400)
    Options = LocalizeOptions

    def __init__(
        self, classes: Sequence[str], *, attach: Attach = "conv", channels: Mapping[str, int], inputs: int, loss: LossName = "logistic"
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.attach, self.loss_name, self.inputs = attach, loss, inputs
        self.channels = dict(channels)
        count = 5 + len(classes)
        if attach == "conv":
            self.pyramid = Pyramid(self.channels, WIDTH, finest=True)
            self.tower = nn.Sequential(separable(WIDTH, WIDTH), separable(WIDTH, WIDTH))
            self.output = nn.Conv2d(WIDTH, count + 1, 1)  # the last: how much a cell's answer weighs
        else:
            self.dense = nn.Sequential(
                nn.BatchNorm1d(inputs), nn.Dropout(0.2), nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Dropout(0.5), nn.Linear(HIDDEN, count)
            )

    @classmethod
    def input_size(cls, data: Dataset) -> int:
        return SIZE

    @classmethod
    def fresh(cls, context: Context, options: LocalizeOptions) -> "Localize":
        """An untrained head."""
        return Localize(
            context.classes, attach=options.attach, channels=context.pick(STRIDES), inputs=context.embedding_size, loss=options.loss
        )

    @property
    def needs(self) -> Needs:
        return Needs(maps=self.pyramid.strides) if self.attach == "conv" else Needs(embedding=True)

    def config(self) -> Facts:
        """Plain values that rebuild this head: ``Localize(**config)``."""
        shape = {"attach": self.attach, "channels": self.channels, "inputs": self.inputs, "loss": self.loss_name}
        return {"classes": list(self.classes), **shape}

    def forward(self, look: Look) -> Votes:
        look.require(self.needs)
        if self.attach == "embedding":
            said = cast(Tensor, self.dense(look.embedding))
            box = said[:, 1:5].sigmoid() if self.loss_name == "logistic" else said[:, 1:5]
            rows = torch.cat([said[:, :1], box, said[:, 5:]], dim=1)[:, None]
            return Votes(rows, torch.ones_like(rows[..., 0]), rows.new_zeros(rows.shape[0], 0, 2))
        level = self.pyramid(look.maps)[0]
        stride = self.pyramid.strides[0]
        rows = flat([self.output(self.tower(level))])  # (B, cells, 6 + classes)
        no_callback = padding((level.shape[2], level.shape[3]), stride, look.placements)[..., None]
        weight = rows[..., -1:].masked_fill(no_callback, -torch.inf).softmax(1)
        frames = torch.stack([as_tensor(placement.frame, level) for placement in look.placements])
        centres = cells(level.shape[2], level.shape[3], stride).to(level)[None] / frames[:, None]
        middle = centres + 0.1 * rows[..., 1:3]
        side = torch.sigmoid(rows[..., 3:5])
        whole = torch.cat([rows[..., :1], middle, side, rows[..., 5:-1]], dim=2)
        return Votes(whole, weight[..., 0], centres)

    def loss(self, raw: Votes, target: Sequence[Objects]) -> dict[str, Tensor]:
        """As the head's form says, of the one answer; with ``logistic`` every place within the object also learns its box."""
        said = raw.mean()
        wanted = self.wanted(said, target)
        there = wanted[:, 0] == 1
        if self.loss_name == "squared":
            return {"squared": squared_error(said, wanted).mean()}
        losses = {"object": functional.binary_cross_entropy_with_logits(said[:, 0], wanted[:, 0])}
        if bool(there.any()):
            losses["class"] = functional.cross_entropy(said[there, 5:], wanted[there, 5:].argmax(1))
            losses["box"] = BOX_WEIGHT * box_loss(said[there], wanted[there])
            inside = within(raw.centres, corners(wanted)) & there[:, None]
            if bool(inside.any()):
                every = wanted[:, None].expand(-1, inside.shape[1], -1)
                losses["each box"] = BOX_WEIGHT * box_loss(raw.rows[inside], every[inside])
        return losses

    def wanted(self, raw: Tensor, target: Sequence[Objects]) -> Tensor:
        """The notes' target rows (B, 5 + classes); zeros where there is no object."""
        rows = torch.zeros_like(raw)
        for row, truth in zip(rows, target, strict=True):
            one = largest(truth)
            if len(one):
                centre = xyxy_to_cxcywh(one.boxes)[0] / one.boxes.new_tensor([*truth.frame, *truth.frame])
                row[0], row[1:3], row[3:5] = 1, centre[:2], centre[2:].flip(0)
                row[5 + int(one.labels[0])] = 1
        return rows

    def claim(self, raw: Votes, about: Any = None) -> Claim[Votes]:
        """That there is something of a class (else of the likeliest): what Pc and that class say of it together."""
        said = raw.mean().detach()
        named = self.named(about)
        label = int(said[0, 5:].argmax()) if named is None else named

        def evidence(found: Votes) -> Tensor:
            rows = found.mean()
            if self.loss_name == "squared":
                return rows[:, 0] + rows[:, 5 + label]
            return functional.logsigmoid(rows[:, 0]) + rows[:, 5:].log_softmax(1)[:, label]

        return Claim(self.classes[label], evidence)

    def postprocess(self, raw: Votes, placements: Sequence[Placement]) -> list[ScoredBoxes]:
        """One box in pixels of each picture, or none."""
        said = raw.mean().detach()
        sure, kinds = self.sure(said)
        found = []
        for row, there, kind, placement in zip(said, sure, kinds, placements, strict=True):
            size = torch.tensor([*placement.frame, *placement.frame])
            box = placement.boxes_to_original(corners(row[None]) * size)
            score, label = kind.max(0)
            known = ScoredBoxes(box, (there * score)[None], label[None])
            found.append(known if float(there) >= THERE and bool(has_area(box).all()) else no_boxes())
        return found

    def tensors(self, raw: Votes, placement: Placement) -> dict[str, Tensor]:
        """The box of every picture that has one."""
        there, kinds = self.sure(raw.mean())
        places = placement.shares((corners(raw.mean()) * as_tensor(placement.frame, there).repeat(2)).reshape(-1, 2, 2)).reshape(-1, 4)
        score, label = kinds.max(1)
        found = ((there >= THERE) & has_area(places)).nonzero()[:, 0]
        return {"boxes": places[found], "scores": (there * score)[found], "labels": label[found], "pictures": found}

    def sure(self, said: Tensor) -> tuple[Tensor, Tensor]:
        """Of answers (B, 5 + classes): that there is an object (B,), and the share of every class (B, classes)."""
        if self.loss_name == "logistic":
            return said[:, 0].sigmoid(), said[:, 5:].softmax(1)
        return said[:, 0].clamp(0, 1), said[:, 5:].clamp(0, 1)

    def merge(self, predictions: Sequence[ScoredBoxes]) -> ScoredBoxes:
        """The mean box of those looks that found the class most of them found; none if most found none."""
        there = [found for found in predictions if len(found.boxes)]
        if 2 * len(there) < len(predictions) or not there:
            return no_boxes()
        labels = torch.cat([found.labels for found in there])
        label = labels.mode().values
        same = [found for found in there if int(found.labels[0]) == int(label)]
        boxes, scores = (torch.stack([getattr(found, name) for found in same]).mean(0) for name in ("boxes", "scores"))
        return ScoredBoxes(boxes, scores, label[None])

    def judge(self) -> Judge[ScoredBoxes, Objects]:
        """A fresh judge for this head's answers."""
        return PlaceJudge(self.classes)


def squared_error(raw: Tensor, wanted: Tensor) -> Tensor:
    """The notes' loss per picture (B,): the squared errors of all numbers where Pc is 1, of Pc alone where it is 0."""
    each = (raw - wanted) ** 2
    return torch.where(wanted[:, 0] == 1, each.sum(1), each[:, 0])


def box_loss(rows: Tensor, wanted: Tensor) -> Tensor:
    """Generalised IoU loss and absolute error of the boxes of rows (N, 5 + classes)."""
    said, true = corners(rows), corners(wanted)
    return cast(Tensor, generalized_box_iou_loss(said, true).mean() + functional.l1_loss(said, true))


def within(points: Tensor, boxes: Tensor) -> Tensor:
    """Which points (B, P, 2) of each picture lie in its box (B, 4): (B, P)."""
    return ((points > boxes[:, None, :2]) & (points < boxes[:, None, 2:])).all(2)


def corners(rows: Tensor) -> Tensor:
    """The boxes (B, 4) as xyxy of rows [Pc, bx, by, bh, bw, ...]."""
    return cxcywh_to_xyxy(torch.cat([rows[:, 1:3], rows[:, 3:5].flip(1)], dim=1))

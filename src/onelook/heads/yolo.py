"""Which objects, and where, on a grid: the cell with an object's centre answers for it, through the anchor whose shape suits it best.

Redmon et al. 2016, "You only look once"; anchors from k-means and coding as Redmon & Farhadi 2017 (YOLO9000, section 2), three scales as
Redmon & Farhadi 2018 (YOLOv3, section 2). Differs: generalised IoU as the box's loss; separable convolutions; the pyramid of
``pyramid.py``. With one stride and two anchors this is the course notes' form, each cell 2 x (Pc, bx, by, bh, bw, c1..cn):
``Yolo(classes, channels={"32": 320}, anchors=two)`` on an input of 96 pixels has 3 x 3 x 2 x 8 numbers for three classes; ``encode_grid``
writes such targets down.

    onelook train dataset/ --task detect --method yolo --name things --model mine.onelook
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss

from onelook.facts import Facts
from onelook.geometry.anchors import cells, cluster_shapes, shape_iou
from onelook.geometry.boxes import box_iou, cxcywh_to_xyxy
from onelook.geometry.objects import Objects
from onelook.heads.box_head import BoxHead
from onelook.heads.context import Context
from onelook.heads.options import NoOptions
from onelook.heads.pyramid import Pyramid, separable
from onelook.looks.features import Look, Needs

WIDTH, DEPTH = 64, 2
STRIDES = (8, 16, 32)
ANCHORS = 3  # a stride
NOT_BACKGROUND = 0.6  # IoU from which a box that answers for nothing is not called background
RARE = -4.6
BOX_WEIGHT, CLASS_WEIGHT = 5.0, 0.5
FACTS = 9  # of a row: cell's corner x, y, stride, anchor number, box, logit of Pc


class Yolo(BoxHead[Tensor]):
    """Look -> rows (B, cells x anchors, 9 + classes): cell's corner x, y, stride, anchor, box xyxy (input pixels), logit of Pc, logits of
    classes.

    ``anchors``: width and height in input pixels, ascending, an equal number per stride. Targets: ``Objects``.
    """

    method = "yolo"
    anchors: Tensor

    def __init__(
        self,
        classes: Sequence[str],
        *,
        channels: Mapping[str, int],
        anchors: Sequence[Sequence[float]],
        width: int = WIDTH,
        depth: int = DEPTH,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.width, self.depth = width, depth
        self.pyramid = Pyramid(channels, width)
        strides = self.pyramid.strides
        self.each = len(anchors) // len(strides)
        self.shapes = [list(map(float, shape)) for shape in anchors]
        self.register_buffer("anchors", torch.tensor(self.shapes).reshape(len(strides), self.each, 2), persistent=False)
        self.towers = nn.ModuleList([nn.Sequential(*(separable(width, width) for _ in range(depth))) for _ in strides])
        outputs = [nn.Conv2d(width, self.each * (5 + len(classes)), 1) for _ in strides]
        for output in outputs:
            bias = torch.zeros(self.each, 5 + len(classes))
            bias[:, 0] = RARE
            output.bias = nn.Parameter(bias.flatten())
        self.outputs = nn.ModuleList(outputs)

    @classmethod
    def fresh(cls, context: Context, options: NoOptions) -> "Yolo":
        """An untrained head whose anchors are the typical shapes of the examples' boxes; squares of some sizes where there are none."""
        channels = context.pick(STRIDES)
        boxes = [objects.learnable.boxes for objects in context.examples]
        shapes = torch.cat([box[:, 2:] - box[:, :2] for box in boxes]) if any(map(len, boxes)) else torch.full((1, 2), 16.0)
        return Yolo(context.classes, channels=channels, anchors=cluster_shapes(shapes, ANCHORS * len(channels)).round(decimals=1).tolist())

    @property
    def needs(self) -> Needs:
        return Needs(maps=self.pyramid.strides)

    def config(self) -> Facts:
        """Plain values that rebuild this head: ``Yolo(**config)``."""
        return {
            "classes": list(self.classes),
            "channels": self.pyramid.channels,
            "anchors": self.shapes,
            "width": self.width,
            "depth": self.depth,
        }

    def forward(self, look: Look) -> Tensor:
        look.require(self.needs)
        rows = []
        for index, (level, stride) in enumerate(zip(self.pyramid(look.maps), self.pyramid.strides, strict=True)):
            said = self.outputs[index](self.towers[index](level))
            batch, _, high, wide = said.shape
            said = said.view(batch, self.each, -1, high * wide).permute(0, 3, 1, 2)  # (B, cells, anchors, 5 + classes)
            corner = (cells(high, wide, stride).to(level) - stride / 2)[:, None].expand(-1, self.each, -1)
            shape = self.anchors[index].expand(high * wide, -1, -1)
            middle = corner + said[..., 1:3].sigmoid() * stride
            side = said[..., 3:5].clamp(-5, 5).exp() * shape
            boxes = cxcywh_to_xyxy(torch.cat([middle, side], dim=-1))
            number = torch.arange(self.each).to(level) + index * self.each
            facts = torch.cat([corner, torch.full_like(corner[..., :1], stride), number[:, None].expand(high * wide, -1, -1)], dim=-1)
            rows.append(torch.cat([facts.expand(batch, -1, -1, -1), boxes, said[..., :1], said[..., 5:]], dim=-1).flatten(1, 2))
        return torch.cat(rows, dim=1)

    def boxes_and_scores(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        return raw[..., 4:8], raw[..., 8:9].sigmoid() * raw[..., FACTS:].sigmoid()

    def loss(self, raw: Tensor, target: Sequence[Objects]) -> dict[str, Tensor]:
        """Cross entropy of Pc over all rows, of classes and generalised IoU of boxes over the rows that answer for an object."""
        wanted, weights, places, boxes, labels = [], [], [], [], []
        for index, (rows, truth) in enumerate(zip(raw.detach(), target, strict=True)):
            objects = truth.learnable
            mine = self.responsible(rows[:, :4], objects)
            answers = torch.zeros(len(rows))
            answers[mine] = 1
            near = box_iou(rows[:, 4:8], truth.boxes).amax(1) > NOT_BACKGROUND if len(truth) else torch.zeros(len(rows)).bool()
            wanted.append(answers)
            weights.append(1 - (near & (answers == 0)).float())
            places.append(mine + index * raw.shape[1])
            boxes.append(objects.boxes)
            labels.append(objects.labels)
        found = max(1, sum(map(len, labels)))
        entropy = functional.binary_cross_entropy_with_logits(raw[..., 8], torch.stack(wanted), torch.stack(weights), reduction="sum")
        said = raw.reshape(-1, raw.shape[2])[torch.cat(places)]
        kinds = functional.one_hot(torch.cat(labels), len(self.classes)).float()
        overlap = generalized_box_iou_loss(said[:, 4:8], torch.cat(boxes), reduction="sum")
        classes = functional.binary_cross_entropy_with_logits(said[:, FACTS:], kinds, reduction="sum")
        return {"object": entropy / found, "box": BOX_WEIGHT * overlap / found, "class": CLASS_WEIGHT * classes / found}

    @torch.no_grad()
    def responsible(self, facts: Tensor, objects: Objects) -> Tensor:
        """The row (N,) that answers for each object: best anchor by shape, and of its stride the cell with the object's centre.

        ``facts`` (A, 4): each row's cell corner, stride and anchor number. Of two objects with one row the later one has it.
        """
        if not len(objects):
            return torch.zeros(0, dtype=torch.long)
        middle, side = (objects.boxes[:, :2] + objects.boxes[:, 2:]) / 2, objects.boxes[:, 2:] - objects.boxes[:, :2]
        best = shape_iou(side, self.anchors.reshape(-1, 2)).argmax(1)
        apart = (facts[None, :, :2] + facts[None, :, 2:3] / 2 - middle[:, None]).abs().amax(2)  # the cell with the centre is the nearest
        apart = torch.where(facts[None, :, 3] == best[:, None], apart, torch.inf)
        return apart.argmin(1)


def encode_grid(objects: Objects, size: tuple[int, int], grid: tuple[int, int], anchors: Tensor, classes: int) -> Tensor:
    """The course notes' target: (rows, columns, anchors, 5 + classes) with Pc, bx, by, bh, bw and c1..cn for every cell and anchor.

    ``size``: width and height of the input. bx, by: the centre within its cell, 0..1 from the cell's top left corner; bh, bw in units of
    the cell and larger than 1 where the object is. An object belongs to the cell with its centre and the anchor (M, 2, pixels) of the
    best shape; all else is 0.
    """
    down, across = grid
    target = torch.zeros(down, across, len(anchors), 5 + classes)
    cell = torch.tensor([size[0] / across, size[1] / down])
    for box, label in zip(objects.boxes, objects.labels.tolist(), strict=True):
        side = box[2:] - box[:2]
        middle = (box[:2] + box[2:]) / 2 / cell
        column, row = (int(value) for value in middle.floor().clamp_min(0))
        column, row = min(column, across - 1), min(row, down - 1)
        place = target[row, column, int(shape_iou(side[None], anchors)[0].argmax())]
        place.zero_()
        place[0] = 1
        place[1:3] = middle - torch.tensor([column, row])
        place[3:5] = (side / cell).flip(0)
        place[5 + label] = 1
    return target

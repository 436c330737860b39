"""Two heads of another package, by the recipe in CONTRIBUTING.md: a method of ``classify``, and a task of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional

from onelook.answers.answer import Answer
from onelook.answers.labels import Label
from onelook.geometry.placement import Placement
from onelook.heads.base import AnswerOptions, Head, Usual
from onelook.heads.context import Context
from onelook.heads.options import option
from onelook.looks.features import Look, Needs
from onelook.metrics.classification import SingleLabelJudge
from onelook.metrics.regression import ValueJudge


@dataclass(frozen=True)
class PrototypeOptions:
    """``sharpness``: how fast a class's score falls with the distance from its prototype."""

    sharpness: float = option(4.0, "How fast scores fall with the distance from a prototype.", low=0.1, high=100.0)


class Prototype(Head[Tensor, Tensor, Tensor]):
    """What is it: the class whose prototype, a learned direction, is nearest to the embedding."""

    task, method = "classify", "prototype"
    learns_from = ("single",)
    question = "which of"
    usual = Usual(views=2, pictures_seen=1_000)
    Options = PrototypeOptions
    placed = False

    def __init__(self, classes: Sequence[str], *, inputs: int, sharpness: float = 4.0) -> None:
        super().__init__()
        self.classes, self.sharpness = tuple(classes), sharpness
        self.prototypes = nn.Parameter(torch.randn(len(classes), inputs))

    @classmethod
    def fresh(cls, context: Context, options: PrototypeOptions) -> "Prototype":
        return cls(context.classes, inputs=context.embedding_size, sharpness=options.sharpness)

    @property
    def needs(self) -> Needs:
        return Needs(embedding=True)

    def forward(self, look: Look) -> Tensor:
        look.require(self.needs)
        assert look.embedding is not None
        return self.sharpness * functional.normalize(look.embedding) @ functional.normalize(self.prototypes).T

    def loss(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": functional.cross_entropy(raw, target)}

    def postprocess(self, raw: Tensor, placements: Sequence[Placement]) -> list[Tensor]:
        return list(raw)

    def merge(self, predictions: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(predictions)).mean(0)

    def answer(self, prediction: Tensor, options: AnswerOptions = AnswerOptions()) -> Answer:
        shares = dict(zip(self.classes, prediction.softmax(0).tolist(), strict=True))
        best = max(shares, key=lambda name: shares[name])
        return Label(best, shares[best], shares)

    def judge(self) -> SingleLabelJudge:
        return SingleLabelJudge(self.classes)

    def config(self) -> dict[str, Any]:
        return {"classes": list(self.classes), "inputs": self.prototypes.shape[1], "sharpness": self.sharpness}


@dataclass(frozen=True)
class Mark(Answer):
    """A point in a picture, by its distances from the left and the top edge."""

    x: float
    y: float
    overlay = True

    def to_json(self) -> dict[str, Any]:
        return {"x": self.x, "y": self.y}

    def __str__(self) -> str:
        return f"at {self.x:.0f}, {self.y:.0f}"

    def draw(self, picture: Image.Image, grow: float = 1.0, colour: Any = None) -> Image.Image:
        picture = picture.copy()
        x, y = self.x * grow, self.y * grow
        ImageDraw.Draw(picture).ellipse([x - 6, y - 6, x + 6, y + 6], fill=colour or (255, 0, 0))
        return picture


class Pinpoint(Head[Tensor, Tensor, Tensor]):
    """Where is it: two numbers of a table, the place of something, read off the last map."""

    task = method = "pinpoint"
    learns_from = ("values",)
    question = "where lies"
    usual = Usual(views=1, recipe="none", pictures_seen=1_000)

    def __init__(self, classes: Sequence[str], *, channels: int, stride: int) -> None:
        super().__init__()
        self.classes, self.stride, self.channels = tuple(classes), stride, channels
        self.read = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 2))

    @classmethod
    def fresh(cls, context: Context, options: Any) -> "Pinpoint":
        (stride, channels), *_ = context.pick((32,)).items()
        return cls(context.classes, channels=channels, stride=int(stride))

    @property
    def needs(self) -> Needs:
        return Needs(maps=(self.stride,))

    def forward(self, look: Look) -> Tensor:
        look.require(self.needs)
        return 64 + 10 * self.read(look.maps[self.stride])

    def loss(self, raw: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"distance": (raw - target).abs().mean() / 10}

    def postprocess(self, raw: Tensor, placements: Sequence[Placement]) -> list[Tensor]:
        return list(raw)

    def merge(self, predictions: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(predictions)).mean(0)

    def answer(self, prediction: Tensor, options: AnswerOptions = AnswerOptions()) -> Mark:
        return Mark(*prediction.tolist())

    def truth(self, target: Any) -> Mark:
        return Mark(*map(float, target))

    def judge(self) -> ValueJudge:
        return ValueJudge(self.classes)

    def config(self) -> dict[str, Any]:
        return {"classes": list(self.classes), "channels": self.channels, "stride": self.stride}

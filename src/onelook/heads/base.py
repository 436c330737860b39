"""What a head is: the small network for one task. It reads a look, never pixels from a file, never the backbone.

A method is one class: its *facts* (class attributes) say what it does, what it learns from and how it is usually trained; its *options*
are a frozen dataclass; its *verbs* take a look to an answer. Everything else (training, files, command line, reports) is derived from
them; nothing outside knows a method by its name. CONTRIBUTING.md has the recipe for a new one.

    onelook train --help
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from torch import Tensor, nn

from onelook.answers.answer import Answer
from onelook.data.samples import Dataset
from onelook.errors import HeadError
from onelook.facts import Facts
from onelook.geometry.instances import How
from onelook.geometry.placement import Placement
from onelook.heads.context import Context
from onelook.heads.familiar import Familiar
from onelook.heads.options import NoOptions
from onelook.looks.features import Look, Needs
from onelook.metrics.judge import Judge

Raw = TypeVar("Raw")
Prediction = TypeVar("Prediction")
Target = TypeVar("Target")

Trainer = Literal["pooled", "dense", "region_svm", "identity"]
Embedder = Callable[[Tensor], Tensor]  # normalised crops (N, 3, H, W) -> embeddings (N, D)


@dataclass(frozen=True)
class Usual:
    """How a method is trained where nobody says otherwise; what measured best (docs/diary.md).

    ``views``: of each picture; ``recipe``: by which they are made. ``freeze``: what stays frozen; ``depths``: what is tried where a budget
    is given. ``pictures_seen``: over all epochs; ``epochs_in_time``: how many times as many epochs a budget may buy. ``batch``: pictures
    learned from at once, fewer where an epoch would have fewer than ``steps`` batches.
    """

    views: int = 4
    recipe: str = "light"
    freeze: str = "all"
    depths: tuple[str, ...] = ()
    pictures_seen: int = 4_000
    epochs_in_time: float = 1.0
    batch: int = 16
    steps: int = 0


@dataclass(frozen=True)
class AnswerOptions:
    """``conf``: the lowest score of a box that is an answer. ``instances``: how single objects are told apart, if at all.

    None: not asked for, so that what a head cannot do is an error only where it was.
    """

    conf: float | None = None
    instances: How | None = None

    def asked(self) -> tuple[str, ...]:
        """The names of those that were given."""
        return tuple(name for name in ("conf", "instances") if getattr(self, name) is not None)


@dataclass(frozen=True)
class Claim(Generic[Raw]):
    """One thing that an answer says, to be explained. ``name``: of what (a class, a point); ``detail``: what more is said of it.

    ``evidence``: raw outputs -> how strongly each picture's speak for it (B,), differentiable, as log odds where there are any.
    ``place``: where it lies, xyxy in the input's pixels, if anywhere.
    """

    name: str
    evidence: Callable[[Raw], Tensor]
    place: tuple[float, float, float, float] | None = None
    detail: str = ""

    @property
    def words(self) -> str:
        """The claim in a few words."""
        return f"{self.name} {self.detail}".strip()


class Head(nn.Module, ABC, Generic[Raw, Prediction, Target]):
    """One method of one task.

    Facts. ``task``: what it answers; ``method``: its name. ``learns_from``: kinds of targets (``onelook.data.kinds``). ``question``: the
    question it answers, in words before the classes' names. ``trainer``: how it is fitted: "pooled" (readout and penalty by
    cross-validation, or a fine-tuned tail), "dense" (gradient descent on cached looks), "region_svm" (crops and support vectors) or
    "identity" (pairs and triplets of pictures).
    ``placed``: whether answers have places in the picture. ``calibrated``: whether ``temperature`` makes probabilities of scores.
    ``large``: whether predictions are too large to be kept for many pictures. ``tiled``: whether it can look piece by piece.
    ``crops``: whether it looks at crops itself, through the network that ``bind`` gives it. ``answer_options``: which of
    ``AnswerOptions`` it knows. ``named_only``: whether it is taken only where its task is named, not read off the data.
    ``no_graph``: why its answers cannot be made by one graph of a network's operations, if so.
    ``by_identity``: whether it answers for classes that it has not learned from too, so that splits never part a class.
    ``familiar``: of a trained head, what tells pictures unlike those that it has learned from.
    """

    task: ClassVar[str]
    method: ClassVar[str]
    learns_from: ClassVar[tuple[str, ...]]
    question: ClassVar[str]
    trainer: ClassVar[Trainer] = "dense"
    usual: ClassVar[Usual] = Usual()
    Options: ClassVar[type] = NoOptions
    placed: ClassVar[bool] = True
    calibrated: ClassVar[bool] = False
    large: ClassVar[bool] = False
    tiled: ClassVar[bool] = False
    crops: ClassVar[bool] = False
    answer_options: ClassVar[tuple[str, ...]] = ()
    named_only: ClassVar[bool] = False
    by_identity: ClassVar[bool] = False
    no_graph: ClassVar[str] = ""

    classes: tuple[str, ...]
    familiar: Familiar | None
    temperature: float = 1.0  # what scores are divided by
    scale: float = 1.0  # pixels of the input for one of a training picture, of heads that look piece by piece

    def __init__(self) -> None:
        super().__init__()
        self.familiar = None

    @classmethod
    @abstractmethod
    def fresh(cls, context: Context, options: Any) -> "AnyHead":
        """An untrained head; ``options``: an instance of ``Options``."""

    @classmethod
    def input_size(cls, data: Dataset) -> int | None:
        """The input size in pixels of a new model for these pictures; None: the backbone's own."""
        return None

    @property
    @abstractmethod
    def needs(self) -> Needs:
        """What it reads of a look."""

    @property
    def reads(self) -> Needs:
        """What a prediction reads: ``needs``, and what tells unlike pictures."""
        return self.needs | Needs(embedding=self.familiar is not None)

    @abstractmethod
    def forward(self, look: Look) -> Raw:
        """Look at B pictures -> what the loss compares."""

    @abstractmethod
    def loss(self, raw: Raw, target: Any) -> dict[str, Tensor]:
        """Named terms of one sum. ``target``: a tensor (B, ...), or a sequence of what moves with a view, in input pixels."""

    @abstractmethod
    def postprocess(self, raw: Raw, placements: Sequence[Placement]) -> list[Prediction]:
        """One prediction a picture, in pixels of the original pictures: what is merged and judged."""

    @abstractmethod
    def merge(self, predictions: Sequence[Prediction]) -> Prediction:
        """Several looks' (or models') predictions for one picture as one."""

    @property
    def mirrors(self) -> bool:
        """Whether it can tell what it predicts in a mirror."""
        return True

    def mirror(self, prediction: Prediction, across: bool, down: bool, frame: tuple[int, int]) -> Prediction:
        """The prediction for the picture of size ``frame`` (width, height) whose left and right, top and bottom have changed places."""
        return prediction

    @abstractmethod
    def answer(self, prediction: Prediction, options: AnswerOptions = AnswerOptions()) -> Answer:
        """What a user reads of a prediction."""

    def truth(self, target: Target) -> Answer | None:
        """The right answer, where it can be drawn beside a wrong one."""
        return None

    def tensors(self, raw: Raw, placement: Placement) -> dict[str, Tensor]:
        """The answers to a whole batch of pictures that lie alike, as tensors, in operations that a graph can hold.

        One row a picture, or rows of all pictures together with ``pictures``, the number (M,) of each row's. Places are shares of what is
        shown of the picture, 0..1. Raises HeadError for a head whose answers are not made by such operations.
        """
        why = self.no_graph or "it does not say its answers as tensors"
        raise HeadError(f"a head by {self.method} cannot be exported: {why}")

    def unsuppressed(self, raw: Raw, placement: Placement) -> dict[str, Tensor]:
        """``tensors`` for programs that cannot suppress boxes: all of them, one row a picture; of other answers the same."""
        return self.tensors(raw, placement)

    def reading(self) -> Facts:
        """What else a program must know to read ``tensors``: the score from which a box is an answer, the distance up to which ..."""
        return {}

    @abstractmethod
    def judge(self) -> Judge[Prediction, Target]:
        """A fresh judge of predictions."""

    @abstractmethod
    def config(self) -> Facts:
        """Plain values that rebuild the untrained head: ``cls(**config)``."""

    def claim(self, raw: Raw, about: Any = None) -> Claim[Raw]:
        """What the first picture's answer says above all or, of ``about`` (a class, a point, another picture's raw output), says.

        Raises HeadError for what it does not answer, and for heads that cannot be asked why.
        """
        raise HeadError(f"a head by {self.method} cannot be asked why")

    # --- what wrappers change

    @property
    def core(self) -> "AnyHead":
        """The head itself, without a tail or an average around it: its class has the facts."""
        return self

    @property
    def tails(self) -> Sequence[nn.Module]:
        """The tails that it brings, none for a frozen head."""
        return ()

    def named(self, about: Any) -> int | None:
        """The number of the class or point of this name; None where none is given. Raises HeadError naming those there are."""
        if about is None:
            return None
        if about not in self.classes:
            raise HeadError(f"--about {about}: there is no such answer; there are {', '.join(self.classes[:20])}")
        return self.classes.index(about)

    def bind(self, network: Embedder) -> None:
        """Give it the network, if it looks at crops itself; it is not part of the head."""

    def looks_at(self, look: Look) -> list[int]:
        """How often the network looks at each picture of a look, or at parts of it."""
        return [1] * len(look)

    def answers(self, raw: Raw, placements: Sequence[Placement]) -> list[Answer]:
        """One answer a picture, straight from ``forward``'s result."""
        return [self.answer(prediction) for prediction in self.postprocess(raw, placements)]


AnyHead = Head[Any, Any, Any]

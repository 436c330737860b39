"""Heads: one file per method. A head reads a look, never pixels, never the backbone.

Adding one costs its file, its test, and its line in HEADS. What every head must do is ``Head``;
``tests/contract/test_heads.py`` holds every entry of HEADS to it.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from onelook.answers import Answer
from onelook.heads.classify import Classify
from onelook.heads.deeppose import DeepPose
from onelook.heads.facts import Facts
from onelook.heads.fast_rcnn import FastRcnn, SppNet
from onelook.heads.faster_rcnn import FasterRcnn
from onelook.heads.fcos import Fcos
from onelook.heads.heatmap import HeatMap
from onelook.heads.localize import Localize
from onelook.heads.overfeat import OverFeat
from onelook.heads.rcnn import Rcnn, Windows
from onelook.heads.regress import Regress
from onelook.heads.unet import UNet
from onelook.heads.unet2015 import FromPixels
from onelook.heads.yolo import Yolo
from onelook.look import Look, Needs, Placement


class Head(Protocol):
    """The names that heads agree on (they are ``nn.Module``s, not subclasses of this).

    ``vector``: raw answers are vectors (B, K), which can be averaged; else the head is an ``ObjectHead``.
    """

    task: str
    vector: bool
    classes: tuple[str, ...]
    temperature: float

    @property
    def needs(self) -> Needs: ...
    def __call__(self, look: Look) -> Any: ...
    def loss(self, raw: Any, target: Any) -> dict[str, Tensor]: ...
    def answer(self, raw: Any, placements: Sequence[Placement]) -> list[Answer]: ...
    def merge(self, raws: Any) -> Any: ...
    def judge(self) -> Any: ...
    def config(self) -> dict[str, Any]: ...


class ObjectHead(Head, Protocol):
    """A head that finds objects or points: ``find`` gives what is merged and judged, ``say`` what a user reads of it.

    ``mirrored``: the same as found in the mirror image of a picture of size ``frame``.

    Targets are one ``Objects`` a picture, in input pixels for ``loss``, in original pixels for the judge. ``fresh`` makes an untrained one.
    """

    def find(self, raw: Any, placements: Sequence[Placement]) -> list[Any]: ...
    def say(self, found: Any) -> Answer: ...
    def mirrored(self, found: Any, across: bool, down: bool, frame: tuple[int, int]) -> Any: ...


TASKS: dict[str, tuple[str, ...]] = {  # task -> its methods, the usual one first
    "classify": ("classify",),
    "regress": ("regress",),
    "localize": ("localize",),
    "keypoints": ("heatmap", "deeppose"),
    "detect": ("fcos", "yolo", "faster_rcnn", "fast_rcnn", "sppnet", "rcnn", "overfeat", "windows"),
    "segment": ("unet", "unet2015"),
}
KINDS = {  # task -> kinds of data that it learns from, see ``Dataset``
    "classify": ("single", "multi"),
    "regress": ("values",),
    "localize": ("objects",),
    "keypoints": ("points",),
    "detect": ("objects",),
    "segment": ("masks",),
}
HEADS: dict[str, type[nn.Module]] = {
    "classify": Classify,
    "regress": Regress,
    "localize": Localize,
    "heatmap": HeatMap,
    "deeppose": DeepPose,
    "fcos": Fcos,
    "yolo": Yolo,
    "faster_rcnn": FasterRcnn,
    "fast_rcnn": FastRcnn,
    "sppnet": SppNet,
    "rcnn": Rcnn,
    "overfeat": OverFeat,
    "windows": Windows,
    "unet": UNet,
    "unet2015": FromPixels,
}

__all__ = ["HEADS", "KINDS", "TASKS", "Classify", "Facts", "Head", "ObjectHead", "Regress"]

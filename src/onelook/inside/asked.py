"""A head asked why: from a picture's pixels to how strongly what a head says speaks for one thing, in one differentiable piece.

onelook explain mine.onelook photo.jpg
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onelook.backbones.backbone import Backbone
from onelook.data.pictures import read_bytes
from onelook.errors import HeadError
from onelook.geometry.placement import Placement
from onelook.heads.base import AnyHead, Claim
from onelook.heads.tail import Tail
from onelook.looks.extractor import Extractor, Pixels
from onelook.looks.features import Look, look_from
from onelook.model import Model

PLACED = 16  # stride of the maps that are read of heads whose answers have places; of others the coarsest (docs/diary.md)


@dataclass(frozen=True)
class Way:
    """From normalised pixels (B, 3, H, W) of one picture, or of what becomes of it, to a head's raw output.

    ``shared``: runs the backbone without gradients, as quickly as it can; ``regions``: those proposed in the picture, if it reads any.
    """

    backbone: Backbone
    head: AnyHead
    placement: Placement
    shared: Callable[[Tensor], tuple[Tensor, ...]]
    regions: Tensor | None = None

    def raw(self, outputs: Sequence[Tensor], x: Tensor) -> Any:
        """What the head says of the backbone's ``outputs`` for ``x``."""
        look = look_from(x, outputs, self.backbone.strides, [self.placement] * len(x), self.head.needs, self.backbone.embed)
        return self.head(self._with_regions(look))

    def _with_regions(self, look: Look) -> Look:
        return look if self.regions is None else replace(look, regions=self.regions.expand(len(look), -1, -1))

    @torch.no_grad()
    def quick(self, x: Tensor) -> Any:
        """The raw output, without gradients."""
        return self.raw(self.shared(x), x)


class Asked:
    """Normalised pixels (B, 3, H, W) -> evidence (B,) for a claim. ``x`` (1, 3, H, W): those of the picture; ``answer``: in words."""

    def __init__(self, way: Way, claim: Claim[Any], pixels: Pixels, x: Tensor, answer: str) -> None:
        self.way, self.claim, self.pixels, self.x, self.answer = way, claim, pixels, x, answer

    def __call__(self, x: Tensor) -> Tensor:
        """With gradients: torch runs everything."""
        return self.claim.evidence(self.way.raw(self.way.backbone(x), x))

    @torch.no_grad()
    def quick(self, x: Tensor) -> Tensor:
        """Without gradients."""
        return self.claim.evidence(self.way.quick(x))

    @property
    def layer(self) -> int:
        """The stride whose maps are read where nobody chooses."""
        strides = self.way.backbone.strides
        return PLACED if self.way.head.core.placed and PLACED in strides else strides[-1]

    def maps_at(self, stride: int) -> tuple[Tensor, Tensor]:
        """The maps of a stride (1, C, h, w) and the evidence's gradient with respect to them; only what lies behind runs in torch.

        Raises HeadError where several networks have maps there.
        """
        backbone, head = self.way.backbone, self.way.head
        place = backbone.strides.index(stride)
        tails = [tail for tail in head.tails if isinstance(tail, Tail)]
        own = [tail for tail in tails if tail.cut <= place]
        if len(own) > 1:
            raise HeadError(f"{len(own)} networks are averaged, which have no maps in common there; use --method occlusion")
        outputs = list(self.way.shared(self.x))
        if own:
            return self._in_tail(own[0], place - own[0].cut, outputs)
        outputs[place] = outputs[place].clone().requires_grad_()
        with torch.enable_grad():
            for index in range(place + 1, len(backbone.stages)):
                outputs[index] = backbone.stages[index](outputs[index - 1])
            outputs[-1] = outputs[len(backbone.stages) - 1]
            evidence = self.claim.evidence(self.way.raw(outputs, self.x))
        return _with_gradient(evidence, outputs[place])

    def _in_tail(self, tail: Tail, number: int, outputs: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps of a stage that the head has of its own."""
        kept: list[Tensor] = []
        handle = tail.stages[number].register_forward_hook(lambda *each: kept.append(each[2]))
        try:
            with torch.enable_grad():
                x = self.x if tail.cut else self.x.clone().requires_grad_()
                if tail.cut:
                    outputs[tail.cut - 1] = outputs[tail.cut - 1].clone().requires_grad_()
                evidence = self.claim.evidence(self.way.raw(outputs, x))
        finally:
            handle.remove()
        return _with_gradient(evidence, kept[0])

    def changed(self, change: Callable[[nn.Module], None]) -> "Asked":
        """The same question to copies of the network and of the head's own stages after a change; torch runs them."""
        backbone, head = deepcopy(self.way.backbone), deepcopy(self.way.head)
        for part in (backbone.stages, *head.tails):
            change(part)
        return Asked(replace(self.way, backbone=backbone, head=head, shared=backbone), self.claim, self.pixels, self.x, self.answer)


def ask(model: Model, name: str, path: Path, about: str | None = None, other: Path | None = None) -> Asked:
    """The question why head ``name`` says of a picture what it says above all, or says of ``about``, a class or a point.

    ``other``: the picture that it is compared with, of heads that compare two. Raises HeadError for what cannot be asked, PictureError.
    """
    head, extractor = model.head(name), model.extractor(model.geometry_of(name))
    pixels, x = _input(extractor, path)
    way = _way(extractor, head, pixels)
    subject: Any = about
    if head.core.crops:
        head.claim(None)  # says why not
    if other is not None:
        theirs, y = _input(extractor, other)
        subject = _way(extractor, head, theirs).quick(y)
    raw = way.quick(x)
    answer = str(head.answer(head.postprocess(raw, [pixels.placement])[0]))
    return Asked(way, head.claim(raw, subject), pixels, x, answer)


def _input(extractor: Extractor, path: Path) -> tuple[Pixels, Tensor]:
    (pixels,) = extractor.decode(path, *read_bytes(path))
    return pixels, extractor.input([pixels])


def _way(extractor: Extractor, head: AnyHead, pixels: Pixels) -> Way:
    regions = extractor.look([pixels], head.needs).regions if head.needs.regions else None

    def shared(x: Tensor) -> tuple[Tensor, ...]:
        return tuple(output.cpu().clone() for output in extractor.engine(x))

    return Way(extractor.backbone, head, pixels.placement, shared, regions)


def _with_gradient(evidence: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    (gradient,) = torch.autograd.grad(evidence.sum(), maps)
    return maps.detach().float(), gradient.float()

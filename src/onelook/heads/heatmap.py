"""Which points: a heat map for each, whose weighted mean is the point.

Tompson et al. 2014 ("Joint training of a convolutional network and a graphical model", section 3.1) for heat maps over several resolutions;
Sun et al. 2018 ("Integral human pose regression", section 2) for the point as the mean of its heat map. Differs: the map is a softmax
over cells, learned by cross entropy against a Gaussian beside the absolute error of its mean; when answering, the mean is taken near the
peak only, so that a second peak does not draw the point away.

    onelook train poses/ --task keypoints --name pose --model mine.onelook
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from onelook.facts import Facts
from onelook.geometry.anchors import cells
from onelook.geometry.objects import Layout, Objects, main_person
from onelook.geometry.placement import Placement, as_tensor
from onelook.heads.base import Claim, Usual
from onelook.heads.context import Context
from onelook.heads.keypoint_head import KeypointHead
from onelook.heads.options import NoOptions
from onelook.heads.pyramid import Pyramid, padding, separable
from onelook.looks.features import Look, Needs

WIDTH, DEPTH = 96, 3
STRIDES = (8, 16, 32)
SIGMA = 1.5  # of the Gaussian, in cells of the heat map
NEAR = 2.5  # cells around the peak over which the answer's mean is taken
POINT_WEIGHT = 2.0


@dataclass(frozen=True)
class Heat:
    """Logits (B, K, cells) over a map of h x w cells of ``stride`` pixels; minus infinity where a cell shows padding."""

    logits: Tensor
    size: tuple[int, int]
    stride: int


class HeatMap(KeypointHead[Heat]):
    """Look -> ``Heat``. Targets: ``Objects`` with key points, of which the largest counts."""

    method = "heatmap"
    usual = Usual(freeze="stride16")

    def __init__(
        self,
        classes: Sequence[str],
        *,
        pairs: Sequence[Sequence[int]] = (),
        skeleton: Sequence[Sequence[int]] = (),
        channels: Mapping[str, int],
        width: int = WIDTH,
    ) -> None:
        super().__init__()
        self.layout = Layout.of(classes, pairs, skeleton)
        self.classes = self.layout.names
        self.width = width
        self.pyramid = Pyramid(channels, width, finest=True)
        self.tower = nn.Sequential(*(separable(width, width, 5) for _ in range(DEPTH)))
        self.output = nn.Conv2d(width, len(classes), 1)

    @classmethod
    def fresh(cls, context: Context, options: NoOptions) -> "HeatMap":
        """An untrained head."""
        layout = context.layout or Layout(context.classes)
        return HeatMap(context.classes, pairs=layout.pairs, skeleton=layout.skeleton, channels=context.pick(STRIDES))

    @property
    def needs(self) -> Needs:
        return Needs(maps=self.pyramid.strides)

    def config(self) -> Facts:
        """Plain values that rebuild this head: ``HeatMap(**config)``."""
        return {**self.layout.config(), "channels": self.pyramid.channels, "width": self.width}

    def forward(self, look: Look) -> Heat:
        look.require(self.needs)
        level, stride = self.pyramid(look.maps)[0], self.pyramid.strides[0]
        logits = self.output(self.tower(level)).flatten(2)
        size = (level.shape[2], level.shape[3])
        return Heat(logits.masked_fill(padding(size, stride, look.placements)[:, None], -torch.inf), size, stride)

    def loss(self, raw: Heat, target: Sequence[Objects]) -> dict[str, Tensor]:
        """Cross entropy of the heat against a Gaussian around each labelled point, and the absolute error of its mean in cells."""
        people = [main_person(truth) for truth in target]
        rows = [index for index, person in enumerate(people) if person is not None]
        if not rows:
            return {"heat": raw.logits.nan_to_num(neginf=0.0).sum() * 0}
        truth = torch.stack([person for person in people if person is not None])
        known = truth[..., 2] > 0
        logits = raw.logits[rows][known]  # (points, cells)
        places, centres = truth[..., :2][known] / raw.stride, cells(*raw.size, 1)
        wanted = torch.exp(-(torch.cdist(places, centres) ** 2) / (2 * SIGMA**2)) * torch.isfinite(logits)
        wanted = wanted / wanted.sum(1, keepdim=True).clamp_min(1e-9)
        heat = -(wanted * logits.log_softmax(1).masked_fill(wanted == 0, 0)).sum(1).mean()
        mean = logits.softmax(1) @ centres
        return {"heat": heat, "point": POINT_WEIGHT * functional.l1_loss(mean, places) / max(raw.size)}

    def claim(self, raw: Heat, about: Any = None) -> Claim[Heat]:
        """Of a point (else of the surest) the log odds that it is where the heat has its peak, rather than elsewhere."""
        centres = cells(*raw.size, 1)
        shares = raw.logits[0].detach().softmax(1)
        near = torch.cdist(centres[shares.argmax(1)], centres) <= NEAR
        named = self.named(about)
        point = int((shares * near).sum(1).argmax()) if named is None else named

        def evidence(found: Heat) -> Tensor:
            heat = found.logits[:, point]
            return heat[:, near[point]].logsumexp(1) - heat[:, ~near[point]].logsumexp(1)

        x, y = (centres[shares[point].argmax()] * raw.stride).tolist()
        reach = NEAR * raw.stride
        return Claim(self.classes[point], evidence, (x - reach, y - reach, x + reach, y + reach))

    def postprocess(self, raw: Heat, placements: Sequence[Placement]) -> list[Tensor]:
        """Points (K, 3) of each picture in its own pixels: x, y, and the share of the heat near the peak."""
        return [
            torch.cat([placement.points_to_original(points), score], dim=1)
            for points, score, placement in zip(*self.peaks(raw), placements, strict=True)
        ]

    def tensors(self, raw: Heat, placement: Placement) -> dict[str, Tensor]:
        """Points (B, K, 3) as x, y, score."""
        points, score = self.peaks(raw)
        return {"points": torch.cat([points / as_tensor(placement.content, points), score], dim=2)}

    def peaks(self, raw: Heat) -> tuple[Tensor, Tensor]:
        """Points (B, K, 2) in input pixels, each the mean of the heat near its peak, and the share (B, K, 1) that lies there."""
        centres, heat = cells(*raw.size, 1), raw.logits.detach().softmax(2)
        apart = (centres[heat.argmax(2)][:, :, None] - centres).square().sum(3)  # (B, K, cells)
        local = heat * (apart <= NEAR**2)
        share = local.sum(2, keepdim=True)
        return (local[..., None] * centres).sum(2) / share.clamp_min(1e-9) * raw.stride, share

"""Which points: their coordinates by regression, all at once, from the last map or from the embedding.

Toshev & Szegedy 2014, "DeepPose: human pose estimation via deep neural networks", section 3.1. Differs: absolute instead of squared
error, coordinates as shares of the input, and a score for each point, which is how near its error is thought to be (Laplace: the scale of
the error is learned beside the point, Kendall & Gal 2017, section 3); no cascade.

    onelook train poses/ --task keypoints --method deeppose --name pose --model mine.onelook
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from onelook.facts import Facts
from onelook.geometry.objects import Layout, Objects, main_person
from onelook.geometry.placement import Placement, as_tensor
from onelook.heads.base import Claim
from onelook.heads.context import Context
from onelook.heads.keypoint_head import KeypointHead
from onelook.heads.options import option
from onelook.heads.pyramid import Pyramid, separable
from onelook.looks.features import Look, Needs

WIDTH, HIDDEN, GRID = 64, 512, 7
STRIDES = (16, 32)
NARROWEST, WIDEST = -5.0, 0.0  # logarithm of the scale of an error, in shares of the input
POINT_WEIGHT, SCALE_WEIGHT = 10.0, 0.1


Attach = Literal["conv", "embedding"]


@dataclass(frozen=True)
class DeepPoseOptions:
    """``attach``: behind the last convolution, or to the embedding."""

    attach: Attach = option("conv", "What a head of one box or of key points reads.")


class GridMean(nn.Module):
    """A map (B, C, h, w) -> the means (B, C, cells, cells) over a grid, as ``nn.AdaptiveAvgPool2d`` has them.

    While a graph of free sizes is traced, which cannot hold that, as a product with the share of every row and column in every cell.
    """

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, x: Tensor) -> Tensor:
        if not torch.onnx.is_in_onnx_export():
            return functional.adaptive_avg_pool2d(x, self.cells)
        rows, columns = (self.shares(torch.arange(side)).to(x) for side in x.shape[2:])
        return rows @ x @ columns.T

    def shares(self, places: Tensor) -> Tensor:
        """How much (cells, n) each of n places counts in the mean of each cell."""
        count, cell = places.shape[0], torch.arange(self.cells)[:, None]
        first, end = cell * count // self.cells, ((cell + 1) * count + self.cells - 1) // self.cells
        within = (places >= first) & (places < end)
        return within / within.sum(1, keepdim=True)


class DeepPose(KeypointHead[Tensor]):
    """Look -> (B, K, 3): x, y as shares of the picture's own input (``Placement.frame``) and the logarithm of the error's scale.

    Targets: ``Objects`` with key points.
    """

    method = "deeppose"
    Options = DeepPoseOptions

    def __init__(
        self,
        classes: Sequence[str],
        *,
        pairs: Sequence[Sequence[int]] = (),
        skeleton: Sequence[Sequence[int]] = (),
        attach: Attach = "conv",
        channels: Mapping[str, int],
        inputs: int,
    ) -> None:
        super().__init__()
        self.layout = Layout.of(classes, pairs, skeleton)
        self.classes = self.layout.names
        self.attach, self.inputs = attach, inputs
        self.channels = dict(channels)
        if attach == "conv":
            self.pyramid = Pyramid(self.channels, WIDTH, finest=True)
            self.grid = nn.Sequential(separable(WIDTH, WIDTH), GridMean(GRID), nn.Flatten())
        width = WIDTH * GRID * GRID if attach == "conv" else inputs
        self.dense = nn.Sequential(
            nn.BatchNorm1d(width),
            nn.Dropout(0.2),
            nn.Linear(width, HIDDEN),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(HIDDEN, 3 * len(classes)),
        )

    @classmethod
    def fresh(cls, context: Context, options: DeepPoseOptions) -> "DeepPose":
        """An untrained head."""
        layout = context.layout or Layout(context.classes)
        return DeepPose(
            context.classes, pairs=layout.pairs, skeleton=layout.skeleton, attach=options.attach, channels=context.pick(STRIDES),
            inputs=context.embedding_size,
        )  # fmt: skip

    @property
    def needs(self) -> Needs:
        return Needs(maps=self.pyramid.strides) if self.attach == "conv" else Needs(embedding=True)

    def config(self) -> Facts:
        """Plain values that rebuild this head: ``DeepPose(**config)``."""
        return {**self.layout.config(), "attach": self.attach, "channels": self.channels, "inputs": self.inputs}

    def forward(self, look: Look) -> Tensor:
        look.require(self.needs)
        read = self._over_frames(look) if self.attach == "conv" else cast(Tensor, look.embedding)
        said = cast(Tensor, self.dense(read)).unflatten(1, (-1, 3))
        scale = NARROWEST + (WIDEST - NARROWEST) * said[..., 2:].sigmoid()
        return torch.cat([said[..., :2] + 0.5, scale], dim=2)

    def _over_frames(self, look: Look) -> Tensor:
        """What the grid reads (B, D), of each picture over its own input, not over what its batch was filled up with."""
        level, stride = self.pyramid(look.maps)[0], self.pyramid.strides[0]
        frames = [placement.frame for placement in look.placements]
        if len(set(frames)) == 1:
            wide, high = frames[0]
            return cast(Tensor, self.grid(level[:, :, : high // stride, : wide // stride]))
        convolved = self.grid[0](level)
        parts = [
            self.grid[1:](one[None, :, : high // stride, : wide // stride]) for one, (wide, high) in zip(convolved, frames, strict=True)
        ]
        return torch.cat(parts)

    def loss(self, raw: Tensor, target: Sequence[Objects]) -> dict[str, Tensor]:
        """The absolute error of labelled points, and the negative logarithm of the Laplace density of that error."""
        points, scales, nothing = [], [], raw.sum() * 0
        for said, truth in zip(raw, target, strict=True):
            person = main_person(truth)
            if person is not None:
                known = person[:, 2] > 0
                distance = (said[known, :2] - person[known, :2] / person.new_tensor(truth.frame)).abs().sum(1)
                points.append(distance.mean())
                scales.append((distance.detach() / said[known, 2].exp() + 2 * said[known, 2]).mean())
        count = max(1, len(points))
        return {"points": POINT_WEIGHT * sum(points, nothing) / count, "scales": SCALE_WEIGHT * sum(scales, nothing) / count}

    def claim(self, raw: Tensor, about: Any = None) -> Claim[Tensor]:
        """Of a point (else of the surest) how sure its place is: minus the logarithm of the error that is expected."""
        named = self.named(about)
        point = int(raw[0, :, 2].argmin()) if named is None else named
        return Claim(self.classes[point], lambda found: -found[:, point, 2])

    def tensors(self, raw: Tensor, placement: Placement) -> dict[str, Tensor]:
        """Points (B, K, 3) as x, y, score; x and y may lie outside of 0..1."""
        points = raw[..., :2] * as_tensor(placement.frame, raw) / as_tensor(placement.content, raw)
        return {"points": torch.cat([points, torch.exp(-raw[..., 2:].exp() / 0.05)], dim=2)}

    def postprocess(self, raw: Tensor, placements: Sequence[Placement]) -> list[Tensor]:
        """Points (K, 3) of each picture in its own pixels: x, y, and a score that falls with the error that is expected."""
        found = []
        for said, placement in zip(raw.detach(), placements, strict=True):
            points = placement.points_to_original(said[:, :2] * said.new_tensor(placement.frame))
            score = torch.exp(-said[:, 2:].exp() / 0.05)
            found.append(torch.cat([points, score], dim=1))
        return found

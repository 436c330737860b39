"""What heads that say what every pixel is have in common: losses, from scores over the input to shares over the picture, their judge.

The softmax is taken pixel by pixel, h x w of them (Ronneberger et al. 2015, section 3). Losses are named terms of one sum: cross entropy
with weights for classes and, for touching objects, for the gaps between them (the same section); Dice (Milletari et al. 2016, V-Net,
equation 3, in its several-class form); focal (Lin et al. 2017, "Focal loss for dense object detection").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from onelook.answers.segmentation import Segmentation
from onelook.data.samples import Dataset, mask_of
from onelook.errors import HeadError
from onelook.geometry.masks import IGNORE, Mask, ProbabilityMap
from onelook.geometry.placement import Placement
from onelook.heads.base import AnswerOptions, Claim, Head
from onelook.heads.options import option
from onelook.metrics.judge import Judge
from onelook.metrics.pixels import PixelJudge

Loss = Literal["ce", "dice", "focal"]  # dice: beside the cross entropy
LEAST_SIZE, MOST_SIZE = 320, 512  # pixels of a new model's input, by how large the pictures are
W0, SIGMA = 10.0, 5.0  # of the border weight map, as in the paper; sigma in pixels of the input
FOCUS = 2.0
EVEN = 0.2  # how far class weights go from 0 (all alike) to 1 (every class weighs the same in all); best on CamVid's validation side


@dataclass(frozen=True)
class Scores:
    """Logits (B, K, h, w), a cell for ``stride`` pixels of the input."""

    logits: Tensor
    stride: int


@dataclass(frozen=True)
class PixelOptions:
    """How pixels are learned. ``borders``: gaps between touching objects weigh more, as in the U-Net paper."""

    loss: Loss = option("ce", "Of pixels: cross entropy, with Dice beside it, or focal.")
    borders: bool = option(False, "Let gaps between touching objects weigh more.")


class PixelHead(Head[Scores, ProbabilityMap, Mask]):
    """The verbs of a head that says what pixels are; it brings ``weights`` (K,) of classes, ``kind`` of loss, ``borders`` and ``scale``.

    Targets: masks (H, W) over the input for ``loss``, a ``Mask`` for the judge.
    """

    task = "segment"
    learns_from = ("masks",)
    question = "which pixels are"
    large = True
    tiled = True
    answer_options = ("instances",)
    weights: Tensor
    kind: Loss
    borders: bool

    @classmethod
    def input_size(cls, data: Dataset) -> int | None:
        """As large as the pictures, within bounds."""
        if not len(data):
            return None
        longer = median(max(mask_of(sample).size) for sample in data.samples)
        return min(MOST_SIZE, max(LEAST_SIZE, 32 * round(longer / 32)))

    def weigh(self, masks: Sequence[Mask]) -> None:
        """Set the weights of classes by how many pixels of the training masks show each; all alike without masks."""
        counts = [sum(column) for column in zip(*(mask.pixels for mask in masks), strict=True)] or [1] * len(self.classes)
        self.weights.copy_(class_weights(counts))

    def loss(self, raw: Scores, target: Sequence[Tensor]) -> dict[str, Tensor]:
        """Targets: class ids (H, W) of the input's pixels, IGNORE where none is known.

        Scores of coarser cells are compared at every second pixel, first or second by chance: always the same would shift them by half
        of one.
        """
        masks = torch.stack(list(target))
        weight = torch.stack([border_weights(mask) for mask in masks]) if self.borders else None
        if raw.stride > 1:
            top, left = torch.randint(2, (2,)).tolist()
            masks = masks[:, top::2, left::2]
            weight = None if weight is None else weight[:, top::2, left::2]
        masks = masks.long()
        logits = functional.interpolate(raw.logits.float(), size=masks.shape[-2:], mode="bilinear", align_corners=False)
        return pixel_losses(logits, masks, self.kind, self.weights, weight)

    def postprocess(self, raw: Scores, placements: Sequence[Placement]) -> list[ProbabilityMap]:
        """The probability of each class in every place of each picture."""
        logits = raw.logits.detach().float()
        return [
            ProbabilityMap(_over_picture(one, raw.stride, place).softmax(0).half(), place.original)
            for one, place in zip(logits, placements, strict=True)
        ]

    def tensors(self, raw: Scores, placement: Placement) -> dict[str, Tensor]:
        """The likeliest class (B, h, w) uint8 of every pixel of the input that shows the picture, and its share (B, h, w)."""
        logits = functional.interpolate(raw.logits.float(), scale_factor=float(raw.stride), mode="bilinear", align_corners=False)
        share, label = logits[:, :, : placement.content[1], : placement.content[0]].softmax(1).max(1)
        return {"mask": label.to(torch.uint8), "sure": share}

    def answer(self, prediction: ProbabilityMap, options: AnswerOptions = AnswerOptions()) -> Segmentation:
        """A ``Segmentation`` of the picture in its own size, with single objects if asked."""
        label, share = prediction.surest()
        found = Segmentation(label.numpy(), share.numpy(), self.classes)
        return found if options.instances is None else found.with_instances(options.instances)

    def truth(self, target: Mask) -> Segmentation:
        """The labelled pixels."""
        mask = target.read()
        return Segmentation(mask.numpy(), torch.zeros_like(mask).numpy(), self.classes)

    def claim(self, raw: Scores, about: Any = None) -> Claim[Scores]:
        """Of a class (else the one with most pixels behind the first) its mean log odds over the pixels that are it."""
        said = raw.logits[0].detach().float()
        counts = torch.bincount(said.argmax(0).flatten(), minlength=len(self.classes))
        named = self.named(about)
        number = (
            (int(counts[1:].argmax()) + 1 if len(counts) > 1 and counts[1:].any() else int(counts.argmax())) if named is None else named
        )
        if not counts[number]:
            raise HeadError(f"--about {self.classes[number]}: no pixel is; there are {', '.join(self._found(counts))}")
        where = said.argmax(0) == number
        others = torch.arange(len(self.classes)) != number

        def evidence(found: Scores) -> Tensor:
            logits = found.logits.float()
            odds = logits[:, number] - logits[:, others].logsumexp(1)
            return odds[:, where].mean(1)

        rows, columns = where.any(1).nonzero().flatten(), where.any(0).nonzero().flatten()
        ends = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        left, top, right, bottom = (float(end * raw.stride) for end in ends)
        share = float(where.float().mean())
        return Claim(self.classes[number], evidence, (left, top, right, bottom), f"in {share:.0%} of the pixels")

    def _found(self, counts: Tensor) -> list[str]:
        return [name for name, count in zip(self.classes, counts.tolist(), strict=True) if count]

    def mirror(self, prediction: ProbabilityMap, across: bool, down: bool, frame: tuple[int, int]) -> ProbabilityMap:
        """The same in a picture whose sides have changed places."""
        axes = [axis for axis, turned in ((2, across), (1, down)) if turned]
        return ProbabilityMap(prediction.values.flip(axes), prediction.size)

    def merge(self, predictions: Sequence[ProbabilityMap]) -> ProbabilityMap:
        """The mean of several looks' probabilities, on the finest of their grids."""
        finest = max((one.values.shape[1:] for one in predictions), key=lambda shape: shape[0] * shape[1])
        grown = [
            functional.interpolate(one.values[None].float(), size=finest, mode="bilinear", align_corners=False)[0] for one in predictions
        ]
        return ProbabilityMap(torch.stack(grown).mean(0).half(), predictions[0].size)

    def judge(self) -> Judge[ProbabilityMap, Mask]:
        """A fresh judge for this head's answers."""
        return PixelJudge(self.classes)


def class_weights(pixels: Sequence[int], even: float = EVEN) -> Tensor:
    """Weights (K,) of classes by how many pixels show each: its share to the power -``even``, so scaled that the mean over pixels is 1.

    A class without pixels weighs 0.
    """
    counts = torch.tensor(pixels, dtype=torch.float64)
    weights = torch.where(counts > 0, counts.clamp_min(1) ** -even, 0.0)
    return (weights * counts.sum() / (weights * counts).sum().clamp_min(1e-12)).float()


def pixel_losses(logits: Tensor, masks: Tensor, kind: Loss, weights: Tensor, weight: Tensor | None = None) -> dict[str, Tensor]:
    """Loss terms of logits (B, K, h, w) against class ids (B, h, w) int64 with IGNORE; ``weight`` (B, h, w): of each pixel."""
    known = masks != IGNORE
    if not bool(known.any()):
        return {"pixels": logits.sum() * 0}
    each = functional.cross_entropy(logits, masks, weight=weights, ignore_index=IGNORE, reduction="none")
    if kind == "focal":
        plain = functional.cross_entropy(logits, masks, ignore_index=IGNORE, reduction="none")
        each = each * (1 - (-plain).exp()) ** FOCUS
    if weight is not None:
        each = each * weight
    losses = {"pixels": each.sum() / known.sum()}
    if kind == "dice":
        losses["dice"] = dice_loss(logits.softmax(1), masks)
    return losses


def dice_loss(shares: Tensor, masks: Tensor) -> Tensor:
    """One minus the mean Dice over the classes that a batch shows, of shares (B, K, h, w) against class ids (B, h, w) with IGNORE."""
    known = masks != IGNORE
    hard = functional.one_hot(masks.where(known, torch.zeros_like(masks)), shares.shape[1]).permute(0, 3, 1, 2) * known[:, None]
    soft = shares * known[:, None]
    both, true = (soft * hard).sum((0, 2, 3)), hard.sum((0, 2, 3))
    dice = (2 * both + 1) / (soft.sum((0, 2, 3)) + true + 1)
    return 1 - dice[true > 0].mean()


def border_weights(mask: Tensor, w0: float = W0, sigma: float = SIGMA) -> Tensor:
    """1 + w0 exp(-(d1 + d2)^2 / 2 sigma^2) for pixels of class 0 (H, W): d1 and d2 are the distances to the two nearest objects.

    Ronneberger et al. 2015, equation 2. Objects are the connected regions of classes other than 0; elsewhere the weight is 1.
    """
    values = mask.numpy()
    regions, count = objects_in(values)
    reach = int(np.ceil(6 * sigma))
    first = np.full(values.shape, np.inf, dtype=np.float32)
    second = first.copy()
    for number, place in enumerate(ndimage.find_objects(regions, count), start=1):
        near = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in place)
        distance = ndimage.distance_transform_edt(regions[near] != number).astype(np.float32)
        closer = distance < first[near]
        second[near] = np.where(closer, first[near], np.minimum(second[near], distance))
        first[near] = np.minimum(first[near], distance)
    between = np.exp(-((first + second) ** 2) / (2 * sigma**2)) * (values == 0)
    return torch.from_numpy(1 + w0 * between.astype(np.float32))


def objects_in(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Connected regions (H, W) of equal classes other than 0, numbered from 1, and how many there are."""
    regions, count = np.zeros(mask.shape, dtype=np.int32), 0
    for label in np.unique(mask):
        if label not in (0, IGNORE):
            found, more = ndimage.label(mask == label)
            regions = np.where(found > 0, found + count, regions)
            count += more
    return regions, count


def _over_picture(logits: Tensor, stride: int, place: Placement) -> Tensor:
    """Logits (K, h, w) over the input -> (K, h', w') over exactly what shows the picture; where cells fit it, they are the same."""
    _, high, wide = logits.shape
    # the picture's corners, in cells: all of it for fit and stretch; a crop shows its middle only, and the rest repeats the edge
    left, top = (-offset / stride for offset in place.offset)
    right = (place.original[0] * place.scale[0] - place.offset[0]) / stride
    bottom = (place.original[1] * place.scale[1] - place.offset[1]) / stride
    columns, rows = max(1, round(right - left)), max(1, round(bottom - top))
    if (left, top, columns, rows) == (0, 0, right, bottom):
        return logits[:, :rows, :columns]
    seen = (place.content[0] / stride, place.content[1] / stride)
    xs = (left + (torch.arange(columns) + 0.5) * (right - left) / columns).clamp(0.5, max(0.5, seen[0] - 0.5))
    ys = (top + (torch.arange(rows) + 0.5) * (bottom - top) / rows).clamp(0.5, max(0.5, seen[1] - 0.5))
    grid = torch.stack([(xs / wide * 2 - 1).expand(rows, -1), (ys / high * 2 - 1)[:, None].expand(-1, columns)], dim=-1)
    return functional.grid_sample(logits[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0]

"""Regions that may hold an object, whatever it is, from the pixels alone: selective search.

Uijlings et al. 2013, "Selective search for object recognition", sections 3 and 4 (its fast setting): segments (Felzenszwalb & Huttenlocher
2004, by scikit-image) that are alike in colour, texture and size and fill each other are joined step by step, and the box around each is
a proposal; two colour spaces, two scales of segments, with and without colour. Differs: a picture of at most 256 pixels is searched;
texture is a histogram of gradients by eight directions; boxes that are nearly the same count once, and of too many an even choice over all
sizes is kept, so that equal pixels give equal boxes.

    onelook train dataset/ --task detect --method fast_rcnn --name things --model mine.onelook
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional
from torchvision.ops import nms

LONGEST = 256  # pixels of the longer side that is searched
SMALLEST = 6  # pixels of a side there
SAME = 0.8  # IoU from which two boxes are nearly the same
SCALES, SIGMA, LEAST = (150.0, 300.0), 0.8, 100  # of the first segments: larger scales give larger ones; pixels of the smallest
COLOURS, ANGLES, STRENGTHS = 25, 8, 10  # bins of histograms


def selective_search(pixels: Tensor, count: int) -> Tensor:
    """``count`` boxes (count, 4) xyxy in pixels of the picture (3, h, w), bytes RGB; those that are lacking are zeros.

    Equal pixels give equal boxes.
    """
    high, wide = pixels.shape[1:]
    factor = min(1.0, LONGEST / max(high, wide))
    small = functional.interpolate(pixels[None].float(), scale_factor=factor, mode="area")[0] if factor < 1 else pixels.float()
    found = torch.zeros(count, 4)
    if min(small.shape[1:]) < 2 * SMALLEST:
        found[0] = torch.tensor([0.0, 0.0, wide, high])
        return found
    boxes = torch.from_numpy(regions(small.round().byte().permute(1, 2, 0).numpy())).float()
    boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) >= SMALLEST).all(1)]
    kept = boxes[nms(boxes, (boxes[:, 2:] - boxes[:, :2]).prod(1), SAME)]  # the larger of two that are nearly the same
    if len(kept) > count:
        kept = kept[torch.linspace(0, len(kept) - 1, count).round().long()]  # of all sizes
    found[: len(kept)] = kept * torch.tensor([wide / small.shape[2], high / small.shape[1]]).repeat(2)
    return found


def regions(picture: np.ndarray) -> np.ndarray:
    """The boxes (N, 4) xyxy of all segments and of all that they are joined to, each once, of a picture (h, w, 3) of bytes, RGB."""
    from skimage.color import rgb2hsv, rgb2lab
    from skimage.segmentation import felzenszwalb

    lab = rgb2lab(picture)
    spaces = (rgb2hsv(picture), np.clip((lab + np.array([0, 128, 128])) / np.array([100, 255, 255]), 0, 1))
    boxes = []
    for space in spaces:
        for scale in SCALES:
            segments = felzenszwalb(space, scale=scale, sigma=SIGMA, min_size=LEAST)
            for colour in (True, False):
                boxes.append(_grouped(_described(space, segments), _neighbours(segments), segments.size, colour))
    return np.unique(np.concatenate(boxes), axis=0)


@dataclass
class _Region:
    """``box``: xyxy; ``colour``, ``texture``: histograms that sum to 1 each."""

    size: float
    box: np.ndarray
    colour: np.ndarray
    texture: np.ndarray

    def joined(self, other: "_Region") -> "_Region":
        """Both as one."""
        whole = self.size + other.size
        box = np.concatenate([np.minimum(self.box[:2], other.box[:2]), np.maximum(self.box[2:], other.box[2:])])
        mine, theirs = self.size / whole, other.size / whole
        return _Region(whole, box, mine * self.colour + theirs * other.colour, mine * self.texture + theirs * other.texture)

    def likeness(self, other: "_Region", total: int, colour: bool) -> float:
        """The paper's similarity: equations 2 to 5."""
        box = np.concatenate([np.minimum(self.box[:2], other.box[:2]), np.maximum(self.box[2:], other.box[2:])])
        around = float((box[2] - box[0]) * (box[3] - box[1]))
        size = 1 - (self.size + other.size) / total
        fill = 1 - (around - self.size - other.size) / total
        texture = float(np.minimum(self.texture, other.texture).sum())
        return size + fill + texture + (float(np.minimum(self.colour, other.colour).sum()) if colour else 0.0)


def _described(space: np.ndarray, segments: np.ndarray) -> list[_Region]:
    """Every segment with its box and histograms; ``space``: the picture's colours, 0..1."""
    count = int(segments.max()) + 1
    flat = segments.ravel()
    sizes = np.bincount(flat, minlength=count).astype(np.float64)
    colours, textures = [], []
    for channel in range(space.shape[2]):
        values = np.minimum((space[..., channel] * COLOURS).astype(np.int64), COLOURS - 1).ravel()
        colours.append(np.bincount(flat * COLOURS + values, minlength=count * COLOURS).reshape(count, COLOURS))
        down, across = (ndimage.gaussian_filter(space[..., channel], 1.0, order=order) for order in ((1, 0), (0, 1)))
        strength = np.minimum((np.hypot(down, across) * 4 * STRENGTHS).astype(np.int64), STRENGTHS - 1)
        angle = ((np.arctan2(down, across) + np.pi) / (2 * np.pi) * ANGLES).astype(np.int64) % ANGLES
        bins = (angle * STRENGTHS + strength).ravel()
        textures.append(np.bincount(flat * ANGLES * STRENGTHS + bins, minlength=count * ANGLES * STRENGTHS).reshape(count, -1))
    colour, texture = (np.concatenate(parts, axis=1) for parts in (colours, textures))
    colour, texture = (part / part.sum(1, keepdims=True).clip(1) for part in (colour, texture))
    places = ndimage.find_objects(segments + 1)
    boxes = [np.array([place[1].start, place[0].start, place[1].stop, place[0].stop], dtype=np.float64) for place in places]
    return [_Region(sizes[index], boxes[index], colour[index], texture[index]) for index in range(count)]


def _neighbours(segments: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of segments that touch."""
    found: set[tuple[int, int]] = set()
    for one, other in ((segments[:, :-1], segments[:, 1:]), (segments[:-1], segments[1:])):
        apart = one != other
        pairs = np.unique(np.sort(np.stack([one[apart], other[apart]]), axis=0), axis=1)
        found |= {(int(a), int(b)) for a, b in pairs.T}
    return found


def _grouped(parts: list[_Region], touching: set[tuple[int, int]], total: int, colour: bool) -> np.ndarray:
    """The boxes (N, 4) of the segments and of all that they become when the likest neighbours are joined until one is left."""
    all_regions = dict(enumerate(parts))
    around: dict[int, set[int]] = {index: set() for index in all_regions}
    likeness: dict[tuple[int, int], float] = {}
    for a, b in sorted(touching):
        around[a].add(b)
        around[b].add(a)
        likeness[a, b] = parts[a].likeness(parts[b], total, colour)
    while likeness:
        a, b = max(likeness, key=lambda pair: (likeness[pair], pair))
        new = len(all_regions)
        all_regions[new] = all_regions[a].joined(all_regions[b])
        near = (around.pop(a) | around.pop(b)) - {a, b}
        for pair in [pair for pair in likeness if a in pair or b in pair]:
            del likeness[pair]
        around[new] = near
        for other in sorted(near):
            around[other] = (around[other] - {a, b}) | {new}
            likeness[other, new] = all_regions[other].likeness(all_regions[new], total, colour)
    return np.stack([region.box for region in all_regions.values()])

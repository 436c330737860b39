"""Regions that may hold an object, whatever it is, from the pixels alone: selective search, by OpenCV (extra ``regions``).

Uijlings et al. 2013, "Selective search for object recognition", section 4: segments that are alike in colour, texture and size are
joined step by step, and the box around each is a proposal. Differs: OpenCV's fast setting, on a picture of at most 256 pixels; boxes that
are nearly the same count once, and of too many an even choice over all sizes is kept, so that equal pixels give equal boxes.

    python -c "import torch; from onelook.proposals import propose; print(propose(torch.zeros(3, 64, 64, dtype=torch.uint8), 9))"
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import nms

from onelook.boxes import xywh_to_xyxy
from onelook.errors import OnelookError

LONGEST = 256  # pixels of the longer side that is searched
SMALLEST = 6  # pixels of a side there
SAME = 0.8  # IoU from which two boxes are nearly the same


def propose(pixels: Tensor, count: int) -> Tensor:
    """``count`` boxes (count, 4) xyxy in pixels of the picture (3, h, w), bytes RGB; those that are lacking are zeros.

    Equal pixels give equal boxes. Raises OnelookError where OpenCV's contributed modules are not installed.
    """
    search = _search()
    high, wide = pixels.shape[1:]
    factor = min(1.0, LONGEST / max(high, wide))
    small = functional.interpolate(pixels[None].float(), scale_factor=factor, mode="area")[0] if factor < 1 else pixels.float()
    found = torch.zeros(count, 4)
    if min(small.shape[1:]) < 2 * SMALLEST:
        found[0] = torch.tensor([0.0, 0.0, wide, high])
        return found
    search.setBaseImage(small.round().byte().permute(1, 2, 0).flip(2).contiguous().numpy())
    search.switchToSelectiveSearchFast()
    boxes = torch.from_numpy(search.process()).float()[:, :4]  # x, y, width, height, in an order that OpenCV draws at random
    boxes = boxes[(boxes[:, 2:] >= SMALLEST).all(1)]
    boxes = xywh_to_xyxy(boxes[torch.from_numpy(np.lexsort(boxes.T.numpy()))])
    kept = boxes[nms(boxes, (boxes[:, 2:] - boxes[:, :2]).prod(1), SAME)]  # the larger of two that are nearly the same
    if len(kept) > count:
        kept = kept[torch.linspace(0, len(kept) - 1, count).round().long()]  # of all sizes
    found[: len(kept)] = kept * torch.tensor([wide / small.shape[2], high / small.shape[1]]).repeat(2)
    return found


def _search() -> Any:
    try:
        import cv2

        return cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    except (ImportError, AttributeError) as error:
        raise OnelookError('selective search needs OpenCV with its contributed modules; run: pip install "onelook[regions]"') from error

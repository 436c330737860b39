"""Recall of proposed regions at IoU 0.5: ours against OpenCV's selective search, at an equal count, on the same pictures, in one run.

pip install opencv-contrib-python-headless
python bench/selective_search.py --set raccoon --count 300
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from torchvision.transforms.functional import pil_to_tensor

from onelook import read
from onelook.data.pictures import open_picture
from onelook.data.samples import objects_of
from onelook.geometry import selective_search as ours
from onelook.geometry.boxes import box_iou, xywh_to_xyxy


def theirs(picture: np.ndarray) -> np.ndarray:
    import cv2

    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(picture[..., ::-1]))
    search.switchToSelectiveSearchFast()
    boxes = search.process()[:, :4]
    return xywh_to_xyxy(torch.from_numpy(boxes[np.lexsort(boxes.T)]).float()).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", default="raccoon")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--pictures", type=int, default=100)
    asked = parser.parse_args()
    data = read(Path(os.environ.get("ONELOOK_TEST_DATA", "../shared/data")) / asked.set, task="detect")
    samples = data.samples[:: max(1, len(data) // asked.pictures)][: asked.pictures]
    found: dict[str, list[float]] = {"ours": [], "opencv": []}
    seconds = dict.fromkeys(found, 0.0)
    own = ours.regions
    for sample in samples:
        truth = objects_of(sample).learnable.boxes
        pixels = pil_to_tensor(open_picture(sample.path))
        for name, regions in (("ours", own), ("opencv", theirs)):
            ours.regions = regions
            begun = time.perf_counter()
            boxes = ours.selective_search(pixels, asked.count)
            seconds[name] += time.perf_counter() - begun
            if len(truth):
                found[name] += (box_iou(truth, boxes).amax(1) >= 0.5).float().tolist()
    recall = {name: sum(hits) / len(hits) for name, hits in found.items()}
    ms = {name: 1000 * total / len(samples) for name, total in seconds.items()}
    print(json.dumps({"set": asked.set, "count": asked.count, "objects": len(found["ours"]), "recall": recall, "ms": ms}))


if __name__ == "__main__":
    main()

"""onelook's detector against torchvision's Faster R-CNN fine-tuned from the same backbone and weights on BCCD, in one run.

The peer gets ``--times`` as long as onelook took (looks, training and judging included) and is trained as its reference scripts do: SGD,
momentum 0.9, 0.005, one warm-up, mirrored pictures. It is judged by the same judge on the same pictures.

    ONELOOK_TEST_DATA=shared/data python bench/detector_peer.py --times 5
"""

import argparse
import json
import os
import tempfile
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.transforms.v2.functional import pil_to_tensor

from onelook import read
from onelook.backbones.backbone import Backbone
from onelook.data.pictures import open_picture
from onelook.data.samples import Dataset, objects_of
from onelook.geometry.boxes import ScoredBoxes
from onelook.metrics.boxes import BoxJudge
from onelook.workflows.train import train

BATCH, RATE = 4, 0.005


class Pyramid(nn.Module):
    """The backbone's stages, all trainable, and torchvision's feature pyramid on strides 8, 16 and 32."""

    out_channels = 128

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.stages = backbone.stages.requires_grad_(True)
        self.strides = backbone.strides
        self.pyramid = FeaturePyramidNetwork([backbone.channels[stride] for stride in (8, 16, 32)], self.out_channels)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = OrderedDict()
        for stage, stride in zip(self.stages, self.strides, strict=False):
            x = stage(x)
            if stride >= 8:
                maps[str(stride)] = x
        found: dict[str, Tensor] = self.pyramid(maps)
        return found


def peer(classes: int) -> FasterRCNN:
    backbone = Backbone.load()
    anchors = AnchorGenerator(((32,), (64,), (128,)), ((0.5, 1.0, 2.0),) * 3)
    pool = MultiScaleRoIAlign(["8", "16", "32"], 7, 2)
    facts = backbone.preprocess
    return FasterRCNN(
        Pyramid(backbone), classes + 1, min_size=480, max_size=640, image_mean=facts.mean, image_std=facts.std,
        rpn_anchor_generator=anchors, box_roi_pool=pool,
    )  # fmt: skip


def pictures(data: Dataset) -> list[tuple[Tensor, dict[str, Tensor]]]:
    return [
        (
            pil_to_tensor(open_picture(sample.path)).float() / 255,
            {"boxes": objects_of(sample).boxes, "labels": objects_of(sample).labels + 1},
        )
        for sample in data.samples
    ]


def fit_peer(model: FasterRCNN, data: Dataset, seconds: float) -> int:
    """Train for so long; the epochs that it came to."""
    examples = [entry for entry in pictures(data) if len(entry[1]["boxes"])]
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)
    draw, begun, steps = torch.Generator().manual_seed(0), time.perf_counter(), 0
    model.train()
    epoch = 0
    while True:
        for _ in range(0, len(examples), BATCH):
            order = torch.randperm(len(examples), generator=draw)[:BATCH].tolist()
            images, targets = zip(*(mirrored(*examples[i], bool(torch.rand(1, generator=draw) < 0.5)) for i in order), strict=True)
            for group in optimizer.param_groups:
                left = max(0.0, 1 - (time.perf_counter() - begun) / seconds)
                group["lr"] = RATE * min(1.0, (steps + 1) / 100) * (1.0 if left > 0.3 else 0.1)
            loss = sum(model(list(images), list(targets)).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
            if time.perf_counter() - begun > seconds:
                return epoch
        epoch += 1
        print(f"epoch {epoch}, loss {float(loss.detach()):.3f}, {time.perf_counter() - begun:.0f} s", flush=True)


def mirrored(image: Tensor, target: dict[str, Tensor], turn: bool) -> tuple[Tensor, dict[str, Tensor]]:
    if not turn:
        return image, target
    boxes = target["boxes"].clone()
    boxes[:, [0, 2]] = image.shape[2] - boxes[:, [2, 0]]
    return image.flip(2), target | {"boxes": boxes}


@torch.inference_mode()
def judge_peer(model: FasterRCNN, data: Dataset) -> dict[str, Any]:
    judge = BoxJudge(data.classes)
    model.eval()
    for (image, _), sample in zip(pictures(data), data.samples, strict=True):
        said = model([image])[0]
        judge.add([ScoredBoxes(said["boxes"], said["scores"], said["labels"] - 1)], [objects_of(sample)])
    return judge.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=float, default=5.0)
    chosen = parser.parse_args()
    source = Path(os.environ.get("ONELOOK_TEST_DATA", "../shared/data")) / "bccd"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ONELOOK_CACHE"] = folder
        begun = time.perf_counter()
        ours = train(source, name="cells", model_path=Path(folder) / "m.onelook", task="detect", train_split="trainval", val_split="test")
        seconds = time.perf_counter() - begun
    print(f"onelook: AP50 {ours['metrics']['ap50']:.3f} in {seconds:.0f} s", flush=True)
    data, held = read(source, task="detect", split="trainval"), read(source, task="detect", split="test")
    model = peer(len(data.classes))
    begun = time.perf_counter()
    epochs = fit_peer(model, data, chosen.times * seconds)
    took = time.perf_counter() - begun
    theirs = judge_peer(model, held)
    sides = {
        "onelook": {"ap50": ours["metrics"]["ap50"], "ap": ours["metrics"]["ap"], "seconds": seconds},
        "torchvision": {"ap50": theirs["ap50"], "ap": theirs["ap"], "seconds": took, "epochs": epochs},
    }
    print(json.dumps({"set": "bccd", "sides": sides, "times_as_long": took / seconds}))


if __name__ == "__main__":
    main()

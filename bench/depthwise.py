"""A training step of a tail and its U-Net in bfloat16, against the same with torch's own gradients, and against float32; in turn.

python bench/depthwise.py
"""

import argparse
import json
import os
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch

from onelook import Geometry, Model, read
from onelook.backbones.bfloat16 import native_bfloat16
from onelook.data.augment import RECIPES
from onelook.heads.context import Context
from onelook.heads.pixel_head import PixelOptions
from onelook.heads.tail import Tail, Tailed, parse_freeze
from onelook.heads.unet import UNet
from onelook.training.loop import total_loss
from onelook.workflows.bench import in_turn

BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--freeze", default="stride8")
    chosen = parser.parse_args()
    data = read(Path(os.environ.get("ONELOOK_TEST_DATA", "../shared/data")) / "camvid", task="segment", split="train")
    extractor = Model.new().extractor(Geometry(chosen.size))
    backbone = extractor.backbone
    head = UNet.fresh(Context(data.classes, backbone.channels, backbone.embedding_size, "masks"), PixelOptions())
    cut = parse_freeze(chosen.freeze, backbone)
    ours = Tailed(Tail(backbone, cut, head.needs), head).train()
    with patch("onelook.heads.tail.with_fast_gradients", lambda module: None):
        theirs = Tailed(Tail(backbone, cut, head.needs), head).train()
    pixels = [extractor.decode(one.path, one.path.read_bytes(), "0" * 32)[0] for one in data.samples[:BATCH]]
    look = extractor.look(pixels, ours.needs)
    masks = [extractor.move_mask(one.target.read(), one.target.size, ("0" * 32, 0), RECIPES["none"], 0) for one in data.samples[:BATCH]]

    def step(head: Tailed, half: bool = True) -> None:
        head.zero_grad(set_to_none=True)
        with patch("onelook.backbones.bfloat16.native_bfloat16", lambda: half):
            total_loss(head, look, masks).backward()

    found: dict[str, dict[str, Any]] = {}
    for name, other in (("bfloat16", lambda: step(theirs)), ("float32", lambda: step(theirs, half=False))):
        fast, slow = in_turn(lambda: step(ours), other)
        ratios = [b / a for a, b in zip(fast, slow, strict=True)]
        found[name] = {"ms": median(slow) / BATCH, "ms_ours": median(fast) / BATCH, "ratio": median(ratios), "ratios": ratios}
        ms, ms_ours = found[name]["ms"], found[name]["ms_ours"]
        print(f"ours {ms_ours:.1f} ms a picture, torch's own gradients in {name} {ms:.1f}: {median(ratios):.2f} times")
    print(
        json.dumps(
            {
                "what": "depthwise gradients",
                "size": chosen.size,
                "native_bfloat16": native_bfloat16(),
                "threads": torch.get_num_threads(),
                **found,
            }
        )
    )


if __name__ == "__main__":
    main()

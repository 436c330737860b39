"""Pixels, ours against segmentation_models.pytorch's Unet fine-tuned end to end from the same backbone and weights, in one run.

    pip install segmentation-models-pytorch
    python bench/segment_peer.py --times 4

CamVid at half resolution. Ours trains with its defaults, looks and judging included; the peer gets ``--times`` as long, the same pictures,
views, class weights and judge, AdamW and half a cosine over its time. The last line is JSON.
"""

import argparse
import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from onelook import Geometry, Model, read
from onelook.data.augment import RECIPES
from onelook.data.pictures import ahead, read_bytes
from onelook.data.samples import Dataset, mask_of
from onelook.geometry.masks import ProbabilityMap
from onelook.geometry.placement import PIXELS
from onelook.heads.pixel_head import Scores, class_weights, pixel_losses
from onelook.looks.extractor import Extractor
from onelook.looks.features import Needs
from onelook.metrics.pixels import PixelJudge
from onelook.progress import Progress

SIZE, BATCH, RATE = 240, 8, 1e-3
PIXELS_ONLY = Needs(maps=(PIXELS,))


def peer(extractor: Extractor, classes: int) -> nn.Module:
    import segmentation_models_pytorch as smp

    model: nn.Module = smp.Unet("tu-tf_efficientnet_lite0", encoder_weights=None, classes=classes)
    encoder: Any = model.encoder
    own = extractor.backbone.network.state_dict()
    encoder.model.load_state_dict({name: own[name] for name in encoder.model.state_dict()})
    return model.to(memory_format=torch.channels_last)


def fit_peer(model: nn.Module, extractor: Extractor, data: Dataset, seconds: float) -> int:
    """Train for so long; the epochs that it came to."""
    weights = class_weights(list(map(sum, zip(*(mask_of(sample).pixels for sample in data.samples), strict=True))))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-2)
    draw, begun, steps, epoch = torch.Generator().manual_seed(0), time.perf_counter(), 0, 0

    def example(item: tuple[int, int]) -> tuple[Any, torch.Tensor]:
        sample, view = data.samples[item[0]], item[1]
        content, digest = read_bytes(sample.path)
        pixels = extractor.decode(sample.path, content, digest, [view], RECIPES["light"])[0]
        return pixels, extractor.move_mask(mask_of(sample).read(), mask_of(sample).size, (digest, view), RECIPES["light"], 0)

    model.train()
    while True:
        order = torch.randperm(len(data), generator=draw).tolist()
        views = torch.randint(1_000_000, (len(order),), generator=draw).tolist()
        batch: dict[tuple[int, int], list[tuple[Any, torch.Tensor]]] = {}
        for pixels, mask in ahead(example, list(zip(order, views, strict=True))):
            waiting = batch.setdefault(pixels.placement.input, [])
            waiting.append((pixels, mask))
            if len(waiting) < BATCH:
                continue
            del batch[pixels.placement.input]
            x = extractor.look([one for one, _ in waiting], PIXELS_ONLY).maps[PIXELS].clone().contiguous(memory_format=torch.channels_last)
            done = min(1.0, (time.perf_counter() - begun) / seconds)
            for group in optimizer.param_groups:
                group["lr"] = RATE * min(1.0, (steps + 1) / 50) * 0.5 * (1 + math.cos(math.pi * done))
            loss = pixel_losses(model(x), torch.stack([one for _, one in waiting]).long(), "ce", weights)["pixels"]
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            steps += 1
            if done >= 1:
                return epoch
        epoch += 1
        print(f"peer: epoch {epoch}, loss {float(loss.detach()):.3f}, {time.perf_counter() - begun:.0f} s", flush=True)


@torch.inference_mode()
def judge_peer(model: nn.Module, extractor: Extractor, data: Dataset, head: Any) -> dict[str, Any]:
    judge = PixelJudge(data.classes)
    model.eval()
    for sample in data.samples:
        content, digest = read_bytes(sample.path)
        look = extractor.look(extractor.decode(sample.path, content, digest), PIXELS_ONLY)
        found: list[ProbabilityMap] = head.find(Scores(model(look.maps[PIXELS]), PIXELS), look.placements)
        judge.add(found, [mask_of(sample)])
    return judge.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=float, default=4.0)
    parser.add_argument("--epochs", type=int, default=None, help="of ours")
    chosen = parser.parse_args()
    source = Path(os.environ.get("ONELOOK_TEST_DATA", "../shared/data")) / "camvid"
    train, test = (read(source, task="segment", split=side) for side in ("train", "test"))
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        model = Model.new(geometry=Geometry(SIZE), cache=Path(folder))
        model.fit("road", train, head="segment", epochs=chosen.epochs, hold_out=False, progress=Progress())
        fitted = time.perf_counter() - begun
        ours = model.evaluate("road", test).metrics
        seconds = time.perf_counter() - begun
        print(f"onelook: mIoU {ours['miou']:.3f} in {seconds:.0f} s, {fitted:.0f} of them training", flush=True)
        extractor = model.extractor(model.geometry_of("road"))
        other = peer(extractor, len(train.classes))
        begun = time.perf_counter()
        epochs = fit_peer(other, extractor, train, chosen.times * seconds)
        took = time.perf_counter() - begun
        theirs = judge_peer(other, extractor, test, model.head("road"))
    sides = {
        "onelook": {"miou": ours["miou"], "pixel_accuracy": ours["pixel_accuracy"], "seconds": seconds},
        "smp.Unet": {"miou": theirs["miou"], "pixel_accuracy": theirs["pixel_accuracy"], "seconds": took, "epochs": epochs},
    }
    print(json.dumps({"set": "camvid", "size": SIZE, "sides": sides, "times_as_long": took / seconds}))


if __name__ == "__main__":
    main()

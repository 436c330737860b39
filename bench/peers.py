"""onelook against plain fine-tuning of the same backbone from the same weights: fastai's ``fine_tune`` and a plain PyTorch loop.

    pip install fastai
    python bench/peers.py --set trashnet
    python bench/peers.py --set elpv --epochs 3

One run, one split (trashnet 70/30 seed 0; ELPV fold 0 of 4, seed 0), two cores, EfficientNet-Lite0 at 224 px. The peers train every
weight for ``--epochs`` epochs (fastai one more with the body frozen, as ``fine_tune`` does) with their usual augmentation, batches of 32,
AdamW or fastai's Adam, one cycle. onelook starts from an empty cache; what is timed on all sides is from pictures on disk to a
trained head. Every side is judged on the same pictures. The last line is JSON.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torchvision.transforms import v2

from accuracy import parts
from onelook import Geometry, Model
from onelook.backbones.backbone import Backbone
from onelook.data.samples import Dataset
from onelook.metrics.intervals import wilson_interval
from onelook.progress import Progress

SIZE, BATCH = 224, 32


class Pictures(torch.utils.data.Dataset[Any]):
    def __init__(self, data: Dataset, change: Callable[[Image.Image], Any]) -> None:
        self.samples, self.change = data.samples, change

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.change(Image.open(self.samples[index].path).convert("RGB")), self.samples[index].target


def changes() -> tuple[v2.Compose, v2.Compose]:
    tail = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    moved = [v2.RandomResizedCrop(SIZE, scale=(0.35, 1.0)), v2.RandomHorizontalFlip()]
    return v2.Compose([*moved, *tail]), v2.Compose([v2.Resize((SIZE, SIZE)), *tail])


def network(classes: int) -> torch.nn.Module:
    """The pretrained network with a new last layer."""
    made: Any = Backbone.load().network
    made.reset_classifier(classes)
    return made.requires_grad_(True)  # type: ignore[no-any-return]


def loop(train: Dataset, val: Dataset, epochs: int) -> tuple[float, float]:
    """The loop that every tutorial has."""
    torch.manual_seed(0)
    change, still = changes()
    begun = time.perf_counter()
    model = network(len(train.classes)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loader = torch.utils.data.DataLoader(Pictures(train, change), BATCH, shuffle=True, num_workers=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=epochs * len(loader))
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x.to(memory_format=torch.channels_last)), y).backward()
            optimizer.step()
            schedule.step()
    seconds = time.perf_counter() - begun
    model.eval()
    with torch.inference_mode():
        judged = torch.utils.data.DataLoader(Pictures(val, still), 64, num_workers=2)
        right = sum(int((model(x).argmax(1) == y).sum()) for x, y in judged)
    return right / len(val), seconds


def fastai(train: Dataset, val: Dataset, epochs: int) -> tuple[float, float]:
    """``vision_learner`` on the same network and weights, ``fine_tune(epochs)``."""
    import fastai.callback.all  # noqa: F401 (gives learners fine_tune and no_bar)
    from fastai.data.transforms import Normalize
    from fastai.metrics import accuracy
    from fastai.torch_core import set_seed
    from fastai.vision.augment import Resize, aug_transforms
    from fastai.vision.data import ImageDataLoaders
    from fastai.vision.learner import vision_learner

    set_seed(0)
    begun = time.perf_counter()
    label = {sample.path: train.classes[int(sample.target)] for data in (train, val) for sample in data.samples}  # type: ignore[arg-type]
    held = {sample.path for sample in val.samples}
    import pandas

    table = pandas.DataFrame({"path": map(str, label), "label": label.values(), "is_valid": [path in held for path in label]})
    stats = Normalize.from_stats([0.5] * 3, [0.5] * 3, cuda=False)
    dls = ImageDataLoaders.from_df(
        table, path="/", valid_col="is_valid", item_tfms=Resize(SIZE, method="squish"), bs=BATCH, num_workers=2,
        batch_tfms=[*aug_transforms(), stats], device=torch.device("cpu"),
    )  # fmt: skip
    learner = vision_learner(dls, "tf_efficientnet_lite0", pretrained=False, metrics=accuracy, normalize=False)
    body = learner.model[0].model
    weights = Backbone.load().network.state_dict()
    body.load_state_dict({name: weights[name] for name in body.state_dict()})
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs)
    seconds = time.perf_counter() - begun
    with learner.no_bar():
        return float(learner.validate()[1]), seconds


def ours(train: Dataset, val: Dataset, budget: float) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as cache:
        begun = time.perf_counter()
        model = Model.new(geometry=Geometry(SIZE), cache=Path(cache))
        model.fit("head", train, budget=budget, progress=Progress())
        seconds = time.perf_counter() - begun
        return model.evaluate("head", val).metrics["accuracy"], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=["elpv", "trashnet"], default="trashnet")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--sides", default="onelook,pytorch,fastai")
    parser.add_argument("--budget", type=float, default=45, help="seconds, of onelook")
    arguments = parser.parse_args()
    data, divisions = parts(arguments.set)
    train, val = (data.pick(side) for side in divisions[0])
    found = {}
    runs = {"onelook": ours, "pytorch": loop, "fastai": fastai}
    for name in arguments.sides.split(","):
        run = runs[name]
        accuracy, seconds = run(train, val, arguments.budget if name == "onelook" else arguments.epochs)  # type: ignore[operator]
        interval = wilson_interval(round(accuracy * len(val)), len(val))
        found[name] = {"accuracy": accuracy, "interval": interval, "seconds": seconds}
        print(f"{name}: accuracy {accuracy:.4f} ({interval[0]:.3f} to {interval[1]:.3f}) in {seconds:.0f} s", flush=True)
    ratios = {name: found[name]["seconds"] / found["onelook"]["seconds"] for name in found if name != "onelook"}
    print(json.dumps({**vars(arguments), "train": len(train), "val": len(val), "sides": found, "times_as_long": ratios}))


if __name__ == "__main__":
    main()

"""A step of the painter against the loop of PyTorch's tutorial on neural style, as published: time, peak memory, equal results.

The tutorial (Jacq, Herring, "Neural transfer using PyTorch"): VGG-19's layers in a row with modules between them that note content and
style losses on the way, mean squared differences, Gram matrices over all their numbers, max pools. Written here from its description. Both
have the same weights (random ones), picture, sizes, losses, Adam and number of steps; every side runs in a process of its own.

    python bench/style_loop.py --size 256 --steps 20
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from onelook.style.forecast import forget_peak, peak_mb
from onelook.style.losses import Content, Style, Sum
from onelook.style.networks import IMAGENET, Facts, StyleNetwork
from onelook.style.objective import Objective, Region
from onelook.style.optimizers import BETAS, TINY, Adam

COUNTS, CHANNELS = (2, 2, 4, 4, 4), (64, 128, 256, 512, 512)
CONTENT, STYLE = "conv_4", ("conv_1", "conv_2", "conv_3", "conv_4", "conv_5")
WEIGHTS = (1.0, 1e6)  # of content and style, as there
RATE, REPEATS = 0.02, 3


def layers() -> dict[str, nn.Module]:
    """VGG-19 to its fifth convolution, after which the tutorial's network is cut off."""
    torch.manual_seed(0)
    found: dict[str, nn.Module] = {}
    before, number = 3, 0
    for block, (count, channels) in enumerate(zip(COUNTS, CHANNELS, strict=True), 1):
        for _ in range(count):
            number += 1
            found[f"conv_{number}"] = nn.Conv2d(before, channels, 3, padding=1)
            found[f"relu_{number}"] = nn.ReLU()
            before = channels
            if number == len(STYLE):
                return found
        found[f"pool_{block}"] = nn.MaxPool2d(2)
    return found


def gram_matrix(x: Tensor) -> Tensor:
    a, b, c, d = x.shape
    flat = x.view(a * b, c * d)
    return flat @ flat.t() / (a * b * c * d)


class Noted(nn.Module):
    """A module in the row that notes a loss and hands on what it got."""

    def __init__(self, target: Tensor, of_style: bool) -> None:
        super().__init__()
        self.of_style = of_style
        self.target = (gram_matrix(target) if of_style else target).detach()
        self.loss = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.loss = functional.mse_loss(gram_matrix(x) if self.of_style else x, self.target)
        return x


class Normalization(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean, self.std = (torch.tensor(values).view(-1, 1, 1) for values in IMAGENET)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def theirs(content: Tensor, style: Tensor, steps: int) -> tuple[Tensor, float]:
    """The published loop with Adam; the picture and the seconds of its steps."""
    model, noted = nn.Sequential(Normalization()), []
    for name, layer in layers().items():
        model.append(layer)
        for of_style, source in ((False, content), (True, style)):
            if name in (STYLE if of_style else (CONTENT,)):
                with torch.no_grad():
                    noted.append(Noted(model(source), of_style))
                model.append(noted[-1])
    model.eval().requires_grad_(False)
    picture = content.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([picture], lr=RATE, betas=BETAS, eps=TINY)
    begun = time.perf_counter()
    for _ in range(steps):
        optimizer.zero_grad()
        model(picture)
        loss = sum(WEIGHTS[one.of_style] * one.loss for one in noted)
        assert isinstance(loss, Tensor)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            picture.clamp_(0, 1)
    return picture.detach(), time.perf_counter() - begun


def ours(content: Tensor, style: Tensor, steps: int, half: bool) -> tuple[Tensor, float]:
    """The same losses by the algebra here: mean squared differences are its sums over their numbers."""
    network = StyleNetwork(Facts("vgg19", "none", *IMAGENET, (CONTENT,), dict.fromkeys(STYLE, 1.0), half=half), layers())
    with torch.no_grad():
        shapes = {name: x.shape for name, x in network(content, STYLE).items()}
    terms = WEIGHTS[0] * 2 / shapes[CONTENT].numel() * Content(CONTENT)
    terms = terms + sum((WEIGHTS[1] * 4 / shapes[name][1] ** 2 * Style(name) for name in STYLE), Sum())
    objective = Objective(network, terms, content, [Region([(1.0, style)])])
    brush = Adam(content, RATE)
    begun = time.perf_counter()
    for _ in range(steps):
        brush.step(objective.gradient, 0.0)
    return brush.picture, time.perf_counter() - begun


def one(side: str, size: int, steps: int) -> dict[str, Any]:
    """One side in this process, after a step to warm up."""
    generator = torch.Generator().manual_seed(1)
    content, style = (torch.rand(1, 3, size * 3 // 4, size, generator=generator) for _ in range(2))
    run = theirs if side == "theirs" else lambda c, s, n: ours(c, s, n, side == "ours_half")
    run(content, style, 1)
    forget_peak()
    picture, seconds = run(content, style, steps)
    return {"seconds": seconds, "mb": peak_mb(), "picture": picture.flatten()[:: max(1, picture.numel() // 5000)].tolist()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--side", default=None)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(one(arguments.side, arguments.size, arguments.steps)))
        return
    found: dict[str, list[dict[str, Any]]] = {"theirs": [], "ours": [], "ours_half": []}
    for _ in range(REPEATS):
        for side, runs in found.items():
            command = [sys.executable, __file__, "--side", side, "--size", str(arguments.size), "--steps", str(arguments.steps)]
            runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            print(f"{side}: {runs[-1]['seconds']:.2f} s, {runs[-1]['mb']:.0f} MB", flush=True)
    facts: dict[str, Any] = {"size": arguments.size, "steps": arguments.steps}
    pictures = {side: torch.tensor(runs[0]["picture"]) for side, runs in found.items()}
    for side in ("ours", "ours_half"):
        pairs = list(zip(found["theirs"], found[side], strict=True))
        facts[f"{side}_times_as_fast"] = round(statistics.median(a["seconds"] / b["seconds"] for a, b in pairs), 2)
        facts[f"{side}_memory"] = round(statistics.median(b["mb"] / a["mb"] for a, b in pairs), 2)
        facts[f"{side}_difference"] = float((pictures[side] - pictures["theirs"]).abs().mean())
    print(json.dumps(facts))


if __name__ == "__main__":
    main()

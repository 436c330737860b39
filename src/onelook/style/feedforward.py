"""A painter of one style in one pass, trained on the user's own photos.

Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution" (2016), with instance normalisation (Ulyanov
et al. 2016) and upsampling by repetition before convolutions (Odena et al. 2016). What differs, so that two cores are enough: half the
channels, the losses of the painter here, on the same network, looked at from another place at every step as there, and training that ends
when its time is over. It learns for pictures of one size: strokes are as large as the slow painter's at that size. ``steady``: photos moved
by a few pixels with a little noise, as the next frame of a film would be, must be painted alike (after Gupta et al. 2017, who learn from
films).

    onelook style train painting.jpg photos/ --out painting.style --budget 15m
    onelook style apply painting.style photo.jpg
"""

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from PIL import Image, ImageOps
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from onelook.backbones.bfloat16 import bfloat16_autocast
from onelook.data.pictures import ahead, open_picture
from onelook.deadline import Deadline
from onelook.errors import DataError, DiskError, ModelFileError, PictureError
from onelook.facts import Facts
from onelook.files import read_tensors, write_atomically
from onelook.style.losses import Loss, Term
from onelook.style.networks import StyleNetwork
from onelook.style.painter import SHIFTS, SHORTEST, as_large, to_picture, to_tensor
from onelook.style.recipe import SIZE

FORMAT = 1
WIDTH, BLOCKS = 16, 5  # channels of the first convolution (the paper: 32), residual blocks
SIDE, BATCH, RATE = 256, 2, 2e-3  # pixels of the part of a photo that is painted while learning
USUAL = (4, 3)  # a photo's shape, which says how many pixels one of some longer side has
MULTIPLE = 4  # maps are halved twice
MOVED, NOISE = 4, 0.02  # pixels and brightness by which a next frame differs


class Painter(nn.Module):
    """RGB (B, 3, H, W), 0 to 1 -> painted, the same size."""

    def __init__(self, width: int = WIDTH, blocks: int = BLOCKS) -> None:
        super().__init__()
        self.width, self.blocks = width, blocks
        self.down = nn.Sequential(_layer(3, width, 9, border="reflect"), _layer(width, 2 * width, 3, 2), _layer(2 * width, 4 * width, 3, 2))
        self.residual = nn.ModuleList(
            nn.Sequential(_layer(4 * width, 4 * width, 3), _layer(4 * width, 4 * width, 3, last=True)) for _ in range(blocks)
        )
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2), _layer(4 * width, 2 * width, 3), nn.Upsample(scale_factor=2), _layer(2 * width, width, 3)
        )
        self.out = nn.Conv2d(width, 3, 9, padding=4, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = functional.pad(x, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
        y = self.down(2 * x - 1)
        for block in self.residual:
            y = y + block(y)
        painted: Tensor = torch.sigmoid(self.out(self.up(y)).float())[..., :height, :width]
        return painted


def _layer(
    before: int, after: int, side: int, stride: int = 1, last: bool = False, border: Literal["zeros", "reflect"] = "zeros"
) -> nn.Sequential:
    """A convolution and its normalisation. ``border``: mirrored ("reflect") at the first and the last; elsewhere that is slow."""
    convolution = nn.Conv2d(before, after, side, stride, side // 2, padding_mode=border)
    return nn.Sequential(convolution, nn.InstanceNorm2d(after, affine=True), nn.Identity() if last else nn.ReLU())


@dataclass(frozen=True)
class StyleFile:
    """A trained painter and what is known of it: the style's name, the network and losses it learned from, how long.

    ``size``: the longer side of the pictures that it learned to paint; at others it paints, too, strokes as large in pixels.
    """

    painter: Painter
    style: str
    network: str
    formula: str
    steps: int
    seconds: float
    photos: int
    size: int

    def __call__(self, picture: Image.Image) -> Image.Image:
        """Paint an RGB picture at its own size. Raises PictureError for one that is too small."""
        if min(picture.size) < SHORTEST:
            raise PictureError(f"a picture of {picture.width} x {picture.height} is too small to paint; {SHORTEST} pixels are the least")
        with torch.inference_mode(), bfloat16_autocast():
            return to_picture(self.painter(to_tensor(picture).contiguous(memory_format=torch.channels_last)))

    def facts(self) -> Facts:
        """All but the weights, as plain values."""
        return {name: value for name, value in self.__dict__.items() if name != "painter"} | {
            "width": self.painter.width, "blocks": self.painter.blocks,
        }  # fmt: skip

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all. Raises DiskError."""
        tensors = {name: value.half().contiguous() for name, value in self.painter.state_dict().items()}
        try:
            write_atomically(path, save(tensors, {"onelook-style": json.dumps({"format": FORMAT, **self.facts()})}))
        except OSError as error:
            raise DiskError(f"{path}: cannot be written ({error.strerror}); name a file in a folder of yours") from error


def load(path: Path) -> StyleFile:
    """Read a painter. Raises ModelFileError for a file that is missing, damaged or something else."""
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file; make one with: onelook style train PAINTING PHOTOS --out {path}")
    try:
        metadata, tensors = read_tensors(path)
        facts = json.loads(metadata["onelook-style"])
        if facts.pop("format") > FORMAT:
            raise ModelFileError(f"{path}: written by a newer onelook; upgrade onelook")
        painter = Painter(int(facts.pop("width")), int(facts.pop("blocks")))
        painter.load_state_dict({name: value.float() for name, value in tensors.items()})
        return StyleFile(painter.eval().to(memory_format=torch.channels_last), **facts)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ModelFileError(f"{path}: not a painter that onelook trained ({str(error).splitlines()[0][:100]})") from error


@dataclass(frozen=True)
class Learned:
    """One step of training: the losses of the batch, weighted, by name."""

    step: int
    losses: dict[str, float]


Callback = Callable[[Learned], None]


def train(
    style: Image.Image, name: str, photos: Sequence[Path], network: StyleNetwork, terms: Term, deadline: Deadline, *, size: int = SIZE,
    steady: float = 0.0, seed: int = 0, callback: Callback | None = None,
) -> StyleFile:  # fmt: skip
    """Learn to paint photos in one style until the deadline. Raises DataError without a photo that can be read.

    ``terms``: what the painter goes down, too. ``size``: the longer side of the pictures that it will paint. ``steady``: weight of painting
    neighbouring frames alike. Ctrl-C ends it early.
    """
    torch.manual_seed(seed)
    painter = Painter().to(memory_format=torch.channels_last)
    lesson = _Lesson(network, terms, style, size)
    optimizer = torch.optim.Adam(painter.parameters(), RATE)
    begun, steps = time.perf_counter(), 0
    try:
        for batch in _batches(photos, size, seed):
            if deadline.passed():
                break
            share = min(1.0, deadline.taken() / (deadline.seconds or math.inf))
            for group in optimizer.param_groups:
                group["lr"] = RATE * (0.02 + 0.98 * (1 + math.cos(math.pi * share)) / 2)
            losses = lesson(painter, batch, steady)
            optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            nn.utils.clip_grad_norm_(painter.parameters(), 1.0)
            optimizer.step()
            steps += 1
            if callback is not None:
                callback(Learned(steps, {key: float(value.detach()) for key, value in losses.items()}))
    except KeyboardInterrupt:
        if not steps:
            raise
    painter.eval()
    return StyleFile(painter, name, network.facts.name, str(terms), steps, time.perf_counter() - begun, len(photos), size)


class _Lesson:
    """The losses of what was painted of a batch: those of the painter, photo by photo."""

    def __init__(self, network: StyleNetwork, terms: Term, style: Image.Image, size: int) -> None:
        self.network, self.pairs = network, terms.parts()
        self.layers = {loss.layer for _, loss in self.pairs}
        with torch.no_grad():
            self.style = self._look(to_tensor(as_large(style, size * size * USUAL[1] // USUAL[0])))
        self.targets = {loss: loss.statistics(x, None, x) for _, loss in self.pairs for x in [self.style[loss.layer]]}

    def __call__(self, painter: Painter, photos: Tensor, steady: float) -> dict[str, Tensor]:
        with bfloat16_autocast():
            painted = painter(photos.contiguous(memory_format=torch.channels_last))
        shift = SHIFTS[int(torch.randint(len(SHIFTS), ()))]
        with torch.no_grad():
            kept = self._look(photos.roll(shift, (2, 3)))
        found = self._look(painted.roll(shift, (2, 3)))
        losses: dict[str, Tensor] = {}
        for weight, loss in self.pairs:
            values = [self._value(loss, found[loss.layer][n : n + 1], kept[loss.layer][n : n + 1]) for n in range(len(photos))]
            losses[loss.name] = weight * torch.stack(values).mean()
        if steady:
            losses["steady"] = steady * self._unsteadiness(painter, photos, painted)
        return losses

    def _value(self, loss: Loss, x: Tensor, kept: Tensor) -> Tensor:
        wanted = self.targets[loss] if loss.like != "content" else loss.statistics(kept, None, torch.zeros_like(kept))
        return loss.distance(loss.statistics(x, None, kept), wanted, x.shape[2] * x.shape[3])

    def _look(self, pixels: Tensor) -> dict[str, Tensor]:
        with bfloat16_autocast(self.network.facts.half):
            found: dict[str, Tensor] = self.network(pixels, self.layers)
        return found

    @staticmethod
    def _unsteadiness(painter: Painter, photos: Tensor, painted: Tensor) -> Tensor:
        """How differently the next frame is painted: the photos moved, with noise, against what was painted, moved."""
        down, across = (int(number) for number in torch.randint(-MOVED, MOVED + 1, (2,)))
        moved = torch.roll(photos, (down, across), (2, 3)) + NOISE * torch.randn_like(photos)
        with bfloat16_autocast():
            again = painter(moved.clamp(0, 1))
        inner = slice(MOVED, -MOVED)
        difference: Tensor = (again - torch.roll(painted, (down, across), (2, 3)))[..., inner, inner]
        return difference.square().mean()


def _batches(photos: Sequence[Path], size: int, seed: int) -> Iterator[Tensor]:
    """Batches of parts of photos whose longer side has ``size`` pixels, for ever; photos that cannot be read are left out.

    Raises DataError if none can be.
    """
    drawn, side = random.Random(seed), min(SIDE, size)

    def crop(item: tuple[Path, float, float, bool]) -> Tensor | PictureError:
        path, across, down, mirrored = item
        try:
            photo = open_picture(path, at_least=size)
        except PictureError as error:
            return error
        part = side / max(side / min(photo.size), size / max(photo.size))  # of the photo's own pixels
        left, top = across * (photo.width - part), down * (photo.height - part)
        picture = photo.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + part, top + part))
        return to_tensor(ImageOps.mirror(picture) if mirrored else picture)

    def order() -> Iterator[tuple[Path, float, float, bool]]:
        while True:
            for path in drawn.sample(list(photos), len(photos)):
                yield path, drawn.random(), drawn.random(), drawn.random() < 0.5

    batch: list[Tensor] = []
    failed = 0
    for picture in ahead(crop, order(), workers=1, depth=8):
        if isinstance(picture, PictureError):
            failed += 1
            if failed >= len(photos):
                raise DataError(f"none of the photos can be read (the last: {picture})")
            continue
        failed = 0
        batch.append(picture)
        if len(batch) == BATCH:
            yield torch.cat(batch)
            batch = []

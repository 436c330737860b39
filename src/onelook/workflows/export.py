"""A model as a file for other programs: written, compared with the model on real pictures, and only kept where both say the same.

python -c "from onelook.workflows.export import export; print(export('mine.onelook', 'onnx', 'mine.onnx'))"
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import numpy as np
import torch

from onelook.backbones.bfloat16 import float32_only
from onelook.errors import DataError, DiskError, HeadError, OnelookError
from onelook.export.compare import TOLERANCE, Compared, compare, pixels_of
from onelook.export.graph import facts_of, graph_of
from onelook.export.litert import LiteRt
from onelook.export.onnx import Onnx, quantize
from onelook.export.openvino import OpenVino
from onelook.export.pt2 import Pt2
from onelook.export.target import Ask, Target
from onelook.facts import Facts
from onelook.looks.extractor import Pixels
from onelook.model import Model
from onelook.progress import QUIET, Progress

To = Literal["onnx", "openvino", "litert", "pt2"]
TARGETS: Mapping[str, Target] = {target.name: target for target in (Onnx(), OpenVino(), LiteRt(), Pt2())}
TIMED = 20  # pictures over which milliseconds are taken
SHAPE = (4, 3)  # of pictures that are traced with, where any may come


class Differs(OnelookError):
    """The file does not say what the model says; it is not kept."""

    exit_code = 1


@dataclass(frozen=True)
class Exported:
    """A file that says what its model says. ``ms``: milliseconds a picture, asked one by one; ``int8``: what eight bits cost and gain;
    ``facts``: what the file says of itself."""

    target: str
    file: Path
    bytes: int
    compared: Compared
    shape: tuple[int, int] | None
    ms: float
    int8: Facts
    facts: Facts

    def to_json(self) -> Facts:
        heads = {
            name: {"relative_difference": one.numbers, "box_pixels": one.pixels, "pixels_swapped": one.swapped}
            for name, one in self.compared.heads.items()
        }
        facts = {"target": self.target, "file": str(self.file), "bytes": self.bytes, "shape": list(self.shape) if self.shape else None}
        found = {"max_relative_difference": self.compared.largest, "pictures": self.compared.pictures, "heads": heads, "ms": self.ms}
        return facts | found | ({"int8": self.int8} if self.int8 else {}) | {"facts": self.facts}


def export(
    model: Model | Path | str, to: str, out: Path | str, *, heads: Sequence[str] = (), pictures: Sequence[str] = (),
    size: tuple[int, int] | None = None, int8: bool = False, progress: Progress = QUIET,
) -> Exported:  # fmt: skip
    """Write a model's heads (default: all) as a file of format ``to``, compared on ``pictures`` (default: two photographs in parts).

    ``size``: width and height of all pictures that will come, for formats of one shape (default: square). ``int8``: eight-bit
    convolutions, calibrated on the pictures; its cost is measured, not refused. What stood at ``out`` stays where anything goes wrong.
    Raises Differs, HeadError for heads that are no graph, OnelookError for packages that are missing, DiskError.
    """
    target, out = _target(to, int8), Path(out)
    out = out if out.suffix == target.suffix else out.with_name(out.name + target.suffix)
    loaded = model if isinstance(model, Model) else Model.load(model)
    names = list(heads or loaded.heads)
    if not names:
        raise HeadError("this model has no trained heads to export; train one: onelook train DATA --model FILE")
    geometry = loaded.geometry_of(names[0])
    shape = geometry.place(*(size or (1, 1))).content if target.one_shape or size else None
    pixels = list(pixels_of(loaded.extractor(geometry), pictures, shape))
    _check_some(pixels, pictures)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(prefix=".onelook-export-", dir=out.parent) as folder:
            path = Path(folder) / out.name
            progress.say(f"writing {', '.join(names)} as {to} ...")
            with target.theirs():
                said = _write(loaded, names, target, shape, path)
                ask = target.open(path)
                progress.say(f"comparing the file with the model on {len(pixels)} pictures ...")
                compared = compare(loaded, names, ask, pixels, target.one_picture, target.suppresses)
            worst = compared.worst
            if worst is not None:
                raise Differs(
                    f"{out}: differs from the model, {worst[0]} most: {worst[1]} (allowed: {TOLERANCE:.0e}); the file is not kept. "
                    "Please report it, with the network's name and the heads' methods"
                )
            eight = _in_eight_bits(loaded, names, path, ask, pixels) if int8 else {}
            ms = _ms(pixels, target.open(path) if int8 else ask)[0]
            size_on_disk = sum(one.stat().st_size for one in target.files(path))
            for file in target.files(path):
                file.replace(out.with_suffix(file.suffix))
    except OSError as error:
        raise DiskError(f"{out}: {error.strerror or error}; nothing was written") from error
    return Exported(to, out, size_on_disk, compared, shape, ms, eight, said)


def _target(to: str, int8: bool) -> Target:
    if to not in TARGETS:
        raise OnelookError(f"--to {to}: use one of {', '.join(get_args(To))}")
    if int8 and to != "onnx":
        raise OnelookError(f"--int8: is for --to onnx, not for {to}")
    TARGETS[to].check_installed()
    return TARGETS[to]


def _write(model: Model, names: Sequence[str], target: Target, shape: tuple[int, int] | None, path: Path) -> Facts:
    """Trace the heads and write them, and say what the file says of itself."""
    wide, high = shape or model.geometry_of(names[0]).place(*SHAPE).content
    example = torch.zeros(2, high, wide, 3, dtype=torch.uint8)
    with torch.no_grad(), float32_only():
        graph = graph_of(model, names, example, target.suppresses)
        facts = facts_of(model, names, graph, shape)
        target.write(graph, example, facts, path)
    return facts


def _in_eight_bits(model: Model, names: Sequence[str], path: Path, ask: Ask, pixels: Sequence[Pixels | str]) -> Facts:
    """Put the eight-bit file in place of the other and say what that changes: size, speed, and how many answers are others."""
    whole, small = path.stat().st_size, path.with_suffix(".int8.onnx")
    quantize(path, small, (_array(one) for one in pixels if isinstance(one, Pixels)))
    small.replace(path)
    ask_small = TARGETS["onnx"].open(path)
    compared, same = compare(model, names, ask_small, pixels, one_by_one=True), _agreement(ask, ask_small, pixels)
    before, after = _ms(pixels, ask, ask_small)
    found = {name: {"relative_difference": one.numbers, "same_label": same.get(name)} for name, one in compared.heads.items()}
    return {"heads": found, "times_as_fast": before / after, "share_of_bytes": path.stat().st_size / whole}


def _agreement(ask: Ask, other: Ask, pixels: Sequence[Pixels | str]) -> dict[str, float]:
    """Head -> share of pictures (or of their pixels) that get the same class from both files."""
    found: dict[str, list[float]] = {}
    for one in pixels:
        if isinstance(one, Pixels):
            first, second = ask(_array(one)), other(_array(one))
            for name, value in first.items():
                head, part = name.rsplit(".", 1)
                if part == "probabilities":
                    found.setdefault(head, []).append(float((value.argmax(1) == second[name].argmax(1)).mean()))
                if part == "mask":
                    found.setdefault(head, []).append(float((value == second[name]).mean()))
    return {head: float(np.mean(shares)) for head, shares in found.items()}


def _ms(pixels: Sequence[Pixels | str], *asks: Ask) -> list[float]:
    """The median of milliseconds a picture of each file, in turns."""
    times: list[list[float]] = [[] for _ in asks]
    for one in [one for one in pixels if isinstance(one, Pixels)][:TIMED]:
        for ask, spent in zip(asks, times, strict=True):
            begun = time.perf_counter()
            ask(_array(one))
            spent.append((time.perf_counter() - begun) * 1000)
    return [median(spent) for spent in times]


def _array(pixels: Pixels) -> np.ndarray:
    """Pixels (1, h, w, 3) as a file wants them."""
    return np.ascontiguousarray(pixels.content.permute(1, 2, 0).numpy())[None]


def _check_some(pixels: Sequence[Pixels | str], pictures: Sequence[str]) -> None:
    if not any(isinstance(one, Pixels) for one in pixels):
        reason = next((f" ({one})" for one in pixels if isinstance(one, str)), "")
        raise DataError(f"{' '.join(pictures)}: no picture here to compare with{reason}")

"""The ``.onelook`` file: safetensors with JSON metadata, written whole or not at all, never unpickled.

Metadata key ``onelook`` holds a JSON object: format, backbone (name, fingerprint, source), geometry, heads. Tensors are
named ``HEAD/parameter``; a float32 tensor that float16 holds exactly is stored as float16. Backbone weights that could
not be found again by name (they came from a file, or are random) travel along as ``backbone/parameter``.

    onelook info mine.onelook
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from onelook.errors import DiskError, ModelFileError

FORMAT = 1


@dataclass(frozen=True)
class HeadRecord:
    """All that the file says of one head: how to rebuild it, how it was trained, how it did."""

    task: str
    config: dict[str, Any]
    cut: int
    kind: str = ""
    geometry: dict[str, Any] = field(default_factory=dict)  # empty: the model's
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    method: str = ""  # of the task; empty: the task has only one


@dataclass(frozen=True)
class Contents:
    """What a file holds."""

    backbone: dict[str, Any]
    geometry: dict[str, Any]
    heads: dict[str, HeadRecord]
    tensors: dict[str, Tensor]


def write(path: Path, contents: Contents) -> None:
    """Write a model file beside ``path``, flush it to the disk, and put it in place in one step. Raises DiskError."""
    facts = {
        "format": FORMAT,
        "backbone": contents.backbone,
        "geometry": contents.geometry,
        "heads": {name: asdict(record) for name, record in contents.heads.items()},
    }
    content = save({name: packed(value) for name, value in contents.tensors.items()}, {"onelook": json.dumps(facts)})
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DiskError(f"{path}: cannot be written ({error.strerror}); what stood there before is unchanged") from error


def read(path: Path) -> Contents:
    """Read a model file. Raises ModelFileError for a missing, cut-short or foreign one."""
    if not path.is_file():
        raise ModelFileError(f"{path}: no such model file; train one with: onelook train DATA --name NAME --model {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(f"{path}: cut short or not a model file ({str(error)[:100]}); use a copy or train it again") from error
    try:
        facts = json.loads(metadata["onelook"])
        if facts["format"] > FORMAT:
            raise ModelFileError(f"{path}: written by a newer onelook (format {facts['format']}, this one reads {FORMAT}); upgrade onelook")
        heads = {name: HeadRecord(**record) for name, record in facts["heads"].items()}
        return Contents(facts["backbone"], facts["geometry"], heads, {name: _unpack(value) for name, value in tensors.items()})
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path}: a safetensors file, but not one that onelook wrote ({error!r})") from error


def of_head(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one head (or of ``backbone``), by parameter name."""
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}


def packed(value: Tensor) -> Tensor:
    """A tensor as the file stores it: float16 where that loses nothing."""
    value = value.detach().cpu().contiguous().clone()
    if value.dtype == torch.float32 and value.numel() > 64:
        half = value.half()
        if torch.equal(half.float(), value):
            return half
    return value


def _unpack(value: Tensor) -> Tensor:
    return value.float() if value.dtype == torch.float16 else value

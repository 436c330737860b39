"""The ``.onelook`` file: safetensors with JSON metadata, written whole or not at all, never unpickled.

Metadata key ``onelook`` holds a JSON object: format, backbone (name, fingerprint, source), geometry, heads, and a hash of each head's
tensors. Tensors are named ``HEAD/parameter``; a float32 tensor that float16 holds exactly is stored as float16. Backbone weights that
could not be found again by name (they came from a file, or are random) travel along as ``backbone/parameter``.

    onelook info mine.onelook
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from onelook.errors import DiskError, ModelFileError
from onelook.facts import Facts
from onelook.files import read_tensors, write_atomically

FORMAT = 1
BACKBONE = "backbone"  # the name under which a backbone's own weights stand


@dataclass(frozen=True)
class HeadRecord:
    """All that the file says of one head: how to rebuild it, how it was trained, how it did. ``geometry``: empty for the model's."""

    task: str
    config: Facts
    cut: int
    kind: str = ""
    geometry: Facts = field(default_factory=dict)
    metrics: Facts = field(default_factory=dict)
    training: Facts = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    method: str = ""  # empty: named like the task, as files of before had it


@dataclass(frozen=True)
class Contents:
    """What a file holds."""

    backbone: Facts
    geometry: Facts
    heads: dict[str, HeadRecord]
    tensors: dict[str, Tensor]


def write(path: Path, contents: Contents) -> None:
    """Write a model file, whole or not at all. Raises DiskError."""
    stored = {name: packed(value) for name, value in contents.tensors.items()}
    facts = {
        "format": FORMAT,
        "backbone": contents.backbone,
        "geometry": contents.geometry,
        "heads": {name: asdict(record) for name, record in contents.heads.items()},
        "hashes": {name: _hash(of_head(stored, name)) for name in [*contents.heads, BACKBONE]},
    }
    content = save(stored, {"onelook": json.dumps(facts)})
    try:
        write_atomically(path, content)
    except OSError as error:
        raise DiskError(f"{path}: cannot be written ({error.strerror}); what stood there before is unchanged") from error


def check_writable(path: Path) -> None:
    """Raise DiskError if a model file cannot be written there: before anything is trained."""
    existing = next(folder for folder in (path.parent, *path.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
        if path.exists():
            with path.open("r+b"):
                pass
    except OSError as error:
        raise DiskError(f"{path}: cannot be written ({error.strerror}); choose another --model FILE") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a model file while it is read and written anew, so that two trainings add to it one after the other."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            yield
    except OSError as error:
        raise DiskError(f"{path}: cannot be written ({error.strerror})") from error


def read(path: Path) -> Contents:
    """Read a model file. Raises ModelFileError for one that is missing, cut short, damaged or foreign."""
    if not path.is_file():
        raise ModelFileError(f"{path}: no such model file; train one with: onelook train DATA --name NAME --model {path}")
    try:
        metadata, tensors = read_tensors(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(f"{path}: cut short or not a model file ({str(error)[:100]}); use a copy or train it again") from error
    try:
        facts = json.loads(metadata["onelook"])
        if facts["format"] > FORMAT:
            raise ModelFileError(f"{path}: written by a newer onelook (format {facts['format']}, this one reads {FORMAT}); upgrade onelook")
        heads = {name: _record(entry) for name, entry in facts["heads"].items()}
        hashes = dict(facts.get("hashes", {}))
        whole = Contents(dict(facts["backbone"]), dict(facts["geometry"]), heads, {name: _unpack(one) for name, one in tensors.items()})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{path}: a safetensors file, but not one that onelook wrote ({error!r})") from error
    for name, expected in hashes.items():
        if _hash(of_head(tensors, name)) != expected:
            raise ModelFileError(
                f"{path}: the weights of {name!r} are damaged (they do not match their hash); use a copy or train it again"
            )
    return whole


def _record(entry: Facts) -> HeadRecord:
    """A head's record; keys that this version does not know are left out. Raises TypeError for values of another type."""
    known = {one.name: one for one in fields(HeadRecord)}
    found = {name: value for name, value in entry.items() if name in known}
    record = HeadRecord(**found)
    for name, kind in (
        ("task", str),
        ("method", str),
        ("config", dict),
        ("cut", int),
        ("training", dict),
        ("metrics", dict),
        ("geometry", dict),
    ):
        if not isinstance(getattr(record, name), kind):
            raise TypeError(f"{name} is {getattr(record, name)!r}")
    return record


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


def _hash(tensors: Mapping[str, Tensor]) -> str:
    """A hash (16 hex digits) of tensors as they are stored."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _unpack(value: Tensor) -> Tensor:
    return value.float() if value.dtype == torch.float16 else value

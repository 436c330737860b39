"""The parts of a model as a file holds them, and what is refused before anything is done."""

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

import onelook
from onelook import modelfile
from onelook.backbones.backbone import Backbone
from onelook.backbones.weights import Source, load_by_name
from onelook.data.kinds import KINDS
from onelook.data.read import read_kinds
from onelook.data.samples import Dataset
from onelook.errors import BackboneError, DataError, HeadError, ModelFileError, OnelookError
from onelook.facts import Facts
from onelook.geometry.instances import How
from onelook.geometry.placement import Geometry, Mode
from onelook.heads import HEADS
from onelook.heads.base import AnswerOptions, AnyHead
from onelook.heads.classify import Classify
from onelook.heads.ensemble import rebuild, uncalibrated
from onelook.heads.familiar import Familiar
from onelook.heads.tail import frozen_in_words
from onelook.looks.extractor import Refused
from onelook.modelfile import Contents, HeadRecord
from onelook.training.gather import Gatherer
from onelook.training.request import Trained

READY = "imagenet"  # the backbone's own classifier, there without any training
SCRATCH_RECIPE = "signs"  # of views, for a network that starts from random weights
__all__ = ["READY", "SCRATCH_RECIPE", "uncalibrated"]


@dataclass(frozen=True)
class Fitted:
    """What ``Model.fit`` did.

    ``images``: pictures that were learned from; ``refused``: those that could not be read; ``trained``: the head, its depth, how
    it did on held-out training pictures and what was compared. ``seconds_look``, ``seconds_fit``: spent looking and fitting; ``looked``:
    views that were looked at now.
    """

    name: str
    images: int
    trained: Trained
    refused: tuple[Refused, ...]
    seconds_look: float
    seconds_fit: float
    looked: int


def backbone_of(path: Path, contents: Contents, weights: Path | str | None) -> Backbone:
    """The backbone that a file was written with. Raises ModelFileError if it is another one here."""
    facts = contents.backbone
    own = modelfile.of_head(contents.tensors, modelfile.BACKBONE)
    try:
        name, fingerprint = str(facts["name"]), str(facts["fingerprint"])
        source = Source(**facts["source"]) if own else None
    except (KeyError, TypeError) as error:
        raise ModelFileError(f"{path}: does not say which network its heads read ({error!r}); use a copy or train it again") from error
    if source is not None:
        backbone = Backbone.load(f"random:{name.removeprefix('random:')}")
        load_by_name(backbone.network, own, str(path))
        backbone.name, backbone.source = name, source
    else:
        backbone = Backbone.load(name, weights_file=weights)
    if backbone.fingerprint != fingerprint:
        raise ModelFileError(
            f"{path}: its heads were trained on a {name} with fingerprint {fingerprint}, here it is "
            f"{backbone.fingerprint}; give the weights they were trained on with --weights FILE"
        )
    return backbone


def geometry_of(path: Path, facts: Facts) -> Geometry | None:
    """The geometry that a file names; None if it names none. Raises ModelFileError."""
    try:
        return Geometry(**facts) if facts else None
    except (TypeError, OnelookError) as error:
        raise ModelFileError(f"{path}: its geometry cannot be read ({error}); use a copy or train it again") from error


def head_of(path: Path, contents: Contents, name: str, backbone: Backbone) -> AnyHead:
    """A head of a file, its weights filled in. Raises ModelFileError for one that is unknown or does not fit."""
    record = contents.heads[name]
    method = record.method or record.task
    if method not in HEADS:
        raise ModelFileError(
            f"{path}: head {name!r} is a {method!r}, which this onelook does not know; upgrade onelook, or install the package it is from"
        )
    geometry_of(path, record.geometry)
    try:
        head = rebuild(HEADS[method], record.config, backbone)
        tensors = modelfile.of_head(contents.tensors, name)
        if "familiar.vectors" in tensors:
            head.familiar = Familiar(*tensors["familiar.vectors"].shape)
        head.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError, OnelookError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise ModelFileError(f"{path}: head {name!r} cannot be rebuilt ({first}); use a copy or train it again") from error
    return head


def ready_head(backbone: Backbone) -> AnyHead:
    """The backbone's own classifier as a head."""
    classifier, names = backbone.classifier, backbone.class_names
    assert classifier is not None
    head = Classify(names, embedding=True, inputs=classifier.in_features, form="linear", standardize=False)
    head.last.load_state_dict(classifier.state_dict())
    return head.eval()


def no_head(name: str, heads: Iterable[str], backbone: Backbone) -> HeadError:
    """The error for a head that is not there, naming those there are."""
    known = [*heads, *([READY] if backbone.class_names else [])]
    return HeadError(f"no head {name!r}; this model has {', '.join(known) or 'none'}")


def dataset_of(data: Dataset | Path | str, head: type[AnyHead]) -> Dataset:
    """Labelled pictures, read for this head if they are a path."""
    return data if isinstance(data, Dataset) else read_kinds(data, head.learns_from)


def check_request(name: str, head: type[AnyHead], data: Dataset, views: int | None) -> None:
    """Raise HeadError for a name or a number of views that cannot be, DataError for pictures that the head cannot learn from."""
    if not name or "/" in name or name in ("look", "decode", modelfile.BACKBONE, READY):
        raise HeadError(f"head name {name!r} cannot be used; choose a word such as 'kind' (not look, decode, backbone or {READY})")
    if data.kind not in head.learns_from:
        wanted = " or ".join(dict.fromkeys(KINDS[kind].noun for kind in head.learns_from))
        raise DataError(f"{data.source}: {head.task} cannot learn from {data.targets.noun}; it takes {wanted}")
    if views is not None and not 1 <= views <= 64:
        raise HeadError(f"--views {views}: use 1 to 64")


def answer_options(heads: Sequence[AnyHead], conf: float | None, instances: How | None) -> AnswerOptions:
    """The options of answers that were asked for. Raises HeadError for one that none of the heads knows."""
    options = AnswerOptions(conf, instances)
    for name in options.asked():
        if not any(name in head.core.answer_options for head in heads):
            having = [method for method, head in HEADS.items() if name in head.answer_options]
            raise HeadError(f"--{name}: no head that is asked has a use for it; heads by {', '.join(having)} do")
    return options


def tiled(names: Sequence[str], heads: Sequence[AnyHead], tta: str) -> list[str]:
    """The names of the heads that can look piece by piece. Raises HeadError if none can, and for test-time augmentation beside it."""
    pieced = [name for name, head in zip(names, heads, strict=True) if head.core.tiled]
    if not pieced or tta != "none":
        raise HeadError(f"--tiles: {f'not together with --tta {tta}' if pieced else 'no head here says what pixels are'}")
    return pieced


def check_classes(name: str, head: AnyHead, data: Dataset) -> None:
    """Raise DataError for pictures that are labelled with other classes than the head's."""
    if not head.core.by_identity and data.classes != head.classes:
        raise DataError(f"the pictures have classes {', '.join(data.classes)}, head {name!r} knows {', '.join(head.classes)}")


def usual_recipe(head: type[AnyHead], backbone: Backbone) -> str:
    """How views are made where nobody says."""
    scratch = backbone.source.kind == "random" and head.trainer == "pooled"
    return SCRATCH_RECIPE if scratch else head.usual.recipe


def new_record(head: type[AnyHead], trained: Trained, kind: str, apart: Geometry | None) -> HeadRecord:
    """The record of a head that was just trained on targets of this kind; ``apart``: its geometry, if it looks apart."""
    geometry = asdict(apart) if apart else {}
    versions = {"onelook": onelook.__version__, "torch": str(torch.__version__), "python": platform.python_version()}
    return HeadRecord(head.task, trained.head.config(), trained.cut, kind, geometry, versions=versions, method=head.method)


def chosen_geometry(
    model: Geometry | None, backbone: Backbone, others: bool, size: int | None, mode: Mode | None
) -> tuple[Geometry, Geometry | None]:
    """The model's geometry, and that of a head that looks apart: the first chooses for the model (``others``: there are any)."""
    base = model or Geometry(backbone.preprocess.size, "fit", backbone.size_multiple)
    wanted = replace(base, size=size or base.size, mode=mode or base.mode)
    if model is None or not others:
        return (wanted if size or mode or model is None else model), None
    return model, (wanted if wanted != model else None)


def look_apart(name: str, wanted: Geometry, model: Geometry) -> str:
    """What it costs that a head looks at another size than its model."""
    more = (wanted.size / model.size) ** 2
    return (
        f"head {name!r} looks at {wanted.mode} {wanted.size}, the model at {model.mode} {model.size}: every picture "
        f"then costs a second look of about {more:.1f} times the first; one look for all: onelook retrain FILE --size {wanted.size}"
    )


def check_mergeable(
    ours: Backbone, theirs: Backbone, our_geometry: Geometry | None, their_geometry: Geometry | None, our_heads: Iterable[str],
    their_heads: Iterable[str],
) -> None:  # fmt: skip
    """Raise BackboneError or HeadError where two models cannot be one."""
    if theirs.fingerprint != ours.fingerprint:
        raise BackboneError(f"cannot merge: backbones differ ({ours.fingerprint} and {theirs.fingerprint})")
    if our_geometry and their_geometry and our_geometry != their_geometry:
        raise HeadError(f"cannot merge: one model has one geometry ({our_geometry} and {their_geometry}); retrain one of them")
    clash = sorted(set(our_heads) & set(their_heads))
    if clash:
        raise HeadError(f"cannot merge: both have a head {clash[0]!r}; rename one")


def fitted(name: str, gather: Gatherer, trained: Trained, seconds: float) -> Fitted:
    """What fitting did; ``seconds``: looking and fitting together."""
    images = len(gather.data) - len(gather.refused) - len(gather.left)
    return Fitted(name, images, trained, gather.refused, gather.seconds, seconds - gather.seconds, gather.looked)


def facts_of(backbone: Backbone, heads: Mapping[str, tuple[AnyHead, HeadRecord | None, Geometry]]) -> Facts:
    """What a model holds, as plain values: its backbone, each head with its record and how it looks, the licences."""
    described = {
        name: {
            "task": head.core.task,
            "classes": list(head.classes),
            "cut": frozen_in_words(backbone.stage_names, record.cut if record else len(backbone.stages)),
            "method": record.method if record else "",
            "reads": asdict(head.needs),
            "geometry": {"mode": geometry.mode, "size": geometry.size},
            "config": record.config if record else {},
            "metrics": record.metrics if record else {},
            "training": record.training if record else {},
        }
        for name, (head, record, geometry) in heads.items()
    }
    network = {
        "name": backbone.name,
        "fingerprint": backbone.fingerprint,
        "strides": list(backbone.strides),
        "channels": backbone.channels,
        "weights": backbone.source.name,
    }
    licences = {"onelook": "Apache-2.0", backbone.source.name: backbone.source.licence}
    return {"backbone": network, "heads": described, "licences": licences}


def contents_of(backbone: Backbone, geometry: Geometry | None, heads: Mapping[str, AnyHead], records: Mapping[str, HeadRecord]) -> Contents:
    """What a model's file holds; weights of the backbone only where they cannot be found again by name."""
    tensors = {f"{name}/{key}": value for name, head in heads.items() for key, value in head.state_dict().items()}
    if backbone.source.kind in ("file", "random"):
        tensors |= {f"{modelfile.BACKBONE}/{key}": value for key, value in backbone.network.state_dict().items()}
    facts = {"name": backbone.name, "fingerprint": backbone.fingerprint, "source": asdict(backbone.source)}
    return Contents(facts, asdict(geometry) if geometry else {}, dict(records), tensors)

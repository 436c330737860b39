"""The model: one backbone, any number of named heads, one geometry; look once, ask every head.

import onelook
model = onelook.Model.new()
model.fit("kind", onelook.read("photos/"))
model.save("mine.onelook")
for answers in model.predict(["photo.jpg"]):
    print(answers["kind"])
"""

import platform
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

import onelook
from onelook import modelfile
from onelook.answers import Answer, Answers
from onelook.backbone import Backbone
from onelook.cache import FeatureCache, default_root
from onelook.data.pictures import find_pictures
from onelook.data.samples import Dataset
from onelook.data.split import assign_folds
from onelook.engines import Engine, make_engine
from onelook.errors import BackboneError, DataError, HeadError, ModelFileError
from onelook.heads import HEADS, Classify, Head
from onelook.heads.readout import Form
from onelook.look import Geometry, Look, Mode, Needs
from onelook.looker import BATCH, Collected, Looker, Refused, cache_key, collect, look_at
from onelook.modelfile import Contents, HeadRecord
from onelook.progress import QUIET, Progress
from onelook.select import CHUNK, FOLDS, Rows, Steps, candidate_needs, select
from onelook.weights import DEFAULT_BACKBONE

Item = TypeVar("Item")
READY = "imagenet"  # the backbone's own classifier, there without any training
VIEWS = 2
NO_OUTLIER = 2.0**20


@dataclass(frozen=True)
class Fitted:
    """What ``Model.fit`` did: figures on held-out training pictures, candidates tried, refused pictures, seconds."""

    head: str
    images: int
    refused: tuple[Refused, ...]
    held_out: dict[str, Any]
    tried: tuple[Any, ...]
    seconds_look: float
    seconds_fit: float
    looked: int


@dataclass(frozen=True)
class Evaluated:
    """A head's metrics on labelled pictures, each picture's truth and answer, and what could not be read."""

    metrics: dict[str, Any]
    paths: tuple[Path, ...]
    targets: Tensor
    raw: Tensor
    refused: tuple[Refused, ...]
    seconds_look: float


class Model:
    """One backbone and the heads that read its looks. ``new`` or ``load`` makes one."""

    def __init__(self, backbone: Backbone, geometry: Geometry | None, *, cache: Path | None = None, device: str = "auto") -> None:
        self.backbone = backbone
        self.geometry = geometry
        self.cache_root = cache or default_root()
        self.device = device
        self.heads: dict[str, Head] = {}
        self.records: dict[str, HeadRecord] = {}
        self._apart: dict[str, Geometry] = {}  # heads that look at another size than the model, at the price of a look

    @staticmethod
    def new(
        backbone: str = DEFAULT_BACKBONE,
        *,
        weights: Path | str | None = None,
        geometry: Geometry | None = None,
        cache: Path | None = None,
        device: str = "auto",
    ) -> "Model":
        """A model without trained heads; it answers with the backbone's own ImageNet classes."""
        return Model(Backbone.load(backbone, weights_file=weights), geometry, cache=cache, device=device)

    @staticmethod
    def load(path: Path | str, *, weights: Path | str | None = None, cache: Path | None = None, device: str = "auto") -> "Model":
        """Read a model file. ``weights``: the backbone's weights, where they are not installed.

        Raises ModelFileError for a file that is cut short, foreign, or of a backbone with another fingerprint.
        """
        path = Path(path)
        contents = modelfile.read(path)
        backbone = _backbone_of(path, contents, weights)
        model = Model(backbone, Geometry(**contents.geometry) if contents.geometry else None, cache=cache, device=device)
        for name, record in contents.heads.items():
            if record.task not in HEADS:
                raise ModelFileError(f"{path}: head {name!r} is a {record.task!r}, which this onelook does not know; upgrade onelook")
            head = HEADS[record.task](**record.config)
            head.load_state_dict(modelfile.of_head(contents.tensors, name))
            model.heads[name] = cast(Head, head.eval())
            model.records[name] = record
            if record.geometry:
                model._apart[name] = Geometry(**record.geometry)
        return model

    def save(self, path: Path | str) -> None:
        """Write the model file; an interrupted or failed write leaves the old file as it was. Raises DiskError."""
        tensors = {f"{name}/{key}": value for name, head in self.heads.items() for key, value in cast(Any, head).state_dict().items()}
        source = self.backbone.source
        if source.kind in ("file", "random"):
            tensors |= {f"backbone/{key}": value for key, value in self.backbone.network.state_dict().items()}
        facts = {"name": self.backbone.name, "fingerprint": self.backbone.fingerprint, "source": asdict(source)}
        modelfile.write(Path(path), Contents(facts, _facts(self.geometry), self.records, tensors))

    def merge(self, other: "Model") -> None:
        """Take over the heads of another model of the same backbone and geometry; names must not clash."""
        if other.backbone.fingerprint != self.backbone.fingerprint:
            raise BackboneError(f"cannot merge: backbones differ ({self.backbone.fingerprint} and {other.backbone.fingerprint})")
        if self.geometry and other.geometry and self.geometry != other.geometry:
            raise HeadError(f"cannot merge: one model has one geometry ({self.geometry} and {other.geometry}); retrain one of them")
        clash = sorted(self.heads.keys() & other.heads.keys())
        if clash:
            raise HeadError(f"cannot merge: both have a head {clash[0]!r}; rename one")
        self.geometry = self.geometry or other.geometry
        self.heads |= other.heads
        self.records |= other.records
        self._apart |= other._apart

    # --- training

    def fit(
        self,
        name: str,
        data: Dataset,
        *,
        head: str = "classify",
        form: Form = "radial",
        views: int = VIEWS,
        balance: bool = False,
        seed: int = 0,
        progress: Progress = QUIET,
        through: Steps = iter,
    ) -> Fitted:
        """Train head ``name`` on all of ``data`` from cached looks; other heads keep every bit.

        ``head``: the task. ``form``: radial, linear or hidden (see ``onelook.select``). ``views``: how many versions of
        each picture are learned from. ``balance``: classes count equally however many pictures they have. Unreadable
        pictures are left out and reported. Raises DataError if what is left cannot be learned from.
        """
        _check_request(name, head, data, views)
        self.choose_geometry(name)
        cache, found = self._collect(name, data, views, seed, progress)
        usable = data.pick([index for index, sample in enumerate(data.samples) if sample.path in found.digests])
        for refused in found.refused[:5]:
            progress.say(f"left out: {refused.reason}")
        if len(found.refused) > 5:
            progress.say(f"left out: {len(found.refused) - 5} more pictures that cannot be read")
        check_learnable(usable)
        begun = time.perf_counter()
        rows = _training_rows(usable, cache, found.digests, found.views, balance, seed)
        chosen = select(head, data.kind, data.classes, rows, form=form, seed=seed, through=through)
        self.heads[name] = cast(Head, chosen.head)
        config, cut = cast(Head, chosen.head).config(), len(self.backbone.stages)
        self.records[name] = HeadRecord(head, config, cut, data.kind, _facts(self._apart.get(name)), versions=_versions())
        seconds = time.perf_counter() - begun
        return Fitted(name, len(usable), found.refused, chosen.held_out, chosen.tried, found.seconds, seconds, found.looked)

    def note(self, name: str, *, metrics: dict[str, Any] | None = None, training: dict[str, Any] | None = None) -> None:
        """Write metrics and the training record of head ``name`` into its place in the file."""
        record = self.records[name]
        self.records[name] = replace(record, metrics=metrics or record.metrics, training=training or record.training)

    # --- answering

    def predict(self, pictures: Iterable[str | Path] | str | Path, *, heads: Sequence[str] | None = None) -> Iterator[Answers]:
        """Answers for paths, folders and globs, in their order, lazily; an unreadable picture gives ``.error``.

        ``heads``: which to ask (default: all trained ones, or ``imagenet`` if there is none).
        """
        if isinstance(pictures, str | Path):
            pictures = [pictures]
        asked = {name: self.head(name) for name in (heads or self.heads or [READY])}
        for paths in _chunks(find_pictures(pictures), 4 * BATCH):
            answers: dict[Path, dict[str, Answer]] = {path: {} for path in paths}
            ms: dict[Path, dict[str, float]] = {path: {"look": 0.0} for path in paths}
            errors: dict[Path, str] = {}
            for geometry, names in self.by_geometry(asked).items():
                group = {name: asked[name] for name in names}
                for seen in look_at(self.looker(geometry), paths, _union_needs(head.needs for head in group.values())):
                    if isinstance(seen, Refused):
                        errors[seen.path] = seen.reason
                        continue
                    said, cost = _ask(group, seen.look)
                    for index, path in enumerate(seen.paths):
                        answers[path] |= {name: found[index] for name, found in said.items()}
                        ms[path] |= cost | {"look": ms[path]["look"] + seen.ms}
            for path in paths:
                yield Answers(path, error=errors[path]) if path in errors else Answers(path, answers[path], ms[path])

    def __call__(self, pictures: Iterable[str | Path] | str | Path) -> list[Answers]:
        """``predict`` as a list."""
        return list(self.predict(pictures))

    def evaluate(self, name: str, data: Dataset, *, progress: Progress = QUIET) -> Evaluated:
        """Judge head ``name`` on labelled pictures, from cached looks where there are some.

        ``data`` must use the head's own classes (``read(..., classes=...)``). Raises DataError.
        """
        head = self.head(name)
        if data.classes != head.classes:
            raise DataError(f"the pictures have classes {', '.join(data.classes)}, head {name!r} knows {', '.join(head.classes)}")
        cache, found = self._collect(name, data, 1, 0, progress)
        usable = [sample for sample in data.samples if sample.path in found.digests]
        if not usable:
            reason = found.refused[0].reason if found.refused else "no pictures"
            raise DataError(f"{data.source}: none of the {len(data)} pictures can be read ({reason})")
        raws = []
        for samples in _chunks(usable, CHUNK):
            look = cache.read([(found.digests[sample.path], 0) for sample in samples])
            with torch.inference_mode():
                raws.append(head(look))
        raw, target = torch.cat(raws), torch.tensor([sample.target for sample in usable])
        judge = head.judge()
        judge.add(raw, target)
        return Evaluated(judge.result(), tuple(sample.path for sample in usable), target, raw, found.refused, found.seconds)

    def head(self, name: str) -> Head:
        """The head of this name; ``imagenet`` is there without training. Raises HeadError naming those there are."""
        if name in self.heads:
            return self.heads[name]
        if name == READY and self.backbone.class_names:
            return self._ready
        known = [*self.heads, *([READY] if self.backbone.class_names else [])]
        raise HeadError(f"no head {name!r}; this model has {', '.join(known) or 'none'}")

    # --- parts

    def geometry_of(self, name: str) -> Geometry:
        """How pictures are brought to the input for head ``name``; without trained heads, as the weights were evaluated."""
        return self._apart.get(name) or self.geometry or self.backbone.own_geometry()

    def choose_geometry(self, name: str, size: int | None = None, mode: Mode | None = None, progress: Progress = QUIET) -> None:
        """Settle how head ``name`` will look: the first head chooses for the model, a later one that differs looks apart.

        A look apart costs every picture one more pass, which is said on ``progress``.
        """
        base = self.geometry or Geometry(self.backbone.preprocess.size, "fit", self.backbone.size_multiple)
        wanted = replace(base, size=size or base.size, mode=mode or base.mode)
        if self.geometry is None or not any(other != name for other in self.heads):
            self.geometry = wanted if size or mode or self.geometry is None else self.geometry
            return
        if size is None and mode is None:
            return
        self._apart.pop(name, None)
        if wanted == self.geometry:
            return
        self._apart[name] = wanted
        more = (wanted.size / self.geometry.size) ** 2
        progress.say(
            f"head {name!r} looks at {wanted.mode} {wanted.size}, the model at {self.geometry.mode} {self.geometry.size}: every picture "
            f"then costs a second look of about {more:.1f} times the first; one look for all: onelook retrain FILE --size {wanted.size}"
        )

    def looker(self, geometry: Geometry) -> Looker:
        """Backbone, engine and geometry together."""
        return Looker(self.backbone, self._engine, geometry)

    def _collect(self, name: str, data: Dataset, views: int, seed: int, progress: Progress) -> tuple[FeatureCache, Collected]:
        """The cache that head ``name`` reads, filled with the looks at ``data``."""
        looker = self.looker(self.geometry_of(name))
        needs = _union_needs([*candidate_needs(self.backbone.strides), *([self.heads[name].needs] if name in self.heads else [])])
        cache = FeatureCache(self.cache_root, cache_key(looker, needs, seed, views), self.backbone)
        return cache, collect(looker, cache, [sample.path for sample in data.samples], views, progress)

    def by_geometry(self, names: Iterable[str]) -> dict[Geometry, list[str]]:
        """Head names by the look that they share."""
        shared: dict[Geometry, list[str]] = {}
        for name in names:
            shared.setdefault(self.geometry_of(name), []).append(name)
        return shared

    @cached_property
    def _engine(self) -> Engine:
        return make_engine(self.backbone, self.cache_root / "engines", self.device)

    @cached_property
    def _ready(self) -> Head:
        classifier, names = self.backbone.classifier, self.backbone.class_names
        assert classifier is not None
        head = Classify(names, embedding=True, inputs=classifier.in_features, form="linear")
        head.last.load_state_dict(classifier.state_dict())
        head.readout.deviation.fill_(NO_OUTLIER)  # powers of two: the classifier reads the embedding to the bit, nothing is cut
        head.readout.weight.fill_(NO_OUTLIER)
        return cast(Head, head.eval())


def load(path: Path | str, **options: Any) -> Model:
    """Read a model file; the same as ``Model.load``."""
    return Model.load(path, **options)


def check_learnable(data: Dataset) -> None:
    """Raise DataError unless there are at least two classes with pictures, or two pictures with different values."""
    if len(data) < 2:
        raise DataError(f"{data.source}: {len(data)} usable pictures; at least 2 are needed")
    if data.kind == "single":
        present = [name for name, count in data.counts().items() if count]
        if len(present) < 2:
            raise DataError(f"{data.source}: only one class ({present[0]}); classify needs at least two")
    elif len({sample.target for sample in data.samples}) < 2:
        raise DataError(f"{data.source}: all {len(data)} pictures have the same labels; there is nothing to learn")


def _ask(heads: dict[str, Head], look: Look) -> tuple[dict[str, list[Any]], dict[str, float]]:
    """Every head's answers for one look, and each head's milliseconds per picture."""
    answers, ms = {}, {}
    for name, head in heads.items():
        begun = time.perf_counter()
        with torch.inference_mode():
            answers[name] = head.answer(head(look), look.placements)
        ms[name] = (time.perf_counter() - begun) * 1000 / len(look)
    return answers, ms


def _union_needs(all_needs: Iterable[Needs]) -> Needs:
    union = Needs()
    for needs in all_needs:
        union = union | needs
    return union


def _facts(geometry: Geometry | None) -> dict[str, Any]:
    return asdict(geometry) if geometry else {}


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _check_request(name: str, task: str, data: Dataset, views: int) -> None:
    if not name or "/" in name or name in ("look", "backbone", READY):
        raise HeadError(f"head name {name!r} cannot be used; choose a word such as 'kind' (not look, backbone or {READY})")
    if task not in HEADS:
        raise HeadError(f"task {task!r} is unknown; use one of {', '.join(HEADS)}")
    if (task == "regress") != (data.kind == "values"):
        raise DataError(f"{data.source}: {task} cannot learn from {'numbers' if data.kind == 'values' else 'classes'}")
    if not 1 <= views <= 64:
        raise HeadError(f"--views {views}: use 1 to 64")


def _training_rows(data: Dataset, cache: FeatureCache, digests: dict[Path, str], views: int, balance: bool, seed: int) -> Rows:
    targets = torch.tensor([sample.target for sample in data.samples])
    weights = torch.ones(len(data))
    if balance and data.kind == "single":
        counts = Counter(targets.tolist())
        weights = torch.tensor([len(data) / len(counts) / counts[target] for target in targets.tolist()])
    names = tuple(digests[sample.path] for sample in data.samples)
    folds = assign_folds(_grouped_by_content(data, names), FOLDS, seed)
    return Rows(cache, names, views, targets, torch.from_numpy(np.asarray(folds)), weights)


def _grouped_by_content(data: Dataset, digests: tuple[str, ...]) -> Dataset:
    """Copies of one picture get one group, so that no fold is judged on a picture that was learned from."""
    repeated = {digest for digest, count in Counter(digests).items() if count > 1}
    if not repeated:
        return data
    samples = tuple(
        replace(sample, group=digest) if digest in repeated and sample.group is None else sample
        for sample, digest in zip(data.samples, digests, strict=True)
    )
    return replace(data, samples=samples)


def _backbone_of(path: Path, contents: Contents, weights: Path | str | None) -> Backbone:
    facts = contents.backbone
    own = modelfile.of_head(contents.tensors, "backbone")
    if own:
        from onelook.weights import Source, load_by_name

        backbone = Backbone.load(f"random:{facts['name'].removeprefix('random:')}")
        load_by_name(backbone.network, own, str(path))
        backbone.name, backbone.source = facts["name"], Source(**facts["source"])
    else:
        backbone = Backbone.load(facts["name"], weights_file=weights)
    if backbone.fingerprint != facts["fingerprint"]:
        raise ModelFileError(
            f"{path}: its heads were trained on a {facts['name']} with fingerprint {facts['fingerprint']}, here it is "
            f"{backbone.fingerprint}; give the weights they were trained on with --weights FILE"
        )
    return backbone


def _versions() -> dict[str, str]:
    return {"onelook": onelook.__version__, "torch": str(torch.__version__), "python": platform.python_version()}

"""The model: one backbone, any number of named heads, one geometry; look once, ask every head.

import onelook
model = onelook.Model.new()
model.fit("kind", "photos/")
print(model(["photo.jpg"])[0]["kind"])
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from onelook import modelfile, modelparts
from onelook.answers.answer import Answers
from onelook.backbones.backbone import Backbone
from onelook.backbones.engines import Engine, make_engine
from onelook.backbones.weights import DEFAULT_BACKBONE
from onelook.data.augment import recipe_by_name
from onelook.data.in_memory import Named, Pictures
from onelook.data.pictures import find_pictures
from onelook.data.samples import Dataset
from onelook.deadline import NEVER, Deadline
from onelook.facts import Facts
from onelook.files import cache_folder
from onelook.geometry.instances import How
from onelook.geometry.placement import Geometry, Mode
from onelook.heads import find_head, make_options
from onelook.heads.base import AnyHead
from onelook.inference.evaluate import BEFORE, Evaluated, evaluate, from_cache, in_order
from onelook.inference.predict import Prediction, predict
from onelook.inference.tiles import predict_beside_tiles
from onelook.looks.embeddings import Embeddings, embeddings
from onelook.looks.extractor import Extractor
from onelook.looks.tta import tta_views
from onelook.modelfile import HeadRecord
from onelook.modelparts import READY, Fitted
from onelook.progress import QUIET, Progress
from onelook.training.gather import Gatherer
from onelook.training.request import Callback, Request, no_callback
from onelook.training.trainers import train_head


class Model:
    """One backbone and the heads that read its looks. ``new`` or ``load`` makes one."""

    def __init__(self, backbone: Backbone, geometry: Geometry | None, *, cache: Path | None = None, device: str = "auto") -> None:
        self.backbone, self.geometry, self.device = backbone, geometry, device
        self.cache_root = cache or cache_folder()
        self.heads: dict[str, AnyHead] = {}
        self.records: dict[str, HeadRecord] = {}
        self._apart: dict[str, Geometry] = {}  # heads that look at another size than the model, at the price of a look

    def __repr__(self) -> str:
        return f"<Model on {self.backbone.name}: {', '.join(f'{n} ({h.core.task})' for n, h in self.heads.items()) or 'no heads'}>"

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Head -> the names of its classes, points or values."""
        return {name: head.classes for name, head in self.heads.items()}

    def info(self) -> Facts:
        """What the model holds: the backbone, what every head answers, how good it is, when and on what it was trained; licences."""
        names = list(self.heads) or [READY] * bool(self.backbone.class_names)
        each = {name: (self.head(name), self.records.get(name), self.geometry_of(name)) for name in names}
        return modelparts.facts_of(self.backbone, each)

    @staticmethod
    def new(
        backbone: str = DEFAULT_BACKBONE, *, weights: Path | str | None = None, geometry: Geometry | None = None, cache: Path | None = None,
        device: str = "auto",
    ) -> "Model":  # fmt: skip
        """A model without trained heads; it answers with the backbone's own ImageNet classes."""
        return Model(Backbone.load(backbone, weights_file=weights), geometry, cache=cache, device=device)

    @staticmethod
    def load(path: Path | str, *, weights: Path | str | None = None, cache: Path | None = None, device: str = "auto") -> "Model":
        """Read a model file. ``weights``: the backbone's weights, where they are not installed.

        Raises ModelFileError for a file that is cut short, damaged, foreign, or of a backbone with another fingerprint.
        """
        contents = modelfile.read(Path(path))
        backbone = modelparts.backbone_of(Path(path), contents, weights)
        model = Model(backbone, modelparts.geometry_of(Path(path), contents.geometry), cache=cache, device=device)
        for name, record in contents.heads.items():
            model._take(name, modelparts.head_of(Path(path), contents, name, backbone), record)
        return model

    def save(self, path: Path | str) -> None:
        """Write the model file; an interrupted or failed write leaves the old file as it was. Raises DiskError."""
        modelfile.write(Path(path), modelparts.contents_of(self.backbone, self.geometry, self.heads, self.records))

    def merge(self, other: "Model") -> None:
        """Take over the heads of another model of the same backbone and geometry; names must not clash."""
        modelparts.check_mergeable(self.backbone, other.backbone, self.geometry, other.geometry, self.heads, other.heads)
        for name in other.heads:
            self.adopt(name, other, name)

    def adopt(self, name: str, other: "Model", theirs: str) -> None:
        """Take over head ``theirs`` of another model of the same backbone under ``name``; it looks apart if the geometries differ."""
        geometry, record = other.geometry_of(theirs), other.records[theirs]
        apart = {} if self.geometry in (None, geometry) else asdict(geometry)
        self.geometry = self.geometry or geometry
        self._take(name, other.heads[theirs], replace(record, geometry=apart))

    def _take(self, name: str, head: AnyHead, record: HeadRecord) -> None:
        """Put a head into its place, its geometry too where it looks apart."""
        self.heads[name], self.records[name] = head, record
        self._apart.pop(name, None)
        if record.geometry:
            self._apart[name] = Geometry(**record.geometry)

    def fit(
        self, name: str, data: Dataset | Path | str, *, head: str | type[AnyHead] = "classify", freeze: str | int = "auto",
        budget: float | None = None, deadline: Deadline | None = None, views: int | None = None, augment: str | None = None,
        epochs: int | None = None, hold_out: bool = True, seed: int = 0, progress: Progress = QUIET, callback: Callback = no_callback,
        **options: object,
    ) -> Fitted:  # fmt: skip
        """Train head ``name`` on all of ``data`` (or what a folder or file holds) from cached looks; other heads keep every bit.

        ``head``: a task (done the usual way), a method, or a class, also one of another package. ``options``: its own, see its ``Options``.
        ``freeze``: how much of the backbone stays frozen and shared: "all", "none", a number of stages, the name of the last frozen stage,
        or "auto": measured within the budget, or what is usual for the method. ``budget``: seconds for fitting (default: 90
        where depth is measured, else none); ``deadline``: the same as a moment. ``views``: how many versions of each picture are learned
        from, made as the recipe ``augment`` says. ``epochs``: of a tail, or of a head that is trained by descent. ``hold_out``: whether
        a head keeps a fold of the pictures out at first, to be judged on, because nothing else judges it.
        Raises DataError if what can be read cannot be learned from, HeadError for what the head has no use for, BudgetError, BackboneError.
        """
        kind = find_head(head)
        own, data = make_options(kind, options), modelparts.dataset_of(data, kind)
        modelparts.check_request(name, kind, data, views)
        self.choose_geometry(name)
        request = Request(kind, own, freeze, budget, deadline or Deadline(budget), views, epochs, hold_out, callback, self._look_at_crops)
        recipe = recipe_by_name(augment or modelparts.usual_recipe(kind, self.backbone))
        gather = Gatherer(self.extractor(self.geometry_of(name)), self.cache_root, request, data, recipe, seed, progress)
        begun = time.perf_counter()
        trained = gather.noted(train_head(gather))
        self._take(name, trained.head, modelparts.new_record(kind, trained, data.kind, self._apart.get(name)))
        return modelparts.fitted(name, gather, trained, time.perf_counter() - begun)

    def predict(
        self, pictures: Pictures, *, heads: Sequence[str] | None = None, tta: str = "none",
        conf: float | None = None, tiles: bool = False, instances: How | None = None,
    ) -> Iterator[Answers]:  # fmt: skip
        """Answers for paths, folders, globs, PIL pictures, arrays (RGB, uint8), bytes and open files, in order, lazily; some as ``.error``.

        ``heads``: which to ask (default: all trained ones, or ``imagenet``). ``tta``: see ``onelook.looks.tta``; ``tiles``: see
        ``onelook.inference.tiles``; ``conf``, ``instances``: see ``AnswerOptions``. Raises HeadError for what no head here can do.
        """
        names = list(heads or self.heads or [READY])
        options = modelparts.answer_options([self.head(name) for name in names], conf, instances)
        with Named() as named:
            for found in self.predictions(find_pictures(named.paths(pictures)), names, tta, tiles):
                answers = {name: self.head(name).answer(prediction, options) for name, prediction in found.by_head.items()}
                path, picture = named.take(found.path)
                yield Answers(path, answers, found.ms, found.error, picture, found.unlike)

    def embeddings(self, pictures: Pictures) -> Embeddings:
        """What the network's own classifier reads of every picture: one vector each, from kept looks where there are some."""
        with Named() as named:
            found = embeddings(self.extractor(self.geometry_of(READY)), self.cache_root, list(find_pictures(named.paths(pictures))))
            return replace(found, paths=tuple(named.take(path)[0] for path in found.paths))

    def __call__(self, pictures: Pictures) -> list[Answers]:
        """``predict`` as a list."""
        return list(self.predict(pictures))

    def predictions(self, paths: Iterable[Path], names: Sequence[str], tta: str = "none", tiles: bool = False) -> Iterator[Prediction]:
        """What these heads predict of every picture, in order, lazily: looks made afresh, each shared by all heads.

        ``tiles``: see ``predict``. Raises HeadError for tiles with test-time augmentation, or without a head that can look piece by piece.
        """
        if tiles:
            pieced = modelparts.tiled(names, [self.head(name) for name in names], tta)
            rest = [name for name in names if name not in pieced]
            others = (lambda path: next(self.predictions([path], rest))) if rest else None
            return predict_beside_tiles(paths, {n: (self.head(n), self.extractor(self.geometry_of(n))) for n in pieced}, others)
        extractors = {self.extractor(geometry): shared for geometry, shared in self.by_geometry(names).items()}
        return predict(paths, {name: self.head(name) for name in names}, extractors, tta_views(tta))

    def evaluate(
        self, name: str, data: Dataset, *, tta: str = "none", tiles: bool = False, progress: Progress = QUIET, deadline: Deadline = NEVER,
    ) -> Evaluated:  # fmt: skip
        """Judge head ``name`` on labelled pictures; a head that reads no maps is judged from cached looks where there are some.

        ``data`` must use the head's own classes. ``deadline``: where it comes too soon, fewer pictures are judged. Raises DataError.
        """
        head = self.head(name)
        modelparts.check_classes(name, head, data)
        asked = {name: head} | ({BEFORE: modelparts.uncalibrated(head)} if head.core.calibrated else {})
        extractor = self.extractor(self.geometry_of(name))
        paths = [sample.path for sample in in_order(data, deadline)]
        if head.needs.maps or tta != "none":
            views = tta_views(tta)
            found = self.predictions(paths, [name], tta, tiles) if tiles else predict(paths, asked, {extractor: list(asked)}, views)
        else:
            found = from_cache(asked, extractor, self.cache_root, paths, head.needs, progress, deadline)
        return evaluate(head, data, found, progress, (name, BEFORE), deadline)

    def head(self, name: str) -> AnyHead:
        """The head of this name; ``imagenet`` is there without training. Raises HeadError naming those there are."""
        if name in self.heads:
            self.heads[name].bind(self._look_at_crops)
            return self.heads[name]
        if name == READY and self.backbone.class_names:
            return self._ready
        raise modelparts.no_head(name, self.heads, self.backbone)

    def geometry_of(self, name: str) -> Geometry:
        """How pictures are brought to the input for head ``name``; without trained heads, as the weights were evaluated."""
        return self._apart.get(name) or self.geometry or self.backbone.own_geometry()

    def choose_geometry(self, name: str, size: int | None = None, mode: Mode | None = None, progress: Progress = QUIET) -> None:
        """Settle how head ``name`` will look: the first head chooses for the model, a later one that differs looks apart, which is said."""
        others = any(other != name for other in self.heads)
        self.geometry, apart = modelparts.chosen_geometry(self.geometry, self.backbone, others, size, mode)
        if size is not None or mode is not None:
            self._apart.pop(name, None)
            if apart is not None:
                self._apart[name] = apart
                progress.say(modelparts.look_apart(name, apart, self.geometry))

    def extractor(self, geometry: Geometry) -> Extractor:
        """Backbone, engine and geometry together."""
        return Extractor(self.backbone, self._engine, geometry)

    def by_geometry(self, names: Iterable[str]) -> dict[Geometry, list[str]]:
        """Head names by the look that they share."""
        looks = {name: self.geometry_of(name) for name in names}
        return {look: [name for name in looks if looks[name] == look] for look in looks.values()}

    def _look_at_crops(self, crops: Tensor) -> Tensor:
        """Normalised crops (N, 3, H, W) -> embeddings (N, D), for heads that look many times."""
        with torch.inference_mode():
            return self._engine.embed(self._engine(crops)[-1]).cpu()

    @cached_property
    def _engine(self) -> Engine:
        return make_engine(self.backbone, self.cache_root / "engines", self.device)

    @cached_property
    def _ready(self) -> AnyHead:
        return modelparts.ready_head(self.backbone)


load = Model.load

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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, reduce
from pathlib import Path
from statistics import median
from typing import Any, cast

import torch
from torch import Tensor, nn

import onelook
from onelook import modelfile
from onelook.answers import Answer, Answers, Segmentation
from onelook.ask import Asked, ask, ask_once, beside, chunks
from onelook.averaged import rebuild, uncalibrated
from onelook.backbone import Backbone
from onelook.cache import default_root
from onelook.calibrate import calibration_error, reliability
from onelook.crops import select_crops
from onelook.data.augment import recipe_by_name
from onelook.data.pictures import find_pictures
from onelook.data.samples import Dataset, mask_of
from onelook.depth import climb_maps
from onelook.descend import fresh, select_objects
from onelook.engines import Engine, make_engine
from onelook.errors import BackboneError, DataError, HeadError, ModelFileError
from onelook.gather import Gatherer, check_learnable
from onelook.heads import HEADS, KINDS, TASKS, Classify, Facts, Head, ObjectHead
from onelook.heads.facts import Attach, PixelFacts
from onelook.heads.rcnn import Rcnn
from onelook.heads.readout import Form
from onelook.instances import How
from onelook.ladder import Climbed, climb, epochs_within
from onelook.look import PIXELS, Geometry, Mode, Needs, union
from onelook.looker import PLAIN, Looker, Refused, collect, open_shelf
from onelook.measure_boxes import CONF
from onelook.measure_pixels import Shares
from onelook.modelfile import Contents, HeadRecord
from onelook.problem import Candidate, Selected, candidate_needs
from onelook.progress import QUIET, Progress
from onelook.rows import CHUNK
from onelook.select import Steps, select, unseen
from onelook.tail import parse_freeze
from onelook.tiles import ask_in_tiles
from onelook.tta import rightness, shots_by_name
from onelook.tune import select_tail, training_table, usual_epochs
from onelook.weights import DEFAULT_BACKBONE

READY = "imagenet"  # the backbone's own classifier, there without any training
VIEWS, TAIL_VIEWS = 2, 4
MAP_VIEWS = {"detect": 4, "localize": 8, "keypoints": 4, "segment": 8}  # of heads that read maps
RECIPE, SCRATCH_RECIPE = "light", "signs"  # of views, where none is named
RECIPES_OF = {"unet": "photo", "unet2015": "microscope"}  # usual ones of methods; microscope: elastic deformation, as in the paper
USUAL_FREEZE = {"heatmap": "stride16", "unet": "stride8"}
DEPTHS = {"unet": ("all", "stride8", "none")}  # that are tried where a budget is given
_BEFORE = "before calibration"


@dataclass(frozen=True)
class Fitted:
    """What ``Model.fit`` did: figures on held-out training pictures, candidates tried, refused pictures, seconds.

    ``cut``: stages that stayed frozen and shared. ``climbed``: the ladder's evidence, where it chose the cut. ``scores``, ``targets``:
    calibrated held-out answers (m, K) and their truths.
    """

    head: str
    images: int
    cut: int
    refused: tuple[Refused, ...]
    held_out: dict[str, Any]
    tried: tuple[Candidate, ...]
    climbed: Climbed | None
    seconds_look: float
    seconds_fit: float
    looked: int
    interrupted: bool = False


@dataclass(frozen=True)
class Evaluated:
    """A head's metrics on labelled pictures, each picture's truth and answer, what could not be read, and what a picture cost."""

    metrics: dict[str, Any]
    paths: tuple[Path, ...]
    targets: Any  # (n, ...), or a list of Objects or Masks
    raw: Any  # (n, K), or a list of what was found (None for shares of pixels)
    before: Any  # (n, K) without any temperature; None for what was found
    each: Tensor  # (n,) how right each answer is, higher is better; NaN where a picture has nothing to be judged by
    refused: tuple[Refused, ...]
    seconds: float
    ms: float  # a picture, look and head


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
            method = record.method or record.task
            if method not in HEADS:
                raise ModelFileError(f"{path}: head {name!r} is a {method!r}, which this onelook does not know; upgrade onelook")
            head = rebuild(method, record.config, backbone)
            cast(nn.Module, head).load_state_dict(modelfile.of_head(contents.tensors, name))
            model.heads[name] = head
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
        method: str = "auto",
        attach: Attach = "conv",
        freeze: str | int = "auto",
        budget: float | None = None,
        form: Form = "radial",
        views: int | None = None,
        augment: str | None = None,
        epochs: int | None = None,
        balance: bool = False,
        pixels: PixelFacts = PixelFacts(),  # noqa: B008
        hold_out: bool = True,
        seed: int = 0,
        progress: Progress = QUIET,
        through: Steps = unseen,
    ) -> Fitted:
        """Train head ``name`` on all of ``data`` from cached looks; other heads keep every bit.

        ``head``: the task; ``method``: how it is done, where there are several ways (see ``onelook.heads.TASKS``); ``attach``: what a
        head of one box or one set of points reads, the last maps (conv) or the embedding. ``freeze``: how much
        of the backbone stays frozen and shared: "all", "none", a number of stages, the name of the last frozen stage, or "auto": measured
        on the ladder within ``budget`` seconds (default 90, or what frozen heads take); for boxes, points and pixels what was best in
        trials, and ``budget`` is what their training may take (of pixels, depths are then tried on a part of it, see ``onelook.depth``).
        ``form``: radial, linear or hidden, of a head on the frozen backbone (see ``onelook.select``). ``views``: how many versions of
        each picture are learned from, made as the recipe ``augment`` says (default: light; photo for pixels, microscope for unet2015; signs
        for a network that starts from random weights). ``epochs``: of a tail, or of a head that reads maps. ``balance``: classes count
        equally however many pictures they have. ``pixels``: of segment, how pixels are learned. ``hold_out``: whether a head that reads
        maps keeps a fold of the pictures out at first, to be judged on.
        Unreadable pictures are left out and reported. Raises DataError if what is left cannot be learned from, BudgetError if the budget is
        too small for anything, BackboneError for a ``freeze`` that matches nothing.
        """
        method = _check_request(name, head, method, data, views)
        self.choose_geometry(name)
        backbone, stages = self.backbone, len(self.backbone.stages)
        looker = self.looker(self.geometry_of(name))
        scratch = backbone.source.kind == "random"
        recipe = recipe_by_name(augment or RECIPES_OF.get(method) or (SCRATCH_RECIPE if scratch else RECIPE))
        gather = Gatherer(looker, self.cache_root, head, data, recipe, balance, seed, progress)
        if freeze == "auto" and scratch:
            freeze = "none"
            progress.say(f"{backbone.name} has random weights: all of it is trained")
        if freeze == "auto" and form != "radial":
            freeze = "all"
        begun, climbed = time.perf_counter(), None
        if not cast(Any, HEADS[method]).vector:
            facts, count = self._facts_of(name, data, attach, pixels), views or MAP_VIEWS[head]
            cut = parse_freeze(_usual_freeze(method, backbone) if freeze == "auto" else freeze, backbone)
            if freeze == "auto" and method in DEPTHS and budget is not None and epochs is None and backbone.can_split:
                check_learnable(data)
                cuts = tuple(parse_freeze(depth, backbone) for depth in DEPTHS[method] if depth in ("all", "none", *backbone.stage_names))
                needs = fresh(method, facts).needs
                climbed = climb_maps(gather, method, facts, cuts, cut, needs, count, budget, hold_out, through)
                selected, cut = climbed.selected, climbed.cut
            else:
                selected = self._fit_maps(gather, method, facts, cut, count, epochs, budget, hold_out, through)
        elif freeze == "auto":
            climbed = climb(gather, budget, through, views=views, epochs=epochs)
            selected, cut = climbed.selected, climbed.cut
        else:
            cut = parse_freeze(freeze, backbone)
            if cut == stages:
                selected = select(gather(views or VIEWS), form, through)
            else:
                count = epochs or (usual_epochs(len(data), scratch) if budget is None else epochs_within(gather, cut, budget))
                progress.say(training_table(backbone, cut))
                selected = select_tail(gather(views or TAIL_VIEWS, (cut,), vectors=False), cut, count, through)
        self.heads[name] = selected.head
        apart = _facts(self._apart.get(name))
        record = HeadRecord(head, selected.head.config(), cut, data.kind, apart, versions=_versions(), method=method)
        self.records[name] = record
        images, seconds = len(data) - len(gather.refused), time.perf_counter() - begun - gather.seconds
        interrupted = selected.interrupted or (climbed is not None and climbed.interrupted)
        return Fitted(
            name, images, cut, gather.refused, selected.held_out, selected.tried, climbed, gather.seconds, seconds, gather.looked,
            interrupted,
        )  # fmt: skip

    def _fit_maps(
        self,
        gather: Gatherer,
        method: str,
        facts: Facts,
        cut: int,
        views: int,
        epochs: int | None,
        budget: float | None,
        hold_out: bool,
        through: Steps,
    ) -> Selected:
        backbone = self.backbone
        check_learnable(gather.data)
        needs = fresh(method, facts).needs
        cuts: tuple[int, ...] = ()
        if cut < len(backbone.stages):  # what comes behind the cut is the tail's to make
            cuts, shared = (cut,), [stride for stride in needs.maps if stride < backbone.stride_before(cut)]
            needs = Needs(maps=tuple(shared), regions=needs.regions)
        by_crops = issubclass(HEADS[method], Rcnn)
        if by_crops and cuts:
            raise HeadError(f"--method {method}: looks at crops with the frozen network; use --freeze all")
        if PIXELS in needs.maps and cuts:
            raise HeadError(f"--method {method}: reads pixels, nothing of {backbone.name} is trained; leave --freeze out")
        begun = time.perf_counter()
        problem = gather(1 if by_crops else views, cuts, vectors=False, needs=needs)
        left = None if budget is None else budget - (time.perf_counter() - begun)
        if by_crops:
            return select_crops(problem, method, facts, self._look_at_crops, hold_out, gather.progress)
        return select_objects(
            problem, method, facts, cut, epochs=epochs, budget=left, hold_out=hold_out, through=through, progress=gather.progress
        )

    def _facts_of(self, name: str, data: Dataset, attach: Attach, pixels: PixelFacts) -> Facts:
        """What a new head that reads maps is told."""
        if data.kind == "masks":
            masks, geometry = [mask_of(sample) for sample in data.samples], self.geometry_of(name)
            scale = median(geometry.place(*mask.size).scale[0] for mask in masks)
            pixels = replace(pixels, counts=tuple(map(sum, zip(*(mask.pixels for mask in masks), strict=True))), scale=scale)
        return Facts(data.classes, self.backbone.channels, self.backbone.embedding_size, (), data.layout, attach, pixels)

    def note(self, name: str, *, metrics: dict[str, Any] | None = None, training: dict[str, Any] | None = None) -> None:
        """Write metrics and the training record of head ``name`` into its place in the file."""
        record = self.records[name]
        self.records[name] = replace(record, metrics=metrics or record.metrics, training=training or record.training)

    # --- answering

    def predict(
        self,
        pictures: Iterable[str | Path] | str | Path,
        *,
        heads: Sequence[str] | None = None,
        tta: str = "none",
        conf: float = CONF,
        tiles: bool = False,
        instances: How | None = None,
    ) -> Iterator[Answers]:
        """Answers for paths, folders and globs, in their order, lazily; an unreadable picture gives ``.error``.

        ``heads``: which to ask (default: all trained ones, or ``imagenet`` if there is none). ``tta``: how many versions of every
        picture are looked at and averaged (see ``onelook.tta``). ``conf``: the lowest score of boxes that are answers.
        ``tiles``: heads that say what pixels are look piece by piece, at the scale at which they were trained (see ``onelook.tiles``).
        ``instances``: whether and how single objects are told apart in what pixels are (see ``onelook.instances``).
        """
        if isinstance(pictures, str | Path):
            pictures = [pictures]
        for asked in self.ask(find_pictures(pictures), heads or list(self.heads) or [READY], tta, tiles):
            if asked.error is not None:
                yield Answers(asked.path, error=asked.error)
                continue
            yield Answers(asked.path, {name: self._answer(name, asked, conf, instances) for name in asked.raws}, asked.ms)

    def _answer(self, name: str, asked: Asked, conf: float, instances: How | None) -> Answer:
        head, raw = self.head(name), asked.raws[name]
        if head.vector:
            return head.answer(raw[None], (asked.placements[name],))[0]
        answer = cast(ObjectHead, head).say(raw)
        if isinstance(answer, Segmentation):
            return answer.with_instances(instances) if instances else answer
        return answer[answer.confidence >= conf] if hasattr(answer, "xyxy") else answer

    def ask(self, paths: Iterable[Path], heads: Sequence[str], tta: str = "none", tiles: bool = False) -> Iterator[Asked]:
        """The raw answers of these heads for every picture, in order, lazily: looks made afresh, each shared by all heads.

        ``tiles``: see ``predict``. Raises HeadError for tiles with test-time augmentation, or without a head that says what pixels are.
        """
        if tiles:
            pieced = [name for name in heads if self.head(name).task == "segment"]
            if not pieced or tta != "none":
                why = "no head here says what pixels are" if not pieced else f"not together with --tta {tta}"
                raise HeadError(f"--tiles: {why}")
            return self._ask_in_tiles(paths, pieced, [name for name in heads if name not in pieced])
        lookers = {self.looker(geometry): names for geometry, names in self.by_geometry(heads).items()}
        return ask(paths, {name: self.head(name) for name in heads}, lookers, shots_by_name(tta))

    def _ask_in_tiles(self, paths: Iterable[Path], pieced: Sequence[str], rest: Sequence[str]) -> Iterator[Asked]:
        """The same with the heads ``pieced`` looking piece by piece, one picture at a time."""
        for path in paths:
            parts = [next(self.ask([path], rest))] if rest else []
            parts += [ask_in_tiles(path, name, cast(ObjectHead, self.head(name)), self.looker(self.geometry_of(name))) for name in pieced]
            yield reduce(beside, parts)

    def __call__(self, pictures: Iterable[str | Path] | str | Path) -> list[Answers]:
        """``predict`` as a list."""
        return list(self.predict(pictures))

    def evaluate(self, name: str, data: Dataset, *, tta: str = "none", tiles: bool = False, progress: Progress = QUIET) -> Evaluated:
        """Judge head ``name`` on labelled pictures; a head without a tail reads cached looks where there are some.

        ``data`` must use the head's own classes (``read(..., classes=...)``). Raises DataError.
        """
        head = self.head(name)
        if data.classes != head.classes:
            raise DataError(f"the pictures have classes {', '.join(data.classes)}, head {name!r} knows {', '.join(head.classes)}")
        if not head.vector:
            return self._evaluate_found(name, data, tta, tiles, progress)
        begun = time.perf_counter()
        asked = {name: head, _BEFORE: uncalibrated(head)}
        if head.needs.maps or tta != "none":
            found, refused = self._fresh(asked, name, data, tta)
        else:
            found, refused = self._cached(asked, name, data, progress)
        usable = [sample for sample in data.samples if sample.path in found]
        if not usable:
            reason = refused[0].reason if refused else "no pictures"
            raise DataError(f"{data.source}: none of the {len(data)} pictures can be read ({reason})")
        raws = {key: [found[sample.path].raws[key] for sample in usable] for key in asked}
        raw, before, target = torch.stack(raws[name]), torch.stack(raws[_BEFORE]), torch.tensor([sample.target for sample in usable])
        judge = head.judge()
        judge.add(raw, target)
        metrics = judge.result()
        if "ece" in metrics:
            metrics["ece_before"] = calibration_error(reliability(before, target))
        ms = [found[sample.path].ms["look"] + found[sample.path].ms[name] for sample in usable]
        paths = tuple(sample.path for sample in usable)
        each = rightness(raw, target, data.kind)
        return Evaluated(metrics, paths, target, raw, before, each, refused, time.perf_counter() - begun, sum(ms) / len(ms))

    def _evaluate_found(self, name: str, data: Dataset, tta: str, tiles: bool, progress: Progress) -> Evaluated:
        """The same of a head that finds objects, points or pixels: judged picture by picture, from looks made now."""
        begun, targets = time.perf_counter(), {sample.path: sample.target for sample in data.samples}
        judge, ms = self.head(name).judge(), 0.0
        seen: list[tuple[Path, Any]] = []
        refused: list[Refused] = []
        with progress.task("judging", len(targets)) as advance:
            for asked in self.ask(targets, [name], tta, tiles):
                advance()
                if asked.error is not None:
                    refused.append(Refused(asked.path, asked.error))
                    continue
                found = asked.raws[name]
                judge.add([found], [targets[asked.path]])
                seen.append((asked.path, None if isinstance(found, Shares) else found))  # shares are too large to keep for all pictures
                ms += asked.ms["look"] + asked.ms[name]
        if not seen:
            raise DataError(
                f"{data.source}: none of the {len(data)} pictures can be read ({refused[0].reason if refused else 'no pictures'})"
            )
        paths, raw = tuple(path for path, _ in seen), [found for _, found in seen]
        truths, seconds = [targets[path] for path in paths], time.perf_counter() - begun
        return Evaluated(judge.result(), paths, truths, raw, None, judge.each(), tuple(refused), seconds, ms / len(seen))

    def _fresh(self, heads: dict[str, Head], name: str, data: Dataset, tta: str) -> tuple[dict[Path, Asked], tuple[Refused, ...]]:
        """What ``heads`` say of every picture, from looks made now as head ``name`` looks."""
        paths = dict.fromkeys(sample.path for sample in data.samples)
        asked = list(ask(paths, heads, {self.looker(self.geometry_of(name)): list(heads)}, shots_by_name(tta)))
        refused = tuple(Refused(one.path, one.error) for one in asked if one.error is not None)
        return {one.path: one for one in asked if one.error is None}, refused

    def _cached(
        self, heads: dict[str, Head], name: str, data: Dataset, progress: Progress
    ) -> tuple[dict[Path, Asked], tuple[Refused, ...]]:
        """What ``heads`` say of every picture, from looks on the shelf."""
        head, geometry = self.head(name), self.geometry_of(name)
        looker = self.looker(geometry)
        shelf = open_shelf(self.cache_root, looker, union([*candidate_needs(self.backbone.strides), head.needs]), PLAIN, 0)
        collected = collect(looker, shelf, PLAIN, [sample.path for sample in data.samples], 1, progress)
        each = 1000 * collected.seconds / max(1, len(collected.digests))
        found = {}
        for paths in chunks(collected.digests, CHUNK):
            look = shelf.read([(collected.digests[path], 0) for path in paths], head.needs)
            raws, cost = ask_once(heads, look)
            for index, path in enumerate(paths):
                said = {key: raw[index] for key, raw in raws.items()}
                found[path] = Asked(path, said, dict.fromkeys(heads, look.placements[index]), {"look": each, **cost})
        return found, collected.refused

    def head(self, name: str) -> Head:
        """The head of this name; ``imagenet`` is there without training. Raises HeadError naming those there are."""
        if name in self.heads:
            head = self.heads[name]
            if isinstance(head, Rcnn):
                head.bind(self._look_at_crops)
            return head
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

    def by_geometry(self, names: Iterable[str]) -> dict[Geometry, list[str]]:
        """Head names by the look that they share."""
        shared: dict[Geometry, list[str]] = {}
        for name in names:
            shared.setdefault(self.geometry_of(name), []).append(name)
        return shared

    def _look_at_crops(self, crops: Tensor) -> Tensor:
        """Normalised crops (N, 3, H, W) -> embeddings (N, D), for heads that look many times."""
        with torch.inference_mode():
            return self.backbone.embed(self._engine(crops)[-1]).cpu()

    @cached_property
    def _engine(self) -> Engine:
        return make_engine(self.backbone, self.cache_root / "engines", self.device)

    @cached_property
    def _ready(self) -> Head:
        classifier, names = self.backbone.classifier, self.backbone.class_names
        assert classifier is not None
        head = Classify(names, embedding=True, inputs=classifier.in_features, form="linear")
        head.last.load_state_dict(classifier.state_dict())
        head.readout.leave()
        return cast(Head, head.eval())


def load(path: Path | str, **options: Any) -> Model:
    """Read a model file; the same as ``Model.load``."""
    return Model.load(path, **options)


def _facts(geometry: Geometry | None) -> dict[str, Any]:
    return asdict(geometry) if geometry else {}


def _usual_freeze(method: str, backbone: Backbone) -> str:
    """What a head that reads maps is trained with where nobody says: heat maps and pixels gain by a tail, boxes do not (docs/diary.md)."""
    wanted = USUAL_FREEZE.get(method, "all")
    return wanted if wanted in backbone.stage_names and backbone.can_split else "all"


def _check_request(name: str, task: str, method: str, data: Dataset, views: int | None) -> str:
    """The method that is meant. Raises HeadError and DataError for what cannot be."""
    if not name or "/" in name or name in ("look", "backbone", READY):
        raise HeadError(f"head name {name!r} cannot be used; choose a word such as 'kind' (not look, backbone or {READY})")
    if task not in TASKS:
        raise HeadError(f"task {task!r} is unknown; use one of {', '.join(TASKS)}")
    if method not in ("auto", *TASKS[task]):
        raise HeadError(f"--method {method}: is no way to {task}; use one of {', '.join(TASKS[task])}")
    if data.kind not in KINDS[task]:
        what = {"values": "numbers", "objects": "boxes", "points": "key points", "masks": "masks"}.get(data.kind, "classes")
        raise DataError(f"{data.source}: {task} cannot learn from {what}")
    if views is not None and not 1 <= views <= 64:
        raise HeadError(f"--views {views}: use 1 to 64")
    return TASKS[task][0] if method == "auto" else method


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

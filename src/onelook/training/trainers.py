"""The four ways to fit a head, by the name that its class states; each takes pictures to a trained head.

What was asked for and what a way of fitting has no use for is an error, not ignored.
"""

from collections.abc import Callable
from dataclasses import replace

from onelook.deadline import NEVER
from onelook.errors import HeadError
from onelook.geometry.placement import PIXELS
from onelook.heads.base import AnyHead
from onelook.heads.pooled import PooledOptions
from onelook.heads.tail import parse_freeze
from onelook.looks.features import Needs
from onelook.threads import chosen_threads
from onelook.training.dense import train_dense
from onelook.training.dense_depth_search import search_dense_depth
from onelook.training.depth_plan import MORE_VIEWS, epochs_within, refuse_too_little
from onelook.training.depth_search import search_depth
from onelook.training.finetune import finetune, training_table, usual_epochs
from onelook.training.gather import Gatherer
from onelook.training.identity import train_identity
from onelook.training.pooled import select
from onelook.training.region_svm import train_region_svm
from onelook.training.request import Trained


def train_pooled(gather: Gatherer) -> Trained:
    """A head of the whole picture: a readout of the frozen network, a fine-tuned tail, or whichever is better."""
    request, backbone = gather.request, gather.extractor.backbone
    options: PooledOptions = request.options
    scratch, freeze = backbone.source.kind == "random", request.freeze
    if freeze == "auto" and scratch:
        freeze = "none"
        gather.progress.say(f"{backbone.name} has random weights: all of it is trained")
    if freeze == "auto" and options.form == "radial":
        return search_depth(gather)
    if request.freeze == "auto" and request.budget is None:  # the usual time is for searches; without one it takes what it takes
        gather.request = request = replace(request, deadline=NEVER)
    cut = parse_freeze("all" if freeze == "auto" else freeze, backbone)
    usual = request.head.usual
    if cut == len(backbone.stages):
        if request.epochs is not None:
            raise HeadError("--epochs: nothing of the network is trained; it is for a tail, see --freeze")
        if request.deadline.seconds is not None:
            refuse_too_little(gather, gather.seconds_a_look())
        return select(gather(request.views or usual.views), options.form)
    if options.form != "radial":
        raise HeadError(f"--form {options.form}: is for a head on the frozen network; leave it out, or use --freeze all")
    epochs = request.epochs or epochs_within(gather, cut, usual_epochs(usual, len(gather.data), scratch))
    gather.progress.say(training_table(backbone, cut))
    return finetune(gather(request.views or MORE_VIEWS, (cut,), vectors=False), cut, epochs)


def train_maps(gather: Gatherer) -> Trained:
    """A head that reads maps, behind a tail where that is usual or asked for; with a budget the depth is searched."""
    request, backbone = gather.request, gather.extractor.backbone
    head, usual = request.head, request.head.usual
    gather.data.refuse_unlearnable()
    needs = head.fresh(gather.context, request.options).needs
    cut = _cut(gather)
    if PIXELS in needs.maps and cut < len(backbone.stages):
        raise HeadError(f"--freeze: {head.method} reads pixels, nothing of {backbone.name} is trained; leave it out")
    views = request.views or usual.views
    depths = [depth for depth in usual.depths if depth in ("all", "none", *backbone.stage_names)]
    if request.freeze == "auto" and depths and request.budget is not None and request.epochs is None and backbone.can_split:
        return search_dense_depth(gather, tuple(parse_freeze(depth, backbone) for depth in depths), cut, needs, views)
    cuts: tuple[int, ...] = ()
    if cut < len(backbone.stages):  # what comes behind the cut is the tail's to make
        cuts, shared = (cut,), [stride for stride in needs.maps if stride < backbone.stride_before(cut)]
        needs = Needs(maps=tuple(shared), regions=needs.regions)
    if request.deadline.seconds is not None:
        refuse_too_little(gather, gather.seconds_a_look(cuts, needs))
    problem = gather(views, cuts, vectors=bool(needs.pooled or needs.embedding), needs=needs)
    return train_dense(problem, cut, gather.progress)


def train_crops(gather: Gatherer) -> Trained:
    """A head that looks at crops with the frozen network."""
    request, backbone = gather.request, gather.extractor.backbone
    for name, given in (("epochs", request.epochs), ("views", request.views)):
        if given is not None:
            raise HeadError(f"--{name}: {request.head.method} is fitted by support vectors, not by descent; leave it out")
    if request.freeze != "auto" and parse_freeze(request.freeze, backbone) < len(backbone.stages):
        raise HeadError(f"--method {request.head.method}: looks at crops with the frozen network; use --freeze all")
    gather.data.refuse_unlearnable()
    needs = replace(request.head.fresh(gather.context, request.options).needs, maps=())
    return train_region_svm(gather(1, vectors=False, needs=needs), gather.progress)


def _cut(gather: Gatherer) -> int:
    """How many stages stay frozen: as asked, or what is usual for the method and possible with this network."""
    request, backbone = gather.request, gather.extractor.backbone
    if request.freeze != "auto":
        return parse_freeze(request.freeze, backbone)
    usual = request.head.usual.freeze
    if backbone.source.kind == "random" and PIXELS not in request.head.fresh(gather.context, request.options).needs.maps:
        gather.progress.say(f"{backbone.name} has random weights: all of it is trained")
        return 0 if backbone.can_split else len(backbone.stages)
    return parse_freeze(usual if usual in backbone.stage_names and backbone.can_split else "all", backbone)


TRAINERS: dict[str, Callable[[Gatherer], Trained]] = {
    "pooled": train_pooled,
    "dense": train_maps,
    "region_svm": train_crops,
    "identity": train_identity,
}


def train_head(gather: Gatherer) -> Trained:
    """Fit a head the way that its class states."""
    head: type[AnyHead] = gather.request.head
    with chosen_threads():
        trained = TRAINERS[head.trainer](gather)
        trained.head.familiar = gather.familiar()
        return trained

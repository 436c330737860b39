"""How deep to go for a head that reads maps: short trials of equal time, each judged on one fold; the best depth gets the rest of the time.

In a short time a deeper tail makes fewer steps, so that it must be better in spite of that. Nothing but training pictures is looked at.

    onelook train cells/ --task segment --name cells --model mine.onelook --budget 10m
"""

import time
from dataclasses import replace

from onelook.errors import BudgetError
from onelook.looks.features import Needs
from onelook.training.dense import train_dense, trial
from onelook.training.gather import Gatherer
from onelook.training.problem import Problem
from onelook.training.request import DepthSearch, Trained, Trial

SHARE = 0.25  # of the time that all trials together may take


def search_dense_depth(gather: Gatherer, cuts: tuple[int, ...], usual: int, needs: Needs, views: int) -> Trained:
    """Try these cuts within SHARE of the time, then train the best one for what is left. Raises BudgetError.

    ``usual``: the cut that is taken where there is no time to try. ``needs``: what an untrained head reads.
    """
    begun, deadline = time.perf_counter(), gather.request.deadline
    budget, stages = deadline.left(), len(gather.extractor.backbone.stages)
    problem = gather(views, tuple(cut for cut in cuts if cut < stages), vectors=False, needs=needs)
    each = SHARE * deadline.left() / len(cuts)
    evidence = [_tried(problem, gather, cut, each) for cut in cuts]
    judged = {one.cut: one.metric for one in evidence if one.metric is not None}
    cut = max(judged, key=lambda tried: judged[tried]) if len(judged) > 1 else usual
    if len(judged) > 1:
        why = f"{_name(problem, cut)}: best on held-out training pictures after {each:.0f} s each"
    else:
        why = f"{_name(problem, cut)}: the usual depth, there was no time to try others"
    gather.progress.say(why)
    trained = train_dense(problem, cut, gather.progress)
    trials = tuple(replace(one, remark="chosen") if one.cut == cut else one for one in evidence)
    return replace(trained, search=DepthSearch(trials, why, budget, time.perf_counter() - begun))


def _tried(problem: Problem, gather: Gatherer, cut: int, seconds: float) -> Trial:
    """One depth, trained for so long; without a figure where not even an epoch fits."""
    begun, name = time.perf_counter(), _name(problem, cut)
    try:
        judge = trial(problem, cut, gather.request.deadline.within(seconds), gather.progress)
    except BudgetError:
        return Trial(name, cut, None, None, None, 0, time.perf_counter() - begun, seconds)
    found = judge.result()
    metric, (low, high) = found[judge.headline], found[f"{judge.headline}_interval"]
    return Trial(name, cut, 1 - metric, metric, (low, high), found["n"], time.perf_counter() - begun, seconds)


def _name(problem: Problem, cut: int) -> str:
    names = problem.backbone.stage_names
    if cut >= len(names):
        return "frozen"
    return f"tail behind {names[cut - 1]}" if cut else "everything"

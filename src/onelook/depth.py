"""How deep to go for a head that reads maps: short trials of equal time, each judged on one fold; the best depth gets the rest of the time.

In a short time a deeper tail makes fewer steps, so that it must be better in spite of that. Nothing but training pictures is looked at.

    onelook train cells/ --task segment --name cells --model mine.onelook --budget 10m
"""

import time
from collections.abc import Sequence
from dataclasses import replace

from onelook.descend import select_objects, trial
from onelook.errors import BudgetError
from onelook.gather import Gatherer
from onelook.heads import Facts
from onelook.ladder import Climbed, Evidence
from onelook.look import Needs
from onelook.problem import Problem
from onelook.select import Steps, unseen

SHARE = 0.25  # of the budget that all trials together may take


def climb_maps(
    gather: Gatherer,
    method: str,
    facts: Facts,
    cuts: tuple[int, ...],
    usual: int,
    needs: Needs,
    views: int,
    budget: float,
    hold_out: bool,
    through: Steps = unseen,
) -> Climbed:
    """Try these cuts within SHARE of ``budget`` seconds, then train the best one for what is left. Raises BudgetError.

    ``usual``: the cut that is taken where there is no time to try.
    """
    begun = time.perf_counter()
    stages = len(gather.looker.backbone.stages)
    problem = gather(views, tuple(cut for cut in cuts if cut < stages), vectors=False, needs=needs)
    each = SHARE * (budget - (time.perf_counter() - begun)) / len(cuts)
    evidence = [_tried(problem, method, facts, cut, each, through) for cut in cuts]
    judged = {rung.cut: rung.metric for rung in evidence if rung.metric is not None}
    cut = max(judged, key=lambda tried: judged[tried]) if len(judged) > 1 else usual
    if len(judged) > 1:
        why = f"{_name(problem, cut)}: best on held-out training pictures after {each:.0f} s each"
    else:
        why = f"{_name(problem, cut)}: the usual depth, there was no time to try others"
    gather.progress.say(why)
    left = budget - (time.perf_counter() - begun)
    selected = select_objects(problem, method, facts, cut, budget=left, hold_out=hold_out, through=through, progress=gather.progress)
    rungs = tuple(replace(rung, remark="chosen") if rung.cut == cut else rung for rung in evidence)
    return Climbed(selected, cut, rungs, why, budget, time.perf_counter() - begun, selected.interrupted)


def _tried(problem: Problem, method: str, facts: Facts, cut: int, seconds: float, through: Steps) -> Evidence:
    """One depth, trained for so long; without a figure where not even an epoch fits."""
    begun, name = time.perf_counter(), _name(problem, cut)
    try:
        judge = trial(problem, method, facts, cut, seconds, through)
    except BudgetError:
        return Evidence(name, cut, None, None, None, 0, time.perf_counter() - begun, seconds)
    found = judge.result()
    metric, interval = found[judge.headline], tuple(found[f"{judge.headline}_interval"])
    return Evidence(name, cut, 1 - metric, metric, interval, found["n"], time.perf_counter() - begun, seconds)


def _name(problem: Problem, cut: int) -> str:
    names: Sequence[str] = problem.backbone.stage_names
    if cut >= len(names):
        return "frozen"
    return f"tail behind {names[cut - 1]}" if cut else "everything"

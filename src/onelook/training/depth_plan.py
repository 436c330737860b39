"""What fits: how long a look and a training step take on this machine, and which trials of a depth search follow from that.

onelook train photos/ --name kind --model mine.onelook --budget 3m
"""

from collections.abc import Sequence
from dataclasses import dataclass

from onelook.deadline import Deadline
from onelook.errors import BudgetError
from onelook.training.finetune import JUDGED_SHARE, LAST_EPOCHS, stage_seconds, step_seconds
from onelook.training.gather import Gatherer

FIRST_VIEWS, MORE_VIEWS = 2, 4
FEWEST_EPOCHS = 3  # of a tail, for it to be worth trying
NEARLY = 0.6  # of the time that looking should take is tried
FIT_SECONDS = 3e-3  # a picture and view, for all frozen trials together
ANSWERING = 0.1  # epochs' worth of time that answering for the held-out pictures takes
WORTH_IT = 1.25  # a deeper cut is a trial of its own if its steps cost this many times those of the one before
WORTH_MEASURING = 0.8  # of the budget that frozen heads take at most for tails to be looked into
LOOKING_SHARE = 0.4  # of the budget, at most
SPARE = 0.05  # of the budget, kept for the unforeseen


@dataclass(frozen=True)
class Rate:
    """What was measured before searching: seconds a look (0: they are all in the store), seconds a training step's picture by cut.

    ``known``: whether what frozen heads read is in the store already, so that only tails need looks.
    """

    look: float
    step: dict[int, float]
    known: bool = False


@dataclass(frozen=True)
class Plan:
    """What the budget allows: views, cuts of the tails to try, their epochs, and the seconds that it should take."""

    views: int
    cuts: tuple[int, ...]
    epochs: int
    seconds: float

    def in_words(self, stage_names: Sequence[str], count: int, budget: float) -> str:
        """What will be done, for people."""
        tails = ", ".join(f"behind {stage_names[cut - 1]}" if cut else "everything" for cut in self.cuts)
        then = f"then tails ({tails}), {self.epochs} epochs each" if tails else "no time for tails"
        return f"{count} pictures, {budget:.0f} s: frozen heads on {self.views} views, {then}; about {self.seconds:.0f} s"


def make_plan(count: int, budget: float, rate: Rate, wanted: int, views: int | None = None) -> Plan:
    """How many views, which tails and how many epochs fit into ``budget`` seconds for ``count`` pictures.

    ``wanted``: epochs of a tail; fewer where only one tail fits. ``views``: what the user insists on.
    """
    looking = next(most for most in (MORE_VIEWS, FIRST_VIEWS, 1) if most == 1 or count * most * rate.look <= LOOKING_SHARE * budget)
    spent = count * (views or looking) * (rate.look + FIT_SECONDS)
    left = budget * (1 - SPARE) - spent
    cuts = sorted(rate.step, reverse=True)
    for tried in range(len(cuts), 0, -1):  # as many as can have their usual epochs; else one, with fewer
        each = [count * rate.step[cut] for cut in cuts[:tried]]
        possible = min(wanted, int((left / sum(each) - LAST_EPOCHS - ANSWERING) / JUDGED_SHARE))
        if possible >= (min(FEWEST_EPOCHS, wanted) if tried == 1 else wanted):
            seconds = spent + (JUDGED_SHARE * possible + ANSWERING + LAST_EPOCHS) * sum(each)
            return Plan(views or looking, tuple(cuts[:tried]), possible, seconds)
    once = count * (rate.look + FIT_SECONDS)
    most = views or next(most for most in (FIRST_VIEWS, 1) if most == 1 or most * once <= budget * (1 - SPARE))
    return Plan(most, (), 0, most * once)


def refuse_too_little(gather: Gatherer, look: float) -> None:
    """Raise BudgetError, saying what it would take, where looking at every picture once and a frozen head are far from fitting.

    Where they nearly fit it is tried: single looks, which were timed, take longer than those of batches, and looking can stop early.
    """
    count, deadline = len(gather.data), gather.request.deadline
    needed = count * (look + FIT_SECONDS)
    if NEARLY * needed > deadline.left():
        raise BudgetError(
            f"--budget: {deadline.taken():.0f} s are gone, looking at {count} pictures once and fitting a head takes about {needed:.0f} s"
            f"{_after(deadline)}; give at least --budget {deadline.enough(needed)}s, or fewer pictures"
        )


def _after(deadline: Deadline) -> str:
    return f", judging and saving {deadline.kept:.0f} s" if deadline.kept >= 1 else ""


def epochs_within(gather: Gatherer, cut: int, wanted: int) -> int:
    """How many epochs of a tail from ``cut`` on fit into the time, ``wanted`` at most. Raises BudgetError, saying what it would take."""
    deadline = gather.request.deadline
    if deadline.seconds is None:
        return wanted
    count, look = len(gather.data), gather.seconds_a_look((cut,))
    step = _step(gather, cut)
    plan = make_plan(count, deadline.left(), Rate(look, {cut: step}), wanted)
    if not plan.epochs:
        needed = count * (look + step * (LAST_EPOCHS + ANSWERING + JUDGED_SHARE * FEWEST_EPOCHS)) / (1 - SPARE)
        raise BudgetError(
            f"--budget: that tail takes about {needed:.0f} s for {count} pictures{_after(deadline)}; "
            f"give at least --budget {deadline.enough(needed)}s"
        )
    return plan.epochs


def measure(gather: Gatherer, look: float, wanted: int) -> tuple[Rate, Plan]:
    """What tails cost, from cheap to dear, no further than there is time for; and the plan that follows."""
    backbone, count, request = gather.extractor.backbone, len(gather.data), gather.request
    rate = Rate(look, {}, look == 0)
    plan = make_plan(count, request.deadline.left(), rate, wanted, request.views)
    if plan.seconds > WORTH_MEASURING * request.deadline.left() or not backbone.can_split:
        return rate, plan
    for cut, step in _steps(gather).items():
        if step < WORTH_IT * max(rate.step.values(), default=0.0):
            continue
        steps = {**rate.step, cut: step}
        look = gather.seconds_a_look(tuple(steps))
        found = make_plan(count, request.deadline.left(), Rate(look, steps, rate.known), wanted, request.views)
        rate = Rate(look if cut in found.cuts else rate.look, steps, rate.known)
        if cut not in found.cuts:
            break
        plan = found
    return rate, plan


def _steps(gather: Gatherer) -> dict[int, float]:
    """Seconds of a training step's picture by cut, shallow tails first: the shallowest is timed, the others by their stages' times."""
    backbone, geometry, size = gather.extractor.backbone, gather.extractor.geometry, gather.typical_size()
    stages = stage_seconds(backbone, geometry, size)
    shallow = len(backbone.strides) - 1
    pace = step_seconds(backbone, shallow, geometry, size) / sum(stages[shallow:])
    steps = {cut: pace * sum(stages[cut:]) for cut in range(shallow, -1, -1)}
    return {**steps, 0: steps[0] + gather.seconds_a_view()}  # from pixels, which are decoded anew in every epoch


def _step(gather: Gatherer, cut: int) -> float:
    """Seconds of a training step's picture from this cut; from pixels with their decoding."""
    step = step_seconds(gather.extractor.backbone, cut, gather.extractor.geometry, gather.typical_size())
    return step + (0 if cut else gather.seconds_a_view())

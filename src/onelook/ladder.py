"""The ladder: how deep to go, measured on the user's own training pictures within the user's time.

Rungs, from cheap to dear: a linear head on what each depth of the frozen network sees; radial units on all depths; more views; a
fine-tuned tail of one stage, of two ...; the whole network from pixels. Every rung is judged on held-out training pictures; each tail
also averaged with the best frozen head, and all of them together. Climbing stops when the time or the gain ends. The rung that is
cheapest at prediction wins among those whose loss is within one standard error of the best one's (Breiman et al. 1984,
"Classification and regression trees", section 3.4.3; here the error of the paired differences).

    onelook train photos/ --name kind --model mine.onelook --budget 3m
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from onelook.backbone import Backbone
from onelook.errors import BudgetError
from onelook.gather import Gatherer
from onelook.look import Geometry, Needs
from onelook.problem import Problem, Selected
from onelook.select import Steps, radial, ridge, unseen
from onelook.tune import JUDGED_SHARE, LAST_EPOCHS, Tuned, carry_on, judge, settle, step_seconds, training_table, usual_epochs

FIRST_VIEWS, MORE_VIEWS = 2, 4
FEWEST_EPOCHS = 3  # of a tail, for it to be worth trying
FIT_SECONDS = 1.5e-3  # a picture and view, for all frozen rungs together
ANSWERING = 0.1  # epochs' worth of time that answering for the held-out pictures takes
WORTH_IT = 0.8  # a deeper cut is a rung of its own if its steps cost less than this share of the next one's
BUDGET = 90.0  # seconds, where none are given
LOOKING_SHARE = 0.4  # of the budget, at most
MARGIN = 0.05  # of the budget, kept for writing and the unforeseen


@dataclass(frozen=True)
class Rate:
    """What was measured before climbing: seconds a look (0: they are all on the shelf), seconds a training step's picture by cut.

    ``known``: whether what frozen heads read is on the shelf already, so that only tails need looks.
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


@dataclass(frozen=True)
class Evidence:
    """One rung: what it cost and how it did on ``n`` held-out training pictures.

    ``loss``: mean log loss (squared error for values, one minus the mean IoU for pixels); ``metric``: the headline figure, with its 95 %
    interval. ``bytes``: of looks, all pictures together. ``forecast``: the seconds that were expected. ``remark``: chosen, or what it is. A
    rung for which there was no time has a forecast only: its judging and, behind it, the last epochs with all pictures.
    """

    rung: str
    cut: int
    loss: float | None
    metric: float | None
    interval: tuple[float, float] | None
    n: int
    seconds: float
    forecast: float
    bytes: int = 0
    remark: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Climbed:
    """The winner, every rung's evidence, why it won in one sentence, seconds planned and taken, whether Ctrl-C ended it."""

    selected: Selected
    cut: int
    evidence: tuple[Evidence, ...]
    why: str
    forecast: float
    seconds: float
    interrupted: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "evidence": [rung.to_json() for rung in self.evidence],
            "why": self.why,
            "forecast_seconds": round(self.forecast, 1),
            "seconds": round(self.seconds, 1),
            "interrupted": self.interrupted,
        }


@dataclass(frozen=True)
class _Rung:
    """A rung that was reached; ``losses``: held-out loss by picture; ``judged``: its tails, as fitted without the held-out pictures."""

    name: str
    cut: int
    selected: Selected
    losses: dict[int, float]
    judged: tuple[Tuned, ...] = ()
    beside: Selected | None = None

    @property
    def cost(self) -> tuple[int, int]:
        """What orders rungs from cheap to dear at prediction: how many tails, and how deep."""
        return len(self.judged), -self.cut


def _rung(
    problem: Problem, name: str, cut: int, selected: Selected, judged: tuple[Tuned, ...] = (), beside: Selected | None = None
) -> _Rung:
    each = problem.losses(selected.scores, selected.where)
    return _Rung(name, cut, selected, dict(zip(selected.where.tolist(), each.tolist(), strict=True)), judged, beside)


def measure_steps(backbone: Backbone, geometry: Geometry, size: tuple[int, int]) -> dict[int, float]:
    """Seconds a picture of a training step from every cut that is worth a rung; cut 0, the whole network, included."""
    if not backbone.can_split:
        return {}
    steps = {0: step_seconds(backbone, 0, geometry, size)}
    for cut in range(1, len(backbone.strides)):
        steps[cut] = step_seconds(backbone, cut, geometry, size)
    dearest, kept = steps[0], {0: steps[0]}
    for cut in range(1, len(backbone.strides)):
        if steps[cut] < WORTH_IT * dearest:
            kept[cut] = dearest = steps[cut]
    return kept


def make_plan(count: int, budget: float, rate: Rate, views: int | None = None, epochs: int | None = None) -> Plan:
    """How many views, which tails and how many epochs fit into ``budget`` seconds for ``count`` pictures.

    ``views``, ``epochs``: what the user insists on. Raises BudgetError, saying what it would take, if not even frozen looks fit.
    """
    frozen = count * (rate.look + FIT_SECONDS)
    if frozen > budget:
        raise BudgetError(
            f"--budget {budget:.0f}s: looking at {count} pictures once and fitting a head takes about {frozen:.0f} s; "
            f"give at least --budget {max(1, round(1.2 * frozen))}s, or fewer pictures"
        )
    looking = next(most for most in (MORE_VIEWS, FIRST_VIEWS, 1) if most == 1 or count * most * rate.look <= LOOKING_SHARE * budget)
    spent = count * (views or looking) * (rate.look + FIT_SECONDS)
    left = budget * (1 - MARGIN) - spent
    cuts = sorted(rate.step, reverse=True)
    wanted = epochs or usual_epochs(count)
    for tried in range(len(cuts), 0, -1):  # as many as can have their usual epochs; else one, with fewer
        each = [count * rate.step[cut] for cut in cuts[:tried]]
        possible = min(wanted, int((left / sum(each) - LAST_EPOCHS - ANSWERING) / JUDGED_SHARE))
        if possible >= (min(FEWEST_EPOCHS, wanted) if tried == 1 else wanted):
            seconds = spent + (JUDGED_SHARE * possible + ANSWERING + LAST_EPOCHS) * sum(each)
            return Plan(views or looking, tuple(cuts[:tried]), possible, seconds)
    once = count * (rate.look + FIT_SECONDS)
    most = views or next(most for most in (FIRST_VIEWS, 1) if most == 1 or most * once <= budget * (1 - MARGIN))
    return Plan(most, (), 0, most * once)


def climb(
    gather: Gatherer, budget: float | None, through: Steps = unseen, *, views: int | None = None, epochs: int | None = None
) -> Climbed:
    """Measure this machine, plan what fits into ``budget`` seconds (with so many ``views`` and ``epochs``, if given), say so, and climb.

    Without a budget it is BUDGET seconds, or what the frozen rungs take where that is more.

    Ctrl-C ends the climb and keeps the best rung so far (it is raised again if there is none). Raises BudgetError.
    """
    begun = time.perf_counter()
    backbone, count, rate = gather.looker.backbone, len(gather.data), measure(gather)
    if budget is None:
        budget = max(BUDGET, 1.2 * count * (views or FIRST_VIEWS) * (rate.look + FIT_SECONDS))
    plan = make_plan(count, budget - (time.perf_counter() - begun), rate, views, epochs)
    gather.progress.say(plan.in_words(backbone.stage_names, count, budget))
    return _Climb(gather, plan, rate, count, begun + budget, through).run()


def epochs_within(gather: Gatherer, cut: int, budget: float) -> int:
    """How many epochs of a tail from ``cut`` on fit into ``budget`` seconds. Raises BudgetError, saying what it would take."""
    count, look = len(gather.data), gather.seconds_a_look((cut,))
    step = step_seconds(gather.looker.backbone, cut, gather.looker.geometry, gather.typical_size()) + (
        0 if cut else gather.seconds_a_view()
    )
    plan = make_plan(count, budget, Rate(look, {cut: step}))
    if not plan.epochs:
        least = count * (look * MORE_VIEWS + step * (LAST_EPOCHS + FEWEST_EPOCHS)) / (1 - MARGIN)
        raise BudgetError(f"--budget {budget:.0f}s: that tail takes about {least:.0f} s for {count} pictures; give more")
    return plan.epochs


def measure(gather: Gatherer) -> Rate:
    """Seconds of looks and of training steps on this machine, at the size of the data set's pictures."""
    steps = measure_steps(gather.looker.backbone, gather.looker.geometry, gather.typical_size())
    if steps:
        steps[0] += gather.seconds_a_view()  # pixels are decoded anew in every epoch
    known = gather.seconds_a_look(()) == 0
    return Rate(gather.seconds_a_look(tuple(steps)), steps, known)


class _Climb:
    """State of one climb: the rungs reached, and the evidence."""

    def __init__(self, gather: Gatherer, plan: Plan, rate: Rate, count: int, deadline: float, through: Steps) -> None:
        self.gather, self.plan, self.rate, self.count, self.deadline, self.through = gather, plan, rate, count, deadline, through
        self.progress = gather.progress
        self.begun = time.perf_counter()
        self.rungs: list[_Rung] = []
        self.evidence: list[Evidence] = []
        self.tails: dict[int, Tuned] = {}
        self.problem: Problem | None = None
        self.stages = 0

    def run(self) -> Climbed:
        interrupted = False
        winner: _Rung | None = None
        try:
            self._frozen()
            self._tails()
            winner = self._choose()
            selected = self._refit(winner)
        except KeyboardInterrupt:
            if not self.rungs:
                raise
            interrupted, winner = True, winner or self._choose()
            selected = winner.selected
            self.progress.say(f"interrupted: the best rung so far is kept ({winner.name})")
        evidence = tuple(replace(rung, remark="chosen") if rung.rung == winner.name else rung for rung in self.evidence)
        seconds = time.perf_counter() - self.begun
        return Climbed(selected, winner.cut, evidence, self._why(winner), self.plan.seconds, seconds, interrupted)

    # --- rungs

    def _frozen(self) -> None:
        """Linear probes at every depth, radial units on all of them, and these with more views."""
        views = min(FIRST_VIEWS, self.plan.views)
        begun = time.perf_counter()
        first = () if self.rate.known else self.plan.cuts  # one pass for all, unless half of it was made before
        problem = self.problem = self.gather(views, first)
        self.stages = len(problem.backbone.stages)
        looking, looks = time.perf_counter() - begun, 0.0 if self.rate.known else self.count * views * self.rate.look
        readouts = {f"linear, stride {stride}": Needs(pooled=(stride,)) for stride in problem.backbone.strides}
        for name, needs in {**readouts, "linear, embedding": Needs(embedding=True)}.items():
            begun = time.perf_counter()
            self._note(name, self.stages, ridge(problem, needs), looking + time.perf_counter() - begun, looks, "probe")
            looking = looks = 0.0
        self._radial(problem, 0.0, 0.0)
        if self.plan.views > views and not self._perfect():
            begun = time.perf_counter()
            self.problem = self.gather(self.plan.views, first)
            new = self.count * (self.plan.views - views) * self.rate.look
            self._radial(self.problem, time.perf_counter() - begun, new)

    def _radial(self, problem: Problem, looking: float, looks: float) -> None:
        begun, views = time.perf_counter(), problem.rows.views
        name = f"all depths, {views} views"
        selected = radial(problem)
        self._add(
            _rung(problem, name, self.stages, selected), looking + time.perf_counter() - begun, looks + self.count * views * FIT_SECONDS
        )

    def _tails(self) -> None:
        if self._perfect():
            self.progress.say("the frozen network makes no error on held-out pictures: nothing is left to gain")
            return
        frozen = self._choose()
        if self.plan.cuts and self.rate.known:
            self.problem = self.gather(self.plan.views, self.plan.cuts)
        for cut in sorted(self.rate.step, reverse=True):
            if cut not in self.plan.cuts or self._too_late(cut):
                forecast = self._forecast(cut, usual_epochs(self.count))
                self.evidence.append(Evidence(self._name(cut), cut, None, None, None, 0, 0.0, forecast, remark="no time"))
            elif not self._tail(cut, frozen):
                self.progress.say(f"{self._name(cut)} is worse than {frozen.name} by more than one standard error: no deeper")
                break
        if len(self.tails) > 1:
            problem, cut = self.problem, min(self.tails)
            assert problem is not None
            judged = tuple(self.tails.values())
            selected = settle(problem, [twin.head for twin in judged], judged, frozen.selected)
            self._add(_rung(problem, "all tails, with the frozen head", cut, selected, judged, frozen.selected), 0.0, 0.0)

    def _tail(self, cut: int, frozen: _Rung) -> bool:
        """Judge a tail, alone and averaged with the frozen head; whether it may be worth to go deeper."""
        problem, name = self.problem, self._name(cut)
        assert problem is not None
        self.progress.say(training_table(problem.backbone, cut))
        begun = time.perf_counter()
        judged = self.tails[cut] = judge(problem, cut, self.plan.epochs, self.through)
        alone = _rung(problem, name, cut, settle(problem, [judged.head], [judged]), (judged,))
        average = settle(problem, [judged.head], [judged], frozen.selected)
        both = _rung(problem, f"{name}, with the frozen head", cut, average, (judged,), frozen.selected)
        forecast = (JUDGED_SHARE * self.plan.epochs + ANSWERING) * self.count * self.rate.step[cut]
        self._add(alone, time.perf_counter() - begun, forecast)
        self._add(both, 0.0, 0.0)
        return not (_worse(both, frozen) and _worse(alone, frozen))

    def _name(self, cut: int) -> str:
        assert self.problem is not None
        return f"tail behind {self.problem.backbone.stage_names[cut - 1]}" if cut else "everything, from pixels"

    def _forecast(self, cut: int, epochs: int) -> float:
        """Seconds that a tail takes, last epochs with all pictures included, and those of the tails before it."""
        last = LAST_EPOCHS * sum(self.rate.step[other] for other in (*self.tails, cut))
        return self.count * ((JUDGED_SHARE * epochs + ANSWERING) * self.rate.step[cut] + last)

    def _too_late(self, cut: int) -> bool:
        """Whether a planned tail does not fit any more, this machine being as much slower than forecast as it was so far."""
        done = [rung for rung in self.evidence if rung.forecast > 1]
        slower = max(1.0, sum(rung.seconds for rung in done) / sum(rung.forecast for rung in done)) if done else 1.0
        return time.perf_counter() + slower * self._forecast(cut, self.plan.epochs) > self.deadline

    def _add(self, rung: _Rung, seconds: float, forecast: float) -> None:
        """A rung that may win."""
        self.rungs.append(rung)
        self._note(rung.name, rung.cut, rung.selected, seconds, forecast)

    def _note(self, name: str, cut: int, selected: Selected, seconds: float, forecast: float, remark: str = "") -> None:
        """A line of evidence."""
        assert self.problem is not None
        figures, headline = selected.held_out, selected.head.judge().headline
        low, high = figures[f"{headline}_interval"]
        loss = float(self.problem.losses(selected.scores, selected.where).mean())
        size = self.problem.rows.bytes_of(selected.head.needs)
        self.evidence.append(Evidence(name, cut, loss, figures[headline], (low, high), figures["n"], seconds, forecast, size, remark))
        self.progress.say(f"{name}: {headline} {figures[headline]:.3f} ({low:.3f} to {high:.3f}), loss {loss:.3f}, {seconds:.1f} s")

    def _refit(self, winner: _Rung) -> Selected:
        """The winner with all training pictures; frozen heads have seen them already."""
        if not winner.judged:
            return winner.selected
        problem = self.problem
        assert problem is not None
        self.progress.say(f"{winner.name}: {LAST_EPOCHS} more epochs with all {self.count} pictures")
        heads = [carry_on(problem, twin, LAST_EPOCHS, self.through) for twin in winner.judged]
        return settle(problem, heads, winner.judged, winner.beside)

    # --- choosing

    def _choose(self) -> _Rung:
        """The best of the cheapest rungs at prediction whose loss is within one standard error of the best one's."""
        best = self._best(self.rungs)
        for cost in sorted({rung.cost for rung in self.rungs}):
            here = self._best([rung for rung in self.rungs if rung.cost == cost])
            if not _worse(here, best):
                return here
        return best

    def _best(self, rungs: list[_Rung]) -> _Rung:
        """The one with the smallest loss, compared in turn on the pictures that both were judged on."""
        best = rungs[0]
        for rung in rungs[1:]:
            best = rung if difference(rung.losses, best.losses)[0] < 0 else best
        return best

    def _perfect(self) -> bool:
        """Whether no held-out picture was wrong."""
        return bool(self._choose().selected.held_out.get("accuracy") == 1.0)

    def _why(self, winner: _Rung) -> str:
        if len(self.rungs) == 1:
            return f"{winner.name}: the only rung that was reached."
        best = self._best(self.rungs)
        if best is winner:
            return f"{winner.name} has the smallest held-out loss, and nothing cheaper comes within one standard error of it."
        mean, error = difference(winner.losses, best.losses)
        return f"{winner.name} is the cheapest within one standard error of {best.name} (loss {mean:+.3f}, error {error:.3f})."


def difference(ours: dict[int, float], theirs: dict[int, float]) -> tuple[float, float]:
    """Mean of the paired differences of two rungs' losses (ours minus theirs) and its standard error, by picture."""
    pairs = torch.tensor([ours[index] - theirs[index] for index in ours if index in theirs], dtype=torch.float64)
    if len(pairs) < 2:
        return float(pairs.sum()), 0.0
    return float(pairs.mean()), float(pairs.std() / len(pairs) ** 0.5)


def _worse(one: _Rung, other: _Rung) -> bool:
    """Whether ``one`` loses more than ``other`` by over one standard error."""
    mean, error = difference(one.losses, other.losses)
    return mean > error

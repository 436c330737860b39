"""How deep to go, for a head of the whole picture: measured on the user's own training pictures within the user's time.

Trials, from cheap to dear: a linear head on what each depth of the frozen network sees; radial units on all depths; more views; a
fine-tuned tail of one stage, of two ...; the whole network from pixels. Every trial is judged on held-out training pictures. A tail
competes averaged with the best frozen head, and all tails do together: alone, none was better by more than 0.2 points on new
pictures. The search ends when the time or the gain ends. The cheapest at prediction wins whose mean loss is within MARGIN standard
errors of the best one's: a little less than the rule of Breiman et al. 1984 allows ("Classification and regression trees", section
3.4.3), as measured by ``bench/depth_rule.py``.

    onelook train photos/ --name kind --model mine.onelook --budget 3m
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from onelook.deadline import Deadline
from onelook.errors import BudgetError
from onelook.facts import Facts
from onelook.looks.features import Needs
from onelook.metrics.intervals import paired_error
from onelook.training.finetune import (
    JUDGED_SHARE,
    LAST_EPOCHS,
    Finetuned,
    carry_on,
    judge,
    settle,
    stage_seconds,
    step_seconds,
    training_table,
    usual_epochs,
)
from onelook.training.gather import Gatherer
from onelook.training.pooled import radial, ridge
from onelook.training.problem import Problem
from onelook.training.request import DepthSearch, Trained, Trial

FIRST_VIEWS, MORE_VIEWS = 2, 4
FEWEST_EPOCHS = 3  # of a tail, for it to be worth trying
NEARLY = 0.6  # of the time that looking should take is tried
FIT_SECONDS = 3e-3  # a picture and view, for all frozen trials together
ANSWERING = 0.1  # epochs' worth of time that answering for the held-out pictures takes
WORTH_IT = 1.25  # a deeper cut is a trial of its own if its steps cost this many times those of the one before
BUDGET = 90.0  # seconds, where none are given
WORTH_MEASURING = 0.8  # of the budget that frozen heads take at most for tails to be looked into
LOOKING_SHARE = 0.4  # of the budget, at most
SPARE = 0.05  # of the budget, kept for the unforeseen
MARGIN = 0.75  # standard errors within which the cheaper at prediction wins; measured on fourteen sets (docs/diary.md)
PATIENCE = 1.0  # standard errors by which a tail may be worse before no deeper one is tried


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


def search_depth(gather: Gatherer) -> Trained:
    """Measure this machine, plan what fits before the deadline, say so, and search.

    Without a budget it is BUDGET seconds, or what the frozen trials take where that is more.
    Ctrl-C ends the search and keeps the best trial so far (it is raised again if there is none). Raises BudgetError.
    """
    request, count = gather.request, len(gather.data)
    look = gather.seconds_a_look()
    if request.budget is None:
        base = request.deadline if request.deadline.seconds is not None else Deadline(BUDGET, clock=request.deadline.clock)
        needed = 1.5 * count * (request.views or FIRST_VIEWS) * (look + FIT_SECONDS)
        longer = Deadline(base.taken() + needed, base.begun, base.clock) if needed > base.left() else base
        gather.request = request = replace(request, deadline=longer)
    refuse_too_little(gather, look)
    budget = request.deadline.left()
    wanted = request.epochs or usual_epochs(request.head.usual, count)
    rate, plan = _measure(gather, look, wanted)
    gather.progress.say(plan.in_words(gather.extractor.backbone.stage_names, count, budget))
    return _Search(gather, plan, rate).run()


def _measure(gather: Gatherer, look: float, wanted: int) -> tuple[Rate, Plan]:
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


@dataclass(frozen=True)
class Contender:
    """A trial that may win. ``losses``: by held-out picture; ``judged``: its tails, as fitted without them; ``beside``: a frozen head.

    ``held``: losses on the fold on which tails are judged, the temperature fitted there too: what frozen heads and tails are compared by.
    """

    name: str
    trained: Trained
    losses: dict[int, float]
    judged: tuple[Finetuned, ...] = ()
    beside: Trained | None = None
    held: dict[int, float] = field(default_factory=dict)

    @property
    def cost(self) -> tuple[int, int]:
        """What orders contenders from cheap to dear at prediction: how many tails, and how deep."""
        return len(self.judged), -min((twin.head.tail.cut for twin in self.judged), default=0)


def difference(ours: dict[int, float], theirs: dict[int, float]) -> tuple[float, float]:
    """Mean of the paired differences of two trials' losses (ours minus theirs) and its standard error, by picture."""
    shared = [index for index in ours if index in theirs]
    return paired_error(torch.tensor([ours[index] for index in shared]), torch.tensor([theirs[index] for index in shared]))


def compared(one: Contender, other: Contender) -> tuple[float, float]:
    """``difference`` of two contenders: on all pictures that both were judged on alike."""
    if one.judged or other.judged:
        return difference(one.held or one.losses, other.held or other.losses)
    return difference(one.losses, other.losses)


def best_of(contenders: Sequence[Contender]) -> Contender:
    """The one with the smallest loss, compared in turn on the pictures that both were judged on."""
    best = contenders[0]
    for one in contenders[1:]:
        best = one if compared(one, best)[0] < 0 else best
    return best


def choose(contenders: Sequence[Contender], margin: float = MARGIN) -> Contender:
    """The best of the cheapest at prediction whose loss is within ``margin`` standard errors of the best one's."""
    best = best_of(contenders)
    for cost in sorted({one.cost for one in contenders}):
        here = best_of([one for one in contenders if one.cost == cost])
        mean, error = compared(here, best)
        if mean <= margin * error:
            return here
    return best


class _Search:
    """State of one search: the contenders so far, and the evidence."""

    def __init__(self, gather: Gatherer, plan: Plan, rate: Rate) -> None:
        self.gather, self.plan, self.rate = gather, plan, rate
        self.count, self.progress = len(gather.data), gather.progress
        self.deadline: Deadline = gather.request.deadline
        self.begun = time.perf_counter()
        self.contenders: list[Contender] = []
        self.evidence: list[Trial] = []
        self.tails: dict[int, Finetuned] = {}
        self.short: list[str] = []
        self.problem: Problem = gather(min(FIRST_VIEWS, plan.views), () if rate.known else plan.cuts)
        self.looking = time.perf_counter() - self.begun
        self.stages = len(self.problem.backbone.stages)

    def run(self) -> Trained:
        interrupted = False
        winner: Contender | None = None
        try:
            self._frozen()
            self._tails()
            winner = choose(self.contenders)
            trained = self._refit(winner)
        except KeyboardInterrupt:
            if not self.contenders:
                raise
            interrupted, winner = True, winner or choose(self.contenders)
            trained = winner.trained
            self.progress.say(f"interrupted: the best trial so far is kept ({winner.name})")
        evidence = tuple(replace(trial, remark="chosen") if trial.trial == winner.name else trial for trial in self.evidence)
        search = DepthSearch(evidence, self._why(winner), self.plan.seconds, time.perf_counter() - self.begun)
        return replace(
            trained, held_out=self._reported(winner), search=search, interrupted=interrupted, cut_short=(*trained.cut_short, *self.short)
        )

    # --- which pictures choose and which report

    @property
    def reporting(self) -> Tensor:
        """Which training pictures report and choose nothing: a fold, where nothing else judges and tails compete."""
        folds = self.problem.data.folds
        apart = self.gather.request.hold_out and bool(self.plan.cuts) and self.problem.folds > 3
        return folds == 1 if apart else torch.zeros_like(folds, dtype=torch.bool)

    def _losses(self, trained: Trained, fold: bool = False) -> dict[int, float]:
        """Held-out losses of the pictures that choose; ``fold``: of those only on which tails are judged."""
        mine = ~self.reporting[trained.where]
        if fold:
            mine &= self.problem.data.folds[trained.where] == 0
        where = trained.where[mine]
        return dict(zip(where.tolist(), self.problem.losses(trained.scores[mine], where).tolist(), strict=True))

    def _reported(self, winner: Contender) -> Facts:
        """The figures of the winner on pictures that chose nothing; of frozen heads alone by cross-validation on all."""
        trained = winner.trained
        mine = self.reporting[trained.where]
        if not self.tails or not bool(mine.any()):
            return trained.held_out
        return self.problem.judge(trained.scores[mine], trained.where[mine])

    # --- trials

    def _frozen(self) -> None:
        """Linear probes at every depth, radial units on all of them, and these with more views."""
        views = self.problem.data.views
        looks = 0.0 if self.rate.known else self.count * views * self.rate.look
        looking = self.looking
        readouts = {f"linear, stride {stride}": Needs(pooled=(stride,)) for stride in self.problem.backbone.strides}
        for name, needs in {**readouts, "linear, embedding": Needs(embedding=True)}.items():
            if self.evidence and self.deadline.left() < self.count * views * FIT_SECONDS:  # which the head itself takes
                self.short.append("probes of single depths")
                break
            begun = time.perf_counter()
            self._note(name, ridge(self.problem, needs), looking + time.perf_counter() - begun, looks, "probe")
            looking = looks = 0.0
        self._radial(0.0, 0.0)
        if self.plan.views > views and not self._perfect() and not self._late(self.count * (self.plan.views - views) * self.rate.look):
            begun = time.perf_counter()
            if self._look_again(() if self.rate.known else self.plan.cuts):
                new = self.count * (self.plan.views - views) * self.rate.look
                self._radial(time.perf_counter() - begun, new)

    def _look_again(self, cuts: tuple[int, ...]) -> bool:
        """Gather all views, and the maps before ``cuts``; where there is no time for every picture, all stays as it was."""
        left, before = self.gather.left, len(self.problem.data)
        problem = self.gather(self.plan.views, cuts)
        if len(problem.data) < before:
            self.gather.left = left
            self.progress.say(f"so the looks at {before} pictures that are there already must do")
            return False
        self.problem = problem
        return True

    def _radial(self, looking: float, looks: float) -> None:
        begun, views = time.perf_counter(), self.problem.data.views
        trained = radial(self.problem)
        seconds = looking + time.perf_counter() - begun
        self._add(f"all depths, {views} views", trained, seconds, looks + self.count * views * FIT_SECONDS)

    def _tails(self) -> None:
        if self._perfect():
            self.progress.say("the frozen network makes no error on held-out pictures: nothing is left to gain")
            return
        frozen = best_of(self.contenders)
        there = not self.plan.cuts or not self.rate.known or self._look_again(self.plan.cuts)
        for cut in sorted(self.rate.step, reverse=True):
            if not there or cut not in self.plan.cuts or self._late(self._forecast(cut, FEWEST_EPOCHS)):
                forecast = self._forecast(cut, usual_epochs(self.gather.request.head.usual, self.count))
                self.evidence.append(Trial(self._name(cut), cut, None, None, None, 0, 0.0, forecast, remark="no time"))
            elif not self._tail(cut, frozen):
                self.progress.say(f"{self._name(cut)} is worse than {frozen.name} by more than one standard error: no deeper")
                break
        if len(self.tails) > 1:
            judged = tuple(self.tails.values())
            trained = settle(self.problem, [twin.head for twin in judged], judged, frozen.trained)
            self._add("all tails, with the frozen head", trained, 0.0, 0.0, judged, frozen.trained)

    def _tail(self, cut: int, frozen: Contender) -> bool:
        """Judge a tail; averaged with the frozen head it competes. Whether it may be worth to go deeper."""
        problem, name = self.problem, self._name(cut)
        self.progress.say(training_table(problem.backbone, cut))
        begun = time.perf_counter()
        out = (problem.data.folds == 0) | self.reporting
        judged = self.tails[cut] = judge(problem, cut, self.plan.epochs, self._share(cut), out)
        if judged.over:
            self.short.append(f"epochs of the {name}")
        alone = settle(problem, [judged.head], [judged])
        forecast = (JUDGED_SHARE * self.plan.epochs + ANSWERING) * self.count * self.rate.step[cut]
        self._note(name, alone, time.perf_counter() - begun, forecast)
        both = settle(problem, [judged.head], [judged], frozen.trained)
        return not _worse(self._add(f"{name}, with the frozen head", both, 0.0, 0.0, (judged,), frozen.trained), frozen)

    def _share(self, cut: int) -> Deadline:
        """When this tail must be judged, so that those behind it and the last epochs with all pictures get their share."""
        still = [other for other in self.plan.cuts if other not in self.tails]
        judging = {other: JUDGED_SHARE * self.plan.epochs * self.rate.step[other] for other in still}
        last = LAST_EPOCHS * sum(self.rate.step[other] for other in (*self.tails, *still))
        share = judging[cut] / (sum(judging.values()) + last)
        return self.deadline.share((1 - SPARE) * share)

    def _name(self, cut: int) -> str:
        return f"tail behind {self.problem.backbone.stage_names[cut - 1]}" if cut else "everything, from pixels"

    def _forecast(self, cut: int, epochs: int) -> float:
        """Seconds that a tail takes, last epochs with all pictures included, and those of the tails before it."""
        last = LAST_EPOCHS * sum(self.rate.step[other] for other in (*self.tails, cut))
        return self.count * ((JUDGED_SHARE * epochs + ANSWERING) * self.rate.step[cut] + last)

    def _late(self, forecast: float) -> bool:
        """Whether what should take so long does not fit any more, this machine being as much slower than forecast as it was so far."""
        done = [trial for trial in self.evidence if trial.forecast > 1]
        slower = max(1.0, sum(trial.seconds for trial in done) / sum(trial.forecast for trial in done)) if done else 1.0
        return slower * forecast > self.deadline.left()

    def _add(
        self,
        name: str,
        trained: Trained,
        seconds: float,
        forecast: float,
        judged: tuple[Finetuned, ...] = (),
        beside: Trained | None = None,
    ) -> Contender:
        """A trial that may win."""
        contender = Contender(name, trained, self._losses(trained), judged, beside, self._losses(trained, fold=True))
        self.contenders.append(contender)
        self._note(name, trained, seconds, forecast)
        return contender

    def _note(self, name: str, trained: Trained, seconds: float, forecast: float, remark: str = "") -> None:
        """A line of evidence."""
        figures, headline = trained.held_out, trained.head.judge().headline
        low, high = figures[f"{headline}_interval"]
        losses = self._losses(trained)
        loss = sum(losses.values()) / max(1, len(losses))
        size = self.problem.data.bytes_of(trained.head.needs)
        self.evidence.append(Trial(name, trained.cut, loss, figures[headline], (low, high), figures["n"], seconds, forecast, size, remark))
        self.progress.say(f"{name}: {headline} {figures[headline]:.3f} ({low:.3f} to {high:.3f}), loss {loss:.3f}, {seconds:.1f} s")

    def _refit(self, winner: Contender) -> Trained:
        """The winner with all training pictures, if there is time; frozen heads have seen them already."""
        if not winner.judged:
            return winner.trained
        if self.deadline.passed():
            self.short.append("epochs with all pictures")
            return winner.trained
        self.progress.say(f"{winner.name}: {LAST_EPOCHS} more epochs with all {self.count} pictures")
        heads = []
        for number, twin in enumerate(winner.judged, start=1):
            share = self.deadline.share(1 / (len(winner.judged) - number + 1))
            heads.append(carry_on(self.problem, twin, LAST_EPOCHS, share))
        return settle(self.problem, heads, winner.judged, winner.beside)

    def _perfect(self) -> bool:
        """Whether no held-out picture was wrong."""
        return bool(choose(self.contenders).trained.held_out.get("accuracy") == 1.0)

    def _why(self, winner: Contender) -> str:
        if len(self.contenders) == 1:
            return f"{winner.name}: the only trial that was reached."
        others = [one for one in self.contenders if bool(one.judged) != bool(winner.judged)]
        if not others:
            return f"{winner.name} has the smallest held-out loss; nothing deeper was tried."
        other = best_of(others)
        mean, error = compared(winner, other)
        return f"{winner.name}: its held-out loss is {mean:+.3f} that of {other.name} (standard error {error:.3f})."


def _worse(one: Contender, other: Contender) -> bool:
    """Whether ``one`` loses more than ``other`` by over PATIENCE standard errors."""
    mean, error = compared(one, other)
    return mean > PATIENCE * error

"""How deep to go, for a head of the whole picture: measured on the user's own training pictures within the user's time.

Trials, from cheap to dear: a linear head on what each depth of the frozen network sees; radial units on all depths; more views; a
fine-tuned tail of one stage, of two ...; the whole network from pixels. Every trial is judged on held-out training pictures. A tail
competes averaged with the best frozen head, and all tails do together: alone, none was better by more than 0.2 points on new
pictures. The search ends when the time or the gain ends. What fits into the time is planned in ``depth_plan.py``; which trial wins
is the rule of ``contenders.py``.

    onelook train photos/ --name kind --model mine.onelook --budget 3m
"""

import time
from dataclasses import replace

import torch
from torch import Tensor

from onelook.deadline import Deadline
from onelook.facts import Facts
from onelook.looks.features import Needs
from onelook.training.contenders import Contender, best_of, choose, compared, worse
from onelook.training.depth_plan import ANSWERING, FEWEST_EPOCHS, FIRST_VIEWS, FIT_SECONDS, SPARE, Plan, Rate, measure, refuse_too_little
from onelook.training.finetune import JUDGED_SHARE, LAST_EPOCHS, Finetuned, carry_on, judge, settle, training_table, usual_epochs
from onelook.training.gather import Gatherer
from onelook.training.pooled import radial, ridge
from onelook.training.problem import Problem
from onelook.training.request import DepthSearch, Trained, Trial

BUDGET = 90.0  # seconds, where none are given


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
    rate, plan = measure(gather, look, wanted)
    gather.progress.say(plan.in_words(gather.extractor.backbone.stage_names, count, budget))
    return _Search(gather, plan, rate).run()


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
        return not worse(self._add(f"{name}, with the frozen head", both, 0.0, 0.0, (judged,), frozen.trained), frozen)

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

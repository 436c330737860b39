"""Workers that answer for pictures: a bounded queue, one thread a core, each taking what waits and never waiting for more.

One picture alone is looked at with all threads; where several are in work, each has one. Batches are made only where a probe at the start
shows that they pay, which on CPUs they do not (docs/diary.md).
"""

import json
import os
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from statistics import median

from PIL import Image

from onelook.answers.answer import Answers
from onelook.asker import Asker, Decoded
from onelook.data.pictures import LARGEST_PIXELS, picture_size
from onelook.errors import OnelookError, PictureError
from onelook.heads.base import AnswerOptions

BATCH, PROBES, PAYS = 8, 5, 0.8  # pictures of a batch; how often it is tried; share of the time alone up to which it pays


class Busy(OnelookError):
    """More pictures wait than the queue holds."""


class TooLarge(OnelookError):
    """A picture of more pixels than are taken."""


@dataclass
class Job:
    """One picture and what is asked of it; ``result``: its answers as JSON, or an error."""

    name: str
    content: bytes
    heads: tuple[str, ...] = ()
    options: AnswerOptions = AnswerOptions()
    result: "Future[str]" = field(default_factory=Future)


class Pool:
    """Answers jobs of an ``asker``, which may be replaced while it works. ``most``: jobs that may wait; ``pixels``: of a picture."""

    def __init__(self, asker: Asker, most: int = 64, pixels: int = LARGEST_PIXELS, workers: int | None = None) -> None:
        self.asker, self.pixels = asker, pixels
        self.batch = probe(asker)
        self._waiting: queue.Queue[Job | None] = queue.Queue(most)
        self._busy, self._lock = 0, threading.Lock()
        count = workers or os.cpu_count() or 1
        self._threads = [threading.Thread(target=self._work, name=f"onelook-worker-{number}", daemon=True) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> "Future[str]":
        """Raises Busy where the queue is full."""
        try:
            self._waiting.put_nowait(job)
        except queue.Full:
            raise Busy(f"{self._waiting.maxsize} pictures are waiting; ask again in a second") from None
        return job.result

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return self._waiting.qsize()

    def close(self) -> None:
        """Answer what waits, then stop."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            job = self._waiting.get()
            if job is None:
                return
            jobs, stop = [job], False
            while len(jobs) < self.batch and not stop:
                try:
                    more = self._waiting.get_nowait()
                except queue.Empty:
                    break
                stop = more is None
                jobs += [more] if more is not None else []
            with self._lock:
                self._busy += 1
                alone = self._busy == 1 and self._waiting.empty()
            outcomes = self._outcomes(jobs, alone)
            with self._lock:  # before anyone hears of them and asks for more
                self._busy -= 1
            for done, outcome in outcomes:
                if isinstance(outcome, str):
                    done.result.set_result(outcome)
                else:
                    done.result.set_exception(outcome)
            if stop:
                return

    def _outcomes(self, jobs: Sequence[Job], alone: bool) -> list[tuple[Job, str | Exception]]:
        """Each job with its answers as JSON or, by itself, with what went wrong; without those whose asker is gone."""
        asker = self.asker
        found: list[tuple[Job, str | Exception]] = []
        groups: dict[tuple[tuple[str, ...], AnswerOptions], list[tuple[Job, Decoded]]] = {}
        for job in jobs:
            if not job.result.set_running_or_notify_cancel():
                continue
            try:
                groups.setdefault((job.heads, job.options), []).append((job, self._decoded(asker, job)))
            except Exception as error:  # decoders and heads may raise anything; the worker must live
                found.append((job, error))
        for (heads, options), group in groups.items():
            try:
                answers = asker.answer([one for _, one in group], heads, options, alone)
                found += [(job, as_json(one)) for (job, _), one in zip(group, answers, strict=True)]
            except Exception as error:
                found += [(job, error) for job, _ in group]
        return found

    def _decoded(self, asker: Asker, job: Job) -> Decoded:
        wide, high = picture_size(job.name, job.content)
        if wide * high > self.pixels:
            raise TooLarge(f"{job.name}: {wide}x{high} pixels; at most {self.pixels / 1e6:.0f} million are taken")
        return asker.decode(job.name, job.content)


def as_json(answers: Answers) -> str:
    """As ``onelook predict --json`` writes it."""
    return json.dumps(answers.to_json(), ensure_ascii=False)


def probe(asker: Asker) -> int:
    """How many pictures to look at at once: BATCH where that is clearly faster a picture than one by one, else 1. Prepares the networks."""
    picture = Image.effect_noise((640, 480), 60).convert("RGB")
    one = asker.prepare("probe", picture)
    times: dict[int, list[float]] = {1: [], BATCH: []}
    asker.answer([one], alone=False)
    for _ in range(PROBES):
        for count, spent in times.items():
            begun = time.perf_counter()
            asker.answer([one] * count)
            spent.append((time.perf_counter() - begun) / count)
    return BATCH if median(times[BATCH][1:]) < PAYS * median(times[1][1:]) else 1


__all__ = ["Busy", "Job", "PictureError", "Pool", "TooLarge", "as_json", "probe"]

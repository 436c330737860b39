"""What the commands of video do: answers over time, highlights, what is in a film, which pictures fit which shot.

python -c "from onelook.workflows import video as w; print(next(w.watch('film.mp4', w.asker_of(['mine.onelook']))))"
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onelook.answers.answer import Answers
from onelook.answers.canvas import with_key
from onelook.asker import Asker
from onelook.data.film import Film
from onelook.errors import DataError, OnelookError
from onelook.facts import Facts
from onelook.heads.base import AnswerOptions
from onelook.metrics.judge import Table
from onelook.model import Model
from onelook.modelparts import answer_options
from onelook.report.page import Section, shown, write_page
from onelook.video.asked import Asked
from onelook.video.camera import Camera, is_live
from onelook.video.counts import Counts, Places
from onelook.video.shots import find_shots
from onelook.video.smooth import Smoother
from onelook.video.summary import Summary
from onelook.video.tracks import Tracker
from onelook.video.watch import Moment, Watcher
from onelook.video.when import Clip, best, find_clips, parse_when
from onelook.video.write import Drawn, cut, format_of, lossless_cut, whole

LIVE_SECONDS = 60.0  # without a frame after which a camera is given up


@dataclass
class Watched:
    """What watching found besides its moments."""

    frames: int = 0
    looked: int = 0
    decoding: float = 0.0
    dropped: int = 0
    remarks: list[str] = field(default_factory=list)
    tracker: Tracker | None = None
    counts: Counts | None = None

    def to_json(self) -> Facts:
        facts: Facts = {"frames": self.frames, "looked": self.looked, "decoding_seconds": self.decoding, "dropped": self.dropped}
        if self.tracker is not None:
            facts["tracks"] = self.tracker.to_json()
        if self.counts is not None:
            facts |= {"counts": self.counts.to_json(), "crossings": self.counts.crossings}
        return facts


def asker_of(files: Sequence[Path | str], heads: Sequence[str] = (), **how: Any) -> Asker:
    """Heads of model files, or the ready one without any."""
    return Asker([Model.load(file, **how) for file in files] or [Model.new(**how)], heads)


def watch(
    source: str | Film, asker: Asker, asked: Asked = Asked(), *, out: Path | None = None, told: Watched | None = None
) -> Iterator[Moment]:
    """Answers for a film's, a folder's or a camera's frames, one by one; ``out``: a film with them drawn. Raises FilmError, DiskError."""
    asked.check()
    _check_target(source.path if isinstance(source, Film) else source, out)
    told = told or Watched()
    places = Places.read(asked.count) if asked.count is not None else None
    if asked.track or places is not None:
        told.tracker = Tracker(asker.heads, asked.conf)
    if told.tracker is not None and places is not None:
        told.counts = Counts(places, told.tracker)
    options = answer_options(list(asker.heads.values()), told.tracker.asked if told.tracker else asked.conf, None)
    smooth = Smoother(asked.smooth) if asked.smooth else None
    if isinstance(source, str) and is_live(source):
        moments = _live(source, asker, options, told)
    else:
        film = source if isinstance(source, Film) else Film.open(source)
        moments = _filmed(film, asker, asked, options, told, out is not None)
    with ExitStack() as stack:
        drawn: Drawn | None = None
        for moment, picture in moments:
            moment = smooth(moment) if smooth else moment
            moment = told.tracker(moment) if told.tracker else moment
            if told.counts is not None:
                told.counts.add(moment)
            told.frames += 1
            if out is not None and picture is not None:
                if drawn is None:
                    drawn = Drawn(stack.enter_context(whole(out)), 25.0, captions=True)
                    stack.callback(drawn.close)
                drawn.add(draw(picture, moment, told.counts), moment.time)
            yield moment


def draw(picture: Image.Image, moment: Moment, counts: Counts | None = None) -> Image.Image:
    """A frame with its answers, and with what was counted so far."""
    picture = picture if counts is None else counts.draw(picture)
    drawn = Answers(Path(f"{moment.time:.2f} s"), moment.answers, picture=picture, unlike=moment.unlike).draw()
    return drawn if counts is None else with_key(drawn, counts.key())


def _filmed(
    film: Film, asker: Asker, asked: Asked, options: AnswerOptions, told: Watched, pictures: bool
) -> Iterator[tuple[Moment, Image.Image | None]]:
    if told.counts is not None and asked.count is not None:
        told.counts.places.check(film.size, asked.count)
    watcher = Watcher(asker, film)
    numbers = film.chosen(asked.every, asked.start, asked.end)
    if film.cut_short:
        told.remarks.append(f"{film.path}: ends early ({film.cut_short}); what there is was asked about")
    frames = film.frames(numbers) if pictures else iter(())
    frame = next(frames, None)
    for moment in watcher.moments(numbers, options):
        while frame is not None and frame.number < moment.number:
            frame = next(frames, None)
        told.looked, told.decoding = watcher.looked, watcher.decoding
        yield moment, frame.picture if frame is not None and frame.number == moment.number else None
    if told.frames < len(numbers) and not film.cut_short:
        told.remarks.append(f"{film.path}: {len(numbers) - told.frames} frames could not be decoded")


def _live(source: str, asker: Asker, options: AnswerOptions, told: Watched) -> Iterator[tuple[Moment, Image.Image | None]]:
    camera = Camera(source, LIVE_SECONDS, asker.least)
    try:
        for frame in camera:
            answers = asker.answer([asker.prepare("frame", frame.picture, frame.size)], options=options)[0]
            told.looked, told.dropped = told.looked + 1, camera.dropped
            yield Moment(frame.number, frame.time, answers.answers, answers.ms, answers.unlike), frame.picture
    except KeyboardInterrupt:
        return  # how one ends a camera: what was counted is said, and what was drawn is kept


def highlights(
    source: str, asker: Asker, when: str, asked: Asked, *, pad: tuple[float, float] = (1.0, 1.0), top: int | None = None,
    out: Path | None = None, llc: Path | None = None, told: Watched | None = None,
) -> list[Clip]:  # fmt: skip
    """The stretches in which ``when`` holds, padded and ended at cuts; written as one film and as a project of LosslessCut."""
    condition = parse_when(when, asker.heads)
    if is_live(source):
        raise OnelookError(f"{source}: highlights are cut out of films; save it first")
    for target in (out, llc):
        _check_target(source, target)
    if out is not None:
        format_of(out)  # before the film is watched
    told = told or Watched()
    film = Film.open(source)
    moments = watch(film, asker, asked, told=told)
    said = [(moment.time, condition.holds(moment.answers), condition.score(moment.answers)) for moment in moments]
    step = float(np.median(np.diff([time for time, _, _ in said]))) if len(said) > 1 else 1.0
    clips: list[Clip] = []
    if any(holds for _, holds, _ in said):
        shots = find_shots(Watcher(asker, film, embeddings=True), asked.start, asked.end)
        clips = best(find_clips(said, step, pad, shots, film.seconds), top)
    if out is not None:
        if not clips:
            raise DataError(f"{source}: {when!r} holds nowhere, so nothing is cut; the highest was {max(score for *_, score in said):.3f}")
        cut(film, clips, out)
    if llc is not None:
        lossless_cut(film, clips, llc, when)
    return clips


def _check_target(source: Path | str, out: Path | None) -> None:
    """Raise OnelookError where what is to be written is the film itself."""
    if out is not None and Path(source).exists() and out.exists() and out.samefile(source):
        raise OnelookError(f"{out}: is the film itself, which would be lost; name another file")


def write_page_of(folder: Path, summary: Summary) -> Path:
    """Write ``folder``/index.html and return its path. Raises DiskError."""
    shots = tuple(
        shown(key, f"{clock(shot.start)} to {clock(shot.end)}", "; ".join(f"{name} {answer}" for name, answer in moment.answers.items()))
        for shot, key, moment in zip(summary.shots, summary.keys, summary.answers, strict=True)
    )
    rows = tuple(
        (head, label, f"{share:.0%}")
        for head, found in summary.whole.items()
        for label, share in sorted(found.items(), key=lambda one: -one[1])
    )
    sections = [
        Section("Shots", pictures=shots, note="One frame from the middle of each, with what is said of it."),
        Section("Share of the time", table=Table("", ("head", "label", "of the frames"), rows)),
    ]
    lead = f"{clock(summary.film.seconds)} in {len(summary.shots)} shots, {summary.film.size[0]} x {summary.film.size[1]} pixels."
    return write_page(folder, summary.film.path.name, lead, sections)


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{seconds % 60:04.1f}"

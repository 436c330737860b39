"""``onelook video``: films and cameras, asked like pictures; ``video summary`` and ``video match``: what is in them, what fits them."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from onelook.cli.options import Device, DeviceOption, Json, Quiet, Report, Weights, emit, group_with, names, say
from onelook.errors import OnelookError

if TYPE_CHECKING:
    from onelook.video.asked import Asked
    from onelook.video.when import Clip
    from onelook.workflows.video import Watched

app = typer.Typer(cls=group_with("watch"), no_args_is_help=True, help="Films and cameras: answers over time, highlights, shots, matches.")

Film = Annotated[str, typer.Argument(metavar="FILM", help="A film, or a folder of pictures.")]
Models = Annotated[list[Path] | None, typer.Option("--model", metavar="FILE", help=".onelook files (default: the ImageNet head).")]
Every = Annotated[str | None, typer.Option("--every", metavar="0.5s|N", help="Which frames (default: 0.5s; with --out, --track all).")]
Start = Annotated[float, typer.Option("--from", metavar="SECONDS", help="Where to begin.")]
End = Annotated[float | None, typer.Option("--to", metavar="SECONDS", help="Where to end.")]


@app.callback()
def _group() -> None:
    """Films and cameras, asked like pictures."""


@app.command()
def watch(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A film, a folder of pictures, /dev/video0, or a stream's address.")],
    model: Models = None,
    heads: Annotated[str | None, typer.Option("--heads", metavar="A,B", help="Which heads to ask (default: all).")] = None,
    every: Every = None,
    start: Start = 0.0,
    end: End = None,
    conf: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Lowest score of boxes (default: 0.2).")] = None,
    smooth: Annotated[float, typer.Option(metavar="SECONDS", min=0.0, help="Average labels over time, so that they do not flicker.")] = 0.0,
    track: Annotated[bool, typer.Option("--track", help="Follow boxes: the same thing has the same number in every frame.")] = False,
    count: Annotated[Path | None, typer.Option(metavar="JSON", help="Count what crosses its lines and stays in its zones.")] = None,
    events: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a line of JSON for every frame.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a row for each thing that was found.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILM", help="Write the film with its answers drawn.")] = None,
    highlights: Annotated[Path | None, typer.Option(metavar="FILM", help="Cut out the stretches in which --when holds.")] = None,
    llc: Annotated[Path | None, typer.Option(metavar="FILE", help="Write those stretches as a project of LosslessCut.")] = None,
    when: Annotated[
        str | None, typer.Option(metavar="EXPR", help='Such as "dunk > 0.7" or "count(person) >= 3 and not crowd > 0.5".')
    ] = None,
    pad: Annotated[str, typer.Option(metavar="BEFORE,AFTER", help="Seconds around a stretch, up to the next cut.")] = "1,1",
    top: Annotated[int | None, typer.Option(min=1, help="Only so many stretches, those that score highest.")] = None,
    weights: Weights = None,
    device: DeviceOption = Device.auto,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Answer for the frames of a film, one line each; looks are kept, so a second question costs a head only.

    Example: onelook video film.mp4 --model mine.onelook --every 0.5s --out drawn.mp4
    """
    from dataclasses import replace

    from onelook.answers.table_file import TableFile
    from onelook.workflows import video

    asked = replace(_asked(every, start, end, conf, smooth), track=track, count=count)
    if (highlights or llc) and when is None:
        raise OnelookError('--highlights: says not of what; give --when, such as --when "dunk > 0.7"')
    if when and not (highlights or llc):
        raise OnelookError("--when: is for --highlights FILM or --llc FILE")
    asker = video.asker_of(model or [], names(heads), weights=weights, device=device.value)
    told = video.Watched()
    if when is not None:
        _refuse_beside_highlights({"--events": events, "--csv": csv, "--out": out, "--count": count, "--track": track or None})
        clips = video.highlights(source, asker, when, asked, pad=_pad(pad), top=top, out=highlights, llc=llc, told=told)
        _remarks(told.remarks)
        _say_clips(clips, told, when, highlights, json, quiet)
        return
    if every is None and (out is not None or track or count is not None):
        asked = replace(asked, every=None)
    film = source if "://" in source else str(Path(source).resolve())
    with ExitStack() as stack:
        table = stack.enter_context(TableFile(csv)) if csv is not None else None
        lines = stack.enter_context(_lines(events)) if events is not None else None
        for moment in video.watch(source, asker, asked, out=out, told=told):
            if json:
                emit(moment.to_json())
            elif not quiet:
                say(str(moment))
            if lines is not None:
                lines.write(_json({"film": film} | moment.to_json()))
            if table is not None:
                table.add(moment)
    _remarks(told.remarks)
    if json:
        emit({"summary": told.to_json()})
    elif not quiet:
        _say_counts(told)


@app.command()
def summary(
    film: Film,
    model: Models = None,
    heads: Annotated[str | None, typer.Option("--heads", metavar="A,B", help="Which heads to ask (default: all).")] = None,
    every: Every = None,
    start: Start = 0.0,
    end: End = None,
    report: Report = None,
    weights: Weights = None,
    device: DeviceOption = Device.auto,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what is in a film: its shots, a frame for each, and what is said for which share of the time.

    Example: onelook video summary film.mp4 --model mine.onelook --report page/
    """
    from onelook.video.summary import summarise
    from onelook.workflows.video import asker_of, clock, write_page_of

    found = summarise(film, asker_of(model or [], names(heads), weights=weights, device=device.value), _asked(every, start, end))
    page = write_page_of(report, found) if report is not None else None
    if json:
        emit({**found.to_json(), "page": str(page) if page else None})
    elif not quiet:
        for shot, moment in zip(found.shots, found.answers, strict=True):
            say(f"{clock(shot.start)} to {clock(shot.end)}: " + "; ".join(f"{name} {answer}" for name, answer in moment.answers.items()))
        for head, shares in found.whole.items():
            say(f"{head}: " + ", ".join(f"{label} {share:.0%}" for label, share in sorted(shares.items(), key=lambda one: -one[1])[:10]))
        if page is not None:
            say(f"page: {page}")


@app.command()
def match(
    film: Film,
    gallery: Annotated[list[str], typer.Option("--gallery", metavar="PATH", help="Pictures, folders, globs.")],
    top: Annotated[int, typer.Option(min=1, help="How many pictures a shot.")] = 3,
    every: Every = None,
    start: Start = 0.0,
    end: End = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say which pictures fit which shot of a film, by looks: advertisements, slides, postcards.

    Example: onelook video match film.mp4 --gallery pictures/
    """
    from onelook.video.match import match as match_pictures
    from onelook.workflows.video import clock

    found = match_pictures(film, gallery, top=top, asked=_asked(every, start, end))
    if json:
        emit({"matches": [one.to_json() for one in found]})
    elif not quiet:
        for one in found:
            say(f"{clock(one.shot.start)} to {clock(one.shot.end)}: {one.picture} {one.score:.2f} (at {one.time:.2f} s; {one.reason})")


def _asked(every: str | None, start: float, end: float | None, conf: float | None = None, smooth: float = 0.0) -> "Asked":
    from onelook.data.film import EVERY
    from onelook.video.asked import Asked

    asked = Asked(every or EVERY, start, end, smooth, conf)
    asked.check()
    return asked


def _refuse_beside_highlights(given: Mapping[str, object]) -> None:
    """Raise OnelookError for what would be left undone."""
    for option, value in given.items():
        if value is not None:
            raise OnelookError(f"{option}: not together with --highlights; ask twice, the second time costs next to nothing")


def _say_clips(clips: Sequence["Clip"], told: "Watched", when: str, film: Path | None, json: bool, quiet: bool) -> None:
    """The stretches in which something holds."""
    if json:
        emit({"clips": [clip.to_json() for clip in clips], "when": when, "frames": told.frames, "looked": told.looked})
    elif not quiet:
        for clip in clips:
            say(f"{clip.start:.2f} to {clip.end:.2f} s, {when}: {clip.score:.3f}")
        say(f"{len(clips)} stretches in {told.frames} frames" + (f"; {film}" if film else ""))


def _say_counts(told: "Watched") -> None:
    """What was followed and counted."""
    if told.tracker is not None:
        for head, labels in told.tracker.to_json().items():
            say(f"{head}: " + (", ".join(f"{count} {label}" for label, count in labels.items()) or "nothing was followed"))
    for name, facts in (told.counts.to_json() if told.counts is not None else {}).items():
        if "in" in facts:
            say(f"{name}: {facts['in']} in, {facts['out']} out")
        else:
            stayed = f", for {facts['dwell']['mean']:.1f} s on average, {facts['dwell']['longest']:.1f} s at most" if facts["dwell"] else ""
            say(f"{name}: {facts['tracks']} in all, {facts['most']} at once{stayed}")


def _pad(text: str) -> tuple[float, float]:
    """Seconds before and after, of "3,1" or "2". Raises OnelookError."""
    try:
        parts = [float(part) for part in text.split(",")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2) or not all(0 <= part < float("inf") for part in parts):
        raise OnelookError(f"--pad {text}: use seconds before and after, as in 3,1")
    return parts[0], parts[-1]


def _json(facts: object) -> str:
    import json

    return json.dumps(facts, ensure_ascii=False) + "\n"


def _lines(path: Path) -> TextIO:
    """A file of lines, each written at once. Raises DiskError."""
    from onelook.errors import DiskError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w", encoding="utf-8", buffering=1)
    except OSError as error:
        raise DiskError(f"{path}: cannot be written ({error.strerror})") from error


def _remarks(remarks: list[str]) -> None:
    for remark in remarks:
        sys.stderr.write(f"onelook: {remark}\n")

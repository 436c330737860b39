"""``onelook faces``: galleries of who is known; verifying, identifying, judging, cropping and blurring faces."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onelook.cli.options import Json, Quiet, Report, done, emit, progress, say, table

if TYPE_CHECKING:
    from onelook.faces.appearances import Appearances
    from onelook.faces.threshold import Threshold

app = typer.Typer(help="Whose face, or which one: enrol, verify, identify, judge, crop, blur (extra: faces).", no_args_is_help=True)

GalleryFile = Annotated[Path, typer.Argument(metavar="GALLERY", help="The gallery's file, made if absent.")]
Encoder = Annotated[str, typer.Option("--encoder", metavar="dlib|FILE.onelook:HEAD", help="What makes vectors: of faces, or of pictures.")]
Largest = Annotated[bool, typer.Option("--largest", help="Of several faces in a picture take the largest.")]
Far = Annotated[float, typer.Option("--far", min=1e-6, max=0.5, help="Rate of false accepts for which the threshold is fitted.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Who it is.")]


@app.callback()
def _group() -> None:
    """Whose face, or which one."""


@app.command()
def enroll(
    gallery: GalleryFile,
    items: Annotated[list[str], typer.Argument(metavar="NAME PATH... | DIR", help="A name and pictures, or a folder of folders.")],
    encoder: Encoder = "dlib",
    largest: Largest = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put people into a gallery: NAME and pictures of it, or a folder with a folder of pictures for everybody.

    Example: onelook faces enroll people.gallery ada photos/ada1.jpg photos/ada2.jpg
    """
    from onelook.workflows.faces import enroll as run

    name, paths = (None, items) if len(items) == 1 else (items[0], items[1:])
    result = run(gallery, paths, name=name, encoder=encoder, pick_largest=largest, progress=progress(quiet))
    lines = [f"{path.path}: {path.reason}" for path in result.refused] + list(result.warnings)
    people = ", ".join(f"{called} {count}" for called, count in list(result.added.items())[:12])
    new = f"{sum(result.added.values())} pictures new" + (f" ({people})" if people else "")
    lines.append(f"{gallery}: {new}, {result.known} known already")
    done("\n".join(lines), result.to_json() | {"gallery": str(gallery)}, json, quiet)
    if result.refused:
        raise typer.Exit(3)


@app.command()
def identify(
    gallery: GalleryFile,
    items: Annotated[list[str], typer.Argument(metavar="PATH...", help="Pictures, folders, globs, films.")],
    far: Far = 0.001,
    encoder: Encoder = "dlib",
    largest: Largest = False,
    every: Annotated[str, typer.Option("--every", metavar="0.5s|N", help="Which frames of films.")] = "0.5s",
    draw: Annotated[Path | None, typer.Option(metavar="DIR", help="Write pictures with boxes and names here.")] = None,
    json: Json = False,
) -> None:
    """Say who is in each picture, or that it is nobody who is enrolled; of films, too, who is when.

    Example: onelook faces identify people.gallery party.jpg --draw drawn/
    """
    from onelook.answers.canvas import save_picture
    from onelook.faces.appearances import Appearances
    from onelook.video.asked import Asked
    from onelook.workflows.faces import Identifier

    Asked(every).check()
    failed = 0
    when: dict[Path, Appearances] = {}
    with Identifier.open(gallery, rate=far, encoder=encoder, progress=progress(json)) as ask:
        if not json:
            _say_threshold(ask.threshold, ask.gallery.identities())
            if ask.gallery.recall is not None:
                say(f"{len(ask.gallery)} vectors by an index, which finds the nearest in {ask.gallery.recall:.1%} of cases (measured)")
        for found in ask(items, largest, every):
            failed += found.error is not None
            if json:
                emit(found.to_json())
            else:
                said = f"{found.path}{found.at}: {found.people}"
                say(said if found.error is None else found.error)
            if found.time is not None:
                when.setdefault(found.path, Appearances()).add(found.time, found.people.faces)
            if draw is not None and found.error is None:
                save_picture(found.draw(), draw / f"{found.path.stem}{found.at.replace(' ', '-')}.png")
    for path, seen in when.items():
        _say_appearances(path, seen, json)
    if failed:
        raise typer.Exit(3)


def _say_appearances(film: Path, seen: "Appearances", json: bool) -> None:
    """Who is when in a film."""
    from onelook.workflows.video import clock

    if json:
        emit({"film": str(film), "appearances": [one.to_json() for one in seen.found]})
        return
    for one in seen.found:
        say(f"{film}: {one.name} from {clock(one.start)} to {clock(one.end)}, in {one.frames} frames")
    if not seen.found:
        say(f"{film}: nobody who is enrolled")


def _say_threshold(limit: "Threshold", count: int) -> None:
    """The threshold, its rate with the interval, and what that means among so many people."""
    between = f" ({limit.interval[0]:.2%} to {limit.interval[1]:.2%} for others)" if limit.interval else ""
    rate = f"; {limit.rate:.2%} of strangers' comparisons are accepted{between}" if limit.rate is not None else ""
    among = limit.among(count)
    many = f"; a stranger is taken for one of {count} people in {among:.1%} of cases" if among is not None else ""
    say(f"threshold {limit.distance:.3f}: {limit.why}{rate}{many}")


@app.command()
def verify(
    one: Annotated[Path, typer.Argument(metavar="A", help="A picture.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    encoder: Encoder = "dlib",
    largest: Largest = False,
    json: Json = False,
) -> None:
    """Say whether two pictures show the same person.

    Example: onelook faces verify passport.jpg door.jpg
    """
    from onelook.workflows.faces import verify as run

    found = run(one, other, encoder=encoder, pick_largest=largest)
    if json:
        emit(found.to_json())
    else:
        say(f"{'the same' if found.same else 'not the same'}: distance {found.distance:.3f}, threshold {found.threshold:.3f}")


@app.command("eval")
def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with a folder of pictures for everybody.")],
    pairs: Annotated[Path | None, typer.Option(metavar="FILE", help="Listed pairs, as LFW's pairs.txt.")] = None,
    tags: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="name,group: figures for each group of people.")] = None,
    encoder: Encoder = "dlib",
    report: Report = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge an encoder: equal error rate, accepts at rates of false accepts, rank-1 with one picture enrolled; LFW's accuracy with --pairs.

    Example: onelook faces eval people/ --json
    """
    from onelook.report.faces import write_protocol
    from onelook.workflows.faces import evaluate as run
    from onelook.workflows.faces import read_tags

    facts, seen = run(folder, pairs=pairs, tags=read_tags(tags) if tags else None, encoder=encoder, progress=progress(quiet))
    if report is not None:
        write_protocol(report, facts, seen, folder)
    if json:
        emit(facts)
        return
    low, high = facts["eer_interval"]
    say(f"{facts['n']} pictures of {facts['people']} people, {facts['missed']} in which nobody was found")
    say(f"equal error rate {facts['eer']:.2%} (95 % interval {low:.2%} to {high:.2%})")
    say(f"rank-1 with one picture enrolled {facts['rank1']:.2%}")
    table(["false accept rate", "same pairs accepted"], [[f"{float(k):.1%}", f"{v:.1%}"] for k, v in facts["val_at_far"].items()])
    if "accuracy" in facts:
        say(f"accuracy on {facts['pairs']} pairs {facts['accuracy']:.2%} (deviation over folds {facts['accuracy_std']:.2%})")
    for row in facts.get("groups", []):
        say(f"{row['group']}: {row['people']} people, false rejects {row['false_rejects']:.2%}, false accepts {row['false_accepts']:.2%}")


@app.command("list")
def list_people(gallery: GalleryFile, json: Json = False) -> None:
    """List who is enrolled, with how many pictures.

    Example: onelook faces list people.gallery
    """
    from onelook.faces.gallery import Gallery

    with Gallery.open(gallery) as opened:
        facts, counts = opened.to_json(), opened.counts()
    if json:
        emit(facts)
        return
    title = f"{gallery}, {facts['encoder']}, licence of its weights {facts['licence']}"
    table(["name", "pictures"], [[name, str(count)] for name, count in counts.items()], title=title)


@app.command()
def rename(
    gallery: GalleryFile, name: Name, new: Annotated[str, typer.Argument(metavar="NEW")], json: Json = False, quiet: Quiet = False
) -> None:
    """Call somebody otherwise; two of one name become one.

    Example: onelook faces rename people.gallery ada "Ada Lovelace"
    """
    from onelook.faces.gallery import Gallery

    with Gallery.open(gallery) as opened:
        count = opened.rename(name, new)
    done(f"{gallery}: {name} is called {new} ({count} pictures)", {"name": new, "before": name, "pictures": count}, json, quiet)


@app.command()
def remove(
    gallery: GalleryFile,
    name: Name,
    forget: Annotated[bool, typer.Option("--forget", help="Leave neither the name nor the numbers in the file.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take somebody out of a gallery; with --forget the bytes are gone, too.

    Example: onelook faces remove people.gallery ada --forget
    """
    from onelook.faces.gallery import Gallery

    with Gallery.open(gallery) as opened:
        count = opened.remove(name, forget)
    gone = "forgotten" if forget else "removed"
    done(f"{gallery}: {name} is {gone} ({count} pictures)", {"removed": count, "forgotten": forget, "name": name}, json, quiet)


@app.command()
def export(gallery: GalleryFile, out: Annotated[Path, typer.Option(metavar="FILE.npz")], json: Json = False, quiet: Quiet = False) -> None:
    """Write names and vectors as a NumPy file.

    Example: onelook faces export people.gallery --out people.npz
    """
    import numpy as np

    from onelook.faces.gallery import Gallery

    with Gallery.open(gallery) as opened:
        names, vectors = opened.table()
    np.savez(out, names=np.array(names), vectors=vectors)
    done(f"{out}: {len(names)} vectors", {"file": str(out), "vectors": len(names)}, json, quiet)


@app.command()
def merge(gallery: GalleryFile, other: Annotated[Path, typer.Argument(metavar="OTHER")], json: Json = False, quiet: Quiet = False) -> None:
    """Take over all who are enrolled in another gallery of the same encoder.

    Example: onelook faces merge people.gallery guests.gallery
    """
    from onelook.faces.gallery import Gallery

    with Gallery.open(gallery) as ours, Gallery.open(other) as theirs:
        count = ours.merge(theirs)
    done(f"{gallery}: {count} pictures new", {"gallery": str(gallery), "added": count}, json, quiet)


@app.command()
def crop(
    items: Annotated[list[str], typer.Argument(metavar="PATH...", help="Pictures, folders, globs.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the faces go, in folders as the pictures lie.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write every face of every picture as a square file, to be trained on (age, gender, emotion, who).

    Example: onelook faces crop photos/ --out faces/
    """
    from onelook.workflows.face_pictures import crop as run

    written = {str(path): [str(file) for file in files] for path, files in run(items, out)}
    faces = sum(map(len, written.values()))
    done(f"{out}: {faces} faces of {len(written)} pictures", {"pictures": len(written), "faces": faces, "files": written}, json, quiet)


@app.command()
def attributes(
    items: Annotated[list[str], typer.Argument(metavar="PATH...", help="Pictures, folders, globs.")],
    draw: Annotated[Path | None, typer.Option(metavar="DIR", help="Write pictures with boxes and guesses here.")] = None,
    json: Json = False,
) -> None:
    """Guess age and gender of every face: from one look of one picture, by networks whose error is years; 97.3 % of LFW's genders.

    Example: onelook faces attributes party.jpg
    """
    from onelook.answers.canvas import save_picture
    from onelook.answers.people import KNOWN, draw_named
    from onelook.data.pictures import open_picture
    from onelook.workflows.face_pictures import attributes as run

    failed = 0
    for path, found in run(items):
        if isinstance(found, str):
            failed += 1
            emit({"path": str(path), "error": found}) if json else say(found)
            continue
        if json:
            emit({"path": str(path), "faces": [one.to_json() for one in found]})
        else:
            say(f"{path}: {'; '.join(map(str, found)) or 'no face found'}")
        if draw is not None:
            save_picture(
                draw_named(open_picture(path), [(one.box, f"{one.gender} {one.age:.0f}", KNOWN) for one in found]),
                draw / f"{path.stem}.png",
            )
    if failed:
        raise typer.Exit(3)


@app.command()
def blur(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A picture.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the blurred one goes.")],
    keep: Annotated[Path | None, typer.Option(metavar="GALLERY", help="Leave those who are enrolled here as they are.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Blur all faces of a picture beyond recognition, or all but those of a gallery.

    Example: onelook faces blur party.jpg --out blurred.jpg
    """
    from onelook.workflows.face_pictures import blur as run

    count = run(path, out, keep=keep)
    done(f"{out}: {count} faces blurred; look at it, as no finder finds all", {"file": str(out), "blurred": count}, json, quiet)

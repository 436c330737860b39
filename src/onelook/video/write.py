"""Films out: frames with their answers drawn, and clips cut out of a film without encoding them anew.

A file is written under another name and takes its own when it is whole; what stood there before stays until then.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image

from onelook.answers.canvas import PAPER
from onelook.data.film import Film, FilmError
from onelook.errors import DiskError, OnelookError
from onelook.video.when import Clip

CODECS = ("libx264", "mpeg4")  # the first that this FFmpeg has
SPARE = 16  # the part of a drawn film's width that is left below its first frame
TICKS = 90_000  # of a second, in which times of frames are written


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write under, which becomes ``path`` if all goes well. Raises DiskError."""
    partial = path.with_name(f".partial-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except av.FFmpegError as error:
        raise DiskError(f"{path}: cannot be written ({error.strerror or error}); name an .mp4, and free some room") from error
    except OSError as error:
        raise DiskError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            partial.unlink()


class Drawn:
    """A film of drawn frames, each at its own time, without sound. ``captions``: whether some room is left below for words that grow."""

    def __init__(self, path: Path, rate: float, captions: bool = False) -> None:
        self._spare = SPARE if captions else 0
        try:
            self._container: Any = av.open(str(path), "w")
            codec = next(name for name in CODECS if name in av.codecs_available)
            self._stream = self._container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
        except (av.FFmpegError, ValueError, StopIteration) as error:
            raise OnelookError(f"{path}: cannot be written as a film ({error}); name an .mp4") from error
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS)  # else times are rounded to the rate
        self._size: tuple[int, int] | None = None

    def add(self, picture: Image.Image, time: float) -> None:
        """A frame; all have the first one's size, which is made even."""
        if self._size is None:
            below = picture.width // self._spare if self._spare else 0
            self._size = (picture.width // 2 * 2, (picture.height + below) // 2 * 2)
            self._stream.width, self._stream.height = self._size
        canvas = Image.new("RGB", self._size, PAPER)
        canvas.paste(picture)
        frame = av.VideoFrame.from_image(canvas)
        frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> None:
        """Write what is left."""
        if self._size is not None:
            for packet in self._stream.encode():
                self._container.mux(packet)
        self._container.close()


def cut(film: Film, clips: Sequence[Clip], path: Path) -> None:
    """Write clips one after the other into one film, copied as they are; each begins at the last key frame before it.

    Raises FilmError for folders and DiskError.
    """
    if film.pictures:
        raise FilmError(f"{film.path}: a folder of pictures cannot be cut; --highlights is for films")
    with whole(path) as partial, av.open(str(film.path)) as source, av.open(str(partial), "w", format=format_of(path)) as out:
        video = source.streams.video[0]
        kept = {stream.index: out.add_stream_from_template(stream) for stream in (video, *source.streams.audio[:1])}
        base = film.pts[0] * float(video.time_base or 1)
        ends: dict[int, float] = {}
        shift = 0.0
        for clip in clips:
            source.seek(int((base + clip.start) / float(video.time_base or 1)), stream=video)
            begun: float | None = None
            for packet in source.demux([stream for stream in source.streams if stream.index in kept]):
                if packet.dts is None or packet.pts is None:
                    continue
                at = float(packet.pts * packet.time_base) - base
                if packet.stream.index == video.index and at >= clip.end and packet.is_keyframe:
                    break
                if at > clip.end + 1:
                    break
                if at >= clip.end:
                    continue
                if begun is None:
                    if packet.stream.index != video.index:
                        continue
                    begun = float(packet.dts * packet.time_base) - base
                offset = round((shift - begun - base) / float(packet.time_base))
                length = float((packet.duration or 0) * packet.time_base)
                ends[packet.stream.index] = max(ends.get(packet.stream.index, 0.0), at - begun + shift + length)
                packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                packet.stream = kept[packet.stream.index]
                out.mux(packet)
            shift = max(ends.values(), default=0.0)


def format_of(path: Path) -> str:
    """The container of a film of clips, by its suffix. Raises OnelookError for another."""
    known = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
    if path.suffix.lower() not in known:
        raise OnelookError(f"{path}: clips are written as {', '.join(known)}")
    return known[path.suffix.lower()]


def lossless_cut(film: Film, clips: Sequence[Clip], path: Path, name: str) -> None:
    """Write the clips as a project of LosslessCut (.llc), to be looked at and changed there. Raises DiskError."""
    segments = [{"start": clip.start, "end": clip.end, "name": f"{name} {clip.score:.2f}"} for clip in clips]
    project = {"version": 1, "mediaFileName": film.path.name, "cutSegments": segments}
    with whole(path) as partial:
        partial.write_text(json.dumps(project, indent=1, ensure_ascii=False), encoding="utf-8")

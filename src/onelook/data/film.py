"""Frames of films, and of folders of pictures as films, decoded in a thread of their own and shrunk while they are decoded.

Through PyAV, whose wheels bring FFmpeg (with x264 and x265, which are GPL). A film's frames are known by their timestamps before one is
decoded, so films of any frame rate are right, and frames that are not wanted are skipped.

    python -c "from onelook.data.film import Film; film = Film.open('film.mp4'); print(len(film.times), film.size)"
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from PIL import Image

from onelook.data.pictures import files_in, is_picture, open_picture, picture_size
from onelook.errors import PictureError, UnreadableError

Item = TypeVar("Item")
EVERY = "0.5s"  # between frames that are asked about, where nobody says
AHEAD = 16  # frames that are decoded before they are asked for
SEEK = 8.0  # seconds between two wanted frames from which on the film is not decoded through
FOLDER_RATE = 1.0  # pictures of a folder that stand for a second
NETWORK = {"rtsp_transport": "tcp", "timeout": "5000000", "rw_timeout": "5000000"}  # microseconds


class FilmError(UnreadableError):
    """A film cannot be read; the message names it."""


@dataclass(frozen=True)
class Frame:
    """One picture of a film. ``number`` counts all frames from 0, ``time`` is in seconds from the film's beginning.

    ``size``: width and height, upright, before it was shrunk.
    """

    number: int
    time: float
    picture: Image.Image
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Film:
    """A film, or a folder of pictures as one. ``times``: of every frame, ascending, in seconds; ``size``: (width, height), upright.

    ``pts``: the stream's own timestamps, in the order of ``times``. ``cut_short``: why the file ends early, if it does.
    """

    path: Path
    times: np.ndarray
    size: tuple[int, int]
    rate: float
    pts: tuple[int, ...] = ()
    pictures: tuple[Path, ...] = ()
    cut_short: str = ""

    @staticmethod
    def open(path: Path | str) -> "Film":
        """Read a film's timestamps. Raises FilmError for what is none, or has no pictures in it."""
        path = Path(path)
        if path.is_dir():
            return _folder(path)
        if not path.exists():
            raise FilmError(f"{path}: no such film")
        with open_container(str(path)) as container:
            stream = video_stream(container, str(path))
            pts: list[int] = []
            cut_short = ""
            try:
                for packet in container.demux(stream):
                    pts += [packet.pts] if packet.pts is not None and packet.size else []
            except av.FFmpegError as error:
                cut_short = str(error)
            if not pts:
                raise FilmError(f"{path}: holds no frame that can be read")
            turned = _turn_of(str(path)) % 180 == 90
            size = (stream.height, stream.width) if turned else (stream.width, stream.height)
            rate, base = float(stream.average_rate or 25), float(stream.time_base or 1)  # not to be read once it is closed
        order = sorted(set(pts))
        return Film(path, (np.array(order) - order[0]) * base, size, rate, tuple(order), cut_short=cut_short)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return float(self.times[-1]) + 1 / max(self.rate, 1e-6)

    @cached_property
    def digest(self) -> str:
        """What tells it from other films: a hash of its bytes (32 hex digits)."""
        found = sha256()
        for file in self.pictures or (self.path,):
            with file.open("rb") as content:
                while part := content.read(1 << 20):
                    found.update(part)
        return found.hexdigest()[:32]

    def chosen(self, every: str | float | None = None, start: float = 0.0, end: float | None = None) -> list[int]:
        """Numbers of the frames that are asked about: all, every n-th ("5"), or one every so many seconds ("0.5s")."""
        inside = [int(n) for n in np.flatnonzero((self.times >= start) & (self.times <= (self.seconds if end is None else end)))]
        if every is None or not inside:
            return inside
        text = str(every)
        if not text.endswith("s"):
            return inside[:: max(1, int(text))]
        step = float(text[:-1])
        wanted = np.arange(self.times[inside[0]], self.times[inside[-1]] + 1e-9, step)
        near = np.searchsorted(self.times[inside], wanted - 1e-6)
        return [inside[place] for place in dict.fromkeys(near.tolist()) if place < len(inside)]

    def frames(self, numbers: Iterable[int], least: int | None = None) -> Iterator[Frame]:
        """These frames (ascending), decoded ahead in a thread; ``least``: pixels that the shorter side may be shrunk to."""
        return in_thread(lambda: self._read(list(numbers), least))

    def _read(self, numbers: Sequence[int], least: int | None) -> Iterator[Frame]:
        if self.pictures:
            for place in numbers:
                path = self.pictures[place]
                with suppress(PictureError):  # as a frame that cannot be decoded
                    yield Frame(place, float(self.times[place]), open_picture(path, at_least=least), picture_size(path))
            return
        wanted, numbers_of = iter(numbers), {pts: number for number, pts in enumerate(self.pts)}
        number = next(wanted, None)
        with open_container(str(self.path)) as container:
            stream = video_stream(container, str(self.path))
            stream.thread_type = "AUTO"
            at = 0.0
            while number is not None:
                if self.times[number] - at > SEEK:
                    container.seek(self.pts[number], stream=stream)
                try:
                    for frame in container.decode(stream):
                        here = numbers_of.get(frame.pts if frame.pts is not None else -1)
                        if here is None or here < number:
                            continue
                        while number is not None and number < here:  # a frame that the file names but cannot be decoded
                            number = next(wanted, None)
                        if number == here:
                            at = float(self.times[here])
                            yield Frame(here, at, picture_of(frame, least), self.size)
                            number = next(wanted, None)
                        if number is None or self.times[number] - at > SEEK:
                            break
                    else:
                        return
                except av.FFmpegError:
                    return  # cut short: what was decoded stays


def picture_of(frame: Any, least: int | None = None) -> Image.Image:
    """A decoded frame as an upright RGB picture, shrunk so that the shorter side keeps ``least`` pixels."""
    shrink = max(1.0, min(frame.width, frame.height) / least) if least else 1.0
    size = {"width": max(1, round(frame.width / shrink)), "height": max(1, round(frame.height / shrink))} if shrink > 1 else {}
    picture: Image.Image = frame.to_image(**size, interpolation="AREA") if size else frame.to_image()
    turn = int(frame.rotation)
    return picture.rotate(turn, expand=True) if turn % 360 else picture


def in_thread(make: Callable[[], Iterator[Item]], depth: int = AHEAD) -> Iterator[Item]:
    """An iterator's items, made in a thread at most ``depth`` ahead; its errors are raised here, and leaving early ends it."""
    waiting: queue.Queue[tuple[bool, Any]] = queue.Queue(depth)
    stop = threading.Event()

    def put(entry: tuple[bool, Any]) -> bool:
        while not stop.is_set():
            try:
                waiting.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def run() -> None:
        try:
            for item in make():
                if not put((True, item)):
                    return
            put((False, None))
        except BaseException as error:
            put((False, error))

    thread = threading.Thread(target=run, name="onelook-film", daemon=True)
    thread.start()
    try:
        while True:
            there, item = waiting.get()
            if there:
                yield item
            elif item is None:
                return
            else:
                raise item
    finally:
        stop.set()
        thread.join()


def open_container(name: str, live: bool = False) -> Any:
    """A film's or a stream's container. Raises FilmError."""
    try:
        return av.open(name, options=dict(NETWORK) if live and "://" in name else {}, timeout=10.0 if live else None)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = str(error).split(";")[0].split(": '")[0]
        raise FilmError(f"{name}: not a film that can be read ({reason}); it may be cut short") from error


def video_stream(container: Any, name: str) -> Any:
    """The pictures in a container. Raises FilmError where there are none."""
    if not container.streams.video:
        raise FilmError(f"{name}: there are no pictures in it, only {', '.join(s.type for s in container.streams) or 'nothing'}")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise FilmError(f"{name}: its pictures are of a codec that is not known here")
    return stream


def _turn_of(path: str) -> int:
    """Degrees by which a film's first frame must be turned."""
    with open_container(path) as container:
        try:
            frame = next(container.decode(video_stream(container, path)), None)
        except av.FFmpegError as error:
            raise FilmError(f"{path}: holds no frame that can be read ({error})") from error
        return 0 if frame is None else int(frame.rotation)


def _folder(path: Path) -> Film:
    pictures = tuple(filter(is_picture, files_in(path)))
    if not pictures:
        raise FilmError(f"{path}: no pictures are in this folder")
    try:
        size = picture_size(pictures[0])
    except PictureError as error:
        raise FilmError(str(error)) from error
    return Film(path, np.arange(len(pictures)) / FOLDER_RATE, size, FOLDER_RATE, pictures=pictures)

"""Cameras and streams: the newest frame only, however slowly frames are taken.

python -c "from onelook.video.camera import Camera; print(next(iter(Camera('/dev/video0'))).size)"
"""

import threading
import time
from collections.abc import Iterator

import av

from onelook.data.film import FilmError, Frame, open_container, picture_of, video_stream

SHORTEST, LONGEST_PAUSE = 0.5, 8.0  # seconds until a camera that is gone is tried again, doubled each time


class Camera:
    """A camera or a stream: the newest frame only, however slowly they are taken; comes back by itself after a break.

    Times are seconds since the first frame, by the stream's clock where it has one. Iteration ends with ``stop``, or after ``seconds``
    without a frame.
    """

    def __init__(self, address: str, seconds: float = 60.0, least: int | None = None) -> None:
        self.address, self.seconds, self.least = address, seconds, least
        self.dropped = self.breaks = 0
        self._newest: Frame | None = None
        self._fresh, self._ended = threading.Condition(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="onelook-camera", daemon=True)

    def __iter__(self) -> Iterator[Frame]:
        self._thread.start()
        try:
            while not self._ended.is_set():
                with self._fresh:
                    if not self._fresh.wait_for(lambda: self._newest is not None or self._ended.is_set(), self.seconds):
                        raise FilmError(f"{self.address}: no frame for {self.seconds:g} seconds")
                    frame, self._newest = self._newest, None
                if frame is not None:
                    yield frame
        finally:
            self.stop()

    def stop(self) -> None:
        """End it."""
        self._ended.set()
        with self._fresh:
            self._fresh.notify_all()

    def _run(self) -> None:
        pause, number, first, offset = SHORTEST, 0, time.monotonic(), 0.0
        while not self._ended.is_set():
            try:
                with open_container(self.address, live=True) as container:
                    stream, begun = video_stream(container, self.address), None
                    for decoded in container.decode(stream):
                        if self._ended.is_set():
                            return
                        at = time.monotonic() - first if decoded.time is None else float(decoded.time)
                        if begun is None:
                            begun, offset = at, time.monotonic() - first if number else 0.0
                        picture = picture_of(decoded, self.least)
                        size = (decoded.width, decoded.height) if decoded.rotation % 180 == 0 else (decoded.height, decoded.width)
                        self._put(Frame(number, at - begun + offset, picture, size))
                        number, pause = number + 1, SHORTEST
            except (av.FFmpegError, OSError, FilmError):
                pass
            self.breaks += 1
            self._ended.wait(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    def _put(self, frame: Frame) -> None:
        with self._fresh:
            self.dropped += self._newest is not None
            self._newest = frame
            self._fresh.notify()


def is_live(source: str) -> bool:
    """Whether a source is a camera or a stream rather than a film."""
    return "://" in source or source.startswith("/dev/video")

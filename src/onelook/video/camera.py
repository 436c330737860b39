"""Cameras and streams: the newest frame only, however slowly frames are taken.

python -c "from onelook.video.camera import Camera; print(next(iter(Camera('/dev/video0'))).size)"
"""

import threading
import time
from collections.abc import Iterator

import av

from onelook.data.film import FilmError, Frame, open_container, picture_of, video_stream

SHORTEST, LONGEST_PAUSE = 0.5, 2.0  # seconds until a camera that is gone is tried again, doubled each time
TICK = 0.001  # seconds between two frames at least


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
        pause, number, clock = SHORTEST, 0, _Clock()
        while not self._ended.is_set():
            try:
                with open_container(self.address, live=True) as container:
                    clock.restart()
                    for decoded in container.decode(video_stream(container, self.address)):
                        if self._ended.is_set():
                            return
                        picture = picture_of(decoded, self.least)
                        size = (decoded.width, decoded.height) if decoded.rotation % 180 == 0 else (decoded.height, decoded.width)
                        self._put(Frame(number, clock(decoded.time), picture, size))
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


class _Clock:
    """Seconds since a camera's first frame: by the stream's own stamps, by this machine's clock where it has none and over breaks."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._begun: float | None = None
        self._last = -TICK

    def restart(self) -> None:
        """The stream begins again, perhaps with other stamps."""
        self._begun = None

    def __call__(self, stamp: float | None) -> float:
        """The time of a frame that has just come; always later than the one before."""
        now = time.monotonic()
        self._first = now if self._first is None else self._first
        passed = now - self._first
        if stamp is not None and self._begun is None:
            self._begun = stamp - passed
        self._last = max(self._last + TICK, passed if stamp is None or self._begun is None else stamp - self._begun)
        return self._last


def is_live(source: str) -> bool:
    """Whether a source is a camera or a stream rather than a film."""
    return "://" in source or source.startswith("/dev/video")

"""A server from its start to its end: models loaded and, when their files change, replaced; an address; a stop that loses no answer.

onelook serve mine.onelook --port 8000
"""

import asyncio
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn
from PIL import Image
from uvicorn.protocols.http.h11_impl import H11Protocol

from onelook.asker import Asker
from onelook.errors import OnelookError
from onelook.facts import Facts
from onelook.model import Model
from onelook.serve.app import HERE, Limits, make_app
from onelook.serve.pool import Pool

LOOK_AGAIN = 1.0  # seconds until files are looked at for changes again
OPEN = 256  # connections at once
HEAD, KEEP_ALIVE, STOP = 10, 5, 30  # seconds: for a request's head to come, that an idle connection is kept, for the last answers


class Server:
    """Models behind an address. ``run`` returns when it is stopped (Ctrl-C or SIGTERM)."""

    def __init__(
        self, files: Sequence[Path], *, host: str = "127.0.0.1", port: int = 8000, heads: Sequence[str] = (), token: str | None = None,
        weights: Path | None = None, device: str = "auto", most_waiting: int = 64, megapixels: float = 50.0, limits: Limits = Limits(),
    ) -> None:  # fmt: skip
        """Raises OnelookError for an address beyond this machine without a token, and for models that cannot be asked together."""
        if host not in HERE and not token:
            raise OnelookError(f"--host {host}: others could ask, too; give --token TEXT, such as {secrets.token_urlsafe(16)}")
        self.files, self.heads, self.weights, self.device = list(files), tuple(heads), weights, device
        self.socket = _bound(host, port)
        self.host, self.port = host, int(self.socket.getsockname()[1])
        try:
            self._seen = self._states()
            self.pool = Pool(self._asker(), most_waiting, int(megapixels * 1e6))
        except BaseException:
            self.socket.close()
            raise
        app = make_app(self.pool, self.describe, limits=limits, token=token)
        config = uvicorn.Config(
            app, http=_Impatient,
            log_level="warning", access_log=False, server_header=False, limit_concurrency=OPEN, timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=STOP, h11_max_incomplete_event_size=16_384, lifespan="on",
        )  # fmt: skip
        self._server = _Announcing(config)
        self._stopped = threading.Event()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://{f'[{self.host}]' if ':' in self.host and not self.host.startswith('[') else self.host}:{self.port}"

    def run(self, ready: Callable[[], None]) -> None:
        """Answer until it is stopped; ``ready``: called once when requests are answered."""
        self._server.ready = ready
        threading.Thread(target=self._watch, name="onelook-watch", daemon=True).start()
        try:
            self._server.run(sockets=[self.socket])
        finally:
            self._stopped.set()
            self.socket.close()

    def stop(self) -> None:
        """End ``run``, from another thread; what waits is answered first."""
        self._server.should_exit = True

    def describe(self) -> Facts:
        """What may be asked: heads with their task, method, classes and file."""
        asker = self.pool.asker
        return {
            "heads": {
                name: {
                    "task": head.core.task,
                    "method": head.core.method,
                    "classes": list(head.classes),
                    "backbone": asker.owner[name].backbone.name,
                }
                for name, head in asker.heads.items()
            },
            "files": [file.name for file in self.files],
        }

    def _asker(self) -> Asker:
        models = [Model.load(file, weights=self.weights, device=self.device) for file in self.files]
        return Asker(models or [Model.new(weights=self.weights, device=self.device)], self.heads)

    def _states(self) -> list[tuple[int, int, int]]:
        """What tells one version of the files from another."""
        states = [file.stat() for file in self.files if file.exists()]
        return [(state.st_mtime_ns, state.st_size, state.st_ino) for state in states]

    def _watch(self) -> None:
        """Replace the models when a file has changed; requests in work are answered by the old ones."""
        while not self._stopped.wait(LOOK_AGAIN):
            now = self._states()
            if now == self._seen or len(now) < len(self.files):
                continue
            self._seen = now
            try:
                asker = self._asker()
                asker.answer([asker.prepare("probe", Image.new("RGB", (64, 64)))])  # networks are prepared before anyone waits for them
                self.pool.asker = asker
                sys.stderr.write(f"onelook: {', '.join(file.name for file in self.files)} loaded again\n")
            except OnelookError as error:
                sys.stderr.write(f"onelook: {error}; the model that was loaded before goes on answering\n")


class _Impatient(H11Protocol):
    """HTTP that closes connections whose next request has not sent its whole head within ``HEAD`` seconds."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD, self._give_up)

    def _give_up(self) -> None:
        self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.transport.close()


class _Announcing(uvicorn.Server):
    """Says once when it is ready."""

    ready: Callable[[], None] = staticmethod(lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.ready()


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OnelookError naming what is in the way."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sends at once only if the protocol is said
    try:
        if os.name == "posix":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host.strip("[]"), port))
    except (OSError, OverflowError) as error:
        found.close()
        raise OnelookError(f"--host {host} --port {port}: cannot listen there ({error}); --port 0 takes a free one") from error
    return found

"""The server's HTTP: what may be asked, how, and what is refused.

``POST /v1/predict``: a picture as the body, as a form's files, or as base64 in JSON; ``GET /v1/heads``, ``/healthz``, ``/metrics``,
``/openapi.json``; ``/`` takes a picture that is dropped on it, ``/docs`` tells all this. Nothing is fetched from elsewhere.
"""

import asyncio
import base64
import binascii
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import onelook
from onelook.errors import HeadError, OnelookError, PictureError
from onelook.facts import Facts
from onelook.heads.base import AnswerOptions
from onelook.serve.openapi import document
from onelook.serve.pool import Busy, Job, Pool, TooLarge

PAGES = files("onelook.serve") / "pages"
HERE = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
PATHS = ("/v1/predict", "/v1/heads", "/healthz", "/metrics", "/openapi.json", "/docs", "/")
POLICY = "default-src 'none'; img-src 'self' blob: data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


@dataclass(frozen=True)
class Limits:
    """What is refused. ``megabytes``: of a request; ``pictures``: in it; ``seconds``: in which it must have come, and been answered."""

    megabytes: float = 20.0
    pictures: int = 16
    seconds: float = 30.0


def make_app(pool: Pool, describe: Callable[[], Facts], *, limits: Limits = Limits(), token: str | None = None) -> Starlette:
    """The application. ``describe``: what heads there are; ``token``: what requests must bear, if set, from any host."""
    registry = CollectorRegistry()
    told = _Told(registry, pool)

    async def predict(request: Request) -> Response:
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(limits.seconds):
                jobs, one = await _jobs(request, limits, pool)
                results = await asyncio.gather(*(_result(pool, job) for job in jobs), return_exceptions=True)
        except TimeoutError:
            raise HTTPException(408, f"nothing that could be answered within {limits.seconds:g} seconds") from None
        told.pictures.inc(len(jobs))
        told.seconds.observe(time.perf_counter() - begun)
        if one:
            return Response(_text(results[0], None), media_type="application/json")
        return Response(
            '{"pictures": [' + ", ".join(_text(result, job) for result, job in zip(results, jobs, strict=True)) + "]}",
            media_type="application/json",
        )

    async def heads(request: Request) -> Response:
        return JSONResponse(describe())

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", "waiting": pool.waiting, "onelook": onelook.__version__})

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def openapi(request: Request) -> Response:
        return JSONResponse(document(limits.megabytes, limits.pictures, token is not None))

    def page(name: str) -> Callable[[Request], Any]:
        text = (PAGES / name).read_text(encoding="utf-8")

        async def show(request: Request) -> Response:
            return HTMLResponse(text, headers={"Content-Security-Policy": POLICY})

        return show

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(pool.close)

    routes = [
        Route("/v1/predict", predict, methods=["POST"]),
        Route("/v1/heads", heads),
        Route("/healthz", health),
        Route("/metrics", metrics),
        Route("/openapi.json", openapi),
        Route("/docs", page("docs.html")),
        Route("/", page("start.html")),
    ]
    handlers: Any = {HTTPException: _http_error, OnelookError: _our_error, ClientDisconnect: _gone}
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=life)
    app.add_middleware(_Guard, token=token, told=told)
    return app


class _Told:
    """What ``/metrics`` tells."""

    def __init__(self, registry: CollectorRegistry, pool: Pool) -> None:
        self.requests = Counter("onelook_requests_total", "Requests by path and status.", ["path", "status"], registry=registry)
        self.pictures = Counter("onelook_pictures_total", "Pictures that were asked about.", registry=registry)
        self.seconds = Histogram("onelook_predict_seconds", "Seconds of a request to /v1/predict.", registry=registry)
        Gauge("onelook_waiting", "Pictures that wait.", registry=registry).set_function(lambda: pool.waiting)


class _Guard:
    """Only requests that mean this server, from its own pages or from programs: Host, Origin and token are checked; answers counted."""

    def __init__(self, app: ASGIApp, token: str | None, told: _Told) -> None:
        self.app, self.token, self.told = app, token, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        known = scope["path"] if scope["path"] in PATHS else "other"

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.told.requests.labels(known, message["status"]).inc()
                message["headers"] = [*message.get("headers", []), (b"x-content-type-options", b"nosniff")]
            await send(message)

        wrong = self._wrong(dict(scope["headers"]), scope["path"])
        app: ASGIApp = self.app if wrong is None else JSONResponse({"error": wrong[1]}, wrong[0])
        await app(scope, receive, count)

    def _wrong(self, headers: dict[bytes, bytes], path: str) -> tuple[int, str] | None:
        """Status and reason of what is refused, if it is."""
        host, origin = headers.get(b"host", b"").decode("latin-1"), headers.get(b"origin")
        if self.token is None and _name_of(host) not in HERE:
            return 403, f"host {host!r} is not this server; use 127.0.0.1 or localhost"
        if origin is not None and origin.decode("latin-1").split("://", 1)[-1] != host:
            return 403, "requests of other sites' pages are not answered"
        if self.token is not None and path not in ("/healthz", "/", "/docs"):
            given = headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ")
            if not secrets.compare_digest(given.encode(), self.token.encode()):
                return 401, "a token is wanted: Authorization: Bearer TOKEN"
        return None


def _name_of(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


async def _jobs(request: Request, limits: Limits, pool: Pool) -> tuple[list[Job], bool]:
    """What a request asks, and whether it is one picture by itself. Raises HTTPException for what cannot be read or is too much."""
    heads, options = _asked(request, pool)
    body = await _body(request, limits.megabytes)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        named = await _files(request, body, limits.pictures)
    elif kind == "application/json":
        named = _of_json(body)
    else:
        named = [("picture", body)]
    if not named or not any(content for _, content in named):
        raise HTTPException(422, "no picture here: send one as the body, as files of a form, or as base64 in JSON under image or images")
    if len(named) > limits.pictures:
        raise HTTPException(413, f"{len(named)} pictures; at most {limits.pictures} a request")
    return [Job(name, content, heads, options) for name, content in named], len(named) == 1


def _asked(request: Request, pool: Pool) -> tuple[tuple[str, ...], AnswerOptions]:
    """Heads and options of a request's address. Raises HTTPException."""
    heads = tuple(part for part in request.query_params.get("heads", "").split(",") if part)
    unknown = [name for name in heads if name not in pool.asker.heads]
    if unknown:
        raise HTTPException(422, f"heads: no head {unknown[0]!r}; there are {', '.join(pool.asker.heads)}")
    text = request.query_params.get("conf")
    try:
        conf = None if text is None else float(text)
    except ValueError:
        conf = -1.0
    if conf is not None and not 0 <= conf <= 1:
        raise HTTPException(422, f"conf: {text!r} is no number from 0 to 1")
    return heads, AnswerOptions(conf)


async def _body(request: Request, megabytes: float) -> bytes:
    """The body, read no further than is allowed. Raises HTTPException."""
    most = int(megabytes * 1e6)
    said = request.headers.get("content-length", "0")
    if said.isdigit() and int(said) > most:
        raise HTTPException(413, f"{int(said) / 1e6:.1f} MB; at most {megabytes:g} MB a request")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise HTTPException(413, f"more than {megabytes:g} MB; at most that a request")
        parts.append(part)
    return b"".join(parts)


async def _files(request: Request, body: bytes, most: int) -> list[tuple[str, bytes]]:
    """The files of a form by the last part of their names. Raises HTTPException."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(request.scope, receive).form(max_files=most, max_fields=most, max_part_size=len(body) + 1) as form:
            uploads = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            return [(PurePosixPath((one.filename or "picture").replace("\\", "/")).name or "picture", await one.read()) for one in uploads]
    except (MultiPartException, HTTPException, ValueError, KeyError, UnicodeError) as error:
        many = "Too many files" in str(getattr(error, "message", "")) + str(getattr(error, "detail", ""))
        raise HTTPException(413 if many else 422, f"more than {most} files" if many else "the form cannot be read") from None


def _of_json(body: bytes) -> list[tuple[str, bytes]]:
    """``image`` or ``images`` of a JSON body, from base64. Raises HTTPException."""
    try:
        said = json.loads(body)
        texts = said.get("images", [said["image"]] if "image" in said else [])
        pictures = [base64.b64decode(str(text).partition("base64,")[2] or text, validate=True) for text in texts]
    except (ValueError, AttributeError, TypeError, KeyError, binascii.Error, RecursionError):
        raise HTTPException(422, 'the body is not JSON of the form {"image": "BASE64"} or {"images": ["BASE64", ...]}') from None
    return [(f"picture {number}" if len(pictures) > 1 else "picture", picture) for number, picture in enumerate(pictures, 1)]


async def _result(pool: Pool, job: Job) -> str:
    return await asyncio.wrap_future(pool.submit(job))


def _text(result: str | BaseException, job: Job | None) -> str:
    """Answers as JSON; of one picture among several its error, too."""
    if isinstance(result, str):
        return result
    if job is None or not isinstance(result, PictureError | TooLarge):
        raise result
    return json.dumps({"path": job.name, "error": str(result)}, ensure_ascii=False)


STATUS: Sequence[tuple[type[OnelookError], int]] = ((Busy, 429), (TooLarge, 413), (PictureError, 422), (HeadError, 422))


async def _our_error(request: Request, error: Exception) -> Response:
    status = next((code for kind, code in STATUS if isinstance(error, kind)), 500)
    return JSONResponse({"error": str(error)}, status, headers={"Retry-After": "1"} if status == 429 else None)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=400)

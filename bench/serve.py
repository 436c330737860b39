"""A server under load, on one machine with its clients: requests a second against a loop of one thread, p95 alone, memory, bad bodies.

Sixteen clients over kept connections, in a process of their own. The loop is Python's ``http.server``, one request after the other, with
the same model, onnxruntime with one thread. Beside that: the same server while another process eats a core.

    python bench/serve.py
    python bench/serve.py --requests 10000    # memory over as many
"""

import argparse
import http.client
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from statistics import median, quantiles

from onelook import Geometry, Model
from pictures import write_photos

CLIENTS, REPEATS = 16, 3


def load(port: int, bodies: Sequence[bytes], count: int, clients: int, told: "multiprocessing.Queue[object]") -> None:
    """Ask ``count`` times with so many clients; tells seconds, statuses and the seconds of each request."""
    statuses: list[int] = []
    times: list[float] = []
    left = iter(range(count))
    lock = threading.Lock()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while True:
            with lock:
                number = next(left, None)
            if number is None:
                return
            begun = time.perf_counter()
            try:
                connection.request("POST", "/v1/predict", bodies[number % len(bodies)])
                reply = connection.getresponse()
                reply.read()
                status = reply.status
            except (OSError, http.client.HTTPException):
                connection.close()
                status = 0
            with lock:
                statuses.append(status)
                times.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.put((time.perf_counter() - begun, statuses, times))


def asked(port: int, bodies: Sequence[bytes], count: int, clients: int = CLIENTS) -> tuple[float, list[int], list[float]]:
    """``load`` in a process of its own."""
    told = multiprocessing.get_context("spawn").Queue()
    process = multiprocessing.get_context("spawn").Process(target=load, args=(port, bodies, count, clients, told))
    process.start()
    found = told.get()
    process.join()
    return found  # type: ignore[return-value]


def loop(file: str, port: int) -> None:
    """One thread, one request after the other."""
    from onelook.asker import Asker
    from onelook.serve.pool import as_json

    asker = Asker([Model.load(file)])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            said = as_json(asker.answer([asker.decode("picture", body)], alone=False)[0]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", port), Handler)
    server.request_queue_size = 64
    server.socket.listen(64)
    print("ready", flush=True)
    server.serve_forever()


def started(words: Sequence[str]) -> "subprocess.Popen[str]":
    """A server that has said its first line."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.first = process.stdout.readline()  # type: ignore[attr-defined]
    return process


def eat(seconds: float) -> None:
    """Keep one core busy."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        sum(range(10_000))


def resident(process: int) -> int:
    """Pages in memory (Linux)."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1])


def p95(times: Sequence[float]) -> float:
    return quantiles(times, n=20)[-1] * 1000


def malformed(body: bytes, count: int) -> list[bytes]:
    """Bodies that are cut short, changed, empty or noise."""
    draw = random.Random(0)
    found = []
    for number in range(count):
        changed = bytearray(body)
        if number % 4 == 0:
            changed = changed[: draw.randrange(len(changed))]
        elif number % 4 == 1:
            for _ in range(draw.randrange(1, 200)):
                changed[draw.randrange(len(changed))] = draw.randrange(256)
        elif number % 4 == 2:
            changed = bytearray(draw.randbytes(draw.randrange(1, 5000)))
        else:
            changed = bytearray(body[:2] + draw.randbytes(300))
        found.append(bytes(changed))
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--requests", type=int, default=400)
    options.add_argument("--loop", nargs=2)
    given = options.parse_args()
    if given.loop:
        loop(given.loop[0], int(given.loop[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder) / "photos", 64)
        file = Path(folder) / "mine.onelook"
        model = Model.new(geometry=Geometry(224))
        model.fit("kind", Path(folder) / "photos", freeze="all", views=1)
        model.save(file)
        paths = sorted((Path(folder) / "photos").rglob("*.*"))[:64]
        bodies = [path.read_bytes() for path in paths]
        list(model.predict(paths[:8]))
        alone_predict = [_seconds(lambda path=path: list(model.predict([path]))) for path in paths]
        server = started(["-m", "onelook", "serve", str(file), "--port", "0", "--json"])
        port = int(json.loads(server.first)["address"].rsplit(":", 1)[1])  # type: ignore[attr-defined]
        plain = started([__file__, "--loop", str(file), str(port + 1)])
        try:
            for each in (port, port + 1):
                asked(each, bodies, 32, 4)
            many, one, alone, beside = [], [], [], []
            for _ in range(REPEATS):
                many.append(given.requests / asked(port, bodies, given.requests)[0])
                one.append(given.requests / asked(port + 1, bodies, given.requests)[0])
                alone += asked(port, bodies, 64, 1)[2]
            glutton = multiprocessing.get_context("spawn").Process(target=eat, args=(600.0,))
            glutton.start()
            for _ in range(REPEATS):
                beside.append(given.requests / asked(port, bodies, given.requests)[0])
            glutton.kill()
            before = resident(server.pid)
            statuses = asked(port, bodies, given.requests)[1]
            after = resident(server.pid)
            broken = asked(port, malformed(bodies[0], 1000), 1000)[1]
            healthy = asked(port, bodies, 32, 4)[1]
        finally:
            server.terminate()
            plain.kill()
            code = server.wait(30)
    figures = {
        "what": "a server with 16 clients against a loop of one thread, requests a second",
        "ratio": median(a / b for a, b in zip(many, one, strict=True)),
        "requests_per_second": many,
        "loop_per_second": one,
        "beside_a_busy_core": median(beside) / median(many),
        "p95_alone_ms": p95(alone),
        "p95_predict_ms": p95(alone_predict),
        "p95_ratio": p95(alone) / p95(alone_predict),
        "memory_grows": after / before - 1,
        "requests": len(statuses),
        "lost": sum(status != 200 for status in statuses),
        "malformed": {str(status): broken.count(status) for status in sorted(set(broken))},
        "healthy_after": healthy.count(200),
        "exit": code,
        "cores": os.cpu_count(),
    }
    print(json.dumps(figures))


def _seconds(work: "object") -> float:
    begun = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()

"""The server: answers like ``predict``, to the byte; what is refused; what it survives; how it starts, reloads and stops."""

import base64
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from onelook import Geometry, Model
from onelook.asker import Asker
from onelook.cli import main
from onelook.errors import HeadError, OnelookError
from onelook.serve import run as serving
from onelook.serve.app import Limits, make_app
from onelook.serve.pool import Busy, Job, Pool, probe
from onelook.serve.run import Server

from .conftest import Run


@pytest.fixture(scope="module")
def model(kind_model: Model) -> Model:
    return kind_model


@pytest.fixture(scope="module")
def file(kind_file: Path) -> Path:
    return kind_file


@pytest.fixture(scope="module")
def pool(model: Model) -> Iterator[Pool]:
    made = Pool(Asker([model]), most=8, pixels=2_000_000, workers=2)
    yield made
    made.close()


def client_of(pool: Pool, **options: Any) -> TestClient:
    return TestClient(make_app(pool, lambda: {"heads": {}}, **options), base_url="http://127.0.0.1:8000", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client(pool: Pool) -> TestClient:
    return client_of(pool, limits=Limits(megabytes=1, pictures=3, seconds=20))


@pytest.fixture(scope="module")
def pictures(photos: Path) -> list[Path]:
    return sorted(photos.rglob("*.png"))[::10]


def answers_in(text: str) -> str:
    """The bytes of the answers in a line of JSON."""
    return text[text.index('"answers"') : text.index(', "ms"')]


class TestAnswers:
    def test_like_predict_to_the_byte(self, run: Run, client: TestClient, file: Path, pictures: list[Path]) -> None:
        for picture in pictures:
            line = run("predict", picture, "--model", file, "--json")[1]
            content = picture.read_bytes()
            for reply in (
                client.post("/v1/predict", content=content),
                client.post("/v1/predict", files={"file": (picture.name, content)}),
                client.post("/v1/predict", json={"image": base64.b64encode(content).decode()}),
                client.post("/v1/predict", json={"images": ["data:image/png;base64," + base64.b64encode(content).decode()]}),
            ):
                assert reply.status_code == 200
                assert answers_in(reply.text) == answers_in(line)

    def test_several_at_once_and_one_of_them_broken(self, client: TestClient, pictures: list[Path]) -> None:
        names = ["a.png", "../../etc/b.png", "C:\\c.png"]
        content = [pictures[0].read_bytes(), b"no picture", pictures[1].read_bytes()]
        reply = client.post("/v1/predict", files=[("file", pair) for pair in zip(names, content, strict=True)])
        found = reply.json()["pictures"]
        assert [one["path"] for one in found] == ["a.png", "b.png", "c.png"]
        assert "error" in found[1]
        assert all(one["answers"]["kind"]["label"] for one in (found[0], found[2]))

    def test_heads_can_be_chosen(self, client: TestClient, pictures: list[Path]) -> None:
        assert client.post("/v1/predict?heads=kind", content=pictures[0].read_bytes()).status_code == 200
        reply = client.post("/v1/predict?heads=other", content=pictures[0].read_bytes())
        assert (reply.status_code, reply.json()) == (422, {"error": "heads: no head 'other'; there are kind"})
        assert client.post("/v1/predict?conf=much", content=b"x").status_code == 422

    def test_one_thread_and_a_batch_say_the_same(self, model: Model, pictures: list[Path]) -> None:
        asker = Asker([model])
        decoded = [asker.decode(path.name, path.read_bytes()) for path in pictures]
        one_by_one = [asker.answer([one])[0] for one in decoded]
        assert [asker.answer([one], alone=False)[0].to_json()["answers"] for one in decoded] == [
            one.to_json()["answers"] for one in one_by_one
        ]
        for together, one in zip(asker.answer(decoded), one_by_one, strict=True):
            assert together["kind"].probabilities == pytest.approx(one["kind"].probabilities, abs=1e-6)

    def test_several_models_are_one(self, model: Model, photos: Path) -> None:
        other = Model.new(geometry=Geometry(96))
        other.fit("size", photos, freeze="all", views=1)
        asker = Asker([model, other])
        assert len(asker.looks) == 2
        path = next(photos.rglob("*.png"))
        found = asker.answer([asker.decode("x", path.read_bytes())])[0]
        assert str(found["kind"]) == str(model([path])[0]["kind"])
        assert str(found["size"]) == str(other([path])[0]["size"])
        with pytest.raises(HeadError, match="two models have a head 'kind'"):
            Asker([model, model])
        with pytest.raises(HeadError, match="no head 'x'; there are kind"):
            Asker([model], ["x"])


class TestRefused:
    def test_too_much(self, client: TestClient, pictures: list[Path]) -> None:
        assert client.post("/v1/predict", content=b"x" * 1_000_001).status_code == 413
        buffer = io.BytesIO()
        Image.new("L", (2000, 1001)).save(buffer, "PNG")  # a small file of many pixels
        reply = client.post("/v1/predict", content=buffer.getvalue())
        assert (reply.status_code, reply.json()["error"]) == (413, "picture: 2000x1001 pixels; at most 2 million are taken")
        four = [("file", ("a.png", pictures[0].read_bytes()))] * 4
        assert client.post("/v1/predict", files=four).status_code == 413
        assert client.post("/v1/predict", json={"images": ["AAAA"] * 4}).status_code == 413

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b"", "image/png"),
            (b"no picture", "image/png"),
            (b"{", "application/json"),
            (b"[]", "application/json"),
            (b'{"image": "###"}', "application/json"),
            (b'{"images": 5}', "application/json"),
            (b"[" * 100_000, "application/json"),
            (b"--x\r\n", "multipart/form-data; boundary=x"),
            (b"x", "multipart/form-data"),
            (b"x", "multipart/form-data; boundary=\xff"),
        ],
    )
    def test_what_is_no_picture(self, client: TestClient, body: bytes, kind: str) -> None:
        reply = client.post("/v1/predict", content=body, headers={"Content-Type": kind.encode("latin-1")})
        assert reply.status_code == 422
        assert reply.json()["error"]

    def test_a_thousand_malformed_pictures(self, client: TestClient, pictures: list[Path]) -> None:
        draw = np.random.default_rng(0)
        buffer = io.BytesIO()
        Image.open(pictures[0]).save(buffer, "JPEG")
        whole = [path.read_bytes() for path in pictures[:2]] + [buffer.getvalue()]
        found = set()
        for number in range(300):
            changed = bytearray(whole[number % 3])
            for place in draw.integers(0, len(changed), 40 if number % 2 else 1):
                changed[place] = draw.integers(256)
            changed = changed[: draw.integers(1, len(changed))] if number % 5 == 0 else changed
            found.add(client.post("/v1/predict", content=bytes(changed)).status_code)
        assert found <= {200, 413, 422}
        assert client.post("/v1/predict", content=whole[0]).status_code == 200

    def test_other_hosts_and_other_sites(self, client: TestClient, pictures: list[Path]) -> None:
        body = pictures[0].read_bytes()
        for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""):
            assert client.post("/v1/predict", content=body, headers={"Host": host}).status_code == 403
        assert client.post("/v1/predict", content=body, headers={"Origin": "http://evil.example"}).status_code == 403
        assert client.post("/v1/predict", content=body, headers={"Origin": "null"}).status_code == 403
        assert client.post("/v1/predict", content=body, headers={"Origin": "http://127.0.0.1:8000"}).status_code == 200
        assert client.get("/v1/heads", headers={"Host": "localhost:8000"}).status_code == 200

    def test_a_token(self, pool: Pool, pictures: list[Path]) -> None:
        guarded = client_of(pool, token="secret")
        body = pictures[0].read_bytes()
        assert guarded.post("/v1/predict", content=body).status_code == 401
        assert guarded.post("/v1/predict", content=body, headers={"Authorization": "Bearer wrong"}).status_code == 401
        bearing = {"Authorization": "Bearer secret", "Host": "camera.example"}
        assert guarded.post("/v1/predict", content=body, headers=bearing).status_code == 200
        assert guarded.get("/metrics").status_code == 401
        assert guarded.get("/healthz").status_code == 200

    def test_a_full_queue(self, model: Model, pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
        small = Pool(Asker([model]), most=1, workers=1)
        gate = threading.Event()
        monkeypatch.setattr(small, "_outcomes", lambda jobs, alone: (gate.wait(20), [(job, "{}") for job in jobs])[1])
        jobs = [Job("x", b"") for _ in range(2)]
        small.submit(jobs[0])
        while small.waiting:
            time.sleep(0.01)
        small.submit(jobs[1])
        with pytest.raises(Busy):
            small.submit(Job("x", b""))
        reply = client_of(small).post("/v1/predict", content=pictures[0].read_bytes())
        assert (reply.status_code, reply.headers["Retry-After"]) == (429, "1")
        gate.set()
        assert [job.result.result(20) for job in jobs] == ["{}", "{}"]
        small.close()

    def test_too_slow(self, model: Model, pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
        small = Pool(Asker([model]), workers=1)
        gate = threading.Event()

        def late(jobs: list[Job], alone: bool) -> list[tuple[Job, str]]:
            for job in jobs:
                job.result.set_running_or_notify_cancel()
            gate.wait(20)
            return [(job, "{}") for job in jobs]

        monkeypatch.setattr(small, "_outcomes", late)
        reply = client_of(small, limits=Limits(seconds=0.2)).post("/v1/predict", content=pictures[0].read_bytes())
        gate.set()
        assert reply.status_code == 408
        small.close()

    def test_an_unexpected_error_is_its_own_request_s_only(self, pool: Pool, pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pool.asker, "decode", lambda name, content: 1 / 0)
        assert client_of(pool).post("/v1/predict", content=pictures[0].read_bytes()).status_code == 500
        monkeypatch.undo()
        assert client_of(pool).post("/v1/predict", content=pictures[0].read_bytes()).status_code == 200


class TestPages:
    def test_nothing_is_fetched_from_elsewhere(self, client: TestClient) -> None:
        for path in ("/", "/docs"):
            reply = client.get(path)
            assert reply.status_code == 200
            assert "http://" not in reply.text
            assert "https://" not in reply.text
            assert "default-src 'none'" in reply.headers["content-security-policy"]

    def test_openapi_names_every_path(self, client: TestClient) -> None:
        assert set(client.get("/openapi.json").json()["paths"]) == {"/v1/predict", "/v1/heads", "/healthz", "/metrics"}

    def test_metrics_count(self, client: TestClient, pictures: list[Path]) -> None:
        def count() -> float:
            lines = client.get("/metrics").text.splitlines()
            return next(float(line.split()[-1]) for line in lines if line.startswith("onelook_pictures_total"))

        before = count()
        client.post("/v1/predict", content=pictures[0].read_bytes())
        assert count() == before + 1

    def test_unknown_paths_and_verbs(self, client: TestClient) -> None:
        assert client.get("/nowhere").status_code == 404
        assert client.get("/v1/predict").status_code == 405


def test_batches_are_made_where_they_pay(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    asker = Asker([model])
    monkeypatch.setattr(asker, "answer", lambda batch, alone=True: time.sleep(0.002))
    assert probe(asker) == 8
    monkeypatch.setattr(asker, "answer", lambda batch, alone=True: time.sleep(0.002 * len(batch)))
    assert probe(asker) == 1


class TestServer:
    def test_an_address_for_others_needs_a_token(self, file: Path) -> None:
        with pytest.raises(OnelookError, match=r"--host 0.0.0.0: others could ask, too; give --token"):
            Server([file], host="0.0.0.0", port=0)

    def test_a_port_that_is_taken(self, file: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(OnelookError, match="cannot listen there"):
                Server([file], port=taken.getsockname()[1])

    @pytest.mark.slow
    def test_from_start_to_stop(self, file: Path, model: Model, photos: Path, tmp_path: Path) -> None:
        """One line when ready, answers, a model that changes under load without a lost request, and SIGTERM."""
        own = tmp_path / "mine.onelook"
        own.write_bytes(file.read_bytes())
        server = subprocess.Popen([sys.executable, "-m", "onelook", "serve", own, "--port", "0", "--json"], stdout=-1, stderr=-1, text=True)
        assert server.stdout is not None
        try:
            ready = json.loads(server.stdout.readline())
            port = int(ready["address"].rsplit(":", 1)[1])
            assert list(ready["heads"]) == ["kind"]
            body, statuses, stop = next(photos.rglob("*.png")).read_bytes(), [], threading.Event()

            def ask() -> None:
                while not stop.is_set():
                    connection = HTTPConnection("127.0.0.1", port, timeout=60)
                    connection.request("POST", "/v1/predict", body)
                    statuses.append(connection.getresponse().status)
                    connection.close()

            asking = [threading.Thread(target=ask) for _ in range(3)]
            for thread in asking:
                thread.start()
            changed = Model.load(own)
            changed.adopt("second", model, "kind")
            changed.save(own)
            heads: dict[str, Any] = {}
            until = time.monotonic() + 60
            while "second" not in heads and time.monotonic() < until:
                time.sleep(0.2)
                connection = HTTPConnection("127.0.0.1", port, timeout=60)
                connection.request("GET", "/v1/heads")
                heads = json.loads(connection.getresponse().read())["heads"]
                connection.close()
            assert "second" in heads
            stop.set()
            for thread in asking:
                thread.join()
            assert set(statuses) == {200}
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0
        finally:
            server.kill()
            server.communicate()

    def test_a_damaged_file_leaves_the_old_model(self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("onelook.serve.run.LOOK_AGAIN", 0.02)
        own = tmp_path / "mine.onelook"
        own.write_bytes(file.read_bytes())
        server = Server([own], port=0)
        asker = server.pool.asker
        watching = threading.Thread(target=server._watch)
        watching.start()
        own.write_bytes(file.read_bytes()[:1000])
        time.sleep(0.5)
        server._stopped.set()
        watching.join()
        assert server.pool.asker is asker
        server.pool.close()
        server.socket.close()

    def test_missing_packages_are_named(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "uvicorn" else object())
        code, _, err = run("serve")
        assert (code, "pip install 'onelook[serve]'" in err) == (2, True)


@contextmanager
def running(file: Path) -> Iterator[Server]:
    """A real server on a free port, stopped afterwards."""
    server = Server([file], port=0)
    ready = threading.Event()
    thread = threading.Thread(target=server.run, args=(ready.set,))
    thread.start()
    try:
        assert ready.wait(30)
        yield server
    finally:
        server.stop()
        thread.join(30)


@pytest.mark.slow
def test_the_start_page_answers_in_a_browser(file: Path, photos: Path, tmp_path: Path, browser: Callable[[str], str]) -> None:
    """Headless Chromium on the real server: the heads are named, and a picture that is dropped is answered like by predict."""
    photo = next(photos.rglob("flower*.png"))
    (expected,) = Model.load(file).predict(photo)
    with running(file) as server:
        said = browser(f"""
            const others = [], text = (where) => page.$eval(where, (one) => one.textContent);
            page.on("request", (request) => others.push(request.url()));
            await page.goto({json.dumps(server.address)});
            await page.waitForFunction(() => document.querySelector("#heads").textContent.includes("Asks"));
            const drop = (content, name) => page.evaluate((content, name) => {{
                const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
                const taken = new DataTransfer();
                taken.items.add(new File([bytes], name, {{ type: "image/png" }}));
                dispatchEvent(new DragEvent("drop", {{ dataTransfer: taken, cancelable: true }}));
            }}, content, name);
            await drop({json.dumps(base64.b64encode(photo.read_bytes()).decode())}, "flower.png");
            await page.waitForSelector("#answers pre");
            await drop({json.dumps(base64.b64encode(b"no picture").decode())}, "no.png");
            await page.waitForSelector("#answers .error");
            console.log(JSON.stringify({{
                heads: await text("#heads"), answer: await text("#answers pre"), error: await text("#answers .error"), others,
            }}));
        """)
    told = json.loads(said)
    assert "Asks kind (classify, 2 classes)" in told["heads"]
    assert json.loads(told["answer"])["answers"] == json.loads(json.dumps(expected.to_json()["answers"]))
    assert "not a picture" in told["error"]
    assert all(url.startswith((server.address, "blob:")) for url in told["others"])


def test_slow_heads_are_not_waited_for(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that sends nothing, one that sends half a head, and one that does so after an answer are closed; others go on."""
    monkeypatch.setattr(serving, "HEAD", 0.5)
    with running(file) as server:
        silent, half, second = (socket.create_connection(("127.0.0.1", server.port), 5) for _ in range(3))
        half.sendall(b"GET /healthz HTTP/1.1\r\nHost: ")
        second.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200 OK" in second.recv(10_000)
        second.sendall(b"GET /he")
        for connection in (silent, half, second):
            said = b""
            while part := connection.recv(10_000):
                said += part
            assert b"408" in said
            connection.close()
        assert urlopen(f"{server.address}/healthz").status == 200


def test_ctrl_c_ends_the_command_with_zero(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Server, ready: Any) -> None:
        self.pool.close()
        self.socket.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "run", interrupted)
    with pytest.raises(SystemExit) as stop:
        main(["serve", str(file), "--port", "0"])
    assert not stop.value.code

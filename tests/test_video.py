"""Films: the right frames at the right times, answers that are kept, cuts to the frame, stretches, and what cannot be read."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import av
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from onelook import Model
from onelook.answers.labels import Label, Labels, Values
from onelook.asker import Asker
from onelook.data import film as source
from onelook.data.film import Film, FilmError, in_thread
from onelook.data.pictures import open_picture, picture_size
from onelook.errors import OnelookError
from onelook.video import camera as cameras
from onelook.video.asked import Asked
from onelook.video.camera import Camera
from onelook.video.shots import Shot, find_shots
from onelook.video.smooth import Smoother
from onelook.video.watch import Moment, Watcher
from onelook.video.when import Clip, best, find_clips, parse_when
from onelook.workflows.video import Watched, highlights, watch

from .conftest import Run

WALL, FLOWER = (Image.fromarray(array) for array in load_sample_images().images)
RATE = 25


def write_film(
    path: Path, parts: Sequence[tuple[Image.Image, int]], *, times: Sequence[float] | None = None, size: int = 96, **more: Any
) -> None:
    """A film of pans over photographs, so many frames each; ``times``: of every frame, where they are not even."""
    with av.open(str(path), "w", **more) as out:
        stream = out.add_stream("libx264", rate=RATE, options={"g": "12"})
        stream.width, stream.height, stream.pix_fmt = 128, size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        number = 0
        for photo, count in parts:
            for step in range(count):
                frame = av.VideoFrame.from_image(
                    photo.crop((step, 100 + step // 2, step + 256, 100 + step // 2 + 2 * size)).resize((128, size))
                )
                frame.pts = round(1000 * (times[number] if times else number / RATE))
                frame.time_base = Fraction(1, 1000)
                for packet in stream.encode(frame):
                    out.mux(packet)
                number += 1
        for packet in stream.encode():
            out.mux(packet)


def film_of(path: Path, pictures: Sequence[Path], rate: int = 4) -> None:
    """A film whose frames are pictures, as good as unchanged; all are brought to the first one's size."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"crf": "1"})
        stream.width, stream.height = (side // 2 * 2 for side in picture_size(pictures[0]))
        stream.pix_fmt = "yuv444p"
        for file in pictures:
            picture = open_picture(file).resize((stream.width, stream.height))
            for packet in stream.encode(av.VideoFrame.from_image(picture)):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a temple, two of a flower, one of the temple."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_film(path, [(WALL, 50), (FLOWER, 50), (WALL, 25)])
    return path


@pytest.fixture(scope="module")
def file(kind_file: Path) -> Path:
    return kind_file


@pytest.fixture
def asker(file: Path, tmp_path: Path) -> Asker:
    return Asker([Model.load(file, cache=tmp_path / "cache")])


class TestFilm:
    def test_times_size_and_frames(self, film: Path) -> None:
        found = Film.open(film)
        assert (len(found.times), found.size, found.seconds) == (125, (128, 96), pytest.approx(5.0))
        np.testing.assert_allclose(found.times, np.arange(125) / RATE, atol=1e-6)
        with av.open(str(film)) as container:
            plain = [frame.to_image() for frame in container.decode(video=0)]
        for frame in found.frames([0, 7, 49, 50, 124]):
            assert frame.time == pytest.approx(frame.number / RATE)
            assert frame.picture.tobytes() == plain[frame.number].tobytes()

    def test_uneven_times_are_the_file_s(self, tmp_path: Path) -> None:
        times = np.cumsum(np.random.default_rng(0).integers(20, 400, 40)) / 1000
        write_film(tmp_path / "uneven.mp4", [(WALL, 40)], times=times.tolist())
        found = Film.open(tmp_path / "uneven.mp4")
        np.testing.assert_allclose(found.times, times - times[0], atol=2e-3)
        chosen = found.chosen("0.5s")
        assert np.diff(found.times[chosen]).min() >= 0.1
        assert [frame.number for frame in found.frames(chosen)] == chosen

    def test_which_frames(self, film: Path) -> None:
        found = Film.open(film)
        assert found.chosen("1s") == [0, 25, 50, 75, 100]
        assert found.chosen("50") == [0, 50, 100]
        assert found.chosen(None, 1.0, 1.1) == [25, 26, 27]
        assert found.chosen("0.5s", 9.0) == []

    def test_far_frames_are_found_by_seeking(self, tmp_path: Path) -> None:
        times = [second * 3.0 for second in range(30)]
        write_film(tmp_path / "long.mp4", [(WALL, 30)], times=times)
        assert [frame.number for frame in Film.open(tmp_path / "long.mp4").frames([0, 9, 10, 29])] == [0, 9, 10, 29]

    def test_a_film_on_its_side_is_turned(self, tmp_path: Path) -> None:
        write_film(tmp_path / "plain.mp4", [(WALL, 5)])
        content = bytearray((tmp_path / "plain.mp4").read_bytes())
        _turn(content)
        (tmp_path / "turned.mp4").write_bytes(content)
        found = Film.open(tmp_path / "turned.mp4")
        assert found.size == (96, 128)
        assert next(iter(found.frames([0]))).picture.size == (96, 128)

    def test_shrunk_while_decoding(self, film: Path) -> None:
        assert next(iter(Film.open(film).frames([3], least=32))).picture.size == (43, 32)

    def test_a_folder_is_a_film(self, photos: Path, asker: Asker) -> None:
        found = [moment.answers["kind"] for moment in watch(str(photos / "flower"), asker, Asked("1"))]
        assert len(found) == 24
        assert all(answer.label == "flower" for answer in found if isinstance(answer, Label))

    def test_what_was_read_before_an_error_is_kept(self, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Broken:
            def __init__(self, container: Any) -> None:
                self.container = container

            def __enter__(self) -> "Broken":
                return self

            def __exit__(self, *_: object) -> None:
                self.container.close()

            def __getattr__(self, name: str) -> Any:
                return getattr(self.container, name)

            def demux(self, stream: Any) -> Any:
                for number, packet in enumerate(self.container.demux(stream)):
                    if number == 40:
                        raise av.FFmpegError(1, "cut")
                    yield packet

        opened = source.open_container
        monkeypatch.setattr(source, "open_container", lambda name, live=False: Broken(opened(name, live)))
        found = Film.open(film)
        assert len(found.times) == 40
        assert found.cut_short

    def test_an_unreadable_picture_of_a_folder_is_left_out(self, photos: Path, asker: Asker, tmp_path: Path) -> None:
        folder = tmp_path / "frames"
        folder.mkdir()
        for name in ("a.png", "c.png"):
            (folder / name).write_bytes(next(photos.rglob("flower*.png")).read_bytes())
        (folder / "b.png").write_bytes(b"no picture")
        told = Watched()
        assert [moment.number for moment in watch(str(folder), asker, Asked("1"), told=told)] == [0, 2]
        assert told.remarks == [f"{folder}: 1 frames could not be decoded"]

    def test_one_cut_short_gives_what_it_has(self, film: Path, asker: Asker, tmp_path: Path) -> None:
        write_film(tmp_path / "whole.ts", [(WALL, 80)], format="mpegts")
        content = (tmp_path / "whole.ts").read_bytes()
        (tmp_path / "half.ts").write_bytes(content[: len(content) // 2])
        count = len(list(watch(str(tmp_path / "half.ts"), asker, Asked("5"))))
        assert 3 <= count < 16
        (tmp_path / "half.mp4").write_bytes(film.read_bytes()[:3000])  # without its index
        with pytest.raises(FilmError, match=r"half.mp4: not a film that can be read .*cut short"):
            Film.open(tmp_path / "half.mp4")

    def test_sound_alone_and_no_film(self, tmp_path: Path) -> None:
        with av.open(str(tmp_path / "sound.mp4"), "w") as out:
            stream = out.add_stream("aac", rate=8000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
            frame.rate = 8000
            for packet in [*stream.encode(frame), *stream.encode()]:
                out.mux(packet)
        with pytest.raises(FilmError, match="there are no pictures in it, only audio"):
            Film.open(tmp_path / "sound.mp4")
        (tmp_path / "text.mp4").write_text("no film")
        for name, said in (("text.mp4", "not a film"), ("nowhere.mp4", "no such film"), ("", "no pictures are in this folder")):
            with pytest.raises(FilmError, match=said):
                Film.open(tmp_path / "empty" if not name and not (tmp_path / "empty").mkdir() else tmp_path / name)

    def test_reading_ahead_ends_with_its_reader(self) -> None:
        made = []

        def numbers() -> Any:
            for number in range(10_000):
                made.append(number)
                yield number

        items = in_thread(numbers, depth=4)
        assert [next(items) for _ in range(3)] == [0, 1, 2]
        items.close()  # type: ignore[attr-defined]
        assert len(made) < 20
        with pytest.raises(ZeroDivisionError):
            list(in_thread(lambda: (1 / number for number in (1, 0))))


def _turn(content: bytearray) -> None:
    """Write a turn by a quarter into the track header's matrix of an MP4 file."""
    at = content.index(b"tkhd") + 4 + 40
    one, zero = (0x10000).to_bytes(4, "big"), bytes(4)
    content[at : at + 16] = zero + one + zero + (-0x10000).to_bytes(4, "big", signed=True)
    content[at + 16 : at + 20] = zero


class TestWatching:
    def test_answers_are_those_of_the_pictures(self, film: Path, asker: Asker, file: Path) -> None:
        moments = list(watch(str(film), asker, Asked("25")))
        assert [moment.number for moment in moments] == [0, 25, 50, 75, 100]
        pictures = [frame.picture for frame in Film.open(film).frames([0, 25, 50, 75, 100])]
        for moment, expected in zip(moments, Model.load(file)(pictures), strict=True):
            answer = moment.answers["kind"]
            assert isinstance(answer, Label)
            assert answer.label == expected["kind"].label
            assert answer.probability == pytest.approx(expected["kind"].probability, abs=2e-3)  # kept in half precision

    def test_a_second_question_looks_at_nothing(self, film: Path, asker: Asker) -> None:
        first, second = Watched(), Watched()
        one = [moment.answers["kind"] for moment in watch(str(film), asker, Asked("5"), told=first)]
        two = [moment.answers["kind"] for moment in watch(str(film), asker, Asked("5"), told=second)]
        assert (first.looked, second.looked) == (25, 0)
        assert one == two

    def test_memory_does_not_hold_frames(self, film: Path, asker: Asker) -> None:
        watcher = Watcher(asker, Film.open(film))
        moments = watcher.moments(range(125))
        next(moments)
        assert watcher.looked == 16  # no more than a few at a time

    def test_drawn(self, film: Path, asker: Asker, tmp_path: Path) -> None:
        out = tmp_path / "new" / "drawn.mp4"
        assert len(list(watch(str(film), asker, Asked("5"), out=out))) == 25
        found = Film.open(out)
        np.testing.assert_allclose(found.times, np.arange(0, 125, 5) / RATE, atol=1e-3)
        assert found.size[1] > 96 * 2  # enlarged to be read, with a band below
        assert [path.name for path in out.parent.iterdir()] == ["drawn.mp4"]

    def test_a_drawing_that_fails_leaves_the_old_film(self, film: Path, asker: Asker, tmp_path: Path) -> None:
        out = tmp_path / "drawn.mp4"
        out.write_bytes(b"old")
        moments = watch(str(film), asker, Asked("5"), out=out)
        next(moments)
        moments.close()  # type: ignore[attr-defined]
        with pytest.raises(OnelookError, match=r"drawn.xyz: cannot be written as a film"):
            list(watch(str(film), asker, Asked("25"), out=tmp_path / "drawn.xyz"))
        assert {path.name for path in tmp_path.iterdir()} - {"cache"} <= {"drawn.mp4"}

    def test_a_disk_that_fills_leaves_the_old_film(self, run: Run, film: Path, file: Path, tmp_path: Path) -> None:
        """A bound on the size of files stands for the disk's end."""
        out = tmp_path / "drawn.mp4"
        out.write_bytes(b"what was there")
        code = (
            "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, -1)); from onelook.cli import main; main(sys.argv[1:])"
        )
        assert run("video", film, "--model", file, "--every", "1", "-q")[0] == 0  # so that the looks are there
        words = ["video", film, "--model", file, "--every", "1", "--out", out, "-q"]
        ended = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True)
        assert ended.returncode == 2, ended.stderr
        assert "Traceback" not in ended.stderr
        assert f"{out}: cannot be written (File too large)" in ended.stderr
        assert out.read_bytes() == b"what was there"
        assert list(tmp_path.glob(".partial*")) == []

    def test_smoothing(self) -> None:
        def said(seconds: float, p: float) -> Moment:
            label = Label("a" if p >= 0.5 else "b", max(p, 1 - p), {"a": p, "b": 1 - p})
            several = Labels(("a",) if p >= 0.5 else (), {"a": p})
            return Moment(0, seconds, {"one": label, "several": several, "value": Values({"x": p})}, {})

        smooth = Smoother(1.0)
        plain = [(0.1 * n, 0.9 if n % 5 != 3 else 0.2) for n in range(30)]
        found = [smooth(said(seconds, p)).answers for seconds, p in plain]
        assert {answers["one"].label for answers in found[5:]} == {"a"}  # type: ignore[attr-defined]
        assert {answers["several"].labels for answers in found[10:]} == {("a",)}  # type: ignore[attr-defined]
        smooth = Smoother(1.0)
        smooth(said(0.0, 0.0))
        step = smooth(said(1.0, 1.0)).answers["value"]
        assert isinstance(step, Values)
        assert step.values["x"] == pytest.approx(1 - np.exp(-1))


class TestShots:
    def test_cuts_to_the_frame(self, film: Path, asker: Asker) -> None:
        shots = find_shots(Watcher(asker, Film.open(film), embeddings=True))
        assert [(shot.first, shot.last) for shot in shots] == [(0, 49), (50, 99), (100, 124)]
        assert [shot.start for shot in shots] == pytest.approx([0, 2, 4])

    def test_two_cuts_within_a_quarter_second(self, asker: Asker, tmp_path: Path) -> None:
        write_film(tmp_path / "film.mp4", [(WALL, 31), (FLOWER, 4), (WALL, 31)])
        found = find_shots(Watcher(asker, Film.open(tmp_path / "film.mp4"), embeddings=True))
        assert [shot.first for shot in found] == [0, 31, 35]

    def test_a_pan_is_one_shot(self, asker: Asker, tmp_path: Path) -> None:
        write_film(tmp_path / "film.mp4", [(WALL, 120)])
        assert len(find_shots(Watcher(asker, Film.open(tmp_path / "film.mp4"), embeddings=True))) == 1


class TestWhen:
    HEADS: ClassVar[Any] = {
        "kind": SimpleNamespace(classes=("dunk", "wide shot", "and")),
        "other": SimpleNamespace(classes=("dunk", "crowd")),
        "size": SimpleNamespace(classes=("kg",)),
    }
    SAID: ClassVar[Any] = {
        "kind": Label("dunk", 0.8, {"dunk": 0.8, "wide shot": 0.2, "and": 0.0}),
        "other": Labels(("crowd",), {"dunk": 0.1, "crowd": 0.6}),
        "size": Values({"kg": 3.5}),
    }

    @pytest.mark.parametrize(
        ("text", "holds"),
        [
            ("kind.dunk > 0.7", True),
            ("kind.dunk>0.9", False),
            ("crowd > 0.5 and kg >= 3.5", True),
            ("crowd > 0.9 or kg < 3", False),
            ("not crowd > 0.9", True),
            ("not (crowd > 0.5 or kg > 1) or kind.dunk == 0.8", True),
            ('"wide shot" < 0.3', True),
            ("other.dunk > 0.05 and not kind.dunk < 0.5", True),
            ("count(crowd) >= 1", True),
        ],
    )
    def test_what_holds(self, text: str, holds: bool) -> None:
        assert parse_when(text, self.HEADS).holds(self.SAID) is holds

    def test_the_score_is_the_first_thing_s(self) -> None:
        assert parse_when("kind.dunk > 0.1 and crowd > 0.1", self.HEADS).score(self.SAID) == 0.8

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "ends too early"),
            ("dunk > 0.7", "is a class of kind, other; say which, as in kind.dunk"),
            ("punk > 0.7", "no head knows 'punk'; there are dunk, wide shot"),
            ("crowd", "ends too early"),
            ("crowd > much", "'much' stands where a number is expected"),
            ("crowd 0.7", "'0.7' stands where one of > < >= <= == is expected"),
            ("crowd > 0.7 0.8", "'0.8' stands where and, or, or its end is expected"),
            ("(crowd > 0.7", "the end stands where a closing bracket is expected"),
            ("(" * 99 + "crowd > 0.7" + ")" * 99, "more than 30 brackets"),
            ("__import__('os').system('x') > 1", "no head knows '__import__'"),
        ],
    )
    def test_mistakes(self, text: str, said: str) -> None:
        with pytest.raises(OnelookError) as raised:
            parse_when(text, self.HEADS)
        assert said in str(raised.value)

    def test_clips(self) -> None:
        shots = [Shot(0, 99, 0.0, 4.0), Shot(100, 199, 4.0, 8.0), Shot(200, 299, 8.0, 12.0)]
        moments = [(n / 2, n in (10, 11, 12, 20, 21), n / 100) for n in range(24)]  # 5.0 to 6.0 and 10.0 to 10.5
        found = find_clips(moments, 0.5, (3.0, 1.0), shots, 12.0)
        assert found == [Clip(4.0, 7.5, pytest.approx(0.11)), Clip(8.0, 12.0, pytest.approx(0.205))]
        assert best(found, 1) == found[1:]
        assert find_clips([(0.0, False, 0.0)], 0.5, (1, 1), shots, 12.0) == []


class TestCommands:
    def test_lines_and_summary(self, run: Run, film: Path, file: Path, tmp_path: Path) -> None:
        words = ["--every", "1s", "--events", tmp_path / "e.jsonl", "--csv", tmp_path / "e.csv"]
        code, out, err = run("video", film, "--model", file, *words, "--json")
        assert code == 0, err
        *lines, last = map(json.loads, out.splitlines())
        assert [line["time"] for line in lines] == [0, 1, 2, 3, 4]
        assert all(set(line) == {"time", "frame", "answers", "ms"} for line in lines)
        assert last["summary"]["frames"] == 5
        assert [json.loads(line)["answers"] for line in (tmp_path / "e.jsonl").read_text().splitlines()] == [
            line["answers"] for line in lines
        ]
        assert len((tmp_path / "e.csv").read_text().splitlines()) == 6

    def test_highlights(self, run: Run, film: Path, file: Path, tmp_path: Path) -> None:
        out, llc = tmp_path / "best.mp4", tmp_path / "best.llc"
        words = ["--highlights", out, "--when", "flower > 0.6", "--every", "5", "--llc", llc, "--pad", "1,1", "--json"]
        code, said, err = run("video", film, "--model", file, *words)
        assert code == 0, err
        clips = json.loads(said)["clips"]
        assert [(clip["start"], clip["end"]) for clip in clips] == [(2.0, 4.0)]
        assert clips[0]["score"] > 0.6
        made = Film.open(out)
        assert 1.9 < made.seconds < 2.6  # from the last key frame before
        assert json.loads(llc.read_text())["cutSegments"][0]["start"] == 2.0
        with av.open(str(out)) as container:
            assert sum(1 for _ in container.decode(video=0)) == len(made.times)

    def test_nothing_to_cut(self, run: Run, film: Path, file: Path, tmp_path: Path) -> None:
        (tmp_path / "best.mp4").write_bytes(b"old")
        code, _, err = run("video", film, "--model", file, "--highlights", tmp_path / "best.mp4", "--when", "flower > 0.9999999")
        assert (code, "holds nowhere" in err, (tmp_path / "best.mp4").read_bytes()) == (2, True, b"old")

    def test_the_film_itself_is_never_overwritten(self, run: Run, film: Path, file: Path) -> None:
        before = film.read_bytes()
        for words in (["--out", film], ["--highlights", film, "--when", "flower > 0.1"], ["--llc", film, "--when", "flower > 0.1"]):
            code, _, err = run("video", film, "--model", file, *words, "--quiet")
            assert (code, "is the film itself" in err, film.read_bytes() == before) == (2, True, True)
        code, _, err = run("video", film, "--model", file, "--highlights", "x.avi", "--when", "flower > 0.1")
        assert (code, "x.avi: clips are written as .mp4" in err) == (2, True)

    def test_nothing_asked_for_beside_highlights_is_left_undone(self, run: Run, film: Path, file: Path, tmp_path: Path) -> None:
        words = ["video", film, "--model", file, "--highlights", tmp_path / "best.mp4", "--when", "flower > 0.5"]
        code, _, err = run(*words, "--events", tmp_path / "e.jsonl")
        assert code == 2
        assert "--events: not together with --highlights" in err
        assert not (tmp_path / "best.mp4").exists()

    def test_a_camera_has_no_highlights(self, asker: Asker) -> None:
        with pytest.raises(OnelookError, match="cut out of films"):
            highlights("rtsp://127.0.0.1:1/x", asker, "flower > 0.5", Asked())

    def test_summary_and_match(self, run: Run, film: Path, file: Path, photos: Path, tmp_path: Path) -> None:
        code, out, err = run("video", "summary", film, "--model", file, "--report", tmp_path / "page", "--json")
        assert code == 0, err
        found = json.loads(out)
        assert [shot["answers"]["kind"].split()[0] for shot in found["shots"]] == ["temple", "flower", "temple"]
        assert found["share_of_time"]["kind"]["flower"] == pytest.approx(0.4, abs=0.05)
        assert (tmp_path / "page" / "index.html").stat().st_size > 5000
        code, out, err = run("video", "match", film, "--gallery", photos, "--top", "2", "--json")
        assert code == 0, err
        matches = json.loads(out)["matches"]
        assert len(matches) == 6
        assert ["flower" in match["picture"] for match in matches] == [False, False, True, True, False, False]

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (["nowhere.mp4"], 3, "nowhere.mp4: no such film"),
            (["FILM", "--every", "often"], 2, "--every often: use a time such as 0.5s"),
            (["FILM", "--every", "0s"], 2, "--every 0s: use a time such as 0.5s"),
            (["FILM", "--from", "3", "--to", "2"], 2, "not a stretch of a film"),
            (["FILM", "--highlights", "x.mp4"], 2, "give --when"),
            (["FILM", "--when", "cat > 1"], 2, "--when: is for --highlights"),
            (["FILM", "--when", "nothing > 1", "--llc", "x.llc"], 2, "no head knows 'nothing'"),
            (["FILM", "--pad", "much", "--when", "tench > 0.5", "--llc", "x.llc"], 2, "--pad much: use seconds"),
            (["summary", "nowhere.mp4"], 3, "no such film"),
            (["match", "FILM", "--gallery", "nowhere/"], 2, "nothing"),
        ],
    )
    def test_mistakes_are_one_line(
        self, run: Run, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, said: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        found, _, err = run("video", *(film if word == "FILM" else word for word in words))
        assert found == code or said == "nothing"
        assert said in err or (said == "nothing" and "no pictures" in err)
        assert err.count("\n") == 1


class TestCamera:
    def test_the_newest_frame_and_back_after_a_break(self, tmp_path: Path) -> None:
        """A server that sends frames and hangs up: what was not taken is dropped, and it is asked again."""
        pictures = []
        for number in range(6):
            path = tmp_path / f"{number}.jpg"
            Image.new("RGB", (64, 48), (40 * number, 0, 0)).save(path)
            pictures.append(path.read_bytes())
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(time.monotonic())
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
                self.end_headers()
                try:
                    for picture in pictures:
                        self.wfile.write(
                            b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture) + picture + b"\r\n"
                        )
                        self.wfile.flush()
                        time.sleep(0.05)
                except OSError:
                    pass

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        camera = Camera(f"http://127.0.0.1:{server.server_address[1]}/stream", seconds=20)
        times = []
        begun = time.monotonic()
        for frame in camera:
            assert frame.picture.size == (64, 48)
            times.append(frame.time)
            if len(asked) >= 3 or time.monotonic() - begun > 30:
                camera.stop()
            time.sleep(0.12)  # slower than they come
        server.shutdown()
        server.server_close()
        assert len(asked) >= 3
        assert camera.breaks >= 2
        assert camera.dropped > 0
        assert times == sorted(times)

    def test_times_of_a_stream(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its own stamps, whatever they begin with, also where the first frame has none; after a break what has passed."""
        now = [100.0]
        monkeypatch.setattr(cameras, "time", SimpleNamespace(monotonic=lambda: now[0]))
        clock = cameras._Clock()
        said = [clock(None), clock(7.04), clock(7.08)]
        assert said == pytest.approx([0.0, 0.001, 0.04], abs=1e-6)
        now[0] = 103.0
        assert clock(9.04) == pytest.approx(2.0)
        clock.restart()
        now[0] = 110.0
        assert [clock(0.0), clock(0.5)] == pytest.approx([10.0, 10.5])

    def test_nothing_there(self) -> None:
        with pytest.raises(FilmError, match=r"no frame for 0\.3 seconds"):
            list(Camera("http://127.0.0.1:9/none", seconds=0.3))

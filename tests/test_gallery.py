"""Galleries: what is enrolled is there after a kill, what is forgotten is nowhere, and thresholds keep what they say."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import onelook.faces.gallery
from onelook.errors import DataError, DiskError, UnreadableError
from onelook.faces.evaluate import Seen, best_threshold, fold_accuracy, protocol, rank1, read_pairs
from onelook.faces.gallery import Encoder, Entry, Gallery
from onelook.faces.threshold import fit_threshold

ENCODER = Encoder("test", "abc", 16)


def unit(draw: np.random.Generator, count: int, dimensions: int = 16) -> np.ndarray:
    vectors = draw.normal(size=(count, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def filled(path: Path, people: int = 5, each: int = 3) -> Gallery:
    gallery = Gallery.create(path, ENCODER)
    vectors = unit(np.random.default_rng(0), people * each)
    gallery.enrol(Entry(f"p{n // each}", vector, f"hash{n}") for n, vector in enumerate(vectors))
    return gallery


def test_enrol_find_rename_remove(tmp_path: Path) -> None:
    with filled(tmp_path / "g") as gallery:
        assert gallery.counts() == {f"p{n}": 3 for n in range(5)}
        _, vectors = gallery.table()
        for row, match in enumerate(gallery.nearest(vectors)):  # against a slow loop
            distances = ((vectors - vectors[row]) ** 2).sum(1)
            assert match.name == f"p{int(distances.argmin()) // 3}"
            assert match.distance == pytest.approx(distances.min(), abs=1e-5)
        assert gallery.enrol([Entry("p0", vectors[0], "hash0")]) == 0  # a picture twice
        assert gallery.enrol([Entry("other", vectors[0], "hash0")]) == 1  # under another name: the caller warns
        assert gallery.names_of("hash0") == ["other", "p0"]
        assert gallery.rename("other", "p0") == 3  # both had it
        assert gallery.remove("p1") == 3
        assert "p1" not in {match.name for match in gallery.nearest(vectors)}
        with pytest.raises(DataError, match="nobody is called 'p1'; there is p0, p2"):
            gallery.remove("p1")


@pytest.fixture
def indexed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph is made for galleries of more than 500 entries."""
    pytest.importorskip("usearch")
    monkeypatch.setattr(onelook.faces.gallery, "FROM", 500)


def clustered(people: int, each: int) -> np.ndarray:
    """Vectors (people * each, 16) of length 1, those of one identity near each other."""
    draw = np.random.default_rng(0)
    vectors = np.repeat(unit(draw, people), each, axis=0) + 0.05 * unit(draw, people * each)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.usefixtures("indexed")
def test_an_index_finds_what_is_nearest(tmp_path: Path) -> None:
    """As a slow search does, also what was enrolled since; after a removal, a kill in the middle of writing, and in a new process."""
    vectors = clustered(300, 3)
    entries = [Entry(f"p{n // 3}", vector, f"hash{n}") for n, vector in enumerate(vectors)]
    path = tmp_path / "g"
    with Gallery.create(path, ENCODER) as gallery:
        gallery.enrol(entries[:800])
        assert gallery.recall is None
        for row in range(0, 800, 37):
            found = gallery.nearest(vectors[row : row + 1])[0]
            assert (found.name, found.distance) == (f"p{row // 3}", pytest.approx(0, abs=1e-5))
        assert gallery.recall is not None
        assert gallery.recall >= 0.99
        gallery.enrol(entries[800:])
        assert gallery.nearest(vectors[-1:])[0].name == "p299"
        gallery.remove("p299")
        assert gallery.nearest(vectors[-1:])[0].name != "p299"
        gallery.rename("p7", "seven")
        assert gallery.nearest(vectors[21:22])[0].name == "seven"
    (index,) = tmp_path.glob("g.index-*")
    index.write_bytes(index.read_bytes()[:1000])
    with Gallery.open(path, ENCODER) as gallery:
        again = gallery.nearest(vectors[:897:50])
    assert [match.name for match in again] == [("seven" if n // 3 == 7 else f"p{n // 3}") for n in range(0, 897, 50)]


@pytest.mark.usefixtures("indexed")
def test_an_index_forgets(tmp_path: Path) -> None:
    """The 8-bit numbers of who is forgotten are in no file, the name neither; another process that is open asks a new index."""
    vectors = clustered(300, 3)
    with Gallery.create(tmp_path / "g", ENCODER) as gallery, Gallery.open(tmp_path / "g") as other:
        gallery.enrol(Entry(f"person{n // 3}", vector, f"hash{n}") for n, vector in enumerate(vectors))
        assert gallery.nearest(vectors[:1])[0].name == "person0"
        assert other.nearest(vectors[:1])[0].name == "person0"
        graph = gallery._index._graph
        small = [np.asarray(graph.get(key, dtype="i8")).tobytes() for key in (1, 2, 3)]
        whole = [vector.tobytes() for vector in vectors[:3]]
        everything = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert all(part in everything for part in small + whole)
        gallery.remove("person0", forget=True)
        assert other.nearest(vectors[:1])[0].name != "person0"  # it writes an index again
        everything = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert not any(part in everything for part in [*small, *whole, b"person0"])


def test_forgotten_means_forgotten(tmp_path: Path) -> None:
    """Neither the name nor the vector's bytes are in the file, its log or anything beside it; without ``forget`` nothing is promised."""
    path = tmp_path / "g"
    name, vector = "Unmistakable Person", unit(np.random.default_rng(7), 1)[0]
    with filled(path) as gallery:
        gallery.enrol([Entry(name, vector, "thathash")])
        everything = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert name.encode() in everything
        assert vector.tobytes() in everything
        gallery.remove(name, forget=True)
        everything = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        for secret in (name.encode(), vector.tobytes(), vector.tobytes()[:16], b"thathash"):
            assert secret not in everything
        assert len(gallery) == 15


def test_forgetting_beside_a_reader_says_that_bytes_may_be_there(tmp_path: Path) -> None:
    with filled(tmp_path / "g") as gallery:
        reader = sqlite3.connect(tmp_path / "g", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM entries").fetchone()
        gallery._connection.execute("PRAGMA busy_timeout = 100")
        with pytest.raises(DiskError, match="run it again"):
            gallery.remove("p0", forget=True)
        reader.close()
        assert "p0" not in gallery.counts()


def test_a_kill_loses_at_most_the_picture_in_hand(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from onelook.faces.gallery import Encoder, Entry, Gallery\n"
        "with Gallery.create(sys.argv[1], Encoder('test', 'abc', 16)) as gallery:\n"
        "    for number in range(100000):\n"
        "        gallery.enrol([Entry('p', np.full(16, 0.25, np.float32), str(number))])\n"
        "        print(number, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "g"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(20):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        last = 19 + len(process.stdout.read().split())
    with Gallery.open(tmp_path / "g", ENCODER) as gallery:
        assert last + 1 <= len(gallery) <= last + 2
        assert gallery.enrol([Entry("q", np.full(16, 0.25, np.float32), "new")]) == 1


def test_two_enrol_at_once(tmp_path: Path) -> None:
    def work(start: int) -> None:
        with Gallery.create(tmp_path / "g", ENCODER) as gallery:
            for number in range(start, start + 20):
                gallery.enrol([Entry(f"p{number % 4}", np.full(16, 0.25, np.float32), str(number))])

    threads = [threading.Thread(target=work, args=(100 * number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Gallery.open(tmp_path / "g") as gallery:
        assert len(gallery) == 60


def test_one_process_sees_what_another_enrols(tmp_path: Path) -> None:
    with filled(tmp_path / "g") as gallery, Gallery.open(tmp_path / "g") as other:
        new = unit(np.random.default_rng(9), 1)
        assert gallery.nearest(new)[0].distance > 0.01
        other.enrol([Entry("late", new[0], "late")])
        assert gallery.nearest(new)[0].name == "late"


def test_what_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "g").close()
    with pytest.raises(DataError, match="cannot be compared"):
        Gallery.open(tmp_path / "g", Encoder("other", "xyz", 16))
    with pytest.raises(UnreadableError, match="no such gallery"):
        Gallery.open(tmp_path / "none")
    (tmp_path / "text").write_text("hello " * 100)
    with pytest.raises(UnreadableError, match="cannot be read as a gallery"):
        Gallery.open(tmp_path / "text")
    sqlite3.connect(tmp_path / "foreign").execute("CREATE TABLE t (a)").connection.commit()
    with pytest.raises(UnreadableError, match="is no gallery"):
        Gallery.open(tmp_path / "foreign")
    with Gallery.create(tmp_path / "empty", ENCODER) as empty, pytest.raises(DataError, match="nobody is enrolled"):
        empty.nearest(np.zeros((1, 16)))
    connection = sqlite3.connect(tmp_path / "g")
    connection.execute("UPDATE facts SET value = '9' WHERE name = 'version'")
    connection.commit()
    with pytest.raises(UnreadableError, match="version 9"):
        Gallery.open(tmp_path / "g")


def test_a_hundred_thousand_are_searched_at_once(tmp_path: Path) -> None:
    """Exact, in one product; enrolled in one transaction, opened in half a second."""
    vectors = unit(np.random.default_rng(0), 20_000)
    with Gallery.create(tmp_path / "g", ENCODER) as gallery:
        begun = time.perf_counter()
        gallery.enrol(Entry(f"p{n}", vector, str(n)) for n, vector in enumerate(vectors))
        assert len(vectors) / (time.perf_counter() - begun) > 2_000
        assert [match.name for match in gallery.nearest(vectors[[5, 19_999]])] == ["p5", "p19999"]


# --- thresholds


def clusters(draw: np.random.Generator, people: int, each: int, spread: float) -> tuple[list[str], np.ndarray]:
    centres = unit(draw, people)
    vectors = np.repeat(centres, each, 0) + spread * draw.normal(size=(people * each, 16))
    return [f"p{n}" for n in range(people) for _ in range(each)], (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(
        np.float32
    )


def test_the_rate_of_others_lies_in_the_interval() -> None:
    """Fitted on thirty people, counted on thirty others: the printed interval holds in at least nine of ten draws."""
    inside = 0
    for seed in range(40):
        names, vectors = clusters(np.random.default_rng(seed), 60, 4, 0.1)
        half = len(names) // 2
        found = fit_threshold(names[:half], vectors[:half], 0.01, 1.0, None)
        assert found.fitted
        ours = np.array(names[half:])
        distances = 2 - 2 * vectors[half:] @ vectors[half:].T
        rate = float((distances[ours[:, None] != ours[None]] <= found.distance).mean())
        assert found.interval is not None
        inside += found.interval[0] <= rate <= found.interval[1]
    assert inside >= 36


def test_too_few_people_keep_the_published_threshold() -> None:
    names, vectors = clusters(np.random.default_rng(0), 4, 3, 0.1)
    found = fit_threshold(names, vectors, 0.001, 0.18, 0.01)
    assert (found.fitted, found.distance, found.rate) == (False, 0.18, 0.01)
    assert "too few" in found.why
    assert found.among(100) == pytest.approx(1 - 0.99**100)


# --- protocols


def test_misses_are_errors() -> None:
    names, vectors = clusters(np.random.default_rng(0), 6, 4, 0.02)
    paths = tuple(Path(str(n)) for n in range(len(names)))
    whole = protocol(Seen(paths, tuple(names), vectors, np.zeros(24, dtype=bool)))
    assert (whole["missed"], whole["eer"], whole["rank1"]) == (0, 0.0, 1.0)
    missed = np.zeros(24, dtype=bool)
    missed[[1, 6]] = True
    found = protocol(Seen(paths, tuple(names), vectors * ~missed[:, None], missed))
    assert found["missed"] == 2
    assert found["rank1"] < 1
    assert found["val_at_far"]["0.1"] == pytest.approx(30 / 36)  # of six same pairs a person two lose three each


def test_rank_one_against_a_slow_loop() -> None:
    draw = np.random.default_rng(1)
    names, vectors = clusters(draw, 5, 3, 0.5)
    ids = np.array([int(name[1:]) for name in names])
    distances = 2 - 2 * vectors @ vectors.T
    shares = []
    for number in range(3):
        enrolled = [5 * 0 + 3 * person + number for person in range(5)]
        asked = [index for index in range(15) if index not in enrolled]
        shares.append(np.mean([ids[min(enrolled, key=lambda e: distances[index, e])] == ids[index] for index in asked]))
    assert rank1(distances, ids) == pytest.approx(np.mean(shares))


def test_lfw_pairs(tmp_path: Path) -> None:
    for name in ("Ann_A", "Bob_B"):
        (tmp_path / name).mkdir()
        for number in (1, 2):
            (tmp_path / name / f"{name}_{number:04}.jpg").touch()
    (tmp_path / "pairs.txt").write_text("2\t1\nAnn_A\t1\t2\nAnn_A\t1\tBob_B\t2\nBob_B\t1\t2\nBob_B\t1\tAnn_A\t2\n")
    listed = read_pairs(tmp_path / "pairs.txt", tmp_path)
    assert [(one.same, one.fold) for one in listed] == [(True, 0), (False, 0), (True, 1), (False, 1)]
    (tmp_path / "pairs.txt").write_text("1\nAnn_A\t1\t7\n")
    with pytest.raises(DataError, match=r"line 2: no picture .*Ann_A_0007"):
        read_pairs(tmp_path / "pairs.txt", tmp_path)


def test_fold_accuracy_against_a_slow_loop() -> None:
    draw = np.random.default_rng(0)
    same = draw.random(60) < 0.5
    distances, folds = np.where(same, draw.normal(1, 0.5, 60), draw.normal(2, 0.5, 60)), np.arange(60) % 5
    expected = []
    for fold in range(5):
        out = folds == fold
        errors = {t: ((distances[~out] <= t) != same[~out]).sum() for t in [-1.0, *distances[~out]]}
        assert ((distances[~out] <= best_threshold(distances[~out], same[~out])) != same[~out]).sum() == min(errors.values())
        expected.append(((distances[out] <= best_threshold(distances[~out], same[~out])) == same[out]).mean())
    mean, deviation, _ = fold_accuracy(distances, same, folds)
    assert (mean, deviation) == (pytest.approx(np.mean(expected)), pytest.approx(np.std(expected)))

"""Things followed through films, and counted where they cross lines and stay in zones; against supervision's own counter and slow loops."""

import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from onelook import Geometry, Model
from onelook.answers.detections import Detections
from onelook.errors import OnelookError
from onelook.geometry.supervision import supervision
from onelook.video import counts, tracks
from onelook.video.counts import Counts, Places
from onelook.video.tracks import Tracker
from onelook.video.watch import Moment

from .conftest import Run, write_scenes
from .test_video import FLOWER, WALL

RATE = 15


class Named:
    """A tracker in name only: what tests of counting need of it."""

    def label(self, head: str, number: int) -> str:
        return "flower"


def moment(time: float, boxes: Sequence[Sequence[float]], numbers: Sequence[int] | None = None, scores: Sequence[float] = ()) -> Moment:
    """Boxes of flowers at a time, numbered or to be numbered."""
    count = len(boxes)
    found = Detections.of(np.array(boxes).reshape(-1, 4), np.array(scores or [0.9] * count), np.zeros(count, dtype=int), ["flower", "leaf"])
    return Moment(round(time * RATE), time, {"things": found if numbers is None else found.numbered(np.array(numbers))}, {})


def square(x: float, y: float, size: float = 20.0) -> tuple[float, float, float, float]:
    return x - size / 2, y - size / 2, x + size / 2, y + size / 2


def counted(places: Places, moments: Sequence[Moment]) -> Counts:
    found = Counts(places, Named())  # type: ignore[arg-type]
    for one in moments:
        found.add(one)
    return found


class TestLines:
    def test_like_supervision_s_counter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On smooth walks over a long line, where no margin is asked for."""
        monkeypatch.setattr(counts, "MARGIN", 0.0)
        draw = np.random.default_rng(0)
        phases, speeds = draw.uniform(0, 6, (40, 2)), draw.uniform(0.5, 2, (40, 2))
        line = ((-1000.0, 130.0), (1000.0, 70.0))
        oracle = supervision.LineZone(
            supervision.Point(*line[0]), supervision.Point(*line[1]), triggering_anchors=[supervision.Position.CENTER]
        )
        moments = []
        for step in range(300):
            middles = 100 + 90 * np.sin(phases + speeds * step / 30)
            moments.append(moment(step / 30, [square(x, y) for x, y in middles], range(40)))
            answer = moments[-1].answers["things"]
            assert isinstance(answer, Detections)
            oracle.trigger(answer)
        facts = counted(Places({"line": line}), moments).to_json()["line"]
        assert facts["in"] == oracle.in_count > 20
        assert facts["out"] == oracle.out_count > 20

    @pytest.mark.parametrize(
        ("way", "crossings"),
        [
            ([(50, 50), (150, 50)], 1),
            ([(50, 50), (98, 50), (150, 50)], 1),  # a stop on the line
            ([(50, 50), (101, 50), (99, 50), (101, 50), (50, 50)], 0),  # swaying on it
            ([(50, 50), (150, 50), (50, 50)], 2),
            ([(50, 50), (50, 250), (150, 250), (150, 50)], 0),  # around its end
        ],
    )
    def test_who_crosses(self, way: list[tuple[float, float]], crossings: int) -> None:
        found = counted(Places({"gate": ((100, 0), (100, 200))}), [moment(step, [square(*place)], [7]) for step, place in enumerate(way)])
        assert len(found.crossings) == crossings == sum(found.to_json()["gate"][way] for way in ("in", "out"))

    def test_ways_and_labels(self) -> None:
        """Down the screen, the left hand is the screen's right side."""
        found = counted(Places({"gate": ((100, 0), (100, 200))}), [moment(0, [square(50, 50)], [3]), moment(1, [square(150, 50)], [3])])
        assert found.to_json() == {"gate": {"in": 1, "out": 0, "labels": {"flower": {"in": 1, "out": 0}}}}
        assert found.crossings == [{"time": 1, "line": "gate", "way": "in", "head": "things", "track": 3, "label": "flower"}]

    def test_feet_count_where_the_file_says_so(self) -> None:
        way = [moment(step, [(40, top, 60, top + 80)], [0]) for step, top in enumerate((0, 60))]
        line = {"step": ((0.0, 110.0), (200.0, 110.0))}
        assert len(counted(Places(line), way).crossings) == 0
        assert len(counted(Places(line, foot=True), way).crossings) == 1

    def test_what_is_not_followed_is_not_counted(self) -> None:
        way = [moment(step, [square(x, 50)], [-1]) for step, x in enumerate((50, 150))]
        assert counted(Places({"gate": ((100, 0), (100, 200))}), way).crossings == []


class TestZones:
    def test_time_inside_like_a_slow_loop(self) -> None:
        draw = np.random.default_rng(1)
        places = 100 + 90 * np.sin(draw.uniform(0, 6, (12, 2)) + draw.uniform(0.5, 2, (12, 2)) * np.linspace(0, 8, 200)[:, None, None])
        zone = ((30.0, 20.0), (150.0, 40.0), (120.0, 160.0), (20.0, 120.0))
        times = np.cumsum(draw.uniform(0.02, 0.2, 200))
        found = counted(
            Places(zones={"court": zone}),
            [moment(time, [square(x, y) for x, y in now], range(12)) for time, now in zip(times, places, strict=True)],
        )
        inside = np.array([[_inside(zone, *place) for place in now] for now in places])
        facts = found.to_json()["court"]
        assert facts["tracks"] == inside.any(0).sum()
        assert (facts["now"], facts["most"]) == (inside[-1].sum(), inside.sum(1).max())
        both = inside[1:] & inside[:-1]
        expected = {number: float(np.diff(times)[both[:, number]].sum()) for number in range(12) if inside[:, number].any()}
        assert {one["track"]: one["seconds"] for one in facts["each"]} == pytest.approx(expected, abs=1e-3)
        assert facts["dwell"]["longest"] == pytest.approx(max(expected.values()), abs=1e-3)

    def test_nobody_came(self) -> None:
        found = counted(Places(zones={"court": ((0, 0), (10, 0), (10, 10))}), [moment(0, [square(50, 50)], [0])])
        assert found.to_json()["court"] == {"tracks": 0, "now": 0, "most": 0, "dwell": None, "each": []}


def _inside(corners: Sequence[tuple[float, float]], x: float, y: float) -> bool:
    """By the even number of edges to the right."""
    crossed = 0
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
            crossed += 1
    return crossed % 2 == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "neither lines nor zones"),
        ("{}", "neither lines nor zones"),
        ('{"lines": {"gate": [[0, 0], [1, 1]]}, "colour": 3}', "'colour' is not known here"),
        ('{"lines": {"gate": [[0, 0], [1, 1]]}, "at": "head"}', "use middle or foot"),
        ('{"lines": {"gate": [[0, 0]]}}', "gate needs two different points"),
        ('{"lines": {"gate": [[5, 5], [5, 5]]}}', "gate needs two different points"),
        ('{"lines": {"gate": [[0, 0], [1, null]]}}', "gate needs two different points"),
        ('{"lines": {"gate": "0 0 1 1"}}', "gate needs two different points"),
        ('{"lines": [[0, 0], [1, 1]]}', "must be names with points"),
        ('{"zones": {"court": [[0, 0], [1, 1]]}}', "court needs three or more different points"),
        ('{"lines": {"a": [[0, 0], [1, 1]]}, "zones": {"a": [[0, 0], [1, 1], [2, 0]]}}', "names must differ"),
    ],
)
def test_mistakes_in_places(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "zones.json").write_text(text)
    with pytest.raises(OnelookError, match=said) as error:
        Places.read(tmp_path / "zones.json")
    assert str(tmp_path / "zones.json") in str(error.value)


def test_a_place_outside_the_film() -> None:
    with pytest.raises(OnelookError, match="gate lies outside the film, which has 320 x 240 pixels"):
        Places({"gate": ((400, 0), (400, 240))}).check((320, 240), Path("zones.json"))


class Boxes:
    """A head that gives boxes, as far as a tracker asks."""

    @property
    def core(self) -> "Boxes":
        return self

    def reading(self) -> dict[str, float]:
        return {"conf": 0.2}


def follow(moments: Sequence[Moment], conf: float | None = None) -> tuple[Tracker, Iterator[Detections]]:
    tracker = Tracker({"things": Boxes()}, conf)  # type: ignore[dict-item]
    return tracker, (answer for one in moments if isinstance(answer := tracker(one).answers["things"], Detections))


class TestTracker:
    def test_two_that_pass_each_other_keep_their_numbers(self) -> None:
        way = [(20 + 6 * step, 260 - 6 * step) for step in range(40)]
        tracker, found = follow([moment(step / RATE, [square(left, 50), square(right, 90)]) for step, (left, right) in enumerate(way)])
        numbers = [answer.tracker_id.tolist() for answer in found]
        assert numbers[0] == [-1, -1]
        assert numbers[2:] == [numbers[2]] * 38
        assert set(numbers[2]) == {0, 1}
        assert tracker.to_json() == {"things": {"flower": 2}}

    def test_a_doubtful_box_is_one_where_a_track_leads_to_it(self) -> None:
        scores = [[0.9], [0.9], [0.9], [0.15], [0.9]]
        _, found = follow([moment(step / RATE, [square(50 + step, 50)], scores=score) for step, score in enumerate(scores)])
        assert [len(answer) for answer in found] == [1, 1, 1, 1, 1]
        _, alone = follow([moment(step / RATE, [square(50 + step, 50)], scores=[0.15]) for step in range(5)])
        assert [len(answer) for answer in alone] == [0] * 5

    def test_gone_for_longer_than_a_second_is_another(self) -> None:
        times = [0, 0.1, 0.2, 0.9, 1.0, 3.0, 3.1, 3.2]
        _, found = follow([moment(time, [square(50, 50)]) for time in times])
        numbers = [answer.tracker_id.tolist()[0] for answer in found]
        assert numbers[2] == numbers[4] >= 0
        assert numbers[-1] > numbers[4]

    def test_a_label_is_the_one_that_is_said_most_surely(self) -> None:
        moments = [moment(step / RATE, [square(50, 50)]) for step in range(6)]
        for one in moments[4:]:
            answer = one.answers["things"]
            assert isinstance(answer, Detections)
            answer.data["class_name"][:] = "leaf"
        tracker, found = follow(moments)
        list(found)
        assert tracker.to_json() == {"things": {"flower": 1}}

    def test_numbers_are_written_and_drawn(self) -> None:
        _, found = follow([moment(step / RATE, [square(50, 50), square(150, 50)][: 1 + step]) for step in range(2)])
        answer = list(found)[1]
        assert [box["track"] for box in answer.to_json()["boxes"]] == [row["track"] for row in answer.rows()] == [0, None]
        picture = Image.new("RGB", (320, 160))
        plain = Detections.of(answer.xyxy, answer.confidence, answer.class_id, ["flower"])
        assert answer.draw(picture).tobytes() != plain.draw(picture).tobytes()

    def test_nothing_to_follow(self) -> None:
        class Words(Boxes):
            def reading(self) -> dict[str, float]:
                return {}

        with pytest.raises(OnelookError, match="follows boxes, and none of the heads gives any"):
            Tracker({"kind": Words()})  # type: ignore[dict-item]

    def test_without_its_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tracks, "find_spec", lambda name: None)
        with pytest.raises(OnelookError, match=r"pip install 'onelook\[video\]'"):
            Tracker({"things": Boxes()})  # type: ignore[dict-item]


def write_moving(path: Path) -> None:
    """Eight seconds of a temple's wall: two flowers cross its middle to the right, one to the left, one turns before it."""
    wall = WALL.crop((60, 240, 220, 368))
    blossom = FLOWER.crop((150, 30, 450, 330)).resize((48, 48))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        for number in range(8 * RATE):
            time, scene = number / RATE, wall.copy()
            ways = (
                (0, 3, -20 + 50 * time, 10),
                (1, 4, 130 - 50 * (time - 1), 74),
                (3.5, 6, -30 + 60 * min(time - 3.5, 6 - time), 10),
                (4.5, 8, -40 + 60 * (time - 4.5), 74),
            )
            for start, end, x, y in ways:
                if start <= time < end:
                    scene.paste(blossom, (round(x), y))
            frame = av.VideoFrame.from_image(scene)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)


@pytest.mark.slow
def test_counts_of_a_film_are_exact(run: Run, tmp_path: Path) -> None:
    """Four real flowers move over a real wall; the detector has learned from other scenes of the two."""
    write_scenes(tmp_path / "scenes", 60)
    model = Model.new(geometry=Geometry(320))
    model.fit("things", tmp_path / "scenes" / "labels.csv", head="detect", freeze="all")
    model.save(tmp_path / "m.onelook")
    write_moving(tmp_path / "moving.mp4")
    (tmp_path / "zones.json").write_text(
        json.dumps({"lines": {"gate": [[80, 0], [80, 128]]}, "zones": {"left": [[0, 0], [60, 0], [60, 128], [0, 128]]}})
    )
    code, out, err = run(
        "video", tmp_path / "moving.mp4", "--model", tmp_path / "m.onelook", "--count", tmp_path / "zones.json",
        "--out", tmp_path / "drawn.mp4", "--csv", tmp_path / "found.csv", "--json",
    )  # fmt: skip
    assert code == 0, err
    *_, last = map(json.loads, out.splitlines())
    summary = last["summary"]
    assert summary["frames"] == 8 * RATE
    assert summary["tracks"] == {"things": {"flower": 4}}
    assert (summary["counts"]["gate"]["in"], summary["counts"]["gate"]["out"]) == (2, 1)
    assert [round(one["time"], 1) for one in summary["crossings"]] == pytest.approx([1.6, 2.6, 6.2], abs=0.21)
    assert summary["counts"]["left"]["tracks"] == 4
    assert "track" in (tmp_path / "found.csv").read_text().splitlines()[0].split(",")
    assert (tmp_path / "drawn.mp4").stat().st_size > 10_000

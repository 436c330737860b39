"""The report: one file that needs nothing else, says what was measured, and lets nothing through unescaped."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from onelook import Model
from onelook.errors import DiskError, OnelookError
from onelook.metrics.classification import MultiLabelJudge, SingleLabelJudge
from onelook.metrics.judge import Curves, Judge, Table
from onelook.metrics.regression import ValueJudge
from onelook.report.figures import _fits, curve_plot, learning_curves, search_plot
from onelook.report.page import Section, shown, write_page
from onelook.report.sheets import write_with_sheets
from onelook.training.loop import Step
from onelook.workflows.train import train
from onelook.workflows.validate import validate
from tests.conftest import write_crops


class Page(HTMLParser):
    """Titles, table cells, and everything that a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href") and not (value or "").startswith(("data:", "#"))]

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    root = tmp_path_factory.mktemp("report")
    write_crops(root / "photos", 12)
    (root / "photos" / "flower").rename(root / "photos" / "<b>flower & co")
    result = train(
        root / "photos", name="kind", model_path=root / "m.onelook", val="0.25", size=64, budget=20, report=root / "report", device="cpu"
    )
    return result, root


def test_one_file_that_fetches_nothing(trained: tuple[dict, Path]) -> None:
    _, root = trained
    beside = {path.name for path in (root / "report").iterdir()} - {"index.html"}
    assert {"what-is-taken-for-what.png"} <= beside <= {"what-is-taken-for-what.png", "where-it-goes-wrong-most.png"}
    html = (root / "report" / "index.html").read_text()
    page = Page(html)
    assert page.fetched == []
    assert not {"script", "iframe", "link"} & set(page.tags)
    assert "b" not in page.tags  # a class name is text
    assert "url(http" not in html


def test_it_says_what_was_measured(trained: tuple[dict, Path]) -> None:
    result, root = trained
    html = (root / "report" / "index.html").read_text()
    text = " ".join(Page(html).text)
    for title in (
        "The pictures", "How right it is", "What is taken for what", "Can the probabilities be believed?", "How deep to go",
        "What it costs", "Licences", "How to use it",
    ):  # fmt: skip
        assert title in text
    assert f"{result['metrics']['accuracy']:.4f}" in text
    assert f"{result['metrics']['ece']:.4f}" in text
    assert result["search"]["why"] in text
    assert "<b>flower & co" in text
    assert "Apache-2.0" in text
    assert html.count("<svg") == 2
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_a_validation_report_with_gains_and_errors(trained: tuple[dict, Path], tmp_path: Path) -> None:
    from onelook.report import write_validation

    _, root = trained
    model = Model.load(root / "m.onelook", device="cpu")
    judged = validate(root / "photos", [model], "kind", tta="flips")
    assert judged.found.metrics["n"] == 24
    judge = model.head("kind").judge()
    judge.add(judged.found.predictions, [1 - target for target in judged.found.targets])
    wrong = replace(judged.found, judge=judge)
    path = write_validation(tmp_path, model, "kind", root / "photos", wrong, judged.gains, root / "m.onelook")
    page = Page(path.read_text())
    assert page.tags.count("img") == 18
    assert "What more looks bring" in " ".join(page.text)
    assert json.dumps(judged.to_json())


def test_worst_errors_are_the_surest_wrong_answers() -> None:
    def worst(judge: Judge[Any, Any], raw: list[list[float]], truth: list[Any], count: int = 18) -> list[tuple[int, str]]:
        judge.add([torch.tensor(row) for row in raw], [torch.tensor(target) for target in truth])
        return judge.worst(count)

    raw = [[3.0, 0.0], [0.0, 1.0], [0.0, 5.0], [2.0, 0.0]]
    assert [index for index, _ in worst(SingleLabelJudge("xy"), raw, [0, 0, 0, 1])] == [2, 3, 1]
    assert worst(SingleLabelJudge("xy"), raw, [0, 0, 0, 1], 1)[0][1] == "said y 99%, is x"
    assert worst(ValueJudge(("kg",)), [[1.5], [4.0]], [[1.0], [1.0]]) == [(1, "kg 4, is 1"), (0, "kg 1.5, is 1")]
    assert worst(MultiLabelJudge("xy"), [[2.0, 3.0], [-1.0, -2.0]], [[1.0, 0.0], [0.0, 0.0]]) == [(0, "y 95%, is not there")]


def test_pngs_for_slides(tmp_path: Path) -> None:
    """Tables with shades and sheets of pictures, by their titles; darker where more is."""
    rows = (("cat", "9", "1", "90%"), ("dog & co", "0", "5", "100%"))
    table = Table("What is taken for what", ("truth", "cat", "dog & co", "right"), rows, shades=((0, 0.9, 0.1, 0), (0, 0.0, 1.0, 0)))
    pictures = tuple(shown(Image.new("RGB", (60 + 10 * n, 40), (200, 0, 0)), f"{n}.png", "said cat, is dog") for n in range(7))
    sections = [
        Section("What is taken for what", table=table),
        Section("Plain", table=replace(table, shades=())),
        Section("Errors!", pictures=pictures),
    ]
    assert "Beside this page: what-is-taken-for-what.png, errors.png." in write_with_sheets(tmp_path, "t", "", sections).read_text()
    assert "Beside this page" not in write_with_sheets(tmp_path / "plain", "t", "", sections[1:2]).read_text()
    assert [path.name for path in (tmp_path / "plain").iterdir()] == ["index.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="the report cannot be written"):
        write_with_sheets(tmp_path / "file", "t", "", sections)
    with Image.open(tmp_path / "errors.png") as sheet:
        assert sheet.width == 6 * 240
        red = (np.asarray(sheet)[..., 0] > 150) & (np.asarray(sheet)[..., 1] < 60)
        assert red.sum() > 7 * 40 * 40
    with Image.open(tmp_path / "what-is-taken-for-what.png") as drawn:
        pixels = np.asarray(drawn.convert("L"))
    assert pixels.min() < 60
    assert pixels.max() == 255


def test_words_at_places_are_seen_under_the_pointer(tmp_path: Path) -> None:
    picture = shown(Image.new("RGB", (200, 100)), "a.png", "", spots=[(50, 25, "left <eye> 0.91"), (200, 100, "nose")])
    assert picture.spots == ((0.25, 0.25, "left <eye> 0.91"), (1.0, 1.0, "nose"))
    html = write_page(tmp_path, "t", "", [Section("s", pictures=(picture, shown(Image.new("RGB", (9, 9)), "b.png", "")))]).read_text()
    assert re.findall(r'<i style="left:([\d.]+)%;top:([\d.]+)%" title="([^"]+)">', html) == [
        ("25.0", "25.0", "left &lt;eye&gt; 0.91"), ("100.0", "100.0", "nose"),
    ]  # fmt: skip
    assert html.count('class="spotted"') == 1


def test_a_fit_that_is_made_again_is_a_curve_of_its_own() -> None:
    def step(epoch: int) -> Step:
        return Step(epoch, 3, 1.0 / epoch, None, 0.1, 1.0, True)

    told = [("one", step(1)), ("one", step(2)), ("two", step(1)), ("one", step(1)), ("two", step(2)), ("one", step(2)), ("one", step(1))]
    assert {name: [one.epoch for one in mine] for name, mine in _fits(told).items()} == {
        "one": [1, 2], "two": [1, 2], "one, again": [1, 2], "one, again (2)": [1],
    }  # fmt: skip


def test_plots_are_drawn_alike_every_time() -> None:
    steps = [("a & b", Step(number, 3, 1 / number, None, 1e-3, 1.0, True)) for number in (1, 2, 3)]
    for draw in (
        lambda: curve_plot(Curves("r", "x", "y", {"a": ([0.1, 0.9], [0.2, 0.8])}, diagonal=True, sizes={"a": [0.5, 0.5]})),
        lambda: learning_curves(steps),
        lambda: search_plot(["x", "y"], [0.5, 0.6], [(0.4, 0.6), (0.5, 0.7)], 1, "accuracy"),
    ):
        assert draw() == draw()
        assert draw().startswith("<svg")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="the report cannot be written"):
        write_page(tmp_path / "file" / "x", "t", "l", [Section("s", table=Table("", ("a",), (("<i>",),)))])


def test_tensorboard_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(OnelookError, match=r'pip install "onelook\[tensorboard\]"'):
        train(tmp_path, name="kind", model_path=tmp_path / "m.onelook", tensorboard=tmp_path / "board")

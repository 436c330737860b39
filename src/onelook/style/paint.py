"""Paint a photo in the style of paintings: a forecast, the painter, and a judge that did not paint.

python -c "from onelook.style.paint import paint; paint('photo.jpg', ['painting.jpg']).picture.save('painted.png')"
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from PIL import Image, ImageChops

from onelook.data.pictures import open_picture
from onelook.errors import OnelookError
from onelook.facts import Facts
from onelook.style.colour import luminance, matched, with_colours
from onelook.style.forecast import Forecast, forecast, forget_peak, peak_mb
from onelook.style.instant import LICENCE, Instant
from onelook.style.judge import Judge, Verdict, find_judge
from onelook.style.networks import load_network
from onelook.style.painter import Painter, Stage, Step, Strokes, scaled, stages
from onelook.style.recipe import SIZE, STEPS, Recipe
from onelook.style.unfinished import Unfinished

INSTANT = "instant"  # a network that paints in one pass
READ_AT_ONCE = ("network", "size", "strength", "blend", "colour", "seed")  # what of a recipe it reads
Picture = Path | str | Image.Image
Callback = Callable[[Step], bool | None]
Mixed = Sequence[tuple[float, Image.Image]]
Point = tuple[int, int, dict[str, float]]  # of a learning curve: longer side, step there, losses


@dataclass(frozen=True)
class Painting:
    """What was painted. ``stopped``: before its end; ``mb``: the most memory held."""

    picture: Image.Image
    network: str
    licence: str
    formula: str
    forecast: Forecast
    seconds: float
    mb: float
    steps: int
    judge: str
    verdict: Verdict
    curve: tuple[Point, ...] = ()
    remarks: tuple[str, ...] = ()
    stopped: bool = False

    def to_json(self) -> Facts:
        """Plain values for programs."""
        return {
            "size": list(self.picture.size), "network": self.network, "licence": self.licence, "formula": self.formula, "steps": self.steps,
            "seconds": round(self.seconds, 2), "forecast_seconds": round(self.forecast.seconds, 2), "peak_mb": round(self.mb),
            "forecast_mb": round(self.forecast.mb), "tiles": self.forecast.side, "style_distance": round(self.verdict.style, 4),
            "content_distance": round(self.verdict.content, 4), "judge": self.judge, "stopped": self.stopped, "remarks": list(self.remarks),
        }  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """A painting that is not begun, or gone on with: what it will cost is known. ``unfinished``: where it waits when it is stopped."""

    painter: Painter
    judge: Judge
    forecast: Forecast
    formula: str
    finish: Callable[[Image.Image], Image.Image]
    unfinished: Unfinished
    remarks: tuple[str, ...] = ()

    def to_json(self) -> Facts:
        """The forecast alone."""
        facts, last = self.painter.network.facts, self.painter.plan[-1]
        return {
            "size": [last.width, last.height], "network": facts.name, "licence": facts.licence, "formula": self.formula,
            "steps": self.painter.total, "forecast_seconds": round(self.forecast.seconds, 2), "forecast_mb": round(self.forecast.mb),
            "tiles": self.forecast.side, "remarks": list(self.remarks),
        }  # fmt: skip


def paint(
    content: Picture, styles: Sequence[Picture], recipe: Recipe = Recipe(), *, keep: Path | None = None, callback: Callback | None = None,  # noqa: B008
) -> Painting:  # fmt: skip
    """``content`` painted in the style of ``styles``. Raises OnelookError and its kin for what cannot be done.

    ``callback`` gets every step, and stops the painting by returning False; Ctrl-C stops it, too. The best so far is then the painting.
    ``keep``: a file in which an unfinished painting waits; one that is there is gone on with.
    """
    if recipe.network == INSTANT:
        return paint_instantly(content, styles, recipe)
    return carry_out(plan(content, styles, recipe, keep), callback=callback)


def plan(
    content: Picture, styles: Sequence[Picture], recipe: Recipe = Recipe(), keep: Path | None = None, *, resume: bool = True  # noqa: B008
) -> Plan:  # fmt: skip
    """A painting with its forecast. ``keep``: where it waits when it is stopped; ``resume``: whether one that waits there is gone on with.

    Raises OnelookError and its kin.
    """
    photo, paintings = _opened(content, styles)
    sizes = _stages(photo, recipe)
    network = load_network(recipe.network, recipe.weights_file)
    terms = recipe.terms(network)
    judge = Judge(find_judge(network.facts.name), photo, recipe.mixed(paintings), max(sizes[-1].width, sizes[-1].height))
    source = luminance(photo) if recipe.colour == "keep" else photo
    finish = partial(with_colours, colours=photo) if recipe.colour == "keep" else _as_it_is
    mixed = recipe.mixed(_recoloured(photo, paintings, recipe))
    painter = Painter(
        network, terms, source, _strokes(mixed, recipe.masks), sizes, begin=_beginning(source, mixed, recipe, sizes[-1]),
        optimizer=recipe.optimizer, rate=recipe.rate, seed=recipe.seed, side=recipe.tiles, base=source if recipe.masks else None,
    )  # fmt: skip
    unfinished = Unfinished(keep, _key([photo, *paintings, *recipe.masks], recipe, sizes))
    remarks = []
    if resume and unfinished.load(painter):
        remarks.append(f"gone on from step {painter.state.made} at {painter.plan[painter.state.stage].width} pixels")
    begun = time.perf_counter()
    judge(photo)
    ahead = forecast(painter, time.perf_counter() - begun)
    remarks += [ahead.remark] * bool(ahead.remark)
    return Plan(painter, judge, ahead, str(terms), finish, unfinished, tuple(remarks))


def carry_out(planned: Plan, *, callback: Callback | None = None) -> Painting:
    """Paint what was planned; see ``paint``. Raises OnelookError if nothing could be painted."""
    painter, last, unfinished = planned.painter, planned.painter.plan[-1], planned.unfinished
    remarks = list(planned.remarks)
    forget_peak()
    begun = time.perf_counter()
    curve: list[Point] = []
    why = _go_on(painter, unfinished, callback, curve)
    picture = planned.finish(painter.picture())
    verdict = planned.judge(picture)
    seconds = time.perf_counter() - begun
    if why is None:
        unfinished.forget()
    else:
        size = f" with {picture.width} x {picture.height} of {last.width} x {last.height} pixels" if picture.width < last.width else ""
        remarks += [why + size, *unfinished.save(painter, now=True)]
    facts = painter.network.facts
    return Painting(
        picture, facts.name, facts.licence, planned.formula, planned.forecast, seconds, peak_mb(), len(curve), planned.judge.name, verdict,
        tuple(curve), (*remarks, *painter.remarks), why is not None,
    )  # fmt: skip


def _go_on(painter: Painter, unfinished: Unfinished, callback: Callback | None, curve: list[Point]) -> str | None:
    """Paint to the end, noting every step in ``curve``; why it ended sooner, or None. Raises what happens before the first step."""
    try:
        for step in painter:
            curve.append((max(step.stage.width, step.stage.height), step.number, step.losses))
            unfinished.save(painter)
            if callback is not None and callback(step) is False and step.done < step.total:
                return f"stopped after {step.done} of {step.total} steps"
    except (KeyboardInterrupt, OnelookError) as error:
        if not curve:
            raise
        return str(error) or f"interrupted after {len(curve)} steps"
    return None


def paint_instantly(content: Picture, styles: Sequence[Picture], recipe: Recipe = Recipe()) -> Painting:  # noqa: B008
    """One pass of the instant painter (extra ``style``). Raises PackageMissing, and OnelookError for what has no meaning in one pass."""
    idle = recipe.idle(READ_AT_ONCE)
    if idle:
        raise OnelookError(f"{', '.join(idle)}: --network instant paints in one pass, where that does nothing; leave it away")
    photo, paintings = _opened(content, styles)
    judged = recipe.mixed(paintings)
    mixed = recipe.mixed(_recoloured(photo, paintings, recipe))
    small = scaled(photo, _stages(photo, recipe)[-1])
    instant, judge = Instant(), Judge(find_judge(INSTANT), photo, judged, max(small.size))
    strength = min(1.0, recipe.strength + 1 - Recipe.strength)  # its usual strength is the whole
    forget_peak()
    begun = time.perf_counter()
    picture = instant(small, mixed, strength)
    if recipe.colour == "keep":
        picture = with_colours(picture, photo)
    seconds = time.perf_counter() - begun
    known = Forecast(seconds, peak_mb())
    return Painting(picture, INSTANT, LICENCE, "one pass", known, seconds, peak_mb(), 1, judge.name, judge(picture))


def _opened(content: Picture, styles: Sequence[Picture]) -> tuple[Image.Image, list[Image.Image]]:
    """All pictures as upright RGB."""
    if not styles:
        raise OnelookError("a painting that lends its style is missing: onelook style PHOTO PAINTING")
    opened = [picture.convert("RGB") if isinstance(picture, Image.Image) else open_picture(picture) for picture in (content, *styles)]
    return opened[0], opened[1:]


def _recoloured(photo: Image.Image, paintings: Sequence[Image.Image], recipe: Recipe) -> list[Image.Image]:
    """The paintings with the colours that they are painted by."""
    ways: dict[str, Callable[[Image.Image], Image.Image]] = {"keep": luminance, "match": partial(matched, other=photo), "style": _as_it_is}
    return [ways[recipe.colour](painting) for painting in paintings]


def _stages(photo: Image.Image, recipe: Recipe) -> list[Stage]:
    """The sizes that are painted at, with their steps."""
    size = recipe.size or min(SIZE, max(photo.size))
    if recipe.steps is not None:
        return stages(photo.size, size, recipe.steps)
    return [replace(stage, steps=STEPS) for stage in stages(photo.size, size, 1_000)]


def _strokes(mixed: Mixed, masks: Sequence[Image.Image]) -> list[Strokes]:
    """Styles and where they belong. Raises OnelookError for more masks than styles."""
    if len(masks) > len(mixed):
        raise OnelookError(f"{len(masks)} places for {len(mixed)} paintings; give every place a painting")
    found = [Strokes([(1.0, painting)], mask) for (_, painting), mask in zip(mixed, masks, strict=False)]
    rest = mixed[len(masks) :]
    if not rest:
        return found
    total = sum(weight for weight, _ in rest) or 1.0
    everywhere_else = None
    for mask in masks:
        left = ImageChops.invert(mask.convert("L"))
        everywhere_else = left if everywhere_else is None else ImageChops.multiply(everywhere_else, left.resize(everywhere_else.size))
    return [*found, Strokes([(weight / total, painting) for weight, painting in rest], everywhere_else)]


def _beginning(source: Image.Image, mixed: Mixed, recipe: Recipe, last: Stage) -> Image.Image | None:
    """What the first picture is; None for noise."""
    if recipe.init == "noise":
        return None
    if recipe.init == "style":
        return mixed[0][1]
    return Instant()(scaled(source, last), mixed) if recipe.init == "instant" else source


def _as_it_is(picture: Image.Image) -> Image.Image:
    return picture


def _key(pictures: Sequence[Image.Image], recipe: Recipe, sizes: Sequence[Stage]) -> str:
    """A hash of all that is said of a painting: an unfinished one of another key is another painting."""
    digest = hashlib.sha256(repr([replace(recipe, masks=()), sizes]).encode())
    for picture in pictures:
        digest.update(picture.tobytes())
    return digest.hexdigest()[:32]

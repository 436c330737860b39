"""The plots of a report, as SVG text that stands in the page itself; matplotlib draws them."""

import io
import re
from collections import Counter
from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from onelook.metrics.judge import Curves
from onelook.training.loop import Step

BLUE, GREY, ORANGE = "#2563a8", "#9aa3ad", "#d9822b"


def learning_curves(steps: Sequence[tuple[str, Step]]) -> str:
    """Mean training loss by epoch, one line for every fit."""
    figure, axes = _blank(6.0, 3.2, "epoch", "training loss")
    for name, mine in _fits(steps).items():
        axes.plot([step.epoch for step in mine], [step.loss for step in mine], marker="o", markersize=3, linewidth=1.4, label=name)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure, "learning")


def _fits(steps: Sequence[tuple[str, Step]]) -> dict[str, list[Step]]:
    """The epochs of every fit by its name, numbered where one was fitted again: then its epochs begin anew."""
    fits: dict[str, list[Step]] = {}
    current: dict[str, str] = {}
    for title, step in steps:
        name = current.get(title)
        if name is None or step.epoch <= fits[name][-1].epoch:
            count = sum(other == title or other.startswith(f"{title}, again") for other in fits)
            name = current[title] = title if not count else f"{title}, again" + (f" ({count})" if count > 1 else "")
        fits.setdefault(name, []).append(step)
    return fits


def style_curve(curve: Sequence[tuple[int, int, dict[str, float]]]) -> str:
    """Every weighted loss of a painting, (longer side, step, losses), on a logarithmic axis; a line where the picture grows."""
    figure, axes = _blank(6.5, 3.4, "step", "weighted loss")
    for name in curve[-1][2]:
        axes.plot(range(1, len(curve) + 1), [max(losses[name], 1e-9) for _, _, losses in curve], linewidth=1.2, label=name)
    for place in range(1, len(curve)):
        if curve[place][0] != curve[place - 1][0]:
            axes.axvline(place + 0.5, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=7, ncols=2)
    return _svg(figure, "style")


def search_plot(names: Sequence[str], values: Sequence[float], intervals: Sequence[tuple[float, float]], chosen: int, metric: str) -> str:
    """The headline figure of every trial with its 95 % interval, from cheap (top) to dear; the chosen one in colour."""
    figure, axes = _blank(6.5, 0.6 + 0.36 * len(names), metric, "")
    for row, (value, (low, high)) in enumerate(zip(values, intervals, strict=True)):
        colour = BLUE if row == chosen else GREY
        axes.plot([low, high], [row, row], color=colour, linewidth=2)
        axes.plot([value], [row], marker="o", color=colour)
    axes.set_yticks(range(len(names)), labels=list(names))
    axes.invert_yaxis()
    return _svg(figure, "search")


def curve_plot(curves: Curves) -> str:
    """Lines of shares against shares, 0..1 each, with a diagonal and dots of different sizes where the curves say so."""
    figure, axes = _blank(5.2, 4.0, curves.x, curves.y)
    if curves.diagonal:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    colours = (ORANGE, BLUE) if len(curves.lines) == 2 else (BLUE,) if len(curves.lines) == 1 else ()
    for number, (name, (x, y)) in enumerate(curves.lines.items()):
        colour = colours[number] if colours else None
        (line,) = axes.plot(x, y, linewidth=1.4, label=name, color=colour)
        if name in curves.sizes:
            axes.scatter(x, y, [12 + 160 * size for size in curves.sizes[name]], color=line.get_color(), alpha=0.7)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    if curves.lines:
        axes.legend(frameon=False, fontsize=8, loc="upper left" if curves.diagonal else "lower left")
    return _svg(figure, re.sub(r"\W+", "", curves.title.lower()))


def size_plot(sizes: Sequence[tuple[int, int]]) -> str:
    """Width against height of pictures, in pixels; a larger dot for more of one size."""
    counts = Counter(sizes)
    figure, axes = _blank(5.2, 4.0, "width", "height")
    widths, heights = zip(*counts, strict=True)
    axes.scatter(widths, heights, [14 + 160 * count / len(sizes) for count in counts.values()], color=BLUE, alpha=0.5)
    axes.set_xlim(0, 1.08 * max(widths))
    axes.set_ylim(0, 1.08 * max(heights))
    return _svg(figure, "sizes")


def histogram(values: Sequence[float], x: str, y: str) -> str:
    """How often values are there; whole numbers have a bar each where they are few."""
    figure, axes = _blank(5.2, 2.8, x, y)
    whole = all(value == int(value) for value in values) and max(values) - min(values) <= 40
    bins = [edge - 0.5 for edge in range(int(min(values)), int(max(values)) + 2)] if whole else 30
    axes.hist(values, bins=bins, color=BLUE, rwidth=0.9)
    return _svg(figure, re.sub(r"\W+", "", x))


def time_plot(points: Sequence[tuple[str, float, float]]) -> str:
    """AP50 against milliseconds a picture (logarithmic), one dot a method."""
    figure, axes = _blank(6.2, 4.0, "milliseconds a picture", "AP50")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    for name, ms, accuracy in points:
        axes.scatter([ms], [accuracy], color=BLUE)
        axes.annotate(name, (ms, accuracy), textcoords="offset points", xytext=(6, 4), fontsize=8)
    axes.set_ylim(0, 1.02)
    axes.margins(x=0.2)
    return _svg(figure, "time")


def _blank(width: float, height: float, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element; ``name`` keeps the ids of several figures on one page apart, and equal from run to run."""
    text = io.StringIO()
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": ["DejaVu Sans", "sans-serif"]}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg[svg.index("<svg") :])

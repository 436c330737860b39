"""The page of ``onelook data browse``: what is doubtful first, then sizes, classes, objects and examples.

onelook data browse photos/ --report page/
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from onelook.data.augment import View
from onelook.data.near_duplicates import Pair
from onelook.data.pictures import ahead, open_picture, picture_size
from onelook.data.samples import Dataset, Finding, Sample
from onelook.errors import PictureError
from onelook.facts import Facts
from onelook.geometry.masks import Mask
from onelook.geometry.objects import Objects
from onelook.metrics.judge import Table
from onelook.report.figures import histogram, size_plot
from onelook.report.page import Picture, Section, shown, side_by_side, thumbnail, write_page
from onelook.report.views import outlined

MOST_PAIRS, MOST_CLASSES, EXAMPLES = 12, 12, 4


@dataclass(frozen=True)
class Doubt:
    """A label that held-out answers contradict: what a head that has not seen the picture says instead, and how sure it is."""

    path: Path
    label: str
    instead: str
    probability: float


@dataclass(frozen=True)
class Odd:
    """A picture and its mean distance (0 to 2) to the pictures that are most like it."""

    path: Path
    distance: float


@dataclass(frozen=True)
class Browsed:
    """What there is to know of a data set; ``doubts``, ``pairs``, ``odd``: the most doubtful first."""

    data: Dataset
    findings: tuple[Finding, ...]
    doubts: tuple[Doubt, ...]
    pairs: tuple[Pair, ...]
    odd: tuple[Odd, ...]

    def to_json(self) -> Facts:
        def plain(entries: Sequence[Doubt | Pair | Odd]) -> list[Facts]:
            return [{key: str(value) if isinstance(value, Path) else value for key, value in asdict(entry).items()} for entry in entries]

        return {
            "pictures": len(self.data),
            "classes": self.data.counts(),
            "doubtful_labels": plain(self.doubts),
            "near_duplicates": plain(self.pairs),
            "unlike_the_others": plain(self.odd),
            "findings": [finding.to_json() for finding in self.findings],
        }


def write_browsed(folder: Path, browsed: Browsed) -> Path:
    """Write ``folder``/index.html and return its path. Raises DiskError."""
    data = browsed.data
    doubtful = f"{len(browsed.doubts)} labels that other pictures contradict, " if data.targets.exclusive else ""
    doubtful += f"{len(browsed.pairs)} pictures that are nearly another, {len(browsed.findings)} findings of the check."
    sections = [*_doubts(browsed), *_pairs(browsed), *_odd(browsed), *_findings(browsed.findings)]
    sections += [*_sizes(data), _classes(data), *_objects(data), *_examples(data)]
    return write_page(folder, f"{data.source}: {len(data)} pictures", doubtful, sections)


def _doubts(browsed: Browsed) -> Iterator[Section]:
    if browsed.doubts:
        pictures = tuple(thumbnail(d.path, f"labelled {d.label}; {d.instead}? {d.probability:.0%}") for d in browsed.doubts)
        text = "What a head says that was trained on the other pictures, and how sure it is; the surest first."
        yield Section("Labels to look at again", text, pictures=pictures)


def _pairs(browsed: Browsed) -> Iterator[Section]:
    if not browsed.pairs:
        return
    samples = {sample.path: sample for sample in browsed.data.samples}
    pictures = []
    for pair in browsed.pairs[:MOST_PAIRS]:
        one, other = samples[pair.one], samples[pair.other]
        labels = list(dict.fromkeys(browsed.data.targets.in_words(sample.target, browsed.data.classes) for sample in (one, other)))
        sides = list(dict.fromkeys(sample.side or "" for sample in (one, other)))
        differ = [" and ".join(words) for words in (labels, sides) if len(words) > 1]
        said = "; ".join([f"{pair.correlation:.3f}", *differ])
        both = side_by_side(open_picture(pair.one, at_least=400), open_picture(pair.other, at_least=400))
        pictures.append(shown(both, f"{pair.one.name} and {pair.other.name}", said, 480))
    text = "Correlation of small grey copies; keep one of them, or keep both on one side of a split (--group)."
    note = f"{len(browsed.pairs) - MOST_PAIRS} more: --json lists them." if len(browsed.pairs) > MOST_PAIRS else ""
    yield Section("Nearly the same picture", text, pictures=tuple(pictures), note=note)


def _odd(browsed: Browsed) -> Iterator[Section]:
    if browsed.odd:
        pictures = tuple(thumbnail(odd.path, f"distance {odd.distance:.2f}") for odd in browsed.odd[: 2 * MOST_PAIRS])
        text = "Far from all others as the network sees them: a wrong file, another camera, or a rare case that more pictures would help."
        yield Section("Unlike the others", text, pictures=pictures)


def _findings(findings: Sequence[Finding]) -> Iterator[Section]:
    if findings:
        first = {finding.kind: finding for finding in reversed(findings)}
        rows = tuple((kind, str(count), first[kind].file, first[kind].reason) for kind, count in Counter(f.kind for f in findings).items())
        yield Section(
            "What the check found", table=Table("", ("kind", "how many", "such as", "reason"), rows), note="All of it: data check."
        )


def _sizes(data: Dataset) -> Iterator[Section]:
    sizes = [size for size in ahead(_size, [sample.path for sample in data.samples]) if size is not None]
    if sizes:
        counts = Counter(sizes)
        often = ", ".join(f"{width} x {height} ({count})" for (width, height), count in counts.most_common(3))
        text = f"{len(counts)} sizes; most often {often}." if len(counts) > 1 else f"All {often}."
        yield Section("Sizes", text, svg=size_plot(sizes) if len(counts) > 1 else "")


def _size(path: Path) -> tuple[int, int] | None:
    try:
        return picture_size(path)
    except PictureError:
        return None


def _classes(data: Dataset) -> Section:
    """Counts of classes, a column a side where there are sides."""
    sides = list(dict.fromkeys(sample.side or "all" for sample in data.samples))
    parts = [data.pick([index for index, sample in enumerate(data.samples) if (sample.side or "all") == side]) for side in sides]
    counts = [part.counts() for part in parts]
    rows = tuple((name, *(str(count.get(name, 0)) for count in counts)) for name in data.counts())
    return Section("Classes", table=Table("", (data.targets.counted[0], *(f"{data.targets.counted[1]}, {side}" for side in sides)), rows))


def _objects(data: Dataset) -> Iterator[Section]:
    """Boxes a picture, and how large they are beside it."""
    objects = [(sample, sample.target) for sample in data.samples if isinstance(sample.target, Objects)]
    if not objects:
        return
    yield Section("Objects in a picture", svg=histogram([float(len(target)) for _, target in objects], "objects", "pictures"))
    shares = []
    for sample, target in objects:
        size = _size(sample.path)
        if size is not None and len(target):
            wide, high = (target.boxes[:, 2:] - target.boxes[:, :2]).T
            shares += (100 * (wide * high / (size[0] * size[1])).sqrt()).tolist()
    if shares:
        plot = histogram(shares, "side of a box in % of the picture's", "boxes")
        yield Section("Sizes of objects", "Root of the area's share.", svg=plot)


def _examples(data: Dataset) -> Iterator[Section]:
    """A few pictures of every class, with their labels drawn where they have places."""
    of_class: dict[str, list[Sample]] = {}
    for sample in data.samples:
        for name in dict.fromkeys(data.targets.names(sample.target, data.classes) or ["all"]):
            of_class.setdefault(name, []).append(sample)
    pictures = []
    for name in sorted(of_class)[:MOST_CLASSES]:
        samples = of_class[name]
        for sample in samples[:: max(1, len(samples) // EXAMPLES)][:EXAMPLES]:
            picture = _drawn(sample, name)
            if picture is not None:
                pictures.append(picture)
    yield Section("Examples", pictures=tuple(pictures))


def _drawn(sample: Sample, caption: str) -> Picture | None:
    try:
        picture = open_picture(sample.path)
    except PictureError:
        return None
    boxes = sample.target.boxes if isinstance(sample.target, Objects) else None
    mask = sample.target.read() if isinstance(sample.target, Mask) else None
    return shown(outlined(View(picture, boxes, mask)), sample.path.name, caption, 480)

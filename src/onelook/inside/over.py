"""What data leads astray: where a head looks over many pictures, in groups of pictures alike, and whether that place alone decides.

After Lapuschkin et al. 2019, "Unmasking Clever Hans predictors and assessing what machines really learn" (spectral relevance analysis):
the maps of ``explain`` are brought to one small size and grouped, claim by claim (k-means; as many groups as their silhouettes say).
Differs: of each group the place that its mean map names most is hidden in all its pictures. Where that changes many answers, and hiding as
much elsewhere does not, something that always lies there decides: a watermark, a stamp, a border, a hand, or an object that is always in
the middle.

    onelook explain mine.onelook --over photos/ --head kind --report page/
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from onelook.errors import DataError, PictureError
from onelook.facts import Facts
from onelook.inside.asked import Asked, ask
from onelook.inside.saliency import hirescam, speaking_for
from onelook.inside.trust import blurred
from onelook.model import Model
from onelook.progress import QUIET, Progress

GRID = 14  # cells of a map's side when maps are compared
HIDDEN = 5  # cells of the hidden square's side
MOST, LEAST = 200, 6  # pictures that are looked at; pictures of a claim that are worth groups
GROUPS = (2, 3, 4)
CLEAR = 0.25  # silhouette from which groups are believed
ELSEWHERE = 8  # other places that are hidden for comparison
GROUP_HEADER = ("answer", "pictures", "where most lies", "times even", "answers change if it is hidden", "if other places are")
CORNERS = (("top", "middle", "bottom"), ("left", "middle", "right"))


@dataclass(frozen=True, eq=False)
class Group:
    """Pictures of one claim whose maps are alike. ``mean`` (GRID, GRID): their mean map, 1 in all.

    ``place``: the square that it names most, xyxy as shares of the picture; ``steady``: how many times as much lies there as if maps were
    even; ``changed``: the share of answers that change if it is hidden; ``changed_elsewhere``: if as much is hidden at other places.
    """

    claim: str
    paths: tuple[Path, ...]
    mean: Tensor
    place: tuple[float, float, float, float]
    steady: float
    changed: float
    changed_elsewhere: float

    @property
    def where(self) -> str:
        """In words: bottom right, say."""
        x, y = (self.place[0] + self.place[2]) / 2, (self.place[1] + self.place[3]) / 2
        down, across = (names[min(2, int(3 * share))] for names, share in zip(CORNERS, (y, x), strict=True))
        return "middle" if down == across == "middle" else " ".join(part for part in (down, across) if part != "middle")

    @property
    def suspicious(self) -> bool:
        """Whether one place decides: hiding it changes at least a fifth of the answers, and thrice as many as hiding others."""
        return self.changed >= 0.2 and self.changed >= 3 * self.changed_elsewhere

    def row(self) -> list[str]:
        """In words: answer, pictures, where, how steadily, answers that change if that is hidden, if others are."""
        shares = (f"{self.changed:.0%}", f"{self.changed_elsewhere:.0%}")
        return [self.claim, str(len(self.paths)), self.where, f"{self.steady:.1f}", *shares]

    def to_json(self) -> Facts:
        return {
            "claim": self.claim, "pictures": [str(path) for path in self.paths], "where": self.where, "place": list(self.place),
            "steady": self.steady, "changed": self.changed, "changed_elsewhere": self.changed_elsewhere, "suspicious": self.suspicious,
        }  # fmt: skip


def explain_over(model: Model, name: str, paths: Sequence[Path], *, seed: int = 0, progress: Progress = QUIET) -> list[Group]:
    """Where head ``name`` looks in pictures (of many, MOST drawn), in groups, the most suspicious first. Raises HeadError, DataError."""
    chosen = list(paths)
    if len(chosen) > MOST:
        chosen = [chosen[index] for index in sorted(np.random.default_rng(seed).choice(len(chosen), MOST, replace=False))]
    maps: dict[str, list[Tensor]] = {}
    asked: dict[str, list[Path]] = {}
    with progress.task("asking", len(chosen)) as advance:
        for path in chosen:
            advance()
            try:
                question = ask(model, name, path)
            except PictureError:
                continue
            claim = question.claim.name
            maps.setdefault(claim, []).append(_small(question, speaking_for(hirescam(question, question.layer), question.x)))
            asked.setdefault(claim, []).append(path)
    if not maps:
        raise DataError(f"none of {len(chosen)} pictures can be read")
    groups = []
    with progress.task("hiding", len(maps)) as advance:
        for claim, each in maps.items():
            advance()
            for mine in _grouped(torch.stack(each), seed):
                groups.append(
                    _group(model, name, claim, [asked[claim][index] for index in mine], torch.stack([each[index] for index in mine]))
                )
    return sorted(groups, key=lambda group: (group.changed_elsewhere - group.changed, -len(group.paths)))


def _small(asked: Asked, values: Tensor) -> Tensor:
    """A map over the picture at one small size, whatever the picture's shape: (GRID, GRID), 1 in all."""
    wide, high = asked.pixels.placement.content
    shown = values[None, None, :high, :wide].float()
    small = functional.interpolate(shown, size=(GRID, GRID), mode="area")[0, 0]
    return small / small.sum().clamp_min(1e-12)


def _grouped(maps: Tensor, seed: int) -> list[list[int]]:
    """Numbers of maps (n, GRID, GRID) in groups: as many as the silhouettes say, one where none is clear."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    everything = [list(range(len(maps)))]
    if len(maps) < LEAST:
        return everything
    smooth = functional.avg_pool2d(maps[:, None], 3, 1, 1)[:, 0].flatten(1).sqrt().numpy()
    best, found = CLEAR, everything
    for count in (count for count in GROUPS if count < len(maps)):
        labels = KMeans(count, n_init=4, random_state=seed).fit_predict(smooth)
        if len(set(labels.tolist())) == count:
            score = float(silhouette_score(smooth, labels))
            if score > best:
                best, found = score, [np.flatnonzero(labels == label).tolist() for label in range(count)]
    return found


def _group(model: Model, name: str, claim: str, paths: Sequence[Path], maps: Tensor) -> Group:
    mean = maps.mean(0)
    sums = functional.avg_pool2d(mean[None, None], HIDDEN, 1)[0, 0] * HIDDEN**2
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    draw = np.random.default_rng(0)
    others = [tuple(draw.integers(0, GRID - HIDDEN + 1, 2).tolist()) for _ in range(4 * ELSEWHERE)]
    others = [place for place in others if max(abs(place[0] - row), abs(place[1] - column)) >= HIDDEN][:ELSEWHERE]
    changes = np.array([_changes(ask(model, name, path), [(row, column), *others]) for path in paths], dtype=float)
    place = (column / GRID, row / GRID, (column + HIDDEN) / GRID, (row + HIDDEN) / GRID)
    steady = float(sums.max()) * GRID**2 / HIDDEN**2
    return Group(claim, tuple(paths), mean, place, steady, float(changes[:, 0].mean()), float(changes[:, 1:].mean()))


def _changes(asked: Asked, places: Sequence[tuple[int, int]]) -> list[bool]:
    """Whether it is no longer the answer if each of some squares of cells is hidden."""
    wide, high = asked.pixels.placement.content
    cloud = blurred(asked.x)
    hidden = []
    for row, column in places:
        changed = asked.x.clone()
        top, bottom = row * high // GRID, -(-(row + HIDDEN) * high // GRID)
        left, right = column * wide // GRID, -(-(column + HIDDEN) * wide // GRID)
        changed[:, :, top:bottom, left:right] = cloud[:, :, top:bottom, left:right]
        hidden.append(changed)
    before, none, after = float(asked.quick(asked.x)), float(asked.quick(cloud)), asked.quick(torch.cat(hidden))
    limit = 0.0 if none < 0 < before else (before + none) / 2  # log odds of 0; of values and distances half of what the contents say
    return [bool(value < limit) for value in after]

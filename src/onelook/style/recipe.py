"""What can be said of a painting before it is made, and the sum of losses that follows from it.

python -c "from onelook.style.recipe import Recipe; from onelook.style.networks import load_network; print(Recipe().terms(load_network()))"
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypeVar

from PIL import Image

from onelook.backbones.weights import DEFAULT_BACKBONE
from onelook.errors import OnelookError
from onelook.style.colour import COLOURS
from onelook.style.losses import Content, Loss, Style, Sum, Term, TotalVariation, Wasserstein
from onelook.style.networks import StyleNetwork
from onelook.style.optimizers import OPTIMIZERS

SIZE, STEPS = 512, 100  # pixels of the longer side; steps at every size
STRENGTH, CONTENT, SMOOTH = 0.7, 0.05, 0.5  # the usual strength, the weight of content there (that of style is 1), and of total variation
Name = TypeVar("Name", str, int)
MEASURES: dict[str, type[Loss]] = {"gram": Style, "wasserstein": Wasserstein}
INITS = ("content", "style", "noise", "instant")  # what is begun with
CHOICES = {"init": INITS, "colour": COLOURS, "measure": tuple(MEASURES), "optimizer": tuple(OPTIMIZERS)}
OPTIONS = {"colour": "color", "measure": "loss", "masks": "where", "weights_file": "weights"}  # of the command line, where they differ


@dataclass(frozen=True)
class Recipe:
    """How to paint.

    ``size``: pixels of the longer side (default: 512, or the photo's own if that is less). ``steps``: of all sizes together
    (default: 100 each). ``strength``: 0 the photo, 1 style alone; or ``alpha`` and ``beta``, weights of the paper's own losses.
    ``blend``: weights of several styles. ``masks``: where the first styles belong, one each; the other styles get the rest, and
    without others the rest stays the photo. ``colour``: "keep" paints brightness only, "match" gives the painting the photo's
    colours first. ``content_layers``, ``style_layers``: layers with weights, empty for the network's usual ones. ``smooth``: weight
    of total variation. ``rate``: see ``onelook.style.optimizers``. ``tiles``: pixels of a tile's side (default: as memory allows).
    """

    size: int | None = None
    steps: int | None = None
    strength: float = STRENGTH
    alpha: float | None = None
    beta: float | None = None
    network: str = DEFAULT_BACKBONE
    weights_file: Path | None = None
    init: str = "content"
    colour: str = "style"
    blend: Sequence[float] = ()
    masks: Sequence[Image.Image] = ()
    content_layers: Mapping[str, float] = field(default_factory=dict)
    style_layers: Mapping[str, float] = field(default_factory=dict)
    measure: str = "gram"
    smooth: float | None = None
    optimizer: str = "adam"
    rate: float | None = None
    tiles: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise OnelookError(f"{option_of(name)} {getattr(self, name)}: use {', '.join(known)}")
        if self.steps is not None and self.steps < 1:
            raise OnelookError(f"--steps {self.steps}: use 1 or more")
        if (self.alpha is None) != (self.beta is None):
            raise OnelookError("--alpha and --beta go together; or use --strength")
        if not 0 <= self.strength <= 1:
            raise OnelookError(f"--strength {self.strength:g}: use 0 (the photo) to 1 (style alone)")

    def terms(self, network: StyleNetwork) -> Term:
        """The sum of losses for a network. Raises OnelookError for weights, HeadError for a layer that cannot be."""
        network.check([*self.content_layers, *self.style_layers])
        relative = self.alpha is None
        alpha, beta = _ratio(self.strength) if self.alpha is None or self.beta is None else (self.alpha, self.beta)
        smooth = (SMOOTH if relative else 0.0) if self.smooth is None else self.smooth
        content = shares(self.content_layers or dict.fromkeys(network.facts.content, 1.0))
        style = shares(self.style_layers or network.facts.style)
        found: list[tuple[float, Loss]] = [(alpha * weight, Content(layer, relative)) for layer, weight in content.items()]
        found += [(beta * weight, MEASURES[self.measure](layer, relative)) for layer, weight in style.items()]
        return Sum(tuple((weight, loss) for weight, loss in [*found, (smooth, TotalVariation())] if weight))

    def idle(self, read: Collection[str]) -> list[str]:
        """The options that were given and are not among those ``read``."""
        usual = Recipe()
        return [option_of(one.name) for one in fields(self) if one.name not in read and getattr(self, one.name) != getattr(usual, one.name)]

    def mixed(self, paintings: Sequence[Image.Image]) -> list[tuple[float, Image.Image]]:
        """Paintings with weights that add up to 1. Raises OnelookError for weights that are not one each."""
        if self.blend and len(self.blend) != len(paintings):
            raise OnelookError(f"--blend {','.join(f'{weight:g}' for weight in self.blend)}: give {len(paintings)} weights, one a painting")
        return [(weight, paintings[place]) for place, weight in shares(dict(enumerate(self.blend or [1.0] * len(paintings)))).items()]


def option_of(name: str) -> str:
    """The option of the command line that a field of a recipe is."""
    return "--" + OPTIONS.get(name, name).replace("_", "-")


def _ratio(strength: float) -> tuple[float, float]:
    """Weights of content and style."""
    factor = CONTENT * STRENGTH / (1 - STRENGTH)
    return factor * (1 - strength) / max(strength, 0.01), float(strength > 0)


def shares(weights: Mapping[Name, float]) -> dict[Name, float]:
    """Weights that add up to 1, by the same names. Raises OnelookError where they cannot."""
    total = sum(weights.values())
    if total <= 0 or min(weights.values()) < 0:
        raise OnelookError(f"weights {', '.join(f'{value:g}' for value in weights.values())}: use numbers of 0 or more, not all 0")
    return {name: value / total for name, value in weights.items()}

"""Why a head says what it says: a map over the picture of what speaks for it (``saliency.py``), and whether to trust it (``trust.py``).

Of any head's claim: a class, a value, a box, a region of a mask, a key point, a match of two pictures.

    onelook explain mine.onelook photo.jpg --head kind --out map.png
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from torch import Tensor

from onelook.errors import HeadError
from onelook.facts import Facts
from onelook.geometry.placement import Placement
from onelook.inside.asked import Asked, ask
from onelook.inside.saliency import METHODS, Method, speaking_for
from onelook.inside.trust import Trust, trust_in
from onelook.model import Model


@dataclass(frozen=True, eq=False)
class Explanation:
    """``values`` (height, width): over the input's part that shows the picture, what speaks for the claim, 0 to 1.

    ``seconds``: of the map alone. ``place``: where the claim lies, xyxy in the input's pixels, if anywhere.
    """

    path: Path
    head: str
    answer: str
    claim: str
    method: Method
    layer: str
    values: Tensor
    placement: Placement
    seconds: float
    place: tuple[float, float, float, float] | None
    trust: Trust | None

    def to_json(self) -> Facts:
        found: Facts = {
            "path": str(self.path), "head": self.head, "answer": self.answer, "claim": self.claim, "method": self.method,
            "layer": self.layer, "seconds": self.seconds,
        }  # fmt: skip
        if self.trust is not None:
            found |= {"randomised_changes": self.trust.randomised_changes, "depends_on_weights": self.trust.depends_on_weights}
            for name, curves in (("", self.trust.own), ("random_", self.trust.random), ("centre_", self.trust.centre)):
                both = (curves.deletion, curves.insertion) if curves else (None, None)
                found |= dict(zip((f"{name}deletion", f"{name}insertion"), both, strict=True))
        return found


def explain(
    model: Model, name: str, path: Path | str, *, method: Method | Literal["auto"] = "auto", layer: str | None = None,
    about: str | None = None, other: Path | str | None = None, trust: bool = True,
) -> Explanation:  # fmt: skip
    """Why head ``name`` says of a picture what it says above all, or what it says of ``about``, a class or a point.

    ``other``: the picture that it is compared with, of heads that compare two. ``layer``: the stage whose maps are read. Raises HeadError,
    PictureError.
    """
    asked = ask(model, name, Path(path), about, None if other is None else Path(other))
    chosen = _chosen(asked, method)
    stride = _stride(asked, layer)

    def saliency(question: Asked) -> Tensor:
        return METHODS[chosen](question, stride).detach()

    begun = time.perf_counter()
    values = saliency(asked)
    seconds = time.perf_counter() - begun
    where = f"stride{stride}" if chosen in ("hirescam", "gradcam") else "pixels"
    found = trust_in(values, asked, saliency) if trust else None
    place = asked.claim.place
    shown = _over_picture(speaking_for(values, asked.x), asked.pixels.placement)
    return Explanation(
        Path(path), name, asked.answer, asked.claim.words, chosen, where, shown, asked.pixels.placement, seconds, place, found
    )


def _chosen(asked: Asked, method: str) -> Method:
    if method == "auto":
        return "occlusion" if len(list(asked.way.head.tails)) > 1 else "hirescam"
    if method not in get_args(Method):
        raise HeadError(f"--method {method}: there is auto, {', '.join(get_args(Method))}")
    return method  # type: ignore[return-value]


def _stride(asked: Asked, layer: str | None) -> int:
    names = {f"stride{stride}": stride for stride in asked.way.backbone.strides}
    if layer is not None and layer not in names:
        raise HeadError(f"--layer {layer}: there is no such stage; there are {', '.join(names)}")
    return names[layer] if layer is not None else asked.layer


def _over_picture(values: Tensor, placement: Placement) -> Tensor:
    """The part that shows the picture, 0 to 1."""
    shown = values[: placement.content[1], : placement.content[0]].detach()
    return shown / shown.max().clamp_min(1e-12)

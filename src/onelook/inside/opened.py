"""The network that is looked into: a known one by its name, or one of a model file, as all its heads share it or as one of them made it.

onelook patches mine.onelook:kind photos/ --layer stride8
"""

from pathlib import Path

from onelook.errors import HeadError
from onelook.heads.tail import Tail
from onelook.model import Model

SUFFIX = ".onelook"


def open_network(text: str, weights: Path | None = None) -> tuple[Model, str | None]:
    """A model, and which of its heads is meant: NET, FILE.onelook (its only head, or none), or FILE.onelook:HEAD. Raises OnelookErrors."""
    file, colon, head = text.rpartition(f"{SUFFIX}:")
    if colon:
        model = Model.load(file + SUFFIX, weights=weights)
        model.head(head)
        return model, head
    if not text.endswith(SUFFIX):
        return Model.new(text, weights=weights), None
    model = Model.load(text, weights=weights)
    return model, next(iter(model.heads)) if len(model.heads) == 1 else None


def network_of(model: Model, head: str | None) -> Model:
    """A model without heads of the network that ``head`` reads, with its own fine-tuned stages, looking as it does; None: the shared one.

    Raises HeadError for a head that averages several networks.
    """
    if head is None:
        return model
    tails = [tail for tail in model.head(head).tails if isinstance(tail, Tail)]
    if len(tails) > 1:
        raise HeadError(f"{head}: {len(tails)} networks are averaged, none of which is the head's; look into the shared one")
    backbone = tails[0].network(model.backbone) if tails else model.backbone
    return Model(backbone, model.geometry_of(head), cache=model.cache_root, device=model.device)

"""onelook: one look, every answer.

A pretrained CNN looks at a picture once; as many small heads as you like answer from that one look.

    import onelook
    model = onelook.load("cells.onelook")
    for answers in model.predict(["a.png", "b.png"]):
        print(answers.path, answers["defect"].label)

Importing this package loads no torch: the public names below are fetched when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onelook.answers.answer import rows as rows
    from onelook.backbones.backbone import Backbone as Backbone
    from onelook.geometry.placement import Geometry as Geometry
    from onelook.looks.cache import FeatureCache as FeatureCache
    from onelook.looks.features import Look as Look
    from onelook.looks.features import Needs as Needs
    from onelook.model import Model as Model
    from onelook.model import load as load
    from onelook.workflows.data import read as read
    from onelook.workflows.train import train as train

__version__ = "0.1.0"

_HOME = {
    "Backbone": "onelook.backbones.backbone",
    "FeatureCache": "onelook.looks.cache",
    "Geometry": "onelook.geometry.placement",
    "Look": "onelook.looks.features",
    "Model": "onelook.model",
    "Needs": "onelook.looks.features",
    "load": "onelook.model",
    "read": "onelook.workflows.data",
    "rows": "onelook.answers.answer",
    "train": "onelook.workflows.train",
}
__all__ = ["Backbone", "FeatureCache", "Geometry", "Look", "Model", "Needs", "__version__", "load", "read", "rows", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'onelook' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__

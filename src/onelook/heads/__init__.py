"""Heads: one file a method. Adding one costs its file, its test, and its line in HEADS.

Methods of other packages are known too: named by the entry point group ``onelook.heads``, or given to ``register``.
``tests/contract/test_heads.py`` holds every entry to what ``onelook.heads.base`` says.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from onelook.errors import HeadError
from onelook.heads.base import AnyHead
from onelook.heads.options import options_of

GROUP = "onelook.heads"


class Heads(Mapping[str, type[AnyHead]]):
    """Method -> its class, imported when it is first asked for, so that a command loads only what it uses."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)
        self._classes: dict[str, type[AnyHead]] = {}
        self._looked_outside = False

    def __getitem__(self, method: str) -> type[AnyHead]:
        if method not in self._classes and method not in self._places:
            self._look_outside()
        if method not in self._classes:
            module, name = self._places[method].split(":")
            self._classes[method] = getattr(import_module(module), name)
        return self._classes[method]

    def __iter__(self) -> Iterator[str]:
        self._look_outside()
        return iter(dict.fromkeys([*self._places, *self._classes]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def register(self, head: type[AnyHead]) -> type[AnyHead]:
        """Make a class of another package a method. Raises HeadError if its name is taken by another class."""
        if head.method in self._places or self._classes.get(head.method, head) is not head:
            raise HeadError(f"a method {head.method!r} is there already; give {head.__name__} another name")
        self._classes[head.method] = head
        return head

    @property
    def own(self) -> frozenset[str]:
        """The methods that are known without asking other packages."""
        return frozenset(self._places) | frozenset(self._classes)

    def _look_outside(self) -> None:
        if not self._looked_outside:
            self._looked_outside = True
            for entry in entry_points(group=GROUP):
                self._places.setdefault(entry.name, entry.value)


HEADS = Heads(
    {  # method -> where its class stands; of each task the usual method first
        "classify": "onelook.heads.classify:Classify",
        "regress": "onelook.heads.regress:Regress",
        "localize": "onelook.heads.localize:Localize",
        "heatmap": "onelook.heads.heatmap:HeatMap",
        "deeppose": "onelook.heads.deeppose:DeepPose",
        "fcos": "onelook.heads.fcos:Fcos",
        "yolo": "onelook.heads.yolo:Yolo",
        "faster_rcnn": "onelook.heads.faster_rcnn:FasterRcnn",
        "fast_rcnn": "onelook.heads.fast_rcnn:FastRcnn",
        "sppnet": "onelook.heads.fast_rcnn:SppNet",
        "rcnn": "onelook.heads.rcnn:Rcnn",
        "overfeat": "onelook.heads.overfeat:OverFeat",
        "windows": "onelook.heads.rcnn:Windows",
        "embed": "onelook.heads.embed:Embed",
        "pair": "onelook.heads.pair:Pair",
        "unet": "onelook.heads.unet:UNet",
        "unet2015": "onelook.heads.unet2015:FromPixels",
    }
)
register = HEADS.register


def tasks() -> dict[str, tuple[str, ...]]:
    """Task -> its methods, the usual one first."""
    found: dict[str, tuple[str, ...]] = {}
    for method, head in HEADS.items():
        found[head.task] = (*found.get(head.task, ()), method)
    return found


def methods_of(task: str) -> tuple[str, ...]:
    """The methods of a task, the usual one first. Raises HeadError naming the tasks there are."""
    known = tasks()
    if task not in known:
        raise HeadError(f"task {task!r} is unknown; use one of {', '.join(known)}")
    return known[task]


def kinds_of(task: str) -> tuple[str, ...]:
    """The kinds of targets that a task's methods learn from. Raises HeadError for an unknown task."""
    if task in HEADS.own and HEADS[task].task == task:  # named like its usual method: no need to load all
        return HEADS[task].learns_from
    return tuple(dict.fromkeys(kind for method in methods_of(task) for kind in HEADS[method].learns_from))


def find_head(head: "str | type[AnyHead]", method: str | None = None) -> type[AnyHead]:
    """The class that is meant: a class, a method, or a task (its usual method, or ``method`` of it).

    A class from elsewhere is registered. Raises HeadError with the names there are.
    """
    if not isinstance(head, str):
        return register(head) if HEADS.get(head.method) is not head else head
    if method is None:
        if head in HEADS:
            return HEADS[head]
        return HEADS[methods_of(head)[0]]
    known = methods_of(head)
    if method not in known:
        raise HeadError(f"--method {method}: is no way to {head}; use one of {', '.join(known)}")
    return HEADS[method]


def make_options(head: type[AnyHead], given: Mapping[str, object]) -> Any:
    """``head.Options`` from the options that were given. Raises HeadError for one that it does not have, naming the methods that do."""
    own = {option.name: option for option in options_of(head.Options)}
    for name in given:
        if name not in own:
            having = [method for method, other in HEADS.items() if name in {option.name for option in options_of(other.Options)}]
            where = f"it is an option of {', '.join(having)}" if having else f"{head.method} has {', '.join(own) or 'no options'}"
            raise HeadError(f"--{name}: {head.method} has no such option; {where}")
    return head.Options(**{name: own[name].checked(value) for name, value in given.items()})


__all__ = ["HEADS", "find_head", "kinds_of", "make_options", "methods_of", "register", "tasks"]

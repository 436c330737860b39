"""A method's own options: a frozen dataclass of its head, from which the command line, ``fit`` and the record in the file are derived.

@dataclass(frozen=True)
class Options:
    loss: Literal["ce", "focal"] = option("ce", "What is minimised.")
"""

import math
from dataclasses import Field, dataclass, field, fields
from typing import Literal, TypeVar, get_args, get_origin, get_type_hints

from onelook.errors import HeadError

Value = TypeVar("Value")


@dataclass(frozen=True)
class NoOptions:
    """The options of a method that has none."""


@dataclass(frozen=True)
class Option:
    """One option: its name, its type (bool, int, float or str), what it may be, its default, what it does."""

    name: str
    kind: type
    default: object
    help: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    def checked(self, value: object) -> object:
        """The value, if it is one. Raises HeadError with what it may be."""
        whole = self.kind in (int, float) and isinstance(value, int) and not isinstance(value, bool)
        if not (isinstance(value, self.kind) or whole):
            raise HeadError(f"--{self.name} {value}: is no {self.kind.__name__}")
        if self.choices and value not in self.choices:
            raise HeadError(f"--{self.name} {value}: use one of {', '.join(self.choices)}")
        low, high = -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high
        if isinstance(value, int | float) and not low <= value <= high:
            raise HeadError(f"--{self.name} {value}: use {self.low:g} to {self.high:g}")
        return value


def option(default: Value, help: str, *, low: float | None = None, high: float | None = None) -> Value:
    """A field of an options dataclass. ``help``: a sentence for the command line; ``low``, ``high``: bounds of a number, included."""
    found: Value = field(default=default, metadata={"help": help, "low": low, "high": high})
    return found


def options_of(cls: type) -> tuple[Option, ...]:
    """What an options dataclass offers, in its order."""
    hints = get_type_hints(cls)
    return tuple(_described(entry, hints[entry.name]) for entry in fields(cls))


def _described(entry: "Field[object]", hint: type) -> Option:
    choices = tuple(get_args(hint)) if get_origin(hint) is Literal else ()
    kind = str if choices else hint
    facts = entry.metadata
    return Option(entry.name, kind, entry.default, facts["help"], choices, facts["low"], facts["high"])

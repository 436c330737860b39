"""The options of all heads on a command line, derived from what the heads state; each in a panel of the methods that have it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Optional

import typer

from onelook.heads.options import Option, options_of


@dataclass(frozen=True)
class Offered:
    """One option on the command line: what each of the methods that have it says of it."""

    name: str
    of: dict[str, Option]

    @property
    def panel(self) -> str:
        """The title of the panel in which it stands."""
        return "Options of " + ", ".join(self.of)

    def annotation(self) -> object:
        """Its type and its text, as typer reads them."""
        first = next(iter(self.of.values()))
        sayings: dict[str, list[str]] = {}
        for method, option in self.of.items():
            choices = f" ({'|'.join(option.choices)})" if option.choices else ""
            default = "" if option.kind is bool else f" Default: {option.default}."
            sayings.setdefault(f"{option.help}{choices and choices}{default}", []).append(method)
        text = " ".join(said if len(sayings) == 1 else f"{', '.join(methods)}: {said}" for said, methods in sayings.items())
        metavar = "WORD" if first.choices else None
        declared = typer.Option(f"--{self.name.replace('_', '-')}", help=text, metavar=metavar, rich_help_panel=self.panel)
        return Annotated[Optional[first.kind], declared]  # noqa: UP045 (the type is a value here)


def offered() -> list[Offered]:
    """Every option of every head, by its name."""
    from onelook.heads import HEADS

    found: dict[str, dict[str, Option]] = {}
    for method, head in HEADS.items():
        for option in options_of(head.Options):
            found.setdefault(option.name, {})[method] = option
    return [Offered(name, of) for name, of in found.items()]


def with_head_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes the options of all heads too, and hands those that were given to ``command`` as keyword arguments."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    more = offered()
    added = [inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=one.annotation()) for one in more]
    names = {one.name for one in more}

    def whole(**arguments: object) -> None:
        given = {name: value for name, value in arguments.items() if name in names and value is not None}
        command(**{name: value for name, value in arguments.items() if name not in names}, **given)

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + added
    whole.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    whole.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    whole.__doc__, whole.__name__ = command.__doc__, command.__name__
    return whole

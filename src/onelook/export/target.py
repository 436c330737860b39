"""What every target does: writes a graph as a file, and asks the file as a user would, with the runtime's own settings."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor

from onelook.errors import OnelookError
from onelook.export.graph import Graph
from onelook.facts import Facts

Ask = Callable[[np.ndarray], Mapping[str, np.ndarray]]  # pixels (B, h, w, 3) uint8 -> answers by their names


class Target(ABC):
    """One format. ``name``: of ``--to``; ``suffix``: of its file; ``packages``: what writes and runs it, from the ``extra``.

    ``one_shape``: whether all pictures must have one shape; ``one_picture``: whether they are asked about one by one; ``suppresses``:
    whether it can suppress boxes.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    one_shape: ClassVar[bool] = False
    one_picture: ClassVar[bool] = False
    suppresses: ClassVar[bool] = True

    def check_installed(self) -> None:
        """Raise OnelookError naming the extra where a package is missing; nothing is ever installed here."""
        missing = [package for package in self.packages if find_spec(package) is None]
        if missing:
            raise OnelookError(f"--to {self.name}: {', '.join(missing)} is not installed; pip install 'onelook[{self.extra}]'")

    @contextmanager
    def theirs(self) -> Iterator[None]:
        """What the format's own packages raise becomes an OnelookError that names the format."""
        try:
            yield
        except (OnelookError, OSError):
            raise
        except Exception as error:  # their errors have no common kind
            said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
            raise OnelookError(f"--to {self.name}: it cannot hold these heads ({said}); others with --heads, or another format") from error

    @abstractmethod
    def write(self, graph: Graph, example: Tensor, facts: Facts, path: Path) -> None:
        """Write the graph, as it is traced with ``example``, and the facts."""

    @abstractmethod
    def open(self, path: Path) -> Ask:
        """The file, ready to be asked."""

    def files(self, path: Path) -> list[Path]:
        """All files that ``write`` makes of a path."""
        return [path]


def words(facts: Facts) -> str:
    """Facts as they stand in a file."""
    return json.dumps(facts, ensure_ascii=False)

"""A painting that waits to be gone on with: the optimizer's numbers in a file beside it, written whole or not at all.

onelook style photo.jpg painting.jpg --out painted.png --resume
"""

import json
import time
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save

from onelook.errors import UnreadableError
from onelook.files import read_tensors, write_atomically
from onelook.style.painter import Painter, State

EVERY = 30.0  # seconds between two savings


class Unfinished:
    """The file ``path`` of the painting with this ``key``; None: nothing is kept."""

    def __init__(self, path: Path | None, key: str) -> None:
        self.path, self.key, self._last = path, key, time.monotonic()

    def load(self, painter: Painter) -> bool:
        """Let a painter go on from it; whether there was one. Raises UnreadableError for a file of another painting."""
        if self.path is None or not self.path.is_file():
            return False
        try:
            metadata, tensors = read_tensors(self.path)
            facts = json.loads(metadata["style"])
            key, state = facts["key"], State(int(facts["stage"]), int(facts["made"]), tensors)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise UnreadableError(f"{self.path}: not an unfinished painting ({error}); delete it") from error
        if key != self.key:
            raise UnreadableError(f"{self.path}: an unfinished painting with other pictures or options; give the same, or delete it")
        painter.state = state
        return True

    def save(self, painter: Painter, now: bool = False) -> list[str]:
        """Write it, twice a minute at most, or ``now``; says why it could not be written: the painting itself matters more."""
        if self.path is None or not (now or time.monotonic() - self._last > EVERY):
            return []
        self._last = time.monotonic()
        facts = {"key": self.key, "stage": painter.state.stage, "made": painter.state.made}
        content = save({name: value.contiguous() for name, value in painter.state.tensors.items()}, {"style": json.dumps(facts)})
        try:
            write_atomically(self.path, content)
        except OSError as error:
            return [f"{self.path}: cannot be written ({error.strerror}); the painting cannot be gone on with"]
        return []

    def forget(self) -> None:
        """Delete the file: the painting is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

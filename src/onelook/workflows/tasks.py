"""Which task a data set is for, read off what it holds.

python -c "from onelook.workflows.tasks import guess_task; print(guess_task('photos/'))"
"""

from dataclasses import dataclass
from pathlib import Path

from onelook.data.kinds import KINDS, Masks
from onelook.data.readers import expected, kinds_in
from onelook.errors import DataError, UnreadableError
from onelook.heads import HEADS, tasks


@dataclass(frozen=True)
class Guess:
    """The likeliest task of a data set, and the others that its labels allow."""

    task: str
    others: tuple[str, ...]
    said: str

    def in_words(self) -> str:
        """What was read off the data, and how to choose otherwise."""
        others = f"; also possible: {', '.join(f'--task {task}' for task in self.others)}" if self.others else ""
        return f"these are {self.said}: --task {self.task}{others}"


def guess_task(source: Path | str, masks: Path | str | None = None) -> Guess:
    """The task for what a source holds, or for its pictures with ``masks``.

    Raises DataError where it holds nothing that can be learned from, UnreadableError."""
    source = Path(source)
    if not source.exists():
        raise UnreadableError(f"{source}: no such folder or table")
    kinds = kinds_in(source) if masks is None else (Masks.name,)
    if not kinds:
        raise DataError(f"{source}: no labelled pictures are recognised here; expected {', '.join(expected())}")
    found = [(task, kind) for kind in kinds for task, methods in tasks().items() if kind in HEADS[methods[0]].learns_from]
    order = dict.fromkeys(task for task, _ in sorted(found, key=lambda entry: HEADS[tasks()[entry[0]][0]].named_only))
    task, *others = order
    kind = next(kind for named, kind in found if named == task)
    return Guess(task, tuple(others), KINDS[kind].noun)

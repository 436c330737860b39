"""Which side of a split a name means, by the names that people use; one rule for every reader.

A name's words count, not its letters: ``instances_train2017``, ``Training``, ``test_set`` and ``valid`` name sides; ``latest`` does not.
Of a path the innermost part that names a side decides: ``training_data/val.json`` is the validation side.

    python -c "from onelook.data.sides import side_word; print(side_word('instances_val2017'))"
"""

import re
from collections.abc import Iterable
from pathlib import PurePath

WORDS = {
    "train": ("train", "training", "trn", "trainval", "learn"),
    "val": ("val", "valid", "validation", "validate", "dev", "eval", "evaluation", "holdout"),
    "test": ("test", "testing", "tst"),
}
ALL_WORDS = frozenset(word for words in WORDS.values() for word in words)


def side_word(name: str) -> str | None:
    """train, val or test, where exactly one of them is among the words of a name."""
    words = {word.lower() for word in re.findall(r"[A-Za-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))}
    found = [side for side, known in WORDS.items() if words & set(known)]
    return found[0] if len(found) == 1 else None


def side_in(path: PurePath) -> str | None:
    """The side that a path (from the data's folder on) names: its innermost part that names one decides."""
    parts = [*path.parts[:-1], path.stem] if path.suffix else path.parts
    return next((side for part in reversed(parts) if (side := side_word(part))), None)


def used_sides(there: Iterable[str | None]) -> dict[str | None, str | None]:
    """What each side that was found is used for: "train", "val" (it only reports), or None (no side: there is no training side).

    Pictures of a side that is not a key are not used: a test side beside a validation side, and what has no side where others have one.
    """
    found = set(there)
    if "train" not in found:
        return dict.fromkeys(found, None)
    reporting = "val" if "val" in found else "test"
    used: dict[str | None, str | None] = {"train": "train"}
    return used | {reporting: "val"} if reporting in found else used


def left_out(counts: dict[str | None, int], used: dict[str | None, str | None], noun: str = "pictures") -> str:
    """What is on no side that is used, in words to follow what was found; nothing if all is used."""
    rest = {side: count for side, count in counts.items() if side not in used and count}
    named = [f"{count} {noun} {f'of {side}' if side else 'on no side'}" for side, count in rest.items()]
    return f"; not used: {', '.join(named)}" if named else ""

"""Which points of a body are joined in a drawing, by their names, where the data does not say it: the layouts that people use.

Names are read as words: ``left_shoulder``, ``Left shoulder``, ``l_shoulder`` and ``shoulder_L`` are one.

    python -c "from onelook.geometry.limbs import find_limbs; print(find_limbs(['left_knee', 'left_ankle']))"
"""

import re
from collections.abc import Sequence

SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
OF_A_SIDE = (
    ("shoulder", "elbow"), ("elbow", "wrist"), ("shoulder", "hip"), ("hip", "knee"), ("knee", "ankle"), ("eye", "ear"), ("ear", "shoulder"),
)  # fmt: skip
ACROSS = ("shoulder", "hip", "eye")  # joined with the one of the other side
IN_THE_MIDDLE = (("nose", "eye"), ("head top", "neck"), ("neck", "shoulder"), ("head", "neck"))


def find_limbs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Pairs of indices of points that are joined; none for points of anything but a body."""
    place = {_parts(name): index for index, name in enumerate(names)}
    wanted = [((side, one), (side, other)) for side in ("left", "right") for one, other in OF_A_SIDE]
    wanted += [(("left", one), ("right", one)) for one in ACROSS]
    wanted += [(("", one), (side, other)) for one, other in IN_THE_MIDDLE for side in ("", "left", "right")]
    return tuple((place[one], place[other]) for one, other in wanted if one in place and other in place)


def _parts(name: str) -> tuple[str, str]:
    """The side and the rest of a name."""
    words = [word.lower() for word in re.findall(r"[A-Za-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))]
    sides = [SIDES[word] for word in words if word in SIDES]
    return sides[0] if len(sides) == 1 else "", " ".join(word for word in words if word not in SIDES)

"""What pixels are, written as files that can be learned from again.

onelook predict photo.jpg --model pixels.onelook --masks masks/
"""

from pathlib import Path

from onelook.answers.answer import Answers
from onelook.answers.canvas import save_picture
from onelook.answers.segmentation import Segmentation
from onelook.data.readers.legend import write_legend
from onelook.errors import OnelookError


def save_masks(answers: Answers, folder: Path, path: Path) -> None:
    """Write what pixels are as index PNGs with a palette, one a head (named for it where there are several), and ``legend.csv``.

    Where objects were told apart, a 16-bit PNG in ``objects`` has the number of each.

    Raises OnelookError where no head says what pixels are.
    """
    found = {name: answer for name, answer in answers.answers.items() if isinstance(answer, Segmentation)}
    if not found:
        raise OnelookError(f"{answers.path}: no head here says what pixels are; leave --masks out")
    for name, answer in found.items():
        own = path if len(found) == 1 else path.with_name(f"{path.stem}_{name}.png")
        save_picture(answer.index_mask(), own)
        objects = answer.object_mask()
        if objects is not None:
            save_picture(objects, own.parent / "objects" / own.name)
        write_legend(folder / ("legend.csv" if len(found) == 1 else f"legend_{name}.csv"), answer.classes)

"""All answers to a picture drawn onto it, and what pixels are written as files.

onelook predict photo.jpg --draw drawn/
"""

import math
from pathlib import Path

from PIL import Image

from onelook.answers.answer import Answers
from onelook.answers.canvas import save_picture, with_caption, with_key
from onelook.answers.segmentation import Segmentation
from onelook.data.pictures import open_picture
from onelook.data.readers.legend import write_legend
from onelook.errors import OnelookError

SMALL, LARGE = 320, 4e7  # pixels of a side up to which pictures are enlarged, of all of them above which they are not


def draw_answers(answers: Answers) -> Image.Image:
    """The picture with one line per head in a band below it; small pictures are enlarged so that it can be read."""
    picture = open_picture(answers.path)
    grow = max(1, math.ceil(SMALL / max(picture.width, 1)))
    if grow > 1 and picture.width * grow * picture.height * grow < LARGE:
        picture = picture.resize((picture.width * grow, picture.height * grow), Image.Resampling.NEAREST)
    else:
        grow = 1
    for answer in answers.answers.values():
        picture = answer.draw(picture, grow)
    for name, answer in answers.answers.items():
        key = answer.key()
        picture = with_key(with_caption(picture, [f"{name}:"]), key) if key else with_caption(picture, [f"{name}: {answer}"])
    return picture


def save_masks(answers: Answers, folder: Path, path: Path) -> None:
    """Write what pixels are as index PNGs with a palette, one a head (named for it where there are several), and ``legend.csv``.

    Raises OnelookError where no head says what pixels are.
    """
    found = {name: answer for name, answer in answers.answers.items() if isinstance(answer, Segmentation)}
    if not found:
        raise OnelookError(f"{answers.path}: no head here says what pixels are; leave --masks out")
    for name, answer in found.items():
        save_picture(answer.index_mask(), path if len(found) == 1 else path.with_name(f"{path.stem}_{name}.png"))
        write_legend(folder / ("legend.csv" if len(found) == 1 else f"legend_{name}.csv"), answer.classes)

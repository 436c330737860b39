"""Pictures for a report on what pixels are: those told worst, the answer beside the truth."""

import torch
from PIL import Image

from onelook.answers import Segmentation
from onelook.data.pictures import open_picture
from onelook.draw import tint
from onelook.model import Evaluated, Model
from onelook.report.page import Picture, shown

COUNT, SIZE = 8, 560


def worst_pixels(model: Model, name: str, found: Evaluated, count: int = COUNT) -> tuple[Picture, ...]:
    """The pictures with the lowest mean IoU, worst first, looked at once more: what was said on the left, what is true on the right."""
    classes = model.head(name).classes
    order = [index for index in found.each.nan_to_num(2.0).argsort().tolist() if not bool(found.each[index].isnan())][:count]
    drawn = []
    for index, answers in zip(order, model.predict([found.paths[index] for index in order], heads=[name]), strict=True):
        if answers.error is not None:
            continue
        truth = found.targets[index].read()
        picture = open_picture(answers.path)
        both = Image.new("RGB", (2 * picture.width + 8, picture.height), "white")
        both.paste(tint(picture, answers[name]), (0, 0))
        both.paste(tint(picture, Segmentation(truth.numpy(), torch.zeros_like(truth).numpy(), classes)), (picture.width + 8, 0))
        drawn.append(shown(both, answers.path.name, f"mean IoU {float(found.each[index]):.2f}", SIZE))
    return tuple(drawn)

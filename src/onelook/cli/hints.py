"""What options of other tools are called here, for those who bring them along."""

from collections.abc import Sequence

HINTS = {
    "--imgsz": "the input size is --size here",
    "--img": "the input size is --size here",
    "--batch": "the batch is chosen by itself; for less memory, a smaller --size",
    "--batch-size": "the batch is chosen by itself; for less memory, a smaller --size",
    "--iou": "overlapping boxes are merged with what measured best; the lowest score of boxes is --conf",
    "--patience": "training ends by itself; its time is --budget 10m, its length --epochs",
    "--resume": "nothing is to be resumed; looks are kept, so the same command goes on where it was",
    "--workers": "the number of threads follows what the machine has to spare (ONELOOK_THREADS fixes it)",
    "--lr": "the learning rate is chosen by itself; what trains with which rate is printed",
    "--lr0": "the learning rate is chosen by itself; what trains with which rate is printed",
    "--data": "the data is the first argument: onelook train DATA",
    "--source": "pictures are the first arguments: onelook predict PICTURE",
    "--project": "the model file is named by --model, a page by --report",
}

OWN = {"style": ("--resume",)}  # what a command has under such a name


def hint(arguments: Sequence[str]) -> str:
    """One line for the first option of another tool among the arguments; empty if there is none, or a head has an option of this name."""
    words = [argument.split("=")[0] for argument in arguments if argument not in OWN.get(arguments[0], ())]
    word = next((word for word in words if word in HINTS), None)
    if word is None:
        return ""
    from onelook.cli.head_options import offered

    ours = {option.name.replace("_", "-") for option in offered()}
    return "" if word.removeprefix("--") in ours else f"{word}: {HINTS[word]}"

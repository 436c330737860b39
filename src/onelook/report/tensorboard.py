"""The same scalars for TensorBoard, for those who live in it (extra ``tensorboard``).

onelook train photos/ --name kind --model mine.onelook --tensorboard runs/board
tensorboard --logdir runs/board
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from onelook.errors import OnelookError
from onelook.facts import Facts
from onelook.training.loop import Step


def write_tensorboard(folder: Path, result: Facts, steps: Sequence[tuple[str, Step]], sheets: dict[str, Image.Image]) -> None:
    """Loss and learning rate by epoch, the metrics, the ladder's trials, and ``sheets`` of pictures by name. Raises OnelookError."""
    with _writer()(str(folder)) as board:
        for title, step in steps:
            board.add_scalar(f"loss/{title}", step.loss, step.epoch)
            board.add_scalar(f"learning rate/{title}", step.learning_rate, step.epoch)
        for name, value in result["metrics"].items():
            if isinstance(value, int | float):
                board.add_scalar(f"metrics/{name}", value, 0)
        trials = [trial for trial in (result["search"] or {"evidence": []})["evidence"] if trial["metric"] is not None]
        for number, trial in enumerate(trials):
            board.add_scalar("search/loss", trial["loss"], number)
            board.add_scalar("search/metric", trial["metric"], number)
        for name, sheet in sheets.items():
            board.add_image(name, np.asarray(sheet), dataformats="HWC")


def require_tensorboard() -> None:
    """Raise OnelookError, naming the extra, where TensorBoard is not installed: before anything is trained."""
    _writer()


def _writer() -> type:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise OnelookError('--tensorboard: it is not installed; run: pip install "onelook[tensorboard]"') from error
    return SummaryWriter

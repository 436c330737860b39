"""The same scalars for TensorBoard, for those who live in it (extra ``tensorboard``).

onelook train photos/ --name kind --model mine.onelook --tensorboard runs/board
tensorboard --logdir runs/board
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onelook.errors import OnelookError
from onelook.fit import Step


def write_tensorboard(folder: Path, result: dict[str, Any], steps: Sequence[tuple[str, Step]], sheets: dict[str, Image.Image]) -> None:
    """Loss and learning rate by epoch, the metrics, the ladder's rungs, and ``sheets`` of pictures by name. Raises OnelookError."""
    with _writer()(str(folder)) as board:
        for title, step in steps:
            board.add_scalar(f"loss/{title}", step.loss, step.epoch)
            board.add_scalar(f"learning rate/{title}", step.learning_rate, step.epoch)
        for name, value in result["metrics"].items():
            if isinstance(value, int | float):
                board.add_scalar(f"metrics/{name}", value, 0)
        climbed = [rung for rung in (result["ladder"] or {"evidence": []})["evidence"] if rung["metric"] is not None]
        for number, rung in enumerate(climbed):
            board.add_scalar("ladder/loss", rung["loss"], number)
            board.add_scalar("ladder/metric", rung["metric"], number)
        for name, sheet in sheets.items():
            board.add_image(name, np.asarray(sheet), dataformats="HWC")


def require_tensorboard() -> None:
    """Raise OnelookError, naming the extra, where TensorBoard is not installed: before anything is trained."""
    _writer()


def _writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise OnelookError('--tensorboard: it is not installed; run: pip install "onelook[tensorboard]"') from error
    return SummaryWriter

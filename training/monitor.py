"""Curves and pictures for TensorBoard: ``tensorboard --logdir runs``."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

__all__ = ["Monitor"]

log = logging.getLogger(__name__)


class Monitor:
    """Writes what TensorBoard shows, where it is wanted and TensorBoard is installed.

    Names are ``stage/value``, for example ``fusion/train_total``; steps are those of the whole run.

    Args:
        folder: Where the event files go.
        steps: Steps of the run that are done. What an earlier part of the run wrote of later ones is hidden.
        wanted: Whether to write anything.
    """

    def __init__(self, folder: Path, *, steps: int, wanted: bool) -> None:
        self._writer = None
        if not wanted:
            return
        if importlib.util.find_spec("tensorboard") is None:
            log.info("no curves: TensorBoard is not installed; pip install -r requirements/training.txt")
            return
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder, purge_step=steps + 1)

    @property
    def is_on(self) -> bool:
        """Whether anything is written."""
        return self._writer is not None

    def values(self, stage: str, values: Mapping[str, float], step: int) -> None:
        """Add a point to the curve of each value."""
        if self._writer:
            for name, value in values.items():
                self._writer.add_scalar(f"{stage}/{name}", value, step)

    def pictures(self, stage: str, pictures: Mapping[str, np.ndarray], step: int) -> None:
        """Add pictures, ``(H, W)`` or ``(H, W, 3)`` uint8 RGB."""
        if self._writer:
            for name, picture in pictures.items():
                layout = "HW" if picture.ndim == 2 else "HWC"
                self._writer.add_image(f"{stage}/{name}", picture, step, dataformats=layout)

    def flush(self) -> None:
        """Bring everything so far to the disk."""
        if self._writer:
            self._writer.flush()

    def close(self) -> None:
        """Complete the file."""
        if self._writer:
            self._writer.close()

"""How a run ends before its last epoch: by a signal, or by an error that a person can do something about."""

from __future__ import annotations

import errno
import logging
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import torch

from fusion_ros.errors import FusionError

from . import distributed
from .learner import NotFinite
from .run_folder import TrainingError

__all__ = ["Interrupted", "Interruption", "explained"]

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# What the CPU allocators of torch and OpenCV say; neither has an error class of its own for it.
_MEMORY_TEXTS = ("can't allocate memory", "not enough memory", "Insufficient memory", "Failed to allocate")
_PEER_TEXTS = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")


class Interrupted(Exception):
    """A signal asked for the end, and the run is saved."""


class Interruption:
    """Within its context Ctrl-C and SIGTERM only ask for the end, so that the running step is completed and saved.

    The second signal raises ``KeyboardInterrupt`` at once. Outside the main thread, where Python allows no
    handlers, signals do what they did before.

    Attributes:
        requested: Whether a signal has come.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}
        self._process = os.getpid()

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # A forked data loader gets the terminal's Ctrl-C too; it ends when the loop ends.
        if os.getpid() != self._process:
            return
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if distributed.is_main():
            log.warning("stopping after this step; once more to stop at once")


def explained(error: BaseException, place: str, way_on: str) -> TrainingError | None:
    """Return what to tell the user of an error, or None for one that is a fault of the program.

    Args:
        error: What ended the run.
        place: Where: stage, epoch, step.
        way_on: What is saved, and how to go on from there.
    """
    if isinstance(error, TrainingError):
        return error
    if isinstance(error, Interrupted):
        return TrainingError(f"interrupted at {place}; {way_on}")
    if isinstance(error, KeyboardInterrupt):
        return TrainingError(f"ended at once, at {place}; {way_on}")
    if isinstance(error, NotFinite):
        advice = "look for broken images, or start a new run with a lower --learning-rate or with --clip-norm"
        return TrainingError(f"{error} at {place}; {advice}; {way_on}")
    if isinstance(error, FusionError):
        return TrainingError(f"{error}; training stopped at {place}; {way_on}")
    if _is_out_of_memory(error):
        advice = "start a new run with half the --batch or --crop, or with --precision bfloat16"
        return TrainingError(f"out of memory at {place}; {advice}; or free memory: {way_on}")
    if isinstance(error, RuntimeError) and any(text in str(error) for text in _PEER_TEXTS):
        return TrainingError(f"another process ended at {place}; see its message; {way_on}")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TrainingError(f"no space left on the disk at {place}; make room; {way_on}")
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, Exception) and any(text in str(error) for text in _MEMORY_TEXTS)

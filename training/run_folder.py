"""The folder of one training run: settings, environment, history and checkpoints, written atomically.

runs/reconet_fuser/
    settings.yaml       what was asked: recipe, settings, data
    environment.yaml    what it ran on: commit, versions, hardware, processes
    history.csv         one row an epoch
    last.pt             everything needed to go on
    previous.pt         the checkpoint before it, for the case that last.pt is damaged
    best.safetensors    the network with the lowest validation loss of the last stage
    tensorboard/        curves and pictures
"""

from __future__ import annotations

import csv
import datetime
import errno
import io
import logging
import os
import pickle
import platform
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from safetensors.torch import save as safetensors_bytes
from torch import nn

from fusion_ros.errors import FusionError, SettingsError
from fusion_ros.files import write_atomically
from fusion_ros.provenance import checkout_commit, processor

from . import distributed

__all__ = ["RunFolder", "TrainingError", "describe_environment"]

log = logging.getLogger(__name__)

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class TrainingError(FusionError, RuntimeError):
    """A training run ended before its last epoch."""


class RunFolder:
    """Reads and writes the files of one run.

    Every file is written beside its final place and then renamed, so a run that is killed at any
    moment leaves the previous complete version.

    Args:
        path: The folder; made by :meth:`start`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.best = path / "best.safetensors"
        self.events = path / "tensorboard"
        self._last = path / "last.pt"
        self._previous = path / "previous.pt"

    def check_new(self) -> None:
        """Check that a new run can begin here.

        Raises:
            SettingsError: The folder already holds a run.
        """
        if (self.path / "settings.yaml").exists():
            raise SettingsError(
                f"{self.path} already holds a run; go on with --resume {self.path}, or choose another --run folder"
            )

    def start(self, request: Mapping[str, Any]) -> None:
        """Make the folder for a new run and note what was asked for and where it runs.

        Raises:
            SettingsError: As for :meth:`check_new`.
        """
        self.check_new()
        self.path.mkdir(parents=True, exist_ok=True)
        self._write("environment.yaml", _yaml(describe_environment()))
        self._write("settings.yaml", _yaml(request))

    def request(self) -> dict[str, Any]:
        """Return what :meth:`start` noted.

        Raises:
            SettingsError: The folder holds no run.
        """
        return self._read_yaml("settings.yaml")

    def environment(self) -> dict[str, Any]:
        """Return where the run ran, as noted when it was started."""
        return self._read_yaml("environment.yaml")

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a checkpoint; the one before it is kept too.

        Args:
            state: Tensors, numbers, strings, None, lists and dicts only.
        """
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        _write_file(self._last, buffer.getbuffer(), keep=self._previous)

    def load(self) -> dict[str, Any] | None:
        """Return what :meth:`save` wrote last, or before that where the last is damaged; None for a new run.

        Raises:
            TrainingError: There are checkpoints, and all are damaged.
        """
        damages = []
        for path in (self._last, self._previous):
            if not path.exists():
                continue
            try:
                state = _read_checkpoint(path)
            except (
                OSError,
                RuntimeError,
                ValueError,
                EOFError,
                pickle.UnpicklingError,
                zipfile.BadZipFile,
            ) as error:
                damages.append(f"{path} is damaged ({str(error).splitlines()[0]})")
                continue
            if damages:
                log.warning("%s; going on from %s, which is older", damages[0], path.name)
            return state
        if damages:
            raise TrainingError(f"{' and '.join(damages)}, so there is nothing to go on from; start a new run")
        return None

    def save_best(self, network: nn.Module) -> None:
        """Write the network's tensors as the best so far."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
        _write_file(self.best, safetensors_bytes(tensors))

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write one row an epoch; a value that an epoch does not have stays empty."""
        self._write("history.csv", _csv(rows))

    def _write(self, name: str, text: str) -> None:
        _write_file(self.path / name, text.encode())

    def _read_yaml(self, name: str) -> dict[str, Any]:
        path = self.path / name
        if not path.is_file():
            raise SettingsError(f"{self.path} holds no training run: no {name} in it")
        return yaml.safe_load(path.read_text())


def _write_file(path: Path, content: bytes | memoryview, *, keep: Path | None = None) -> None:
    try:
        write_atomically(path, content, keep=keep)
    except OSError as error:
        raise TrainingError(_cannot_write(path, len(content), error)) from error


def _cannot_write(path: Path, size: int, error: OSError) -> str:
    kept = f"what {path.parent} held before is intact: go on with --resume {path.parent}"
    if error.errno not in _NO_SPACE:
        return f"cannot write {path}: {error.strerror or error}; {kept}"
    free = shutil.disk_usage(path.parent).free
    return (
        f"no space left for {path}: it needs {size / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free "
        f"({error.strerror}); make room; {kept}"
    )


def _read_checkpoint(path: Path) -> dict[str, Any]:
    # Torch does not compare the checksums that it writes, so it would load tensors of flipped bits.
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken:
        raise ValueError(f"wrong checksum of {broken}")
    return torch.load(path, map_location="cpu", weights_only=True)


def describe_environment() -> dict[str, Any]:
    """Return commit, versions and hardware of this run; nothing that names the machine or its owner."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "commit": checkout_commit("training", "fusion_ros"),
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {"torch": str(torch.__version__), "numpy": np.__version__, "opencv": cv2.__version__},
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": distributed.world(),
        "accelerator": device,
    }


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

"""The folder of one training run: settings, environment, history and checkpoints, written atomically.

runs/reconet_fuser/
    settings.yaml       what was asked: recipe, settings, data
    environment.yaml    what it ran on: commit, versions, hardware
    history.csv         one row an epoch
    last.pt             everything needed to go on
    best.safetensors    the network of the epoch with the lowest validation loss
"""

from __future__ import annotations

import csv
import datetime
import io
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from safetensors.torch import save as safetensors_bytes
from torch import nn

from fusion_ros.errors import FusionError, SettingsError
from fusion_ros.provenance import checkout_commit, processor

__all__ = ["RunFolder", "TrainingError", "describe_environment", "write_atomically"]


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
        self._last = path / "last.pt"

    def start(self, request: Mapping[str, Any]) -> None:
        """Make the folder for a new run and note what was asked for and where it runs.

        Raises:
            SettingsError: The folder already holds a run.
        """
        if (self.path / "settings.yaml").exists():
            raise SettingsError(
                f"{self.path} already holds a run; go on with --resume {self.path}, or choose another --run folder"
            )
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
        """Write the complete state after an epoch, and its history as CSV.

        Args:
            state: Tensors, numbers, strings, lists and dicts only; ``state["history"]`` holds a row an epoch.
        """
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        write_atomically(self._last, buffer.getvalue())
        self._write("history.csv", _csv(state["history"]))

    def load(self) -> dict[str, Any] | None:
        """Return what :meth:`save` wrote last, or None where no epoch was completed.

        Raises:
            TrainingError: The checkpoint is damaged.
        """
        if not self._last.exists():
            return None
        try:
            return torch.load(self._last, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, ValueError, KeyError) as error:
            raise TrainingError(f"{self._last} is damaged ({error}); start a new run") from error

    def save_best(self, network: nn.Module) -> None:
        """Write the network's tensors as the best so far."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
        write_atomically(self.best, safetensors_bytes(tensors))

    def _write(self, name: str, text: str) -> None:
        write_atomically(self.path / name, text.encode())

    def _read_yaml(self, name: str) -> dict[str, Any]:
        path = self.path / name
        if not path.is_file():
            raise SettingsError(f"{self.path} holds no training run: no {name} in it")
        return yaml.safe_load(path.read_text())


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a power cut, sees the old content or the new, never a part."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


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
        "accelerator": device,
    }


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)


def _csv(rows: list[dict[str, float]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

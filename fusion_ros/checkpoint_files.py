"""The files in which weights go round, read as tensors.

Every format in which weights of the supported methods go round is read by :func:`read_checkpoint`: ``torch.save``
(zip and the older form), Lightning checkpoints, and safetensors copies. Pickles are loaded with
``weights_only=True`` and in no other way: a file that asks for more than tensors is refused.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import WeightsError, shortened

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["read_checkpoint", "read_safetensors"]

_STATE_DICTS = ("state_dict", "weight", "model_state_dict", "model", "net")
"""Where checkpoints that hold more than tensors keep them, Lightning's first."""

_NO_CHECKPOINTS = {
    b"<": "a web page: download the file itself (on GitHub: 'Download raw file')",
    b"version https://git-lfs": "a Git LFS pointer: fetch the file itself with 'git lfs pull'",
}


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file, in whichever format they are; never anything but tensors.

    Raises:
        WeightsError: The file is absent, damaged, no checkpoint, or asks to load more than tensors.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except FileNotFoundError:
        raise WeightsError(f"no weights file at {path}") from None
    except OSError as error:
        raise WeightsError(f"{path}: expected a file that can be read: {error.strerror}") from error
    for start, what in _NO_CHECKPOINTS.items():
        if head.lstrip().startswith(start):
            raise WeightsError(f"{path}: expected a checkpoint, got {what}")
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return read_safetensors(path)
    _check_archive(path)
    return _state_dict(_read_pickle(path), path)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        WeightsError: The file cannot be read, is cut, or is of another format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path}: expected a complete safetensors file, got another or a cut one: {error}"
        ) from error


def _check_archive(path: Path) -> None:
    """Tell an ordinary zip archive from the one that ``torch.save`` writes."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if not any(name.endswith("data.pkl") for name in names):
        raise WeightsError(
            f"{path}: expected a checkpoint, got a zip archive of other files ({shortened(names)}): unpack it, "
            "and give the checkpoint inside"
        )


def _read_pickle(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        if wanted:
            raise WeightsError(
                f"{path}: not loaded, because it asks to import {wanted[1]}: expected nothing but tensors, for a "
                "file that may import can run any program. If you trust its maker, save the tensors alone where "
                "it was made: torch.save(network.state_dict(), 'tensors.pth')"
            ) from None
        raise WeightsError(f"{path}: {_damaged(error)}") from error
    except Exception as error:  # damaged pickles fail in every thinkable way
        raise WeightsError(f"{path}: {_damaged(error)}") from error


def _damaged(error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return f"expected a complete checkpoint that torch.save wrote, got another file or a damaged one: {reason}"


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    from torch import Tensor

    if isinstance(content, Mapping):
        content = next((content[key] for key in _STATE_DICTS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not content:
        what = "an empty one" if isinstance(content, Mapping) else f"a {type(content).__name__}"
        raise WeightsError(f"{path}: expected a mapping of names to tensors (a state_dict), got {what}")
    strange = [
        f"{key} ({type(value).__name__})" for key, value in content.items() if not isinstance(value, Tensor)
    ]
    if strange:
        raise WeightsError(f"{path}: expected nothing but tensors in the state_dict, got {shortened(strange)}")
    return {str(name): tensor.detach() for name, tensor in content.items()}

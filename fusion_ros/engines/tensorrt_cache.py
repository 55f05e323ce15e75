"""Keeps the engines that TensorRT builds, so that minutes of building are spent once.

One file an engine: a line that says what the file is, a line of JSON with everything that the engine depends
on and the hash of its bytes, and the engine as TensorRT serialises it. Nothing is unpickled. TensorRT runs what
it deserialises, so only files are read that belong to the user (or to root) and that nobody else may
write; the hash tells a damaged file, not a forged one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import EngineError
from ..files import user_folder

__all__ = ["EngineKey", "cache_folder", "engine_path", "read_engine", "write_engine"]

log = logging.getLogger(__name__)

_MAGIC = b"fusion_ros TensorRT engine, format 1\n"
_LONGEST_HEADER = 1 << 16


@dataclass(frozen=True)
class EngineKey:
    """Everything on which a built engine depends: where one of these differs, another engine is built.

    Attributes:
        network: The network's name, for people.
        graph: SHA-256 of the operations, in order, with their settings.
        weights: SHA-256 of all tensors: names, types, shapes, values.
        shape: Shape of each input.
        precision: Type of the weights and inputs.
        gpu: The GPU's name.
        capability: Its compute capability, such as ``8.7``.
        torch: Version of PyTorch.
        torch_tensorrt: Version of torch_tensorrt.
        tensorrt: Version of TensorRT.
        cuda: Version of CUDA that PyTorch was built for.
        fusion_ros: Version of this package.
    """

    network: str
    graph: str
    weights: str
    shape: tuple[int, ...]
    precision: str
    gpu: str
    capability: str
    torch: str
    torch_tensorrt: str
    tensorrt: str
    cuda: str
    fusion_ros: str

    def content(self) -> dict[str, object]:
        """Return the fields as JSON holds them."""
        return dataclasses.asdict(self) | {"shape": list(self.shape)}

    def digest(self) -> str:
        """Return the SHA-256 of all fields as 64 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.content(), sort_keys=True).encode()).hexdigest()


def cache_folder(setting: str) -> Path:
    """Return the folder of the kept engines, which may be absent.

    Args:
        setting: The folder that the user asked for; empty for ``$XDG_CACHE_HOME/fusion_ros/tensorrt``, by
            default ``~/.cache/fusion_ros/tensorrt``.

    Raises:
        EngineError: The user has no home folder, and named none.
    """
    if setting:
        return Path(setting).expanduser()
    own = user_folder("XDG_CACHE_HOME")
    if own is None:
        raise EngineError("engine.cache: there is no home folder to keep TensorRT engines in; name a folder")
    return own / "tensorrt"


def engine_path(folder: Path, key: EngineKey) -> Path:
    """Return the file of the engine of this key: readable by people in front, unique by the hash behind."""
    height, width = key.shape[-2:]
    network = re.sub(r"[^A-Za-z0-9_-]", "_", key.network)
    return folder / f"{network}-{width}x{height}-{key.precision}-{key.digest()[:20]}.engine"


def read_engine(path: Path, key: EngineKey) -> bytes | None:
    """Return a kept engine, or None where there is none that can be trusted to be the one asked for.

    A file that is there and is not used is logged with the reason.
    """
    try:
        with path.open("rb") as file:
            engine, reason = None, _distrusted(os.fstat(file.fileno()))
            if not reason:
                engine, reason = _checked(file, key)
    except FileNotFoundError:
        return None
    except OSError as error:
        engine, reason = None, f"cannot be read ({error.strerror})"
    if engine is None:
        log.warning("%s %s; the engine is built again", path, reason)
    return engine


def write_engine(path: Path, key: EngineKey, engine: bytes) -> None:
    """Keep an engine; the file is whole or absent, whatever happens meanwhile.

    Where that fails (no space, no permission) it is logged: the engine in memory serves all the same.
    """
    header = {"key": key.content(), "sha256": hashlib.sha256(engine).hexdigest()}
    part = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=".part-")  # only its owner may read or write it
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + json.dumps(header).encode() + b"\n" + engine)
            file.flush()
            os.fsync(file.fileno())
        Path(part).replace(path)
        part = None
    except OSError as error:
        log.warning("%s could not be written (%s); the engine is built again next time", path, error.strerror)
    finally:
        if part is not None:
            with contextlib.suppress(OSError):
                Path(part).unlink()


def _distrusted(status: os.stat_result) -> str:
    """Return why a file's owner or permissions forbid its use, or an empty string."""
    if hasattr(os, "getuid") and status.st_uid not in (os.getuid(), 0):
        return f"belongs to user {status.st_uid}, who is not you"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "may be written by others"
    return ""


def _checked(file: BinaryIO, key: EngineKey) -> tuple[bytes | None, str]:
    """Return the engine in the file, or None and why it is not the one asked for."""
    if file.read(len(_MAGIC)) != _MAGIC:
        return None, "is no engine of this format"
    try:
        content = json.loads(file.readline(_LONGEST_HEADER))
    except ValueError:
        return None, "is damaged (its header)"
    engine = file.read()
    if not isinstance(content, dict) or content.get("key") != key.content():
        return None, "was made for something else"
    if content.get("sha256") != hashlib.sha256(engine).hexdigest():
        return None, "is damaged (its contents)"
    return engine, ""

"""Engines: what runs a network, and how fast. See ``docs/engines.md``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..errors import EngineError
from .base import Engine, EngineSettings

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Engine", "EngineSettings", "open_engine"]

log = logging.getLogger(__name__)


def open_engine(network: nn.Module, settings: EngineSettings | None = None) -> Engine:
    """Open the engine that ``settings`` asks for, ready to compile for the sizes that come.

    Args:
        network: A trained network, ``network(infrared, visible) -> fused``. It is copied.
        settings: ``name: auto`` takes torch_tensorrt where it is installed and there is a CUDA device, else
            torch on a CUDA device, else OpenVINO where it is installed, else torch on the CPU; the engine's
            description says which, and why.

    Raises:
        EngineError: The engine, the device or the precision asked for is not there.
    """
    settings = settings or EngineSettings()
    if settings.name == "auto":
        return _open_best(network, settings)
    return _OPENERS[settings.name](network, settings, "")


def _open_best(network: nn.Module, settings: EngineSettings) -> Engine:
    from .torch_engine import cuda_device

    if settings.device.startswith("cuda"):
        return _open_best_on_gpu(network, settings, f"the device is to be {settings.device}")
    if settings.device == "auto" and cuda_device("auto") is not None:
        return _open_best_on_gpu(network, settings, "there is a CUDA device")
    cpu_only = "the device is to be cpu" if settings.device == "cpu" else "there is no CUDA device"
    if find_spec("openvino") is not None:
        return _open_openvino(network, settings, f"chosen because {cpu_only}")
    return _open_torch(
        network, settings, f"chosen because {cpu_only} and OpenVINO, which is faster, is not installed"
    )


def _open_best_on_gpu(network: nn.Module, settings: EngineSettings, because: str) -> Engine:
    if find_spec("torch_tensorrt") is None:
        refusal = "torch_tensorrt is not installed"
    elif settings.precision == "bfloat16":
        refusal = "torch_tensorrt has no bfloat16 here"
    else:
        try:
            return _open_tensorrt(network, settings, f"chosen because {because}")
        except EngineError as error:
            log.warning("%s", error)
            refusal, _, _ = str(error).partition("; ")  # what follows is advice
    return _open_torch(network, settings, f"chosen because {because}, and {refusal}")


def _open_tensorrt(network: nn.Module, settings: EngineSettings, why: str) -> Engine:
    from .tensorrt_engine import TensorRTEngine

    return TensorRTEngine(network, settings, why)


def _open_torch(network: nn.Module, settings: EngineSettings, why: str) -> Engine:
    from .torch_engine import TorchEngine

    return TorchEngine(network, settings, why)


def _open_openvino(network: nn.Module, settings: EngineSettings, why: str) -> Engine:
    try:
        from .openvino_engine import OpenVINOEngine
    except ImportError as error:
        raise EngineError(
            f"the openvino engine needs OpenVINO 2024.4 or newer ({error}); install it with "
            "'pip install openvino', or set engine.name to torch"
        ) from error
    return OpenVINOEngine(network, settings, why)


_OPENERS: dict[str, Callable[[nn.Module, EngineSettings, str], Engine]] = {
    "torch_tensorrt": _open_tensorrt,
    "torch": _open_torch,
    "openvino": _open_openvino,
}

"""Runs a network with PyTorch, on the CPU or on a CUDA device: the engine that is always there."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import EngineError
from ..networks.deployed import deployed
from .base import EngineSettings, Plan, SizedEngine, available_cores

__all__ = ["TorchEngine", "as_tensor", "cuda_device"]

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_WARM_UP_RUNS = 3  # before a capture: libraries choose their algorithms and allocate in the first runs


class TorchEngine(SizedEngine):
    """Runs the network's deployed form with PyTorch.

    Weights and maps are laid out channels-last. On the CPU the form is the one that works in strips that
    fit the cache. On a CUDA device the whole image is one strip, and is replayed as a CUDA graph: the
    network is many small kernels, and a graph launches them at once.

    Args:
        network: A trained network; copied, not changed.
        settings: Device (``auto`` prefers CUDA), precision (``auto`` is float16 on CUDA) and threads.
        why: Ends the description, for example ``chosen because ...``.

    Raises:
        EngineError: The device is not there, or cannot do the precision.
    """

    def __init__(self, network: nn.Module, settings: EngineSettings, why: str = "") -> None:
        device = _choose_device(settings.device)
        precision = settings.precision_on(device.type)
        if device.type == "cpu" and precision == "float16":
            raise EngineError(
                "the torch engine has no float16 on a CPU; set engine.precision to auto, float32 or bfloat16, "
                "or engine.device to a CUDA device"
            )
        self._network = copy.deepcopy(network).eval().requires_grad_(False)
        self._device = device
        self._dtype = _DTYPES[precision]
        self._threads = settings.threads or available_cores()
        super().__init__("torch", str(device), _describe(device, precision, self._threads), network, why)

    def _compile(self, height: int, width: int) -> Plan:
        budget = {} if self._device.type == "cpu" else {"cache_bytes": None}
        module = copy.deepcopy(deployed(self._network, height, width, **budget))
        module = module.to(self._device, self._dtype, memory_format=torch.channels_last)
        if self._device.type == "cuda":
            return _GraphedPlan(module, self._device, self._dtype, (1, 1, height, width))

        def plan(infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
            with torch.inference_mode(), _threads(self._threads):
                fused = module(as_tensor(infrared).to(self._dtype), as_tensor(visible).to(self._dtype))
                return fused.float().numpy()

        return plan


class _GraphedPlan:
    """A network captured once as a CUDA graph, and replayed on the same device memory."""

    def __init__(
        self, module: nn.Module, device: torch.device, dtype: torch.dtype, shape: tuple[int, ...]
    ) -> None:
        self._device = device
        with torch.inference_mode(), torch.cuda.device(device), _exact_float32():
            self._images = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(2)]
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(_WARM_UP_RUNS):
                    module(*self._images)
            torch.cuda.current_stream().wait_stream(aside)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._fused = module(*self._images)
        self._module = module  # the graph reads its weights where they lie

    def __call__(self, infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), torch.cuda.device(self._device):
            for slot, image in zip(self._images, (infrared, visible), strict=True):
                slot.copy_(as_tensor(image))
            self._graph.replay()
            return self._fused.float().cpu().numpy()


def cuda_device(wanted: str) -> torch.device | None:
    """Return the CUDA device that ``auto``, ``cuda`` or ``cuda:N`` stands for; None where there is none."""
    if not torch.cuda.is_available():
        return None
    _, _, index = wanted.partition(":")
    number = int(index) if index else torch.cuda.current_device()
    return torch.device("cuda", number) if number < torch.cuda.device_count() else None


def _choose_device(wanted: str) -> torch.device:
    found = None if wanted == "cpu" else cuda_device(wanted)
    if found is None and wanted.startswith("cuda"):
        count = torch.cuda.device_count()
        raise EngineError(
            f"engine.device: expected a CUDA device, {wanted!r} is not among the {count} that PyTorch "
            f"{torch.__version__} sees; check the driver and that PyTorch is a CUDA build, or set it to cpu"
        )
    return found or torch.device("cpu")


def _describe(device: torch.device, precision: str, threads: int) -> str:
    if device.type == "cuda":
        return f"torch {torch.__version__} on {device} ({torch.cuda.get_device_name(device)}), {precision}"
    return f"torch {torch.__version__} on cpu, {precision}, {threads} threads"


def as_tensor(image: np.ndarray) -> Tensor:
    """Return an array as a tensor on the same memory where that can be, else a copy.

    torch takes neither read-only memory (without a warning) nor negative strides.
    """
    return torch.from_numpy(np.require(image, requirements=("C", "W")))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Run with ``count`` threads; PyTorch's thread count is the whole process's, so it is put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _exact_float32() -> Iterator[None]:
    """Choose convolution algorithms by trial, without TF32, which keeps 10 of float32's 23 bits."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=False):
        yield

"""What an engine is: something that runs one fusion network on pairs of images."""

from __future__ import annotations

import logging
import math
import os
import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..arrays import check_pair
from ..errors import EngineError, ImageError, SettingsError
from ..settings import Settings, setting
from ..spec import NetworkSpec

__all__ = ["Engine", "EngineSettings", "Plan", "SizedEngine", "available_cores", "check_images"]

log = logging.getLogger(__name__)

Plan = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A network made ready for one image size: infrared, visible -> fused, arrays as for :class:`Engine`."""

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


@dataclass(frozen=True)
class EngineSettings(Settings):
    """What runs the network."""

    name: str = setting(
        "auto",
        "Engine: auto takes torch_tensorrt where it is installed and there is a CUDA device, else torch on a CUDA "
        "device, else openvino where it is installed, else torch.",
        choices=("auto", "torch_tensorrt", "torch", "openvino"),
        read_only=True,
    )
    device: str = setting("auto", "Processor: auto, cpu, cuda or cuda:N.", read_only=True)
    precision: str = setting(
        "auto",
        "Arithmetic of the network: auto is float16 on a CUDA device and float32 on a CPU; the shorter types are "
        "faster where the processor has them, and less exact.",
        choices=("auto", "float32", "float16", "bfloat16"),
        read_only=True,
    )
    threads: int = setting(
        0, "Threads of a CPU engine; 0 takes every core that the process may use.", bounds=(0, 256), read_only=True
    )
    cache: str = setting(
        "",
        "Folder that keeps what torch_tensorrt builds; empty is fusion_ros/tensorrt in the user's cache folder "
        "($XDG_CACHE_HOME, or ~/.cache).",
        read_only=True,
    )

    def precision_on(self, device: str) -> str:
        """Return the precision for a kind of device, ``cpu`` or ``cuda``, with ``auto`` resolved."""
        if self.precision != "auto":
            return self.precision
        return "float16" if device == "cuda" else "float32"

    def check(self) -> None:
        """Check the device's spelling, and that the named engine has it and the precision."""
        if not _DEVICE.fullmatch(self.device):
            raise SettingsError(
                f"device: expected auto, cpu, cuda or cuda:N (such as cuda:1), got {self.device!r}"
            )
        if self.name == "openvino" and self.device.startswith("cuda"):
            raise SettingsError(
                f"device: expected auto or cpu with the openvino engine, got {self.device!r}; "
                "for a CUDA device set name to torch"
            )
        if self.name == "torch_tensorrt" and self.device == "cpu":
            raise SettingsError(
                "device: expected auto, cuda or cuda:N with the torch_tensorrt engine, got 'cpu'; "
                "for the CPU set name to openvino or torch"
            )
        if self.name == "torch_tensorrt" and self.precision == "bfloat16":
            raise SettingsError(
                "precision: expected auto, float16 or float32 with the torch_tensorrt engine, got 'bfloat16'"
            )


class Engine(Protocol):
    """Runs a network on one pair of images at a time.

    An engine may be called from any thread, and prepared in another one, but not by two at once.
    """

    @property
    def name(self) -> str:
        """Its name in the settings, such as ``torch`` or ``openvino``."""

    @property
    def device(self) -> str:
        """What it runs on: ``cpu`` or ``cuda:0``."""

    @property
    def description(self) -> str:
        """One line for logs and diagnostics: engine, version, device, precision, and why this one."""

    @property
    def spec(self) -> NetworkSpec:
        """What the network consumes and gives, value ranges above all."""

    def __call__(self, infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """Run the network.

        Args:
            infrared: ``(1, 1, H, W)`` float32, finite, in the range that :attr:`spec` says.
            visible: Likewise, on the same pixel grid. Neither is changed nor kept.

        Returns:
            ``(1, 1, H, W)`` float32, as the network gives it: neither clamped nor stretched. Fresh
            memory at every call, the caller's to keep or change.

        Raises:
            ImageError: The images are not such arrays.
            EngineError: The engine is closed, or its back end failed.
        """

    def prepare(self, height: int, width: int) -> None:
        """Compile for an image size and run once, so that the first frame of this size is not late.

        Raises:
            EngineError: The network cannot be compiled, or the engine is closed.
        """

    def close(self) -> None:
        """Free what the engine holds; it cannot be used after this. May be called twice."""


class SizedEngine(ABC):
    """Base of engines that compile the network for each image size.

    The plans of the latest sizes are kept, so that a stream may change its size, and change back.

    Args:
        name: The engine's name in the settings.
        device: What it runs on.
        description: One line for people.
        network: What it will run, for its :class:`NetworkSpec`; a module without one takes and gives [0, 1].
        why: Ends the description, for example ``chosen because ...``.
    """

    KEPT_SIZES = 3

    def __init__(self, name: str, device: str, description: str, network: object = None, why: str = "") -> None:
        self.name = name
        self.device = device
        self.description = f"{description}; {why}" if why else description
        kind = type(network).__name__
        self.spec: NetworkSpec = getattr(network, "spec", NetworkSpec(name=kind, title=kind, source=""))
        self._plans: OrderedDict[tuple[int, int], Plan] = OrderedDict()
        self._is_closed = False

    @abstractmethod
    def _compile(self, height: int, width: int) -> Plan:
        """Make the network ready for one image size."""

    def __call__(self, infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """Run the network; see :class:`Engine`."""
        check_images(infrared, visible)
        height, width = infrared.shape[2:]
        plan = self._plan(height, width)
        try:
            output = plan(infrared, visible)
        except RuntimeError as error:  # what both back ends raise
            raise EngineError(f"{self.description}: could not run on {width}x{height}: {error}") from error
        if not _is_finite(output):
            raise EngineError(
                f"{self.description}: {self.spec.title} gave NaN or infinity; with a short type set "
                "engine.precision to float32, otherwise check the weights"
            )
        return output

    def prepare(self, height: int, width: int) -> None:
        """Compile for an image size and run once; see :class:`Engine`."""
        if height < 1 or width < 1:
            raise ImageError(f"expected a height and a width of at least 1, got {height} and {width}")
        blank = np.zeros((1, 1, height, width), np.float32)
        self(blank, blank)

    def close(self) -> None:
        """Free the plans; see :class:`Engine`."""
        self._plans.clear()
        self._is_closed = True

    def _plan(self, height: int, width: int) -> Plan:
        if self._is_closed:
            raise EngineError(f"the {self.name} engine is closed; open a new one with open_engine")
        size = (height, width)
        if size not in self._plans:
            log.info("%s: preparing %dx%d", self.name, width, height)
            try:
                self._plans[size] = self._compile(height, width)
            except RuntimeError as error:
                text = f"{self.description}: could not compile for {width}x{height}: {error}"
                raise EngineError(text) from error
            if len(self._plans) > self.KEPT_SIZES:
                dropped = self._plans.popitem(last=False)[0]
                log.info("%s: more than %d sizes seen; dropped %dx%d", self.name, self.KEPT_SIZES, *dropped[::-1])
        self._plans.move_to_end(size)
        return self._plans[size]


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_images(infrared: np.ndarray, visible: np.ndarray) -> None:
    """Refuse what is not two finite float32 images ``(1, 1, H, W)`` of one size.

    Raises:
        ImageError: One of them is not, with its name.
    """
    check_pair(infrared, visible, leading=(1, 1))
    for name, image in (("infrared", infrared), ("visible", visible)):
        if not _is_finite(image):
            raise ImageError(f"{name}: expected finite values, got NaN or infinity among them")


def _is_finite(image: np.ndarray) -> bool:
    # One cheap pass: a NaN or an infinity anywhere survives the sum.
    with np.errstate(invalid="ignore", over="ignore"):
        return math.isfinite(float(image.sum()))

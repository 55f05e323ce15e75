"""What a network's time on OpenVINO goes into, by type of operation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engines import EngineSettings
from ..errors import EngineError
from .tables import table

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Profile", "profile", "profile_table"]

_LEAST_SHARE = 0.01  # of the whole; what takes less is counted together


@dataclass(frozen=True)
class Profile:
    """What one method takes at one size.

    Attributes:
        operation_ms: Type of operation, by OpenVINO's name -> milliseconds of one call, longest first.
    """

    method: str
    size: str
    operation_ms: dict[str, float]


def profile(
    method: str, network: nn.Module, images: tuple[np.ndarray, np.ndarray], wanted: dict[str, Any], seconds: float
) -> Profile:
    """Let OpenVINO time every operation of a network.

    Args:
        images: Two arrays ``(1, 1, H, W)`` in the range that the network takes.
        wanted: Settings of the engine: threads, precision.
        seconds: Time after which no further call begins; the first call, which warms up, is not counted, and
            another one is made at least.

    Raises:
        EngineError: OpenVINO is not installed, or cannot run the network.
    """
    try:
        from ..engines.openvino_engine import OpenVINOEngine
    except ImportError as error:
        raise EngineError(f"--profile needs OpenVINO ({error}); install it with 'pip install openvino'") from error
    settings = EngineSettings.from_mapping({"name": "openvino", "device": "cpu", **wanted})
    engine = OpenVINOEngine(network, settings, profile=True)
    height, width = images[0].shape[2:]
    engine(*images)
    first = engine.operation_ms(height, width)
    calls = 1
    stop = time.perf_counter() + seconds
    while calls == 1 or time.perf_counter() < stop:
        engine(*images)
        calls += 1
    # OpenVINO gives the mean over all calls.
    taken = {
        name: max(0.0, (ms * calls - first.get(name, 0.0)) / (calls - 1))
        for name, ms in engine.operation_ms(height, width).items()
    }
    engine.close()
    longest_first = sorted(taken.items(), key=lambda item: -item[1])
    return Profile(method, f"{width}x{height}", dict(longest_first))


def profile_table(profiles: Sequence[Profile]) -> str:
    """Return a line for each type of operation, and one for all together."""
    rows = []
    for found in profiles:
        whole = sum(found.operation_ms.values())
        shown = {name: ms for name, ms in found.operation_ms.items() if ms >= _LEAST_SHARE * whole}
        parts = {**shown, "all else": whole - sum(shown.values()), "all": whole}
        rows += [
            (found.method, found.size, name, f"{ms:.1f}", f"{100 * ms / whole:.0f}") for name, ms in parts.items()
        ]
    return table(("method", "size", "operation", "ms", "%"), rows)

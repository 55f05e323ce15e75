"""Measures what runs a network: time in turns, peak memory, error against the plain network."""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import gc
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__
from ..engines.base import available_cores
from ..provenance import package_versions, processor

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Candidate", "Measurement", "environment", "matrix_product_gflops", "measure", "plain_network"]

Run = Callable[[np.ndarray, np.ndarray], np.ndarray]
_CALLS_PER_TURN = 4  # the baseline has one call per turn: it is that much slower
_MATRIX_SIDE = 1024  # large enough that the time goes into the arithmetic
_MATRIX_SECONDS = 0.3
_PACKAGES = ("numpy", "opencv-python-headless", "torch", "torch-tensorrt", "openvino")


@dataclass(frozen=True)
class Candidate:
    """Something that runs a network on two arrays ``(1, 1, H, W)``."""

    name: str
    run: Run


@dataclass(frozen=True)
class Measurement:
    """What one candidate took for one method and size.

    Attributes:
        multiply_adds: Of the method's convolutions and matrix products, for one pair.
        ratio: Frames per second as a multiple of the first candidate's; both from medians.
        peak_mb: Resident memory at the highest point of the first call, which compiles where the candidate
            does that, above that before it; None where the system does not tell.
        max_error: Largest absolute difference from the first candidate's output, relative to that output's
            largest value where it is above 1.
    """

    method: str
    size: str
    candidate: str
    multiply_adds: int
    calls: int
    min_ms: float
    median_ms: float
    fps: float
    ratio: float
    peak_mb: float | None
    max_error: float


def measure(
    method: str, multiply_adds: int, candidates: Sequence[Candidate], images: tuple[np.ndarray, np.ndarray],
    seconds: float,
) -> list[Measurement]:  # fmt: skip
    """Let candidates take turns on one pair of images; the first one is the baseline.

    Args:
        seconds: Time after which no further turn begins; each candidate has one turn at least.
    """
    size = f"{images[0].shape[3]}x{images[0].shape[2]}"
    peaks, outputs = zip(
        *(_peak_mb(candidate.run, images) for candidate in candidates), strict=True
    )  # warms up, too
    taken = _take_turns([candidate.run for candidate in candidates], images, seconds)
    truth = outputs[0]
    scale = max(1.0, float(np.abs(truth).max()))
    base = median(taken[0])
    return [
        Measurement(
            method=method,
            size=size,
            candidate=candidate.name,
            multiply_adds=multiply_adds,
            calls=len(ms),
            min_ms=min(ms),
            median_ms=median(ms),
            fps=1e3 / median(ms),
            ratio=base / median(ms),
            peak_mb=peak,
            max_error=float(np.abs(output - truth).max()) / scale,
        )
        for candidate, ms, peak, output in zip(candidates, taken, peaks, outputs, strict=True)
    ]


def _take_turns(runs: Sequence[Run], images: tuple[np.ndarray, np.ndarray], seconds: float) -> list[list[float]]:
    """Return the milliseconds of every call of each candidate; each has one turn at least."""
    taken: list[list[float]] = [[] for _ in runs]
    stop = time.perf_counter() + seconds
    while not taken[0] or time.perf_counter() < stop:
        for i, (run, ms) in enumerate(zip(runs, taken, strict=True)):
            for call in range(_CALLS_PER_TURN if i else 1):
                if call and time.perf_counter() > stop:
                    break
                start = time.perf_counter()
                run(*images)
                ms.append((time.perf_counter() - start) * 1e3)
    return taken


def plain_network(network: nn.Module, threads: int) -> Run:
    """Return the network as it is written, run eagerly on the CPU: what the engines are held against."""
    import torch

    torch.set_num_threads(threads)

    def run(infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(infrared), torch.from_numpy(visible)).numpy()

    return run


def _peak_mb(run: Run, images: tuple[np.ndarray, np.ndarray]) -> tuple[float | None, np.ndarray]:
    """Run for the first time; return by how much resident memory rose at most, and the output."""
    _release_memory()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # sets Linux's record of the peak back to the present
        before = _status_mb("VmRSS")
    except (OSError, KeyError):
        return None, run(*images)
    output = run(*images)
    return max(0.0, _status_mb("VmHWM") - before), output


def _release_memory() -> None:
    """Give the system back what is free, or the next candidate would seem to need only what is missing."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _status_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return int(values[field].split()[0]) / 1024


def environment(threads: int) -> dict[str, str]:
    """Return what a reader needs to judge the figures."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    gflops = matrix_product_gflops(threads)
    found = [f"{name} {number}" for name, number in package_versions(_PACKAGES).items()]
    return {
        "date": datetime.date.today().isoformat(),
        "processor": f"{processor()}, {available_cores()} cores, {threads} threads used",
        "matrix product": f"{gflops:.0f} GFLOP/s on {min(threads, available_cores())} cores",
        "load before": f"{load:.1f} (above 0.5, something else runs; trust the ratios, not the times)",
        "versions": ", ".join([f"fusion_ros {__version__}", *found]),
    }


def matrix_product_gflops(threads: int) -> float:
    """Return the speed of PyTorch's best product of two large float32 matrices: what the cores can do at all.

    A multiplication and an addition count as two operations.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    first, second = torch.rand(2, _MATRIX_SIDE, _MATRIX_SIDE, generator=torch.Generator().manual_seed(0))
    best = float("inf")
    stop = time.perf_counter() + _MATRIX_SECONDS
    while best == float("inf") or time.perf_counter() < stop:
        start = time.perf_counter()
        torch.mm(first, second)
        best = min(best, time.perf_counter() - start)
    torch.set_num_threads(before)
    return 2 * _MATRIX_SIDE**3 / best / 1e9

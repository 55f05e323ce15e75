"""``fusion-ros bench``: how fast each engine is on this machine, and how exact."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..engines import Engine, EngineSettings, open_engine
from ..engines.base import available_cores
from ..errors import EngineError, FusionError, nearest_name
from ..frame import Frame, FramePair, Unit
from ..networks import ReCoNetFuser
from ..pipeline import FusionPipeline
from ..weights import load_network
from .tables import table

if TYPE_CHECKING:
    from torch import nn

__all__ = ["EXAMPLES", "HELP", "add_arguments", "main"]

HELP = """\
Measure each engine against the plain network, run eagerly in PyTorch on the same cores: time,
frames per second, ratio and largest error. Then measure every stage of the whole pipeline. The
candidates take turns in one run, so that whatever else the machine does slows all of them."""

EXAMPLES = """\
fusion-ros bench
fusion-ros bench --size 320x256 --engines openvino --threads 1
fusion-ros bench --json bench.json"""

BASELINE = "plain network, eager"
UNTRAINED = "untrained"
_ENGINES = ("torch", "openvino")
_SIZES = ("640x480", "640x512")
_CALLS_PER_TURN = 4  # the plain network has one call per turn: it is that much slower
_LEAST_TURNS = 3
_PIPELINE_RUNS = 10
_PACKAGES = ("numpy", "opencv-python-headless", "torch", "openvino")


@dataclass(frozen=True)
class Measurement:
    """What one candidate took for one size.

    Attributes:
        max_error: Largest absolute difference from the plain network's output.
        ratio: Frames per second as a multiple of the plain network's; both from medians.
    """

    size: str
    candidate: str
    calls: int
    min_ms: float
    median_ms: float
    fps: float
    ratio: float
    max_error: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--size", action="append", metavar="WIDTHxHEIGHT", help=f"may be repeated (default: {', '.join(_SIZES)})"
    )
    parser.add_argument("--engines", metavar="NAME,...", help="default: every engine that is installed")
    parser.add_argument(
        "--seconds", type=float, default=6.0, help="time for each size, beside compiling (default: 6)"
    )
    parser.add_argument("--threads", type=int, default=0, help="0 takes every core (default: 0)")
    parser.add_argument("--precision", default="float32", help="float32, float16 or bfloat16 (default: float32)")
    parser.add_argument(
        "--model", default="reconet", help=f"model to run; {UNTRAINED} takes random weights (default: reconet)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures to a file as well")


def main(args: argparse.Namespace) -> int:
    """Measure, print, and write."""
    sizes = [_size(text) for text in args.size or _SIZES]
    wanted = {"threads": args.threads, "precision": args.precision}
    network = _network(args.model)
    environment = _environment(args.threads or available_cores())
    print("\n".join(f"{name}: {value}" for name, value in environment.items()))
    engines = _open_engines(network, args.engines, wanted)
    try:
        measured = [row for size in sizes for row in _measure_engines(network, engines, size, args)]
        print(_engine_table(measured))
        fastest = min(engines, key=lambda engine: _median_ms(measured, engine))
        stages = {_text(size): _measure_stages(fastest, size) for size in sizes}
        print(f"\none pair through the pipeline with {fastest.description}, median ms\n{_stage_table(stages)}")
    finally:
        for engine in engines:
            engine.close()
    if args.json:
        report = {"environment": environment, "engines": [asdict(row) for row in measured], "stages_ms": stages}
        args.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _measure_engines(
    network: nn.Module, engines: list[Engine], size: tuple[int, int], args: argparse.Namespace
) -> list[Measurement]:
    """Let the plain network and the engines take turns on one ``(h, w)``."""
    infrared, visible = np.random.default_rng(0).random((2, 1, 1, *size), np.float32)
    plain = _plain(network, args.threads or available_cores())
    truth = plain(infrared, visible)
    errors = [0.0]
    for engine in engines:
        engine.prepare(*size)
        errors.append(float(np.abs(engine(infrared, visible) - truth).max()))
    taken = _take_turns([plain, *engines], infrared, visible, args.seconds)
    base = median(taken[0])
    names = [BASELINE, *(_label(engine) for engine in engines)]
    return [
        Measurement(
            size=_text(size),
            candidate=name,
            calls=len(ms),
            min_ms=min(ms),
            median_ms=median(ms),
            fps=1e3 / median(ms),
            ratio=base / median(ms),
            max_error=error,
        )
        for name, ms, error in zip(names, taken, errors, strict=True)
    ]


def _take_turns(
    candidates: list[Callable[[np.ndarray, np.ndarray], np.ndarray]],
    infrared: np.ndarray,
    visible: np.ndarray,
    seconds: float,
) -> list[list[float]]:
    """Return the milliseconds of every call of each candidate; the first one is the slow one."""
    taken: list[list[float]] = [[] for _ in candidates]
    stop = time.perf_counter() + seconds
    turns = 0
    while turns < _LEAST_TURNS or time.perf_counter() < stop:
        for i, (candidate, ms) in enumerate(zip(candidates, taken, strict=True)):
            for _ in range(_CALLS_PER_TURN if i else 1):
                start = time.perf_counter()
                candidate(infrared, visible)
                ms.append((time.perf_counter() - start) * 1e3)
        turns += 1
    return taken


def _measure_stages(engine: Engine, size: tuple[int, int]) -> dict[str, float]:
    """Return the median milliseconds of each stage for a colour and a 16-bit thermal image of ``(h, w)``."""
    random = np.random.default_rng(1)
    rgb = Frame(random.integers(0, 256, (*size, 3), np.uint8), 0, encoding="rgb8")
    counts = random.integers(7000, 9000, size, np.uint16)
    thermal = Frame(counts, 0, encoding="mono16", unit=Unit.COUNTS)
    pipeline = FusionPipeline(engine)
    pair = FramePair(rgb, thermal)
    runs = [pipeline(pair).stage_ms for _ in range(_PIPELINE_RUNS)]
    stages = {stage: median(run[stage] for run in runs) for stage in runs[0]}
    return stages | {"all": median(sum(run.values()) for run in runs)}


def _plain(network: nn.Module, threads: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return the network as it is written, run eagerly on the CPU: what the engines are held against."""
    import torch

    torch.set_num_threads(threads)

    def run(infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(infrared), torch.from_numpy(visible)).numpy()

    return run


def _open_engines(network: nn.Module, names: str | None, wanted: dict[str, Any]) -> list[Engine]:
    """Open the engines named, or all that are there; one that was not named may be absent."""
    chosen = names.split(",") if names else list(_ENGINES)
    for name in chosen:
        if name not in _ENGINES:
            raise FusionError(f"--engines: no engine {name!r}; {nearest_name(name, _ENGINES)}")
    engines = []
    for name in chosen:
        for device in ("cpu", "cuda") if name == "torch" and _has_cuda() else ("cpu",):
            try:
                settings = EngineSettings.from_mapping({"name": name, "device": device, **wanted})
                engines.append(open_engine(network, settings))
            except EngineError as error:
                if names:
                    raise
                print(f"not measured: {error}")
    if not engines:
        raise FusionError("expected at least one engine to measure, none could be opened")
    return engines


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _network(model: str) -> nn.Module:
    if model != UNTRAINED:
        return load_network(model).eval()
    import torch

    torch.manual_seed(0)
    return ReCoNetFuser().eval()


def _size(text: str) -> tuple[int, int]:
    """Parse ``WIDTHxHEIGHT`` into ``(h, w)``."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise FusionError(f"--size: expected WIDTHxHEIGHT such as 640x480, got {text!r}")
    return int(match[2]), int(match[1])


def _text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _label(engine: Engine) -> str:
    return engine.name if engine.device == "cpu" else f"{engine.name} {engine.device}"


def _median_ms(measured: list[Measurement], engine: Engine) -> float:
    return sum(row.median_ms for row in measured if row.candidate == _label(engine))


def _environment(threads: int) -> dict[str, str]:
    """Return what a reader needs to judge the figures."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "date": datetime.date.today().isoformat(),
        "processor": f"{_processor()}, {available_cores()} cores, {threads} threads used",
        "load before": f"{load:.1f} (above 0.5, something else runs; trust the ratios, not the times)",
        "versions": ", ".join(
            [f"fusion_ros {__version__}", *(f"{name} {found}" for name in _PACKAGES if (found := _version(name)))]
        ),
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", facts.read_text(), re.MULTILINE) if facts.is_file() else None
    return found[1] if found else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _engine_table(measured: list[Measurement]) -> str:
    head = ("size", "what", "min ms", "median ms", "fps", "ratio", "max error")
    rows = [
        (
            row.size,
            row.candidate,
            f"{row.min_ms:.1f}",
            f"{row.median_ms:.1f}",
            f"{row.fps:.1f}",
            f"{row.ratio:.1f}",
            f"{row.max_error:.1e}" if row.candidate != BASELINE else "-",
        )
        for row in measured
    ]
    return "\n" + table(head, rows)


def _stage_table(stages: dict[str, dict[str, float]]) -> str:
    names = list(next(iter(stages.values())))
    return table(("size", *names), [(size, *(f"{ms[name]:.1f}" for name in names)) for size, ms in stages.items()])

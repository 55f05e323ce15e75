"""``fusion-ros bench``: what each method costs on this machine, in each engine, and how exact that is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from ..classical import CLASSICAL
from ..engines import Engine, EngineSettings, open_engine
from ..engines.base import available_cores
from ..engines.classical_engine import ClassicalEngine
from ..errors import EngineError, FusionError, SettingsError, nearest_name
from ..frame import Frame, FramePair, Unit
from ..imaging import MethodRanges
from ..pipeline import FusionPipeline
from ..weights import load_network, model_names
from .measuring import Candidate, Measurement, environment, measure, plain_network
from .options import parse_size
from .profiling import Profile, profile, profile_table
from .tables import table

if TYPE_CHECKING:
    from torch import nn

__all__ = ["EXAMPLES", "HELP", "add_arguments", "main"]

HELP = """\
Measure what each method costs: multiply-adds, then time, ratio, peak memory and largest error of each
engine against the plain network, run eagerly in PyTorch on the same cores. Then measure the classical
methods, and every stage of the whole pipeline. The candidates take turns in one run, so that whatever
else the machine does slows all of them. Methods are networks by name, with random weights, which cost the
same as trained ones; or models."""

EXAMPLES = """\
fusion-ros bench
fusion-ros bench --methods reconet_fuser,lrrnet --size 320x256 --engines openvino --threads 1
fusion-ros bench --methods reconet --seconds 20 --json bench.json
fusion-ros bench --methods didfuse,rfn_nest --size 640x480 --engines openvino --profile"""

BASELINE = "plain torch, eager"
_METHODS = ("reconet_fuser", "rfvif", "rfn_nest", "lrrnet", "didfuse")
_ENGINES = ("torch", "openvino", "torch_tensorrt")
_SIZES = ("320x256", "640x480", "640x512")
_CLASSICAL_CALLS = 20
_PIPELINE_RUNS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--methods", metavar="NAME,...", default=",".join(_METHODS), help=f"default: {','.join(_METHODS)}"
    )
    parser.add_argument(
        "--size", action="append", metavar="WIDTHxHEIGHT", help=f"may be repeated (default: {', '.join(_SIZES)})"
    )
    parser.add_argument("--engines", metavar="NAME,...", help="default: every engine that is installed")
    parser.add_argument(
        "--seconds", type=float, default=6.0, help="time for a method and size, beside compiling (default: 6)"
    )
    parser.add_argument("--threads", type=int, default=0, help="0 takes every core (default: 0)")
    parser.add_argument(
        "--precision", default="float32", help="auto, float32, float16 or bfloat16 (default: float32)"
    )
    parser.add_argument(
        "--profile", action="store_true", help="print as well what OpenVINO's time goes into, by type of operation"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures to a file as well")


def main(args: argparse.Namespace) -> int:
    """Measure, print, and write."""
    sizes = [parse_size(text) for text in args.size or _SIZES]
    methods = {name: _network(name) for name in map(str.strip, args.methods.split(","))}
    chosen = _engine_names(args.engines)
    wanted = {"threads": args.threads, "precision": args.precision}
    EngineSettings.from_mapping(wanted)  # what no engine has is refused before anything is measured
    if args.json and not args.json.parent.is_dir():
        raise FusionError(f"--json: there is no folder {args.json.parent}")
    facts = environment(args.threads or available_cores())
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    measured: list[Measurement] = []
    profiles: list[Profile] = []
    absent: set[str] = set()
    with tqdm(total=len(methods) * len(sizes), unit="size", disable=None, leave=False) as progress:
        for name, network in methods.items():
            engines = _open_engines(network, chosen, wanted, None if args.engines else absent)
            for size in sizes:
                images = _images(network, size)
                measured += _measure(name, network, engines, images, args)
                if args.profile:
                    profiles.append(profile(name, network, images, wanted, args.seconds))
                progress.update()
            for engine in engines:
                engine.close()
    print("\n".join(f"not measured: {reason}" for reason in sorted(absent)))
    print(_table(measured))
    if profiles:
        print(f"\ntime in OpenVINO by type of operation, mean of one call\n{profile_table(profiles)}")
    classical = {_text(size): dict(_classical_ms(size)) for size in sizes}
    print(f"\nclassical methods, median ms\n{_ms_table(classical)}")
    stages = _stages(measured, methods, sizes, wanted)
    if args.json:
        rows = [asdict(row) for row in measured]
        report = {"environment": facts, "methods": rows, "classical_ms": classical, "stages_ms": stages}
        if profiles:
            report["profiles"] = [asdict(found) for found in profiles]
        args.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _images(network: nn.Module, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return two random images ``(1, 1, h, w)`` in the range that the network takes."""
    random = np.random.default_rng(0).random((2, *size), np.float32)
    infrared, visible = MethodRanges(network.spec).prepare(*random, 0)
    return infrared[None, None], visible[None, None]


def _measure(
    name: str,
    network: nn.Module,
    engines: list[Engine],
    images: tuple[np.ndarray, np.ndarray],
    args: argparse.Namespace,
) -> list[Measurement]:
    """Let the plain network and the engines take turns on one pair of images."""
    from ..networks import count_multiply_adds

    plain = Candidate(BASELINE, plain_network(network, args.threads or available_cores()))
    candidates = [plain, *(Candidate(_label(engine), engine) for engine in engines)]
    return measure(name, count_multiply_adds(network, *images[0].shape[2:]), candidates, images, args.seconds)


def _classical_ms(size: tuple[int, int]) -> Iterator[tuple[str, float]]:
    """Yield each classical method's name and median milliseconds."""
    images = np.random.default_rng(0).random((2, 1, 1, *size), np.float32)
    for name in CLASSICAL:
        candidate = Candidate(name, ClassicalEngine(name))
        calls = [measure(name, 0, [candidate], images, 0.0)[0].median_ms for _ in range(_CLASSICAL_CALLS // 2)]
        yield name, median(calls)


def _stages(
    measured: list[Measurement],
    methods: dict[str, nn.Module],
    sizes: list[tuple[int, int]],
    wanted: dict[str, Any],
) -> dict[str, dict[str, float]]:
    """Measure the whole pipeline with the fastest method and engine, and print what each stage takes."""
    engines = [row for row in measured if row.candidate != BASELINE]
    best = max(engines, key=lambda row: row.fps * _pixels(row))
    name, _, device = best.candidate.partition(" ")
    settings = EngineSettings.from_mapping({"name": name, "device": device or "cpu", **wanted})
    engine = open_engine(methods[best.method], settings)
    stages = {_text(size): _stage_ms(engine, size) for size in sizes}
    engine.close()
    print(f"\none pair through the pipeline, {best.method} with {engine.description}, median ms")
    print(_ms_table(stages))
    return stages


def _stage_ms(engine: Engine, size: tuple[int, int]) -> dict[str, float]:
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


def _engine_names(given: str | None) -> list[str]:
    chosen = given.split(",") if given else list(_ENGINES)
    for name in chosen:
        if name not in _ENGINES:
            raise FusionError(f"--engines: no engine {name!r}; {nearest_name(name, _ENGINES)}")
    return chosen


def _open_engines(
    network: nn.Module, names: list[str], wanted: dict[str, Any], absent: set[str] | None
) -> list[Engine]:
    """Open engines; the reasons why some could not be are added to ``absent``, or raised where that is None."""
    engines = []
    for name in names:
        for device in _devices(name):
            try:
                settings = EngineSettings.from_mapping({"name": name, "device": device, **wanted})
                engines.append(open_engine(network, settings))
            except (EngineError, SettingsError) as error:
                if absent is None:
                    raise
                absent.add(str(error))
    if not engines:
        raise FusionError("expected at least one engine to measure, none could be opened")
    return engines


def _devices(engine: str) -> tuple[str, ...]:
    import torch

    if engine == "torch_tensorrt":
        return ("cuda",)
    return ("cpu", "cuda") if engine == "torch" and torch.cuda.is_available() else ("cpu",)


def _network(name: str) -> nn.Module:
    """Return a network by its own name, with random weights, or by a model's name."""
    import torch

    from ..networks import NETWORKS, Gives, build_network

    fusing = [known for known, network in NETWORKS.items() if network.spec.gives is Gives.IMAGE]
    if name in fusing and name not in model_names():
        torch.manual_seed(0)
        return build_network(name).eval()
    if name not in model_names() and "/" not in name:
        raise FusionError(f"--methods: no method {name!r}; {nearest_name(name, [*fusing, *model_names()])}")
    return load_network(name)


def _text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _pixels(row: Measurement) -> int:
    height, width = parse_size(row.size)
    return height * width


def _label(engine: Engine) -> str:
    return engine.name if engine.device == "cpu" else f"{engine.name} {engine.device}"


def _table(measured: list[Measurement]) -> str:
    head = ("method", "size", "G mult-adds", "what", "min ms", "median ms", "fps", "ratio", "peak MB", "max error")
    rows = [
        (
            row.method,
            row.size,
            f"{row.multiply_adds / 1e9:.1f}",
            row.candidate,
            f"{row.min_ms:.1f}",
            f"{row.median_ms:.1f}",
            f"{row.fps:.1f}",
            f"{row.ratio:.1f}",
            "-" if row.peak_mb is None else f"{row.peak_mb:.0f}",
            "-" if row.candidate == BASELINE else f"{row.max_error:.1e}",
        )
        for row in measured
    ]
    return "\n" + table(head, rows)


def _ms_table(figures: dict[str, dict[str, float]]) -> str:
    names = list(next(iter(figures.values())))
    return table(
        ("size", *names), [(size, *(f"{ms[name]:.1f}" for name in names)) for size, ms in figures.items()]
    )

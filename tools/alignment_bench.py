"""What alignment costs, against ECC and against the authors' formulation run eagerly: part of ``make bench``.

With ``--rgb`` and ``--thermal``, also how calm the field is over a video, and what a frame costs on average.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import mean, median

import cv2
import numpy as np
import torch

from fusion_ros.alignment.fine import FineAligner, FineSettings
from fusion_ros.cli.tables import table
from fusion_ros.engines.base import EngineSettings, available_cores
from fusion_ros.errors import SettingsError
from fusion_ros.evaluation.registration.aligners import open_aligner
from fusion_ros.frame import Frame, FramePair, Sensor, Unit
from fusion_ros.imaging import luma
from fusion_ros.media import open_clip, pair_clips
from fusion_ros.networks import ReCoNet
from fusion_ros.pipeline import FusionSettings, open_pipeline
from fusion_ros.synthetic import SyntheticWorld, WorldSettings

BASELINE = "ecc_affine"
ALIGNERS = ("ecc_translation", BASELINE, "structural:translation", "structural:affine", "matching_register")
EVERY = FineSettings().every
FOLLOWING = {
    "each frame, as estimated": {"every": 1, "smoothing_s": 0.0},
    f"every {EVERY}th, at once": {"smoothing_s": 0.0},
    f"every {EVERY}th, smoothed": {},
}


def main(argv: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m tools.alignment_bench --rgb rgb.mp4 --thermal thermal.mp4",
    )
    parser.add_argument("--turns", type=int, default=3, help="runs of each, taking turns (default: 3)")
    parser.add_argument("--rgb", help="a video, to follow the misalignment in")
    parser.add_argument("--thermal", help="the other camera's")
    parser.add_argument("--frames", type=int, default=60, help="of the video (default: 60)")
    args = parser.parse_args(argv)
    cores = available_cores()
    moving, fixed, pair = _scene()
    print(f"\none estimate on 640x480, from nothing and going on from the last one, {cores} cores, median ms\n")
    head = ("aligner", "ms", f"of {BASELINE}", "ms going on", f"of {BASELINE}, on every {EVERY}th pair")
    print(table(head, _costs(moving, fixed, args.turns)))
    print("\nfrom pair to fused image on 640x480, alignment included, median ms\n")
    print(table(("path", "ms", "ratio"), _paths(pair, args.turns)))
    if args.rgb and args.thermal:
        print(f"\nfollowing a video of {args.frames} frames\n")
        head = ("method", "followed", "mean px", "change a frame, px", "ms a frame", "believed")
        print(table(head, list(_followed(args.rgb, args.thermal, args.frames))))
    return 0


def _scene() -> tuple[np.ndarray, np.ndarray, FramePair]:
    world = SyntheticWorld(WorldSettings(condition="day"))
    rgb = cv2.resize(world.rgb_image(2.0), (640, 480), interpolation=cv2.INTER_AREA)
    thermal = cv2.resize(world.thermal_image(2.0), (640, 480), interpolation=cv2.INTER_LINEAR)
    pair = FramePair(Frame(rgb, 0), Frame(thermal, 0, unit=Unit.INTENSITY))
    return luma(thermal), luma(rgb), pair


def _costs(moving: np.ndarray, fixed: np.ndarray, turns: int) -> list[tuple[str, ...]]:
    aligners = {name: open_aligner(name).estimator for name in ALIGNERS}
    found = {name: run(moving, fixed).flow for name, run in aligners.items()}
    runs: dict[str, Callable[[], object]] = {}
    for name, run in aligners.items():
        runs[name] = lambda run=run: run(moving, fixed)
        runs[f"{name}, going on"] = lambda run=run, flow=found[name]: run(moving, fixed, start=flow)
    times = _taken(runs, turns)
    baseline = times[BASELINE]
    rows = ((name, times[name], times[f"{name}, going on"]) for name in ALIGNERS)
    return [
        (name, f"{new:.0f}", f"{new / baseline:.2f}", f"{going_on:.0f}", f"{going_on / EVERY / baseline:.3f}")
        for name, new, going_on in rows
    ]


def _paths(pair: FramePair, turns: int) -> list[tuple[str, ...]]:
    network = ReCoNet().eval()
    images = [torch.from_numpy(luma(frame.pixels))[None, None] for frame in (pair.thermal, pair.rgb)]

    def authors() -> None:
        with torch.inference_mode():
            network(*images)

    runs: dict[str, Callable[[], object]] = {"register and fuser as the authors write them, eagerly": authors}
    for method in ("structural", "matching_register"):
        settings = FusionSettings(engine=EngineSettings())
        fine = replace(settings.alignment.fine, method=method)
        pipeline = open_pipeline(replace(settings, alignment=replace(settings.alignment, fine=fine)))
        runs[f"reconet with {method}, {EVERY} pairs"] = lambda pipeline=pipeline: [
            pipeline(pair) for _ in range(EVERY)
        ]
    times = _taken(runs, turns)
    first, *others = times
    rows = [(first, f"{times[first]:.0f}", "1")]
    return rows + [
        (name, f"{times[name] / EVERY:.0f}", f"{EVERY * times[first] / times[name]:.1f}") for name in others
    ]


def _taken(runs: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Return the median milliseconds of each, run in turns after one run that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn:
                taken[name].append(1e3 * (time.perf_counter() - start))
    return {name: median(values) for name, values in taken.items()}


def _followed(rgb: str, thermal: str, frames: int) -> list[tuple[str, ...]]:
    _, _, pairs = pair_clips(open_clip(rgb, Sensor.RGB), open_clip(thermal, Sensor.THERMAL), 30.0)
    video = []
    for _, pair in itertools.islice(pairs, frames):
        fixed = luma(pair.rgb.pixels)
        moving = cv2.resize(luma(pair.thermal.pixels), fixed.shape[::-1], interpolation=cv2.INTER_LINEAR)
        video.append((moving, fixed, pair.rgb.stamp_ns))
    if not video:
        raise SettingsError(f"no pair of frames in {rgb} and {thermal}")
    rows = []
    for name in ("structural:translation", "matching_register"):
        estimator = open_aligner(name).estimator
        for title, changes in FOLLOWING.items():
            rows.append((name, title, *_calm(FineAligner(estimator, FineSettings(**changes)), video)))
    return rows


def _calm(aligner: FineAligner, video: list[tuple[np.ndarray, np.ndarray, int]]) -> tuple[str, ...]:
    """Return mean length of the field, its mean change from frame to frame, cost, share of estimates believed."""
    before, lengths, changes, times, believed = None, [], [], [], []
    for moving, fixed, stamp_ns in video:
        start = time.perf_counter()
        found = aligner(moving, fixed, stamp_ns=stamp_ns)
        times.append(1e3 * (time.perf_counter() - start))
        if found.is_new:
            believed.append(not found.reason)
        flow = np.zeros((*fixed.shape, 2), np.float32) if found.flow is None else found.flow
        lengths.append(found.mean_px)
        if before is not None:
            changes.append(float(np.hypot(*cv2.split(flow - before)).mean()))
        before = flow
    share = f"{sum(believed)} of {len(believed)}"
    return f"{mean(lengths):.2f}", f"{mean(changes):.3f}", f"{mean(times):.1f}", share


if __name__ == "__main__":
    raise SystemExit(main())

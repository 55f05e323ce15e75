"""What fused features and a tracker on them cost, against the network alone: part of ``make bench``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from statistics import median

import numpy as np

from fusion_ros.cli.tables import table
from fusion_ros.engines.base import available_cores
from fusion_ros.features import FeatureSettings
from fusion_ros.frame import FramePair
from fusion_ros.pipeline import FusionSettings, open_pipeline
from fusion_ros.synthetic.sequences import TRACKING_SEQUENCES, SyntheticSequence
from fusion_ros.tracking import Box, Tracker

SEQUENCE = "night_crossing_patrol"
MODEL = "fused_features"
FUSIONS = ("sum_and_difference", "sum", "head")
WARM_UP = 2  # frames, while the engine compiles and caches fill


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m tools.tracking_bench --frames 30",
    )
    parser.add_argument("--frames", type=int, default=20, help="of the synthetic street (default: 20)")
    args = parser.parse_args(argv)
    sequence = SyntheticSequence(TRACKING_SEQUENCES[SEQUENCE])
    pairs = [pair for pair, _ in zip(sequence.frames(), range(args.frames), strict=False)]
    rows = [_costs(fusion, pairs, tuple(sequence.boxes[0])) for fusion in FUSIONS]
    print(f"\nfeatures and one target on 640x480, {available_cores()} cores, median ms of {len(pairs)} frames\n")
    head = (
        MODEL,
        "network",
        "pair to features",
        "tracker",
        "together",
        "of the network's time",
        "frames a second",
    )
    print(table(head, rows))
    return 0


def _costs(fusion: str, pairs: Sequence[FramePair], box: Box) -> tuple[str, ...]:
    """Return a row: the network alone on the same images, then what is around it."""
    features = FeatureSettings(model=MODEL, network=f"fusion={fusion}", layers="fused")
    pipeline = open_pipeline(FusionSettings(model="none", features=features))
    engine, tracker = pipeline.features.engine, Tracker()
    taken: dict[str, list[float]] = {"network": [], "features": [], "tracker": []}

    def timed(name: str, start: float) -> None:
        taken[name].append((time.perf_counter() - start) * 1e3)

    image = np.random.default_rng(0).random((1, 1, *pairs[0].rgb.size), np.float32)
    for number, pair in enumerate(pairs):
        start = time.perf_counter()
        engine(image, image)
        timed("network", start)
        start = time.perf_counter()
        grid = pipeline(pair, with_image=False, with_features=True).features["fused"]
        timed("features", start)
        start = time.perf_counter()
        tracker.update(grid, pair.rgb.stamp_ns) if number else tracker.start(grid, box, pair.rgb.stamp_ns)
        timed("tracker", start)
    pipeline.close()
    network, prepared, followed = (median(times[WARM_UP:]) for times in taken.values())
    together = prepared + followed
    numbers = (f"{ms:.1f}" for ms in (network, prepared, followed, together))
    return (f"fusion={fusion}", *numbers, f"{together / network:.2f}", f"{1e3 / together:.1f}")


if __name__ == "__main__":
    raise SystemExit(main())

"""How fast training pairs become batches: by fit, misalignment, workers, and where the images come from."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from fusion_ros.cli.tables import table
from fusion_ros.engines.base import available_cores
from training.data.pairs import FilePair, MemoryPair, Pair, PairImages
from training.data.sampler import PairSampler, SamplerSettings
from training.data.simulate import parse_simulator

__all__ = ["made_pairs", "measure_loader", "written"]

SIMULATORS = ("none", "translation:8", "affine:4", "perspective:4", "elastic:4", "mixed:4")
_ENDLESS = 10_000  # batches an epoch: no measurement sees its end


def measure_loader(
    pairs: Sequence[Pair], settings: SamplerSettings, *, simulator: str = "none", seconds: float = 2.0
) -> float:
    """Return how many samples a second the sampler gives to somebody who only takes them.

    Reading images into memory and starting worker processes is not counted.

    Args:
        pairs: What to sample from.
        settings: How.
        simulator: As :func:`training.data.simulate.parse_simulator` takes it.
        seconds: For how long; at least one batch is taken.
    """
    sampler = PairSampler(
        pairs, settings, seed=0, simulator=parse_simulator(simulator), per_epoch=settings.batch * _ENDLESS
    )
    with closing(sampler.epoch(1)) as batches:
        for _ in range(2 * settings.workers + 1):  # what the workers prepared while they were waited for
            next(batches)
        count, start = 0, time.perf_counter()
        while count == 0 or time.perf_counter() - start < seconds:
            count += len(next(batches).visible)
        return count / (time.perf_counter() - start)


def made_pairs(count: int, size: tuple[int, int]) -> list[MemoryPair]:
    """Return pairs of ``(h, w)`` in memory, blurred noise with an amount of detail like that of photographs."""
    rng = np.random.default_rng(0)
    return [MemoryPair(f"made/{i}", PairImages(_scene(rng, size), _scene(rng, size))) for i in range(count)]


def written(pairs: Sequence[MemoryPair], folder: Path) -> list[FilePair]:
    """Write pairs as PNG files into a folder that exists, and return them as pairs of files."""
    result = []
    for number, pair in enumerate(pairs):
        files = tuple(folder / f"{number}_{camera}.png" for camera in ("infrared", "visible"))
        for file, image in zip(files, pair.images[:2], strict=True):
            cv2.imwrite(str(file), image)
        result.append(FilePair(pair.name, *files))
    return result


def main(argv: list[str] | None = None) -> int:
    """Print samples a second for each way."""
    defaults = SamplerSettings()
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="example: python -m tools.loader_bench --crop 256"
    )
    parser.add_argument("--crop", type=int, default=defaults.crop, help="side of a sample (default: %(default)s)")
    parser.add_argument(
        "--batch", type=int, default=defaults.batch, help="samples in a batch (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="for each figure (default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=available_cores(), help="worker processes to compare with (default: a core)"
    )
    args = parser.parse_args(argv)
    settings = replace(defaults, crop=args.crop, batch=args.batch)
    pairs = made_pairs(32, (480, 640))
    with tempfile.TemporaryDirectory() as folder:
        rows = list(_rows(pairs, written(pairs, Path(folder)), settings, args.workers, args.seconds))
    print(f"\nsamples of {args.crop} px a second, from pairs of 640x480, batches of {args.batch}\n")
    print(table(("images", "fit", "misalignment", "in the process", f"{args.workers} workers"), rows))
    return 0


def _rows(
    made: Sequence[Pair], files: Sequence[Pair], settings: SamplerSettings, workers: int, seconds: float
) -> Iterator[tuple[str, ...]]:
    ways = [(fit, "none") for fit in ("centre", "resize")] + [("crop", simulator) for simulator in SIMULATORS]
    for title, pairs, keep in (("in memory", made, True), ("PNG files", files, False)):
        for fit, simulator in ways:
            rates = (
                measure_loader(
                    pairs,
                    replace(settings, fit=fit, keep_in_memory=keep, workers=count),
                    simulator=simulator,
                    seconds=seconds,
                )
                for count in (0, workers)
            )
            yield title, fit, simulator, *(f"{rate:.0f}" for rate in rates)


def _scene(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    blurred = cv2.GaussianBlur(rng.random(size, np.float32), (0, 0), 2)
    return cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)


if __name__ == "__main__":
    raise SystemExit(main())

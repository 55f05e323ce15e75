"""What the metrics cost, against a plain NumPy and SciPy writing of the same formulas: part of ``make bench``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import cv2
import numpy as np

from fusion_ros.cli.tables import table
from fusion_ros.engines.base import available_cores
from fusion_ros.frame import Frame, FramePair, Unit
from fusion_ros.imaging import luma, to_uint8
from fusion_ros.metrics import DEFAULT_COLUMNS, Triple, evaluate
from fusion_ros.pipeline import FusionSettings, open_pipeline
from fusion_ros.synthetic import SyntheticWorld, WorldSettings
from tools.straightforward import edges, perceptual, simple, structural

STRAIGHTFORWARD: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {
    "EN:bits_256": simple.en,
    "SD:population_255": simple.sd,
    "MI:sum_bits": simple.mi_bits,
    "CE:mean_kl_bits": simple.ce,
    "CC:mean_pearson": simple.cc,
    "SCD:sum_corr": simple.scd,
    "SF:div_mn": simple.sf,
    "AG:central_mean": simple.ag,
    "SSIM:sum_valid": structural.ssim_sum_valid,
    "MS-SSIM:mef_3scale": structural.ms_ssim_mef,
    "VIF:viff_han": structural.vif_viff_han,
    "Qabf:xydeas_255": edges.qabf_xydeas,
    "Nabf:modified_01_exact_gradient": edges.nabf_exact,
    "Qcb:vifb": perceptual.qcb,
    "Qcv:vifb": perceptual.qcv,
}
"""The default columns, each written down from its definition."""


def main(argv: list[str] | None = None) -> int:
    """Print a table: each metric alone, and all of them together, which share what they can."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="example: python -m tools.metrics_bench --turns 5"
    )
    parser.add_argument("--turns", type=int, default=3, help="runs of each, taking turns (default: 3)")
    args = parser.parse_args(argv)
    cv2.setNumThreads(1)  # one core: an evaluation of many frames has a process a core
    for size in ((480, 640), (512, 640)):
        print(f"\nmetrics of one {size[1]}x{size[0]} triple, one core unless said otherwise, median ms\n")
        print(table(("metric", "straightforward", "fusion_ros", "ratio"), _rows(_triple(size), args.turns)))
    return 0


def _rows(images: tuple[np.ndarray, np.ndarray, np.ndarray], turns: int) -> list[tuple[str, str, str, str]]:
    def plain() -> None:
        for function in STRAIGHTFORWARD.values():
            function(*images)

    rows = [_row(key, images, turns) for key in STRAIGHTFORWARD]
    cores = available_cores()
    for title, threads in (("all together", 1), (f"all together, {cores} threads", cores)):
        rows.append(_compared(title, lambda threads=threads: evaluate(*images, threads=threads), plain, turns))
    return rows


def _triple(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a street by night and what a Laplacian pyramid makes of it: structure as in real images."""
    world = SyntheticWorld(WorldSettings(condition="night"))
    height, width = size
    rgb = cv2.resize(world.rgb_image(2.0), (width, height), interpolation=cv2.INTER_AREA)
    thermal = cv2.resize(world.thermal_image(2.0), (width, height), interpolation=cv2.INTER_LINEAR)
    pipeline = open_pipeline(FusionSettings(model="laplacian"))
    result = pipeline(FramePair(Frame(rgb, 0), Frame(thermal, 0, unit=Unit.INTENSITY)), with_sources=True)
    infrared, visible, _ = result.sources
    return infrared, to_uint8(luma(visible)), to_uint8(luma(result.image))


def _row(key: str, images: tuple[np.ndarray, ...], turns: int) -> tuple[str, str, str, str]:
    column = next(column for column in DEFAULT_COLUMNS if column.key == key)
    plain = STRAIGHTFORWARD[key]
    return _compared(key, lambda: column.variant.function(Triple(*images)), lambda: plain(*images), turns)


def _compared(
    name: str, ours: Callable[[], object], plain: Callable[[], object], turns: int
) -> tuple[str, str, str, str]:
    ours()  # what is made once for a size, such as a frequency response, is no cost of a frame
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns):
        for run, times in zip((plain, ours), taken, strict=True):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
    slow, fast = map(median, taken)
    return name, f"{slow:.1f}", f"{fast:.1f}", f"{slow / fast:.1f}"


if __name__ == "__main__":
    raise SystemExit(main())

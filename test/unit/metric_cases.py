"""Images for the tests of metrics, and the values of reference implementations for some of them."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

from fusion_ros.metrics import METRICS, Triple

ORACLE_IMAGES = tuple(f"tno/{number}" for number in ("05", "08", "11", "16", "34", "36"))


def value(key: str, images: tuple[np.ndarray, ...]) -> float:
    """Return one metric, such as ``Qabf:xydeas_255``, of infrared, visible and fused."""
    name, variant = key.split(":")
    return next(each for each in METRICS[name].variants if each.name == variant).function(Triple(*images))


def oracle(shared: Path, image: str) -> dict[str, float]:
    """Return what reference implementations gave for one image, by column key."""
    with (shared / "reference" / "metrics_oracle.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["image"] == image]
    return {f"{row['metric']}:{row['variant']}": float(row["value"]) for row in rows}


def tno(shared: Path, image: str) -> tuple[np.ndarray, ...]:
    """Return the infrared, visible and fused image that the reference values are of."""
    name = f"{image.split('/')[1]}.png"
    folders = (
        shared / "data" / "tno" / "ir",
        shared / "data" / "tno" / "vis",
        shared / "reference" / "didfuse_tno",
    )
    return tuple(grey(folder / name) for folder in folders)


def grey(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)


def noise(shape: tuple[int, int], seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return three images of independent grey levels."""
    return tuple(np.random.default_rng(seed).integers(0, 256, (3, *shape), dtype=np.uint8))


def cartoon(shape: tuple[int, int], seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return three images of patches in two grey levels: flat areas, and gradients that are equal or opposite."""
    patches = (np.kron(image // 128 * 90 + 60, np.ones((3, 3), np.uint8)) for image in noise(shape, seed))
    return tuple(patch[2 : shape[0] + 2, 2 : shape[1] + 2] for patch in patches)


def mixture(shape: tuple[int, int], seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return two smooth images and their mean, sharpened: what fusion looks like."""
    infrared, visible, _ = (cv2.GaussianBlur(image, (0, 0), 1.2) for image in noise(shape, seed))
    mean = cv2.addWeighted(infrared, 0.5, visible, 0.5, 0.0)
    return infrared, visible, cv2.addWeighted(mean, 1.6, cv2.GaussianBlur(mean, (0, 0), 2.0), -0.6, 0.0)

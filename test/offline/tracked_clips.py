"""Small recordings of a target that moves as is known, and a small model of features to follow it by."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from fusion_ros.cards import ModelCard
from fusion_ros.networks import build_network, count_parameters
from fusion_ros.weights import install_model

__all__ = ["BOX", "COUNT", "small_model", "true_boxes", "write_clips"]

COUNT = 16
BOX = (40.0, 36.0, 28.0, 24.0)
_SIZE = (112, 160)
_STEP = 2.0  # pixels a frame, to the right


def true_boxes() -> np.ndarray:
    """Return where the target is in each frame, ``(N, 4)``."""
    boxes = np.tile(np.array(BOX), (COUNT, 1))
    boxes[:, 0] += _STEP * np.arange(COUNT)
    return boxes


def write_clips(folder: Path, listed: range = range(COUNT)) -> Path:
    """Write ``rgb/``, ``thermal/`` and ``groundtruth.txt``; the thermal image is the negative of the RGB one.

    Args:
        folder: Where to.
        listed: Frames whose box the file lists.

    Returns:
        The folder.
    """
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.integers(0, 160, (*_SIZE, 3)).astype(np.uint8), (0, 0), 2.0)
    patch = cv2.GaussianBlur(rng.integers(0, 256, (int(BOX[3]), int(BOX[2]), 3)).astype(np.float32), (0, 0), 1.5)
    patch = cv2.normalize(patch, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    for kind in ("rgb", "thermal"):
        (folder / kind).mkdir(parents=True)
    for index, (x, y, width, height) in enumerate(true_boxes().astype(int)):
        image = ground.copy()
        image[y : y + height, x : x + width] = patch
        cv2.imwrite(str(folder / "rgb" / f"{index:03d}.png"), image)
        cv2.imwrite(str(folder / "thermal" / f"{index:03d}.png"), 255 - cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
    lines = [",".join(f"{value:g}" for value in (index, *true_boxes()[index])) for index in listed]
    (folder / "groundtruth.txt").write_text("\n".join(["# frame,x,y,w,h", *lines, ""]))
    return folder


def small_model(folder: Path) -> Path:
    """Install a model of ``fused_features`` with eight channels that adds the cameras', of random weights."""
    torch.manual_seed(0)
    settings = {"channels": 8, "fusion": "sum"}
    made = build_network("fused_features", settings)
    card = ModelCard(
        name="small", network="fused_features", network_settings=settings, parameters=count_parameters(made),
        file="", sha256="", licence="CC0-1.0", data="none", recipe={}, commit="0", seed=0, date="2025-01-01",
        hardware="any", metrics={},
    )  # fmt: skip
    return install_model(folder, card, made.state_dict())

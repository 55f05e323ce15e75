"""Scenes of polygons that two cameras see in brightnesses of their own, moved by exactly what is asked for."""

from __future__ import annotations

import cv2
import numpy as np

FINER = 4  # scenes are drawn so many times as large, and averaged


def scene(
    moved: np.ndarray | None = None,
    *,
    is_thermal: bool = False,
    seed: int = 0,
    size: tuple[int, int] = (240, 320),
    noise: float = 0.0,
    margin: float = 20.0,
) -> np.ndarray:
    """Draw polygons, their corners mapped by a homography; each camera sees them in brightnesses of its own.

    Returns:
        ``(H, W)`` float32 in [0, 1].
    """
    rng = np.random.default_rng(seed)
    height, width = size
    canvas = np.full((height * FINER, width * FINER), 0.4, np.float32)
    for _ in range(height * width // 480):
        centre, radius = rng.uniform((-margin, -margin), (width + margin, height + margin)), rng.uniform(5, 22)
        angles = np.sort(rng.uniform(0, 2 * np.pi, 5))
        both = rng.uniform(0.05, 0.95, 2)
        corners = centre + radius * np.column_stack([np.cos(angles), np.sin(angles)])
        if moved is not None:
            corners = cv2.perspectiveTransform(corners[None], moved)[0]
        fine = ((corners + 0.5) * FINER - 0.5) * 256
        cv2.fillPoly(canvas, [fine.round().astype(np.int32)], float(both[int(is_thermal)]), cv2.LINE_8, 8)
    image = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    own = np.random.default_rng([seed, is_thermal]).normal(0, noise, size)  # no camera's noise is the other's
    return np.clip(image + own, 0, 1).astype(np.float32)

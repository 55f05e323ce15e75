"""Feature maps of random textures with a target in them, of which everything is known exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from fusion_ros.feature_grid import FeatureGrid
from fusion_ros.tracking import Box, Track, Tracker, TrackStatus

STRIDE = 4
SIZE = (320, 480)  # px
TENTH_NS = 100_000_000
BOX = (200.0, 120.0, 48.0, 64.0)


def texture(shape: tuple[int, int], channels: int, seed: int, sigma: float = 1.2) -> np.ndarray:
    """Smooth noise of deviation 1, ``(h, w, C)``."""
    noise = np.random.default_rng(seed).normal(size=(*shape, channels))
    smooth = gaussian_filter(noise, (sigma, sigma, 0), mode="wrap")
    return smooth / smooth.std()


class Scene:
    """A texture, and a patch of another one that covers any box of it, stretched to the box."""

    def __init__(self, channels: int = 6, seed: int = 0, size: tuple[int, int] = SIZE, box: Box = BOX) -> None:
        self.size = size
        self.background = texture((size[0] // STRIDE, size[1] // STRIDE), channels, seed)
        self._unit = (box[2] / STRIDE, box[3] / STRIDE)  # cells that the patch is drawn for
        self._patch = texture((64, 64), channels, seed + 1000)

    def grid(self, *boxes: Box, gain: float = 1.0) -> FeatureGrid:
        """Draw the patch into boxes."""
        values = self.background.copy()
        for box in boxes:
            self._draw(values, box)
        return FeatureGrid((gain * values).astype(np.float32), STRIDE, self.size)

    def _draw(self, values: np.ndarray, box: Box) -> None:
        """Cells that a box covers in part are mixed."""
        coordinates, cover = [], []
        for axis, length in ((1, values.shape[0]), (0, values.shape[1])):
            start, extent = (box[axis] + 0.5) / STRIDE - 0.5, box[axis + 2] / STRIDE  # of its first edge, in cells
            cells = np.arange(length)
            cover.append(np.clip(np.minimum(cells + 0.5 - start, start + extent - cells + 0.5), 0.0, 1.0))
            middle = start + extent / 2 - 0.5
            coordinates.append(31.5 + (cells - middle) * (self._unit[axis] / extent))
        rows, columns = np.meshgrid(*coordinates, indexing="ij")
        share = (cover[0][:, None] * cover[1])[:, :, None]
        drawn = [
            map_coordinates(channel, [rows, columns], mode="wrap") for channel in np.moveaxis(self._patch, 2, 0)
        ]
        values += share * (np.stack(drawn, axis=2) - values)


def moved(box: Box, x: float, y: float) -> Box:
    return box[0] + x, box[1] + y, box[2], box[3]


def scaled(box: Box, width: float, height: float) -> Box:
    """About its centre."""
    return box[0] - box[2] * (width - 1) / 2, box[1] - box[3] * (height - 1) / 2, box[2] * width, box[3] * height


def distance(track: Track, box: Box) -> float:
    """Between the centres, in pixels."""
    assert track.box is not None
    return math.hypot(*(track.box[k] + track.box[k + 2] / 2 - box[k] - box[k + 2] / 2 for k in (0, 1)))


def follow(tracker: Tracker, scene: Scene, path: Sequence[Box | None], first: int = 0) -> list[Track]:
    """Start at the first box where nothing is followed yet, then go on at 10 Hz; None: the target is hidden."""
    tracks = []
    for index, box in enumerate(path, first):
        grid = scene.grid() if box is None else scene.grid(box)
        if tracker.status is TrackStatus.IDLE:
            tracks.append(tracker.start(grid, box, index * TENTH_NS))
        else:
            tracks.append(tracker.update(grid, index * TENTH_NS))
    return tracks


def walk(steps: int, x: float = 5.0, y: float = 2.0, box: Box = BOX) -> list[Box]:
    """A straight way, in pixels per frame."""
    return [moved(box, x * step, y * step) for step in range(steps)]

"""A small tracking sequence whose truth is exact, and features of it that need no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from fusion_ros.feature_grid import FeatureGrid
from fusion_ros.frame import Frame, FramePair
from fusion_ros.imaging import luma

SIZE = (96, 128)
STRIDE = 4
BOX = (24, 20)  # width, height
RATE_HZ = 10.0


@dataclass(frozen=True, eq=False)
class MovingTarget:
    """A bright patch that goes right by two pixels a frame, over a texture that stays; the thermal image is
    grey."""

    name: str = "patch"
    count: int = 24
    attributes: frozenset[str] = frozenset()
    hidden: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()
    breaks_off_at: int | None = None
    rate_hz: float = RATE_HZ
    seed: int = 0
    begun: list[int] = field(default_factory=list)

    @property
    def places(self) -> np.ndarray:
        """``(N, 4)``, where the patch is, seen or not."""
        left = 20.0 + 2.0 * np.arange(self.count)
        return np.column_stack([left, np.full(self.count, 40.0), np.tile(np.array(BOX, float), (self.count, 1))])

    @property
    def boxes(self) -> np.ndarray:
        found = self.places
        found[[*self.unknown, *self.hidden]] = np.nan
        return found

    @property
    def absent(self) -> np.ndarray:
        return np.isin(np.arange(self.count), self.hidden)

    def frames(self) -> Iterator[FramePair]:
        self.begun.append(1)
        rng = np.random.default_rng(self.seed)
        ground = rng.integers(60, 120, (*SIZE, 3)).astype(np.uint8)
        patch = rng.integers(100, 256, (BOX[1], BOX[0], 3)).astype(np.uint8)
        for index, (x, y, *_) in enumerate(self.places.astype(int)):
            if index == self.breaks_off_at:
                return
            image = ground.copy()
            if index not in self.hidden:
                image[y : y + BOX[1], x : x + BOX[0]] = patch
            stamp_ns = round(index * 1e9 / self.rate_hz)
            heat = 255 - cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            yield FramePair(Frame(image, stamp_ns, encoding="rgb8"), Frame(heat, stamp_ns))


class PlainFeatures:
    """Means of cells: of the RGB image, of the thermal one, and of both together."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.resets = 0

    def __call__(self, pair: FramePair) -> Mapping[str, FeatureGrid]:
        self.calls.append(pair.rgb.stamp_ns)
        visible, infrared = luma(pair.rgb.pixels), luma(pair.thermal.pixels)
        both = np.dstack([visible, infrared])
        return {"visible": _grid(visible), "infrared": _grid(infrared), "fused": _grid(both)}

    def prepare(self, height: int, width: int) -> None:
        assert (height, width) == SIZE

    def reset(self) -> None:
        self.resets += 1


def plain_features(settings: object) -> PlainFeatures:
    """Open them, whatever the settings are."""
    return PlainFeatures()


def _grid(image: np.ndarray) -> FeatureGrid:
    height, width = image.shape[0] // STRIDE, image.shape[1] // STRIDE
    values = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return FeatureGrid(np.atleast_3d(values).astype(np.float32), STRIDE, image.shape[:2])

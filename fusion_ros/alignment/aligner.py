"""Alignment in its order: coarse by what is known of the rig, then fine by what the images show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np

from ..frame import FramePair, Sensor
from ..geometry.cameras import PinholeCamera
from ..geometry.projection import position_maps
from ..geometry.warp import WarpMaps, flow_positions, remap
from ..imaging import luma
from ..settings import setting
from .coarse import Aligned, CoarseAligner, CoarseSettings
from .estimate import Estimator
from .fine import FineAligner, FineAlignment, FineSettings
from .learned import LearnedEstimator
from .structural import StructuralEstimator, StructuralSettings

__all__ = ["Aligner", "AlignmentSettings", "Placed", "structural_estimator"]

Size = tuple[int, int]
_FEW = 16
_ANY: Mapping[str, Size] = MappingProxyType({})
_NEIGHBOURS = np.ones((3, 3), np.uint8)
_WHOLE = 0.999  # of the weight of an interpolated pixel that has to be seen


@dataclass(frozen=True)
class AlignmentSettings(CoarseSettings):
    """How the moving image reaches the reference grid."""

    fine: FineSettings = setting(FineSettings(), "What finds and follows the misalignment that the above leaves.")

    def coarse_as(self, other: AlignmentSettings) -> bool:
        """Tell whether the coarse alignment is the same."""
        return replace(self, fine=other.fine) == other


@dataclass(frozen=True, eq=False)
class Placed:
    """The images of both cameras on the output grid.

    Attributes:
        rgb: The RGB camera's, ``(H, W)`` or ``(H, W, C)``.
        thermal: The thermal camera's, ``(H, W)``.
        valid: ``(H, W)`` bool, False where one of the two sees nothing; None where both see everything.
    """

    rgb: Aligned
    thermal: Aligned
    valid: np.ndarray | None


class _Latest:
    """Keeps what was made of arrays while these are the same objects."""

    def __init__(self) -> None:
        self._arrays: tuple[Any, ...] = ()
        self._made: Any = None

    def get(self, make: Callable[..., Any], *arrays: Any) -> Any:
        """Return ``make(*arrays)``, made anew only for other arrays."""
        known = self._arrays
        if len(known) != len(arrays) or any(one is not other for one, other in zip(arrays, known, strict=True)):
            self._made, self._arrays = make(*arrays), arrays
        return self._made


class Aligner:
    """Brings the images of two cameras onto the output grid.

    Args:
        settings: Both stages.
        reference: The camera whose grid the output has.
        estimator: Finds what the coarse alignment leaves; None: nothing does.

    Raises:
        CalibrationError: As :class:`.coarse.CoarseAligner`.
    """

    def __init__(self, settings: AlignmentSettings, reference: Sensor, estimator: Estimator | None = None) -> None:
        self.settings = settings
        self._reference = reference
        self._coarse = CoarseAligner(settings, reference)
        self.needs = self._coarse.awaited
        """The cameras that have to be told by :meth:`set_cameras`, whether that has been done or not."""
        self._fine = FineAligner(estimator, settings.fine) if estimator is not None else None
        self._cameras: dict[str, PinholeCamera] = {}
        self._maps, self._seen, self._both = _Latest(), _Latest(), _Latest()
        self._prepared: Size | None = None

    def reconfigured(self, settings: AlignmentSettings) -> Aligner:
        """Return an aligner with other settings that keeps the cameras, and the rest as far as it still holds.

        With another ``rectified`` the cameras are awaited anew: what they are was read as it said before.

        Raises:
            CalibrationError: As for a new one.
        """
        other = copy(self)
        other.settings = settings
        if settings.rectified != self.settings.rectified:
            other._cameras = {}  # their messages were read as the images are no longer
        is_same = settings.coarse_as(self.settings)
        if not is_same:
            coarse = CoarseAligner(settings, self._reference)
            other.needs, other._coarse = coarse.awaited, coarse.with_cameras(**other._cameras)
        if self._fine is not None:
            estimator = _retuned(self._fine.estimator, settings.fine)
            # What a coarse alignment leaves is not what another one leaves.
            known = self._fine if is_same else FineAligner(estimator)
            other._fine = known.reconfigured(estimator, settings.fine)
        return other

    @property
    def estimator(self) -> Estimator | None:
        """What finds the fine alignment, or None."""
        return self._fine.estimator if self._fine is not None else None

    @property
    def awaited(self) -> tuple[Sensor, ...]:
        """The cameras that have to be known before an image can be aligned; see :meth:`set_cameras`."""
        return self._coarse.awaited

    def set_cameras(
        self,
        rgb: PinholeCamera | None = None,
        thermal: PinholeCamera | None = None,
        image_sizes: Mapping[str, Size] = _ANY,
    ) -> None:
        """Tell what the cameras are, for mode calibration; the other modes need none.

        Nothing happens where that is known already. Else maps are made, which for large images takes seconds: to
        be called where pairs are fused.

        Args:
            rgb: The RGB camera, as :meth:`.coarse.CoarseSettings.camera` reads it; None: as it was.
            thermal: The thermal camera, likewise.
            image_sizes: ``(h, w)`` of the images of ``rgb`` and of ``thermal``, if they are known.

        Raises:
            CalibrationError: The two cameras do not see anything in common, or are not those of images of these
                sizes; all stays as it was.
        """
        named = {"rgb": rgb, "thermal": thermal}
        coarse = self._coarse.with_cameras(**named)
        if coarse is not self._coarse and not coarse.awaited and len(image_sizes) == 2:
            moving, fixed = image_sizes[self._reference.other.value], image_sizes[self._reference.value]
            # A few output pixels are enough to find out whether the calibration fits the images.
            few = (max(2, fixed[0] // _FEW), max(2, fixed[1] // _FEW))
            coarse(np.zeros(moving, np.uint8), few, fixed)
        self._cameras = self._cameras | {name: camera for name, camera in named.items() if camera is not None}
        if coarse is not self._coarse:
            self._coarse = coarse
            if self._fine is not None:
                self._fine.reset()

    def output_camera(self, output_size: Size, reference_size: Size) -> PinholeCamera | None:
        """Return the camera that the output is seen by; see :meth:`.coarse.CoarseAligner.output_camera`."""
        return None if self.awaited else self._coarse.output_camera(output_size, reference_size)

    def prepare(self, output_size: Size) -> None:
        """Let the estimator run once on images of a size ``(H, W)``, so that the first pair is not late.

        Raises:
            EngineError: What it runs on cannot do this.
        """
        if self.estimator is not None and output_size != self._prepared:
            noise = np.random.default_rng(0).random(output_size, np.float32)
            self.estimator(noise, noise)
            self._prepared = output_size

    def reset(self) -> None:
        """Forget what earlier pairs taught; the cameras stay known."""
        if self._fine is not None:
            self._fine.reset()

    @property
    def latest(self) -> FineAlignment | None:
        """The fine alignment that is known, without looking at another pair; None without a fine stage."""
        return self._fine.latest if self._fine is not None else None

    def place(self, rgb: np.ndarray, thermal: np.ndarray, output_size: Size, reference_size: Size) -> Placed:
        """Bring both images onto the output grid, coarsely.

        Args:
            rgb: ``(h, w)`` or ``(h, w, C)``; uint8, uint16 or float32.
            thermal: Likewise.
            output_size: ``(H, W)`` of the result.
            reference_size: ``(h, w)`` of the reference camera's own image.

        Raises:
            CalibrationError: The settings do not fit these sizes, or a camera is awaited.
            ImageError: The pixels are of an unsupported type.
        """
        if self._reference is Sensor.RGB:
            fixed = self._coarse.place_reference(rgb, output_size)
            return self._placed(self._coarse(thermal, output_size, reference_size), fixed)
        fixed = self._coarse.place_reference(thermal, output_size)
        return self._placed(self._coarse(rgb, output_size, reference_size), fixed)

    def refine(
        self, placed: Placed, pair: FramePair, *, is_stale: bool = False
    ) -> tuple[Placed, FineAlignment | None]:
        """Find what remains between two placed images, and move the moving one by it.

        Args:
            placed: The coarsely aligned images.
            pair: The frames that they come from, both of them.
            is_stale: One of the two repeats an earlier image; see :class:`.fine.FineAligner`.
        """
        if self._fine is None:
            return placed, None
        is_rgb = self._reference is Sensor.RGB
        moving, fixed = (placed.thermal, placed.rgb) if is_rgb else (placed.rgb, placed.thermal)
        found = self._fine(
            luma(moving.pixels),
            luma(fixed.pixels),
            valid=placed.valid,
            stamp_ns=(pair.rgb if is_rgb else pair.thermal).stamp_ns,
            is_stale=is_stale,
        )
        return (placed if found.flow is None else self._placed(self._moved(moving, found.flow), fixed)), found

    def place_one(self, pixels: np.ndarray, sensor: Sensor, output_size: Size, reference_size: Size) -> np.ndarray:
        """Bring one camera's image onto the output grid, by all that is known so far; see :meth:`place`."""
        if sensor is self._reference:
            return self._coarse.place_reference(pixels, output_size).pixels
        coarse = self._coarse(pixels, output_size, reference_size)
        latest = self.latest
        if latest is None or latest.flow is None or latest.flow.shape[:2] != output_size:
            return coarse.pixels
        return self._moved(coarse, latest.flow).pixels

    def _placed(self, moving: Aligned, fixed: Aligned) -> Placed:
        valid = self._both.get(_both, moving.valid, fixed.valid)
        rgb, thermal = (fixed, moving) if self._reference is Sensor.RGB else (moving, fixed)
        return Placed(rgb, thermal, valid)

    def _moved(self, coarse: Aligned, flow: np.ndarray) -> Aligned:
        interpolation = self.settings.fine.interpolation
        maps = self._maps.get(_flow_maps, flow)
        valid = self._seen.get(_still_seen, maps, coarse.valid, interpolation)
        pixels = remap(coarse.pixels, maps, interpolation=interpolation)
        if valid is not None and coarse.valid is not None:
            pixels[~valid] = 0  # at the border of what is seen, interpolation has mixed in the nothing beyond
        return Aligned(pixels, valid)


def structural_estimator(settings: FineSettings) -> StructuralEstimator:
    """Return the estimator of method ``structural``."""
    return StructuralEstimator(StructuralSettings(model=settings.motion, search_px=settings.search_px))


def _retuned(estimator: Estimator, settings: FineSettings) -> Estimator:
    """Return the estimator as the settings have it, on the same engine; itself where they say nothing of it."""
    if isinstance(estimator, StructuralEstimator):
        return structural_estimator(settings)
    if isinstance(estimator, LearnedEstimator):
        return LearnedEstimator(estimator.engine, replace(estimator.settings, search_px=settings.search_px))
    return estimator


def _both(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _flow_maps(flow: np.ndarray) -> WarpMaps:
    return position_maps(np.dstack(flow_positions(flow)), flow.shape[:2])


def _still_seen(maps: WarpMaps, valid: np.ndarray | None, interpolation: str) -> np.ndarray | None:
    """Return where an image of which ``valid`` is seen is seen after ``maps``; None where everywhere."""
    seen = maps.valid
    if valid is not None:
        if interpolation == "bicubic":  # which looks a pixel farther
            valid = cv2.erode(valid.astype(np.uint8), _NEIGHBOURS, borderValue=1)
        seen = remap(valid.astype(np.float32), maps) > _WHOLE
    return None if seen.all() else seen

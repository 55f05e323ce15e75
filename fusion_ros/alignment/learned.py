"""Learned alignment: what a network sees of the misalignment, put together with what all misalignments are like.

A network that was trained to match (:mod:`fusion_ros.networks.matching_register`) says for every place how far the
moving image is off, sees small displacements only, and is more often right than wrong. So it is asked several
times, each time about what remains:

1. the translation of the whole image comes from :class:`.structural.StructuralEstimator`, which reaches far;
2. a motion of the whole image (:mod:`.motion`) is fitted to the network's field, robustly: what a rig does;
3. the field itself, smoothed, is added: parallax, and what no rigid rig explains.

Asked about images that lie on one another, it answers zero: so the end does not depend on the beginning.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..arrays import check_pair
from ..engines.base import Engine
from ..errors import SettingsError
from ..geometry.warp import flow_positions, warp_by_flow
from ..settings import Settings, setting
from ..spec import Gives
from .estimate import Estimate
from .evidence import Evidence
from .motion import MOTION_MODELS, fitted, motion_flow, motion_of
from .structural import StructuralEstimator, StructuralSettings
from .structure import View

__all__ = ["ASKED_ONCE", "LearnedEstimator", "LearnedSettings", "composed", "resized_flow"]

_PITCH = 8  # px of the network's image, between the places at which its field is looked at
_TOLERANCE = 2.0  # px there: by how much a field that is right may be off a global motion
_KEPT = (
    0.5  # of the local field that an estimate begins with: what is no longer seen is forgotten in a few estimates
)
_MULTIPLE, _LEAST = 8, 32  # px of the sides that networks are asked with: engines keep one plan a size


@dataclass(frozen=True)
class LearnedSettings(Settings):
    """How a network is asked."""

    side: int = setting(
        512,
        "Longer side of the images that the network is given; larger ones are reduced.",
        unit="px",
        bounds=(64, 4096),
    )
    begin: bool = setting(
        True, "Begin with the translation that structural finds; a network reaches a few pixels only."
    )
    motion: str = setting(
        "homography",
        "Motion of the whole image that is fitted to the network's field.",
        choices=tuple(MOTION_MODELS),
    )
    motion_rounds: int = setting(
        3,
        "How often that is done, from an unknown beginning; all but the last time at half the size.",
        bounds=(0, 20),
    )
    local_rounds: int = setting(4, "How often the field itself is added.", bounds=(0, 20))
    smoothing_px: float = setting(
        20.0,
        "Deviation of the Gaussian that smooths the field, in pixels of the network's image.",
        unit="px",
        bounds=(0.0, 200.0),
    )
    search_px: float = setting(
        16.0, "Largest translation that is looked for, in pixels of the output.", unit="px", bounds=(1.0, 256.0)
    )


ASKED_ONCE = LearnedSettings(side=4096, begin=False, motion_rounds=0, local_rounds=1, smoothing_px=0.0)
"""A network's own answer, as its authors have it."""


class LearnedEstimator:
    """Finds the motion of the whole image and the local rest; see :class:`.estimate.Estimator`.

    Args:
        engine: Runs a network that gives a flow.
        settings: How it is asked.

    Raises:
        SettingsError: The network gives something else.
    """

    def __init__(self, engine: Engine, settings: LearnedSettings | None = None) -> None:
        if engine.spec.gives is not Gives.FLOW:
            raise SettingsError(
                f"expected a network that gives a flow, {engine.spec.title} gives {engine.spec.gives.value}"
            )
        self.engine = engine
        self.name = engine.spec.name
        self.settings = settings or LearnedSettings()
        self._begin = StructuralEstimator(StructuralSettings(search_px=self.settings.search_px))

    def __call__(
        self,
        moving: np.ndarray,
        fixed: np.ndarray,
        *,
        valid: np.ndarray | None = None,
        start: np.ndarray | None = None,
    ) -> Estimate:
        """Estimate once; see :class:`.estimate.Estimator`.

        With a start, one round of each kind is enough; of what is local in the start, half is kept.

        Raises:
            ImageError: The arrays are not two float32 images of one size.
            EngineError: The network could not be run.
        """
        check_pair(moving, fixed, names=("moving", "fixed"))
        settings = self.settings
        motion_rounds, local_rounds = settings.motion_rounds, settings.local_rounds
        if start is None:
            nothing = np.zeros((*fixed.shape, 2), np.float32)
            start = self._begin(moving, fixed, valid=valid).flow if settings.begin else nothing
        else:
            motion_rounds, local_rounds = min(1, motion_rounds), min(1, local_rounds)
        flow, small = start, (self._reduced(moving), self._reduced(fixed))
        if motion_rounds > 1:
            # What is large is seen as well from farther off, and for a quarter of the time.
            half = tuple(self._reduced(image, 0.5) for image in small)
            flow = self._global(*half, flow, motion_rounds - 1)
        if motion_rounds:
            flow = self._global(*small, flow, 1)
        flow = resized_flow(flow, small[1].shape)
        for _ in range(local_rounds):
            flow = composed(self._smoothed(self._asked(*small, flow)), flow)
        flow = resized_flow(flow, fixed.shape)
        return Estimate(flow, View(moving, fixed, valid).confidence(flow, settings.search_px))

    def _reduced(self, image: np.ndarray, part: float = 1.0) -> np.ndarray:
        """Return an image as the network is given it, at most ``part`` of the longest side that it may have."""
        factor = min(part, part * self.settings.side / max(image.shape))
        height, width = (max(_LEAST, round(side * factor / _MULTIPLE) * _MULTIPLE) for side in image.shape)
        method = cv2.INTER_AREA if factor < 1.0 else cv2.INTER_LINEAR
        return cv2.resize(image, (width, height), interpolation=method)

    def _asked(self, moving: np.ndarray, fixed: np.ndarray, flow: np.ndarray) -> np.ndarray:
        """Return what the network says still remains after a flow."""
        moved = warp_by_flow(moving, flow)
        rest = self.engine(moved[None, None], fixed[None, None])[0]
        return np.ascontiguousarray(rest.transpose(1, 2, 0))

    def _global(self, moving: np.ndarray, fixed: np.ndarray, flow: np.ndarray, rounds: int) -> np.ndarray:
        """Return a flow of these images' size, its motion of the whole image corrected; what is local stays."""
        height, width = size = fixed.shape
        flow = resized_flow(flow, size)
        x, y = np.meshgrid(np.arange(_PITCH // 2, width, _PITCH), np.arange(_PITCH // 2, height, _PITCH))
        places = np.stack([x.ravel(), y.ravel()], axis=-1).astype(np.float64)
        alike = np.tile(np.eye(2), (len(places), 1, 1))
        motion = motion_of(flow)
        local = _KEPT * (flow - motion_flow(motion, size))
        for _ in range(rounds):
            rest = self._asked(moving, fixed, motion_flow(motion, size) + local)
            evidence = Evidence(places, rest[y.ravel(), x.ravel()].astype(np.float64), alike)
            motion = fitted(motion, evidence, size, self.settings.motion, _TOLERANCE)
        return motion_flow(motion, size) + local

    def _smoothed(self, flow: np.ndarray) -> np.ndarray:
        sigma = self.settings.smoothing_px / _PITCH
        if sigma == 0.0:
            return flow
        coarse = cv2.resize(flow, (flow.shape[1] // _PITCH, flow.shape[0] // _PITCH), interpolation=cv2.INTER_AREA)
        coarse = cv2.GaussianBlur(coarse, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        return cv2.resize(coarse, flow.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def composed(rest: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return the flow that does what ``flow`` does and then ``rest``: ``rest(p) + flow(p + rest(p))``.

    Args:
        rest: ``(H, W, 2)``, found on the image that ``flow`` has moved.
        flow: ``(H, W, 2)``; beyond its border it goes on as at the border.
    """
    x, y = flow_positions(rest)
    # One channel at a time: OpenCV 5 samples that exactly, two of them at 1/32 px.
    parts = [
        cv2.remap(np.ascontiguousarray(flow[..., axis]), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for axis in range(2)
    ]
    return rest + np.dstack(parts)


def resized_flow(flow: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return a flow for images resized to ``(h, w)``, in their pixels."""
    height, width = flow.shape[:2]
    if (height, width) == tuple(size[:2]):
        return np.asarray(flow, np.float32)
    method = cv2.INTER_AREA if size[0] < height else cv2.INTER_LINEAR
    resized = cv2.resize(np.asarray(flow, np.float32), (size[1], size[0]), interpolation=method)
    return resized * np.float32([size[1] / width, size[0] / height])

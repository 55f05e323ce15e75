"""Structural alignment: one motion of the whole image, found without any training.

Features of structure (:mod:`.structure`) of both images are correlated over all translations; around the best one,
the cells of a grid say what remains (:mod:`.evidence`), and a motion model is fitted to them, poor models before
rich ones and small images before large ones. After every fit the features are sampled anew where the model says,
so that in the end the answer is a fixed point: it does not depend on where the search began.

This is for what is global: the drift of a rig, a calibration that is slightly off. Parallax is local.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from ..arrays import check_pair
from ..settings import Settings, setting
from .estimate import Estimate
from .evidence import local_evidence
from .motion import MOTION_MODELS, fitted, motion_flow, motion_of
from .structure import FINEST_SIDE, View, confidence_of

__all__ = ["StructuralEstimator", "StructuralSettings", "find_translation"]

_COARSE_SIDE = 160  # px of the longer side at which images are matched first


class _Round(NamedTuple):
    """How displacements are looked for once."""

    radius: int
    cell: int
    tolerance: float


_WIDE, _CLOSE, _LAST = _Round(3, 8, 2.0), _Round(2, 8, 1.0), _Round(2, 12, 1.0)  # px of the reduced images


@dataclass(frozen=True)
class StructuralSettings(Settings):
    """How the global motion is searched for."""

    model: str = setting(
        "translation",
        "Richest motion that is looked for, after poorer ones. The richer, the more structure a scene must show.",
        choices=tuple(MOTION_MODELS),
    )
    search_px: float = setting(
        16.0, "Largest translation that is looked for, in pixels of the output.", unit="px", bounds=(1.0, 256.0)
    )


class _Level(View):
    """A pair at one small size, with what a motion is found by."""

    def __init__(
        self, moving: np.ndarray, fixed: np.ndarray, valid: np.ndarray | None, side: int, border_px: float
    ) -> None:
        super().__init__(moving, fixed, valid, side, border_px)
        self._whole = fixed.shape
        self._across, self._down = fixed.shape[1] / self.size[1], fixed.shape[0] / self.size[0]

    def flow(self, matrix: np.ndarray) -> np.ndarray:
        """Return the flow of a motion in small pixels."""
        return motion_flow(matrix, self._whole, self.size)

    def translated(self, matrix: np.ndarray, search_px: float) -> np.ndarray:
        """Return the motion plus the translation of at most ``search_px`` that makes the images most alike."""
        moved, mask = self.moved(self.flow(matrix))
        x, y = find_translation(moved, self.fixed, mask, math.ceil(search_px / self._across))
        half = max(self._whole) / 2
        return matrix + np.array([[0, 0, x * self._across / half], [0, 0, y * self._down / half], [0, 0, 0]])

    def refined(self, matrix: np.ndarray, model: str, how: _Round) -> np.ndarray:
        """Return the motion after one round of matching and fitting."""
        moved, mask = self.moved(self.flow(matrix))
        # A translation is the peak of all cells together: one cell.
        cell = max(self.size) if model == "translation" else how.cell
        evidence = local_evidence(moved, self.fixed, mask, how.radius, cell)
        evidence = evidence.magnified(self._across, self._down)
        return fitted(matrix, evidence, self._whole, model, how.tolerance * self._across)


class StructuralEstimator:
    """Finds the motion of the whole image; see :class:`.estimate.Estimator`.

    Args:
        settings: Model and reach.
    """

    name = "structural"

    def __init__(self, settings: StructuralSettings | None = None) -> None:
        self.settings = settings or StructuralSettings()

    def __call__(
        self,
        moving: np.ndarray,
        fixed: np.ndarray,
        *,
        valid: np.ndarray | None = None,
        start: np.ndarray | None = None,
    ) -> Estimate:
        """Estimate once; see :class:`.estimate.Estimator`."""
        check_pair(moving, fixed, names=("moving", "fixed"))
        search_px, fixed_size = self.settings.search_px, fixed.shape
        coarse, fine = (_Level(moving, fixed, valid, side, search_px) for side in (_COARSE_SIDE, FINEST_SIDE))
        known = np.eye(3) if start is None else motion_of(start)
        matrix = coarse.refined(coarse.translated(known, search_px), "translation", _WIDE)
        models = list(MOTION_MODELS)
        for model in models[1 : models.index(self.settings.model) + 1]:
            for _ in range(2):
                matrix = coarse.refined(matrix, model, _CLOSE)
        for _ in range(2 if self.settings.model == "translation" else 3):
            matrix = fine.refined(matrix, self.settings.model, _LAST)
        searched = (2 * math.ceil(search_px * max(coarse.size) / max(fixed_size)) + 1) ** 2
        confidence = confidence_of(fine.agreement(fine.flow(matrix)).significance, searched)
        return Estimate(motion_flow(matrix, fixed_size), confidence)


def find_translation(moving: np.ndarray, fixed: np.ndarray, mask: np.ndarray, search: int) -> tuple[int, int]:
    """Return the whole-pixel displacement ``(x, y)`` at which two feature images are most alike.

    Of all displacements of at most ``search`` pixels along each axis: ``moving(p + (x, y))`` is like ``fixed(p)``.
    ``(0, 0)`` where there is nothing that could be alike, as on a blank image.

    Args:
        moving: ``(C, H, W)``.
        fixed: Likewise.
        mask: ``(H, W)`` float32, 1 where the fixed image is to be looked at.
        search: In pixels.
    """
    size = tuple(cv2.getOptimalDFTSize(side + search) for side in mask.shape)
    spectrum = 0.0
    for one, other in zip(moving, fixed, strict=True):
        # Without its mean a channel is not more like another where more of them overlap.
        centred = (one - one.mean()), (other - (other * mask).sum() / max(1.0, float(mask.sum()))) * mask
        spectrum = spectrum + np.fft.rfft2(centred[0], size) * np.conj(np.fft.rfft2(centred[1], size))
    surface = np.fft.irfft2(spectrum, size)
    reach = np.arange(-search, search + 1)
    near = surface[np.ix_(reach, reach)]
    if not near.max() > 0.0:
        return 0, 0  # a blank image is alike everywhere
    y, x = np.unravel_index(int(near.argmax()), near.shape)
    return int(reach[x]), int(reach[y])

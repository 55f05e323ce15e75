"""Visual information fidelity in the wavelet domain; needs the optional package pyrtools for its pyramid.

Both images are split into sub-bands of four scales and two orientations. Vectors of 3 x 3 coefficients of the
source are taken for a Gaussian scale mixture, the fused image's for the same after a gain and with noise.

Source: Sheikh, Bovik, "Image information and visual quality", IEEE Trans. Image Processing 15, 2006, in its
authors' version with steerable pyramids.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..errors import SettingsError
from .triple import Triple

__all__ = ["wavelet_01_infrared", "wavelet_01_mean", "wavelet_01_visible", "wavelet_255_mean"]

_LEVELS = 4
_ORIENTATIONS = (0, 3)
_BLOCK = 3
_SMALLEST = 72  # pixels that leave the coarsest level as large as the filters of the pyramid
_TOLERANCE = 1e-15
_EYE = 0.4

SubBands = list[np.ndarray]
"""Per level, finest first, and orientation."""


def wavelet_01_infrared(triple: Triple) -> float:
    """Return VIF of the fused image with the infrared image for reference, both on 0..1."""
    return triple.once(_fidelities_01)[0]


def wavelet_01_visible(triple: Triple) -> float:
    """Return VIF of the fused image with the visible image for reference, both on 0..1."""
    return triple.once(_fidelities_01)[1]


def wavelet_01_mean(triple: Triple) -> float:
    """Return the mean of VIF over the two sources, images on 0..1."""
    return sum(triple.once(_fidelities_01)) / 2.0


def wavelet_255_mean(triple: Triple) -> float:
    """Return the mean of VIF over the two sources, images on 0..255, as the noise of the eye is meant."""
    return sum(_fidelities(triple, 255.0)) / 2.0


def _fidelities_01(triple: Triple) -> tuple[float, float]:
    return _fidelities(triple, 1.0)


def _fidelities(triple: Triple, largest: float) -> tuple[float, float]:
    """Return VIF of the fused image with infrared and with visible for reference.

    NaN below 72 x 72 pixels, and for a flat source.
    """
    if min(triple.size) < _SMALLEST:
        return float("nan"), float("nan")
    infrared, visible, fused = ([band * largest for band in bands] for bands in triple.once(_sub_bands))
    return _fidelity(infrared, fused), _fidelity(visible, fused)


def _sub_bands(triple: Triple) -> tuple[SubBands, SubBands, SubBands]:
    """Return the sub-bands of infrared, visible and fused on 0..1, cut to whole blocks.

    Raises:
        SettingsError: pyrtools is not installed.
    """
    try:
        from pyrtools.pyramids import SteerablePyramidSpace
    except ImportError as error:
        raise SettingsError(
            f"VIF in the wavelet domain needs the package pyrtools, which cannot be imported ({error}); "
            "install it with 'pip install pyrtools' (optional), or choose another variant, such as VIF:viff_han"
        ) from error
    bands = []
    for image in triple.images:
        pyramid = SteerablePyramidSpace(image / 255.0, height=_LEVELS, order=5, edge_type="reflect1").pyr_coeffs
        bands.append([_whole_blocks(pyramid[level, way]) for level in range(_LEVELS) for way in _ORIENTATIONS])
    return bands[0], bands[1], bands[2]


def _whole_blocks(band: np.ndarray) -> np.ndarray:
    height, width = (length - length % _BLOCK for length in band.shape)
    return np.ascontiguousarray(band[:height, :width])


def _fidelity(source: SubBands, fused: SubBands) -> float:
    kept = present = 0.0
    for index, (of_source, of_fused) in enumerate(zip(source, fused, strict=True)):
        level = index // len(_ORIENTATIONS)
        told = _information(of_source, of_fused, side=2 ** (_LEVELS - level) + 1)
        kept, present = kept + told[0], present + told[1]
    return kept / present if present > 0.0 else float("nan")


def _information(source: np.ndarray, fused: np.ndarray, side: int) -> tuple[float, float]:
    """Return the information of a sub-band of the source, through the fused image and without it.

    Window places nearer to the border than the window reaches are left out.
    """
    border = -(-(side // 2) // _BLOCK)
    inner = (slice(border, -border), slice(border, -border))
    gain, noise = (field[inner] for field in _channel(source, fused, side))
    energy, eigenvalues = _scale_mixture(source)
    energy = energy[inner]
    ratio = gain * gain * energy / (noise + _EYE)
    kept = sum(float(np.log(1.0 + ratio * value).sum()) for value in eigenvalues)
    present = sum(float(np.log(1.0 + energy * (value / _EYE)).sum()) for value in eigenvalues)
    return kept, present


def _channel(source: np.ndarray, fused: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return gain and noise at the middle of each block, from sums over ``side`` x ``side`` coefficients.

    Where nothing is passed on, the noise is the sum of squares and not their mean, as in the authors' code.
    """
    ones, pixels = np.ones(side), side * side

    def window_sum(image: np.ndarray) -> np.ndarray:
        # Sums that run along, as cv2.boxFilter makes them, leave rounding behind edges: more than the tolerance.
        sums = cv2.sepFilter2D(image, cv2.CV_64F, ones, ones, borderType=cv2.BORDER_REFLECT_101)
        return sums[1::_BLOCK, 1::_BLOCK]

    sum_source, sum_fused = window_sum(source), window_sum(fused)
    shared = window_sum(source * fused) - sum_source * sum_fused / pixels
    of_source = np.maximum(window_sum(source * source) - sum_source * sum_source / pixels, 0.0)
    of_fused = np.maximum(window_sum(fused * fused) - sum_fused * sum_fused / pixels, 0.0)
    gain = shared / (of_source + _TOLERANCE)
    noise = (of_fused - gain * shared) / pixels
    nothing = (of_source < _TOLERANCE) | (of_fused < _TOLERANCE) | (gain < 0.0)
    gain[nothing] = 0.0
    noise[nothing] = of_fused[nothing]
    return gain, np.maximum(noise, _TOLERANCE)


def _scale_mixture(band: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the energy ``x' C^-1 x / 9`` of each block of 3 x 3 coefficients and the eigenvalues of ``C``.

    ``C`` is the covariance of all overlapping blocks. Directions in which nothing varies but for rounding, as
    in an image of stripes, have no inverse and carry no information; they are left out of both.
    """
    windows = np.lib.stride_tricks.sliding_window_view(band, (_BLOCK, _BLOCK))
    eigenvalues, directions = np.linalg.eigh(np.cov(windows.reshape(-1, _BLOCK * _BLOCK), rowvar=False, bias=True))
    varies = eigenvalues > 1e-12 * eigenvalues[-1]
    eigenvalues, directions = eigenvalues[varies], directions[:, varies]
    blocks = windows[::_BLOCK, ::_BLOCK]
    height, width = blocks.shape[:2]
    parts = blocks.reshape(height * width, -1) @ (directions / np.sqrt(eigenvalues))
    return (parts * parts).sum(axis=1).reshape(height, width) / (_BLOCK * _BLOCK), eigenvalues

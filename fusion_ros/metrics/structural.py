"""Metrics of structure: how alike the patches of the fused image and of its sources are.

SSIM compares the fused image with each source in turn. MS-SSIM, which in this field means the index made for
multi-exposure fusion, compares each patch of the fused image with the best patch that both sources together
could have given.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np

from .filters import LocalMoments, box_sum, gaussian_mean, gaussian_taps, strips
from .spec import MetricSpec, Needs, Variant
from .triple import Triple

__all__ = ["MULTISCALE_SIMILARITY", "STRUCTURAL_SIMILARITY"]

_I, _V, _F = range(3)
_SIDE = 11
_PIXELS = _SIDE * _SIDE
_C1 = (0.01 * 255.0) ** 2
_C2 = (0.03 * 255.0) ** 2
_EPS = float(np.finfo(np.float64).eps)

# Wang's weights of the three finest scales of five, brought to sum 1.
_SCALE_WEIGHTS = np.array([0.0448, 0.2856, 0.3001]) / 0.6305

_local_mean = partial(gaussian_mean, taps=gaussian_taps(_SIDE, 1.5))


def _valid_similarities(triple: Triple) -> tuple[float, float]:
    """Return the mean SSIM of infrared and of visible with fused where the window fits; NaN where nowhere."""
    return _similarities(triple.images)


def _bordered_similarities(triple: Triple) -> tuple[float, float]:
    """Return the mean SSIM of infrared and of visible with fused over all pixels, borders replicated."""
    reach = (_SIDE // 2,) * 4
    return _similarities([cv2.copyMakeBorder(image, *reach, cv2.BORDER_REPLICATE) for image in triple.images])


def _similarities(images: Sequence[np.ndarray]) -> tuple[float, float]:
    places = _places(images)
    if places == 0:
        return float("nan"), float("nan")
    infrared = visible = 0.0
    for strip in strips(images, _SIDE):
        moments = LocalMoments(strip, _local_mean)
        infrared += float(_similarity(moments, _I).sum())
        visible += float(_similarity(moments, _V).sum())
    return infrared / places, visible / places


def _places(images: Sequence[np.ndarray]) -> int:
    """Return in how many places the window fits."""
    height, width = images[0].shape
    return max(0, height - _SIDE + 1) * max(0, width - _SIDE + 1)


def _similarity(moments: LocalMoments, source: int) -> np.ndarray:
    """Return SSIM of a source with the fused image at each place of the window.

    ``((2 mS mF + C1)(2 cov + C2)) / ((mS^2 + mF^2 + C1)(vS + vF + C2))``, Gaussian window of 11 x 11, sigma 1.5.

    Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE Trans. Image Processing 13, 2004, equation 13.
    """
    mean_source, mean_fused = moments.mean(source), moments.mean(_F)
    similarity = 2.0 * mean_source * mean_fused + _C1
    similarity *= 2.0 * moments.covariance(source, _F) + _C2
    similarity /= mean_source * mean_source + mean_fused * mean_fused + _C1
    similarity /= moments.variance(source) + moments.variance(_F) + _C2
    return similarity


def _valid_infrared(triple: Triple) -> float:
    return triple.once(_valid_similarities)[0]


def _valid_visible(triple: Triple) -> float:
    return triple.once(_valid_similarities)[1]


def _sum_of_valid(triple: Triple) -> float:
    return sum(triple.once(_valid_similarities))


def _mean_with_border(triple: Triple) -> float:
    return sum(_bordered_similarities(triple)) / 2.0


def _multiscale(triple: Triple) -> float:
    """Return the weighted geometric mean of the fusion SSIM of three scales.

    NaN below 44 x 44 pixels, of which a quarter does not hold the window, and where the score of a scale is
    negative, which has no geometric mean: the fused image is then rather a negative of its sources.

    Source: Ma, Zeng, Wang, "Perceptual quality assessment for multi-exposure image fusion", IEEE Trans. Image
    Processing 24, 2015, on two images; in the code of the tables of RFN-Nest.
    """
    if min(triple.size) // 4 < _SIDE:
        return float("nan")
    scores = [triple.once(_finest_scale)]
    # Halvings of 8-bit values are exact in single precision, too.
    images = [image.astype(np.float32) for image in triple.images]
    for _ in _SCALE_WEIGHTS[1:]:
        images = [_halved(image) for image in images]
        scores.append(_scale_score(images))
    return float(np.prod(np.power(scores, _SCALE_WEIGHTS))) if min(scores) >= 0.0 else float("nan")


def _finest_scale(triple: Triple) -> float:
    """Return the fusion SSIM of the images as they are; NaN below 11 x 11 pixels."""
    return _scale_score(triple.images)


def _halved(image: np.ndarray) -> np.ndarray:
    """Return the means of 2 x 2 pixels; an odd last row or column is doubled."""
    height, width = image.shape
    even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA)


def _scale_score(images: Sequence[np.ndarray]) -> float:
    """Return the mean over patches of the likeness of fused and desired patch; NaN where no patch fits."""
    places = _places(images)
    if places == 0:
        return float("nan")
    return sum(float(_desired_likeness(strip).sum()) for strip in strips(images, _SIDE)) / places


def _desired_likeness(images: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return ``(2 cov(r, f) + C2) / (var(r) + var(f) + C2)`` of each patch, ``r`` being the desired one.

    Within one patch ``r`` is a sum of the two sources with constant factors, so its moments follow from theirs.
    """
    moments = LocalMoments(images, _local_mean)
    of_infrared, of_visible = _desired_factors(images[_I], images[_V])
    shared = of_infrared * moments.covariance(_I, _F) + of_visible * moments.covariance(_V, _F)
    spread = of_infrared * moments.variance(_I) + 2.0 * of_visible * moments.covariance(_I, _V)
    spread *= of_infrared
    spread += of_visible * of_visible * moments.variance(_V)
    spread += moments.variance(_F)
    return (2.0 * shared + _C2) / (spread + _C2)


def _desired_factors(infrared: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return by what each source's patch, less its mean, enters the desired patch; one number per patch.

    The desired patch has the contrast of the source with more of it, and a structure mixed of both; the more
    the two agree, the more it is that of the stronger.
    """
    square_i, square_v, product = _patch_products(infrared, visible)
    norm_i, norm_v = np.sqrt(square_i), np.sqrt(square_v)
    norm_of_sum = np.sqrt(np.maximum(square_i + square_v + 2.0 * product, 0.0))
    agreement = (norm_of_sum + _EPS) / (norm_i + norm_v + _EPS)
    power = np.minimum(np.tan(0.5 * np.pi * np.clip(agreement, _EPS, 1.0 - _EPS)), 10.0)

    contrast_i, contrast_v = norm_i + 0.001, norm_v + 0.001
    weight_i = cv2.exp(power * cv2.log(contrast_i / _SIDE)) + _EPS
    weight_v = cv2.exp(power * cv2.log(contrast_v / _SIDE)) + _EPS
    factor_i, factor_v = weight_i / contrast_i, weight_v / contrast_v

    squares = factor_i * factor_i * square_i + factor_v * factor_v * square_v
    norm_square = squares + 2.0 * factor_i * factor_v * product
    # Opposite patches cancel but for rounding: nothing of them is left that could be scaled.
    vanishes = norm_square <= 1e-14 * squares
    gain = np.maximum(contrast_i, contrast_v) / np.sqrt(np.where(vanishes, 1.0, norm_square))
    gain[vanishes] = 0.0
    return factor_i * gain, factor_v * gain


def _patch_products(infrared: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``i.i, v.v, i.v`` of every patch less its mean, ``(H - 10, W - 10)``; exact but for one division."""
    sum_i, sum_v = box_sum(infrared, _SIDE), box_sum(visible, _SIDE)
    products = (
        _PIXELS * box_sum(infrared * infrared, _SIDE) - sum_i * sum_i,
        _PIXELS * box_sum(visible * visible, _SIDE) - sum_v * sum_v,
        _PIXELS * box_sum(infrared * visible, _SIDE) - sum_i * sum_v,
    )
    return products[0] / _PIXELS, products[1] / _PIXELS, products[2] / _PIXELS


STRUCTURAL_SIMILARITY = MetricSpec(
    "SSIM",
    "structural similarity",
    (
        Variant(
            "sum_valid",
            _sum_of_valid,
            (-2.0, 2.0),
            "SSIM(IR, F) + SSIM(VIS, F), each the mean where the 11 x 11 window fits, as in VIFB; NaN where it "
            "fits nowhere.",
        ),
        Variant(
            "mean_replicate",
            _mean_with_border,
            (-1.0, 1.0),
            "Mean of both over all pixels, borders replicated: older tables of the group of RFN-Nest and LRRNet.",
        ),
        Variant("valid_ir", _valid_infrared, (-1.0, 1.0), "The term SSIM(IR, F) of sum_valid alone."),
        Variant("valid_vis", _valid_visible, (-1.0, 1.0), "The term SSIM(VIS, F) of sum_valid alone."),
    ),
    higher_is_better=True,
    needs=Needs.TRIPLE,
    source="Wang, Bovik, Sheikh, Simoncelli, IEEE Trans. Image Processing 13, 2004",
)

MULTISCALE_SIMILARITY = MetricSpec(
    "MS-SSIM",
    "multi-scale structural similarity of fusion",
    (
        Variant(
            "mef_3scale",
            _multiscale,
            (0.0, 1.0),
            "Multi-exposure fusion SSIM over three scales: the tables of RFN-Nest. Not Wang's MS-SSIM. NaN below "
            "44 x 44 pixels.",
        ),
        Variant("mef_scale1", _finest_scale, (-1.0, 1.0), "Its finest scale alone; NaN below 11 x 11 pixels."),
    ),
    higher_is_better=True,
    needs=Needs.TRIPLE,
    source="Ma, Zeng, Wang, IEEE Trans. Image Processing 24, 2015",
)

"""The guided filter, and the two-scale fusion made of it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..arrays import check_pair
from ..settings import Settings, setting

__all__ = ["GuidedFilterSettings", "guided_filter", "guided_filter_fusion"]

# Weights this small are rounding: where both are, the sources count the same.
_NO_WEIGHT = 1e-6


@dataclass(frozen=True)
class GuidedFilterSettings(Settings):
    """Windows and smoothing of the guided-filter fusion; the defaults are the paper's."""

    average_radius: int = setting(
        15, "Radius of the mean filter that splits base from detail.", unit="px", bounds=(1, 1000)
    )
    base_radius: int = setting(
        45, "Radius of the guided filter that refines the base's weights.", unit="px", bounds=(1, 1000)
    )
    base_epsilon: float = setting(
        0.3, "Smoothing of the base's weights, a variance of grey values in [0, 1].", bounds=(1e-7, 10.0)
    )
    detail_radius: int = setting(
        7, "Radius of the guided filter that refines the detail's weights.", unit="px", bounds=(1, 1000)
    )
    detail_epsilon: float = setting(
        1e-6, "Smoothing of the detail's weights, a variance of grey values in [0, 1].", bounds=(1e-7, 10.0)
    )


def guided_filter_fusion(
    infrared: np.ndarray, visible: np.ndarray, settings: GuidedFilterSettings | None = None
) -> np.ndarray:
    """Fuse base and detail by weights that follow the images' edges (GFF).

    1. Base ``B``: the mean over 31x31 pixels; detail ``D``: what it leaves of the image.
    2. Saliency ``S``: the magnitude of the 3x3 Laplacian, blurred by a Gaussian of radius 5 and sigma 5.
    3. Weight map ``P``: 1 where the image's saliency is the greatest, else 0. Where both are (flat
       regions), both are 1.
    4. ``W``: each ``P`` refined by a guided filter whose guide is its own image, with a wide soft window for
       the base and a narrow sharp one for the detail; clamped to [0, 1], as a regression may leave that
       range, and divided by the sum of the two. Where both are 0, both become 1/2.
    5. ``F = W_I B_I + W_V B_V + W'_I D_I + W'_V D_V``.

    Source: Li, Kang and Hu, "Image fusion with guided filtering", IEEE Transactions on Image Processing
    22(7), 2013, section III. Borders, open in the paper: means are over the part of a window that lies
    inside the image, Laplacian and Gaussian repeat the border's pixels.

    Args:
        infrared: ``(H, W)`` float32 in [0, 1].
        visible: Likewise, on the same pixel grid.
        settings: Windows and smoothing.

    Returns:
        ``(H, W)`` float32, about [0, 1]: overshoots at edges are not clamped.

    Raises:
        ImageError: The images are not such arrays.
    """
    check_pair(infrared, visible)
    settings = settings or GuidedFilterSettings()
    infrared_saliency, visible_saliency = _saliency(infrared), _saliency(visible)
    infrared_map = (infrared_saliency >= visible_saliency).astype(np.float32)
    visible_map = (visible_saliency >= infrared_saliency).astype(np.float32)

    def infrared_weight(radius: int, epsilon: float) -> np.ndarray:
        first = guided_filter(infrared, infrared_map, radius, epsilon).clip(0.0, 1.0)
        second = guided_filter(visible, visible_map, radius, epsilon).clip(0.0, 1.0)
        return (first + _NO_WEIGHT) / (first + second + 2.0 * _NO_WEIGHT)

    # As the weights sum to one, and base and detail to the image, step 5 is the visible image plus weighted
    # differences: one mean instead of two, and equal images come out bit for bit.
    difference = infrared - visible
    base = _window_mean(difference, settings.average_radius)
    fused = visible + infrared_weight(settings.base_radius, settings.base_epsilon) * base
    fused += infrared_weight(settings.detail_radius, settings.detail_epsilon) * (difference - base)
    return fused


def _saliency(image: np.ndarray) -> np.ndarray:
    edges = np.abs(cv2.Laplacian(image, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REPLICATE))
    return cv2.GaussianBlur(edges, (11, 11), 5.0, borderType=cv2.BORDER_REPLICATE)


def guided_filter(guide: np.ndarray, image: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """Smooth an image except where its guide has edges.

    In each window of ``2 radius + 1`` pixels a side, ``image ~ a guide + b`` is fitted by least squares with
    the penalty ``epsilon a^2`` per pixel; each output pixel is ``a guide + b`` with the mean ``a`` and ``b``
    of the windows that hold it. Windows end at the image's border.

    Source: He, Sun and Tang, "Guided image filtering", IEEE Transactions on Pattern Analysis and Machine
    Intelligence 35(6), 2013, equations 5, 6 and 8.

    Args:
        guide: ``(H, W)`` float32 in [0, 1].
        image: ``(H, W)`` float32 in [0, 1].
        radius: At least 0 pixels.
        epsilon: More than 0, a variance of grey values; float32 carries it from 1e-7 on.

    Returns:
        ``(H, W)`` float32.
    """
    # One block for all maps: taking and giving back memory map by map costs more than the arithmetic.
    centred, product, mean_guide, mean_image, slope, variance = np.empty((6, *guide.shape), np.float32)
    # The output does not change when guide and image are shifted alike, and rounding is least about 0.
    np.subtract(image, 0.5, out=centred)
    _window_mean(centred, radius, out=mean_image)
    guide = guide - 0.5
    _window_mean(guide, radius, out=mean_guide)
    _window_mean(np.multiply(guide, centred, out=product), radius, out=slope)
    slope -= np.multiply(mean_guide, mean_image, out=product)
    _window_mean(np.multiply(guide, guide, out=product), radius, out=variance)
    variance -= np.multiply(mean_guide, mean_guide, out=product)
    np.maximum(variance, 0.0, out=variance)  # rounding may leave it below
    variance += epsilon
    slope /= variance
    offset = np.subtract(mean_image, np.multiply(slope, mean_guide, out=product), out=mean_image)
    guide *= _window_mean(slope, radius, out=product)
    guide += _window_mean(offset, radius, out=product)
    guide += 0.5
    return guide


def _window_mean(image: np.ndarray, radius: int, out: np.ndarray | None = None) -> np.ndarray:
    """Return the mean over the part of each pixel's window that lies inside the image."""
    side = 2 * radius + 1
    mean = cv2.boxFilter(image, cv2.CV_32F, (side, side), out, normalize=False, borderType=cv2.BORDER_CONSTANT)
    rows, columns = (_window_lengths(length, radius) for length in image.shape)
    mean /= rows[:, None]
    mean /= columns
    return mean


def _window_lengths(length: int, radius: int) -> np.ndarray:
    """Return how many of the pixels ``i - radius`` to ``i + radius`` there are, for each ``i`` of a line."""
    centres = np.arange(length)
    lengths = np.minimum(centres + radius, length - 1) - np.maximum(centres - radius, 0) + 1
    return lengths.astype(np.float32)

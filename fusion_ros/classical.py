"""Fusion methods that need no weights: the floor for every network, and what is there when no network is.

Each takes two images on one pixel grid, ``method(infrared, visible) -> fused``, all ``(H, W)`` float32,
the inputs finite and in [0, 1]. The fused image is fresh memory and not clamped: pyramids and guided
filters may overshoot the range a little. Any size from one pixel on will do, and two equal images give
that image again. :data:`CLASSICAL` lists the methods.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from .errors import ImageError
from .settings import Settings, setting
from .spec import NetworkSpec

__all__ = [
    "CLASSICAL",
    "ClassicalMethod",
    "GuidedFilterSettings",
    "LaplacianSettings",
    "average",
    "guided_filter",
    "guided_filter_fusion",
    "laplacian",
    "maximum",
    "pca",
]

# Below this, in units of the squared grey scale, a variance is rounding: (float32's precision)^2 and some.
_NO_VARIANCE = 1e-12
# Weights this small are rounding: where both are, the sources count the same.
_NO_WEIGHT = 1e-6


def average(infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Return ``F = (I + V) / 2``: nothing is lost, and every contrast that one image alone has is halved.

    Args:
        infrared: ``(H, W)`` float32 in [0, 1].
        visible: Likewise, on the same pixel grid.

    Returns:
        ``(H, W)`` float32 in [0, 1].

    Raises:
        ImageError: The images are not such arrays.
    """
    _check_pair(infrared, visible)
    fused = infrared + visible
    fused *= 0.5
    return fused


def maximum(infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Return ``F = max(I, V)``, pixel by pixel: what is bright in either; what is dark in only one is lost.

    Args, returns and raises as for :func:`average`.
    """
    _check_pair(infrared, visible)
    return np.maximum(infrared, visible)


def pca(infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Return the average weighted by the first principal component of the two images.

    ``F = (|v1| I + |v2| V) / (|v1| + |v2|)``, where ``(v1, v2)`` is the unit eigenvector of the greater
    eigenvalue of the covariance ``[[var I, cov], [cov, var V]]`` over all pixels: the image with more variance
    weighs more. The paper has no magnitudes; infrared and visible images are often opposed, the components then
    differ in sign, and a negative weight would show one image as its negative. Two flat images weigh the same.

    Source: Naidu and Raol, "Pixel-level image fusion using wavelets and principal component analysis",
    Defence Science Journal 58(3), 2008.

    Args, returns and raises as for :func:`average`.
    """
    _check_pair(infrared, visible)
    weight = _principal_weight(infrared, visible)
    return cv2.addWeighted(infrared, weight, visible, 1.0 - weight, 0.0)


def _principal_weight(infrared: np.ndarray, visible: np.ndarray) -> float:
    """Return ``|v1| / (|v1| + |v2|)`` of :func:`pca`."""
    centred_infrared = infrared - cv2.mean(infrared)[0]
    centred_visible = visible - cv2.mean(visible)[0]
    covariance = abs(float(np.vdot(centred_infrared, centred_visible))) / infrared.size
    variance_infrared = float(np.vdot(centred_infrared, centred_infrared)) / infrared.size
    variance_visible = float(np.vdot(centred_visible, centred_visible)) / infrared.size
    if max(variance_infrared, variance_visible) <= _NO_VARIANCE:
        return 0.5
    # The angle of a 2x2 covariance's main axis; between 0 and 90 degrees as the covariance is positive.
    angle = 0.5 * math.atan2(2.0 * covariance, variance_infrared - variance_visible)
    return math.cos(angle) / (math.cos(angle) + math.sin(angle))


@dataclass(frozen=True)
class LaplacianSettings(Settings):
    """How deep the pyramid is."""

    levels: int = setting(
        5,
        "Levels of detail above the averaged base; fewer where the longer side has shrunk to about a pixel.",
        bounds=(0, 16),
    )


def laplacian(infrared: np.ndarray, visible: np.ndarray, settings: LaplacianSettings | None = None) -> np.ndarray:
    """Fuse by the Laplacian pyramid: of each detail the stronger one, of the base the average.

    With ``G_0`` an image and ``G_k+1 = reduce(G_k)`` (blur by (1 4 6 4 1)/16, take every second pixel), its
    details are ``L_k = G_k - expand(G_k+1)``. At each level and pixel the fused detail is the one of greater
    magnitude (the infrared one where they are equal); the last ``G`` is averaged; and the image is built up
    again, ``G_k = L_k + expand(G_k+1)``. Borders are reflected, sides of any length are halved upwards.
    A side of one pixel stays one pixel: a row of pixels is fused along its length.

    Source: Burt and Adelson, "The Laplacian pyramid as a compact image code", IEEE Transactions on
    Communications 31(4), 1983; the choice of details: the same, "Merging images through pattern
    decomposition", SPIE 575, 1985.

    Args:
        infrared: ``(H, W)`` float32 in [0, 1].
        visible: Likewise, on the same pixel grid.
        settings: How deep the pyramid is.

    Returns:
        ``(H, W)`` float32, about [0, 1]: overshoots at edges are not clamped.

    Raises:
        ImageError: The images are not such arrays.
    """
    _check_pair(infrared, visible)
    settings = settings or LaplacianSettings()
    halvings = max(infrared.shape).bit_length() - 1
    details = []
    for _ in range(min(settings.levels, halvings)):
        infrared, infrared_detail = _reduce(infrared)
        visible, visible_detail = _reduce(visible)
        is_infrared = np.abs(infrared_detail) >= np.abs(visible_detail)
        details.append(np.where(is_infrared, infrared_detail, visible_detail))
    fused = average(infrared, visible)
    for detail in reversed(details):
        fused = _expand(fused, detail.shape)
        fused += detail
    return fused


def _reduce(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the next level, of half the size rounded up, and the detail that it lacks."""
    smaller = cv2.pyrDown(image)
    return smaller, image - _expand(smaller, image.shape)


def _expand(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return cv2.pyrUp(image, dstsize=(shape[1], shape[0]))


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
    _check_pair(infrared, visible)
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


@dataclass(frozen=True)
class ClassicalMethod:
    """One method without weights.

    Attributes:
        name: Its key in :data:`CLASSICAL`.
        title: Its name among people.
        source: The paper, or where else it is defined.
        function: ``(infrared, visible) -> fused``, ``(H, W)`` float32 in [0, 1]; the result is to be clamped.
        help: What it does, one sentence.
    """

    name: str
    title: str
    source: str
    function: Callable[[np.ndarray, np.ndarray], np.ndarray]
    help: str

    @property
    def spec(self) -> NetworkSpec:
        """What it consumes and gives, as a network would say it: [0, 1] both ways."""
        return NetworkSpec(name=self.name, title=self.title, source=self.source)


CLASSICAL: dict[str, ClassicalMethod] = {
    method.name: method
    for method in (
        ClassicalMethod("average", "Average", "the definition", average, "The mean of the two images."),
        ClassicalMethod("maximum", "Maximum", "the definition", maximum, "The brighter of each two pixels."),
        ClassicalMethod(
            "laplacian",
            "Laplacian pyramid",
            "Burt and Adelson, IEEE Transactions on Communications 31(4), 1983",
            laplacian,
            "The stronger of each two details at every scale; the coarse rest averaged.",
        ),
        ClassicalMethod(
            "guided_filter",
            "Guided-filter fusion (GFF)",
            "Li, Kang and Hu, IEEE Transactions on Image Processing 22(7), 2013",
            guided_filter_fusion,
            "Base and detail weighted by saliency, the weights refined to follow the images' edges.",
        ),
        ClassicalMethod(
            "pca",
            "Principal component",
            "Naidu and Raol, Defence Science Journal 58(3), 2008",
            pca,
            "The mean weighted by the images' first principal component.",
        ),
    )
}
"""Method name -> method."""


def _check_pair(infrared: np.ndarray, visible: np.ndarray) -> None:
    for name, image in (("infrared", infrared), ("visible", visible)):
        if not isinstance(image, np.ndarray) or image.dtype != np.float32:
            kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
            raise ImageError(f"{name}: expected an array of float32, got {kind}")
        if image.ndim != 2 or image.size == 0:
            raise ImageError(f"{name}: expected shape (H, W), got {image.shape}")
    if infrared.shape != visible.shape:
        raise ImageError(
            f"expected two images on one pixel grid, got infrared {infrared.shape} and visible "
            f"{visible.shape} (height, width); align or resize one of them"
        )

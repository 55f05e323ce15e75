"""Every pixel from the same pixel of both images: average, maximum, principal component."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ..arrays import check_pair

__all__ = ["average", "maximum", "pca"]

# Below this, in units of the squared grey scale, a variance is rounding: (float32's precision)^2 and some.
_NO_VARIANCE = 1e-12


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
    check_pair(infrared, visible)
    fused = infrared + visible
    fused *= 0.5
    return fused


def maximum(infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Return ``F = max(I, V)``, pixel by pixel: what is bright in either; what is dark in only one is lost.

    Args, returns and raises as for :func:`average`.
    """
    check_pair(infrared, visible)
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
    check_pair(infrared, visible)
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

"""Windows that slide over images, and the local moments that structural and fidelity metrics are made of.

All in double precision: a local variance is the small difference of two large numbers. Images are gone through
in strips, so that what is made of one stays in the processor's cache until it has been summed up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

__all__ = ["LocalMoments", "box_sum", "gaussian_mean", "gaussian_taps", "strips"]

_STRIP_PIXELS = 24_000
_LEAST_ROWS = 16


def strips(images: Sequence[np.ndarray], side: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield images in strips, as float64, in which a window of ``side`` rows stands at each place just once.

    Each strip but the last holds an even number of places of the window from top to bottom; neighbours share
    ``side - 1`` rows. Nothing comes of images lower than the window.

    Args:
        images: ``(H, W)``, all of one size.
        side: Rows of the window.
    """
    height, width = images[0].shape
    rows = max(_LEAST_ROWS, _STRIP_PIXELS // width - side + 1) // 2 * 2
    for top in range(0, height - side + 1, rows):
        yield tuple(np.asarray(image[top : top + rows + side - 1], np.float64) for image in images)


def gaussian_taps(side: int, sigma: float) -> np.ndarray:
    """Return the ``(side,)`` weights of a sampled Gaussian around the middle, of sum 1; ``side`` is odd."""
    offsets = np.arange(side) - side // 2
    taps = np.exp(-(offsets**2) / (2.0 * sigma**2))
    return taps / taps.sum()


def gaussian_mean(image: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Return the separable weighted mean where the window fits, ``(H - side + 1, W - side + 1)``."""
    return _valid_part(cv2.sepFilter2D(image, cv2.CV_64F, taps, taps), len(taps))


def box_sum(image: np.ndarray, side: int) -> np.ndarray:
    """Return the sum over the window of ``side`` x ``side`` where it fits, ``(H - side + 1, W - side + 1)``.

    Exact where the values are multiples of a power of two, as 8-bit images and their halvings are.
    """
    return _valid_part(cv2.boxFilter(image, cv2.CV_64F, (side, side), normalize=False), side)


def _valid_part(filtered: np.ndarray, side: int) -> np.ndarray:
    half = side // 2
    # A copy: arithmetic on rows with gaps between them takes three times as long.
    return filtered[half : filtered.shape[0] - half, half : filtered.shape[1] - half].copy()


class LocalMoments:
    """Means, variances and covariances of images under one window, each made when first asked for.

    Args:
        images: ``(H, W)`` float64, all of one size.
        mean: Returns the local mean of an image.
    """

    def __init__(self, images: Sequence[np.ndarray], mean: Callable[[np.ndarray], np.ndarray]) -> None:
        self._images = images
        self._mean = mean
        self._means: dict[int, np.ndarray] = {}
        self._covariances: dict[tuple[int, int], np.ndarray] = {}

    def mean(self, index: int) -> np.ndarray:
        """Return the local mean of an image; not to be written to."""
        if index not in self._means:
            self._means[index] = self._mean(self._images[index])
        return self._means[index]

    def covariance(self, first: int, second: int) -> np.ndarray:
        """Return ``E[xy] - E[x] E[y]`` of two images; not to be written to.

        A variance may come out below zero by rounding.
        """
        key = (min(first, second), max(first, second))
        if key not in self._covariances:
            covariance = self._mean(self._images[first] * self._images[second])
            covariance -= self.mean(first) * self.mean(second)
            self._covariances[key] = covariance
        return self._covariances[key]

    def variance(self, index: int) -> np.ndarray:
        """Return ``E[x^2] - E[x]^2`` of an image; not to be written to."""
        return self.covariance(index, index)

"""What a target looked like for long: tells it from what a filter has drifted to, and how its box has changed."""

from __future__ import annotations

import math

import numpy as np

from .sampling import samples

__all__ = ["Template"]

_PLACES = 8  # samples along each side of the box
_STEP = 1.03  # between neighbouring stretches; several together cover what a target changes in a frame
_STIFFNESS = 0.5  # correlation that a change has to gain, over its logarithm squared: 0.005 for 10 %
_RATE = 0.02  # of learning; a filter's memory is shorter
_FAINT = 0.1  # of the contrast learned: what is fainter resembles nothing
_NOTHING = 1e-12


class Template:
    """The features of a box at a few places, without their mean over these.

    Args:
        values: ``(h, w, C)`` float32.
        centre: ``(x, y)`` of the box in cells.
        extent: ``(width, height)`` of the box in cells.
    """

    def __init__(self, values: np.ndarray, centre: tuple[float, float], extent: tuple[float, float]) -> None:
        (self._features,), (self._length,) = _box_features(values, centre, np.array([extent]))

    @property
    def contrast(self) -> float:
        """Root mean square of the features, without their mean; 0 where all places look the same."""
        return float(self._length) / self._features.size**0.5

    def similarity(self, values: np.ndarray, centre: tuple[float, float], extent: tuple[float, float]) -> float:
        """Return the correlation coefficient with a box, at least 0; arguments as of the class.

        Where the box has a fraction of the contrast that was learned it is less: noise may resemble anything.
        """
        (features,), (length,) = _box_features(values, centre, np.array([extent]))
        faded = length * (1.0 + _FAINT) / max(length + _FAINT * self._length, _NOTHING)
        return max(0.0, min(faded, 1.0) * float(features @ self._features))

    def stretch(
        self, values: np.ndarray, centre: tuple[float, float], extent: tuple[float, float], axis: int, count: int
    ) -> float:
        """Return the factor by which one side of a box has grown.

        Of boxes stretched along one axis, the one that correlates best, a small change being likelier than a large
        one; between them by a parabola. A filter that is trained over scales (Danelljan et al., "Discriminative
        scale space tracking", IEEE PAMI 2017) was tried instead: what all scales of a smooth map have in common
        draws it to a factor of 1, on textures all the way.

        Args:
            values: As of the class.
            centre: Likewise.
            extent: Likewise, with the side as it was.
            axis: 0: the width; 1: the height.
            count: Number of stretches, 3 % apart, that are tried.
        """
        steps = np.arange(count) - (count - 1) / 2
        extents = np.tile(np.asarray(extent, np.float64), (count, 1))
        extents[:, axis] *= _STEP**steps
        alike = _box_features(values, centre, extents)[0] @ self._features
        alike = alike - _STIFFNESS * (steps * math.log(_STEP)) ** 2
        best = int(alike.argmax())
        step = float(steps[best])
        if 0 < best < count - 1:
            before, here, after = alike[best - 1 : best + 2]
            curvature = before - 2.0 * here + after
            step += 0.5 * (before - after) / curvature if curvature < 0.0 else 0.0
        return float(_STEP**step)

    def learn(self, values: np.ndarray, centre: tuple[float, float], extent: tuple[float, float]) -> None:
        """Take in a box, slowly; arguments as of the class."""
        (features,), (length,) = _box_features(values, centre, np.array([extent]))
        mixed = self._features + np.float32(_RATE) * (features - self._features)
        self._features = mixed / np.float32(max(float(np.linalg.norm(mixed)), _NOTHING))
        self._length += _RATE * (length - self._length)


def _box_features(
    values: np.ndarray, centre: tuple[float, float], extents: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Features of boxes around one place, ``(S, 8 * 8 * C)`` of length 1, and their lengths before, ``(S,)``."""
    features = samples(values, centre, extents / _PLACES, (_PLACES, _PLACES))
    features = (features - features.mean(axis=(1, 2), keepdims=True)).reshape(len(extents), -1)
    lengths = np.linalg.norm(features, axis=1)
    return features / np.maximum(lengths, np.float32(_NOTHING))[:, None], lengths

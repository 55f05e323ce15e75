"""Random displacement fields of a given size and strength.

Every function takes the image's size ``(h, w)``, a level and a generator of random numbers, and returns
``(H, W, 2)`` float32, x first, in pixels, in the convention of :mod:`fusion_ros.synthetic.misalign`. A level in
pixels is the root mean square of the displacement's length over the image, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

__all__ = ["affine", "elastic", "mixed", "perspective", "rotation", "scale", "shift"]

Size = tuple[int, int]

_SIGMA = 32.0  # px
_PITCH = 4  # px between the random numbers: an eighth of the filter's sigma loses nothing of the field
_SCALINGS = 5  # each takes one or two digits off the difference from the level


def shift(size: Size, level: float, rng: np.random.Generator) -> np.ndarray:
    """Return a shift by ``level`` pixels in a random direction."""
    angle = rng.uniform(0.0, 2.0 * math.pi)
    return np.full((*size, 2), (level * math.cos(angle), level * math.sin(angle)), np.float32)


def rotation(size: Size, level: float, rng: np.random.Generator) -> np.ndarray:
    """Return a rotation by ``level`` degrees about the image's centre, clockwise or not."""
    angle = math.radians(level) * rng.choice((-1.0, 1.0))
    cosine, sine = math.cos(angle), math.sin(angle)
    return _linear(size, np.array([[cosine - 1.0, -sine], [sine, cosine - 1.0]]))


def scale(size: Size, level: float, rng: np.random.Generator) -> np.ndarray:
    """Return a scaling about the image's centre: positions grow or shrink by ``level`` per cent."""
    return _linear(size, np.eye(2) * (level / 100.0 * rng.choice((-1.0, 1.0))))


def affine(size: Size, level: float, rng: np.random.Generator) -> np.ndarray:
    """Return a random affine displacement of ``level`` pixels.

    On average, half of its mean square is translation, the other half rotation, scale and shear together.
    """
    radius = math.sqrt((size[0] ** 2 + size[1] ** 2 - 2) / 12.0)  # RMS distance of pixels from the centre
    matrix, translation = rng.standard_normal((2, 2)) / radius, rng.standard_normal(2)
    return _of_level(_linear(size, matrix, translation), level)


def perspective(size: Size, level: float, rng: np.random.Generator) -> np.ndarray:
    """Return the displacement of a random homography, ``level`` pixels: every corner moves independently.

    A multiple of such a displacement is not that of a homography, so the corners' moves, not the displacement,
    are scaled to the level.

    Source: the four-point parametrisation of DeTone et al., "Deep Image Homography Estimation", 2016, section 3.
    """
    if level == 0.0:
        return np.zeros((*size, 2), np.float32)
    right, bottom = size[1] - 1.0, size[0] - 1.0
    corners = np.array([[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]], np.float32)
    moves = rng.uniform(-1.0, 1.0, (4, 2))
    for _ in range(_SCALINGS):
        field = _projective(size, cv2.getPerspectiveTransform(corners, (corners + moves).astype(np.float32)))
        moves *= level / _rms(field)
    return _of_level(field, level)


def elastic(size: Size, level: float, rng: np.random.Generator) -> np.ndarray:
    """Return a random smooth displacement of ``level`` pixels: uniform noise under a Gaussian of 32 px.

    So is ReCoNet's, which cuts the Gaussian at 143, 103 and 63 pixels for "easy", "normal" and "hard": on average
    2.1, 2.5 and 3.7 px on images of 640 x 480 pixels. Here it is not cut, and the noise goes on beyond the border,
    so that the displacement does not fade there.

    Source: Huang et al., ReCoNet, released code, ``modules/random_adjust.py`` and ``lightning/auto_rf.py``.
    """
    sigma = _SIGMA / _PITCH
    margin = math.ceil(4 * sigma)
    height, width = (-(-side // _PITCH) + 1 for side in size)
    noise = rng.uniform(-1.0, 1.0, (height + 2 * margin, width + 2 * margin, 2)).astype(np.float32)
    coarse = cv2.GaussianBlur(noise, (0, 0), sigma)[margin:-margin, margin:-margin]
    fine = cv2.resize(coarse, None, fx=_PITCH, fy=_PITCH, interpolation=cv2.INTER_CUBIC)
    return _of_level(fine[: size[0], : size[1]], level)


def mixed(size: Size, level: float, rng: np.random.Generator) -> np.ndarray:
    """Return the sum of an affine and an elastic displacement of equal strength, ``level`` pixels together."""
    return _of_level(affine(size, 1.0, rng) + elastic(size, 1.0, rng), level)


def _linear(size: Size, matrix: np.ndarray, translation: Sequence[float] = (0.0, 0.0)) -> np.ndarray:
    """``matrix @ p + translation`` for the position ``p`` of every pixel relative to the image's centre."""
    x, y = (np.arange(side) - (side - 1) / 2.0 for side in (size[1], size[0]))
    field = np.empty((*size, 2), np.float32)
    for axis, (along_x, along_y) in enumerate(matrix):
        field[..., axis] = along_x * x + (along_y * y + translation[axis])[:, None]
    return field


def _projective(size: Size, homography: np.ndarray) -> np.ndarray:
    """``homography @ p - p`` for the position ``p`` of every pixel."""
    x, y = np.arange(size[1], dtype=np.float64), np.arange(size[0], dtype=np.float64)[:, None]
    to_x, to_y, depth = (row[0] * x + (row[1] * y + row[2]) for row in homography)
    return np.dstack([to_x / depth - x, to_y / depth - y]).astype(np.float32)


def _rms(field: np.ndarray) -> float:
    return cv2.norm(field) / math.sqrt(field.shape[0] * field.shape[1])


def _of_level(field: np.ndarray, level: float) -> np.ndarray:
    return field * np.float32(level / _rms(field))

"""Resampling an image onto another pixel grid: by size, by homography, by flow.

Convention: pixel centres lie at integers, so an image of size ``(h, w)`` covers -0.5 to w - 0.5 across and
-0.5 to h - 0.5 down. A homography is named for what it takes and gives, and acts on ``(x, y, 1)``.
Interpolation is in the image's own type: 16-bit counts stay counts, nothing is rescaled. Bilinear, it never gives
a value beyond those around it, but takes 10 to 15 % of the spatial frequency of real thermal images; bicubic keeps
all but 1 to 3 %, and overshoots by a few per cent beside hard edges (integers saturate).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np

from ..errors import CalibrationError, ImageError

__all__ = [
    "INTERPOLATIONS",
    "WarpMaps",
    "area_scale",
    "as_homography",
    "flow_positions",
    "homography_maps",
    "inner_rectangle",
    "remap",
    "resize",
    "resize_homography",
    "scaled_homography",
    "valid_mask",
    "warp_by_flow",
]

Size = tuple[int, int]
INTERPOLATIONS: Mapping[str, int] = MappingProxyType({"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC})
"""OpenCV's constants by name."""

_DTYPES = (np.uint8, np.uint16, np.float32)
_OUTSIDE = -2.0  # a position none of whose four neighbours is in the image
_LARGEST_CONDITION = 1e12  # far above any real calibration, far below a matrix that lost a rank


@dataclass(frozen=True, eq=False)
class WarpMaps:
    """Where each output pixel comes from; made once, used for every frame.

    Convention: output pixel ``(x, y)`` shows the point ``(source_x[y, x], source_y[y, x])`` of the source image.

    Kept in floating point, which OpenCV 5 samples exactly and faster than its fixed-point
    tables; earlier versions round to 1/32 pixel either way.

    Attributes:
        source_x: ``(H, W)`` float32 on the output grid, in source pixels.
        source_y: The same downwards.
        valid: ``(H, W)`` bool; False where the source image does not reach.
        source_size: ``(h, w)`` of the source image.
    """

    source_x: np.ndarray
    source_y: np.ndarray
    valid: np.ndarray
    source_size: Size


def as_homography(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return nine numbers in row-major order, or a 3x3 matrix, as a checked 3x3 float64 homography.

    Raises:
        CalibrationError: Not nine numbers, one is not finite, or the matrix cannot be inverted.
    """
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.size != 9:
        raise CalibrationError(f"expected the 9 numbers of a homography in row-major order, got {matrix.size}")
    matrix = matrix.reshape(3, 3)
    if not np.isfinite(matrix).all():
        raise CalibrationError(f"expected finite numbers in the homography, got {matrix.tolist()}")
    if not np.linalg.cond(matrix) < _LARGEST_CONDITION:
        raise CalibrationError(f"the homography is singular, so it cannot be inverted: {matrix.tolist()}")
    return matrix


def area_scale(homography: np.ndarray, size: Size) -> float:
    """Return how many output pixels one source pixel covers at the centre of a source image of ``size``.

    This is the determinant of the homography's Jacobian there; it is negative where the image is mirrored.

    Raises:
        CalibrationError: The centre of the image is mapped to infinity.
    """
    _, _, depth = homography @ _centre(size)
    if depth == 0.0:
        raise CalibrationError(f"the homography maps the centre of an image of {_text(size)} to infinity")
    return float(np.linalg.det(homography) / depth**3)


def resize_homography(from_size: Size, to_size: Size) -> np.ndarray:
    """Return ``to_from_from``: where a pixel of an image lies after the image was resized.

    Convention: both images cover the same scene to their outer edges, which lie half a pixel beyond the
    outermost centres: ``x' = (x + 0.5) * w' / w - 0.5``.
    """
    scale_y, scale_x = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return np.array(
        [[scale_x, 0.0, (scale_x - 1.0) / 2.0], [0.0, scale_y, (scale_y - 1.0) / 2.0], [0.0, 0.0, 1.0]]
    )


def scaled_homography(
    output_from_source: np.ndarray,
    *,
    measured_source: Size,
    source: Size,
    measured_output: Size,
    output: Size,
) -> np.ndarray:
    """Return a homography for images of other sizes than those that it was measured with.

    The images are taken to be resized, not cropped.

    Args:
        output_from_source: 3x3, valid for images of the measured sizes.
        measured_source: ``(h, w)`` of the source image at calibration.
        source: ``(h, w)`` of the source image in use.
        measured_output: ``(h, w)`` of the output image at calibration.
        output: ``(h, w)`` of the output image in use.
    """
    return (
        resize_homography(measured_output, output)
        @ output_from_source
        @ resize_homography(source, measured_source)
    )


def homography_maps(output_from_source: np.ndarray, source_size: Size, output_size: Size) -> WarpMaps:
    """Return the maps that bring a source image onto the output grid, e.g. ``rgb_from_thermal``.

    Convention: ``output_from_source`` takes a source pixel to the output pixel where it is seen. What lies behind
    the source camera (a negative third coordinate) is not seen. Within the outer half pixel of the source, where
    there is no second neighbour to interpolate with, its outermost pixels are taken as they are.

    Raises:
        CalibrationError: The homography is singular, not finite, or mirrors the image.
    """
    homography = as_homography(output_from_source)
    if area_scale(homography, source_size) < 0.0:
        raise CalibrationError(
            f"the homography mirrors the image: {homography.tolist()}; check the order and signs of its numbers"
        )
    # Made positive at the image's centre, so that a positive depth means in front of the camera.
    homography = homography * np.sign(homography[2] @ _centre(source_size))
    x, y = np.meshgrid(np.arange(output_size[1], dtype=np.float64), np.arange(output_size[0], dtype=np.float64))
    inverse = np.linalg.inv(homography)
    depth = inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2]
    in_front = depth > 0.0
    depth[~in_front] = 1.0
    source_x, source_y = ((row[0] * x + row[1] * y + row[2]) / depth for row in inverse[:2])
    valid = in_front & valid_mask(source_x, source_y, source_size)
    height, width = source_size
    source_x = np.where(valid, np.clip(source_x, 0.0, width - 1.0), _OUTSIDE)
    source_y = np.where(valid, np.clip(source_y, 0.0, height - 1.0), _OUTSIDE)
    return WarpMaps(source_x.astype(np.float32), source_y.astype(np.float32), valid, source_size)


def valid_mask(source_x: np.ndarray, source_y: np.ndarray, source_size: Size) -> np.ndarray:
    """Tell which positions lie on a source image of ``(h, w)``, including the outer half of its border pixels."""
    height, width = source_size
    inside_x = (source_x >= -0.5) & (source_x <= width - 0.5)
    return inside_x & (source_y >= -0.5) & (source_y <= height - 0.5)


def inner_rectangle(valid: np.ndarray) -> tuple[slice, slice]:
    """Return a large axis-aligned rectangle in which everything is valid, as slices of rows and of columns.

    From the bounds of what is valid, the side with the largest invalid share is taken off until none is left. For
    the overlap of two cameras, which is convex, that comes within a few lines of the largest rectangle; both
    slices are empty where nothing is valid.

    Args:
        valid: ``(H, W)`` bool.
    """
    sums = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1), np.int64)  # of valid pixels above and to the left
    sums[1:, 1:] = valid.cumsum(axis=0).cumsum(axis=1)
    rows, columns = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
    if rows.size == 0:
        return slice(0, 0), slice(0, 0)
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1

    def invalid(first: int, end: int, begin: int, stop: int) -> float:
        inside = sums[end, stop] - sums[first, stop] - sums[end, begin] + sums[first, begin]
        return 1.0 - inside / ((end - first) * (stop - begin))

    while invalid(top, bottom, left, right) > 0.0:
        sides = (
            invalid(top, top + 1, left, right),
            invalid(bottom - 1, bottom, left, right),
            invalid(top, bottom, left, left + 1),
            invalid(top, bottom, right - 1, right),
        )
        worst = int(np.argmax(sides))
        top, bottom = top + (worst == 0), bottom - (worst == 1)
        left, right = left + (worst == 2), right - (worst == 3)
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def remap(
    image: np.ndarray, maps: WarpMaps, border_value: float = 0.0, interpolation: str = "bilinear"
) -> np.ndarray:
    """Bring an image onto the output grid.

    Args:
        image: ``(h, w)`` or ``(h, w, C)`` with at most 4 channels; uint8, uint16 or float32.
        maps: From :func:`homography_maps`, for images of this size.
        border_value: Value where ``maps.valid`` is False.
        interpolation: One of :data:`INTERPOLATIONS`.

    Returns:
        ``(H, W)`` or ``(H, W, C)`` in the type of the image.

    Raises:
        ImageError: The type, the number of channels or the size does not fit.
    """
    if image.shape[:2] != maps.source_size:
        raise ImageError(
            f"expected an image of {_text(maps.source_size)} as the maps were made for, "
            f"got {_text(image.shape[:2])}; make new maps"
        )
    # With the image's border going on beyond it: bicubic sampling looks a pixel farther than what is sampled.
    result = _sample(image, maps.source_x, maps.source_y, interpolation)
    if not maps.valid.all():
        result[~maps.valid] = border_value
    return result


def flow_positions(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where a flow ``(H, W, 2)`` points: x and y of each pixel's source, each ``(H, W)`` float32."""
    height, width = flow.shape[:2]
    x = flow[..., 0].astype(np.float32) + np.arange(width, dtype=np.float32)
    y = flow[..., 1].astype(np.float32) + np.arange(height, dtype=np.float32)[:, None]
    return x, y


def warp_by_flow(image: np.ndarray, flow: np.ndarray, interpolation: str = "bilinear") -> np.ndarray:
    """Sample an image where a flow points; positions beyond the image take its nearest border pixel.

    Convention: ``flow`` lives on the output grid and points from the output pixel to its source:
    ``output(x, y) = image(x + flow_x, y + flow_y)``. (A flow that lives on the image's grid and says where its
    pixels go must be inverted first.)

    Args:
        image: ``(h, w)`` or ``(h, w, C)`` with at most 4 channels; uint8, uint16 or float32.
        flow: ``(H, W, 2)``, ``(x, y)`` in pixels; ``(H, W)`` is the size of the output.
        interpolation: One of :data:`INTERPOLATIONS`.

    Raises:
        ImageError: The flow is not ``(H, W, 2)``, or the image's type or number of channels does not fit.
    """
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise ImageError(f"expected a flow of shape (H, W, 2), got {flow.shape}")
    source_x, source_y = flow_positions(flow)
    return _sample(image, source_x, source_y, interpolation)


def resize(image: np.ndarray, size: Size) -> np.ndarray:
    """Resize to ``(h, w)``: bilinear where it grows, the mean over each new pixel's area where it shrinks.

    Convention: as in :func:`resize_homography`. An image that has the size already is returned itself.

    Raises:
        ImageError: The type or the number of channels does not fit.
    """
    if image.shape[:2] == size:
        return image
    shrinks = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    result = cv2.resize(_checked(image), (size[1], size[0]), interpolation=method)
    return result.reshape(*size, *image.shape[2:])


def _sample(image: np.ndarray, source_x: np.ndarray, source_y: np.ndarray, interpolation: str) -> np.ndarray:
    method = INTERPOLATIONS[interpolation]
    result = cv2.remap(_checked(image), source_x, source_y, method, borderMode=cv2.BORDER_REPLICATE)
    return result.reshape(*source_x.shape, *image.shape[2:])  # OpenCV drops an axis of one channel


def _checked(image: np.ndarray) -> np.ndarray:
    if image.dtype not in _DTYPES or image.ndim not in (2, 3) or image.shape[2:] > (4,):
        raise ImageError(
            "expected (H, W) or (H, W, C) pixels of uint8, uint16 or float32 with at most 4 channels, "
            f"got {image.dtype} {image.shape}"
        )
    return np.ascontiguousarray(image)  # views with reversed channels have strides that OpenCV does not take


def _centre(size: Size) -> np.ndarray:
    return np.array([(size[1] - 1) / 2.0, (size[0] - 1) / 2.0, 1.0])


def _text(size: Size) -> str:
    return f"{size[1]} x {size[0]} pixels"

"""Encodings whose colour is sub-sampled (Bayer, packed YUV 4:2:2, planar YUV 4:2:0), to and from RGB.

YUV here is BT.601 with limited range (Y 16..235, U and V 16..240), what cameras send.
"""

from __future__ import annotations

import cv2
import numpy as np

from .colour import packed
from .encodings import Encoding, Layout

__all__ = ["rgb_from_subsampled", "subsampled_from_rgb"]

# OpenCV names a mosaic by the second and third sample of its second row: "BG" starts with R G.
_TO_RGB = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuyv": cv2.COLOR_YUV2RGB_YUYV,
    "nv12": cv2.COLOR_YUV2RGB_NV12,
    "nv21": cv2.COLOR_YUV2RGB_NV21,
}

# ITU-R BT.601-7, 2.5.1 to 2.5.4, for 8-bit R'G'B' of full range: rows Y, U (Cb), V (Cr); last column the offset.
_YUV_FROM_RGB = np.array(
    [
        [65.481 / 255, 128.553 / 255, 24.966 / 255, 16.0],
        [-37.797 / 255, -74.203 / 255, 112.0 / 255, 128.0],
        [112.0 / 255, -93.786 / 255, -18.214 / 255, 128.0],
    ]
)


def rgb_from_subsampled(wire: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Compute RGB from what is on the wire.

    Args:
        wire: ``(H, W)`` for Bayer, ``(H, W, 2)`` for 4:2:2, ``(3 H / 2, W)`` for 4:2:0, in native byte order.
        encoding: A sub-sampled encoding whose size rules the image keeps.

    Returns:
        ``(H, W, 3)`` RGB of the encoding's type; Bayer is interpolated linearly.
    """
    return cv2.cvtColor(wire, _TO_RGB[encoding.pattern])


def subsampled_from_rgb(rgb: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Arrange RGB as it goes on the wire; the inverse of :func:`rgb_from_subsampled`.

    Bayer keeps the sample that the mosaic would have seen; YUV averages the chroma of the pixels that share it.
    """
    if encoding.layout is Layout.BAYER:
        return _mosaic(rgb, encoding.pattern)
    yuv = cv2.transform(packed(rgb), _YUV_FROM_RGB)
    if encoding.layout is Layout.YUV422:
        return _pack_422(yuv, encoding.pattern)
    return _pack_420(yuv, encoding.pattern)


def _mosaic(rgb: np.ndarray, pattern: str) -> np.ndarray:
    wire = np.empty(rgb.shape[:2], rgb.dtype)
    for position, color in enumerate(pattern):
        y, x = divmod(position, 2)
        wire[y::2, x::2] = rgb[y::2, x::2, "rgb".index(color)]
    return wire


def _pack_422(yuv: np.ndarray, pattern: str) -> np.ndarray:
    height, width = yuv.shape[:2]
    _, u, v = cv2.split(cv2.resize(yuv, (width // 2, height), interpolation=cv2.INTER_AREA))
    chroma = cv2.merge([u, v]).reshape(height, width)  # U, V of a pair: one sample per pixel
    luma = cv2.extractChannel(yuv, 0)
    return cv2.merge([luma, chroma] if pattern == "yuyv" else [chroma, luma])


def _pack_420(yuv: np.ndarray, pattern: str) -> np.ndarray:
    height, width = yuv.shape[:2]
    _, u, v = cv2.split(cv2.resize(yuv, (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    chroma = cv2.merge([u, v] if pattern == "nv12" else [v, u]).reshape(height // 2, width)
    return np.concatenate([cv2.extractChannel(yuv, 0), chroma])

"""``sensor_msgs/CompressedImage`` to array and back: JPEG and PNG, through OpenCV."""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np

from ..errors import ImageError, nearest_name
from ..frame import Frame, Unit
from .colour import packed
from .convert import byte_view, exchange_red_and_blue, stamped_frame

__all__ = ["CompressedMessage", "array_from_compressed", "compressed_data", "frame_from_compressed"]

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG", b"IEND"
_DTYPES = {"jpeg": (np.uint8,), "png": (np.uint8, np.uint16)}
_CHANNELS = {"jpeg": (1, 3), "png": (1, 3, 4)}


class CompressedMessage(Protocol):
    """The fields of ``sensor_msgs/CompressedImage`` that describe pixels."""

    format: str
    data: Any


def array_from_compressed(message: CompressedMessage) -> np.ndarray:
    """Decode a compressed image.

    Returns:
        ``(H, W)``, ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA; uint8, or uint16 from a 16-bit PNG. Colour
        order is what the JPEG or PNG standard says, whatever order ``format`` mentions. Orientation
        tags are ignored: the pixel grid is the sensor's, as in the camera info.

    Raises:
        ImageError: Depth in the ``compressedDepth`` transport's own format; data that is empty, truncated
            or no image.
    """
    if "compressedDepth" in message.format:
        raise ImageError(
            f"cannot decode format {message.format!r}: compressedDepth has its own header and depth coding; "
            "subscribe to the camera's raw topic or to its 'compressed' transport"
        )
    content = byte_view(message.data).tobytes()
    _check_complete(content, message.format)
    image = _decoded(content, message.format)
    return image if image.ndim == 2 else exchange_red_and_blue(image)


def frame_from_compressed(message: Any, unit: Unit | None = None) -> Frame:
    """Return a compressed image message as a frame; its encoding names the decoded pixels.

    Args:
        message: As for :func:`array_from_compressed`, with a ``header``.
        unit: As for :func:`~fusion_ros.imaging.convert.frame_from_image`.

    Raises:
        ImageError: As :func:`array_from_compressed`.
    """
    pixels = array_from_compressed(message)
    kind = {1: "mono", 3: "rgb", 4: "rgba"}[pixels.shape[2] if pixels.ndim == 3 else 1]
    return stamped_frame(message.header, pixels, f"{kind}{8 * pixels.itemsize}", unit)


def compressed_data(array: np.ndarray, format: str = "jpeg", quality: int = 90) -> bytes:
    """Encode an image for the ``data`` of a compressed message whose ``format`` is the same word.

    Args:
        array: Grey or RGB, uint8; PNG also takes RGBA and uint16.
        format: ``jpeg`` or ``png``.
        quality: JPEG quality, 1 to 100. PNG is lossless and ignores it.

    Raises:
        ImageError: Unknown format, quality out of bounds, or pixels that the format cannot hold.
    """
    if format not in _DTYPES:
        raise ImageError(f"expected format jpeg or png, got {format!r}; {nearest_name(format, _DTYPES)}")
    if not 1 <= quality <= 100:
        raise ImageError(f"expected a quality of 1 to 100, got {quality}")
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or 0 in array.shape or channels not in _CHANNELS[format]:
        raise ImageError(f"{format} holds images of {_CHANNELS[format]} channels, got shape {array.shape}")
    if array.dtype not in _DTYPES[format]:
        names = " or ".join(np.dtype(dtype).name for dtype in _DTYPES[format])
        raise ImageError(f"{format} holds {names} pixels, got {array.dtype}; scale them first")
    array = packed(array) if channels == 1 else packed(exchange_red_and_blue(array))
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if format == "jpeg" else []
    return cv2.imencode(f".{format}", array, options)[1].tobytes()


def _check_complete(content: bytes, format: str) -> None:
    """Refuse data that stops before its end marker; older OpenCV would give a half-grey picture."""
    if not content:
        raise ImageError(f"expected an image file, got no data (format {format!r})")
    for start, end in ((_JPEG_START, _JPEG_END), (_PNG_START, _PNG_END)):
        if content.startswith(start) and end not in content:
            raise ImageError(
                f"expected a complete image, got {len(content)} bytes of format {format!r} without an end marker: "
                "the data was truncated on its way"
            )


def _decoded(content: bytes, format: str) -> np.ndarray:
    message = (
        f"expected an image such as JPEG or PNG, got {len(content)} bytes of format {format!r} that do not decode"
    )
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:  # such as dimensions beyond OpenCV's limit
        raise ImageError(message) from error
    if image is None:
        raise ImageError(message)
    return image

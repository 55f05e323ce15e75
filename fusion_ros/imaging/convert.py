"""``sensor_msgs/Image`` to array and back, for any object with the message's fields.

Reading gives a view on the message's own memory wherever that is possible: padded rows become
strides, and ``bgr8`` becomes RGB by walking the channels backwards. Nothing is viewed before
height, width, step and the length of the data were found to agree.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from ..errors import ImageError
from ..frame import Frame, Unit
from .colour import packed
from .encodings import Encoding, Layout
from .encodings import encoding as find_encoding
from .subsampled import rgb_from_subsampled, subsampled_from_rgb

__all__ = [
    "ImageFields",
    "ImageMessage",
    "array_from_image",
    "check_image",
    "frame_from_image",
    "image_fields",
    "stamped_frame",
]


class ImageMessage(Protocol):
    """The fields of ``sensor_msgs/Image`` that describe pixels, whichever library made the object."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


@dataclass(frozen=True, eq=False)
class ImageFields:
    """What to put into the fields of a ``sensor_msgs/Image``.

    Attributes:
        step: Bytes from the start of one row to the next; rows are never padded here.
        data: Flat, contiguous bytes. A view on the array that was given where its layout already
            was the wire's: fill the message before the array changes.
    """

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview


def array_from_image(message: ImageMessage) -> np.ndarray:
    """Return the pixels of an image message.

    Args:
        message: An ``Image`` of rclpy or of rosbags, an :class:`ImageFields`, or anything like them.

    Returns:
        ``(H, W)`` or ``(H, W, C)`` in native byte order; colour in RGB(A) order. A view on the message's
        memory (read-only where that is), except for ``bgra``, Bayer and YUV encodings, for data of the
        other byte order and for samples at odd addresses. Bayer and YUV become RGB.

    Raises:
        ImageError: Unknown encoding; zero size; ``step`` too small for a row; data too short, or
            longer than height and step allow; data outside the memory of the CPU.
    """
    known = find_encoding(message.encoding)
    wire = _view(message, known)
    if wire.dtype != known.dtype or not wire.flags.aligned:
        wire = wire.astype(known.dtype)  # other byte order, or samples that OpenCV could not address
    if known.is_subsampled:
        return rgb_from_subsampled(wire, known)
    if known.layout is Layout.BLUE_FIRST:
        return exchange_red_and_blue(wire)
    return wire


def check_image(message: ImageMessage) -> None:
    """Check that a message holds what its fields promise, without touching a pixel: microseconds.

    Raises:
        ImageError: As :func:`array_from_image`.
    """
    _view(message, find_encoding(message.encoding))


def frame_from_image(message: Any, unit: Unit | None = None) -> Frame:
    """Return an image message as a frame with its stamp, frame id and encoding.

    Args:
        message: As for :func:`array_from_image`, with a ``header`` of ``stamp.sec``, ``stamp.nanosec`` and
            ``frame_id``.
        unit: What the values mean. None takes 16-bit single-channel integers for sensor counts and all
            else for display intensity; kelvin is never guessed.

    Raises:
        ImageError: As :func:`array_from_image`.
    """
    return stamped_frame(message.header, array_from_image(message), message.encoding, unit)


def stamped_frame(header: Any, pixels: np.ndarray, encoding: str, unit: Unit | None = None) -> Frame:
    """Join pixels with a message header.

    Frames hold uint8, uint16 or float32. Pixels of another type are widened to float32 and named
    ``32FCn``, so that pixels and encoding go on agreeing.
    """
    if unit is None:
        is_count = pixels.ndim == 2 and pixels.dtype in (np.uint16, np.int16)
        unit = Unit.COUNTS if is_count else Unit.INTENSITY
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        pixels = pixels.astype(np.float32)
        encoding = f"32FC{pixels.shape[2] if pixels.ndim == 3 else 1}"
    stamp_ns = int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)
    return Frame(pixels, stamp_ns, header.frame_id, encoding, unit)


def image_fields(array: np.ndarray, encoding: str) -> ImageFields:
    """Return the message fields that carry ``array`` in the given encoding.

    Args:
        array: ``(H, W)`` or ``(H, W, C)``, colour in RGB(A) order, of the encoding's type.
        encoding: Any encoding that :func:`array_from_image` reads. Bayer keeps one sample per
            pixel, YUV averages chroma; the others lose nothing.

    Raises:
        ImageError: Unknown encoding; type, number of channels or size that it cannot carry.
    """
    known = find_encoding(encoding)
    _check_array(array, known)
    height, width = array.shape[:2]
    if known.is_subsampled:
        wire = subsampled_from_rgb(array, known)
    elif known.layout is Layout.BLUE_FIRST:
        wire = packed(exchange_red_and_blue(array))
    else:
        wire = packed(array)
    return ImageFields(
        height=height,
        width=width,
        encoding=known.name,
        is_bigendian=int(sys.byteorder == "big"),
        step=width * known.pixel_bytes,
        data=wire.reshape(-1).view(np.uint8).data,
    )


def _view(message: ImageMessage, known: Encoding) -> np.ndarray:
    """View the message's memory as ``(rows, W[, C])`` in the byte order of the message."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    known.check_size(height, width)
    rows, row_bytes = known.rows(height), width * known.pixel_bytes
    if step < row_bytes:
        raise ImageError(
            f"{known.name}: a row of {width} pixels takes {row_bytes} bytes, got step {step}; "
            f"the publisher should set step to {row_bytes} plus its row padding"
        )
    data = byte_view(message.data)
    _check_length(data.nbytes, rows, step, row_bytes, known.name)
    shape, strides = (rows, width), (step, known.pixel_bytes)
    if known.channels > 1:
        shape, strides = (*shape, known.channels), (*strides, known.dtype.itemsize)
    dtype = known.dtype.newbyteorder(">" if message.is_bigendian else "<")
    return np.ndarray(shape, dtype, data, strides=strides)


def byte_view(data: Any) -> memoryview:
    """View message data without a copy; refuse what is not contiguous CPU memory."""
    try:
        view = memoryview(data)
    except TypeError:
        raise ImageError(
            f"expected image data in CPU memory, got {type(data).__module__}.{type(data).__qualname__}, which "
            "offers no buffer to view; if it is a GPU buffer, let the driver publish plain uint8[] data"
        ) from None
    if not view.c_contiguous:
        raise ImageError("expected image data in one piece, got a buffer with gaps; copy it first")
    return view


def _check_length(length: int, rows: int, step: int, row_bytes: int, name: str) -> None:
    # The last row's padding may be missing, and a driver may hand out a buffer rounded up to its
    # alignment; a whole row too much means that height or step is wrong, and the picture skewed.
    needed = step * (rows - 1) + row_bytes
    if needed <= length < step * (rows + 1):
        return
    raise ImageError(
        f"{name}: {rows} rows of step {step} take {step * rows} bytes, got data of {length} bytes; "
        f"{'the data is short' if length < needed else 'there are rows too many'}, or height or step is wrong"
    )


def _check_array(array: np.ndarray, known: Encoding) -> None:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels != known.array_channels:
        wanted = "(H, W)" if known.array_channels == 1 else f"(H, W, {known.array_channels})"
        raise ImageError(f"{known.name}: expected an array of shape {wanted}, got {array.shape}")
    if array.dtype != known.dtype:
        raise ImageError(
            f"{known.name}: expected {known.dtype} pixels, got {array.dtype}; convert or scale them explicitly"
        )
    known.check_size(*array.shape[:2])


def exchange_red_and_blue(image: np.ndarray) -> np.ndarray:
    """Turn RGB into BGR or back by a view; the four-channel kinds need a copy."""
    if image.shape[2] == 3:
        return image[..., ::-1]
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)

"""Our types to ROS messages and back."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from ..errors import SettingsError
from ..frame import Frame
from ..geometry.cameras import PinholeCamera
from ..imaging import check_image, frame_from_compressed, frame_from_image, image_fields
from ..imaging.convert import stamped_frame
from .bridge import bridged_array, is_foreign

__all__ = [
    "begins_with_header",
    "camera_info_message",
    "camera_message",
    "check",
    "decode",
    "header",
    "image_message",
    "message_class",
    "stamp_ns",
    "time_message",
]


def stamp_ns(stamp: Time) -> int:
    """Return a ROS stamp as nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def time_message(nanoseconds: int) -> Time:
    """Return nanoseconds (not negative) as a ROS stamp."""
    sec, nanosec = divmod(nanoseconds, 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)


def header(nanoseconds: int, frame_id: str) -> Header:
    """Return a header with the given stamp and frame."""
    return Header(stamp=time_message(nanoseconds), frame_id=frame_id)


def image_message(pixels: np.ndarray, encoding: str, head: Header) -> Image:
    """Return an Image message of RGB-ordered or single-channel ``pixels`` in the wire ``encoding``.

    Raises:
        ImageError: The pixels cannot be written in this encoding.
    """
    fields = image_fields(pixels, encoding)
    message = Image(
        header=head,
        height=fields.height,
        width=fields.width,
        encoding=fields.encoding,
        is_bigendian=fields.is_bigendian,
        step=fields.step,
    )
    # The one way to fill uint8[] that is a plain copy on every distribution: assigning bytes or an
    # array is checked element by element on some of them.
    message.data.frombytes(memoryview(fields.data).cast("B"))
    return message


def camera_info_message(source: CameraInfo, size: tuple[int, int], head: Header) -> CameraInfo:
    """Return ``source`` rescaled to an image of ``size`` ``(h, w)``, without binning or region of interest.

    Raises:
        CalibrationError: ``source`` holds no usable calibration.
    """
    camera = PinholeCamera.from_camera_info(source).scaled(size)
    message = CameraInfo(header=head, height=size[0], width=size[1], distortion_model=source.distortion_model)
    message.d = source.d
    message.k = camera.matrix.ravel()
    message.r = source.r
    projection = np.array(source.p, dtype=np.float64).reshape(3, 4)
    if projection.any():
        # Rectified intrinsics and, in column 4, focal length times baseline: both scale with the pixels.
        x, y = size[1] / source.width, size[0] / source.height
        resized = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
        projection = resized @ projection
    else:
        projection[:, :3] = camera.matrix
    message.p = projection.ravel()
    return message


def camera_message(camera: PinholeCamera, head: Header) -> CameraInfo:
    """Return the message that describes a camera, whose image is not rectified."""
    return CameraInfo(header=head, **camera.camera_info_fields())


def decode(message: Image | CompressedImage | None) -> Frame | None:
    """Return the frame that an image message holds; None for None.

    Raises:
        ImageError: The message is malformed.
    """
    if message is None:
        return None
    if isinstance(message, CompressedImage):
        return frame_from_compressed(message)
    if is_foreign(message.encoding):
        pixels = bridged_array(message)
        name = "rgb8" if pixels.ndim == 3 else f"{8 * pixels.itemsize}UC1"
        return stamped_frame(message.header, pixels, name)
    return frame_from_image(message)


def check(message: Image | CompressedImage) -> None:
    """Check what can be told from an image message's fields alone: microseconds.

    Raises:
        ImageError: The message is malformed or has an unknown encoding.
    """
    if isinstance(message, Image) and not is_foreign(message.encoding):
        check_image(message)


def message_class(type_name: str) -> Any:
    """Return the Python class of a message type such as ``sensor_msgs/msg/Image``.

    Raises:
        SettingsError: The name is malformed, or its package is not installed.
    """
    package, _, name = type_name.replace("/msg/", "/").partition("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError, ValueError):
        raise SettingsError(
            f"message type {type_name!r} is not available here; install its package or leave the topic out"
        ) from None


def begins_with_header(kind: Any) -> bool:
    """Tell whether a message class begins with a std_msgs/Header."""
    fields = kind.get_fields_and_field_types()
    return next(iter(fields.values()), "") == "std_msgs/Header"

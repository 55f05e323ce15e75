"""Names of encodings: what they say about pixels, and what happens to misspelt ones."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_ros.errors import ImageError
from fusion_ros.imaging.encodings import Layout, encoding, known_encodings

# Every name of sensor_msgs/image_encodings.hpp that is supported, with bytes per pixel of a row.
ROS_NAMES = {
    "rgb8": 3,
    "rgba8": 4,
    "rgb16": 6,
    "rgba16": 8,
    "bgr8": 3,
    "bgra8": 4,
    "bgr16": 6,
    "bgra16": 8,
    "mono8": 1,
    "mono16": 2,
    "bayer_rggb8": 1,
    "bayer_bggr8": 1,
    "bayer_gbrg8": 1,
    "bayer_grbg8": 1,
    "bayer_rggb16": 2,
    "bayer_bggr16": 2,
    "bayer_gbrg16": 2,
    "bayer_grbg16": 2,
    "uyvy": 2,
    "yuv422": 2,
    "yuyv": 2,
    "yuv422_yuy2": 2,
    "nv21": 1,
}


@pytest.mark.parametrize(("name", "pixel_bytes"), ROS_NAMES.items())
def test_every_named_ros_encoding_is_known_with_its_pixel_size(name, pixel_bytes):
    assert encoding(name).name == name
    assert encoding(name).pixel_bytes == pixel_bytes


@pytest.mark.parametrize(
    ("name", "dtype", "channels"),
    [
        ("8UC1", np.uint8, 1),
        ("8SC3", np.int8, 3),
        ("16UC1", np.uint16, 1),
        ("16SC2", np.int16, 2),
        ("32SC4", np.int32, 4),
        ("32FC1", np.float32, 1),
        ("32FC256", np.float32, 256),
        ("64FC2", np.float64, 2),
        ("8UC", np.uint8, 1),
        ("32F", np.float32, 1),
    ],
)
def test_generic_encodings_are_parsed_with_any_number_of_channels(name, dtype, channels):
    known = encoding(name)
    assert (known.dtype, known.channels, known.layout) == (np.dtype(dtype), channels, Layout.PLAIN)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("bgr88", "bgr8"), ("RGB8", "rgb8"), ("16uc1", "16UC1"), ("8uc3", "8UC3"), ("bayer_rgb8", "bayer_rggb8")],
)
def test_a_misspelt_name_is_answered_with_the_nearest_known_one(wrong, meant):
    with pytest.raises(ImageError, match=f"unknown image encoding '{wrong}'; did you mean '{meant}'"):
        encoding(wrong)


@pytest.mark.parametrize("wrong", ["", "h264", "32FC0", "8UC-1", "12UC1", "32FC\N{ARABIC-INDIC DIGIT TWO}"])
def test_what_is_no_encoding_is_refused(wrong):
    with pytest.raises(ImageError, match="unknown image encoding"):
        encoding(wrong)


def test_every_name_that_is_offered_as_known_is_known():
    assert [encoding(name).name for name in known_encodings()] == list(known_encodings())


@pytest.mark.parametrize(
    ("name", "size", "why"),
    [
        ("mono8", (0, 4), "at least 1 x 1"),
        ("mono8", (4, 0), "at least 1 x 1"),
        ("uyvy", (4, 5), "even width"),
        ("nv12", (4, 5), "even width"),
        ("nv12", (5, 4), "even height"),
        ("bayer_rggb8", (2, 8), "3 x 3"),
    ],
)
def test_a_size_that_the_encoding_cannot_have_is_refused(name, size, why):
    with pytest.raises(ImageError, match=why):
        encoding(name).check_size(*size)

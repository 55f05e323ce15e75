"""Compressed image messages: JPEG and PNG, both directions, and damaged data."""

from __future__ import annotations

import io
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from fusion_ros.errors import ImageError
from fusion_ros.frame import Unit
from fusion_ros.imaging import array_from_compressed, compressed_data, frame_from_compressed


def message(data, format="jpeg"):
    header = SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=2), frame_id="rgb_optical_frame")
    return SimpleNamespace(header=header, format=format, data=data)


def picture(shape, dtype=np.uint8):
    coarse = np.random.default_rng(2).random((4, 5, *shape[2:]), np.float32)
    smooth = np.clip(cv2.resize(coarse, shape[1::-1], interpolation=cv2.INTER_CUBIC), 0, 1)
    return (smooth * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((30, 40), np.uint8),
        ((30, 40), np.uint16),
        ((30, 40, 1), np.uint8),
        ((30, 40, 3), np.uint8),
        ((30, 40, 3), np.uint16),
        ((30, 40, 4), np.uint8),
        ((30, 40, 4), np.uint16),
    ],
)
def test_png_keeps_every_pixel_of_every_depth(shape, dtype):
    pixels = picture(shape, dtype).reshape(shape)
    back = array_from_compressed(message(compressed_data(pixels, "png"), "png"))
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, np.squeeze(pixels))


def test_jpeg_keeps_colours_in_rgb_order_for_other_readers_too():
    image_reader = pytest.importorskip("PIL.Image", reason="needs Pillow")
    rgb = picture((64, 80, 3))
    data = compressed_data(rgb, "jpeg", quality=95)
    independent = np.asarray(image_reader.open(io.BytesIO(data)).convert("RGB")).astype(int)
    decoded = array_from_compressed(message(data)).astype(int)
    assert np.abs(independent - rgb).mean() < 3
    assert np.abs(decoded - rgb).mean() < 3


def test_a_reversed_view_is_compressed_like_its_copy():
    view = picture((30, 40, 3))[..., ::-1]
    assert compressed_data(view, "png") == compressed_data(view.copy(), "png")


def test_lower_quality_makes_smaller_data():
    rgb = picture((64, 80, 3))
    assert len(compressed_data(rgb, "jpeg", 30)) < len(compressed_data(rgb, "jpeg", 95))


@pytest.mark.parametrize("format", ["bgr8; jpeg compressed bgr8", "rgb8; jpeg compressed bgr8", "jpg", ""])
def test_the_data_decides_whatever_words_the_format_uses(format):
    data = compressed_data(picture((8, 8, 3)), "jpeg")
    np.testing.assert_array_equal(
        array_from_compressed(message(data, format)), array_from_compressed(message(data))
    )


def test_orientation_tags_do_not_turn_the_pixel_grid():
    data = compressed_data(picture((8, 20, 3)), "jpeg")
    rotate_90 = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    tagged = data[:2] + b"\xff\xe1" + (len(rotate_90) + 2).to_bytes(2, "big") + rotate_90 + data[2:]
    assert cv2.imdecode(np.frombuffer(tagged, np.uint8), cv2.IMREAD_COLOR).shape == (20, 8, 3)  # the tag is valid
    assert array_from_compressed(message(tagged)).shape == (8, 20, 3)


@pytest.mark.parametrize(
    ("shape", "dtype", "name", "unit"),
    [
        ((8, 8), np.uint8, "mono8", Unit.INTENSITY),
        ((8, 8), np.uint16, "mono16", Unit.COUNTS),
        ((8, 8, 3), np.uint8, "rgb8", Unit.INTENSITY),
        ((8, 8, 4), np.uint16, "rgba16", Unit.INTENSITY),
    ],
)
def test_a_frame_names_what_was_decoded(shape, dtype, name, unit):
    data = np.frombuffer(compressed_data(picture(shape, dtype), "png"), np.uint8)
    frame = frame_from_compressed(message(data, "png"))
    assert (frame.encoding, frame.unit) == (name, unit)
    assert (frame.stamp_ns, frame.frame_id) == (1_000_000_002, "rgb_optical_frame")
    assert frame_from_compressed(message(data, "png"), Unit.KELVIN).unit is Unit.KELVIN


@pytest.mark.parametrize("format", ["16UC1; compressedDepth", "32FC1; compressedDepth png"])
def test_the_depth_transport_is_refused_with_a_way_out(format):
    with pytest.raises(ImageError, match="subscribe to the camera's raw topic"):
        array_from_compressed(message(b"\0" * 12 + compressed_data(picture((8, 8)), "png"), format))


@pytest.mark.parametrize("format", ["jpeg", "png"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.95])
def test_truncated_data_is_refused_rather_than_shown_half(format, kept):
    data = compressed_data(picture((64, 80, 3)), format)
    with pytest.raises(ImageError, match=r"without an end marker|do not decode"):
        array_from_compressed(message(data[: int(len(data) * kept)], format))


@pytest.mark.parametrize("data", [b"not an image", bytes(1000), b"\x89PNG\r\n\x1a\nIEND"])
def test_data_that_is_no_image_is_refused(data):
    with pytest.raises(ImageError, match=f"got {len(data)} bytes of format 'jpeg' that do not decode"):
        array_from_compressed(message(data))


def test_empty_data_is_refused():
    with pytest.raises(ImageError, match="got no data"):
        array_from_compressed(message(b""))


@pytest.mark.parametrize(
    ("pixels", "format", "quality", "why"),
    [
        (np.zeros((4, 4), np.uint8), "jepg", 90, "did you mean 'jpeg'"),
        (np.zeros((4, 4), np.uint8), "jpeg", 0, "quality of 1 to 100"),
        (np.zeros((4, 4), np.uint16), "jpeg", 90, "jpeg holds uint8 pixels, got uint16"),
        (np.zeros((4, 4), np.float32), "png", 90, "png holds uint8 or uint16 pixels, got float32"),
        (np.zeros((4, 4, 4), np.uint8), "jpeg", 90, r"channels, got shape \(4, 4, 4\)"),
        (np.zeros((4, 4, 2), np.uint8), "png", 90, r"channels, got shape \(4, 4, 2\)"),
        (np.zeros((0, 4), np.uint8), "png", 90, r"got shape \(0, 4\)"),
    ],
)
def test_pixels_that_the_format_cannot_hold_are_refused(pixels, format, quality, why):
    with pytest.raises(ImageError, match=why):
        compressed_data(pixels, format, quality)

"""Image messages to arrays and back: memory, byte order, channel order, and malformed messages."""

from __future__ import annotations

import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_ros.errors import ImageError
from fusion_ros.frame import Unit
from fusion_ros.imaging import array_from_image, encoding, frame_from_image, image_fields, known_encodings

LOSSLESS = [name for name in known_encodings() if not encoding(name).is_subsampled] + ["32FC5", "8UC2", "16SC3"]
PATTERNS = ("rggb", "bggr", "gbrg", "grbg")
RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def message(data, height, width, encoding, step, is_bigendian=0):
    return SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=3, nanosec=25), frame_id="camera_optical_frame"),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=step,
        data=data,
    )


def random_pixels(name, size, seed=0):
    known = encoding(name)
    shape = size if known.array_channels == 1 else (*size, known.array_channels)
    rng = np.random.default_rng(seed)
    if known.dtype.kind == "f":
        return rng.normal(size=shape).astype(known.dtype)
    limits = np.iinfo(known.dtype)
    return rng.integers(limits.min, limits.max, shape, known.dtype, endpoint=True)


def smooth_rgb(size=(96, 128), dtype=np.uint8):
    rng = np.random.default_rng(1)
    coarse = rng.integers(60, 200, (4, 5, 3)).astype(np.float32)
    image = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(image * (np.iinfo(dtype).max / 255), 0, np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize("padding", [0, 5, 16])
@pytest.mark.parametrize("is_bigendian", [0, 1])
def test_pixels_survive_the_wire_with_padded_rows_and_either_byte_order(name, padding, is_bigendian):
    pixels = random_pixels(name, (7, 10))
    fields = image_fields(pixels, name)
    rows = np.frombuffer(fields.data, encoding(name).dtype).reshape(7, -1)
    rows = rows.astype(rows.dtype.newbyteorder(">" if is_bigendian else "<"))
    padded = np.pad(np.frombuffer(rows.tobytes(), np.uint8).reshape(7, -1), ((0, 0), (0, padding)))
    received = message(padded.tobytes(), 7, 10, name, fields.step + padding, is_bigendian)
    result = array_from_image(received)
    assert result.dtype == pixels.dtype and result.dtype.isnative
    np.testing.assert_array_equal(result, pixels)


@given(
    name=st.sampled_from(LOSSLESS),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    view=st.sampled_from(["plain", "reversed_channels", "transposed", "flipped", "cropped"]),
)
def test_an_array_of_any_memory_layout_survives_the_wire(name, height, width, view):
    pixels = random_pixels(name, (height, width))
    if view == "reversed_channels" and pixels.ndim == 3:
        pixels = pixels[..., ::-1]
    elif view == "transposed":
        pixels = np.swapaxes(pixels, 0, 1)
    elif view == "flipped":
        pixels = pixels[::-1, ::-1]
    elif view == "cropped":
        pixels = pixels[height // 3 :, width // 3 :]
    np.testing.assert_array_equal(array_from_image(image_fields(pixels, name)), pixels)


@pytest.mark.parametrize(
    "name", ["mono8", "8UC1", "mono16", "16UC1", "32FC1", "32FC7", "rgb8", "bgr8", "rgba8", "bgr16"]
)
def test_reading_gives_a_view_on_the_messages_memory_even_with_padded_rows(name):
    row_bytes = 10 * encoding(name).pixel_bytes
    memory = np.zeros(8 * (row_bytes + 12), np.uint8)
    result = array_from_image(message(memory, 8, 10, name, row_bytes + 12))
    assert np.shares_memory(result, memory)
    assert not result.any()
    memory[:] = 1
    assert result.all()


def test_writing_a_packed_array_shares_its_memory():
    rgb = smooth_rgb()
    assert np.shares_memory(np.asarray(image_fields(rgb, "rgb8").data), rgb)
    bgr = np.zeros((6, 8, 3), np.uint8)
    assert np.shares_memory(np.asarray(image_fields(bgr[..., ::-1], "bgr8").data), bgr)


@pytest.mark.parametrize(
    ("name", "wire"),
    [("rgb8", [1, 2, 3]), ("bgr8", [3, 2, 1]), ("rgba8", [1, 2, 3, 4]), ("bgra8", [3, 2, 1, 4])],
)
def test_colour_is_rgb_in_the_array_and_as_named_on_the_wire(name, wire):
    pixel = np.array([[[1, 2, 3, 4][: len(wire)]]], np.uint8)
    assert image_fields(pixel, name).data.tolist() == wire
    np.testing.assert_array_equal(array_from_image(message(bytes(wire), 1, 1, name, len(wire))), pixel)


def test_missing_padding_after_the_last_row_is_accepted():
    data = bytes(range(4)) + bytes(4) + bytes(range(4, 8))
    result = array_from_image(message(data, 2, 4, "mono8", 8))
    np.testing.assert_array_equal(result, np.arange(8, dtype=np.uint8).reshape(2, 4))


def test_a_read_only_message_gives_a_read_only_view():
    assert not array_from_image(message(bytes(12), 3, 4, "mono8", 4)).flags.writeable


def test_ros_messages_are_read_without_a_copy():
    sensor_msgs = pytest.importorskip("sensor_msgs.msg", reason="needs the ROS message packages")
    ros = sensor_msgs.Image(height=2, width=3, encoding="16UC1", is_bigendian=0, step=6)
    ros.data.frombytes(np.arange(6, dtype="<u2").tobytes())
    result = array_from_image(ros)
    np.testing.assert_array_equal(result, [[0, 1, 2], [3, 4, 5]])
    ros.data[0] = 9
    assert result[0, 0] == 9


# --- Sub-sampled colour -----------------------------------------------------------------------


@pytest.mark.parametrize("color", [RED, GREEN, BLUE])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_mosaic_of_one_colour_is_read_as_that_colour(pattern, bits, color):
    dtype = np.uint8 if bits == 8 else np.uint16
    rgb = np.full((6, 8, 3), color, dtype)
    name = f"bayer_{pattern}{bits}"
    fields = image_fields(rgb, name)
    first_row = np.frombuffer(fields.data, dtype)[:2]
    np.testing.assert_array_equal(first_row, [color["rgb".index(letter)] for letter in pattern[:2]])
    np.testing.assert_array_equal(array_from_image(fields), rgb)


@pytest.mark.parametrize(("name", "order"), [("uyvy", "UYVY"), ("yuv422", "UYVY"), ("yuyv", "YUYV")])
def test_packed_yuv_has_the_bytes_of_bt601(name, order):
    # ITU-R BT.601 limited range: pure red is Y 81, Cb (U) 90, Cr (V) 240.
    red = np.full((1, 2, 3), (255, 0, 0), np.uint8)
    value = {"Y": 81, "U": 90, "V": 240}
    samples = [value[letter] for letter in order]
    assert image_fields(red, name).data.tolist() == samples
    np.testing.assert_allclose(array_from_image(message(bytes(samples), 1, 2, name, 4)), red, atol=2)


@pytest.mark.parametrize(
    "name", ["uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21", "bayer_rggb8", "bayer_gbrg16"]
)
def test_a_smooth_picture_survives_sub_sampling(name):
    rgb = smooth_rgb(dtype=encoding(name).dtype)
    back = array_from_image(image_fields(rgb, name))
    scale = np.iinfo(rgb.dtype).max / 255
    assert np.abs(back.astype(float) - rgb).mean() < 2 * scale


@pytest.mark.parametrize("name", ["yuyv", "nv12", "bayer_rggb8", "bayer_rggb16", "bgra16"])
def test_padded_rows_make_no_difference_to_converted_encodings(name):
    rgb = random_pixels(name, (6, 8))
    fields = image_fields(rgb, name)
    rows = np.frombuffer(fields.data, np.uint8).reshape(-1, fields.step)
    padded = np.pad(rows, ((0, 0), (0, 3)), constant_values=77)
    received = message(padded, 6, 8, name, fields.step + 3)
    np.testing.assert_array_equal(array_from_image(received), array_from_image(fields))


# --- Frames ------------------------------------------------------------------------------------


def test_a_frame_carries_stamp_frame_id_and_encoding():
    frame = frame_from_image(message(bytes(12), 2, 2, "bgr8", 6))
    assert (frame.stamp_ns, frame.frame_id, frame.encoding) == (3_000_000_025, "camera_optical_frame", "bgr8")
    assert frame.size == (2, 2)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("mono8", "intensity"),
        ("mono16", "counts"),
        ("16UC1", "counts"),
        ("16SC1", "counts"),
        ("32FC1", "intensity"),
        ("rgb16", "intensity"),
        ("bayer_rggb16", "intensity"),
    ],
)
def test_the_unit_is_counts_only_for_16_bit_single_channels_and_never_guessed_kelvin(name, unit):
    fields = image_fields(random_pixels(name, (4, 4)), name)
    received = message(fields.data, 4, 4, name, fields.step)
    assert frame_from_image(received).unit is Unit(unit)
    assert frame_from_image(received, unit=Unit.KELVIN).unit is Unit.KELVIN


def test_types_that_a_frame_does_not_hold_are_widened_and_renamed():
    pixels = np.array([[-5, 700]], np.int16)
    frame = frame_from_image(message(pixels.tobytes(), 1, 2, "16SC1", 4))
    assert (frame.pixels.dtype, frame.encoding) == (np.float32, "32FC1")
    np.testing.assert_array_equal(frame.pixels, pixels)


def test_nan_is_kept_as_no_reading():
    pixels = np.array([[np.nan, 300.5]], np.float32)
    frame = frame_from_image(message(pixels.tobytes(), 1, 2, "32FC1", 8))
    np.testing.assert_array_equal(frame.pixels, pixels)


# --- Malformed messages ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (dict(step=9), "a row of 10 pixels takes 20 bytes, got step 9"),
        (dict(step=0), "should set step to 20"),
        (dict(step=22), "take 88 bytes, got data of 80 bytes; the data is short"),
        (dict(height=5), "the data is short"),
        (dict(height=3), "rows too many, or height or step is wrong"),
        (dict(data=b""), "got data of 0 bytes"),
        (dict(data=bytes(79)), "got data of 79 bytes"),
        (dict(height=0), "height 0, width 10"),
        (dict(width=0), "height 4, width 0"),
        (dict(height=2**32 - 1, width=2**32 - 1), "takes 8589934590 bytes"),
        (dict(encoding="mono61"), "did you mean 'mono16'"),
        (dict(encoding=""), "known names"),
        (dict(data=[0] * 80), "CPU memory, got builtins.list"),
        (dict(data=object()), "GPU buffer"),
        (dict(data=np.zeros(160, np.uint8)[::2]), "buffer with gaps"),
    ],
)
def test_a_malformed_message_is_refused_with_the_reason(bad, why):
    fields = dict(data=array.array("B", bytes(80)), height=4, width=10, encoding="mono16", step=20)
    assert array_from_image(message(**fields)).shape == (4, 10)
    with pytest.raises(ImageError, match=why):
        array_from_image(message(**{**fields, **bad}))


@pytest.mark.parametrize(
    ("shape", "dtype", "name", "why"),
    [
        ((4, 4, 3), np.uint8, "mono8", r"mono8: expected an array of shape \(H, W\)"),
        ((4, 4), np.uint8, "bgr8", r"bgr8: expected an array of shape \(H, W, 3\)"),
        ((4, 4, 4), np.uint8, "rgb8", r"\(H, W, 3\), got \(4, 4, 4\)"),
        ((4, 4), np.float32, "mono8", "expected uint8 pixels, got float32"),
        ((4, 4), np.uint8, "mono16", "expected uint16 pixels, got uint8"),
        ((0, 4), np.uint8, "mono8", "at least 1 x 1"),
        ((4, 5, 3), np.uint8, "yuyv", "even width"),
        ((4,), np.uint8, "mono8", "expected an array of shape"),
        ((4, 4), np.uint8, "mono", "did you mean 'mono"),
    ],
)
def test_an_array_that_the_encoding_cannot_carry_is_refused(shape, dtype, name, why):
    with pytest.raises(ImageError, match=why):
        image_fields(np.zeros(shape, dtype), name)

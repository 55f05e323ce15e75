"""Luma and chroma: against the definition, and back to the same picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_ros.errors import ImageError
from fusion_ros.imaging import luma, merge, packed, split, to_uint8

BT601 = np.array([0.299, 0.587, 0.114])


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def test_luma_of_8_bit_colour_is_opencvs_grey(rgb):
    expected = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(luma(rgb), expected)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.uint8, 0.6 / 255), (np.uint16, 2 / 65535), (np.float32, 1e-6), (np.float64, 1e-6)]
)
def test_luma_is_bt601_for_every_depth(rgb, dtype, tolerance):
    unit = rgb / 255.0
    if np.issubdtype(dtype, np.integer):
        image = np.round(unit * np.iinfo(dtype).max).astype(dtype)
    else:
        image = unit.astype(dtype)
    result = luma(image)
    assert result.dtype == np.float32 and result.flags.c_contiguous
    np.testing.assert_allclose(result, unit @ BT601, atol=tolerance)


def test_channel_order_follows_the_view_not_the_memory(rgb):
    bgr = rgb[..., ::-1].copy()
    np.testing.assert_array_equal(luma(bgr[..., ::-1]), luma(rgb))
    for part, expected in zip(split(bgr[..., ::-1]), split(rgb), strict=True):
        np.testing.assert_array_equal(part, expected)


def test_alpha_is_dropped(rgb):
    rgba = np.dstack([rgb, np.full(rgb.shape[:2], 7, np.uint8)])
    for part, expected in zip(split(rgba), split(rgb), strict=True):
        np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_grey_is_scaled_and_has_no_chroma(dtype):
    full = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    grey = np.array([[0, full]], dtype)
    brightness, chroma = split(grey)
    np.testing.assert_array_equal(brightness, [[0, 1]])
    assert chroma is None
    np.testing.assert_array_equal(merge(brightness, chroma), np.array([[0, 255]], np.uint8))
    np.testing.assert_array_equal(luma(grey[..., None]), brightness)


def test_no_reading_in_a_float_image_is_black_and_overflow_saturates():
    grey = np.array([[np.nan, -1.0, 0.25, np.inf]], np.float32)
    np.testing.assert_array_equal(luma(grey), [[0, 0, 0.25, 1]])


def test_splitting_and_merging_gives_the_picture_back(rgb):
    brightness, chroma = split(rgb)
    assert (brightness.shape, chroma.shape) == (rgb.shape[:2], (*rgb.shape[:2], 2))
    # OpenCV's 8-bit YCrCb is itself off by up to 1 level of luma and 2 of blue.
    assert np.abs(merge(brightness, chroma).astype(int) - rgb).max() <= 4


def test_merging_another_luma_keeps_the_chroma():
    rgb = np.random.default_rng(1).integers(90, 160, (20, 20, 3), np.uint8)  # far from saturation
    brightness, chroma = split(rgb)
    brighter = merge(brightness + 0.15, chroma)
    new_brightness, new_chroma = split(brighter)
    assert np.abs(new_chroma.astype(int) - chroma).max() <= 2
    np.testing.assert_allclose(new_brightness, brightness + 0.15, atol=2.5 / 255)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deeper_colour_has_the_chroma_of_its_8_bit_version(rgb, dtype):
    deep = rgb.astype(np.uint16) * 257 if dtype is np.uint16 else (rgb / 255).astype(np.float32)
    np.testing.assert_array_equal(split(deep)[1], split(rgb)[1])


@given(st.lists(st.floats(-2, 3, width=32), min_size=1, max_size=70))
def test_rounding_to_8_bits_is_to_the_nearest_level_and_saturates(values):
    unit = np.array([values], np.float32)
    levels = to_uint8(unit).astype(float)
    assert np.abs(levels - np.clip(unit.astype(float), 0, 1) * 255).max() <= 0.5 + 1e-4


def test_every_8_bit_level_survives_the_way_to_float_and_back():
    levels = np.arange(256, dtype=np.uint8)[None]
    np.testing.assert_array_equal(to_uint8(luma(levels)), levels)
    np.testing.assert_array_equal(to_uint8(levels.astype(np.uint16) * 257), levels)
    assert to_uint8(levels) is levels


@pytest.mark.parametrize("length", [1, 67])  # short and long enough for vector instructions
def test_values_without_a_level_become_black_or_white(length):
    special = np.tile(np.array([np.nan, -np.inf, np.inf, -0.3], np.float32), (1, length))
    np.testing.assert_array_equal(to_uint8(special), np.tile([0, 0, 255, 0], (1, length)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.int32])
def test_a_packed_image_is_equal_and_in_c_order(dtype):
    image = np.random.default_rng(3).integers(0, 200, (5, 6, 3)).astype(dtype)
    for view in (image, image[..., ::-1], image[::-1], image[:, 1:4], image.transpose(1, 0, 2)):
        assert packed(view).flags.c_contiguous
        np.testing.assert_array_equal(packed(view), view)
    assert packed(image) is image


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: luma(np.zeros((4, 4, 2), np.uint8)), r"expected a grey .* got \(4, 4, 2\)"),
        (lambda: luma(np.zeros(4, np.uint8)), r"got \(4,\)"),
        (lambda: luma(np.zeros((4, 4), np.int16)), "got int16"),
        (lambda: to_uint8(np.zeros((4, 4), np.int32)), "got int32"),
        (lambda: merge(np.zeros((4, 4, 1), np.float32), None), r"luma of shape \(H, W\)"),
        (lambda: merge(np.zeros((4, 4), np.float32), np.zeros((4, 5, 2), np.uint8)), "onto one grid first"),
        (lambda: merge(np.zeros((4, 4), np.float32), np.zeros((4, 4, 2), np.float32)), "expected uint8 chroma"),
    ],
)
def test_unusable_input_is_refused(call, why):
    with pytest.raises(ImageError, match=why):
        call()

"""Thermal normalisation: ranges, their movement over time, and frames that are not what they should be."""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np
import pytest

from fusion_ros.errors import ImageError, SettingsError
from fusion_ros.frame import Frame, Unit
from fusion_ros.imaging import ThermalNormaliser, ThermalSettings

SECOND = 1_000_000_000


def frame(pixels, stamp_s=0.0, unit=Unit.COUNTS):
    return Frame(np.asarray(pixels), round(stamp_s * SECOND), unit=unit)


def scene(size=(128, 160), low=3000, high=3400):
    """A background of 16-bit counts that rises from left to right."""
    return np.tile(np.linspace(low, high, size[1]).astype(np.uint16), (size[0], 1))


def with_hot_object(background, counts):
    hot = background.copy()
    hot[40:80, 50:100] = counts
    return hot


def min_max(pixels):
    """The usual per-frame scaling that this module replaces."""
    low, high = float(pixels.min()), float(pixels.max())
    return (pixels - low) / (high - low)


def largest_step(images, mask):
    return max(np.abs(after[mask] - before[mask]).max() for before, after in pairwise(images))


# --- One frame -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(8, 8), (60, 80), (512, 640), (1000, 3)])
def test_the_first_frame_spans_black_to_white_between_its_percentiles(size):
    counts = np.random.default_rng(0).normal(8000, 900, size).astype(np.uint16)
    normalise = ThermalNormaliser(ThermalSettings(low_percentile=2.0, high_percentile=97.0))
    brightness = normalise(frame(counts))
    assert (brightness.shape, brightness.dtype) == (size, np.float32)
    assert 0 <= brightness.min() and brightness.max() <= 1
    low, high = np.percentile(counts, (2, 97))
    assert normalise.range == pytest.approx((low, high), abs=0.1 * 900)  # large frames are sub-sampled
    expected = np.clip((counts - normalise.range[0]) / (normalise.range[1] - normalise.range[0]), 0, 1)
    np.testing.assert_allclose(brightness, expected, atol=1e-4)


def test_a_few_broken_pixels_do_not_set_the_range():
    counts = np.random.default_rng(1).integers(3000, 3400, (512, 640)).astype(np.uint16)
    normalise = ThermalNormaliser()
    normalise(frame(counts))
    clean = normalise.range
    counts[::40, ::40] = 65535  # a regular grid, which a regular sampling could hit too often
    normalise.reset()
    normalise(frame(counts))
    assert normalise.range == pytest.approx(clean, abs=4)


def test_a_flat_scene_does_not_turn_into_noise():
    counts = 3000 + np.random.default_rng(2).integers(0, 6, (120, 160)).astype(np.uint16)
    assert np.ptp(ThermalNormaliser()(frame(counts))) < 0.1
    stretched = ThermalNormaliser(ThermalSettings(min_span=1.0))(frame(counts))
    assert np.ptp(stretched) == 1.0
    constant = ThermalNormaliser()(frame(np.full((8, 8), 3000, np.uint16)))
    np.testing.assert_allclose(constant, 0.5, atol=1e-4)


def test_the_smallest_range_is_in_the_images_own_unit():
    kelvin = np.full((10, 10), 300.0, np.float32)
    normalise = ThermalNormaliser()
    normalise(frame(kelvin, unit=Unit.KELVIN))
    assert normalise.range == pytest.approx((299, 301))
    normalise = ThermalNormaliser(ThermalSettings(min_span=10.0))
    normalise(frame(kelvin, unit=Unit.KELVIN))
    assert normalise.range == pytest.approx((295, 305))


def test_floats_that_are_said_to_be_temperatures_span_two_kelvin_at_least():
    scene = 295 + 0.05 * np.random.default_rng(3).standard_normal((40, 50)).astype(np.float32)
    as_they_come, as_temperatures = (
        ThermalNormaliser(ThermalSettings(floats=floats))(frame(scene, unit=Unit.INTENSITY))
        for floats in ("brightness", "temperature")
    )
    assert as_they_come.std() > 0.1 > 0.05 > as_temperatures.std()
    counts = np.full((10, 10), 3000, np.uint16)  # an integer image is none of this setting's business
    normalise = ThermalNormaliser(ThermalSettings(floats="temperature"))
    normalise(frame(counts, unit=Unit.COUNTS))
    assert normalise.range == pytest.approx((2968, 3032))


def test_fixed_mode_maps_the_given_values_and_never_moves():
    settings = ThermalSettings(mode="fixed", fixed_low=280.0, fixed_high=320.0)
    normalise = ThermalNormaliser(settings)
    for stamp_s in (0, 1):
        kelvin = np.array([[270, 280, 300, 320, 900]], np.float32) + np.float32(0)
        result = normalise(frame(kelvin, stamp_s, Unit.KELVIN))
        np.testing.assert_allclose(result, [[0, 0, 0.5, 1, 1]], atol=1e-6)
    assert normalise.range == (280, 320)


@pytest.mark.parametrize("mode", ["auto", "passthrough"])
def test_8_bit_intensity_passes_unchanged(mode):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    normalise = ThermalNormaliser(ThermalSettings(mode=mode))
    result = normalise(frame(levels, unit=Unit.INTENSITY))
    np.testing.assert_array_equal(result, levels / np.float32(255))
    assert normalise.range is None


def test_auto_mode_normalises_8_bit_counts_and_16_bit_images():
    for pixels in (np.arange(100, 228, 2, dtype=np.uint8), np.arange(9000, 9640, 10, dtype=np.uint16)):
        assert np.ptp(ThermalNormaliser()(frame(pixels.reshape(8, 8)))) == 1.0


def test_passthrough_scales_the_full_range_of_16_bits():
    result = ThermalNormaliser(ThermalSettings(mode="passthrough"))(frame(np.array([[0, 65535]], np.uint16)))
    np.testing.assert_array_equal(result, [[0, 1]])


@pytest.mark.parametrize("mode", ["percentile", "passthrough", "fixed"])
def test_inverted_brightness_is_the_complement(mode):
    pixels = np.random.default_rng(3).integers(0, 60000, (20, 20)).astype(np.uint16)
    plain = ThermalSettings(mode=mode, fixed_low=10.0, fixed_high=50000.0)
    inverted = plain.updated({"invert": True})
    np.testing.assert_allclose(
        ThermalNormaliser(inverted)(frame(pixels)), 1 - ThermalNormaliser(plain)(frame(pixels)), atol=1e-6
    )


# --- Over time -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [9, 30, 60])
@pytest.mark.parametrize("hot_counts", [4000, 12000, 65535])
def test_a_hot_object_that_enters_and_leaves_does_not_make_the_background_flicker(rate_hz, hot_counts):
    settings = ThermalSettings(time_constant_s=1.0)
    background = scene()
    seen = [with_hot_object(background, hot_counts) if 10 <= i < 40 else background for i in range(70)]
    untouched = seen[10] == background
    normalise = ThermalNormaliser(settings)
    ours = [normalise(frame(pixels, i / rate_hz)) for i, pixels in enumerate(seen)]
    bound = 1 - math.exp(-1 / (rate_hz * settings.time_constant_s))
    assert largest_step(ours, untouched) <= bound + 1e-4
    assert largest_step([min_max(pixels) for pixels in seen], untouched) > 0.5
    assert ours[10][60, 75] == 1.0  # the object itself is white at once


def test_the_range_settles_on_what_the_scene_asks_for():
    normalise = ThermalNormaliser(ThermalSettings(time_constant_s=0.5))
    normalise(frame(scene(low=1000, high=2000)))
    for i in range(1, 100):
        normalise(frame(scene(low=5000, high=9000), i / 10))
    fresh = ThermalNormaliser()
    fresh(frame(scene(low=5000, high=9000)))
    assert normalise.range == pytest.approx(fresh.range, rel=1e-3)


def test_smoothing_depends_on_time_and_not_on_the_frame_rate():
    ranges = []
    for rate_hz in (5, 30, 60):
        normalise = ThermalNormaliser()
        normalise(frame(scene()))
        for i in range(1, 2 * rate_hz + 1):
            normalise(frame(with_hot_object(scene(), 9000), i / rate_hz))
        ranges.append(normalise.range)
    assert ranges[0] == pytest.approx(ranges[1], rel=1e-6)
    assert ranges[0] == pytest.approx(ranges[2], rel=1e-6)


def test_without_a_time_constant_every_frame_has_its_own_range():
    normalise = ThermalNormaliser(ThermalSettings(time_constant_s=0.0))
    for i, high in enumerate((4000, 9000, 3500)):
        normalise(frame(scene(high=high), i))
        fresh = ThermalNormaliser()
        fresh(frame(scene(high=high)))
        assert normalise.range == pytest.approx(fresh.range)


@pytest.mark.parametrize(
    ("stamp_s", "unit", "starts_afresh"),
    [
        (10.1, Unit.COUNTS, False),
        (14.9, Unit.COUNTS, False),  # a shutter calibration freezes the image for a moment
        (9.9, Unit.COUNTS, True),
        (16.0, Unit.COUNTS, True),
        (10.1, Unit.INTENSITY, True),
    ],
)
def test_a_jump_back_a_long_pause_and_another_unit_start_afresh(stamp_s, unit, starts_afresh):
    normalise = ThermalNormaliser(ThermalSettings(time_constant_s=100.0))
    normalise(frame(scene(), 10.0))
    later = frame(scene(low=20000, high=40000), stamp_s, unit)
    normalise(later)
    fresh = ThermalNormaliser()
    fresh(later)
    assert (normalise.range == pytest.approx(fresh.range)) is starts_afresh


def test_reset_forgets_the_range():
    normalise = ThermalNormaliser()
    assert normalise.range is None
    normalise(frame(scene()))
    assert normalise.range is not None
    normalise.reset()
    assert normalise.range is None


def test_two_normalisers_fed_alike_give_identical_images():
    seen = [frame(with_hot_object(scene(), 3000 + 500 * i), i / 30) for i in range(5)]
    first, second = ThermalNormaliser(), ThermalNormaliser()
    for one in seen:
        np.testing.assert_array_equal(first(one), second(one))


def test_on_a_real_sequence_constant_counts_flicker_less_than_with_min_max(shared):
    paths = sorted((shared / "data" / "raw16" / "fieldscale_seq").glob("*.tiff"))
    seen = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths]
    assert len(seen) == 40
    # What the scene itself does must not count: look at the brightness given to constant counts.
    counts = np.linspace(1000, 5000, 9)
    normalise = ThermalNormaliser()
    ours, usual = [], []
    for i, pixels in enumerate(seen):
        normalise(frame(pixels, i / 30))
        low, high = normalise.range
        ours.append((counts - low) / (high - low))
        usual.append((counts - pixels.min()) / (float(pixels.max()) - pixels.min()))
    ours, usual = np.abs(np.diff(ours, axis=0)), np.abs(np.diff(usual, axis=0))
    assert ours.mean() < 0.6 * usual.mean()
    assert ours.max() < 0.2 * usual.max()


def test_on_a_real_sequence_an_entering_hot_object_leaves_the_mean_brightness_calm(shared):
    paths = sorted((shared / "data" / "raw16" / "fieldscale_seq").glob("*.tiff"))[:24]
    seen = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths]
    for pixels in seen[12:]:
        pixels[200:300, 250:400] = 16000
    background = np.ones(seen[0].shape, bool)
    background[200:300, 250:400] = False
    normalise = ThermalNormaliser()
    ours = [normalise(frame(pixels, i / 30))[background].mean() for i, pixels in enumerate(seen)]
    usual = [min_max(pixels)[background].mean() for pixels in seen]
    assert np.abs(np.diff(ours)).max() < 0.02
    assert np.abs(np.diff(usual)).max() > 0.2


# --- No reading, and wrong images -----------------------------------------------------------------


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("mode", ["percentile", "fixed"])
def test_pixels_without_a_reading_are_black_and_do_not_move_the_range(mode, invert):
    kelvin = np.random.default_rng(4).uniform(290, 310, (40, 50)).astype(np.float32)
    holes = kelvin.copy()
    holes[:5], holes[5:10], holes[10:15] = np.nan, np.inf, -np.inf
    settings = ThermalSettings(mode=mode, invert=invert, fixed_low=290.0, fixed_high=310.0)
    normalise, reference = ThermalNormaliser(settings), ThermalNormaliser(settings)
    result = normalise(frame(holes, unit=Unit.KELVIN))
    expected = reference(frame(kelvin[15:], unit=Unit.KELVIN))
    assert not result[:15].any()
    np.testing.assert_array_equal(result[15:], expected)
    assert normalise.range == reference.range


def test_passthrough_of_floats_shows_no_reading_black():
    pixels = np.array([[np.nan, np.inf, 0.25, 2.0]], np.float32)
    normalise = ThermalNormaliser(ThermalSettings(mode="passthrough", invert=True))
    np.testing.assert_array_equal(normalise(frame(pixels, unit=Unit.INTENSITY)), [[0, 0, 0.75, 0]])


def test_a_frame_without_any_reading_is_black_and_leaves_the_range_alone():
    normalise = ThermalNormaliser()
    nothing = np.full((20, 30), np.nan, np.float32)
    assert not normalise(frame(nothing, 0.0, Unit.KELVIN)).any()
    assert normalise.range is None
    normalise(frame(np.linspace(280, 320, 600, dtype=np.float32).reshape(20, 30), 0.1, Unit.KELVIN))
    before = normalise.range
    assert not normalise(frame(nothing, 0.2, Unit.KELVIN)).any()
    assert normalise.range == before


def test_few_readings_between_the_sampled_pixels_are_found():
    kelvin = np.full((512, 640), np.nan, np.float32)
    kelvin[101, 101:104] = 290, 300, 310
    result = ThermalNormaliser()(frame(kelvin, unit=Unit.KELVIN))
    assert result[101, 102] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_a_grey_image_coded_in_three_channels_is_taken_as_grey(order):
    grey = np.random.default_rng(5).integers(4, 250, (20, 30), np.uint8)
    coded = np.dstack([grey - 1, grey, grey + 2])[..., order]
    result = ThermalNormaliser()(frame(coded, unit=Unit.INTENSITY))
    np.testing.assert_array_equal(result, grey / np.float32(255))
    with_alpha = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    np.testing.assert_array_equal(ThermalNormaliser()(frame(with_alpha, unit=Unit.INTENSITY)), result)
    np.testing.assert_array_equal(ThermalNormaliser()(frame(grey[..., None], unit=Unit.INTENSITY)), result)


def test_a_false_colour_palette_is_refused():
    palette = cv2.applyColorMap(np.arange(256, dtype=np.uint8).reshape(16, 16), cv2.COLORMAP_INFERNO)
    with pytest.raises(ImageError, match="false-colour palette cannot be undone"):
        ThermalNormaliser()(frame(palette, unit=Unit.INTENSITY))


@pytest.mark.parametrize("shape", [(8, 8, 2), (8, 8, 3)])
def test_other_multi_channel_images_are_refused(shape):
    with pytest.raises(ImageError, match="one channel, got uint16"):
        ThermalNormaliser()(frame(np.zeros(shape, np.uint16)))


def test_passthrough_of_kelvin_is_refused():
    with pytest.raises(ImageError, match="use mode percentile or fixed"):
        ThermalNormaliser(ThermalSettings(mode="passthrough"))(
            frame(np.full((8, 8), 300, np.float32), unit=Unit.KELVIN)
        )


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"mode": "fixed"}, "fixed_low below fixed_high"),
        ({"mode": "fixed", "fixed_low": 5.0, "fixed_high": 5.0}, "got 5.0 and 5.0"),
        ({"low_percentile": 60.0, "high_percentile": 40.0}, "low_percentile below high_percentile"),
        ({"mode": "percentil"}, "did you mean 'percentile'"),
        ({"time_constant_s": -1.0}, "time_constant_s"),
    ],
)
def test_settings_that_make_no_range_are_refused(values, why):
    with pytest.raises(SettingsError, match=why):
        ThermalSettings.from_mapping(values)

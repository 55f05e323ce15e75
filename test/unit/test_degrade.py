"""Degradations against the laws that they follow, at chosen pixels."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest
import scipy.ndimage
import skimage.color
from other_process import printed_elsewhere

from fusion_ros.errors import ImageError, SettingsError
from fusion_ros.evaluation.conditions import Condition
from fusion_ros.evaluation.results import by_severity
from fusion_ros.synthetic import optics
from fusion_ros.synthetic.degrade import DEGRADATIONS, Degradation, Degrader, parse_degradations

SIZE = (240, 320)
HORIZON = 108  # row, at 0.45 of the height
THERMAL = np.random.default_rng(7).integers(20, 230, SIZE).astype(np.uint8)
PURE = [item for item in parse_degradations("default") if item.kind != "thermal_frozen"]


def name_of(item):
    return item.name


def light(image):
    """Linear light of a grey or RGB image by another library: Y of CIE XYZ, 1 for white."""
    image = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    return skimage.color.rgb2xyz(image)[..., 1]


def grey(value, size=SIZE):
    return np.full(size, value, np.uint8)


def degrade(kind, level, rgb, thermal=THERMAL, index=0, seed=1):
    return Degradation(kind, level).apply(rgb, thermal, index, seed)


def test_codes_become_light_as_another_library_has_it_and_come_back():
    codes = np.arange(256, dtype=np.uint8)[None]
    np.testing.assert_allclose(optics.decode(codes), light(codes), atol=1e-4)
    np.testing.assert_array_equal(optics.encode(optics.decode(codes)), codes)
    np.testing.assert_array_equal(optics.encode(np.float32([[-0.1, 0.0, 1.0, 7.0]])), [[0, 0, 255, 255]])


@pytest.mark.parametrize("level", [40, 10, 3])
def test_in_darkness_the_mean_light_falls_to_its_share(level):
    for value in (90, 180, 255):
        dark, _ = degrade("darkness", level, grey(value))
        assert light(dark).mean() == pytest.approx(level / 100 * light(grey(value)).mean(), rel=0.02, abs=2e-5)


def test_in_darkness_the_signal_to_noise_ratio_falls_with_the_root_of_the_light():
    """Photons arrive at random: twice the ratio takes four times the light, as long as read noise is small."""
    ratios = []
    for level in (80, 20):
        dark = light(degrade("darkness", level, grey(255))[0])
        ratios.append(dark.mean() / dark.std())
    assert ratios[0] / ratios[1] == pytest.approx(2.0, rel=0.1)
    assert 30 < ratios[0] < 150  # of a sensor that holds thousands of electrons, not hundreds or millions


def test_in_darkness_black_is_not_without_noise_but_hardly_bright():
    dark, _ = degrade("darkness", 10, grey(0))
    assert 0 < dark.mean() < 2 and dark.max() < 12


def test_noise_differs_between_channels_pixels_and_frames():
    rgb = np.full((*SIZE, 3), 128, np.uint8)
    first, second = (degrade("darkness", 5, rgb, index=index)[0].astype(float) for index in (0, 1))
    for one, other in ((first[..., 0], first[..., 1]), (first[:, 1:, 0], first[:, :-1, 0]), (first, second)):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02


def test_glare_adds_its_share_of_white_on_average():
    veiled, _ = degrade("glare", 1, grey(0))
    assert light(veiled).mean() == pytest.approx(0.01, rel=0.05)
    assert light(veiled).max() < 1  # nothing was lost by saturation


def test_glare_falls_with_the_square_of_the_distance_from_its_source_to_an_even_veil():
    shape = optics.glare_light((401, 601), (300, 200), core=4.0, spread=0.5)
    assert shape.mean() == pytest.approx(1.0, rel=1e-5)
    assert shape[200, 300] == shape.max()
    np.testing.assert_array_equal(shape, shape[::-1, ::-1])
    rise = shape.astype(float) - 0.5
    assert rise[200, 300 + 50] / rise[200, 300 + 200] == pytest.approx(16, rel=0.01)
    assert rise[200 + 100, 300] == pytest.approx(rise[200, 300 + 100])


def test_glare_saturates_about_its_source_and_stays_in_place_over_a_sequence():
    rgb = np.full((*SIZE, 3), 60, np.uint8)
    first, thermal = degrade("glare", 30, rgb)
    assert thermal is THERMAL
    assert 0.002 < (first == 255).all(axis=2).mean() < 0.2
    assert (first >= rgb).all() and first.min() > 90  # everything else is veiled
    np.testing.assert_array_equal(degrade("glare", 30, rgb, index=5)[0], first)
    assert not np.array_equal(degrade("glare", 30, rgb, seed=2)[0], first)


def half_and_half(dark=60, bright=160):
    """Left dark, right bright."""
    image = grey(dark)
    image[:, SIZE[1] // 2 :] = bright
    return image


def contrast(image, row):
    return light(image)[row, -1] - light(image)[row, 0]


def test_at_the_distance_of_the_visibility_fog_leaves_five_per_cent_of_the_contrast():
    """What is seen at the horizon is 50 m away."""
    foggy, _ = degrade("fog", 50, half_and_half())
    assert contrast(foggy, HORIZON) / contrast(half_and_half(), HORIZON) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("row", [30, 100, 130, 170, 239])
def test_fog_obeys_koschmieders_law_at_every_height(row):
    height_m = 1.5 if row > HORIZON else 8.5
    along = abs(row - HORIZON) / (0.8 * SIZE[1] * height_m) + 1 / 50  # one over metres
    passed = math.exp(math.log(0.05) / 80 / along)
    clear = half_and_half()
    foggy, _ = degrade("fog", 80, clear)
    assert contrast(foggy, row) / contrast(clear, row) == pytest.approx(passed, abs=0.03)
    fog = 1.8 * light(clear).mean()
    for column in (0, -1):
        expected = light(clear)[row, column] * passed + fog * (1 - passed)
        assert light(foggy)[row, column] == pytest.approx(expected, abs=0.005)


def test_fog_thickens_towards_the_horizon_and_by_night_it_is_dark():
    foggy, _ = degrade("fog", 40, half_and_half())
    left = [contrast(foggy, row) for row in (239, 200, 160, 120, 108)]
    assert left == sorted(left, reverse=True)
    night, _ = degrade("fog", 5, grey(25))
    assert night[HORIZON, 0] < 60
    day, _ = degrade("fog", 5, grey(200))
    assert 180 < day[HORIZON, 0] < 230


@pytest.mark.parametrize(
    ("dtype", "gain", "offset"), [(np.uint8, 1, 0), (np.uint16, 50, 20000), (np.float32, 0.1, 280)]
)
def test_fog_takes_little_of_the_thermal_contrast_and_all_air_is_as_warm_as_the_median(dtype, gain, offset):
    thermal = (offset + gain * half_and_half().astype(float)).astype(dtype)
    thermal[:, :200] = thermal[0, 0]  # most is cold
    _, seen = degrade("fog", 50, grey(100), thermal)
    assert seen.dtype == dtype
    assert seen[HORIZON, 0] == pytest.approx(thermal[0, 0])
    left = (float(seen[HORIZON, -1]) - seen[HORIZON, 0]) / (float(thermal[0, -1]) - thermal[0, 0])
    assert left == pytest.approx(0.05**0.1, abs=0.01)


@pytest.mark.parametrize(("dtype", "gain"), [(np.uint8, 1), (np.uint16, 100), (np.float32, 0.01)])
def test_blur_is_a_gaussian_of_its_sigma(dtype, gain):
    thermal = (THERMAL * gain).astype(dtype)
    rgb = grey(1)
    same, blurred = degrade("thermal_blur", 2.5, rgb, thermal)
    assert same is rgb and blurred.dtype == dtype
    expected = scipy.ndimage.gaussian_filter(thermal.astype(float), 2.5, mode="mirror")
    np.testing.assert_allclose(blurred, expected, atol=1.6 * gain)


@pytest.mark.parametrize(
    ("dtype", "gain", "offset"), [(np.uint8, 1, 0), (np.uint16, 10, 29000), (np.float32, 0.1, 280)]
)
def test_low_contrast_shrinks_differences_from_the_mean_and_leaves_the_noise(dtype, gain, offset):
    thermal = (offset + gain * scipy.ndimage.gaussian_filter(THERMAL.astype(float), 3)).astype(dtype)
    span = 255 if dtype == np.uint8 else np.subtract(*np.percentile(thermal, (99.5, 0.5)))
    _, flat = degrade("thermal_low_contrast", 20, grey(1), thermal)
    assert flat.dtype == dtype
    mean = thermal.mean(dtype=float)
    noise = flat.astype(float) - (mean + 0.2 * (thermal.astype(float) - mean))
    assert abs(noise.mean()) < 0.05 * span / 100
    rounding = 0 if dtype == np.float32 else 1 / 12
    assert noise.std() == pytest.approx(math.sqrt((0.005 * span) ** 2 + rounding), rel=0.05)


def frames(number):
    return [np.full((20, 30), 1000 * value + 7, np.uint16) for value in range(number)]


def test_a_frozen_camera_repeats_the_first_frame_of_each_block_exactly():
    degrader = Degrader(Degradation("thermal_frozen", 4), seed=1)
    rgb = grey(3, (20, 30))
    shown = [degrader(rgb, thermal, index) for index, thermal in enumerate(frames(10))]
    assert all(image is rgb for image, _ in shown)
    assert [int(thermal[0, 0]) // 1000 for _, thermal in shown] == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8]
    assert all((thermal == thermal[0, 0]).all() and thermal.dtype == np.uint16 for _, thermal in shown)


def test_a_frozen_frame_survives_that_its_buffer_is_filled_again():
    degrader = Degrader(Degradation("thermal_frozen", 5), seed=1)
    buffer = np.full((20, 30), 100, np.uint8)
    degrader(buffer, buffer, 0)
    buffer[:] = 200
    _, shown = degrader(buffer, buffer, 1)
    assert (shown == 100).all()
    with pytest.raises(ValueError, match="read-only"):
        shown[0, 0] = 1


def test_a_frozen_camera_starts_with_the_first_frame_that_comes_and_forgets_on_reset():
    degrader = Degrader(Degradation("thermal_frozen", 5), seed=1)
    values = frames(8)
    rgb = grey(1, (20, 30))
    assert degrader(rgb, values[3], 3)[1][0, 0] == values[3][0, 0]
    assert degrader(rgb, values[4], 4)[1][0, 0] == values[3][0, 0]
    degrader.reset()
    assert degrader(rgb, values[1], 1)[1][0, 0] == values[1][0, 0]


def test_what_is_frozen_needs_a_memory():
    with pytest.raises(SettingsError, match="use Degrader"):
        degrade("thermal_frozen", 5, grey(1))


@pytest.mark.parametrize("degradation", PURE, ids=name_of)
def test_a_degrader_does_what_the_degradation_does(degradation):
    degrader = Degrader(degradation, seed="street")
    rgb = np.random.default_rng(1).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    for index in (0, 1):
        for got, expected in zip(
            degrader(rgb, THERMAL, index), degradation.apply(rgb, THERMAL, index, "street"), strict=True
        ):
            np.testing.assert_array_equal(got, expected)
    degrader.reset()


@pytest.mark.parametrize("degradation", PURE, ids=name_of)
@pytest.mark.parametrize("rgb_shape", [(61, 47), (61, 47, 3), (1, 5, 3)])
@pytest.mark.parametrize(
    ("thermal_shape", "dtype"),
    [((33, 29), np.uint8), ((33, 29, 1), np.uint16), ((33, 29, 3), np.uint8), ((1, 1), np.float32)],
)
def test_types_and_shapes_are_kept_and_the_originals_left_alone(degradation, rgb_shape, thermal_shape, dtype):
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 255, rgb_shape).astype(np.uint8)
    thermal = rng.integers(0, 255, thermal_shape).astype(dtype)
    before = rgb.copy(), thermal.copy()
    got = degradation.apply(rgb, thermal, 0, 1)
    for result, original, kept in zip(got, (rgb, thermal), before, strict=True):
        assert result.dtype == original.dtype and result.shape == original.shape
        assert result is original or not np.shares_memory(result, original)
        np.testing.assert_array_equal(original, kept)


@pytest.mark.parametrize("degradation", PURE, ids=name_of)
def test_it_does_what_its_name_says_to_one_camera_only(degradation):
    rgb = np.repeat(half_and_half()[..., None], 3, axis=2)
    new_rgb, new_thermal = degradation.apply(rgb, THERMAL, 0, 1)
    is_thermal = degradation.kind.startswith("thermal")
    assert (new_rgb is rgb) == is_thermal
    if degradation.kind != "fog":
        assert (new_thermal is THERMAL) == (not is_thermal)


@pytest.mark.parametrize("kind", ["fog", "thermal_low_contrast"])
def test_pixels_without_a_reading_stay_so_and_do_not_spoil_the_others(kind):
    thermal = 280 + THERMAL.astype(np.float32) / 10
    thermal[5, 6] = np.nan
    _, seen = degrade(kind, 50, grey(1), thermal)
    assert np.argwhere(~np.isfinite(seen)).tolist() == [[5, 6]]
    _, nothing = degrade(kind, 50, grey(1), np.full(SIZE, np.nan, np.float32))
    assert np.isnan(nothing).all()


def fingerprints():
    rgb = np.arange(60 * 80 * 3).reshape(60, 80, 3).astype(np.uint8)
    thermal = np.arange(60 * 80).reshape(60, 80).astype(np.uint16)
    images = [item.apply(rgb, thermal, 3, "street") for item in PURE]
    return [zlib.crc32(image.tobytes()) for pair in images for image in pair]


def test_every_process_makes_the_same_and_global_random_state_plays_no_part(repository):
    assert printed_elsewhere(repository, "test_degrade", "fingerprints()") == str(fingerprints())


def test_default_is_every_kind_and_a_text_names_kinds_and_levels():
    found = parse_degradations("default")
    assert {item.kind for item in found} == set(DEGRADATIONS) == {
        "darkness", "glare", "fog", "thermal_blur", "thermal_low_contrast", "thermal_frozen",
    }  # fmt: skip
    assert all(sum(item.kind == kind for item in found) >= 2 for kind in DEGRADATIONS)
    found = parse_degradations("fog:80,thermal_frozen:6, darkness:2.5,fog:80")
    assert [item.name for item in found] == ["fog 80 m", "thermal frozen 6 frames", "darkness 2.5 %"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("darknes:3", r"degrade: there is no kind 'darknes'; did you mean 'darkness'\?"),
        ("rain", "known names: darkness, fog, glare"),
        ("fog:2", "fog: expected a level from 5 to 100000 m, got 2.0"),
        ("thermal_frozen:2.5", "expected a whole number from 2 to 10000 frames, got 2.5"),
        ("thermal_blur:soft", "expected a number of px, such as thermal_blur:1.5, got 'soft'"),
        ("glare:inf", "from 0 to 100 %"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_the_way_out(text, message):
    with pytest.raises(SettingsError, match=message):
        parse_degradations(text)


@pytest.mark.parametrize(
    ("rgb", "thermal", "message"),
    [
        (grey(1).astype(np.float32), THERMAL, "RGB image .* of uint8, got float32"),
        (np.zeros((9, 9, 4), np.uint8), THERMAL, r"got uint8 \(9, 9, 4\)"),
        (grey(1), THERMAL.astype(np.int32), "uint8, uint16 or float32.*got int32"),
    ],
)
@pytest.mark.parametrize("degradation", parse_degradations("default"), ids=name_of)
def test_images_that_cannot_be_degraded_are_refused(degradation, rgb, thermal, message):
    with pytest.raises(ImageError, match=message):
        Degrader(degradation, seed=1)(rgb, thermal, 0)


@pytest.mark.parametrize("kind", sorted({item.kind for item in PURE}))
def test_by_severity_each_level_changes_the_images_more_than_the_one_before(kind):
    scene = np.random.default_rng(3).integers(20, 200, (*SIZE, 3)).astype(np.uint8)
    facts = [Condition(item).facts for item in reversed(PURE) if item.kind == kind]
    changes = []
    for condition in by_severity(facts):
        rgb, thermal = degrade(kind, condition.level, scene)
        changes.append(np.abs(rgb - scene.astype(float)).mean() + np.abs(thermal - THERMAL.astype(float)).mean())
    assert len(changes) > 1 and (np.diff([0.0, *changes]) > 0.0).all()

"""What goes into a method and what comes out has the range that the method's spec says."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_ros.imaging import MethodRanges, RangeSettings, RunningRange
from fusion_ros.spec import InputRange, NetworkSpec, OutputRange

RNG = np.random.default_rng(0)
SECOND = 1_000_000_000
FRAME = SECOND // 30


def _spec(**fields) -> NetworkSpec:
    return NetworkSpec(name="a", title="A", source="", **fields)


def test_the_first_image_is_stretched_by_the_authors_rule():
    image = RNG.normal(0.1, 0.05, (20, 30)).astype(np.float32)
    low, high = image.min(), image.max()
    expected = (image - low) / (high - low + 1e-5)
    np.testing.assert_allclose(RunningRange()(image, 7), expected, atol=1e-6)


def test_every_image_is_stretched_by_itself_when_nothing_may_be_remembered():
    running = RunningRange(RangeSettings(time_constant_s=0.0))
    for scale in (1.0, 20.0, 0.1):
        stretched = running(RNG.random((8, 9), np.float32) * scale, FRAME)
        assert stretched.min() == 0
        assert stretched.max() == pytest.approx(1, abs=1e-3)


def test_a_bright_spot_does_not_darken_the_rest_of_a_stream():
    scene = np.linspace(0.0, 1.0, 400, dtype=np.float32).reshape(20, 20)
    glint = scene.copy()
    glint[3, 3] = 30.0
    running = RunningRange()
    before = running(scene, 0)
    after = running(glint, FRAME)
    alone = RunningRange()(glint, 0)
    others = np.arange(400).reshape(20, 20) != 63
    bound = 1 - np.exp(-FRAME / SECOND)
    assert np.abs(after - before)[others].max() <= bound + 1e-6
    assert np.abs(alone - before)[others].max() > 0.9  # what a range of each frame's own would do


def test_the_range_arrives_in_the_end():
    running = RunningRange(RangeSettings(time_constant_s=0.5))
    for stamp in range(0, 10 * SECOND, FRAME):
        stretched = running(
            np.array([[2.0, 6.0]], np.float32) if stamp else np.array([[0.0, 1.0]], np.float32), stamp
        )
    np.testing.assert_allclose(stretched, [[0, 1]], atol=1e-4)
    assert running.range == pytest.approx((2, 6), abs=1e-3)


@pytest.mark.parametrize("stamp", [-FRAME, 9 * SECOND], ids=["back in time", "after a pause"])
def test_a_break_in_the_stream_starts_the_range_afresh(stamp):
    running = RunningRange()
    running(np.array([[0.0, 100.0]], np.float32), 0)
    assert running(np.array([[0.0, 1.0]], np.float32), stamp).max() > 0.99


def test_a_reset_forgets_the_range():
    running = RunningRange()
    running(np.array([[0.0, 100.0]], np.float32), 0)
    running.reset()
    assert running.range is None
    assert running(np.array([[0.0, 1.0]], np.float32), FRAME).max() > 0.99


def test_a_flat_image_is_black():
    assert np.array_equal(RunningRange()(np.full((4, 5), 0.7, np.float32), 0), np.zeros((4, 5), np.float32))


@pytest.mark.parametrize("flat", [0.0, 0.5])
def test_flat_frames_at_any_time_do_not_upset_the_frames_after_them(flat):
    scene = np.linspace(0.2, 0.9, 20, dtype=np.float32).reshape(4, 5)
    running = RunningRange()
    for number in range(200):
        is_flat = number < 5 or 20 <= number < 150
        stretched = running(np.full((4, 5), flat, np.float32) if is_flat else scene, number * FRAME)
        assert np.isfinite(stretched).all()
        if not is_flat:
            np.testing.assert_allclose(stretched, np.linspace(0, 1, 20).reshape(4, 5), atol=1e-3)


def test_the_noise_of_flat_frames_is_not_stretched_however_long_they_last():
    rng = np.random.default_rng(0)
    running = RunningRange(RangeSettings(reset_gap_s=0.5), flat=1 / 16)
    running(np.linspace(0.0, 1.0, 400, dtype=np.float32).reshape(20, 20), 0)
    for number in range(1, 60):
        flat = (0.1 + rng.normal(0.0, 0.004, (20, 20))).astype(np.float32)
        stretched = running(flat, number * FRAME)
        assert stretched.mean() == pytest.approx(0.1, abs=0.002)
        assert stretched.std() < 0.006


def test_a_dull_minute_raises_the_gain_to_a_bound():
    scene = np.linspace(0.0, 1.0, 20, dtype=np.float32).reshape(4, 5)
    running = RunningRange()
    running(scene, 0)
    for number in range(1, 1800):
        running(0.5 + 0.01 * scene, number * FRAME)
    low, high = running.range
    assert high - low == pytest.approx(1 / 16, rel=0.01)


def test_a_method_in_unit_range_gets_its_images_as_they_are_and_is_clamped():
    ranges = MethodRanges(_spec())
    infrared, visible = RNG.random((2, 6, 7), np.float32)
    prepared = ranges.prepare(infrared, visible, 0)
    assert prepared[0] is infrared
    assert prepared[1] is visible
    assert ranges.finish(np.array([[-0.2, 0.4, 1.3]], np.float32), 0).tolist() == [[0, np.float32(0.4), 1]]


def test_a_method_in_grey_levels_gets_them():
    ranges = MethodRanges(_spec(input_range=InputRange.BYTE))
    infrared, visible = RNG.random((2, 6, 7), np.float32)
    kept = infrared.copy()
    np.testing.assert_allclose(ranges.prepare(infrared, visible, 0)[0], kept * 255, rtol=1e-6)
    np.testing.assert_array_equal(infrared, kept)


def test_both_inputs_are_stretched_each_by_its_own_range():
    ranges = MethodRanges(_spec(input_range=InputRange.STRETCHED))
    infrared = np.array([[0.2, 0.3]], np.float32)
    visible = np.array([[0.5, 0.9]], np.float32)
    for stretched in ranges.prepare(infrared, visible, 0):
        np.testing.assert_allclose(stretched, [[0, 1]], atol=1e-5)
    ranges.reset()
    np.testing.assert_allclose(ranges.prepare(visible, infrared, FRAME)[0], [[0, 1]], atol=1e-5)


def test_a_truncating_method_gives_whole_levels_rounded_down():
    ranges = MethodRanges(_spec(output_range=OutputRange.STRETCHED, truncates=True))
    image = RNG.random((50, 50), np.float32)
    expected = np.floor((image - image.min()) / (image.max() - image.min() + 1e-5) * 255)
    levels = ranges.finish(image, 0) * 255
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    assert np.abs(np.rint(levels) - expected).max() <= 1
    assert (np.rint(levels) == expected).mean() > 0.999

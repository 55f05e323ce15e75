"""The parts of the tracker, each against the same written another way."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import fourier_shift, gaussian_filter, map_coordinates

from fusion_ros.errors import SettingsError, TrackingError
from fusion_ros.tracking import TrackerSettings, clipped, overlap
from fusion_ros.tracking.appearance import Appearance
from fusion_ros.tracking.filter import CorrelationFilter
from fusion_ros.tracking.motion import Motion
from fusion_ros.tracking.sampling import sample, samples
from fusion_ros.tracking.search import places_around
from fusion_ros.tracking.template import Template
from fusion_ros.tracking.track import usable_box

pytestmark = pytest.mark.filterwarnings("error")

SECOND = 1_000_000_000


def smooth_noise(shape: tuple[int, ...], seed: int, sigma: float = 1.5) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = gaussian_filter(noise, (sigma, sigma, 0), mode="wrap")
    return (smooth / smooth.std()).astype(np.float32)


def test_overlap_is_what_counting_pixels_gives():
    rng = np.random.default_rng(0)
    for _ in range(50):
        boxes = [tuple(float(v) for v in (*rng.integers(0, 20, 2), *rng.integers(1, 15, 2))) for _ in range(2)]
        masks = np.zeros((2, 40, 40), bool)
        for mask, (x, y, width, height) in zip(masks, np.array(boxes, int), strict=True):
            mask[y : y + height, x : x + width] = True
        assert overlap(*boxes) == pytest.approx((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())


def test_a_box_is_cut_to_the_pixels_of_the_image():
    assert clipped((-3, 4, 10, 10), (12, 30)) == (0, 4, 7, 8)
    assert clipped((5, 6, 7, 3), (12, 30)) == (5, 6, 7, 3)
    assert clipped((30, 4, 10, 10), (12, 30)) is None


def test_of_a_box_at_least_half_has_to_be_inside():
    assert usable_box((-5, 0, 10, 10), (20, 20)) == (0, 0, 5, 10)
    with pytest.raises(TrackingError, match="image of 20 x 30 pixels"):
        usable_box((-5.1, 0, 10, 10), (30, 20))


@pytest.mark.parametrize("pitch", [(1.0, 1.0), (0.3, 0.8)])
@pytest.mark.parametrize("centre", [(11.0, 7.0), (9.37, 6.81), (-2.4, 17.2)])
def test_samples_are_linear_interpolation_with_the_border_going_on(pitch, centre):
    values = smooth_noise((15, 22, 3), 0)
    rows = centre[1] + (np.arange(6) - 2.5) * pitch[1]
    columns = centre[0] + (np.arange(9) - 4) * pitch[0]
    places = np.meshgrid(rows, columns, indexing="ij")
    expected = [map_coordinates(values[:, :, k].astype(float), places, order=1, mode="nearest") for k in range(3)]
    np.testing.assert_allclose(sample(values, centre, pitch, (6, 9)), np.stack(expected, axis=2), atol=1e-5)


def test_samples_far_apart_are_averages_that_keep_what_is_linear_and_drop_what_is_fine():
    y, x = np.mgrid[:60, :60].astype(np.float32)
    checks = np.where((x + y) % 2 == 0, 1.0, -1.0)
    taken = sample(np.dstack([x, y, checks]).astype(np.float32), (30.3, 28.6), (4.0, 3.0), (7, 5))
    rows, columns = 28.6 + (np.arange(7) - 3) * 3.0, 30.3 + (np.arange(5) - 2) * 4.0
    np.testing.assert_allclose(taken[:, :, 0], np.broadcast_to(columns, (7, 5)), atol=0.1)
    np.testing.assert_allclose(taken[:, :, 1], np.broadcast_to(rows[:, None], (7, 5)), atol=0.1)
    assert np.abs(taken[:, :, 2]).max() < 0.1


def test_pieces_of_several_pitches_are_the_single_ones():
    values = smooth_noise((30, 40, 4), 1)
    pitches = [(0.5, 1.5), (2.0, 1.0), (3.1, 2.7)]
    together = samples(values, (17.2, 12.9), pitches, (5, 6))
    for piece, pitch in zip(together, pitches, strict=True):
        np.testing.assert_allclose(piece, sample(values, (17.2, 12.9), pitch, (5, 6)), atol=1e-5)


@pytest.mark.parametrize("shape", [(40, 40), (35, 41)])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, -2.0), (-2.25, 1.6), (0.5, 0.5)])
def test_a_filter_finds_a_shift_between_samples(shape, shift):
    patch = smooth_noise((*shape, 5), 2)
    moved = [np.fft.ifft2(fourier_shift(np.fft.fft2(patch[:, :, k]), (shift[1], shift[0]))).real for k in range(5)]
    learned = CorrelationFilter((13.0, 13.0), shape, 0.1)
    learned.learn(patch)
    peak = learned.find(np.stack(moved, axis=2).astype(np.float32))
    # The window, which stays where it is, draws a little to the middle.
    assert peak.shift == pytest.approx(shift, abs=0.1, rel=0.12)
    assert peak.height > 0.7 * learned.find(patch).height


def test_a_filter_answers_to_the_target_and_not_to_what_is_around_it():
    around, patch, other = (smooth_noise((30, 30, 5), seed) for seed in (3, 4, 5))
    target = (slice(11, 19), slice(11, 19))
    learned = CorrelationFilter((8.0, 8.0), (30, 30), 0.1)
    scene = around.copy()
    scene[target] = patch[target]
    learned.learn(scene)
    kept, gone = other.copy(), around.copy()
    kept[target], gone[target] = patch[target], other[target]
    assert learned.find(kept).height > 2 * learned.find(gone).height


def test_of_two_equal_ones_the_filter_takes_the_one_where_the_target_is_expected():
    patch, around = smooth_noise((40, 40, 5), 12), smooth_noise((40, 40, 5), 13)
    learned = CorrelationFilter((10.0, 10.0), (40, 40), 0.1)
    learned.learn(patch)
    both = 0.3 * around
    both[15:25, 2:12] = patch[15:25, 15:25]  # 13 samples to the left
    both[15:25, 18:28] = 0.7 * patch[15:25, 15:25]  # 3 to the right, and weaker
    assert learned.find(both, spread=2.0).shift[0] > 0.0  # a second look from there finds all of it
    both[15:25, 18:28] = 0.3 * around[15:25, 18:28]
    assert learned.find(both).shift == pytest.approx((-13.0, 0.0), abs=1.0)


def test_a_filter_that_learns_for_long_takes_over_and_at_rate_zero_does_not():
    first, second = smooth_noise((24, 24, 5), 6), smooth_noise((24, 24, 5), 7)
    heights = {}
    for rate in (0.0, 0.3):
        learned = CorrelationFilter((8.0, 8.0), (24, 24), rate)
        learned.learn(first)
        for _ in range(20):
            learned.learn(second)
        heights[rate] = learned.find(first).height, learned.find(second).height
    assert heights[0.0][0] > 2 * heights[0.0][1]
    assert heights[0.3][1] > 1.5 * heights[0.3][0]


def test_a_filter_answers_less_to_what_is_faint():
    patch = smooth_noise((24, 24, 5), 8)
    learned = CorrelationFilter((8.0, 8.0), (24, 24), 0.1)
    learned.learn(patch)
    clear, weaker, faint = (learned.find(np.float32(share) * patch).height for share in (1.0, 0.5, 0.001))
    assert weaker == pytest.approx(clear, rel=0.15)
    assert faint < 0.05 * clear


def test_what_has_learned_nothing_finds_nothing():
    with pytest.raises(RuntimeError, match="learn"):
        CorrelationFilter((8.0, 8.0), (24, 24), 0.1).find(np.zeros((24, 24, 1), np.float32))


def stretched(texture: np.ndarray, centre: tuple[float, float], scale: tuple[float, float]) -> np.ndarray:
    """A map whose content has grown about a place, across and down."""
    y, x = np.mgrid[: texture.shape[0], : texture.shape[1]].astype(float)
    places = [centre[1] + (y - centre[1]) / scale[1], centre[0] + (x - centre[0]) / scale[0]]
    return np.stack([map_coordinates(channel, places) for channel in np.moveaxis(texture, 2, 0)], axis=2)


@pytest.mark.parametrize("factor", [0.9, 0.97, 1.0, 1.03, 1.11])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_template_tells_how_a_side_has_grown(factor, axis):
    texture, centre, extent = smooth_noise((60, 60, 6), 9, 2.0), (29.3, 30.8), (18.0, 22.0)
    template = Template(texture, centre, extent)
    grown = stretched(texture, centre, (factor, 1.0) if axis == 0 else (1.0, factor))
    # Small changes are held to be likelier, so of a large one a part is left for the next frame.
    assert template.stretch(grown, centre, extent, axis, 9) == pytest.approx(
        factor, abs=0.005 + abs(factor - 1) / 3
    )


@pytest.mark.parametrize("longer", [0, 1])
def test_the_size_is_told_by_the_longer_side(longer):
    # People's shorter side comes and goes with their stride.
    texture, centre = smooth_noise((60, 60, 6), 9, 2.0), (29.3, 30.8)
    extent = (30.0, 12.0) if longer == 0 else (12.0, 30.0)
    found = {}
    for axis in (0, 1):
        scale = [1.0, 1.0]
        scale[axis] = 1.06
        known = Appearance(texture, centre, extent, 3.0, 0.1, (1.0, 1.0), 9)
        seen = known.weighed(stretched(texture, centre, tuple(scale)))
        sides = known.measure(seen, centre, extent)
        assert sides[0] / sides[1] == pytest.approx(extent[0] / extent[1])  # both by one factor
        found[axis] = sides[0] / extent[0]
    assert found[longer] == pytest.approx(1.06, abs=0.025)
    assert found[1 - longer] == pytest.approx(1.0, abs=0.015)


def test_similarity_is_the_correlation_coefficient_of_the_box():
    one, other = smooth_noise((12, 12, 4), 10), smooth_noise((12, 12, 4), 11)
    mixed = (0.8 * one + 0.6 * other).astype(np.float32)
    box = (5.5, 5.5), (8.0, 8.0)  # at one sample a cell these are the cells themselves
    inside = [values[2:10, 2:10] - values[2:10, 2:10].mean(axis=(0, 1)) for values in (one, mixed)]
    expected = np.corrcoef(inside[0].ravel(), inside[1].ravel())[0, 1]
    assert Template(one, *box).similarity(mixed, *box) == pytest.approx(expected, abs=0.02)
    assert Template(one, *box).similarity(-one, *box) == 0.0


def test_at_a_constant_velocity_the_prediction_is_right_at_any_time():
    motion = Motion((10.0, 20.0), 40.0, 0)
    for tenths in (1, 2, 4, 5, 8, 9, 10, 13, 14, 15, 16):
        motion.predict(tenths * SECOND // 10)
        motion.correct((10 + 3.0 * tenths, 20 - 2.0 * tenths), 40.0, 1.0)
    motion.predict(20 * SECOND // 10)
    assert motion.centre == pytest.approx((70.0, -20.0), abs=1.0)
    assert motion.size == pytest.approx(40.0)


def test_the_motion_is_that_of_a_kalman_filter_of_the_textbook():
    motion, size = Motion((5.0, 0.0), 30.0, 0), 30.0
    state, covariance = np.array([5.0, 0.0]), np.diag([(0.03 * size) ** 2, (2.0 * size) ** 2])
    measured, before = np.array([1.0, 0.0]), 0.0
    for time, place in ((0.2, 7.0), (0.3, 8.5), (0.7, 20.0)):
        step, before = time - before, time
        motion.predict(round(time * SECOND))
        motion.correct((place, 0.0), size, 0.5)
        move = np.array([[1.0, step], [0.0, 1.0]])
        noise = (2.0 * size) ** 2 * np.array([[step**3 / 3, step**2 / 2], [step**2 / 2, step]])
        state, covariance = move @ state, move @ covariance @ move.T + noise
        gain = covariance @ measured / (measured @ covariance @ measured + (0.03 * size / 0.5) ** 2)
        state = state + gain * (place - state[0])
        covariance = (np.eye(2) - np.outer(gain, measured)) @ covariance
        assert motion.centre[0] == pytest.approx(state[0], rel=1e-6)
        assert motion.spread == pytest.approx(math.sqrt(covariance[0, 0]), rel=1e-6)


def test_the_longer_nothing_is_seen_the_less_is_known():
    motion = Motion((0.0, 0.0), 20.0, 0)
    spreads = []
    for tenths in range(1, 30):
        motion.predict(tenths * SECOND // 10)
        spreads.append(motion.spread)
    assert all(later > earlier for earlier, later in pairwise(spreads))
    assert spreads[-1] > 20.0


def test_after_a_jump_back_in_time_the_target_stands_where_it_was():
    motion = Motion((0.0, 0.0), 20.0, 10 * SECOND)
    for k in range(1, 6):
        motion.predict((10 + k) * SECOND)
        motion.correct((30.0 * k, 0.0), 20.0, 1.0)
    motion.predict(3 * SECOND)
    motion.predict(4 * SECOND)
    assert motion.centre == pytest.approx((150.0, 0.0), abs=1.0)


def test_places_cover_all_within_reach_and_inside_the_image_the_nearest_first():
    places = places_around((50.0, 30.0), 60.0, 10.0, (80, 120))
    assert places[0] == (50.0, 30.0)
    distances = [math.hypot(x - 50, y - 30) for x, y in places]
    assert distances == sorted(distances)
    assert len(set(places)) == len(places)
    for y in range(0, 80, 3):
        for x in range(0, 120, 3):
            if math.hypot(x - 50, y - 30) < 60.0 - 10.0:
                assert min(max(abs(x - px), abs(y - py)) for px, py in places) <= 10.0
    assert all(0 <= x < 120 and 0 <= y < 80 for x, y in places)


def test_places_begin_inside_the_image_where_the_target_has_left_it():
    assert places_around((-40.0, 200.0), 0.0, 10.0, (80, 120)) == [(0.0, 79.0)]


def test_settings_outside_their_bounds_are_refused():
    for name, setting in TrackerSettings.describe().items():
        if setting.type is not bool:
            assert setting.bounds is not None, name
    with pytest.raises(SettingsError, match="search_scale"):
        TrackerSettings(search_scale=0.5)

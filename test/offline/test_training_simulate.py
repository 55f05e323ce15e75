"""Simulated misalignment against pictures that are known as functions of position."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from fusion_ros.errors import SettingsError
from fusion_ros.synthetic.misalign import inverse_field
from training.data.augment import grown, mirrored
from training.data.pairs import PairImages
from training.data.simulate import AnyOf, Deformation, Translation, misaligned, parse_simulator

SMOOTH = ["affine:4..4", "perspective:4..4", "elastic:hard", "mixed:4..4"]
SEVERAL = "translation:8 + affine:4..4+elastic:hard"
ALL = ["translation:8", *SMOOTH, SEVERAL]
SIZE = (200, 240)
WINDOW = (slice(40, 168), slice(50, 178))
CORNER = (slice(0, 128), slice(112, 240))


def landscape(x, y):
    """A smooth picture with slopes up to 11 a pixel, between 20 and 230."""
    return 125 + 60 * np.sin(x / 9 + 1) * np.cos(y / 11) + 45 * np.cos((x + 2 * y) / 17)


def grid(size=SIZE):
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    return x, y


def picture(size=SIZE):
    return landscape(*grid(size)).astype(np.float32)


def pair(infrared, flow=None):
    return PairImages(infrared, np.zeros(infrared.shape, np.uint8), flow)


def sampled(image, flow):
    """``image(p + flow(p))`` by SciPy's cubic splines."""
    x, y = grid(flow.shape[:2])
    return map_coordinates(image.astype(np.float64), [y + flow[..., 1], x + flow[..., 0]], order=3, mode="mirror")


def well_inside(sample, margin=4):
    """Where neither the pixel nor what its flow points to is near the crop's border, where splines are poor."""
    side = sample.inside.shape[0]
    x, y = grid(sample.inside.shape)
    at = np.stack([x, y, x + sample.flow[..., 0], y + sample.flow[..., 1]])
    away = ((at >= margin) & (at <= side - 1 - margin)).all(axis=0)
    return away & sample.inside


def rms(field):
    return math.sqrt(np.mean(np.sum(np.square(field, dtype=np.float64), axis=-1)))


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("window", [WINDOW, CORNER], ids=["inside", "corner"])
@pytest.mark.parametrize("text", ALL)
def test_what_was_moved_is_the_original_where_the_flow_points(text, window):
    original, moved = picture(), []
    for seed in range(3):
        sample = misaligned(pair(original), window, parse_simulator(text), rng(seed))
        np.testing.assert_array_equal(sample.registered, original[window])
        assert sample.inside.mean() > 0.7
        inner = well_inside(sample)
        difference = sampled(sample.infrared, sample.flow) - original[window]
        # OpenCV's bicubic sampling may be 1/12 px off, at slopes of 11 a pixel.
        assert np.abs(difference[inner]).max() < 11 / 12 + 0.2
        moved.append(np.abs(original[window] - sample.infrared)[inner].max())
    assert max(moved) > 20


@pytest.mark.parametrize("text", ALL)
def test_eight_bit_pictures_are_moved_like_others(text):
    original = picture()
    fine = misaligned(pair(original), WINDOW, parse_simulator(text), rng())
    coarse = misaligned(pair(np.round(original).astype(np.uint8)), WINDOW, parse_simulator(text), rng())
    assert coarse.infrared.dtype == np.uint8
    np.testing.assert_allclose(coarse.infrared, fine.infrared, atol=1.5)
    np.testing.assert_array_equal(coarse.flow, fine.flow)


def test_a_translation_shows_the_crop_at_another_place_exactly():
    noise = rng(1).integers(0, 256, SIZE).astype(np.uint8)
    for seed in range(20):
        sample = misaligned(pair(noise), WINDOW, Translation(8), rng(seed))
        x, y = -sample.flow[0, 0].astype(int)
        np.testing.assert_array_equal(sample.flow, np.broadcast_to(np.float32([-x, -y]), sample.flow.shape))
        np.testing.assert_array_equal(sample.infrared, noise[40 + y : 168 + y, 50 + x : 178 + x])
        assert sample.inside.sum() == (128 - abs(x)) * (128 - abs(y))


def test_translations_are_uniform_over_both_axes():
    still = np.zeros((32, 32), np.uint8)
    numbers = rng(2)
    shifts = np.array([Translation(3)(still, numbers)[1][0, 0] for _ in range(3000)]).astype(int) + 3
    counts = np.bincount(shifts[:, 0] * 7 + shifts[:, 1], minlength=49)
    assert counts.size == 49 and (np.abs(counts - 3000 / 49) < 5 * math.sqrt(3000 / 49)).all()


def test_a_perspective_is_opencvs_own_warp_by_one_homography():
    original = picture((160, 160))
    moved, flow = Deformation("perspective", 5.0, 5.0)(original, rng(4))
    corners = np.float32([[30, 30], [130, 30], [130, 130], [30, 130]])
    seen = np.float32([(x, y) + flow[int(y), int(x)] for x, y in corners])
    homography = cv2.getPerspectiveTransform(corners, seen)
    x, y = grid((160, 160))
    to = np.einsum("ij,jhw->ihw", homography, np.stack([x, y, np.ones_like(x)]))
    inner = (slice(20, -20), slice(20, -20))
    np.testing.assert_allclose((to[0] / to[2])[inner], (x + flow[..., 0])[inner], atol=0.01)
    np.testing.assert_allclose((to[1] / to[2])[inner], (y + flow[..., 1])[inner], atol=0.01)
    assert np.abs(homography[2, :2]).max() > 1e-5  # more than affine
    expected = cv2.warpPerspective(original, homography, (160, 160), flags=cv2.INTER_CUBIC)
    np.testing.assert_allclose(moved[inner], expected[inner], atol=1.0)


@pytest.mark.parametrize(
    ("text", "level"), [*zip(SMOOTH, (4, 4, 3.7, 4), strict=True), ("elastic:easy", 2.1), ("elastic:normal", 2.5)]
)
def test_the_level_is_the_rms_displacement(text, level):
    for seed in range(3):
        _, flow = parse_simulator(text)(picture(), rng(seed))
        # The inverse of a flow is the field that the image was moved by; a flow's own RMS is of another grid.
        assert rms(inverse_field(flow)) == pytest.approx(level, rel=0.03)


def test_levels_are_uniform_up_to_the_one_named_or_between_two():
    still = np.zeros((96, 96), np.uint8)
    for text, low, high in (("affine:4", 0.0, 4.0), ("affine:2..3", 2.0, 3.0)):
        numbers, simulator = rng(5), parse_simulator(text)
        levels = np.array([rms(inverse_field(simulator(still, numbers)[1])) for _ in range(60)])
        assert low * 0.97 <= levels.min() and levels.max() <= high * 1.03
        assert levels.mean() == pytest.approx((low + high) / 2, abs=(high - low) * 0.15)
        assert levels.std() == pytest.approx((high - low) / math.sqrt(12), rel=0.3)


def test_of_several_each_sample_gets_one_and_each_is_as_frequent():
    kinds = {"translation:2": Translation(2), "affine:3..3": Deformation("affine", 3.0, 3.0)}
    kinds["elastic:easy"] = Deformation("elastic", 2.1, 2.1)
    several = parse_simulator("+".join(kinds))
    assert several == AnyOf(tuple(kinds.values()))
    counts = dict.fromkeys(kinds, 0)
    image, numbers = picture((64, 80)), rng(8)
    for _ in range(150):
        # What is drawn first says which; the rest of the numbers are for that one alone.
        state = numbers.bit_generator.state
        moved, flow = several(image, numbers)
        follower = rng()
        follower.bit_generator.state = state
        follower.integers(3)
        name = "affine:3..3" if is_affine(flow) else "elastic:easy"
        if (flow == flow[0, 0]).all():
            name = "translation:2"
        counts[name] += 1
        for own, other in zip((moved, flow), kinds[name](image, follower), strict=True):
            np.testing.assert_array_equal(own, other)
    assert sum(counts.values()) == 150 and min(counts.values()) > 30


def is_affine(flow):
    """Whether a plane goes through each axis of a flow, away from its borders."""
    x, y = (axis[8:-8, 8:-8].ravel() for axis in grid(flow.shape[:2]))
    planes = np.stack([x, y, np.ones_like(x)], axis=1)
    values = flow[8:-8, 8:-8].reshape(-1, 2).astype(np.float64)
    return np.abs(planes @ np.linalg.lstsq(planes, values, rcond=None)[0] - values).max() < 0.02


def test_several_are_as_strong_and_reach_as_far_as_the_strongest():
    several = parse_simulator("translation:40+affine:5")
    assert (several.level, several.reach) == (40.0, 40)
    several = parse_simulator("translation:4+affine:6..8")
    assert (several.level, several.reach) == (8.0, parse_simulator("affine:6..8").reach)


@pytest.mark.parametrize("text", [*SMOOTH, SEVERAL])
def test_no_reflection_enters_a_crop_where_the_image_has_real_pixels(text):
    """A ramp that is moved goes on rising; where it is reflected it falls."""
    ramp = (grid()[0] + 3).astype(np.float32)
    falls = {}
    for name, window in (("inside", WINDOW), ("corner", CORNER)):
        moved = [misaligned(pair(ramp), window, parse_simulator(text), rng(seed)).infrared for seed in range(25)]
        falls[name] = sum(bool((np.diff(image, axis=1) <= 0).any()) for image in moved)
    assert falls["inside"] == 0 and falls["corner"] > 5


def parallax(size=SIZE):
    """A pair whose infrared image is moved along x, by more in the lower half: exact by construction."""
    x, y = grid(size)
    off = 6 + 4 * np.tanh((y - 100) / 40)
    flow = np.stack([off, np.zeros_like(off)], axis=-1).astype(np.float32)
    return pair(landscape(x - off, y).astype(np.float32), flow)


@pytest.mark.parametrize("text", ["none", *ALL])
def test_the_parallax_of_a_pair_and_a_simulated_misalignment_follow_one_another(text):
    expected = picture()[WINDOW]
    sample = misaligned(parallax(), WINDOW, parse_simulator(text), rng(6))
    np.testing.assert_allclose(sample.registered, expected, atol=0.7)  # bilinear sampling of slopes and bends
    inner = well_inside(sample)
    assert inner.mean() > 0.6
    assert np.abs(sampled(sample.infrared, sample.flow) - expected)[inner].max() < 1.5


def test_what_only_the_visible_camera_saw_is_not_inside():
    images = parallax()
    window = (slice(0, 128), slice(112, 240))
    sample = misaligned(images, window, parse_simulator("none"), rng())
    at = grid((128, 128))[0] + images.flow[window][..., 0]
    np.testing.assert_array_equal(sample.inside, at <= 127)
    # Moved back to where it came from, a pixel beyond the image's edge is still one that nobody saw.
    back = misaligned(images, window, parse_simulator("translation:16"), rng(3))
    assert (back.inside <= (at <= 127.5)).all()


@pytest.mark.parametrize("text", ["none", *ALL])
def test_a_mirrored_sample_is_as_consistent_as_the_original(text):
    sample = mirrored(misaligned(parallax(), WINDOW, parse_simulator(text), rng(7)))
    inner = well_inside(sample)
    assert np.abs(sampled(sample.infrared, sample.flow) - sample.registered)[inner].max() < 1.5
    np.testing.assert_allclose(sample.registered, picture()[WINDOW][:, ::-1], atol=0.7)


def test_a_window_grows_up_to_the_image_and_remembers_its_place():
    wide, inner = grown((slice(5, 15), slice(20, 30)), 8, (40, 36))
    assert wide == (slice(0, 23), slice(12, 36)) and inner == (slice(5, 15), slice(8, 18))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("elastc:2", r"there is no kind 'elastc'; did you mean 'elastic'\?"),
        ("homography:2", "known names: affine.*translation"),
        ("affine", "'affine' is not understood; affine: random affine map: affine:4"),
        ("affine:easy", "is not understood"),
        ("affine:4..2", "levels that rise and end above 0 px, got 4 to 2; for example affine:4"),
        ("affine:0", "end above 0 px"),
        ("elastic:9", "from 0 to 8 px, got 9"),
        ("translation:2.5", "not understood; translation: whole shifts"),
        ("translation:0", "expected 1 to 64 px, got 0; for example translation:8"),
        ("none:3", "not understood; none: nothing moves"),
        ("translation:4+none", "none cannot be one of several; leave it out"),
        ("affine:2+elastc:3", r"there is no kind 'elastc'; did you mean 'elastic'\?"),
        ("affine:2+", "there is no kind ''"),
    ],
)
def test_what_is_not_understood_is_refused_with_the_way_out(text, message):
    with pytest.raises(SettingsError, match=message):
        parse_simulator(text)

"""Which camera only repeats its image: exact cases, each told frame by frame."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_ros.frame import Frame, FramePair, Sensor
from fusion_ros.timing import Repeat, RepeatFinder

RGB, THERMAL = Sensor.RGB, Sensor.THERMAL
STEP_NS = 100_000_000


def _image(name: str, sensor: Sensor) -> np.ndarray:
    """A noisy image that is another one for each letter."""
    shape = (48, 64, 3) if sensor is RGB else (40, 50)
    return np.random.default_rng(ord(name)).integers(0, 256, shape, np.uint8)


def _pair(rgb: str, thermal: str, index: int) -> FramePair:
    """The pair of two letters; a blank is a frame that is missing."""
    frames = {
        sensor: None if name == " " else Frame(_image(name, sensor), index * STEP_NS)
        for sensor, name in ((RGB, rgb), (THERMAL, thermal))
    }
    return FramePair(frames[RGB], frames[THERMAL])


def _told(rgb: str, thermal: str) -> str:
    """What is said of a stream of images, one letter each: who repeats, ``r`` or ``t``, ``-`` for none."""
    find = RepeatFinder()
    pairs = (_pair(*names, index) for index, names in enumerate(zip(rgb, thermal, strict=True)))
    return "".join({None: "-", RGB: "r", THERMAL: "t"}[found and found.sensor] for found in map(find, pairs))


@pytest.mark.parametrize(
    ("rgb", "thermal", "expected"),
    [
        ("abcdef", "uvwxyz", "------"),  # nobody
        ("abcdef", "uuuxxx", "-tt-tt"),  # a driver that fills up its rate
        ("abbbef", "uvwxyz", "--rr--"),  # the other camera
        ("aaaaaa", "uuuuuu", "------"),  # a paused world
        ("abbcce", "uvvwwy", "------"),  # both fill up, in step
        ("abbccd", "uuuuuu", "-ttttt"),  # one stands still, the other fills up: the same pair, the same answer
        ("abbbcd", "uuvvvw", "-trrt-"),  # by turns
        ("ababab", "uvuvuv", "------"),  # an image that was there earlier is a new one
    ],
)
def test_a_repeat_is_the_same_image_beside_a_new_one(rgb, thermal, expected):
    assert _told(rgb, thermal) == expected


@pytest.mark.parametrize(
    ("rgb", "thermal", "expected"),
    [
        ("abc", "   ", "---"),
        ("a cd", "uu v", "----"),  # a single frame repeats nothing, whatever it shows
        ("abcd", "u  u", "---t"),  # what it showed before it paused is remembered
        ("abb", "u u", "--t"),  # of the same time as the RGB image that came alone, not of the thermal one
        (" aa", "uuv", "-tr"),
    ],
)
def test_single_frames_are_remembered(rgb, thermal, expected):
    assert _told(rgb, thermal) == expected


def test_it_is_told_how_often_and_for_how_long_by_the_cameras_own_stamps():
    find = RepeatFinder()
    found = [find(_pair(*names, index)) for index, names in enumerate(zip("abcddd", "uvvvvv", strict=True))]
    assert found[:2] == [None, None]
    assert found[2] == Repeat(THERMAL, frames=1, since_ns=STEP_NS, until_ns=2 * STEP_NS)
    assert found[3].duration_s == pytest.approx(0.2)
    # Where nothing changes any more, it is not known that the camera still stands.
    assert [one.duration_s for one in found[4:]] == pytest.approx([0.2, 0.2])
    assert found[5].frames == 4


def test_a_camera_that_moves_with_the_other_begins_to_stand_still_when_the_other_goes_on():
    find = RepeatFinder()
    found = [find(_pair(*names, index)) for index, names in enumerate(zip("aaaaab", "uuuuuu", strict=True))]
    assert found[5] == Repeat(THERMAL, frames=1, since_ns=4 * STEP_NS, until_ns=5 * STEP_NS)


def _with_thermal(*images: np.ndarray) -> list[bool]:
    """Whether each of these, beside RGB images that change, is told to repeat the one before."""
    find = RepeatFinder()
    pairs = (
        FramePair(Frame(_image(chr(ord("a") + i), RGB), i), Frame(image, i)) for i, image in enumerate(images)
    )
    return [found is not None and found.sensor is THERMAL for found in map(find, pairs)]


def test_another_size_or_another_type_is_another_image():
    still = np.zeros((40, 50), np.uint8)
    assert _with_thermal(still, still, still[:39], still[:39]) == [False, True, False, True]
    assert _with_thermal(still, still[..., None]) == [False, False]
    assert _with_thermal(still, still.astype(np.uint16), still.astype(np.float32)) == [False, False, False]


def test_one_pixel_is_enough_wherever_it_is():
    still = _image("u", THERMAL)
    for place in ((0, 0), (17, 23), (39, 49)):
        other = still.copy()
        other[place] ^= 1
        assert _with_thermal(still, other, other) == [False, False, True]


def test_pixels_without_a_reading_are_compared_by_their_bits():
    kelvin = np.full((40, 50), 300.0, np.float32)
    kelvin[3] = np.nan
    assert _with_thermal(kelvin, kelvin.copy()) == [False, True]
    negative = np.zeros((40, 50), np.float32)
    assert _with_thermal(negative, -negative) == [False, False]


def test_a_buffer_that_is_filled_anew_is_no_repeat():
    find, rgb, thermal = RepeatFinder(), np.empty((48, 64, 3), np.uint8), np.empty((40, 50), np.uint8)
    found = []
    for index, names in enumerate(zip("abcd", "uvvw", strict=True)):
        rgb[:], thermal[:] = _image(names[0], RGB), _image(names[1], THERMAL)
        found.append(find(FramePair(Frame(rgb, index), Frame(thermal, index))))
    assert [one and one.sensor for one in found] == [None, None, THERMAL, None]


def test_views_are_compared_by_what_they_show():
    whole = _image("u", RGB)
    padded = np.zeros((48, 80, 3), np.uint8)
    padded[:, :64] = whole[..., ::-1]
    views = [whole, padded[:, :64, ::-1], np.asfortranarray(whole), whole[::-1][::-1], whole[..., ::-1]]
    assert _with_thermal(*views) == [False, True, True, True, False]
    reversed_first = [padded[:, :64, ::-1], whole, padded[:, :64, ::-1].copy()]
    assert _with_thermal(*reversed_first) == [False, True, True]


def test_neither_frame_is_changed_or_kept():
    rgb, thermal = _image("a", RGB), _image("u", THERMAL)
    for array in (rgb, thermal):
        array.flags.writeable = False
    find = RepeatFinder()
    find(FramePair(Frame(rgb, 0), Frame(thermal, 0)))
    find(_pair("b", "v", 1))
    np.testing.assert_array_equal(rgb, _image("a", RGB))
    np.testing.assert_array_equal(thermal, _image("u", THERMAL))


def test_after_a_reset_and_after_time_has_jumped_back_every_image_is_new():
    find = RepeatFinder()
    find(_pair("a", "u", 5))
    find.reset()
    assert find(_pair("b", "u", 6)) is None
    assert find(_pair("c", "u", 7)) == Repeat(THERMAL, 1, 6 * STEP_NS, 7 * STEP_NS)
    assert find(_pair("d", "u", 0)) is None
    assert find(_pair("e", "u", 1)).frames == 1

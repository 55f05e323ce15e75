"""The offset between the cameras' clocks is found in what they see, and not where nothing tells it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from fusion_ros.errors import ImageError, SettingsError
from fusion_ros.frame import Sensor
from fusion_ros.media import open_clip
from fusion_ros.synthetic import SyntheticWorld, WorldSettings
from fusion_ros.timing import ClockOffsetEstimator, ClockOffsetSettings, PairingSettings, StampPairer

RGB, THERMAL = Sensor.RGB, Sensor.THERMAL
NS = 1_000_000_000
MS = 1_000_000
CONFIDENT = 0.5
SIZES = {RGB: (48, 64), THERMAL: (40, 56)}


class Scene:
    """Three people before a textured wall: dark in colour, warm in the thermal image; a function of time."""

    def __init__(self, seed: int = 0, noise: float = 1.0) -> None:
        self._rng = np.random.default_rng(seed)
        self._walls = {s: self._rng.uniform(70, 130, size).repeat(2, 0)[::2] for s, size in SIZES.items()}
        self._rates = self._rng.uniform(0.3, 4.0, (3, 4))  # rad/s, without a common period
        self._phases = self._rng.uniform(0, 6.3, (3, 4))
        self._noise = noise

    def image(self, sensor: Sensor, time_s: float) -> np.ndarray:
        """Return a uint8 image, ``(H, W, 3)`` of the RGB and ``(H, W)`` of the thermal camera."""
        height, width = SIZES[sensor]
        image = self._walls[sensor] + self._rng.normal(0, self._noise, (height, width))
        rows, columns = np.arange(height)[:, None] / height, np.arange(width) / width
        places = 0.5 + 0.13 * np.sin(self._rates * time_s + self._phases).sum(axis=1)
        for x, y in zip(places, (0.35, 0.5, 0.65), strict=True):
            shape = np.exp(-(((rows - y) / 0.2) ** 2)) * np.exp(-(((columns - x) / 0.06) ** 2))
            image += (-60 if sensor is RGB else 110) * shape
        grey = np.clip(image, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2) if sensor is RGB else grey


def captures(rates_hz, duration_s, *, start_s=0.0, drops=0.0, jitter_ms=0.0, seed=1):
    """Yield ``(true time s, sensor, stamp ns)`` of both cameras in order of time; stamps of one clock."""
    rng = np.random.default_rng(seed)
    events = []
    for sensor, rate in rates_hz.items():
        times = np.arange(start_s + 0.004 * (sensor is THERMAL), start_s + duration_s, 1 / rate)
        times = times[rng.random(len(times)) >= drops]
        stamps = times + rng.uniform(-jitter_ms, jitter_ms, len(times)) / 1e3
        events += [(t, sensor, round(s * NS)) for t, s in zip(times, stamps, strict=True)]
    return sorted(events)


def watch(scene, events, offset_ms=0.0, change=lambda sensor, image, time_s: image, settings=None):
    """Return an estimator that has seen a scene, its thermal stamps late by ``offset_ms``."""
    estimator = ClockOffsetEstimator(settings)
    for time_s, sensor, stamp_ns in events:
        late_ns = round(offset_ms * MS) if sensor is THERMAL else 0
        estimator.observe(sensor, stamp_ns + late_ns, change(sensor, scene.image(sensor, time_s), time_s))
    return estimator


def rates(rgb_hz=30.0, thermal_hz=9.0):
    return {RGB: rgb_hz, THERMAL: thermal_hz}


def assert_found(found, offset_ms, within_ms):
    assert found is not None
    assert found.confidence > CONFIDENT
    assert found.offset_ms == pytest.approx(offset_ms, abs=within_ms)


def assert_unsure(found):
    assert found is None or found.confidence < CONFIDENT


@pytest.mark.parametrize("offset_ms", [-180, 0, 40, 250])
@pytest.mark.parametrize("thermal_hz", [9.0, 30.0])
def test_the_offset_is_found_through_drops_and_jitter(offset_ms, thermal_hz):
    events = captures(rates(30.0, thermal_hz), 15, drops=0.1, jitter_ms=4)
    found = watch(Scene(), events, offset_ms).estimate()
    assert_found(found, offset_ms, within_ms=1000 / thermal_hz / 3)
    assert 12 < found.seconds < 16


@pytest.fixture(scope="module")
def street():
    """Frames of the synthetic street, seen by a rig that sways: (sensor, stamp by one clock, pixels)."""
    small = {"rgb_width": 64, "rgb_height": 48, "thermal_width": 48, "thermal_height": 40}
    options = WorldSettings(
        camera_motion="sway", people=2, cars=0, rgb_rate_hz=12.0, thermal_rate_hz=9.0, jitter_ms=3.0, **small
    )
    return [(sensor, f.stamp_ns, f.pixels) for _, sensor, f in SyntheticWorld(options).frames(6.0)]


@pytest.mark.parametrize("offset_ms", [-180, 0, 40, 250])
def test_the_offset_of_the_synthetic_cameras_is_found(street, offset_ms):
    estimator = ClockOffsetEstimator()
    for sensor, stamp_ns, pixels in street:
        estimator.observe(sensor, stamp_ns + offset_ms * MS * (sensor is THERMAL), pixels)
    assert_found(estimator.estimate(), offset_ms, within_ms=1000 / 9 / 3)


def test_its_negative_as_thermal_offset_makes_pairs_of_frames_of_one_instant():
    events = captures(rates(30.0, 30.0), 12)
    found = watch(Scene(), events, offset_ms=130).estimate()
    pairer = StampPairer(PairingSettings(thermal_offset_ms=-found.offset_ms))
    pairs = []
    for time_s, sensor, stamp_ns in events:
        stamp_ns += 130 * MS * (sensor is THERMAL)
        pairs += pairer.add(sensor, time_s, stamp_ns, stamp_ns)
    assert len(pairs) > 300
    assert all(abs(pair.thermal - pair.rgb) < 0.005 for pair in pairs)


def test_a_drifting_clock_is_followed():
    """What was measured long ago is forgotten: the clocks drift by 12 ms a second, and then stop."""
    scene, estimator = Scene(), ClockOffsetEstimator(ClockOffsetSettings(window_s=10.0))
    for time_s, sensor, stamp_ns in captures(rates(30.0, 15.0), 24):
        drift_ns = round(min(time_s, 14.0) * 12 * MS) if sensor is THERMAL else 0
        estimator.observe(sensor, stamp_ns + drift_ns, scene.image(sensor, time_s))
    assert_found(estimator.estimate(), 14 * 12, within_ms=22)


def test_counts_and_kelvin_with_dead_pixels_do_as_well():
    def other_unit(sensor, image, time_s):
        if sensor is RGB:
            return 7000 + 5 * image.astype(np.uint16)
        kelvin = 290 + 0.05 * image.astype(np.float32)
        kelvin[3, 5] = np.nan
        kelvin[20, int(9 * time_s) % 50] = np.inf  # and one that comes and goes
        return kelvin

    assert_found(watch(Scene(), captures(rates(), 12), 90, other_unit).estimate(), 90, within_ms=37)


def test_shutter_events_flicker_and_exposure_steps_do_not_disturb():
    def disturb(sensor, image, time_s):
        if sensor is THERMAL:
            pattern = np.random.default_rng(int(time_s / 3)).normal(0, 12, image.shape)  # new with each shutter
            return np.clip(0.7 * image + 30 + pattern, 0, 255).astype(np.uint8)
        gain = (1.0 + 0.15 * np.sin(2 * np.pi * 7.3 * time_s)) * (0.6 if time_s % 5 < 2 else 1.0)
        return np.clip(image * gain, 0, 255).astype(np.uint8)

    found = watch(Scene(), captures(rates(), 18), -120, disturb).estimate()
    assert_found(found, -120, within_ms=37)


def test_a_slow_camera_whose_driver_repeats_its_frames_is_dated_by_the_first_of_them():
    scene = Scene()
    estimator = ClockOffsetEstimator()
    thermal = None
    for time_s, sensor, stamp_ns in captures(rates(30.0, 27.0), 12):
        image = scene.image(sensor, time_s)
        if sensor is THERMAL:
            if thermal is None or round(time_s * 27) % 3 == 0:
                thermal = image
            image = thermal
        estimator.observe(sensor, stamp_ns + 60 * MS * (sensor is THERMAL), image)
    assert_found(estimator.estimate(), 60, within_ms=37)


def test_nothing_is_said_before_there_is_enough():
    scene, estimator = Scene(), ClockOffsetEstimator(ClockOffsetSettings(least_s=5.0))
    assert estimator.estimate() is None
    for time_s, sensor, stamp_ns in captures(rates(), 4.8):
        estimator.observe(sensor, stamp_ns, scene.image(sensor, time_s))
    assert estimator.estimate() is None


def test_one_camera_alone_tells_nothing():
    assert watch(Scene(), captures({RGB: 30.0}, 8)).estimate() is None


@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_a_static_scene_gives_no_confident_answer(noise):
    scene = Scene(noise=noise)
    still = captures(rates(), 15)
    estimator = ClockOffsetEstimator()
    for _, sensor, stamp_ns in still:
        estimator.observe(sensor, stamp_ns, scene.image(sensor, 2.0))
    assert_unsure(estimator.estimate())
    assert noise or estimator.estimate() is None


def test_a_frozen_camera_gives_none():
    scene = Scene()
    frozen = scene.image(THERMAL, 0.0)
    found = watch(scene, captures(rates(), 12), change=lambda s, i, t: i if s is RGB else frozen).estimate()
    assert found is None


def test_a_uniform_image_gives_none_and_no_warning():
    def lens_cap(sensor, image, time_s):
        return image if sensor is RGB else np.full_like(image, 10 * time_s)

    with np.errstate(all="raise"):
        assert watch(Scene(), captures(rates(), 8), change=lens_cap).estimate() is None


@pytest.mark.parametrize("seed", range(3))
def test_cameras_that_see_different_things_give_no_confident_answer(seed):
    scenes = {RGB: Scene(2 * seed + 10), THERMAL: Scene(2 * seed + 11)}
    estimator = ClockOffsetEstimator()
    for time_s, sensor, stamp_ns in captures(rates(30.0, 25.0), 20):
        estimator.observe(sensor, stamp_ns, scenes[sensor].image(sensor, time_s))
    assert_unsure(estimator.estimate())


def test_an_offset_beyond_the_search_is_not_mistaken_for_another():
    events = captures(rates(), 15)
    assert_unsure(watch(Scene(), events, 1400).estimate())
    wide = ClockOffsetSettings(search_ms=2000.0)
    assert_found(watch(Scene(), events, 1400, settings=wide).estimate(), 1400, within_ms=37)


def test_a_periodic_motion_is_ambiguous():
    scene = Scene()
    scene._rates[:] = 2 * np.pi * np.array([2.5, 2.5, 2.5, 5.0])  # every 400 ms the same
    found = watch(scene, captures(rates(30.0, 25.0), 20), 40).estimate()
    assert found is not None
    assert found.confidence < 0.2


def test_when_time_starts_over_all_is_forgotten():
    scene = Scene()
    estimator = watch(scene, captures(rates(), 12, start_s=50.0), 200)
    assert_found(estimator.estimate(), 200, within_ms=37)
    estimator.observe(RGB, 0, scene.image(RGB, 0.0))
    assert estimator.estimate() is None
    for time_s, sensor, stamp_ns in captures(rates(), 12, start_s=0.02):
        estimator.observe(sensor, stamp_ns, scene.image(sensor, time_s))
    assert_found(estimator.estimate(), 0, within_ms=37)


def test_a_reset_forgets_and_late_frames_change_nothing():
    scene = Scene()
    estimator = watch(scene, captures(rates(), 12), 40)
    before = estimator.estimate()
    for sensor, stamp_s in ((RGB, 11.9), (THERMAL, 11.6), (THERMAL, 11.6)):
        estimator.observe(sensor, round(stamp_s * NS), scene.image(sensor, 3.0))
    assert estimator.estimate() == before
    estimator.reset()
    assert estimator.estimate() is None


def test_memory_does_not_grow_with_time_or_rate():
    image = np.random.default_rng(0).integers(0, 255, (32, 24), dtype=np.uint8)
    estimator = ClockOffsetEstimator(ClockOffsetSettings(window_s=10.0))
    sizes = []
    for index in range(6_000):  # 250 Hz
        estimator.observe(RGB, index * 4 * MS, image + np.uint8(index % 7))
        if index in (3_000, 5_999):
            sizes.append(len(pickle.dumps(estimator)))
    assert sizes[1] < 1.05 * sizes[0]
    assert sizes[1] < 400_000


@pytest.mark.parametrize(
    "pixels", [np.zeros(5, np.uint8), np.zeros((0, 4), np.uint8), np.zeros((4, 4), bool), None], ids=str
)
def test_what_is_no_image_is_refused_and_nothing_is_lost(pixels):
    estimator = watch(Scene(), captures(rates(), 12), 40)
    before = estimator.estimate()
    with pytest.raises(ImageError, match=r"expected an image of integers or floats, \(H, W\) or \(H, W, C\)"):
        estimator.observe(RGB, 20 * NS, pixels)
    assert estimator.estimate() == before


def test_settings_are_bounded():
    with pytest.raises(SettingsError, match="search_ms: expected 50 to 2000 ms"):
        ClockOffsetSettings(search_ms=0.0)


def test_the_offset_of_real_cameras_is_found(shared):
    """Someone climbs stairs before cameras that stand still, 5 s long; frames of one number belong together."""
    folder = shared / "data" / "sequences" / "m3svd_0111_1716"
    clips = [list(open_clip(folder / f"{s.value}.mp4", s).frames(30.0)) for s in (RGB, THERMAL)]
    estimator = ClockOffsetEstimator(ClockOffsetSettings(least_s=4.0))
    for rgb, thermal in zip(*clips, strict=True):
        estimator.observe(RGB, rgb.stamp_ns, rgb.pixels)
        estimator.observe(THERMAL, thermal.stamp_ns + 110 * MS, thermal.pixels)
    assert_found(estimator.estimate(), 110, within_ms=17)

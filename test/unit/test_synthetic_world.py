"""The synthetic world looks and behaves as its settings say, and repeats exactly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fusion_ros.errors import SettingsError
from fusion_ros.frame import Sensor, Unit
from fusion_ros.synthetic import SyntheticWorld, WorldSettings
from fusion_ros.synthetic.street import build_street

SMALL = {"rgb_width": 320, "rgb_height": 240, "thermal_width": 160, "thermal_height": 128}
SCENE_S = 5.0
"""A moment when people cross in full view."""


@pytest.fixture(scope="module")
def worlds() -> dict[str, SyntheticWorld]:
    return {
        condition: SyntheticWorld(WorldSettings(condition=condition, **SMALL))
        for condition in ("day", "night", "smoke")
    }


def contrast(image: np.ndarray, mask: np.ndarray) -> float:
    """Grey-value difference between the people and a ring of background around them."""
    grey = image.mean(axis=-1) if image.ndim == 3 else image.astype(float)
    rows, columns = np.nonzero(mask)
    ring = np.zeros_like(mask)
    ring[rows.min() : rows.max() + 1, max(0, columns.min() - 6) : columns.max() + 7] = True
    return float(abs(grey[mask].mean() - grey[ring & ~mask].mean()))


def people_contrast(world: SyntheticWorld) -> tuple[float, float]:
    truth = world.truth(SCENE_S)
    rgb, thermal = world.rgb_image(SCENE_S), world.thermal_image(SCENE_S)
    seen = [t for t in truth.targets if t.kind == "person" and min(t.rgb.visibility, t.thermal.visibility) > 0.8]
    assert len(seen) >= 2
    pairs = [(contrast(rgb, person.rgb.mask), contrast(thermal, person.thermal.mask)) for person in seen]
    return tuple(np.mean(pairs, axis=0))


def test_one_seed_gives_the_same_bytes_in_any_order_of_times(worlds: dict[str, SyntheticWorld]) -> None:
    build_street.cache_clear()
    again = SyntheticWorld(WorldSettings(condition="night", **SMALL))
    again.rgb_image(9.0), again.thermal_image(9.0)
    np.testing.assert_array_equal(again.rgb_image(1.5), worlds["night"].rgb_image(1.5))
    np.testing.assert_array_equal(again.thermal_image(1.5), worlds["night"].thermal_image(1.5))


def test_another_seed_gives_another_scene(worlds: dict[str, SyntheticWorld]) -> None:
    other = SyntheticWorld(WorldSettings(seed=7, **SMALL)).rgb_image(1.0).astype(float)
    assert np.abs(other - worlds["day"].rgb_image(1.0)).mean() > 10


def test_images_have_the_sizes_and_types_of_the_settings(worlds: dict[str, SyntheticWorld]) -> None:
    assert worlds["day"].rgb_image(0.0).shape == (240, 320, 3)
    assert worlds["day"].rgb_image(0.0).dtype == np.uint8
    assert worlds["day"].thermal_image(0.0).shape == (128, 160)
    assert worlds["day"].thermal_image(0.0).dtype == np.uint8


def test_sixteen_bit_counts_are_hundredths_of_a_kelvin() -> None:
    world = SyntheticWorld(WorldSettings(thermal_encoding="mono16", noise=0.0, **SMALL))
    counts, truth = world.thermal_image(SCENE_S), world.truth(SCENE_S)
    assert counts.dtype == np.uint16
    person = max((t for t in truth.targets if t.kind == "person"), key=lambda t: t.thermal.mask.sum())
    assert 295 < np.percentile(counts[person.thermal.mask], 95) / 100 < person.kelvin + 1
    sky = counts[np.isclose(truth.thermal_depth, truth.thermal_depth.max(), rtol=0.2)]
    assert sky.mean() / 100 < 275


def test_smoke_hides_people_from_the_colour_camera_only(worlds: dict[str, SyntheticWorld]) -> None:
    day_rgb, day_thermal = people_contrast(worlds["day"])
    smoke_rgb, smoke_thermal = people_contrast(worlds["smoke"])
    assert smoke_rgb < 0.4 * day_rgb
    assert smoke_thermal > 0.8 * day_thermal


def test_night_hides_people_from_the_colour_camera_only(worlds: dict[str, SyntheticWorld]) -> None:
    day_rgb, day_thermal = people_contrast(worlds["day"])
    night_rgb, night_thermal = people_contrast(worlds["night"])
    assert night_rgb < 0.5 * day_rgb
    assert night_thermal > 0.8 * day_thermal


def test_road_markings_show_in_colour_but_not_in_heat(worlds: dict[str, SyntheticWorld]) -> None:
    truth = worlds["day"].truth(SCENE_S)
    zebra = (worlds["day"].rgb_image(SCENE_S).min(axis=-1) > 190) & (truth.labels == 0) & (truth.depth < 14)
    zebra[:, 160:] = False  # the road is on the left
    road = (truth.labels == 0) & (truth.depth < 14) & ~zebra
    road[:, 160:] = False
    x, y = np.moveaxis(np.nan_to_num(truth.thermal_from_rgb, nan=-1).round().astype(int), -1, 0)
    thermal = worlds["day"].thermal_image(SCENE_S).astype(float)
    on_marks, on_road = (
        thermal[y[m & (x > 0) & (x < 160)].clip(0, 127), x[m & (x > 0) & (x < 160)]] for m in (zebra, road)
    )
    assert zebra.sum() > 100
    assert abs(on_marks.mean() - on_road.mean()) < 15


def test_gain_steps_at_a_shutter_event_and_holds_in_between() -> None:
    options = WorldSettings(shutter_period_s=2.0, noise=0.0, camera_motion="still", people=0, cars=0, **SMALL)
    world = SyntheticWorld(options)
    held = world.thermal_image(0.5).astype(float), world.thermal_image(1.2).astype(float)
    np.testing.assert_array_equal(*held)  # nothing moves, so only the camera itself could change the image
    moving = SyntheticWorld(options.updated({"people": 6, "cars": 4, "noise": 1.0}))
    event_s = 2.0 * (1 - 0.37)
    frames = [moving.thermal_image(event_s + offset).astype(float) for offset in (-0.021, -0.001, 0.001, 0.021)]
    steps = [float(np.median(np.abs(b - a))) for a, b in itertools.pairwise(frames)]
    level = [abs(float(b.mean() - a.mean())) for a, b in itertools.pairwise(frames)]
    assert level[1] > 3 * max(level[0], level[2]), (steps, level)


def test_frames_come_in_order_at_the_rates_and_with_the_clocks_of_the_settings() -> None:
    options = WorldSettings(rgb_rate_hz=20.0, thermal_rate_hz=8.0, clock_offset_ms=35.0, jitter_ms=2.0, **SMALL)
    start = 1_700_000_000_000_000_000
    captured = list(SyntheticWorld(options).frames(1.0, start_ns=start))
    times = [time for time, _, _ in captured]
    assert times == sorted(times)
    by_sensor = {sensor: [(t, f) for t, s, f in captured if s is sensor] for sensor in Sensor}
    assert (len(by_sensor[Sensor.RGB]), len(by_sensor[Sensor.THERMAL])) == (20, 8)
    late = {s: np.array([f.stamp_ns - t for t, f in frames]) * 1e-6 for s, frames in by_sensor.items()}
    assert np.abs(late[Sensor.RGB]).max() <= 2.0
    assert np.abs(late[Sensor.THERMAL] - 35.0).max() <= 2.0
    assert late[Sensor.RGB].std() > 0.3
    rgb, thermal = by_sensor[Sensor.RGB][0][1], by_sensor[Sensor.THERMAL][0][1]
    assert (rgb.encoding, rgb.frame_id) == ("rgb8", "rgb_optical_frame")
    assert (thermal.encoding, thermal.frame_id, thermal.unit) == ("mono8", "thermal_optical_frame", Unit.INTENSITY)


def test_a_wrong_condition_is_refused_with_the_choices() -> None:
    with pytest.raises(SettingsError, match="night"):
        WorldSettings(condition="nihgt")

"""What the pipeline makes of a camera that repeats its image: fused as it is, or left out as if it had stopped."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_ros.alignment.estimate import Estimate
from fusion_ros.errors import SettingsError
from fusion_ros.frame import Frame, FramePair, Sensor
from fusion_ros.geometry.cameras import PinholeCamera
from fusion_ros.pipeline import FusionPipeline, FusionResult, FusionSettings, Mode
from fusion_ros.spec import NetworkSpec

SIZES = {Sensor.RGB: (48, 64, 3), Sensor.THERMAL: (24, 32)}
STEP_NS = 33_000_000
MODES = {Sensor.RGB: Mode.RGB_ONLY, Sensor.THERMAL: Mode.THERMAL_ONLY}


class Average:
    """An engine that needs no weights, and counts how often it was run."""

    description = "average"
    spec = NetworkSpec(name="average", title="Average", source="")

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, infrared, visible):
        self.calls += 1
        return (infrared + visible) / 2


class Both:
    """Stands for an extractor: gives back the two images that it is given."""

    def __call__(self, infrared, visible, stamp_ns):
        return {"both": np.dstack([infrared, visible])}

    def reset(self):
        """It learns nothing."""


class Shift:
    """Finds a shift that grows with every estimate."""

    name = "shift"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, moving, fixed, *, valid=None, start=None):
        self.calls += 1
        return Estimate(np.full((*fixed.shape, 2), 0.5 * self.calls, np.float32), 1.0)


def _frame(sensor: Sensor, letter: str, index: int) -> Frame:
    """Of letters, each is another image; the thermal camera's stamps run 4 ms ahead."""
    pixels = np.random.default_rng(ord(letter)).integers(0, 256, SIZES[sensor], np.uint8)
    ahead_ns = 4_000_000 if sensor is Sensor.THERMAL else 0
    return Frame(pixels, index * STEP_NS + ahead_ns, f"{sensor.value}_optical_frame")


def _pair(rgb: str, thermal: str, index: int) -> FramePair:
    return FramePair(_frame(Sensor.RGB, rgb, index), _frame(Sensor.THERMAL, thermal, index), 4_000_000)


def _pipeline(fine: Shift | None = None, **settings: object) -> FusionPipeline:
    values = {"alignment.fine.every": 1, "alignment.fine.smoothing_s": 0.0}
    values |= {name.replace("__", "."): value for name, value in settings.items()}
    return FusionPipeline(Average(), FusionSettings.from_mapping(values), fine, features=Both())


def _all(pipeline: FusionPipeline, pair: FramePair) -> FusionResult:
    return pipeline(pair, with_features=True, with_aligned_thermal=True, with_sources=True)


@pytest.mark.parametrize("reference", ["rgb", "thermal"])
@pytest.mark.parametrize("still", list(Sensor))
def test_alone_takes_a_repeated_image_for_a_frame_that_did_not_come(reference, still):
    names = ("a", "v") if still is Sensor.RGB else ("b", "u")
    pair, goes_on = _pair(*names, 1), still.other
    fine, compared = Shift(), Shift()
    pipeline, single = (
        _pipeline(one, reference=reference, repeated="alone", output__color=False) for one in (fine, compared)
    )
    for one in (pipeline, single):
        assert _all(one, _pair("a", "u", 0)).mode is Mode.FUSED
    result = _all(pipeline, pair)
    frames = {Sensor.RGB: pair.rgb, Sensor.THERMAL: pair.thermal}
    lone = _all(single, FramePair(**{still.value: None, goes_on.value: frames[goes_on]}))

    assert result.mode is lone.mode is MODES[goes_on]
    assert result.repeat.sensor is still
    np.testing.assert_array_equal(result.image, lone.image)
    np.testing.assert_array_equal(result.features["both"], lone.features["both"])
    np.testing.assert_array_equal(result.features["both"][..., 0], result.features["both"][..., 1])
    assert (result.aligned_thermal is None) == (lone.aligned_thermal is None) == (still is Sensor.THERMAL)
    if result.aligned_thermal is not None:
        np.testing.assert_array_equal(result.aligned_thermal, lone.aligned_thermal)
    assert result.sources is None
    assert pipeline.engine.calls == 1
    # Nothing is estimated, and what is known stays.
    assert fine.calls == 1 and not result.alignment.is_new
    assert result.alignment.flow is pipeline.aligner.latest.flow
    # The output stays on its grid and in its time: stamps of two cameras by turns would go back and forth.
    assert result.reference is frames[Sensor(reference)]
    assert result.size == frames[Sensor(reference)].size == lone.size

    after = _all(pipeline, _pair("c", "w", 2))
    assert after.mode is Mode.FUSED and after.repeat is None and fine.calls == 2


@pytest.mark.parametrize("reference", ["rgb", "thermal"])
def test_fuse_takes_a_repeated_image_as_it_is_and_says_so(reference):
    fine = Shift()
    pipeline = _pipeline(fine, reference=reference)
    assert pipeline.settings.repeated == "fuse"
    for index, names in enumerate(("au", "bu", "cu")):
        result = _all(pipeline, _pair(*names, index))
    assert result.mode is Mode.FUSED and result.sources is not None
    assert (result.repeat.sensor, result.repeat.frames) == (Sensor.THERMAL, 2)
    assert result.repeat.duration_s == pytest.approx(0.066)
    assert pipeline.engine.calls == 3
    assert fine.calls == 1  # the images are of two times: nothing is to be learned from them


@pytest.mark.parametrize("repeated", ["fuse", "alone"])
def test_where_both_stand_still_both_are_fused(repeated):
    pipeline = _pipeline(repeated=repeated)
    results = [_all(pipeline, _pair("a", "u", index)) for index in range(3)]
    assert [(one.mode, one.repeat) for one in results] == [(Mode.FUSED, None)] * 3


def test_the_latest_images_survive_other_settings_and_are_forgotten_by_a_reset():
    pipeline = _pipeline()
    _all(pipeline, _pair("a", "u", 0))
    pipeline = pipeline.reconfigured(pipeline.settings.updated({"repeated": "alone"}))
    assert _all(pipeline, _pair("b", "u", 1)).mode is Mode.RGB_ONLY
    pipeline = pipeline.reconfigured(pipeline.settings.updated({"repeated": "fuse"}))
    assert _all(pipeline, _pair("c", "u", 2)).mode is Mode.FUSED
    pipeline = pipeline.reconfigured(pipeline.settings.updated({"repeated": "alone"}))
    assert _all(pipeline, _pair("d", "u", 3)).repeat.frames == 3
    pipeline.reset()
    result = _all(pipeline, _pair("e", "u", 4))
    assert result.mode is Mode.FUSED and result.repeat is None


@pytest.mark.parametrize("reference", ["rgb", "thermal"])
def test_while_cameras_are_awaited_the_reference_image_goes_out_even_if_it_repeats(reference):
    calibrated = {
        "alignment.mode": "calibration",
        "alignment.translation": (0.0, 0.0, 0.0),
        "alignment.rotation": (0.0, 0.0, 0.0, 1.0),
    }
    pipeline = _pipeline(reference=reference, repeated="alone", **calibrated)
    still = Sensor(reference)
    later = ("a", "v") if still is Sensor.RGB else ("b", "u")
    _all(pipeline, _pair("a", "u", 0))
    result = _all(pipeline, _pair(*later, 1))
    assert result.mode is Mode.UNALIGNED and result.repeat.sensor is still
    assert result.size == SIZES[still][:2]
    cameras = [
        PinholeCamera(width, height, width, width, (width - 1) / 2, (height - 1) / 2, (0.0,) * 5)
        for height, width in (SIZES[sensor][:2] for sensor in Sensor)
    ]
    pipeline.aligner.set_cameras(*cameras)
    again = ("a", "w") if still is Sensor.RGB else ("c", "u")
    assert _all(pipeline, _pair(*again, 2)).mode is MODES[still.other]


def test_there_are_two_choices_that_may_change_while_it_runs():
    leaf = FusionSettings.describe()["repeated"]
    assert leaf.choices == ("fuse", "alone") and not leaf.read_only
    with pytest.raises(SettingsError, match="did you mean 'alone'"):
        FusionSettings(repeated="alon")

"""The pipeline without ROS: grids, colours, modes, and what is not computed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fusion_ros.errors import CalibrationError, SettingsError
from fusion_ros.frame import Frame, FramePair, Unit
from fusion_ros.geometry.cameras import PinholeCamera
from fusion_ros.pipeline import FusionPipeline, FusionSettings, Mode, open_pipeline
from fusion_ros.spec import InputRange, NetworkSpec, OutputRange

RNG = np.random.default_rng(0)
RGB = Frame(
    cv2.GaussianBlur(RNG.integers(0, 256, (48, 64, 3), np.uint8), (0, 0), 3), 100, "rgb_optical_frame", "rgb8"
)
THERMAL = Frame(
    cv2.GaussianBlur(RNG.integers(0, 256, (24, 32), np.uint8), (0, 0), 2), 104, "thermal_optical_frame"
)


class Recorded:
    """An engine that answers with one of its inputs, and remembers what it was asked."""

    description = "recorded"

    def __init__(self, answer: str, **spec: object) -> None:
        self.answer = answer
        self.spec = NetworkSpec(name="recorded", title="Recorded", source="", **spec)
        self.calls: list[tuple[np.ndarray, np.ndarray]] = []

    def __call__(self, infrared, visible):
        self.calls.append((infrared, visible))
        return infrared if self.answer == "infrared" else visible


def _pipeline(answer="visible", **settings):
    values = {name.replace("__", "."): value for name, value in settings.items()}
    return FusionPipeline(Recorded(answer), FusionSettings.from_mapping(values))


def test_the_network_sees_both_luminances_on_the_rgb_grid_in_unit_range():
    pipeline = _pipeline()
    pipeline(FramePair(RGB, THERMAL))
    ((infrared, visible),) = pipeline.engine.calls
    assert infrared.shape == visible.shape == (1, 1, 48, 64)
    assert infrared.dtype == visible.dtype == np.float32
    np.testing.assert_allclose(visible[0, 0], cv2.cvtColor(RGB.pixels, cv2.COLOR_RGB2GRAY) / 255, atol=1e-6)
    np.testing.assert_allclose(infrared[0, 0], cv2.resize(THERMAL.pixels, (64, 48)) / 255, atol=1 / 255)


def test_a_fuser_that_answers_with_the_visible_luminance_gives_the_rgb_image_back():
    image = _pipeline("visible")(FramePair(RGB, THERMAL)).image
    assert np.abs(image.astype(int) - RGB.pixels).max() <= 2  # two roundings through YCrCb


def test_without_colour_the_answer_itself_is_the_image():
    result = _pipeline("infrared", output__color=False)(FramePair(RGB, Frame(RGB.pixels[..., 0], 104)))
    np.testing.assert_array_equal(result.image, RGB.pixels[..., 0])
    assert result.encoding == "mono8"


def test_a_grey_visible_camera_gives_a_grey_result():
    result = _pipeline("visible")(FramePair(Frame(RGB.pixels[..., 0], 100), THERMAL))
    np.testing.assert_array_equal(result.image, RGB.pixels[..., 0])


def test_the_result_carries_the_reference_frame_and_the_pairs_offset():
    pair = FramePair(RGB, THERMAL, offset_ns=4)
    assert _pipeline()(pair).reference is RGB
    turned = _pipeline(reference="thermal")(pair)
    assert turned.reference is THERMAL
    assert turned.size == turned.image.shape[:2] == (24, 32)
    assert turned.offset_ns == 4


def test_where_the_thermal_camera_does_not_see_the_rgb_image_stays_as_it_is():
    # Thermal covers the left half of the RGB image only.
    pipeline = _pipeline(
        "infrared", alignment__mode="homography", alignment__homography=[1.0, 0, 0, 0, 1, 0, 0, 0, 1]
    )
    dark = Frame(np.zeros((48, 32), np.uint8), 104)
    image = pipeline(FramePair(RGB, dark)).image
    assert np.abs(image[:, 34:].astype(int) - RGB.pixels[:, 34:]).max() <= 2
    assert image[:, :30].mean() < 0.5 * RGB.pixels[:, :30].mean()


def test_the_output_may_be_smaller_than_the_reference():
    result = _pipeline(output__scale=0.5)(FramePair(RGB, THERMAL), with_aligned_thermal=True)
    assert result.size == result.image.shape[:2] == result.aligned_thermal.shape == (24, 32)


def test_a_homography_means_full_size_pixels_whatever_the_output_scale():
    shift = [1.0, 0, 16, 0, 1, 0, 0, 0, 1]  # thermal lies 16 RGB pixels to the right
    counts = Frame(np.full((48, 48), 9000, np.uint16), 104, encoding="mono16", unit=Unit.COUNTS)
    for scale in (1.0, 0.5):
        pipeline = _pipeline(alignment__mode="homography", alignment__homography=shift, output__scale=scale)
        aligned = pipeline(FramePair(RGB, counts), with_image=False, with_aligned_thermal=True).aligned_thermal
        columns = np.flatnonzero((aligned == 9000).all(axis=0))
        assert abs(columns[0] - 16 * scale) <= 1


TILTED = np.array([[1.1, 0.05, 9.0], [-0.04, 1.05, -6.0], [1e-4, 2e-4, 1.0]])
"""Takes the pixels of a thermal image of 48 x 40 (w x h) to those of the RGB image."""


@pytest.mark.parametrize("reference", ["rgb", "thermal"])
def test_the_sources_are_both_images_on_the_output_grid_with_nothing_filled_in(reference):
    counts = cv2.GaussianBlur(RNG.integers(7000, 9000, (40, 48), np.uint16), (0, 0), 3)
    fixed = {"thermal__mode": "fixed", "thermal__fixed_low": 7500.0, "thermal__fixed_high": 8500.0}
    pipeline = _pipeline(
        reference=reference, alignment__mode="homography", alignment__homography=TILTED.ravel().tolist(), **fixed
    )
    infrared, rgb, overlap = pipeline(
        FramePair(RGB, Frame(counts, 104, encoding="mono16", unit=Unit.COUNTS)), with_sources=True
    ).sources
    grey = np.clip((counts - 7500.0) / 1000.0, 0, 1) * 255
    size = rgb.shape[1::-1]
    if reference == "rgb":
        np.testing.assert_array_equal(rgb, RGB.pixels)
        moved, expected, homography = infrared, grey, TILTED
    else:
        np.testing.assert_allclose(infrared, grey, atol=0.51)
        moved, expected, homography = rgb, RGB.pixels, np.linalg.inv(TILTED)
    seen = cv2.warpPerspective(np.ones(expected.shape[:2], np.uint8), homography, size)
    expected = cv2.warpPerspective(expected.astype(np.float32), homography, size)
    inside, blind = cv2.erode(seen, np.ones((3, 3))) == 1, cv2.dilate(seen, np.ones((5, 5))) == 0
    assert min(inside.mean(), blind.mean()) > 0.02
    assert np.abs(moved - expected)[inside].max() < 1.5
    assert not moved[blind].any()
    assert infrared.dtype == rgb.dtype == np.uint8
    assert overlap[inside].all() and not overlap[blind].any()


def test_a_grey_camera_is_a_grey_source_and_the_output_scale_holds_for_both():
    grey = Frame(RGB.pixels[..., 0], 100)
    infrared, rgb, overlap = _pipeline(output__scale=0.5)(FramePair(grey, THERMAL), with_sources=True).sources
    assert infrared.shape == rgb.shape == (24, 32)
    assert overlap is None
    np.testing.assert_array_equal(infrared, THERMAL.pixels)
    np.testing.assert_allclose(rgb, RGB.pixels[..., 0].reshape(24, 2, 32, 2).mean((1, 3)), atol=0.51)


def test_asking_for_the_sources_changes_no_image_of_the_stream_and_needs_no_network():
    frames = [
        Frame((THERMAL.pixels.astype(np.uint16) * gain) + 7000, gain * 30_000_000, "t", "mono16", Unit.COUNTS)
        for gain in (3, 9, 27)
    ]
    plain, asked = _pipeline("infrared"), _pipeline("infrared")
    for frame in frames:
        pair = FramePair(RGB, frame)
        result = asked(pair, with_sources=True)
        np.testing.assert_array_equal(result.image, plain(pair).image)
    assert plain(pair).sources is None
    alone = _pipeline()
    assert alone(pair, with_image=False, with_sources=True).sources[0].shape == (48, 64)
    assert not alone.engine.calls


@pytest.mark.parametrize("pair", [FramePair(RGB, None), FramePair(None, THERMAL)])
def test_a_lone_frame_has_no_sources(pair):
    assert _pipeline()(pair, with_sources=True).sources is None


def test_nothing_is_computed_that_is_not_wanted():
    pipeline = _pipeline()
    result = pipeline(FramePair(RGB, THERMAL), with_image=False)
    assert result.image is None
    assert result.aligned_thermal is None
    assert result.size == (48, 64)
    assert not pipeline.engine.calls


def test_a_lone_frame_is_shown_as_it_is_and_says_so():
    pipeline = _pipeline()
    rgb_only = pipeline(FramePair(RGB, None))
    assert rgb_only.mode is Mode.RGB_ONLY
    np.testing.assert_array_equal(rgb_only.image, RGB.pixels)
    thermal_only = pipeline(FramePair(None, THERMAL))
    assert thermal_only.mode is Mode.THERMAL_ONLY
    assert thermal_only.image.shape == (48, 64)  # on the grid that subscribers know by now
    assert thermal_only.reference is THERMAL
    assert not pipeline.engine.calls


def test_a_lone_thermal_frame_before_any_rgb_is_shown_on_its_own_grid():
    result = _pipeline()(FramePair(None, THERMAL))
    np.testing.assert_array_equal(result.image, THERMAL.pixels)


def test_a_lone_thermal_frame_before_any_rgb_is_not_warped_onto_a_grid_that_nobody_knows():
    calibrated = {"alignment.mode": "homography", "alignment.homography": (4.0, 0, 0, 0, 4.0, 0, 0, 0, 1.0)}
    pipeline = FusionPipeline(Recorded("visible"), FusionSettings.from_mapping(calibrated))
    for _ in range(2):
        alone = pipeline(FramePair(None, THERMAL), with_aligned_thermal=True)
        np.testing.assert_array_equal(alone.image, THERMAL.pixels)
        np.testing.assert_array_equal(alone.aligned_thermal, THERMAL.pixels)
    assert pipeline(FramePair(RGB, THERMAL)).size == (48, 64)
    assert pipeline(FramePair(None, THERMAL)).size == (48, 64)


def test_mode_none_refuses_images_of_two_sizes():
    with pytest.raises(CalibrationError, match="resize or homography"):
        _pipeline(alignment__mode="none")(FramePair(RGB, THERMAL))


def test_new_settings_keep_what_was_learned_unless_it_no_longer_holds():
    hot = Frame(
        np.linspace(20_000, 30_000, 48 * 64).reshape(48, 64).astype(np.uint16), 0, "t", "mono16", Unit.COUNTS
    )
    warm = Frame(hot.pixels // 2 + 10_000, 33_000_000, "t", "mono16", Unit.COUNTS)
    pipeline = _pipeline("infrared", output__color=False)
    pipeline(FramePair(RGB, hot))
    kept = pipeline.reconfigured(pipeline.settings.updated({"output.scale": 0.5}))
    fresh = pipeline.reconfigured(pipeline.settings.updated({"thermal.invert": True}))
    # The range still follows the first frame; taken afresh, the second one would fill it.
    assert kept(FramePair(RGB, warm)).image.max() < 200
    assert fresh(FramePair(RGB, warm)).image.max() > 240
    assert kept(FramePair(None, warm)).size == (24, 32)


def test_every_stage_is_timed():
    result = _pipeline()(FramePair(RGB, THERMAL), with_aligned_thermal=True)
    assert list(result.stage_ms) == [
        "repeats", "normalise", "align", "split", "fuse", "merge", "aligned_thermal",
    ]  # fmt: skip


def test_a_method_gets_its_own_range_of_values_and_its_answer_becomes_an_image_again():
    engine = Recorded("visible", input_range=InputRange.BYTE, output_range=OutputRange.STRETCHED)
    image = FusionPipeline(engine, FusionSettings.from_mapping({"output.color": False}))(
        FramePair(RGB, THERMAL)
    ).image
    ((_, visible),) = engine.calls
    np.testing.assert_allclose(visible[0, 0], cv2.cvtColor(RGB.pixels, cv2.COLOR_RGB2GRAY), atol=1e-3)
    assert (image.min(), image.max()) == (0, 255)


def test_a_reset_and_a_change_of_its_settings_start_a_methods_range_afresh():
    dim = Frame(RGB.pixels // 4, 200, "rgb_optical_frame", "rgb8")
    later = FramePair(dim, Frame(THERMAL.pixels, 204))
    settings = FusionSettings.from_mapping({"output.color": False})

    def started() -> FusionPipeline:
        pipeline = FusionPipeline(Recorded("visible", output_range=OutputRange.STRETCHED), settings)
        pipeline(FramePair(RGB, THERMAL))
        return pipeline

    assert started()(later).image.max() < 100
    assert started().reconfigured(settings.updated({"thermal.invert": True}))(later).image.max() < 100
    changed = settings.updated({"output.range.time_constant_s": 0.0})
    assert started().reconfigured(changed)(later).image.max() > 250
    pipeline = started()
    pipeline.reset()
    assert pipeline(later).image.max() > 250


def test_a_method_without_weights_is_chosen_like_a_model():
    pipeline = open_pipeline(FusionSettings.from_mapping({"model": "average", "output.color": False}))
    still = FramePair(Frame(RGB.pixels, 0, encoding="rgb8"), Frame(np.zeros((48, 64), np.uint8), 0))
    grey = cv2.cvtColor(RGB.pixels, cv2.COLOR_RGB2GRAY)
    np.testing.assert_allclose(pipeline(still).image, grey / 2, atol=1)
    assert "average" in pipeline.description
    with pytest.raises(SettingsError, match="average has no settings, got 'levels=3'"):
        open_pipeline(FusionSettings(model="average", network="levels=3"))


def _camera(width: int, height: int, focal: float, k1: float = 0.0) -> PinholeCamera:
    return PinholeCamera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2, (k1, 0.0, 0.0, 0.0, 0.0))


ONE_PLACE = {
    "alignment__mode": "calibration",
    "alignment__translation": (0.0, 0.0, 0.0),
    "alignment__rotation": (0.0, 0.0, 0.0, 1.0),
}


@pytest.mark.parametrize(("reference", "shown"), [("rgb", RGB), ("thermal", THERMAL)])
def test_until_the_cameras_are_known_the_reference_image_goes_out_alone(reference, shown):
    pipeline = _pipeline(reference=reference, **ONE_PLACE)
    assert {sensor.value for sensor in pipeline.aligner.awaited} == {"rgb", "thermal"}
    result = pipeline(FramePair(RGB, THERMAL), with_sources=True, with_aligned_thermal=True)
    assert result.mode is Mode.UNALIGNED
    assert result.reference is shown and result.size == shown.size
    np.testing.assert_array_equal(result.image, shown.pixels)
    assert result.sources is None
    assert (result.aligned_thermal is None) == (
        reference == "rgb"
    )  # where thermal is the reference it is in place
    alone = pipeline(FramePair(None, THERMAL), with_aligned_thermal=True)
    assert alone.mode is Mode.THERMAL_ONLY
    np.testing.assert_array_equal(alone.image, THERMAL.pixels)
    assert not pipeline.engine.calls
    pipeline.aligner.set_cameras(_camera(64, 48, 60.0), _camera(32, 24, 30.0))
    assert pipeline(FramePair(RGB, THERMAL)).mode is Mode.FUSED


def test_known_cameras_place_the_thermal_image_and_stay_known_when_settings_change():
    pipeline = _pipeline("infrared", output__color=False, **ONE_PLACE)
    pipeline.aligner.set_cameras(thermal=_camera(32, 24, 30.0))
    assert [sensor.value for sensor in pipeline.aligner.awaited] == ["rgb"]
    pipeline.aligner.set_cameras(rgb=_camera(64, 48, 120.0))  # sees half as wide: the middle of the thermal image
    middle = cv2.resize(THERMAL.pixels[6:18, 8:24], (64, 48), interpolation=cv2.INTER_LINEAR)
    changed = pipeline.settings.updated({"alignment.distance_m": 5.0, "alignment.fine.every": 3})
    for one in (pipeline, pipeline.reconfigured(changed)):
        image = one(FramePair(RGB, THERMAL)).image
        assert np.abs(image[4:-4, 4:-4].astype(int) - middle[4:-4, 4:-4]).max() <= 1


def test_cameras_that_do_not_fit_the_images_are_refused_and_nothing_changes():
    pipeline = _pipeline(**ONE_PLACE)
    sizes = {"rgb": RGB.size, "thermal": THERMAL.size}
    with pytest.raises(CalibrationError, match="640 x 512"):
        pipeline.aligner.set_cameras(_camera(64, 48, 60.0), _camera(640, 512, 300.0), image_sizes=sizes)
    assert len(pipeline.aligner.awaited) == 2
    pipeline.aligner.set_cameras(_camera(64, 48, 60.0), _camera(32, 24, 30.0), image_sizes=sizes)
    assert not pipeline.aligner.awaited


def test_an_undistorted_output_shows_both_images_without_the_lens():
    pipeline = _pipeline("visible", alignment__undistort=True, **ONE_PLACE)
    bent = _camera(64, 48, 60.0, k1=0.3)
    pipeline.aligner.set_cameras(bent, _camera(32, 24, 30.0))
    result = pipeline(FramePair(RGB, THERMAL), with_sources=True)
    expected = cv2.undistort(RGB.pixels, bent.matrix, np.array(bent.distortion))
    inner = (slice(6, -6), slice(6, -6))
    assert np.abs(result.sources.rgb[inner].astype(int) - expected[inner]).max() <= 3
    assert np.abs(result.image[inner].astype(int) - expected[inner]).max() <= 4
    assert pipeline.aligner.output_camera(result.size, RGB.size) == bent.undistorted()
    alone = pipeline(FramePair(RGB, None)).image
    np.testing.assert_array_equal(alone, result.sources.rgb)

"""Fine alignment over a stream: what is believed, what is held, how it changes, and what it does to the images."""

from __future__ import annotations

import re

import cv2
import drawn_scenes
import numpy as np
import pytest

from fusion_ros.alignment.aligner import AlignmentSettings, structural_estimator
from fusion_ros.alignment.estimate import Estimate
from fusion_ros.alignment.fine import FineAligner, FineSettings, State
from fusion_ros.engines.classical_engine import ClassicalEngine
from fusion_ros.errors import EngineError, SettingsError, WeightsError
from fusion_ros.frame import Frame, FramePair, Unit
from fusion_ros.pipeline import FusionPipeline, FusionSettings, Mode, open_pipeline

SIZE = (120, 160)
SECOND = 1_000_000_000


def scene(
    shift: tuple[float, float] = (0.0, 0.0),
    *,
    is_thermal: bool = False,
    seed: int = 0,
    size: tuple[int, int] = SIZE,
) -> np.ndarray:
    """Draw a scene ``shift`` pixels to the right and down, ``(H, W)`` float32 in [0, 1]."""
    moved = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]], [0.0, 0.0, 1.0]])
    return drawn_scenes.scene(moved, is_thermal=is_thermal, seed=seed, size=size, margin=10.0)


def pair(
    shift: tuple[float, float] = (0.0, 0.0),
    stamp_ns: int = 0,
    *,
    thermal: np.ndarray | None = None,
    seed: int = 0,
    noise: int = 0,
) -> FramePair:
    """Return a colour frame and a 16-bit thermal frame whose scene lies ``shift`` pixels beside it."""
    rgb = np.repeat((scene(seed=seed)[..., None] * 255).round().astype(np.uint8), 3, axis=2)
    if thermal is None:
        thermal = scene(shift, is_thermal=True, seed=seed)
        thermal = (20_000 + 4_000 * thermal).round().astype(np.uint16)
    rng = np.random.default_rng([stamp_ns, noise])
    if noise:
        rgb = np.clip(rgb + rng.normal(0, noise, rgb.shape), 0, 255).round().astype(np.uint8)
    return FramePair(
        Frame(rgb, stamp_ns, "rgb_optical_frame", "rgb8"),
        Frame(thermal, stamp_ns, "thermal_optical_frame", "mono16", Unit.COUNTS),
    )


class Known:
    """An estimator that answers with a shift it is told, and remembers what it was asked."""

    name = "known"

    def __init__(self, shift: tuple[float, float] = (0.0, 0.0), confidence: float = 1.0) -> None:
        self.shift, self.confidence = shift, confidence
        self.starts: list[np.ndarray | None] = []
        self.seen: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = []
        self.error: Exception | None = None

    def __call__(self, moving, fixed, *, valid=None, start=None):
        self.starts.append(start)
        self.seen.append((moving, fixed, valid))
        if self.error is not None:
            raise self.error
        flow = np.empty((*fixed.shape, 2), np.float32)
        flow[:] = self.shift
        return Estimate(flow, self.confidence)


def _pipeline(fine, model="maximum", **settings):
    values = {name.replace("__", "."): value for name, value in settings.items()}
    return FusionPipeline(ClassicalEngine(model), FusionSettings.from_mapping(values), fine)


def _aligner(estimator, **settings):
    return FineAligner(estimator, FineSettings(**settings))


def _shifted(thermal: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    """Shift a picture by whole pixels, to where content of ``thermal(p + shift)`` belongs."""
    x, y = shift
    return thermal[max(0, y) :, max(0, x) :]


def test_counts_are_moved_exactly_to_where_they_belong_and_stay_16_bit():
    pipeline = _pipeline(Known((5, 3)))
    both = pair((5, 3))
    result = pipeline(both, with_image=False, with_aligned_thermal=True)
    counts = result.aligned_thermal
    assert counts.dtype == np.uint16
    np.testing.assert_array_equal(counts[:-3, :-5], both.thermal.pixels[3:, 5:])
    assert not counts[-3:].any() and not counts[:, -5:].any()  # beyond the thermal image nothing was seen
    assert (result.alignment.state, result.alignment.is_new) == (State.MEASURED, True)
    assert result.alignment.mean_px == pytest.approx(np.hypot(5, 3))


def test_the_network_gets_the_moved_image_and_the_reference_image_where_nothing_is_seen():
    both = pair((4, 0))
    fixed = {"thermal__mode": "fixed", "thermal__fixed_low": 20_000.0, "thermal__fixed_high": 24_000.0}
    result = _pipeline(Known((4, 0)), **fixed)(both, with_sources=True)
    expected = ((both.thermal.pixels[:, 4:] - 20_000.0) / 4_000.0 * 255).round()
    assert np.abs(result.sources.infrared[:, :-4] - expected).max() <= 1
    assert result.sources.overlap[:, :-4].all() and not result.sources.overlap[:, -4:].any()
    assert np.abs(result.image[:, -4:].astype(int) - both.rgb.pixels[:, -4:]).max() <= 2


@pytest.mark.parametrize("reference", ["rgb", "thermal"])
def test_the_estimator_sees_two_images_in_unit_range_on_the_output_grid(reference):
    fine = Known()
    small = pair(thermal=(20_000 + 4_000 * scene(is_thermal=True)[::2, ::2]).astype(np.uint16))
    _pipeline(fine, reference=reference)(small)
    ((moving, fixed, valid),) = fine.seen
    assert moving.shape == fixed.shape == ((120, 160) if reference == "rgb" else (60, 80))
    assert moving.dtype == fixed.dtype == np.float32
    assert valid is None
    for image in (moving, fixed):
        assert 0.0 <= image.min() < image.max() <= 1.0
    visible = fixed if reference == "rgb" else moving
    grey = cv2.resize(small.rgb.pixels[..., 0], moving.shape[::-1], interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(visible, grey / 255, atol=0.01)


@pytest.mark.parametrize(
    ("interpolation", "first", "overshoot"), [("bilinear", (17, 19), 0), ("bicubic", (18, 20), 400)]
)
def test_at_the_border_of_what_a_camera_sees_no_count_is_mixed_with_nothing(interpolation, first, overshoot):
    shift = [1.0, 0, 20.0, 0, 1, 0, 0, 0, 1]  # thermal covers all but the left 20 columns
    settings = {"alignment__mode": "homography", "alignment__homography": shift}
    pipeline = _pipeline(Known((2.5, 0)), **settings, alignment__fine__interpolation=interpolation)
    result = pipeline(pair((2.5 - 20.0, 0)), with_image=False, with_aligned_thermal=True)
    assert result.alignment.state is State.MEASURED
    counts = result.aligned_thermal
    assert counts[counts > 0].min() >= 20_000 - overshoot  # of 4,000 that the scene spans
    assert first[0] <= np.flatnonzero(counts[60])[0] <= first[1]


def test_what_is_moved_by_a_part_of_a_pixel_stays_as_sharp_as_it_came():
    inner = np.s_[4:-4, 4:-4]
    wanted = pair().thermal.pixels[inner].astype(float)
    off = {}
    for interpolation in ("bilinear", "bicubic"):
        pipeline = _pipeline(Known((2.5, 1.5)), alignment__fine__interpolation=interpolation)
        counts = pipeline(pair((2.5, 1.5)), with_image=False, with_aligned_thermal=True).aligned_thermal
        off[interpolation] = np.sqrt(np.mean((counts[inner] - wanted) ** 2))
    assert off["bicubic"] < 0.8 * off["bilinear"]


def test_where_the_thermal_image_is_the_reference_the_colour_image_is_moved():
    fine = Known((3, 0))
    both = pair((-3, 0))
    result = _pipeline(fine, reference="thermal")(both, with_sources=True, with_aligned_thermal=True)
    np.testing.assert_array_equal(result.sources.rgb[:, :-3], both.rgb.pixels[:, 3:])
    np.testing.assert_array_equal(result.aligned_thermal, both.thermal.pixels)


def test_a_lone_thermal_image_lies_where_the_last_fused_one_lay():
    pipeline = _pipeline(Known((5, 3)), output__color=False)
    both = pair((5, 3))
    pipeline(both)
    alone = pipeline(FramePair(None, both.thermal), with_aligned_thermal=True)
    assert alone.mode is Mode.THERMAL_ONLY
    np.testing.assert_array_equal(alone.aligned_thermal[:-3, :-5], both.thermal.pixels[3:, 5:])
    assert not alone.image[:, -5:].any() and alone.image[:-3, :-5].any()
    assert not alone.alignment.is_new


def test_the_alignment_alone_is_looked_for_without_the_network():
    class Refusing(ClassicalEngine):
        def __call__(self, infrared, visible):
            raise AssertionError("the network was run")

    pipeline = FusionPipeline(Refusing("average"), FusionSettings(), Known((1, 2)))
    result = pipeline(pair((1, 2)), with_image=False, with_alignment=True)
    assert result.alignment.flow[0, 0].tolist() == [1, 2]
    assert result.image is None
    assert list(result.stage_ms) == ["repeats", "normalise", "align", "align_fine"]


def test_without_an_estimator_there_is_no_alignment_to_tell_of():
    result = _pipeline(None)(pair())
    assert result.alignment is None
    assert "align_fine" not in result.stage_ms


def test_a_failing_estimator_loses_no_frame_and_is_told():
    fine = Known((5, 3))
    pipeline = _pipeline(fine, alignment__fine__every=1)
    plain = _pipeline(None)
    fine.error = EngineError("the accelerator is gone")
    result = pipeline(pair((5, 3), stamp_ns=1))
    np.testing.assert_array_equal(result.image, plain(pair((5, 3), stamp_ns=1)).image)
    assert (result.alignment.state, result.alignment.has_failed) == (State.NONE, True)
    assert "the accelerator is gone" in result.alignment.reason
    fine.error = None
    assert pipeline(pair((5, 3), stamp_ns=2)).alignment.state is State.MEASURED
    fine.error = EngineError("again")
    held = pipeline(pair((5, 3), stamp_ns=3)).alignment
    assert (held.state, held.flow[0, 0].tolist()) == (State.HELD, [5, 3])


@pytest.mark.parametrize(
    ("shift", "confidence", "reason"),
    [
        ((5, 3), 0.2, "confidence 0.20 is below the gate of 0.3"),
        ((5, 3), 0.0, "nothing was found"),
        ((40, 0), 1.0, "40 px, more than twice search_px"),
        ((np.nan, 0), 1.0, "not finite"),
    ],
)
def test_what_cannot_be_believed_is_not_applied_and_the_reason_is_told(shift, confidence, reason):
    both = pair((5, 3))
    result = _pipeline(Known(shift, confidence))(both)
    assert result.alignment.state is State.NONE
    assert result.alignment.flow is None
    assert reason in result.alignment.reason
    np.testing.assert_array_equal(result.image, _pipeline(None)(both).image)


@pytest.mark.parametrize(
    ("seen", "search_px", "reason"),
    [
        (slice(0, 120), 30.0, "nothing was found"),
        (slice(45, 75), 4.0, "share too small an area .* search_px"),
        (slice(5, 55), 4.0, "nothing was found"),
        (slice(5, 55), 30.0, "share too small an area .* search_px"),
    ],
    ids=["wide search", "narrow view", "half of the view", "half of the view, wide search"],
)
def test_too_small_a_common_view_is_told_from_one_that_shows_nothing(seen, search_px, reason):
    valid = np.zeros(SIZE, bool)
    valid[seen] = True
    settings = FineSettings(method="structural", search_px=search_px)
    estimator = structural_estimator(settings)
    blank = np.full(SIZE, 0.5, np.float32)
    assert re.search(reason, FineAligner(estimator, settings)(blank, blank, valid=valid).reason)


def test_a_field_that_folds_is_not_believed():
    def folding(moving, fixed, *, valid=None, start=None):
        flow = np.zeros((*fixed.shape, 2), np.float32)
        flow[:, 80:, 0] = -12
        return Estimate(flow, 1.0)

    assert "folds" in _aligner(folding)(scene(), scene()).reason


def test_below_the_gate_the_last_good_field_is_held():
    fine = Known((5, 3))
    align = _aligner(fine, every=1)
    moving, fixed = scene((5, 3), is_thermal=True), scene()
    good = align(moving, fixed, stamp_ns=0)
    fine.shift, fine.confidence = (-4, -4), 0.1
    held = align(moving, fixed, stamp_ns=1)
    assert held.state is State.HELD
    assert held.flow is good.flow
    assert held.confidence == 0.1


def test_an_estimate_is_made_of_every_nth_pair_and_begins_where_the_last_one_ended():
    fine = Known((5, 3))
    align = _aligner(fine, every=4)
    moving, fixed = scene((5, 3), is_thermal=True), scene()
    found = [align(moving, fixed, stamp_ns=i * SECOND // 30) for i in range(9)]
    assert [each.is_new for each in found] == [True, False, False, False] * 2 + [True]
    assert fine.starts[0] is None
    assert all(start[0, 0].tolist() == [5, 3] for start in fine.starts[1:])
    assert all(each.flow is found[0].flow for each in found[:4])  # the same array while nothing changes


def test_a_leap_that_is_not_certain_is_believed_when_it_is_found_again():
    fine = Known((5, 3), confidence=0.6)
    align = _aligner(fine, every=5, smoothing_s=0.0)
    moving, fixed = scene((5, 3), is_thermal=True), scene()
    first, second, third = (align(moving, fixed, stamp_ns=i * SECOND // 30) for i in range(3))
    assert (first.state, first.flow, first.reason[:8]) == (State.NONE, None, "it leaps")
    assert (second.state, second.is_new) == (State.MEASURED, True)  # looked at again at once
    assert second.flow[0, 0].tolist() == [5, 3]
    assert not third.is_new


def test_leaps_that_contradict_one_another_are_never_believed_and_cost_no_estimate_of_each_pair():
    class Wandering(Known):
        def __call__(self, moving, fixed, *, valid=None, start=None):
            self.shift = (7 * (-1) ** len(self.seen), 0)
            return super().__call__(moving, fixed, valid=valid, start=start)

    fine = Wandering(confidence=0.8)
    align = _aligner(fine, every=10)
    # One half of the image says the one, the other half the other.
    moving, fixed = scene((7, 0), is_thermal=True), scene()
    moving[:, 80:] = scene((-7, 0), is_thermal=True)[:, 80:]
    states = {align(moving, fixed, stamp_ns=i * SECOND // 30).state for i in range(40)}
    assert states == {State.NONE}
    assert len(fine.seen) <= 6


def test_another_scene_is_looked_at_at_once_and_not_glided_into():
    fine = Known((5, 3))
    align = _aligner(fine, every=1000)
    align(scene((5, 3), is_thermal=True), scene(), stamp_ns=0)
    fine.shift = (-2, 1)
    other = align(scene((-2, 1), is_thermal=True, seed=5), scene(seed=5), stamp_ns=SECOND // 30)
    assert other.is_new
    assert other.flow[0, 0].tolist() == [-2, 1]


def test_a_step_is_followed_within_the_time_constant_without_a_jump():
    fine = Known((0, 0))
    align = _aligner(fine, every=1, smoothing_s=0.25)
    align(scene(is_thermal=True), scene(), stamp_ns=0)
    fine.shift = (4, 0)
    moving, fixed, period = scene((4, 0), is_thermal=True), scene(), SECOND // 32
    lengths = [align(moving, fixed, stamp_ns=i * period).mean_px for i in range(1, 61)]
    steps = np.diff([0.0, *lengths])
    assert (steps >= 0).all() and steps.max() < 0.5
    assert lengths[7] == pytest.approx(4 * (1 - np.exp(-1)), abs=0.05)  # 0.25 s later
    assert lengths[-1] == 4.0


def test_time_that_jumps_back_and_another_size_start_afresh():
    fine = Known((5, 3))
    align = _aligner(fine, every=1000)
    moving, fixed = scene((5, 3), is_thermal=True), scene()
    align(moving, fixed, stamp_ns=9 * SECOND)
    fine.confidence = 0.0
    assert align(moving, fixed, stamp_ns=SECOND).state is State.NONE
    assert fine.starts == [None, None]
    fine.confidence = 1.0
    align(moving, fixed, stamp_ns=9 * SECOND)
    most = align(moving[:100].copy(), fixed[:100].copy(), stamp_ns=9 * SECOND + 1)
    assert most.is_new and most.flow.shape == (100, 160, 2)
    assert fine.starts[-1] is None


def test_a_long_pause_keeps_the_field_and_looks_anew():
    fine = Known((5, 3))
    align = _aligner(fine, every=1000)
    moving, fixed = scene((5, 3), is_thermal=True), scene()
    align(moving, fixed, stamp_ns=0)
    fine.confidence = 0.0
    later = align(moving, fixed, stamp_ns=8 * SECOND)
    assert later.is_new and later.state is State.HELD
    assert later.flow[0, 0].tolist() == [5, 3]


def test_a_reset_forgets_the_misalignment_at_the_next_pair():
    fine = Known((5, 3))
    pipeline = _pipeline(fine)
    pipeline(pair((5, 3), stamp_ns=1))
    fine.confidence = 0.0
    pipeline.reset()
    assert pipeline(pair((5, 3), stamp_ns=2)).alignment.state is State.NONE


def test_while_the_thermal_camera_repeats_its_image_nothing_is_estimated():
    """As during a flat-field correction, with the robot turning on."""
    fine = Known((5, 3))
    pipeline = _pipeline(fine, alignment__fine__every=2)
    frozen = pair((5, 3)).thermal.pixels
    for i in range(6):
        moving_on = pair(stamp_ns=i * SECOND // 30, thermal=frozen, noise=3, seed=i)
        result = pipeline(moving_on)
        assert result.alignment.is_new == (i == 0)
    pipeline(pair((5, 3), stamp_ns=SECOND, seed=9))
    assert len(fine.seen) == 2


def test_live_settings_take_hold_and_what_is_known_stays_while_it_holds():
    fine = Known((5, 3))
    pipeline = _pipeline(fine, alignment__fine__every=1000)
    pipeline(pair((5, 3), stamp_ns=1))
    often = pipeline.reconfigured(pipeline.settings.updated({"alignment.fine.every": 1}))
    fine.confidence = 0.0
    kept = often(pair((5, 3), stamp_ns=2)).alignment
    assert kept.is_new and kept.state is State.HELD
    homography = [1.0, 0, 2, 0, 1, 0, 0, 0, 1]
    moved = {"alignment.mode": "homography", "alignment.homography": homography}
    other = often.reconfigured(often.settings.updated(moved))
    assert other(pair((5, 3), stamp_ns=3)).alignment.state is State.NONE


def test_the_reach_of_the_structural_search_can_be_changed_live():
    near = open_pipeline(_structural(search_px=4.0, every=1))
    both = pair((11, 0))
    assert near(both).alignment.state is State.NONE
    far = near.reconfigured(near.settings.updated({"alignment.fine.search_px": 16.0}))
    np.testing.assert_allclose(far(both).alignment.flow[60, 80], [11, 0], atol=0.3)


def _structural(**fine):
    return FusionSettings.from_mapping(
        {"model": "average", "alignment": {"fine": {"method": "structural", **fine}}}
    )


@pytest.mark.parametrize("shift", [(1.5, 0.0), (3.3, -2.6), (-7.5, 5.25)])
@pytest.mark.parametrize("reference", ["rgb", "thermal"])
def test_the_structural_method_finds_a_known_shift(shift, reference):
    pipeline = open_pipeline(_structural().updated({"reference": reference}))
    found = pipeline(pair(shift)).alignment
    assert found.state is State.MEASURED
    sign = 1 if reference == "rgb" else -1
    np.testing.assert_allclose(found.flow[60, 80], np.multiply(sign, shift), atol=0.3)


def test_what_is_aligned_stays_where_it_is():
    size = (240, 320)
    align = _aligner(structural_estimator(FineSettings()))
    for seed in range(4):
        align.reset()
        found = align(scene(is_thermal=True, seed=seed, size=size), scene(seed=seed, size=size))
        assert (found.state, found.flow) == (State.UNCHANGED, None)


def test_the_structural_method_aligns_what_is_fused():
    straight = open_pipeline(_structural())(pair()).image.astype(float)
    both = pair((6.4, -3.2))
    mended = open_pipeline(_structural())(both).image.astype(float)
    crooked = _pipeline(None, model="average")(both).image.astype(float)
    inner = (slice(12, -12), slice(12, -12))
    assert np.abs(mended - straight)[inner].mean() < 0.25 * np.abs(crooked - straight)[inner].mean()


@pytest.mark.parametrize("spoiled", ["black", "saturated", "noise"])
def test_what_shows_nothing_changes_nothing(spoiled):
    rng = np.random.default_rng(2)
    blind = {
        "black": np.zeros((6, *SIZE), np.uint16),
        "saturated": np.full((6, *SIZE), 65_535, np.uint16),
        "noise": rng.normal(22_000, 600, (6, *SIZE)).astype(np.uint16),
    }[spoiled]
    # A range that stays, so that the blind images do not darken or lighten the good one.
    fixed = {"thermal.mode": "fixed", "thermal.fixed_low": 19_000.0, "thermal.fixed_high": 25_000.0}
    pipeline = open_pipeline(_structural(every=1).updated(fixed))
    plain = FusionPipeline(ClassicalEngine("average"), pipeline.settings)
    for i in range(6):  # before anything is known
        spoilt = pair(stamp_ns=i * SECOND // 30, thermal=blind[i], noise=2)
        result = pipeline(spoilt)
        assert result.alignment.state is State.NONE
        np.testing.assert_array_equal(result.image, plain(spoilt).image)
    good = pipeline(pair((5, 3), stamp_ns=SECOND)).alignment
    assert good.state is State.MEASURED
    for i in range(6):  # what is known stays
        spoilt = pair(stamp_ns=SECOND + i * SECOND // 30, thermal=blind[i], noise=2)
        held = pipeline(spoilt).alignment
        assert held.state is State.HELD
        assert held.flow is good.flow


def test_a_long_stream_with_a_drifting_rig_stays_aligned():
    pipeline = open_pipeline(_structural(every=5, smoothing_s=0.2))
    for i in range(40):
        shift = (0.1 * i, -0.05 * i)
        found = pipeline(pair(shift, stamp_ns=i * SECOND // 10, noise=3)).alignment
        assert found.state in (State.UNCHANGED, State.MEASURED)
        there = (0.0, 0.0) if found.flow is None else found.flow[60, 80]
        # What is a pixel off may not show yet; later at most five pairs' drift behind, and the error.
        assert np.abs(np.subtract(there, shift)).max() < (1.5 if i < 15 else 0.9)
    assert found.state is State.MEASURED


def test_an_unknown_method_and_a_model_that_gives_images_are_refused_by_name():
    with pytest.raises(SettingsError, match=r"alignment\.fine\.method: .* reconet .*gives image"):
        open_pipeline(_structural(method="reconet"))
    with pytest.raises(WeightsError, match=r"alignment\.fine\.method.*structural.* 'structurel'"):
        open_pipeline(_structural(method="structurel"))


def test_other_users_of_the_coarse_settings_see_no_difference():
    fine = AlignmentSettings(mode="none", fine=FineSettings(every=3))
    assert fine.coarse_as(AlignmentSettings(mode="none"))
    assert not fine.coarse_as(AlignmentSettings())


@pytest.mark.parametrize("name", ["FLIR_00211", "FLIR_04688", "FLIR_08094"])
def test_the_structural_method_finds_a_known_shift_between_real_images(shared, name):
    """They are never perfectly aligned as they come, so what counts is the difference that the shift makes."""
    folder = shared / "data" / "roadscene"
    rgb, thermal = (cv2.imread(str(folder / kind / f"{name}.jpg")) for kind in ("vis", "ir"))

    def found(x: int, y: int) -> np.ndarray:
        height, width = rgb.shape[0] - 40, rgb.shape[1] - 40
        seen = thermal[20 - y : 20 - y + height, 20 - x : 20 - x + width]
        frames = FramePair(Frame(rgb[20:-20, 20:-20, ::-1], 0), Frame(seen[..., 0], 0))
        alignment = open_pipeline(_structural())(frames, with_image=False, with_alignment=True).alignment
        assert alignment.state is State.MEASURED
        return alignment.flow[height // 2, width // 2]

    np.testing.assert_allclose(found(9, -6) - found(-4, 5), [13, -11], atol=0.3)

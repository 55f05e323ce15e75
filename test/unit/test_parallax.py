"""Measuring aligners on parallax: the truth is what pinhole geometry says that the coarse alignment leaves."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from fusion_ros.alignment import CoarseAligner
from fusion_ros.alignment.calibration_rig import GroundSettings, KnownRig
from fusion_ros.alignment.estimate import Estimate
from fusion_ros.evaluation.registration import AlignerFacts, AlignmentEvaluation, AlignmentRecord, measure_pair
from fusion_ros.evaluation.registration import street as streets
from fusion_ros.evaluation.registration.aligners import Aligner, open_aligner
from fusion_ros.evaluation.registration.measure import rendered
from fusion_ros.evaluation.registration.parallax import (
    CURVE,
    EVERYWHERE,
    OUTLINES,
    TABLE,
    WHOLE,
    ParallaxRecord,
    ParallaxSummary,
    Span,
    parallax_of,
    places_of,
)
from fusion_ros.evaluation.registration.street import DISTANCE_M, KINDS, StreetPairs
from fusion_ros.evaluation.registration.tables import markdown
from fusion_ros.geometry.cameras import PinholeCamera, Rig
from fusion_ros.geometry.warp import flow_positions, warp_by_flow
from fusion_ros.pipeline import FusionSettings
from fusion_ros.synthetic import Truth

GROUNDS = {"no ground": GroundSettings(), "ground": GroundSettings(height_m=1.5, pitch_deg=0.5)}


@pytest.fixture(scope="module")
def street():
    """The first pair of the street, with the world and the moment that it is of."""
    (images,) = StreetPairs((0,)).pairs(FusionSettings())
    return images, *streets._scene(0)


class _Knows:
    """An estimator that gives one flow."""

    name = "knows"

    def __init__(self, flow: np.ndarray) -> None:
        self.flow = flow

    def __call__(self, moving, fixed, *, valid=None, start=None):
        return Estimate(self.flow, 1.0)


def _within(places: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return ((places >= 0.0) & (places <= np.array(size[::-1]) - 1.0)).all(axis=-1)


def _truth(depth: np.ndarray, seen_at: np.ndarray) -> Truth:
    nothing = np.zeros((1, 1))
    return Truth(seen_at, nothing, depth, nothing, nothing, nothing, ())


def _wall(rig: Rig, distance_m: float) -> Truth:
    """A wall that faces the cameras, seen by both everywhere."""
    return _truth(np.full(rig.rgb.size, distance_m, np.float32), np.zeros((*rig.rgb.size, 2), np.float32))


def _plain_rig(baseline_m: float) -> Rig:
    pose = np.eye(4)
    pose[0, 3] = baseline_m
    return Rig(
        PinholeCamera(160, 120, 130.0, 130.0, 79.0, 60.0), PinholeCamera(80, 64, 60.0, 60.0, 40.0, 31.0), pose
    )


@pytest.mark.parametrize("distance_m", [3.0, 7.5, 15.0, 80.0])
def test_side_by_side_cameras_leave_baseline_times_focal_length_times_the_difference_of_inverse_distances(
    distance_m,
):
    rig = _plain_rig(0.2)
    found = parallax_of(rig, _wall(rig, distance_m), 15.0, GroundSettings())
    # The thermal camera is to the right, so it sees what is near farther left than what it is taken for.
    predicted = rig.rgb.fx * 0.2 * (1.0 / 15.0 - 1.0 / distance_m)
    assert found.flow[..., 0] == pytest.approx(np.full(rig.rgb.size, predicted), abs=1e-3)
    assert np.abs(found.flow[..., 1]).max() < 1e-3
    columns = np.arange(160) + predicted
    assert (found.seen == ((columns >= -0.5) & (columns <= 159.5))).all()


def test_the_street_leaves_what_its_rig_predicts(street):
    images, world, _ = street
    rig, truth = world.rig, images.parallax
    baseline_m = float(rig.rgb_from_thermal[0, 3])
    predicted = rig.rgb.fx * baseline_m * (1.0 / DISTANCE_M - 1.0 / truth.depth)
    # Where the lens hardly bends anything; the fraction of a degree between the cameras changes no distance there.
    y, x = np.mgrid[: rig.rgb.height, : rig.rgb.width]
    middle = np.hypot(x - rig.rgb.cx, y - rig.rgb.cy) < 0.2 * rig.rgb.fx
    off = np.abs(truth.flow[..., 0] - predicted)[middle & truth.seen]
    assert off.max() < 0.1 and truth.flow[middle & truth.seen].min() < -1.5
    none, *_ = measure_pair(
        replace(images, parallax=replace(truth, seen=truth.seen & middle)), [open_aligner("none")], []
    )
    assert none.known_px == pytest.approx(np.abs(predicted[middle & truth.seen]).mean(), rel=0.03)


@pytest.mark.parametrize("ground", GROUNDS.values(), ids=GROUNDS)
def test_the_true_flow_finds_the_thermal_pixel_that_sees_the_same_point(street, ground):
    _, world, time_s = street
    rig, truth = world.rig, world.truth(time_s)
    settings = replace(streets._settings_of_rig(FusionSettings(), rig).alignment, ground=ground)
    known = KnownRig(None, rig.rgb_from_thermal, rig.rgb, rig.thermal)
    found = parallax_of(rig, truth, DISTANCE_M, ground)
    coarse = CoarseAligner(settings, known_rig=known)
    # In the outer half of its border pixels an image is taken as it is there: they say nothing.
    places = np.dstack(flow_positions(found.flow))
    inner = found.seen & _within(truth.thermal_from_rgb, rig.thermal.size) & _within(places, rig.rgb.size)
    for axis in range(2):  # an image of its own coordinates says where each of its pixels comes to lie
        image = np.ascontiguousarray(rig.thermal.pixel_grid()[..., axis].astype(np.float32))
        aligned = coarse(image, rig.rgb.size)
        valid = np.ones(rig.rgb.size, np.float32) if aligned.valid is None else aligned.valid.astype(np.float32)
        inside = inner & (warp_by_flow(valid, found.flow) == 1.0)
        off = warp_by_flow(aligned.pixels, found.flow) - truth.thermal_from_rgb[..., axis]
        assert inside.mean() > 0.9
        assert np.abs(off[inside]).max() < 0.05


def test_the_true_flow_is_no_error_and_doing_nothing_all_of_it(street):
    images, *_ = street
    aligners = [Aligner("knows", _Knows(images.parallax.flow)), open_aligner("none")]
    found = list(measure_pair(images, aligners, []))
    whole = {record.aligner: record for record in found if isinstance(record, AlignmentRecord)}
    assert whole["knows"].known_px == 0.0 and whole["knows"].condition == images.condition == "day"
    assert whole["none"].known_px == whole["none"].nothing_px == whole["knows"].label_px
    assert whole["none"].known_px > 1.0
    assert 0.9 < whole["none"].compared < 1.0
    spans = [record for record in found if isinstance(record, ParallaxRecord)]
    assert {(r.near_m, r.far_m) for r in spans if r.place == EVERYWHERE} == {WHOLE, *TABLE, *CURVE}
    for record in spans:
        assert record.mean_px == (0.0 if record.aligner == "knows" else record.nothing_px)
        assert (record.p90_px == 0.0) == (record.far == 0.0 and record.median_px == 0.0)
    nearest = next(
        r for r in spans if r.aligner == "none" and r.place == EVERYWHERE and (r.near_m, r.far_m) == TABLE[0]
    )
    assert nearest.far == 1.0 and nearest.median_px > 5.0


def test_the_true_flow_brings_the_outlines_of_near_things_together(street):
    """The two images themselves, not only the numbers: edges coincide better after the true flow than before."""
    images, *_ = street
    case = rendered(images)

    def steepness(image: np.ndarray) -> np.ndarray:
        return np.abs(cv2.Sobel(cv2.GaussianBlur(image, (0, 0), 1.0), cv2.CV_32F, 1, 0))

    near = case.compared & (images.parallax.depth < 5.0) & (np.mgrid[:480, :640][0] < 380)
    before = np.corrcoef(steepness(case.moving)[near], steepness(case.fixed)[near])[0, 1]
    moved = warp_by_flow(case.moving, case.wanted)
    after = np.corrcoef(steepness(moved)[near], steepness(case.fixed)[near])[0, 1]
    assert after > before + 0.1


def test_what_one_camera_does_not_see_is_not_compared():
    rig = _plain_rig(0.2)
    truth = _wall(rig, 15.0)
    truth.thermal_from_rgb[10:20, 30:50] = np.nan
    seen = parallax_of(rig, truth, 15.0, GroundSettings()).seen
    assert not seen[10:20, 30:50].any() and seen.sum() == seen.size - 200


def test_outlines_are_where_both_images_have_one_at_the_true_place():
    rig = _plain_rig(0.2)
    truth = parallax_of(rig, _wall(rig, 7.5), 15.0, GroundSettings())  # 1.73 px to the left
    fixed = np.zeros(rig.rgb.size, np.float32)
    fixed[:, 80:] = 1.0
    moving = np.zeros(rig.rgb.size, np.float32)
    moving[:, 78:] = 1.0
    places = places_of(truth, moving, fixed)
    assert (places[EVERYWHERE] == truth.seen).all()
    columns = np.flatnonzero(places[OUTLINES].all(axis=0))
    assert columns.min() in range(72, 80) and columns.max() in range(80, 88)
    assert not places_of(truth, np.zeros_like(moving), fixed)[OUTLINES].any()


def test_pairs_differ_by_number_alone_and_take_turns_in_what_they_show():
    pairs = StreetPairs(tuple(range(9)))
    assert pairs.conditions == tuple(KINDS) and pairs.count == 9
    parts = pairs.parts(4)
    assert [part.numbers for part in parts] == [(0, 1, 2, 3), (4, 5, 6, 7), (8,)]
    assert len({part.identity for part in parts}) == 3
    assert parts[2].conditions == ("day",)


def _record(
    frame: str, mean_px: float, span: Span = WHOLE, aligner: str = "mine", place: str = EVERYWHERE
) -> ParallaxRecord:
    figures = mean_px, mean_px / 2, 2 * mean_px, 0.25, 3.0
    return ParallaxRecord("street", frame, aligner, "day", place, *span, 200, *figures)


def test_each_pair_counts_alike():
    found = ParallaxSummary.of([_record("0", 1.0), _record("1", 3.0)])
    assert (found.pairs, found.mean_px, found.median_px, found.p90_px, found.far) == (2, 2.0, 1.0, 4.0, 0.25)
    assert found.nothing_px == 3.0 and found.pixels == 400 and found.low_px <= 2.0 <= found.high_px
    nobody = ParallaxSummary.of([])
    assert nobody.pairs == 0 and math.isnan(nobody.mean_px)


def test_tables_and_files_say_errors_by_distance():
    errors = {"mine": 1.0, "other": 2.0}
    whole = [
        AlignmentRecord("street", str(frame), name, "day", error, 1.0, 3.0, 0.9, 1.0, is_believed, False)
        for name, error in errors.items()
        for frame, is_believed in enumerate((True, False))
    ]
    spans = [
        _record("0", error, span, name, place)
        for name, error in errors.items()
        for span in (WHOLE, TABLE[0], TABLE[-1])
        for place in (EVERYWHERE, OUTLINES)
    ]
    facts = [AlignerFacts("mine"), AlignerFacts("other")]
    evaluation = AlignmentEvaluation({}, facts, ["day"], [], whole, parallax=spans)
    assert evaluation.summary("mine", "day").believed == 1
    assert evaluation.gated("mine") == 2.0  # the other answer is left out, which leaves 3 px
    text = markdown(evaluation)
    cell = "**1.00 (0.50), 2.00, 25 %**"
    assert text.count(f"| mine | {cell} | {cell} | {cell} |") == 2 and "As recorded" not in text
    assert (
        "all | 2 to 4 m | \\> 50 m" in text
        and "| share of the pixels, pairs | 100 %, 1 | 100 %, 1 | 100 %, 1 |" in text
    )
    assert '"> 50 m"' in evaluation.to_json() and '"4 to 6 m"' in evaluation.to_json()
    rows = list(csv.DictReader(io.StringIO(evaluation.parallax_csv())))
    assert len(rows) == 12 and rows[-1]["far_m"] == "inf" and rows[0]["mean_px"] == "1.0"

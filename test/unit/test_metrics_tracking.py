"""Metrics of tracking against answers that follow from their definitions, in exact fractions and by counting."""

from __future__ import annotations

import warnings
from fractions import Fraction

import numpy as np
import pytest

from fusion_ros.errors import ImageError
from fusion_ros.metrics.tracking import (
    NORMALISED_THRESHOLDS,
    centre_distance,
    normalised_distance,
    overlap,
    precision_curve,
    success_curve,
    track_scores,
)
from fusion_ros.metrics.tracking_vot import Anchor, anchors, eao_curve, typical_lengths, vot_run, vot_scores

NOWHERE = [np.nan] * 4


def _still(count: int, box: tuple[float, ...] = (100.0, 80.0, 40.0, 20.0)) -> np.ndarray:
    return np.tile(np.array(box), (count, 1))


def _shifted(boxes: np.ndarray, x: float, y: float = 0.0) -> np.ndarray:
    return boxes + np.array([x, y, 0.0, 0.0])


def test_overlap_is_that_of_counted_pixels():
    rng = np.random.default_rng(0)
    boxes = np.column_stack([rng.integers(0, 30, (60, 2)), rng.integers(1, 20, (60, 2))]).astype(float)
    truth = np.column_stack([rng.integers(0, 30, (60, 2)), rng.integers(1, 20, (60, 2))]).astype(float)
    for box, other, found in zip(boxes, truth, overlap(boxes, truth), strict=True):
        masks = np.zeros((2, 64, 64), bool)
        for mask, (x, y, width, height) in zip(masks, (box, other), strict=True):
            mask[int(y) : int(y + height), int(x) : int(x + width)] = True
        assert found == pytest.approx((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())


def test_a_perfect_tracker_has_an_overlap_of_1_and_the_area_that_otb_gives_it():
    truth = _still(30)
    scores = track_scores(truth, truth)
    assert (scores.frames, scores.overlap, scores.precision, scores.normalised_precision) == (30, 1.0, 1.0, 1.0)
    assert scores.success == pytest.approx(20 / 21)  # nothing is above 1


def test_a_known_shift_has_the_overlap_and_the_distances_that_follow():
    truth = _still(10)
    boxes = _shifted(truth, 10.0, -5.0)  # by a quarter of the width and a quarter of the height
    shared = Fraction(30 * 15)
    wanted = shared / (2 * 40 * 20 - shared)  # 9/23
    assert overlap(boxes, truth) == pytest.approx(float(wanted))
    assert centre_distance(boxes, truth) == pytest.approx(np.sqrt(125.0))
    assert normalised_distance(boxes, truth) == pytest.approx(np.sqrt(2) / 4)
    scores = track_scores(boxes, truth)
    assert scores.success == pytest.approx(8 / 21)  # above 0, 0.05 ... 0.35
    assert scores.normalised_precision == pytest.approx(15 / 51)  # at 0.36, 0.37 ... 0.5
    assert scores.precision == 1.0
    assert track_scores(_shifted(truth, 20.5), truth).precision == 0.0


def test_a_larger_box_about_the_same_centre_is_no_distance_away():
    truth, boxes = _still(1, (10.0, 10.0, 21.0, 11.0)), _still(1, (5.0, 8.0, 31.0, 15.0))
    assert centre_distance(boxes, truth) == 0.0
    assert overlap(boxes, truth) == pytest.approx(21 * 11 / (31 * 15))


@pytest.mark.parametrize("missing", [NOWHERE, [5.0, 5.0, 0.0, 10.0], [5.0, 5.0, -3.0, -3.0], [np.inf, 0, 1, 1]])
def test_a_tracker_that_gives_up_half_way_is_credited_with_half(missing):
    truth = _still(20)
    boxes = truth.copy()
    boxes[10:] = missing
    scores = track_scores(boxes, truth)
    assert (scores.overlap, scores.precision, scores.normalised_precision) == (0.5, 0.5, 0.5)
    assert scores.success == pytest.approx(10 / 21)
    assert np.isinf(centre_distance(boxes, truth)[10:]).all()


def test_frames_without_truth_count_nowhere():
    truth = _still(20)
    boxes = _shifted(truth, 10.0)
    with_gaps = truth.copy()
    with_gaps[5:15] = np.nan
    boxes[5:10] = np.nan
    scores = track_scores(boxes, with_gaps)
    alone = track_scores(boxes[15:], truth[15:])
    assert scores.frames == 10 and scores.success == alone.success
    assert scores.overlap == pytest.approx(alone.overlap)
    assert np.isnan(overlap(boxes, with_gaps)[5:15]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nothing = track_scores(boxes[5:10], with_gaps[5:10])
    assert nothing.frames == 0 and np.isnan([nothing.success, nothing.precision, nothing.overlap]).all()


def test_curves_are_the_shares_of_frames_counted_one_by_one():
    rng = np.random.default_rng(1)
    values = np.append(rng.integers(0, 21, 200) / 20.0, np.nan)
    for thresholds in (np.arange(21) / 20.0, np.arange(101) / 100.0):
        wanted = [sum(v > t for v in values) / 200 for t in thresholds]
        assert success_curve(values, thresholds) == pytest.approx(wanted)
    pixels = np.append(rng.integers(0, 60, 200).astype(float), [np.nan])
    assert precision_curve(pixels) == pytest.approx([sum(p <= t for p in pixels) / 200 for t in range(51)])
    assert len(precision_curve(pixels, NORMALISED_THRESHOLDS)) == 51


@pytest.mark.parametrize(
    ("boxes", "truth", "reason"),
    [
        (np.zeros((3, 4)), np.ones((2, 4)), "of equal length, got"),
        (np.zeros((3, 5)), np.zeros((3, 5)), r"boxes \(N, 4\)"),
        (
            np.ones((2, 4)),
            np.array([[1.0, 1, 2, 2], [1, 1, 0, 2]]),
            "truth of frame 1: expected a box with an area",
        ),
    ],
)
def test_arrays_that_cannot_be_compared_are_refused(boxes, truth, reason):
    with pytest.raises(ImageError, match=reason):
        overlap(boxes, truth)


def test_anchors_are_spread_evenly_and_run_the_longer_way():
    found = anchors(np.ones(501, bool))
    assert [anchor.frame for anchor in found] == list(range(0, 501, 50))
    assert [anchor.is_forward for anchor in found] == [True] * 6 + [False] * 5
    assert list(found[0].frames(501)) == list(range(501))
    assert list(found[-2].frames(501)) == list(range(450, -1, -1))
    assert [anchor.frame for anchor in anchors(np.ones(61, bool))] == [0, 15, 30, 45, 60]


def test_an_anchor_without_truth_moves_to_the_nearest_frame_that_has_one():
    known = np.ones(61, bool)
    known[[0, 1, *range(12, 18)]] = False
    assert [anchor.frame for anchor in anchors(known)] == [2, 18, 30, 45, 60]
    with pytest.raises(ImageError, match="at least two frames with a true box, got 1 of 61"):
        anchors(np.arange(61) == 7)
    assert anchors(np.isin(np.arange(61), (3, 5))) == (Anchor(3, True), Anchor(5, True))[:1]


def test_ten_bad_frames_in_a_row_are_a_failure_and_nine_are_none():
    good, bad = [1.0] * 5, [0.1]  # the threshold itself is bad
    assert not vot_run(np.array([1.0, *good, *bad * 9, *good])).has_failed
    run = vot_run(np.array([1.0, *good, *bad * 10, *good]))
    assert run.has_failed and run.tracked == 5
    assert run.overlaps.tolist() == [1.0] * 5 + [0.0] * 15
    assert not vot_run(np.array([1.0, *good, *bad * 9])).has_failed  # the sequence ends first


def test_frames_without_truth_neither_make_nor_end_a_failure():
    bad = np.zeros(10)
    sparse = np.full(60, np.nan)
    sparse[6::6] = bad[: len(sparse[6::6])]
    assert not vot_run(np.append(1.0, sparse)).has_failed  # nine annotated frames
    between = np.insert(bad, 5, [np.nan] * 20)
    assert vot_run(np.concatenate([[1.0, 0.8], between])).tracked == 1


def test_accuracy_and_robustness_are_weighted_as_in_the_paper():
    long = [vot_run(np.array([1.0] + [0.5] * 20 + [0.0] * 20)), vot_run(np.array([1.0] + [0.75] * 40))]
    short = [vot_run(np.array([1.0] + [0.25] * 10))]
    scores = vot_scores([long, short], lengths=(10, 10))
    assert scores.accuracy == pytest.approx(float(Fraction(10 * 4 + 30 * 4 + 10, 4) / (20 + 40 + 10)))
    robustness = (Fraction(60, 80) * 40 + Fraction(1) * 10) / 50
    assert scores.robustness == pytest.approx(float(robustness))
    assert (scores.runs, scores.failures) == (3, 1)
    assert scores.eao == pytest.approx((0.5 + 0.75 + 0.25) / 3)


def test_the_expected_average_overlap_is_that_of_the_equation_written_plainly():
    rng = np.random.default_rng(2)
    runs = []
    for length in (12, 25, 40, 33, 18):
        overlaps = rng.uniform(0.2, 1.0, length + 1)
        if length in (25, 18):
            overlaps[8:] = 0.0
        runs.append(vot_run(overlaps))
    wanted = []
    for length in range(1, 41):
        averages = []
        for run in runs:
            if run.has_failed:
                averages.append(sum([*run.overlaps, *[0.0] * 40][:length]) / length)
            elif len(run.overlaps) >= length:
                averages.append(sum(run.overlaps[:length]) / length)
        wanted.append(sum(averages) / len(averages))
    assert eao_curve(runs, 40) == pytest.approx(wanted)
    assert typical_lengths(runs) == (18, 33)
    scores = vot_scores([runs[:2], runs[2:]])
    assert scores.lengths == (18, 33) and scores.eao == pytest.approx(np.mean(wanted[17:33]))


def test_a_perfect_tracker_has_1_in_everything_and_one_that_never_answers_0():
    truth = _still(80)
    perfect = [vot_run(overlap(truth, truth))] * 3
    scores = vot_scores([perfect])
    assert (scores.accuracy, scores.robustness, scores.eao, scores.failures) == (1.0, 1.0, 1.0, 0)
    nothing = np.full_like(truth, np.nan)
    scores = vot_scores([[vot_run(overlap(nothing, truth))]])
    assert np.isnan(scores.accuracy) and (scores.robustness, scores.eao, scores.failures) == (0.0, 0.0, 1)


def test_scores_of_nothing_and_lengths_that_make_no_interval_are_refused():
    run = vot_run(np.ones(5))
    with pytest.raises(ImageError, match="at least one run in each sequence"):
        vot_scores([[run], []])
    with pytest.raises(ImageError, match="ascending order from 1"):
        vot_scores([[run]], lengths=(4, 2))
    with pytest.raises(ImageError, match="beside the anchor's"):
        vot_run(np.array([1.0, np.nan]))

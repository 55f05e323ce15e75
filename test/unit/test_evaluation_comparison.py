"""Two evaluations frame by frame, and whether the intervals hold the truth as often as they say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from small_evaluation import CC, CE, COLUMNS, EN, SD, small_evaluation

from fusion_ros.errors import FusionError, SettingsError
from fusion_ros.evaluation.bootstrap import Stratum, block_length, mean_interval
from fusion_ros.evaluation.comparison import compare_evaluations
from fusion_ros.evaluation.results import AS_RECORDED, ConditionFacts, Evaluation
from fusion_ros.metrics import select_columns

AS_IS = (ConditionFacts(),)
CASES = 300


def _noise(seed: int):
    """Return figures that differ from scene to scene, and a little from evaluation to evaluation."""

    def figures(method, condition, key, frame):
        scene = np.random.default_rng(frame).normal()
        own = np.random.default_rng(1000 * seed + 10 * frame + [EN, SD, CE, CC].index(key)).normal()
        return 5.0 + scene + 0.05 * own

    return figures


def _shifted(evaluation: Evaluation, by: dict[str, float]) -> Evaluation:
    frames = tuple(
        replace(frame, values={key: value + by.get(key, 0.0) for key, value in frame.values.items()})
        for frame in evaluation.frames
    )
    return replace(evaluation, frames=frames)


def _rows(comparison, condition=AS_RECORDED):
    return {row.key: row for row in comparison.differences if row.condition == condition}


def _series(rng: np.random.Generator, count: int, correlation: float) -> np.ndarray:
    """Return ``x_t = r x_(t-1) + e_t`` with mean 0, started in its stationary state."""
    noise = rng.normal(size=count)
    noise[0] /= math.sqrt(1.0 - correlation**2)
    series = np.empty(count)
    state = 0.0
    for at, value in enumerate(noise):
        series[at] = state = correlation * state + value
    return series


def _coverage(count: int, correlation: float, is_sequence: bool, cases: int = CASES) -> float:
    """Return in what share of simulated cases the 95 % interval holds the true mean, which is 0."""
    rng = np.random.default_rng(2024)
    held = 0
    for case in range(cases):
        interval = mean_interval([Stratum(_series(rng, count, correlation), is_sequence)], seed=case)
        held += interval.low <= 0.0 <= interval.high
    return held / cases


def test_intervals_hold_the_truth_as_often_as_they_say_for_independent_frames():
    assert 0.90 <= _coverage(20, 0.0, is_sequence=False) <= 0.98


def test_blocks_hold_it_for_sequences_too():
    assert 0.90 <= _coverage(200, 0.8, is_sequence=True) <= 0.98
    assert 0.90 <= _coverage(60, 0.0, is_sequence=True) <= 0.98


def test_frames_drawn_one_by_one_would_not():
    assert _coverage(100, 0.8, is_sequence=False, cases=100) < 0.65


def test_strata_of_different_size_and_level_hold_it():
    rng, held = np.random.default_rng(5), 0
    for case in range(CASES):
        strata = [Stratum(rng.normal(3.0, 1.0, 5)), Stratum(rng.normal(-1.0, 3.0, 15))]  # mean over all frames: 0
        interval = mean_interval(strata, seed=case)
        held += interval.low <= 0.0 <= interval.high
    assert 0.90 <= held / CASES <= 0.98


def test_sources_of_two_frames_each_hold_it():
    """Two frames show half of the variance that they come from: without the rescaling it would be 83 %."""
    rng, held = np.random.default_rng(6), 0
    for case in range(CASES):
        interval = mean_interval([Stratum(rng.normal(size=2)) for _ in range(10)], seed=case)
        held += interval.low <= 0.0 <= interval.high
    assert 0.90 <= held / CASES <= 0.98


@pytest.mark.parametrize("count", [15, 40, 200])
def test_for_independent_normal_frames_the_interval_is_that_of_students_t(count):
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(count).normal(0.4, 1.0, count)
    interval = mean_interval([Stratum(values)])
    expected = stats.ttest_1samp(values, 0.0)
    low, high = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    assert (interval.low, interval.high) == (pytest.approx(low, abs=0.06 * (high - low)),
                                             pytest.approx(high, abs=0.06 * (high - low)))  # fmt: skip
    assert interval.p_value == pytest.approx(expected.pvalue, abs=0.03)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_the_interval_excludes_zero_exactly_where_the_p_value_says_so(confidence):
    rng = np.random.default_rng(8)
    for case in range(40):
        interval = mean_interval([Stratum(rng.normal(0.4, 1.0, 25))], confidence=confidence, seed=case)
        if abs(interval.p_value - (1.0 - confidence)) > 0.003:  # nearer, the quantiles of the resamples decide
            assert (interval.low > 0.0 or interval.high < 0.0) == (interval.p_value < 1.0 - confidence)


def test_blocks_grow_with_the_memory_of_a_series_and_never_fill_it():
    rng = np.random.default_rng(0)
    lengths = [block_length(_series(rng, 400, correlation)) for correlation in (0.0, 0.5, 0.9)]
    assert lengths[0] < lengths[1] < lengths[2]
    assert block_length(np.arange(100.0)) == 25  # a trend has more memory than frames
    assert block_length(np.zeros(27)) == 3


def test_one_frame_is_too_few_and_many_sources_of_one_frame_are_not():
    assert math.isnan(mean_interval([Stratum(np.ones(1))]).low)
    rng = np.random.default_rng(1)
    values = rng.normal(2.0, 1.0, 12)
    assert mean_interval([Stratum(values[at : at + 1]) for at in range(12)]) == mean_interval([Stratum(values)])


def test_a_real_difference_is_found_in_its_metrics_direction_and_no_other():
    first = small_evaluation(("a",), _noise(1), conditions=AS_IS, stills=30, sequence=0)
    second = _shifted(small_evaluation(("a",), _noise(2), conditions=AS_IS, stills=30, sequence=0),
                      {EN: 0.3, CE: 0.3})  # fmt: skip
    rows = _rows(compare_evaluations(first, second))
    assert {key: row.verdict for key, row in rows.items()} == {EN: "better", SD: "open", CE: "worse", CC: "open"}
    assert rows[EN].low < 0.3 < rows[EN].high and rows[EN].share_better == 1.0
    assert rows[CE].share_better == 0.0
    assert rows[EN].second - rows[EN].first == pytest.approx(rows[EN].mean)


def test_an_evaluation_differs_from_itself_in_nothing():
    evaluation = small_evaluation()
    comparison = compare_evaluations(evaluation, evaluation)
    assert {(row.mean, row.low, row.high, row.p_value, row.verdict) for row in comparison.differences} == {
        (0.0, 0.0, 0.0, 1.0, "open")
    }
    assert {row.share_better for row in comparison.differences} == {0.0}


def test_every_method_condition_and_the_residual_are_compared():
    evaluation = small_evaluation()
    comparison = compare_evaluations(evaluation, evaluation)
    assert {(row.methods[0], row.condition) for row in comparison.differences} == {
        (m.name, c.name) for m in evaluation.methods for c in evaluation.conditions
    }
    assert set(_rows(comparison)) == {column.key for column in COLUMNS}
    assert set(_rows(comparison, "shift 5 px")) == {"residual_px", *(column.key for column in COLUMNS)}


def test_less_residual_is_better():
    first = small_evaluation(("a",))
    frames = tuple(f if f.residual_px is None else replace(f, residual_px=f.residual_px / 2) for f in first.frames)
    row = _rows(compare_evaluations(first, replace(first, frames=frames)), "shift 5 px")["residual_px"]
    assert (row.first, row.second, row.verdict, row.share_better) == (1.25, 0.625, "better", 1.0)


def test_one_method_in_each_is_compared_whatever_their_names():
    first, second = small_evaluation(("a",), _noise(1)), small_evaluation(("b",), _noise(2))
    assert {row.methods for row in compare_evaluations(first, second).differences} == {("a", "b")}


def test_frames_in_only_one_are_counted_and_named_and_do_not_count():
    full = small_evaluation(("a",), conditions=AS_IS, stills=6, sequence=0)
    less = replace(full, frames=tuple(frame for frame in full.frames if frame.frame != "0003"))
    comparison = compare_evaluations(full, less)
    assert comparison.unmatched["a", "a"] == (("road / 0003 / as recorded",), ())
    assert {row.frames for row in comparison.differences} == {5}
    assert "1 frames only in the first evaluation: road / 0003 / as recorded" in comparison.to_text()
    assert "road / 0003 / as recorded" in compare_evaluations(less, full).to_markdown()


def test_undefined_values_are_left_out_in_pairs_and_counted():
    first = small_evaluation(("a",), _noise(1), conditions=AS_IS, stills=8, sequence=0)
    frames = tuple(replace(f, values={**f.values, CC: math.nan}) if f.frame < "0003" else f for f in first.frames)
    gap = replace(first, frames=frames)
    row = _rows(compare_evaluations(first, gap))[CC]
    assert (row.frames, row.undefined, row.mean) == (5, 3, 0.0)


def test_another_variant_is_another_metric_and_is_listed():
    first = small_evaluation(("a",), conditions=AS_IS)
    other = select_columns("EN,SD:root_sum_sq_01,CE,CC")
    frames = tuple(
        replace(f, values={("SD:root_sum_sq_01" if key == SD else key): value for key, value in f.values.items()})
        for f in first.frames
    )
    comparison = compare_evaluations(first, replace(first, columns=other, frames=frames))
    assert (comparison.only_first, comparison.only_second) == ((SD,), ("SD:root_sum_sq_01",))
    assert SD not in _rows(comparison)
    assert f"metrics only in the first evaluation, not compared: {SD}" in comparison.to_text()


def test_holms_correction_takes_back_what_several_tests_make_likely():
    stats = pytest.importorskip("scipy.stats")
    first = small_evaluation(("a",), _noise(1), conditions=AS_IS, stills=30, sequence=0)
    second = _shifted(small_evaluation(("a",), _noise(2), conditions=AS_IS, stills=30, sequence=0), {EN: 0.3})
    rows = list(_rows(compare_evaluations(first, second)).values())
    # By hand: sorted p-values against level / (m - rank).
    order = sorted(rows, key=lambda row: row.p_value)
    kept = []
    for rank, row in enumerate(order):
        if row.p_value > 0.05 / (len(rows) - rank):
            break
        kept.append(row.key)
    assert [row.key for row in order if row.is_confirmed] == kept == [EN]
    delta = [b.values[SD] - a.values[SD] for a, b in zip(first.frames, second.frames, strict=True)]
    p_value = next(row.p_value for row in rows if row.key == SD)
    assert p_value == pytest.approx(stats.ttest_1samp(delta, 0.0).pvalue, abs=0.03)


def test_what_holm_takes_back_has_a_question_mark():
    first = small_evaluation(("a",), _noise(1), conditions=AS_IS, stills=30, sequence=0)
    second = small_evaluation(("a",), _noise(2), conditions=AS_IS, stills=30, sequence=0)
    base = _rows(compare_evaluations(first, second))[EN]
    half = (base.high - base.low) / 2.0
    moved = _shifted(second, {EN: -base.mean + 1.06 * half})  # just outside: p a little below 0.05
    row = _rows(compare_evaluations(first, moved))[EN]
    assert row.excludes_zero and not row.is_confirmed and row.verdict == "better?"


def test_equal_seeds_give_equal_intervals_and_the_confidence_widens_them():
    first, second = small_evaluation(("a",), _noise(1)), small_evaluation(("a",), _noise(2))
    assert compare_evaluations(first, second) == compare_evaluations(first, second)
    wide = _rows(compare_evaluations(first, second, confidence=0.99))[EN]
    narrow = _rows(compare_evaluations(first, second, confidence=0.8))[EN]
    assert wide.low < narrow.low < narrow.high < wide.high


def test_text_and_markdown_hold_every_row():
    evaluation = small_evaluation(("a", "b"))
    comparison = compare_evaluations(evaluation, evaluation)
    for text in (comparison.to_text(), comparison.to_markdown()):
        for row in comparison.differences:
            assert f"{row.methods[0]}, {row.condition}" in text.replace("\\", "")
        assert text.count(f"{EN} ↑") == 2 * len(evaluation.conditions)
        assert "4 metrics tested: no difference shown" in text


@pytest.mark.parametrize(
    "other, words",
    [
        (small_evaluation(("c", "d")), "a, b and c, d"),
        (small_evaluation(("a", "b"), source="elsewhere", sequence=0), "no frame is in both"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(other, words):
    mine = small_evaluation(("a", "b"), sequence=0)
    with pytest.raises(FusionError, match=words):
        compare_evaluations(mine, other)


def test_evaluations_without_a_common_metric_are_refused():
    first = small_evaluation(("a",))
    second = replace(first, columns=select_columns("SD:root_sum_sq_01"))
    with pytest.raises(FusionError, match="SD:root_sum_sq_01"):
        compare_evaluations(first, second)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_a_confidence_outside_0_to_1_is_refused(confidence):
    evaluation = small_evaluation(("a",))
    with pytest.raises(SettingsError, match="between 0 and 1"):
        compare_evaluations(evaluation, evaluation, confidence=confidence)

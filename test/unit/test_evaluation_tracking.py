"""Comparing trackers: what they are shown, what counts, and what the tables say of answers that are known."""

from __future__ import annotations

import csv
import io
import json

import cv2
import numpy as np
import pytest
from moving_target import MovingTarget, PlainFeatures, plain_features

from fusion_ros.errors import FusionError, ImageError, SettingsError
from fusion_ros.evaluation.conditions import Condition
from fusion_ros.evaluation.results import AS_RECORDED
from fusion_ros.evaluation.tracking import (
    SequenceFacts,
    SequenceTracks,
    TrackerFacts,
    TrackingEvaluation,
    TrackingPlan,
    TrackRun,
    parse_trackers,
    true_boxes,
)
from fusion_ros.evaluation.tracking import run as running
from fusion_ros.evaluation.tracking.follow import follow
from fusion_ros.evaluation.tracking.pictures import draw_box, strip_of, typical_sequences
from fusion_ros.evaluation.tracking.plots import curve_chart, stress_chart
from fusion_ros.evaluation.tracking.run import run
from fusion_ros.evaluation.tracking.tables import markdown, tables
from fusion_ros.synthetic.misalign import Misalignment
from fusion_ros.tracking import Track, TrackStatus

TRACKERS = parse_trackers(["rgb", "thermal", "fused"])


class _Scripted:
    """Answers with prepared boxes, and notes what it was shown."""

    def __init__(self, answers: np.ndarray, rate_hz: float = 10.0) -> None:
        self._answers, self._rate_hz = answers, rate_hz
        self.seen: list[tuple[int, int]] = []
        self.started: tuple[tuple[float, ...], int] | None = None

    def start(self, grid, box, stamp_ns):
        self.started = box, stamp_ns
        return self._track(grid, box, stamp_ns)

    def update(self, grid, stamp_ns):
        box = self._answers[round(abs(stamp_ns) / 1e9 * self._rate_hz)]
        return self._track(grid, None if np.isnan(box).any() else tuple(box), stamp_ns)

    def _track(self, grid, box, stamp_ns):
        self.seen.append((stamp_ns, grid.channels))
        status = TrackStatus.TRACKING if box is not None else TrackStatus.LOST
        return Track(stamp_ns, 1, status, box, 0.75 if box is not None else 0.0)


def _followed(sequence: MovingTarget, answers: np.ndarray, **options) -> tuple[SequenceTracks, list[_Scripted]]:
    made: list[_Scripted] = []

    def make() -> _Scripted:
        made.append(_Scripted(answers))
        return made[-1]

    return follow(sequence, Condition(), TRACKERS, PlainFeatures(), make, **options), made


def _evaluation(found: dict[str, dict[str, np.ndarray]], sequences: list[MovingTarget]) -> TrackingEvaluation:
    """Return an evaluation of trackers by their answers: tracker, then sequence."""
    tracks = {
        (s.name, AS_RECORDED): SequenceTracks(
            tuple(
                TrackRun(name, answers[s.name], ("tracking",) * s.count, np.ones(s.count), (2.0, 4.0))
                for name, answers in found.items()
            )
        )
        for s in sequences
    }
    facts = tuple(SequenceFacts(s.name, s.attributes, true_boxes(s)) for s in sequences)
    trackers = tuple(TrackerFacts(name, "rgb") for name in found)
    return TrackingEvaluation({"command": "x"}, trackers, (Condition(),), facts, tracks)


def test_every_tracker_sees_every_frame_of_its_own_layer_and_features_are_computed_once():
    sequence, source = MovingTarget(), PlainFeatures()
    made = []

    def make():
        made.append(_Scripted(sequence.places))
        return made[-1]

    tracks = follow(sequence, Condition(), TRACKERS, source, make)
    assert len(source.calls) == sequence.count and source.resets == 1 and len(sequence.begun) == 1
    stamps = [round(index * 1e8) for index in range(sequence.count)]
    assert [tracker.seen for tracker in made] == [
        [(stamp, channels) for stamp in stamps] for channels in (1, 1, 2)
    ]
    assert [one.tracker for one in tracks.runs] == ["rgb", "thermal", "fused"]
    for one in tracks.runs:
        assert np.array_equal(one.boxes, sequence.places)
        assert (len(one.ms), len(tracks.feature_ms)) == (sequence.count - 1, sequence.count)
        assert one.confidence[1:].tolist() == [0.75] * (sequence.count - 1)


def test_a_tracker_begins_where_its_target_is_known_first():
    sequence = MovingTarget(unknown=(0, 1), hidden=(2,))
    tracks, made = _followed(sequence, sequence.places)
    assert made[0].started == (tuple(sequence.places[3]), round(3e8))
    boxes = tracks.runs[0].boxes
    assert np.isnan(boxes[:3]).all() and np.array_equal(boxes[3:], sequence.places[3:])
    assert tracks.runs[0].status[:4] == ("idle", "idle", "idle", "tracking")


def test_from_anchors_trackers_run_the_longer_way_and_time_goes_on_for_all():
    _, made = _followed(MovingTarget(count=25), MovingTarget(count=25).places, with_anchors=True)
    ways = {tuple(round(abs(stamp) / 1e8) for stamp, _ in tracker.seen) for tracker in made}
    assert ways == {tuple(range(25)), tuple(range(6, 25)), tuple(range(12, 25)), tuple(range(18, -1, -1)),
                    tuple(range(24, -1, -1))}  # fmt: skip
    for tracker in made:
        stamps = [stamp for stamp, _ in tracker.seen]
        assert sorted(set(stamps)) == stamps


def test_runs_back_get_the_features_of_the_way_forward():
    sequence, found = MovingTarget(count=25), {}

    class Recorder(_Scripted):
        def _track(self, grid, box, stamp_ns):
            found.setdefault((abs(stamp_ns), grid.channels), []).append(grid)
            return super()._track(grid, box, stamp_ns)

    source = PlainFeatures()
    tracks = follow(sequence, Condition(), TRACKERS, source, lambda: Recorder(sequence.places), with_anchors=True)
    assert len(source.calls) == 25
    fused = [grids for (_, channels), grids in found.items() if channels == 2]
    assert all(np.array_equal(grid.values, grids[0].values) for grids in fused for grid in grids)
    assert [len(overlaps) for overlaps in tracks.runs[0].anchored] == [25, 19, 13, 19, 25]
    assert all((overlaps == 1.0).all() for one in tracks.runs for overlaps in one.anchored)


def test_a_shift_of_the_thermal_image_moves_what_the_thermal_tracker_sees_and_nothing_else():
    sequence, seen = MovingTarget(count=3), {}

    class Recorder(_Scripted):
        def _track(self, grid, box, stamp_ns):
            seen.setdefault(condition.name, []).append(grid.values)
            return super()._track(grid, box, stamp_ns)

    for condition in (Condition(), Condition(Misalignment("shift", 8.0))):
        follow(sequence, condition, TRACKERS, PlainFeatures(), lambda: Recorder(sequence.places))
    plain, shifted = seen.values()
    changed = [not np.array_equal(a, b) for a, b in zip(plain, shifted, strict=True)]
    assert changed == [False, True, True] * 3


@pytest.mark.parametrize(
    ("sequence", "reason"),
    [
        (MovingTarget(unknown=tuple(range(24))), "a frame in which the target's box is known, got none"),
        (MovingTarget(breaks_off_at=20), "expected 24 frames, one for each box, got 20"),
    ],
)
def test_a_sequence_that_cannot_be_followed_says_why(sequence, reason):
    with pytest.raises(ImageError, match=reason):
        _followed(sequence, sequence.places)


def test_a_layer_that_the_model_lacks_is_named():
    class OneLayer(PlainFeatures):
        def __call__(self, pair):
            return {"visible": super().__call__(pair)["visible"]}

    with pytest.raises(ImageError, match=r"no feature map 'fused'; known names: visible"):
        follow(MovingTarget(), Condition(), TRACKERS[2:], OneLayer(), lambda: _Scripted(MovingTarget().places))


def test_trackers_are_described_by_a_text():
    found = parse_trackers(
        ["rgb", "sum=fused:fused_features:fusion=sum,width=8", "thermal:lrrnet", "a=fused::fusion=sum"]
    )
    assert [(t.name, t.modality, t.layer, t.model, t.network) for t in found] == [
        ("rgb", "rgb", "visible", "fused_features", ""),
        ("sum", "fused", "fused", "fused_features", "fusion=sum,width=8"),
        ("thermal:lrrnet", "thermal", "infrared", "lrrnet", ""),
        ("a", "fused", "fused", "fused_features", "fusion=sum"),
    ]
    both = parse_trackers(["rgb", "fused"], ("none", "structural"))
    assert [(t.name, t.alignment) for t in both] == [
        ("rgb", "none"), ("fused", "none"), ("fused + structural", "structural"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["fusd"], "no modality 'fusd'; did you mean 'fused'"),
        (["rgb", "rgb"], "'rgb' is named twice"),
        (["=rgb"], "expected a label"),
    ],
)
def test_a_text_that_describes_no_tracker_is_refused(texts, reason):
    with pytest.raises(SettingsError, match=reason):
        parse_trackers(texts)


def test_summaries_are_means_over_sequences_and_over_attributes():
    dark, bright = MovingTarget("dark", attributes=frozenset({"night"})), MovingTarget("bright", count=12)
    half = bright.places.copy()
    half[6:] = np.nan
    evaluation = _evaluation(
        {"knows": {s.name: s.places for s in (dark, bright)}, "halves": {"dark": dark.places, "bright": half}},
        [dark, bright],
    )
    assert evaluation.summary("knows", AS_RECORDED).success == pytest.approx(20 / 21)
    halves = evaluation.summary("halves", AS_RECORDED)
    assert (halves.sequences, halves.overlap, halves.precision) == (2, 0.75, 0.75)
    assert halves.success_low <= halves.success <= halves.success_high
    assert evaluation.summary("halves", AS_RECORDED, "night").overlap == 1.0
    assert evaluation.summary("halves", AS_RECORDED, "night").sequences == 1
    assert np.isnan(evaluation.summary("halves", AS_RECORDED, "smoke").success)
    thresholds, shares = evaluation.curve("halves", AS_RECORDED, "success")
    assert shares[thresholds < 1.0] == pytest.approx(0.75) and shares[-1] == 0.0


def test_tables_say_what_the_summaries_say_and_mark_the_best():
    sequences = [MovingTarget("a", attributes=frozenset({"night"})), MovingTarget("b")]
    shifted = {s.name: s.places + np.array([12.0, 0.0, 0.0, 0.0]) for s in sequences}  # half the width: 1/3
    evaluation = _evaluation({"good": {s.name: s.places for s in sequences}, "off": shifted}, sequences)
    overall, by_attribute, by_sequence = tables(evaluation)
    assert overall.rows[0][:5] == ["good", "95.2 [95.2, 95.2]", "100.0", "100.0", "100.0"]
    assert overall.rows[1][4] == "33.3" and overall.rows[1][-1] == "3.0"
    assert {(0, 1), (0, 4)} <= overall.best and (1, 1) not in overall.best
    assert by_attribute.head == ["tracker", "night (1)"] and by_attribute.rows[1] == ["off", "33.3"]
    assert by_sequence.rows[0] == ["a", "95.2", "33.3", "24", "night"]
    text = markdown(evaluation)
    assert "**95.2 \\[95.2, 95.2\\]**" in text and "## By attribute" in text


def test_the_files_hold_every_frame_and_are_the_same_each_time():
    sequence = MovingTarget(hidden=(5,))
    lost = sequence.places.copy()
    lost[10:] = np.nan
    evaluation = _evaluation({"one": {"patch": lost}}, [sequence])
    rows = list(csv.DictReader(io.StringIO(evaluation.tracks_csv())))
    assert len(rows) == sequence.count
    assert (rows[4]["x"], rows[4]["overlap"]) == ("28.0", "1.0")
    assert (rows[5]["true_x"], rows[5]["overlap"]) == ("", "") and rows[5]["x"] == "30.0"
    assert (rows[12]["x"], rows[12]["overlap"]) == ("", "0.0")
    (row,) = csv.DictReader(io.StringIO(evaluation.to_csv()))
    assert (row["frames"], float(row["overlap"])) == ("23", pytest.approx(9 / 23, abs=1e-6))
    content = json.loads(evaluation.to_json())
    assert content["summaries"]["one"][AS_RECORDED]["success_low"] is None
    again = _evaluation({"one": {"patch": lost}}, [sequence])
    assert (again.to_json(), again.to_csv()) == (evaluation.to_json(), evaluation.to_csv())


def _plan(*sequences: MovingTarget, **options) -> TrackingPlan:
    return TrackingPlan(sequences, **{"trackers": TRACKERS[:1], **options})


def test_finished_parts_are_kept_and_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    sequences = [MovingTarget(name, count=6) for name in ("a", "b")]
    plan = _plan(*sequences, with_anchors=True, conditions=(Condition(), Condition(Misalignment("shift", 4.0))))
    counted: list[int] = []
    options = {"facts": {}, "origin": "1", "open_source": plain_features}
    wanted = run(plan, tmp_path, on_frames=counted.append, **options)
    assert sum(counted) == plan.count == 2 * 2 * 6 and not wanted.problems
    files = sorted(tmp_path.glob("*.json"))
    assert len(files) == 4
    files[0].write_text(files[0].read_text()[:50])  # cut off: is done once more
    done = []
    do = running._do
    monkeypatch.setattr(running, "_do", lambda *args: done.append(args[0]) or do(*args))
    again = run(plan, tmp_path, **options)
    assert len(done) == 1
    assert (again.to_csv(), again.tracks_csv(), again.to_json()) == (
        wanted.to_csv(), wanted.tracks_csv(), wanted.to_json(),
    )  # fmt: skip
    run(plan, tmp_path, **{**options, "origin": "2"})
    assert len(done) == 5  # other versions, other results


def test_two_processes_find_what_one_does(tmp_path):
    plan = _plan(MovingTarget("a", count=8), MovingTarget("b", count=8, breaks_off_at=5))
    options = {"facts": {}, "open_source": plain_features}
    one, counted = run(plan, tmp_path / "one", **options), []
    two = run(plan, tmp_path / "two", workers=2, on_frames=counted.append, **options)
    assert (two.tracks_csv(), two.to_json()) == (one.tracks_csv(), one.to_json())
    assert sum(counted) == plan.count


def test_a_sequence_that_breaks_off_costs_that_sequence_alone(tmp_path):
    plan = _plan(MovingTarget("good", count=8), MovingTarget("bad", count=8, breaks_off_at=3))
    evaluation = run(plan, tmp_path, facts={}, open_source=plain_features)
    assert [s.name for s, _ in evaluation.runs("rgb", AS_RECORDED)] == ["good"]
    (problem,) = evaluation.problems
    assert problem.startswith("bad, fused_features: expected 8 frames")
    assert "bad" in markdown(evaluation)


def test_models_that_cannot_be_run_at_all_end_the_run(tmp_path):
    def refuse(settings):
        raise SettingsError(f"there is no {settings.features.model}")

    with pytest.raises(FusionError, match="there is no fused_features"):
        run(_plan(MovingTarget()), tmp_path, facts={}, open_source=refuse)


def test_charts_and_strips_show_what_there_is():
    sequences = [MovingTarget(name, count=8) for name in "abc"]
    found = {s.name: s.places for s in sequences}
    for name, shift in (("b", 4.0), ("c", 30.0)):
        found[name] = found[name] + np.array([shift, 0.0, 0.0, 0.0])
    evaluation = _evaluation({"one": found}, sequences)
    chart = cv2.imdecode(np.frombuffer(curve_chart(evaluation), np.uint8), cv2.IMREAD_COLOR)
    assert chart is not None and chart.std() > 5.0
    assert typical_sequences(evaluation) == {"a": "the easiest", "b": "a typical one", "c": "the hardest"}
    strip = strip_of(evaluation, sequences[2], "the hardest")
    assert strip.captions[0] == "frame 0" and strip.captions[-1] == "frame 7"
    visible, thermal = strip.images
    x, y, width, _ = map(int, found["c"][7])
    assert visible[-1].shape == thermal[-1].shape == (96, 128, 3)
    assert visible[-1][y, x + width // 2].tolist() == [0x00, 0x72, 0xB2]  # the first tracker's colour
    true = sequences[2].places[7].astype(int)
    assert visible[-1][true[1], true[0] + 2].tolist() == [255, 255, 255]


def test_the_chart_of_stress_has_a_panel_a_kind(tmp_path):
    conditions = (Condition(), *(Condition(Misalignment("shift", level)) for level in (3.0, 8.0)))
    evaluation = run(
        _plan(MovingTarget(count=6), conditions=conditions), tmp_path, facts={}, open_source=plain_features
    )
    chart = cv2.imdecode(np.frombuffer(stress_chart(evaluation), np.uint8), cv2.IMREAD_COLOR)
    assert chart is not None and chart.shape[1] > 600
    assert [table.title for table in tables(evaluation)] == ["One pass", "Under stress", "By sequence"]
    assert tables(evaluation)[1].head == ["tracker", AS_RECORDED, "shift 3 px", "shift 8 px"]


def test_a_box_is_drawn_around_its_own_pixels():
    image = np.zeros((50, 60, 3), np.uint8)
    draw_box(image, (10.0, 5.0, 20.0, 10.0), (255, 0, 0))
    rows, columns = np.nonzero(image[..., 0])
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (10, 29, 5, 14)
    drawn = image.sum()
    for unseen in ((np.nan,) * 4, (1e9, 1e9, 5.0, 5.0)):
        draw_box(image, unseen, (255, 0, 0))
    assert image.sum() == drawn

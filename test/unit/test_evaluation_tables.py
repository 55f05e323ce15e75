"""An evaluation as CSV and Markdown; places of methods and frames; back from its JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from small_evaluation import CC, CE, COLUMNS, EN, SD, constant, drawn, small_evaluation

from fusion_ros.evaluation.conditions import Condition
from fusion_ros.evaluation.ranking import basis, places, ranks, verdict, worst_and_best
from fusion_ros.evaluation.results import AS_RECORDED, ConditionFacts, Evaluation, by_severity
from fusion_ros.evaluation.tables import figure, frames_csv, markdown
from fusion_ros.synthetic.degrade import parse_degradations
from fusion_ros.synthetic.misalign import parse_misalignments

AS_IS = (ConditionFacts(),)


def _tables(text: str) -> dict[str, list[list[str]]]:
    """Return heading to rows of cells, head first, of a Markdown text."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|") and not line.startswith("| ---"):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            found.setdefault(heading, []).append([cell.strip() for cell in cells])
    return found


def _number(cell: str) -> float:
    return float(re.sub(r"[*]|</?u>|†\d+", "", cell))


def test_a_row_of_csv_holds_every_figure_of_its_frame_to_the_last_bit():
    evaluation = small_evaluation()
    rows = list(csv.DictReader(io.StringIO(frames_csv(evaluation))))
    assert len(rows) == len(evaluation.frames)
    for row, frame in zip(rows, evaluation.frames, strict=True):
        name = (row["source"], row["frame"], row["method"], row["condition"], int(row["stamp_ns"]))
        assert name == (frame.source, frame.frame, frame.method, frame.condition, frame.stamp_ns)
        assert {column.key: float(row[column.key]) for column in COLUMNS} == frame.values
        assert float(row["offset_ms"]) == frame.offset_ms
        assert row["residual_px"] == ("" if frame.residual_px is None else repr(frame.residual_px))


def test_equal_evaluations_give_equal_bytes():
    assert frames_csv(small_evaluation()) == frames_csv(small_evaluation())
    assert markdown(small_evaluation()) == markdown(small_evaluation())


def test_an_undefined_value_is_empty_in_csv_and_names_with_commas_and_newlines_come_back():
    odd = 'a,"b"\nc'
    evaluation = small_evaluation(("average",), constant({("average", EN): 7.0}), conditions=AS_IS, source=odd)
    rows = list(csv.DictReader(io.StringIO(frames_csv(evaluation))))
    assert rows[0]["source"] == odd
    assert (rows[0][EN], rows[0][CE]) == ("7.0", "")


@pytest.mark.parametrize("condition", ["As recorded", "shift 5 px"])
def test_bold_is_the_best_mean_and_underlined_the_second_in_each_metrics_direction(condition):
    evaluation = small_evaluation()
    head, *rows = _tables(markdown(evaluation))[condition]
    assert len(rows) == len(evaluation.methods)
    name = AS_RECORDED if condition == "As recorded" else condition
    for column in COLUMNS:
        at = head.index(f"{column.metric.name} {'↑' if column.metric.higher_is_better else '↓'}<br>"
                        f"`{column.variant.name}`")  # fmt: skip
        means = {
            method.name: np.mean(
                [f.values[column.key] for f in evaluation.frames if (f.method, f.condition) == (method.name, name)]
            )
            for method in evaluation.methods
        }
        order = sorted(
            means, key=means.__getitem__, reverse=column.metric.name != "CE"
        )  # CE alone: less is better
        marked = {row[0].strip("`"): row[at] for row in rows}
        assert [m for m, cell in marked.items() if cell.startswith("**")] == order[:1]
        assert [m for m, cell in marked.items() if cell.startswith("<u>")] == order[1:2]
        for method, cell in marked.items():
            assert _number(cell) == pytest.approx(means[method], abs=5e-5)


def test_undefined_frames_are_counted_and_left_out_of_the_mean():
    def figures(method, condition, key, frame):
        return math.nan if (method, key) == ("average", CC) and frame < 2 else 0.5

    evaluation = small_evaluation(figures=figures, conditions=AS_IS)
    head, *rows = _tables(markdown(evaluation))["As recorded"]
    cells = {row[0].strip("`"): row[head.index("CC ↑<br>`mean_pearson`")] for row in rows}
    assert cells["average"].endswith("†4")  # two in each source
    assert _number(cells["average"]) == 0.5
    assert "†" not in cells["reconet"]


def test_the_stress_table_of_the_residual_lists_misalignments_only():
    head, *rows = _tables(markdown(small_evaluation()))["residual, px ↓"]
    assert head == ["method", "shift 2 px", "shift 5 px"]
    assert [_number(cell) for cell in rows[0][1:]] == [0.5, 1.25]


def test_markdown_tells_pairing_problems_times_and_where_it_is_from():
    text = markdown(small_evaluation(source="ro|ad"))
    tables = _tables(text)
    pairing = {row[0]: row for row in tables["Pairing"][1:]}
    assert pairing["`drive`"][2:] == [
        "14 rgb, 13 thermal", "12", "rgb: 2 unmatched; thermal: 1 late",
        "bias 0.5, mean 1.5, p50 1.2, p95 4.0, max 6.5",
    ]  # fmt: skip
    assert r"`ro\|ad`" in pairing
    assert r"- ro\|ad.png: ends early" in text
    assert tables["Time, mean ms a frame"][1][1:] == ["1.00", "3.00", "4.00", "8.00"]
    assert "- commit: `0123abc`" in text and "ab" * 32 in text
    assert "Shannon entropy of the 256 grey levels" in text and "Roberts et al." in text


def test_names_cannot_break_out_of_markdown():
    text = markdown(replace(small_evaluation(source="<script>"), methods=small_evaluation(("a`b|c",)).methods))
    assert "<script>.png" not in text  # in a problem's sentence it is escaped
    assert r"\<script\>.png" in text
    assert all(len(row) == len(table[0]) for table in _tables(text).values() for row in table)


def test_equal_methods_share_best_and_the_mean_of_their_places():
    values = {("a", EN): 7.0, ("b", EN): 7.0, ("c", EN): 6.0, ("a", CE): 1.0, ("b", CE): 2.0, ("c", CE): 3.0}
    found = ranks(small_evaluation(("a", "b", "c"), constant(values), conditions=AS_IS))
    assert found.places[EN] == {"a": 1.5, "b": 1.5, "c": 3.0}
    assert (found.best[EN], found.second[EN]) == ({"a", "b"}, {"c"})
    assert (found.best[CE], found.second[CE]) == ({"a"}, {"b"})


def test_a_method_without_a_value_is_last_and_one_alone_is_no_winner():
    found = ranks(small_evaluation(("a", "b"), constant({("a", EN): 7.0, ("b", CE): 1.0}), conditions=AS_IS))
    assert found.places[EN] == {"a": 1.0, "b": 2.0}
    assert found.best[EN] == found.best[SD] == frozenset()


def _with_frames(frames: dict[str, set[int]], figures=lambda m, c, key, n: -n if key == CE else n, **options):
    """Return an evaluation of still images in which each method has the frames of these numbers only."""
    whole = small_evaluation(tuple(frames), figures, stills=4, sequence=0, **options)
    return replace(whole, frames=tuple(f for f in whole.frames if int(f.frame) in frames[f.method]))


def test_equal_methods_tie_where_one_has_only_the_easiest_of_the_frames():
    """Of three images b has one, and in that one it is equal to a, whose mean over all three is worse."""
    evaluation = _with_frames({"a": {0, 1, 2}, "b": {2}}, conditions=AS_IS)
    found = ranks(evaluation)
    assert found.mean == {"a": 1.5, "b": 1.5} and found.best[EN] == {"a", "b"} and not found.second[EN]
    text = verdict(evaluation)
    assert "`a` and `b` share the best mean in every metric." in text
    assert "`a` and `b` come first together (1.5)." in text
    told = (
        "Ranked over the 1 frame that all methods have; means are over each method's own frames, 1 to 3 of them."
    )
    assert told in text and markdown(evaluation).count(told) == 2  # above all, and below its table
    head, *rows = _tables(markdown(evaluation))["As recorded"]
    assert [_number(row[head.index("CC ↑<br>`mean_pearson`")]) for row in rows] == [1.0, 2.0]  # their own means
    assert [row[-1] for row in rows] == ["3", "1"]


def test_the_frames_in_common_are_of_the_same_source():
    """Both sources have a frame 0000; each method has one of the two."""
    whole = small_evaluation(("a", "b"), conditions=AS_IS, stills=1, sequence=1)
    own = {("a", "road"), ("b", "drive")}
    found = ranks(replace(whole, frames=tuple(f for f in whole.frames if (f.method, f.source) in own)))
    assert (found.common, found.ranked) == (0, [])


def test_the_common_frames_decide_where_the_means_say_the_opposite():
    """b is worse in every frame that both have, and has better ones beside them."""

    def figures(method, condition, key, frame):
        return (-1.0 if key == CE else 1.0) * (frame - 0.1 * (method == "b"))

    evaluation = _with_frames({"a": {0, 1}, "b": {0, 1, 2, 3}}, figures, conditions=AS_IS)
    assert evaluation.mean(EN, "b") > evaluation.mean(EN, "a")
    assert ranks(evaluation).mean == {"a": 1.0, "b": 2.0}
    assert "`a` has the best mean in every metric." in verdict(evaluation)


def test_methods_without_a_frame_in_common_get_no_ranks_and_it_is_said():
    evaluation = _with_frames({"a": {0, 1}, "b": {2, 3}})
    for condition in evaluation.conditions:
        found = ranks(evaluation, condition.name)
        assert not found.ranked and not any(found.best.values()) and not any(found.second.values())
    text = markdown(evaluation)
    assert "There is no frame that all methods have, so they are not ranked" in verdict(evaluation)
    assert "first by mean rank" not in text and "nan" not in text
    head, *rows = _tables(text)["As recorded"]
    assert [row[head.index("mean rank")] for row in rows] == ["-", "-"]


def test_a_method_without_any_frame_leaves_the_others_their_ranks():
    evaluation = _with_frames({"a": {1, 2}, "b": {1, 2}, "c": set()}, conditions=AS_IS)
    found = ranks(evaluation)
    assert found.ranked == ["a", "b"] and found.common == 2
    assert basis(found) == "`c` has no frames and no rank."


def test_nothing_is_said_of_frames_where_all_methods_have_the_same():
    evaluation = small_evaluation()
    assert not any(basis(ranks(evaluation, condition.name)) for condition in evaluation.conditions)
    assert "own frames" not in markdown(evaluation)


def test_tables_go_from_the_mildest_level_to_the_worst():
    """Fog at 40 m is worse than at 100 m, a shift of 5 px worse than one of 3."""
    stresses = (
        *parse_degradations("fog:40,fog:100,darkness:1,darkness:10"),
        *parse_misalignments("shift:5,shift:3"),
    )
    conditions = [Condition().facts, *(Condition(stress).facts for stress in stresses)]
    head, *_ = _tables(markdown(small_evaluation(conditions=conditions)))["EN ↑"]
    assert head[1:] == ["as recorded", "fog 100 m", "fog 40 m", "darkness 10 %", "darkness 1 %", "shift 3 px",
                        "shift 5 px"]  # fmt: skip


def test_which_way_is_worse_survives_json_and_older_files_can_be_read(tmp_path):
    fog = [Condition(stress).facts for stress in parse_degradations("fog")]
    content = json.loads(small_evaluation(conditions=[*AS_IS, *fog]).to_json())
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert Evaluation.read(path).conditions == (*AS_IS, *fog)
    assert [c.level for c in by_severity(Evaluation.read(path).conditions)] == [0.0, 100.0, 40.0]
    for condition in content["conditions"]:
        del condition["worse_is_lower"]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert [c.name for c in Evaluation.read(path).conditions] == ["as recorded", "fog 100 m", "fog 40 m"]


def test_places_agree_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(3).integers(0, 8, 40) / 8.0
    np.testing.assert_allclose(places(values, higher_is_better=False), stats.rankdata(values))
    np.testing.assert_allclose(places(values, higher_is_better=True), stats.rankdata(-values))


def test_worst_and_best_frames_are_those_that_the_figures_say():
    def figures(method, condition, key, frame):
        return -float(frame) if key == CE else float(frame)  # later frames are better in everything

    evaluation = small_evaluation(("a",), figures, conditions=AS_IS, stills=9, sequence=0)
    worst, best = worst_and_best(evaluation, "a")
    assert [frame.frame for frame in worst] == ["0000", "0001", "0002"]
    assert [frame.frame for frame in best] == ["0008", "0007", "0006"]


def test_neighbours_in_a_sequence_are_shown_once():
    evaluation = small_evaluation(("a",), lambda m, c, key, n: -n if key == CE else n, conditions=AS_IS, stills=0,
                                  sequence=40)  # fmt: skip
    worst, best = worst_and_best(evaluation, "a")
    assert [frame.frame for frame in worst] == ["0000", "0004", "0008"]
    assert [frame.frame for frame in best] == ["0039", "0035", "0031"]


def test_no_frame_is_both_worst_and_best_where_there_are_few():
    worst, best = worst_and_best(small_evaluation(("a",), conditions=AS_IS, stills=3, sequence=0), "a")
    assert len(worst) + len(best) == 3
    assert not {frame.frame for frame in worst} & {frame.frame for frame in best}


def test_a_frame_in_which_a_metric_is_undefined_counts_as_the_worst_in_it():
    def figures(method, condition, key, frame):
        return math.nan if frame == 2 else 0.5 + 0.01 * frame

    evaluation = small_evaluation(("a",), figures, conditions=AS_IS, stills=6, sequence=0)
    assert worst_and_best(evaluation, "a", 1)[0][0].frame == "0002"


def test_the_verdict_names_the_leader_with_its_metrics():
    values = {("a", key): 0.9 for key in (EN, SD, CC)} | {("b", key): 0.5 for key in (EN, SD, CE, CC)}
    text = verdict(small_evaluation(("a", "b"), constant(values | {("a", CE): 0.9}), conditions=AS_IS))
    assert "`a` has the best mean in 3 of 4 (EN, SD, CC) and `b` in 1 (CE)." in text
    assert "`a` comes first (1.2), before `b` (1.8)" in text


@pytest.mark.parametrize(
    "value, beside, text",
    [(6.84134, [6.84, 7.2], "6.841"), (0.072877, [0.07], "0.07288"), (512.34, [512.3], "512.3"),
     (9.0, [1234.5], "9"), (math.nan, [1.0], "-"), (0.0, [0.0], "0.000")],
)  # fmt: skip
def test_figures_have_four_digits(value, beside, text):
    assert figure(value, beside) == text


def test_what_json_brings_back_makes_the_same_tables(tmp_path):
    def figures(method, condition, key, frame):
        return math.nan if key == CC and frame == 1 else drawn(method, condition, key, frame)

    evaluation = replace(small_evaluation(figures=figures), stage_ms={})
    path = tmp_path / "results.json"
    path.write_text(evaluation.to_json(), encoding="utf-8")
    again = Evaluation.read(path)
    assert frames_csv(again) == frames_csv(evaluation)
    assert _tables(markdown(again))["As recorded"] == _tables(markdown(evaluation))["As recorded"]


def test_results_and_tables_need_neither_matplotlib_nor_jinja():
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('matplotlib', 'jinja2', 'markupsafe')))\n"  # None: not installed
        "import fusion_ros.evaluation.results, fusion_ros.evaluation.tables, fusion_ros.evaluation.comparison\n"
        "import fusion_ros.evaluation.report\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""Metrics of histograms, contrast and correlation; the table of all metrics, and the choice of columns from it."""

from __future__ import annotations

import csv
import math
import warnings

import cv2
import numpy as np
import pytest

from fusion_ros.errors import ImageError, SettingsError
from fusion_ros.metrics import (
    DEFAULT_COLUMNS,
    METRICS,
    PAPERS,
    Needs,
    Triple,
    correlation,
    entropy,
    evaluate,
    select_columns,
    standard_deviation,
)
from tools import metric_docs
from tools.straightforward import simple

SIMPLE = ("EN", "SD", "MI", "CE", "CC", "SCD", "SF", "AG")


def _oracle(shared):
    rows: dict[str, dict[tuple[str, str], float]] = {}
    with (shared / "reference" / "metrics_oracle.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["image"], {})[row["metric"], row["variant"]] = float(row["value"])
    return rows


def _triple(shared, image):
    number = image.split("/")[1]
    paths = [
        shared / "data" / "tno" / "ir" / f"{number}.png",
        shared / "data" / "tno" / "vis" / f"{number}.png",
        shared / "reference" / "didfuse_tno" / f"{number}.png",
    ]
    return [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]


@pytest.mark.parametrize("image", [f"tno/{number}" for number in ("05", "08", "11", "16", "34", "36")])
@pytest.mark.parametrize("metric", SIMPLE)
def test_every_variant_equals_the_reference_implementation(shared, image, metric):
    expected = _oracle(shared)[image]
    triple = Triple(*_triple(shared, image))
    for variant in METRICS[metric].variants:
        assert variant.function(triple) == pytest.approx(expected[metric, variant.name], rel=1e-6), variant.name


def test_no_reference_value_is_left_untested(shared):
    offered = {(name, variant.name) for name, metric in METRICS.items() for variant in metric.variants}
    stored = {(metric.replace("VIFm", "VIF"), variant) for metric, variant in _oracle(shared)["tno/05"]}
    assert stored <= offered


@pytest.mark.parametrize("shape", [(8, 9), (31, 45), (480, 640)])
def test_metrics_equal_a_plain_writing_of_their_definitions(shape):
    images = np.random.default_rng(1).integers(0, 256, (3, *shape), dtype=np.uint8)
    plain = (simple.en, simple.sd, simple.mi_bits, simple.ce, simple.cc, simple.scd, simple.sf, simple.ag)
    expected = [function(*images) for function in plain]
    values = evaluate(*images, select_columns(SIMPLE))
    assert list(values.values()) == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_entropy_counts_bits_of_grey_levels():
    assert entropy(np.full((4, 4), 7, np.uint8)) == 0.0
    assert entropy(np.arange(256, dtype=np.uint8).reshape(16, 16)) == pytest.approx(8.0)
    assert entropy(np.array([[0, 0, 0, 255]], np.uint8)) == pytest.approx(2 - 0.75 * math.log2(3))


def test_standard_deviation_divides_by_the_number_of_pixels():
    assert standard_deviation(np.array([[0, 255]], np.uint8)) == pytest.approx(127.5)


def test_correlation_is_invariant_to_gain_and_offset_and_signed():
    a = np.arange(100, dtype=np.uint8).reshape(10, 10)
    assert correlation(a, a, 2 * a + 50) == pytest.approx(1.0)
    assert correlation(a, 99 - a, a) == pytest.approx(0.0)
    assert correlation(a, a, 99 - a) == pytest.approx(-1.0)


@pytest.mark.parametrize("flat", [0, 1, 2])
def test_correlation_with_a_flat_image_is_said_to_be_undefined(flat):
    images = [np.arange(16, dtype=np.uint8).reshape(4, 4) for _ in range(3)]
    images[flat] = np.full((4, 4), 9, np.uint8)
    values = evaluate(*images)
    assert math.isnan(values["CC:mean_pearson"])
    assert set(values) == {column.key for column in DEFAULT_COLUMNS}


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (np.zeros((4, 4), np.float32), "fused: expected uint8, got float32"),
        (np.zeros((4, 4, 3), np.uint8), r"fused: expected grey \(H, W\), got shape \(4, 4, 3\)"),
        (np.zeros((0, 4), np.uint8), "got shape"),
        (np.zeros((4, 5), np.uint8), r"equal size.*fused \(4, 5\)"),
        ([[0, 1]], "got list"),
    ],
)
def test_anything_but_grey_uint8_of_equal_size_is_refused(wrong, text):
    source = np.zeros((4, 4), np.uint8)
    with pytest.raises(ImageError, match=text):
        evaluate(source, source, wrong)


def test_a_metric_of_video_asks_for_one():
    image = np.zeros((8, 8), np.uint8)
    with pytest.raises(SettingsError, match="Flicker:unexplained_change compares two consecutive frames"):
        evaluate(image, image, image, select_columns("EN,Flicker"))


def test_a_line_of_pixels_is_refused():
    line = np.zeros((1, 50), np.uint8)
    with pytest.raises(ImageError, match=r"at least 2 x 2 pixels, got shape \(1, 50\)"):
        evaluate(line, line, line)


def test_the_table_names_each_definition_once_and_values_lie_in_the_stated_range():
    infrared, visible = np.random.default_rng(0).integers(0, 256, (2, 96, 120), dtype=np.uint8)
    images = infrared, visible, np.maximum(infrared, visible)
    columns = [c for c in select_columns("all") if c.metric.needs is not Needs.VIDEO and not c.variant.requires]
    assert len({column.key for column in columns}) == len(columns)
    for column, value in zip(columns, evaluate(*images, columns).values(), strict=True):
        low, high = column.variant.range
        assert low <= value <= high, column.key


SCENES = {
    "identical": lambda a, b: (a, a, a),
    "flat fused": lambda a, b: (a, b, np.full_like(a, 77)),
    "flat source": lambda a, b: (np.zeros_like(a), b, a),
    "all flat": lambda a, b: (np.full_like(a, 3), np.full_like(a, 200), np.full_like(a, 90)),
    "black and white": lambda a, b: (np.where(a > 128, 255, 0).astype(np.uint8), b, np.zeros_like(a)),
}


@pytest.mark.parametrize("shape", [(2, 2), (7, 300), (96, 120)])
@pytest.mark.parametrize("scene", SCENES)
def test_no_image_makes_a_metric_fail_warn_or_vanish(scene, shape):
    rng = np.random.default_rng(5)
    images = SCENES[scene](*rng.integers(0, 256, (2, *shape), dtype=np.uint8))
    columns = [c for c in select_columns("all") if c.metric.needs is not Needs.VIDEO and not c.variant.requires]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = evaluate(*images, columns)
    assert list(values) == [column.key for column in columns]
    assert not any(math.isinf(value) for value in values.values())


def test_metrics_that_treat_both_sources_alike_do_not_care_for_their_order():
    a, b, fused = np.random.default_rng(2).integers(0, 256, (3, 96, 120), dtype=np.uint8)
    alike = [c for c in DEFAULT_COLUMNS if c.metric.name != "VIF"]  # ties between sources go to the second
    forward, backward = evaluate(a, b, fused, alike), evaluate(b, a, fused, alike)
    assert forward == pytest.approx(backward, rel=1e-9)


def test_an_image_that_equals_both_sources_is_the_best_there_is():
    image = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (96, 120), dtype=np.uint8), (0, 0), 1.5)
    values = evaluate(image, image, image)
    best = {
        "CC:mean_pearson": 1.0,
        "SSIM:sum_valid": 2.0,
        "CE:mean_kl_bits": 0.0,
        "Qcv:vifb": 0.0,
        "Qcb:vifb": 1.0,
    }
    assert {key: values[key] for key in best} == pytest.approx(best, abs=1e-9)
    assert values["MI:sum_bits"] == pytest.approx(2 * values["EN:bits_256"])


def test_a_choice_names_metrics_variants_papers_and_all():
    keys = [column.key for column in select_columns("SD, SD:root_sum_sq_01,paper=reconet,SD")]
    assert keys == ["SD:population_255", "SD:root_sum_sq_01", "EN:bits_256", "CC:mean_pearson"]
    assert select_columns("default") == DEFAULT_COLUMNS
    assert len(select_columns("all")) == sum(len(metric.variants) for metric in METRICS.values())
    for paper in PAPERS:
        assert len(select_columns(f"paper={paper}")) == len(PAPERS[paper])


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ("SIMM", "no metric 'SIMM'; did you mean 'SSIM'"),
        ("SD:population", "SD has no variant 'population'; did you mean 'population_255'"),
        ("paper=rfn_nst", "did you mean 'rfn_nest'"),
        ("", "no metric ''; known names"),
    ],
)
def test_a_wrong_choice_is_answered_with_the_nearest_name(choice, reason):
    with pytest.raises(SettingsError, match=reason):
        select_columns(choice)


def test_the_documented_table_is_that_of_the_metrics():
    page = metric_docs.PAGE.read_text(encoding="utf-8")
    assert metric_docs.render(page) == page
    assert "| Qcv | Chen-Varshney" in page

"""Fusion metrics against the stored reference values and exact small cases."""

from __future__ import annotations

import csv
import math

import cv2
import numpy as np
import pytest

from fusion_ros.errors import ImageError
from fusion_ros.metrics import METRICS, correlation, entropy, evaluate, standard_deviation


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
def test_every_metric_equals_the_reference_implementation(shared, image):
    expected = _oracle(shared)[image]
    triple = _triple(shared, image)
    for spec in METRICS:
        assert spec.function(*triple) == pytest.approx(expected[spec.name, spec.variant], rel=1e-6), spec.name


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
    assert math.isnan(values["CC"])
    assert set(values) == {spec.name for spec in METRICS}


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


def test_the_table_names_each_definition_once_and_values_lie_in_the_stated_range():
    assert len({(spec.name, spec.variant) for spec in METRICS}) == len(METRICS)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 32, 40), dtype=np.uint8)
    for spec in METRICS:
        low, high = spec.range
        assert low <= spec.function(*images) <= high

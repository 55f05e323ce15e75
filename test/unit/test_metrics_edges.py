"""Qabf and Nabf: the reference implementations, the plain writing, and what the definitions promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from metric_cases import ORACLE_IMAGES, cartoon, grey, mixture, noise, oracle, tno, value

from tools.straightforward import edges as plain

PLAIN = {
    "Qabf:xydeas_255": plain.qabf_xydeas,
    "Qabf:liu_pixel_mean": plain.qabf_liu,
    "Nabf:modified_01_exact_gradient": plain.nabf_exact,
    "Nabf:modified_01": plain.nabf_rounded,
    "Nabf:modified_255": plain.nabf_255,
}


@pytest.mark.parametrize("image", ORACLE_IMAGES)
def test_every_variant_equals_the_reference_implementation(shared, image):
    images, expected = tno(shared, image), oracle(shared, image)
    for key in PLAIN:
        assert value(key, images) == pytest.approx(expected[key], rel=1e-6), key


@pytest.mark.parametrize("scene", [noise, cartoon, mixture])
@pytest.mark.parametrize("shape", [(2, 2), (2, 9), (31, 45), (64, 130), (97, 211)])
def test_every_variant_equals_a_plain_writing_of_its_definition(scene, shape):
    images = scene(shape, seed=shape[1])
    for key, function in PLAIN.items():
        assert value(key, images) == pytest.approx(function(*images), rel=1e-9, abs=1e-12), key


def test_the_artefacts_that_the_rfn_nest_paper_prints_are_met_to_its_last_digit(shared):
    results = sorted((shared / "data" / "reference" / "rfn_nest_tno21").glob("*.png"))
    assert len(results) == 21
    sources = shared / "data" / "tno21"
    values = [
        value(
            "Nabf:modified_01", (grey(sources / "ir" / path.name), grey(sources / "vis" / path.name), grey(path))
        )
        for path in results
    ]
    assert round(float(np.mean(values)), 5) == 0.07288  # Li et al., RFN-Nest, 2021, table 1


@pytest.mark.parametrize("angle", range(0, 360, 15))
def test_edges_of_every_direction_are_kept_by_an_image_that_equals_its_sources(angle):
    y, x = np.mgrid[:40, :40]
    ramp = 128 + 5 * (np.cos(np.radians(angle)) * (x - 20) + np.sin(np.radians(angle)) * (y - 20))
    image = np.clip(np.rint(ramp), 1, 255).astype(np.uint8)
    best = 0.9994 / (1 + math.exp(-15 * 0.5)) * 0.9879 / (1 + math.exp(-22 * 0.2))
    # Equal strengths count as their own value, which is above 1 wherever there is an edge.
    assert best <= value("Qabf:xydeas_255", (image, image, image)) <= 0.9994 * 0.9879
    assert value("Nabf:modified_01_exact_gradient", (image, image, image)) == 0.0


def test_a_flat_result_keeps_no_edges_and_adds_none():
    infrared, visible, _ = noise((50, 60))
    flat = np.zeros_like(infrared)
    assert value("Qabf:xydeas_255", (infrared, visible, flat)) < 1e-3
    assert value("Nabf:modified_01_exact_gradient", (infrared, visible, flat)) == 0.0


def test_what_is_added_to_flat_sources_is_all_artefact():
    flat, _, fused = np.full((60, 50), 90, np.uint8), *noise((60, 50))[:2]
    assert value("Nabf:modified_01_exact_gradient", (flat, flat, fused)) > 0.98


def test_black_sources_have_no_edges_to_keep():
    black, _, fused = np.zeros((20, 30), np.uint8), *noise((20, 30))[:2]
    assert math.isnan(value("Qabf:xydeas_255", (black, black, fused)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("levels", [(0, 0, 0), (255, 255, 255), (0, 255, 7), (9, 9, 0)])
@pytest.mark.parametrize("shape", [(2, 2), (31, 45)])
def test_flat_images_give_a_number_or_nan_in_silence(shape, levels):
    images = tuple(np.full(shape, level, np.uint8) for level in levels)
    for key in PLAIN:
        result = value(key, images)
        assert math.isnan(result) or 0.0 <= result <= 1.0, key
    assert value("Nabf:modified_01", images) == value("Nabf:modified_255", images) == 0.0


@pytest.mark.parametrize("key", PLAIN)
def test_the_sources_are_treated_alike(key):
    infrared, visible, fused = mixture((48, 70))
    assert value(key, (infrared, visible, fused)) == pytest.approx(
        value(key, (visible, infrared, fused)), rel=1e-12
    )


def test_artefacts_of_exact_gradients_do_not_depend_on_which_way_the_image_is_turned():
    images = cartoon((40, 60), seed=4)
    turned = tuple(np.ascontiguousarray(image[::-1, ::-1]) for image in images)
    for key in ("Nabf:modified_01_exact_gradient", "Nabf:modified_255"):
        assert value(key, images) == pytest.approx(value(key, turned), rel=1e-12), key

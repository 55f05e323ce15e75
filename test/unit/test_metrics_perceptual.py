"""Qcb and Qcv: the reference implementations, the plain writing, and what the definitions promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from metric_cases import ORACLE_IMAGES, cartoon, mixture, noise, oracle, tno, value

from tools.straightforward import perceptual as plain

QCB, QCV = "Qcb:vifb", "Qcv:vifb"


@pytest.mark.parametrize("image", ORACLE_IMAGES)
def test_both_equal_the_reference_implementation(shared, image):
    images, expected = tno(shared, image), oracle(shared, image)
    assert value(QCB, images) == pytest.approx(expected[QCB], rel=1e-5)
    assert value(QCV, images) == pytest.approx(expected[QCV], rel=1e-6)


@pytest.mark.parametrize("scene", [noise, cartoon, mixture])
@pytest.mark.parametrize("shape", [(2, 3), (16, 32), (31, 45), (32, 45), (31, 46), (101, 130)])
def test_both_equal_a_plain_writing_of_their_definitions(scene, shape):
    images = scene(shape, seed=shape[1])
    assert value(QCB, images) == pytest.approx(plain.qcb(*images), rel=1e-7)
    assert value(QCV, images) == pytest.approx(plain.qcv(*images), rel=1e-9)


@pytest.mark.parametrize("shape", [(2, 2), (31, 45), (64, 80)])
def test_an_image_that_equals_both_sources_loses_no_contrast_and_differs_nowhere(shape):
    image = noise(shape)[2]
    assert value(QCB, (image, image, image)) == pytest.approx(1.0, abs=1e-12)
    assert value(QCV, (image, image, image)) == 0.0


def test_neither_sees_a_change_of_brightness_or_contrast_of_the_whole_image():
    infrared, visible, fused = (image // 2 for image in mixture((48, 64)))
    for image in (infrared, visible, fused):
        image[0, :2] = 0, 100  # stretched by 2.55 before, and by 1.275 after doubling
    doubled = tuple(image * 2 + 20 for image in (infrared, visible, fused))
    for key in (QCB, QCV):
        assert value(key, doubled) == pytest.approx(value(key, (infrared, visible, fused)), rel=1e-9)


def test_the_source_that_was_copied_differs_less_than_the_one_that_was_dropped():
    infrared, visible, _ = mixture((64, 96))
    faint = visible // 8 + 100  # weak edges, before the stretch
    faint[0, :2] = 0, 255
    assert value(QCV, (infrared, faint, infrared)) < value(QCV, (infrared, faint, faint))


@pytest.mark.parametrize("key", [QCB, QCV])
def test_the_sources_are_treated_alike(key):
    infrared, visible, fused = mixture((48, 70))
    assert value(key, (infrared, visible, fused)) == pytest.approx(
        value(key, (visible, infrared, fused)), rel=1e-12
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(2, 2), (31, 45), (32, 48)])
def test_flat_images_lose_no_contrast_and_have_no_weight(shape):
    flat = tuple(np.full(shape, level, np.uint8) for level in (0, 200, 77))
    assert value(QCB, flat) == pytest.approx(1.0)
    assert math.isnan(value(QCV, flat))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("which", [0, 1, 2])
def test_one_flat_image_is_compared_like_any_other(which):
    images = list(mixture((31, 45)))
    images[which] = np.full((31, 45), 120, np.uint8)
    assert value(QCB, images) == pytest.approx(plain.qcb(*images), rel=1e-7)
    assert value(QCV, images) == pytest.approx(plain.qcv(*images), rel=1e-9)

"""What a correction leaves of a known deformation, and the correction that leaves nothing, in exact cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fusion_ros.errors import AlignmentError, ImageError
from fusion_ros.geometry.warp import warp_by_flow
from fusion_ros.synthetic.misalign import MISALIGNMENTS, Misalignment, inverse_field, residual

SIZE = (120, 171)
GEOMETRIC = [Misalignment(kind, entry.levels[0]) for kind, entry in MISALIGNMENTS.items() if kind != "noise"]


def name_of(item):
    return item.kind


def grid(size=SIZE):
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    return x, y


def test_without_a_correction_the_residual_of_a_shift_is_its_length():
    field = np.zeros((20, 30, 2), np.float32)
    field[...] = 3, -4
    assert residual(field) == 5.0
    assert residual(field, np.zeros_like(field)) == 5.0
    assert residual(Misalignment("shift", 5).field((480, 640), seed=1)) == pytest.approx(5.0, abs=1e-6)


def test_the_exact_inverse_leaves_nothing_and_half_of_it_half():
    field = Misalignment("shift", 5).field((60, 80), seed=1)
    assert residual(field, -field) == 0.0
    assert residual(field, -0.5 * field) == pytest.approx(2.5, abs=1e-6)
    assert residual(field, field) == pytest.approx(10.0, abs=1e-6)  # the wrong sign doubles it


def test_the_analytic_inverse_of_a_rotation_leaves_nothing_even_at_the_border():
    x, y = grid()
    field = Misalignment("rotation", 3).field(SIZE, seed=1)
    angle = math.copysign(math.radians(3), field[0, -1, 1])
    back = ((x - 85) + 1j * (y - 59.5)) * (np.exp(-1j * angle) - 1)
    flow = np.stack([back.real, back.imag], axis=-1)
    assert residual(field, flow) < 1e-3
    assert residual(field, -flow) > 4
    np.testing.assert_allclose(inverse_field(field), flow, atol=2e-3)


@pytest.mark.parametrize("misalignment", GEOMETRIC, ids=name_of)
@pytest.mark.parametrize("size", [(480, 640), (97, 130)])
def test_the_inverse_found_by_iteration_leaves_nothing(misalignment, size):
    field = misalignment.field(size, seed=8)
    assert residual(field, inverse_field(field)) < 2e-3 < 0.5 < residual(field)


@pytest.mark.parametrize("kind", [item.kind for item in GEOMETRIC])
def test_the_strongest_level_of_every_kind_still_has_an_inverse(kind):
    level = min(MISALIGNMENTS[kind].bounds[1], 60)  # px: an eighth of 480
    for seed in range(3):
        field = Misalignment(kind, level).field((480, 640), seed)
        assert residual(field, inverse_field(field)) < 0.01


def test_the_inverse_brings_the_picture_back():
    x, y = grid((200, 260))
    original = (125 + 60 * np.sin(x / 9) * np.cos(y / 11)).astype(np.float32)
    deformed, field = Misalignment("elastic", 4).apply(original, seed=6)
    inner = (slice(20, -20), slice(20, -20))
    assert np.abs(deformed - original)[inner].mean() > 5
    corrected = warp_by_flow(deformed, inverse_field(field))
    assert np.abs(corrected - original)[inner].max() < 60 / 9 / 10  # a tenth of a pixel


def test_flows_that_cannot_be_judged_are_refused():
    field = Misalignment("shift", 3).field((40, 50), seed=1)
    with pytest.raises(ImageError, match=r"shape \(40, 50, 2\), got \(40, 51, 2\)"):
        residual(field, np.zeros((40, 51, 2)))
    with pytest.raises(ImageError, match=r"\(H, W, 2\), got \(2, 40, 50\)"):
        residual(field, np.zeros((2, 40, 50)))
    with pytest.raises(ImageError, match="NaN"):
        residual(field, np.full((40, 50, 2), np.nan))


def test_a_field_that_folds_has_no_inverse():
    x, _ = grid((40, 60))
    fold = np.stack([20 * np.sin(x / 5), 0 * x], axis=-1)  # runs back by up to 4 px a pixel
    with pytest.raises(AlignmentError, match="folds"):
        inverse_field(fold)

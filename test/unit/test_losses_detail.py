"""Our own terms: what they prefer, and their formulas in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from losses_in_numpy import gradients_agree, images
from losses_in_numpy import sobel as plain_sobel

from training.losses.detail import contrast_loss, correlation_loss, gradient_loss, intensity_loss

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_gradient_term_equals_its_formula():
    fused, infrared, visible = images(3, 8, 9)
    distances = []
    for u, x, y in zip(fused[:, 0].numpy(), infrared[:, 0].numpy(), visible[:, 0].numpy(), strict=True):
        of_x, of_y = plain_sobel(x), plain_sobel(y)
        distances.append(np.abs(plain_sobel(u) - np.where(np.abs(of_x) > np.abs(of_y), of_x, of_y)))
    assert float(gradient_loss(fused, infrared, visible)) == pytest.approx(np.mean(distances))


def test_edges_of_either_source_are_to_be_kept_and_inverted_ones_cost_most():
    step_x = torch.zeros(1, 1, 12, 12)
    step_x[..., 6:] = 0.8
    step_y = torch.zeros(1, 1, 12, 12)
    step_y[:, :, 6:] = 0.4
    flat = torch.full((1, 1, 12, 12), 0.5)
    # Far from where the edges cross, the sum of both images has the edge of each.
    assert float(gradient_loss(step_x, step_x, flat)) == 0
    assert float(gradient_loss(step_x, flat, step_x)) == 0
    assert float(gradient_loss(step_x + step_y, step_x, step_y)) == pytest.approx(0, abs=1e-7)
    lost, inverted = gradient_loss(flat, step_x, flat), gradient_loss(1 - step_x, step_x, flat)
    assert float(inverted) == pytest.approx(2 * float(lost))


def test_the_intensity_term_is_the_distance_to_the_brighter_source():
    dark, bright, fused = (torch.full((1, 1, 4, 4), value) for value in (0.2, 0.8, 0.5))
    assert float(intensity_loss(bright, dark, bright)) == 0
    assert float(intensity_loss(fused, dark, bright)) == pytest.approx(0.3)
    assert float(intensity_loss(fused, bright, dark)) == pytest.approx(0.3)


def test_contrast_asks_for_the_larger_deviation_of_the_sources():
    ramp = torch.linspace(0, 1, 256).reshape(1, 1, 16, 16)
    assert float(contrast_loss(ramp, ramp, 0.5 * ramp)) == pytest.approx(0, abs=1e-6)
    deviation = float(ramp.std(unbiased=False))
    assert float(contrast_loss(0.5 * ramp, ramp, 0.5 * ramp)) == pytest.approx(deviation / 2, rel=1e-5)


def test_correlation_equals_numpys():
    u, x, y = images(3, 13, 14)
    pairs = [(a[i].ravel(), b[i].ravel()) for i in range(2) for a, b in ((u, x), (u, y))]
    expected = 1 - np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs])
    assert float(correlation_loss(u, x, y)) == pytest.approx(expected)


@pytest.mark.parametrize("loss", [gradient_loss, intensity_loss, contrast_loss, correlation_loss])
def test_gradients_are_those_of_the_formula(loss):
    fused, infrared, visible = images(3, 6, 7)
    assert gradients_agree(lambda u: loss(u, infrared, visible), fused)


@pytest.mark.parametrize("loss", [gradient_loss, intensity_loss, contrast_loss, correlation_loss])
def test_flat_crops_have_finite_gradients(loss):
    fused = torch.full((1, 1, 8, 8), 0.5, requires_grad=True)
    flat = torch.full((1, 1, 8, 8), 0.25)
    loss(fused, flat, flat).backward()
    assert torch.isfinite(fused.grad).all()

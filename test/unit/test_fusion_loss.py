"""ReCoNet's fusion loss against the paper's equations, an independent SSIM, and numerical gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from losses_in_numpy import gradients_agree, images, similarity
from losses_in_numpy import ssim as plain_ssim

from training.losses.reconet_fusion import fusion_loss, pixel_loss, structure_loss

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def sources() -> tuple[torch.Tensor, ...]:
    """Fused, infrared and visible, ``(2, 1, 13, 14)`` float64."""
    return tuple(images(3, 13, 14))


def test_the_defaults_are_the_papers_equations(sources):
    u, x, y = sources
    structure = 2 - plain_ssim(u, x) - plain_ssim(u, y)  # equation 4
    pixel = (u - x).abs().mean() + (u - y).abs().mean()  # equation 5, means
    loss = fusion_loss(u, x, y)
    assert float(loss.structure) == pytest.approx(structure, abs=1e-9)
    assert float(loss.pixel) == pytest.approx(float(pixel))
    assert float(loss.total) == pytest.approx(0.28 * structure + 0.72 * float(pixel))  # equation 3


def test_the_codes_structure_term_is_half_as_steep_and_sees_the_border_reflected(sources):
    u, x, y = sources
    expected = 0.0
    for source in (x, y):
        pairs = zip(u[:, 0].numpy(), source[:, 0].numpy(), strict=True)
        maps = [np.prod(similarity(a, b, border="reflect"), axis=0) for a, b in pairs]
        expected += np.mean(np.clip((1 - np.stack(maps)) / 2, 0, 1))
    loss = fusion_loss(u, x, y, variant="code", gamma=0.6)
    assert float(loss.structure) == pytest.approx(expected, abs=1e-9)
    assert float(loss.total) == pytest.approx(0.6 * expected + 0.4 * float(loss.pixel))


def test_the_total_is_the_weighted_sum_of_its_parts(sources):
    loss = fusion_loss(*sources, gamma=0.4, brightness=1.3)
    expected = 0.4 * loss.structure + 0.6 * pixel_loss(*sources, brightness=1.3)
    assert float(loss.total) == pytest.approx(float(expected))


def test_brightness_makes_the_brighter_source_cheaper():
    dark, bright = torch.full((1, 1, 4, 4), 0.2), torch.full((1, 1, 4, 4), 0.8)
    assert float(pixel_loss(bright, dark, bright)) == pytest.approx(float(pixel_loss(dark, dark, bright)))
    assert float(pixel_loss(bright, dark, bright, brightness=1.5)) == pytest.approx(0.5 * 0.6)
    assert float(pixel_loss(dark, bright, dark, brightness=1.5)) == pytest.approx(1.5 * 0.6)


@pytest.mark.parametrize(
    "loss",
    [
        structure_loss,
        pixel_loss,
        lambda *i: structure_loss(*i, variant="code"),
        lambda *i: fusion_loss(*i, brightness=1.5).total,
    ],
    ids=["structure", "pixel", "structure of the code", "total"],
)
def test_gradients_are_those_of_the_formula(sources, loss):
    fused, infrared, visible = (image[:, :, :12, :12] for image in sources)
    assert gradients_agree(lambda u: loss(u, infrared, visible), fused)


def test_flat_crops_have_finite_gradients():
    fused = torch.full((1, 1, 16, 16), 0.5, requires_grad=True)
    flat = torch.full((1, 1, 16, 16), 0.25)
    fusion_loss(fused, flat, flat).total.backward()
    assert torch.isfinite(fused.grad).all()

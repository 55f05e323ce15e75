"""ReCoNet's fusion loss against the paper's equations, an independent SSIM, and numerical gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from training.losses.reconet import contrast_loss, correlation_loss, fusion_loss, pixel_loss, structure_loss
from training.losses.ssim import ssim


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fused, infrared and visible, ``(2, 1, 13, 14)`` float64."""
    rng = np.random.default_rng(3)
    fused, infrared, visible = torch.from_numpy(rng.random((3, 2, 1, 13, 14)))
    return fused, infrared, visible


def _reference_ssim(a: torch.Tensor, b: torch.Tensor) -> float:
    """scikit-image's index with the original paper's window, on windows that lie inside the image."""
    values = []
    for x, y in zip(a[:, 0].numpy(), b[:, 0].numpy(), strict=True):
        _, full = structural_similarity(
            x, y, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )
        values.append(full[5:-5, 5:-5].mean())
    return float(np.mean(values))


def test_ssim_equals_scikit_image(images):
    fused, infrared, _ = images
    smooth = (fused + 3 * infrared) / 4  # a pair that is similar, beside one that is not
    assert float(ssim(fused, infrared)) == pytest.approx(_reference_ssim(fused, infrared), abs=1e-9)
    assert float(ssim(smooth, infrared)) == pytest.approx(_reference_ssim(smooth, infrared), abs=1e-9)
    assert float(ssim(fused, fused)) == pytest.approx(1.0)


def test_the_defaults_are_the_papers_equations(images):
    u, x, y = images
    structure = 2 - _reference_ssim(u, x) - _reference_ssim(u, y)  # equation 4
    pixel = (u - x).abs().mean() + (u - y).abs().mean()  # equation 5, means
    loss = fusion_loss(u, x, y)
    assert float(loss.structure) == pytest.approx(structure, abs=1e-9)
    assert float(loss.pixel) == pytest.approx(float(pixel))
    assert float(loss.total) == pytest.approx(0.28 * structure + 0.72 * float(pixel))  # equation 3


def test_the_total_is_the_weighted_sum_of_its_parts(images):
    loss = fusion_loss(*images, gamma=0.5, brightness=1.3, contrast_weight=2.0, correlation_weight=3.0)
    expected = 0.5 * loss.structure + 0.5 * loss.pixel + 2 * loss.contrast + 3 * loss.correlation
    assert float(loss.total) == pytest.approx(float(expected))


def test_brightness_makes_the_brighter_source_cheaper():
    dark, bright = torch.full((1, 1, 4, 4), 0.2), torch.full((1, 1, 4, 4), 0.8)
    assert float(pixel_loss(bright, dark, bright)) == pytest.approx(float(pixel_loss(dark, dark, bright)))
    assert float(pixel_loss(bright, dark, bright, brightness=1.5)) == pytest.approx(0.5 * 0.6)
    assert float(pixel_loss(dark, bright, dark, brightness=1.5)) == pytest.approx(1.5 * 0.6)


def test_contrast_asks_for_the_larger_deviation_of_the_sources():
    ramp = torch.linspace(0, 1, 256).reshape(1, 1, 16, 16)
    assert float(contrast_loss(ramp, ramp, 0.5 * ramp)) == pytest.approx(0, abs=1e-6)
    deviation = float(ramp.std(unbiased=False))
    assert float(contrast_loss(0.5 * ramp, ramp, 0.5 * ramp)) == pytest.approx(deviation / 2, rel=1e-5)


def test_correlation_equals_numpys(images):
    u, x, y = images
    pairs = [(a[i].ravel(), b[i].ravel()) for i in range(2) for a, b in ((u, x), (u, y))]
    expected = 1 - np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs])
    assert float(correlation_loss(u, x, y)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "loss",
    [
        structure_loss,
        pixel_loss,
        contrast_loss,
        correlation_loss,
        lambda *i: fusion_loss(*i, contrast_weight=1.0).total,
    ],
)
def test_gradients_are_those_of_the_formula(images, loss):
    fused, infrared, visible = (image[:, :, :12, :12] for image in images)
    fused = fused.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda u: loss(u, infrared, visible), (fused,))


def test_flat_crops_have_finite_gradients():
    fused = torch.full((1, 1, 16, 16), 0.5, requires_grad=True)
    flat = torch.full((1, 1, 16, 16), 0.25)
    fusion_loss(fused, flat, flat, contrast_weight=1.0, correlation_weight=1.0).total.backward()
    assert torch.isfinite(fused.grad).all()

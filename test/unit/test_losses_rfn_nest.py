"""RFN-Nest's losses in both forms, written plainly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from losses_in_numpy import gradients_agree, images
from losses_in_numpy import ssim as plain_ssim

from fusion_ros.errors import ImageError
from training.losses.ms_ssim import ms_ssim, rfn_nest_ms_ssim
from training.losses.rfn_nest import auto_encoder_loss, rfn_loss

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Output and image, ``(2, 1, 16, 16)`` float64 in [0, 255]."""
    return tuple(255 * images(2, 16, 16))


@pytest.fixture
def maps():
    """Features of four scales: fused, of the infrared and of the visible image."""
    rng = np.random.default_rng(1)
    shapes = [(2, 2, 16, 16), (2, 3, 8, 8), (2, 4, 4, 4), (2, 5, 2, 2)]
    return tuple([torch.from_numpy(rng.random(shape)) for shape in shapes] for _ in range(3))


def _feature_term(maps, reduce):
    differences = [f - (6 * x + 3 * y) for f, x, y in zip(*maps, strict=True)]
    return sum(w * reduce((d**2).numpy()) for w, d in zip((1, 10, 100, 1000), differences, strict=True))


def test_the_codes_auto_encoder_loss_has_a_mean_square_and_its_own_similarity():
    output, image = 255 * images(2, 176, 176)
    expected = ((output - image) ** 2).mean() + 100 * (1 - rfn_nest_ms_ssim(output, image))
    assert float(auto_encoder_loss(output, image).total) == pytest.approx(float(expected))


def test_the_papers_auto_encoder_loss_has_a_frobenius_norm_and_plain_similarity(pair):
    output, image = pair
    expected = ((output - image) ** 2).sum().item() / 2 + 100 * (1 - plain_ssim(output, image, span=255))
    loss = auto_encoder_loss(output, image, variant="paper")
    assert float(loss.total) == pytest.approx(expected, rel=1e-9)


def test_a_perfect_reconstruction_costs_nothing(pair):
    for variant in ("code", "paper"):
        loss = auto_encoder_loss(pair[1], pair[1], variant=variant, similarity="ssim")
        assert float(loss.total) == pytest.approx(0, abs=1e-9)


def test_the_codes_fusion_loss_stretches_the_batch_as_a_whole(pair, maps):
    output, visible = pair
    output = 0.1 * output + torch.tensor([[[[3.0]]], [[[90.0]]]])  # the images' own ranges differ
    image = 255 * (output - output.min()) / (output.max() - output.min() + 1e-5)
    expected = 700 * (1 - plain_ssim(image, visible, span=255)) + _feature_term(maps, np.mean)
    loss = rfn_loss(output, visible, *maps, similarity="ssim")
    assert float(loss.total) == pytest.approx(expected, rel=1e-9)


def test_the_papers_fusion_loss_takes_the_output_as_it_is(pair, maps):
    expected = 700 * (1 - plain_ssim(*pair, span=255)) + _feature_term(maps, lambda squares: squares.sum() / 2)
    assert float(rfn_loss(*pair, *maps, variant="paper").total) == pytest.approx(expected, rel=1e-9)


def test_features_that_are_the_weighted_sum_of_both_images_cost_nothing(pair, maps):
    _, infrared, visible = maps
    fused = [2 * x + 5 * y for x, y in zip(infrared, visible, strict=True)]
    loss = rfn_loss(*pair, fused, infrared, visible, infrared_share=2, visible_share=5, similarity="ssim")
    assert float(loss.feature) == 0
    assert float(loss.total) == pytest.approx(700 * float(loss.detail))


def test_the_similarity_may_be_chosen_apart_from_the_form():
    output, image = 255 * images(2, 176, 177)
    loss = auto_encoder_loss(output, image, similarity="ms_ssim")
    assert float(loss.structure) == pytest.approx(1 - float(ms_ssim(output, image, data_range=255)))


def test_crops_too_small_for_the_codes_similarity_are_refused(pair):
    with pytest.raises(ImageError, match=r"at least 176 x 176 pixels, got 16 x 16; take larger crops, or plain"):
        auto_encoder_loss(*pair)


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_gradients_are_those_of_the_formula(pair, maps, variant):
    output, visible = pair
    fused, *others = maps

    def loss(image, *features):
        rebuilt = auto_encoder_loss(image, visible, variant=variant, similarity="ssim").total
        return rfn_loss(image, visible, features, *others, variant=variant, similarity="ssim").total + rebuilt

    assert gradients_agree(lambda *inputs: loss(*inputs) / 1e4, output, *fused)

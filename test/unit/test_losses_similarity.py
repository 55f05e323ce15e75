"""Structural similarity, at one scale and at five: scikit-image, plain NumPy, and RFN-Nest's own values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from losses_in_numpy import gradients_agree, halved, images, similarity
from losses_in_numpy import ssim as plain_ssim
from scipy import ndimage
from skimage.metrics import structural_similarity

from fusion_ros.errors import ImageError
from training.losses.ms_ssim import WEIGHTS, guessed_data_range, ms_ssim, rfn_nest_ms_ssim
from training.losses.ssim import ssim, ssim_map

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Two images and a noisy copy of each, ``(2, 1, 180, 177)`` float64 in [0, 1]: structure at every scale."""
    rng = np.random.default_rng(5)
    a = np.stack([ndimage.gaussian_filter(rng.random((180, 177)), s) for s in (1, 6)])
    a = (a - a.min((1, 2), keepdims=True)) / np.ptp(a, (1, 2))[:, None, None]
    b = np.clip(0.8 * a + 0.1 * rng.random(a.shape), 0, 1)
    return torch.from_numpy(a[:, None]), torch.from_numpy(b[:, None])


def test_ssim_equals_scikit_image():
    a, b = images(2, 13, 14)
    for other in (b, (b + 3 * a) / 4, a):
        values = []
        for x, y in zip(a[:, 0].numpy(), other[:, 0].numpy(), strict=True):
            options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True}
            values.append(structural_similarity(x, y, data_range=1.0, **options)[1][5:-5, 5:-5])
        assert float(ssim(a, other)) == pytest.approx(np.mean(values), abs=1e-9)


def test_reflected_borders_give_one_window_a_pixel():
    a, b = images(2, 9, 12)
    expected = [
        np.prod(similarity(x, y, border="reflect"), axis=0)
        for x, y in zip(a[:, 0].numpy(), b[:, 0].numpy(), strict=True)
    ]
    np.testing.assert_allclose(ssim_map(a, b, border="reflect")[:, 0].numpy(), expected, atol=1e-12)


def test_only_the_ratio_of_values_to_their_range_counts():
    a, b = images(2, 12, 13)
    assert float(ssim(255 * a, 255 * b, data_range=255)) == pytest.approx(float(ssim(a, b)))


def test_multi_scale_similarity_equals_its_formula(pair):
    a, b = pair
    indices = []
    for x, y in zip(a[:, 0].numpy(), b[:, 0].numpy(), strict=True):
        index = 1.0
        for level, weight in enumerate(WEIGHTS):
            luminance, structure = similarity(x, y)
            index *= ((luminance if level == 4 else 1) * structure).mean() ** weight
            x, y = halved(x), halved(y)
        indices.append(index)
    assert float(ms_ssim(a, b)) == pytest.approx(np.mean(indices), rel=1e-9)
    assert float(ms_ssim(a, a)) == pytest.approx(1)


def test_images_that_are_opposed_at_one_scale_alone_still_have_gradients(pair):
    coarse = pair[0][1:]
    fine = 0.4 * (torch.rand(coarse.shape, generator=torch.Generator().manual_seed(0)) - 0.5).double()
    assert np.mean(similarity(*((coarse + sign * fine)[0, 0].numpy() for sign in (1, -1)))[1]) < 0
    a = (coarse + fine).requires_grad_()
    index = ms_ssim(a, coarse - fine)
    index.backward()
    assert 0 < index.item() < 0.1
    assert torch.isfinite(a.grad).all()
    assert a.grad.abs().max() > 0


def test_negatives_of_each_other_have_an_index_near_zero(pair):
    assert 0 <= float(ms_ssim(pair[0], 1 - pair[0])) < 1e-3


def test_rfn_nests_form_gives_the_values_of_its_code(shared):
    stored = np.load(shared / "reference" / "rfn_nest" / "msssim_tno_16.npz")
    a, b = (torch.from_numpy(stored[name]).double() for name in "ab")
    ours = {
        "ssim_255": ssim(a, b, data_range=255),
        "ssim_01": ssim(a / 255, b / 255),
        "msssim_255": rfn_nest_ms_ssim(a, b, normalised=False),
        "msssim_255_norm": rfn_nest_ms_ssim(a, b),
        "msssim_01_norm": rfn_nest_ms_ssim(a / 255, b / 255),
    }
    # The stored values are single precision, whose rounding shows: 255 and 1 as the range differ by 7e-6.
    for name, value in ours.items():
        assert float(value) == pytest.approx(float(stored[name]), abs=2e-5), name


def test_rfn_nests_form_equals_its_formula(pair):
    a, b = pair
    x, y = (list(255 * images[:, 0].numpy()) for images in pair)
    index = 1.0
    for level, weight in enumerate(WEIGHTS):
        terms = [similarity(*both, span=255) for both in zip(x, y, strict=True)]
        if level < 4:
            index *= ((np.mean([structure for _, structure in terms]) + 1) / 2) ** weight
        else:
            index *= ((np.mean([np.prod(term, axis=0) for term in terms]) + 1) / 2) ** (4 * weight)
        x, y = list(map(halved, x)), list(map(halved, y))
    assert float(rfn_nest_ms_ssim(255 * a, 255 * b, data_range=255)) == pytest.approx(index, rel=1e-9)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 1, 1), (0, 128, 1), (0, 129, 255), (-1, 1, 2), (-1, 200, 256)]
)
def test_the_range_is_guessed_as_the_code_of_rfn_nest_does(low, high, expected):
    assert float(guessed_data_range(torch.tensor([low, high], dtype=torch.float32))) == expected


@pytest.mark.parametrize("border", ["valid", "reflect"])
def test_gradients_of_the_index_are_those_of_the_formula(border):
    assert gradients_agree(lambda a, b: ssim(a, b, border=border), *images(2, 11, 12)[:, :1])


@pytest.mark.parametrize("index", [ms_ssim, rfn_nest_ms_ssim])
def test_gradients_of_the_multi_scale_indices_are_those_of_the_formula(pair, index):
    a, b = (image[:1, :, :, :176] for image in pair)
    assert gradients_agree(lambda image: index(image, b), a)


def test_images_too_small_for_a_window_are_refused():
    small = torch.zeros(1, 1, 10, 20)
    with pytest.raises(ImageError, match=r"at least 11 x 11 pixels, got 20 x 10"):
        ssim(small, small)
    for index in (ms_ssim, rfn_nest_ms_ssim):
        with pytest.raises(ImageError, match=r"at least 176 x 176 pixels, got 256 x 175"):
            index(torch.zeros(1, 1, 175, 256), torch.zeros(1, 1, 175, 256))


def test_single_precision_on_byte_images_agrees_with_double(pair):
    assert float(ssim(*(255 * image.float() for image in pair), data_range=255)) == pytest.approx(
        plain_ssim(*(255 * image for image in pair), span=255), abs=1e-5
    )

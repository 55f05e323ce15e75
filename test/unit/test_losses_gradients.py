"""Derivatives of images against SciPy's filters and against images whose derivatives are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from losses_in_numpy import gradients_agree, images
from losses_in_numpy import sobel as plain_sobel
from scipy import ndimage

from training.losses.gradients import forward_differences, laplacian, magnitude, sobel

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def image() -> torch.Tensor:
    return images(1, 7, 9)[0]


def test_sobels_derivatives_equal_scipys(image):
    expected = np.stack([plain_sobel(one) for one in image[:, 0].numpy()])
    np.testing.assert_allclose(sobel(image).numpy(), expected, atol=1e-12)


def test_a_ramp_of_two_greys_a_pixel_has_slope_two_to_the_right_and_three_downwards():
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    gradient = sobel((2 * x + 3 * y)[None, None])[0, :, 1:-1, 1:-1]
    assert torch.equal(gradient[0], torch.full((4, 6), 2.0))
    assert torch.equal(gradient[1], torch.full((4, 6), 3.0))


def test_forward_differences_equal_numpys(image):
    along_x, along_y = forward_differences(image)
    np.testing.assert_array_equal(along_x.numpy(), np.diff(image.numpy(), axis=3))
    np.testing.assert_array_equal(along_y.numpy(), np.diff(image.numpy(), axis=2))


def test_the_laplacian_equals_scipys(image):
    expected = [ndimage.laplace(one, mode="nearest") for one in image[:, 0].numpy()]
    np.testing.assert_allclose(laplacian(image)[:, 0].numpy(), np.stack(expected), atol=1e-12)


def test_the_magnitude_is_the_gradients_length(image):
    gradient = sobel(image)
    expected = np.hypot(*gradient.numpy().swapaxes(0, 1))
    np.testing.assert_allclose(magnitude(gradient)[:, 0].numpy(), expected, atol=1e-9)


def test_a_flat_image_passes_finite_gradients_through_its_magnitude():
    flat = torch.full((1, 1, 5, 5), 0.5, requires_grad=True)
    magnitude(sobel(flat)).sum().backward()
    assert torch.isfinite(flat.grad).all()


@pytest.mark.parametrize(
    "function",
    [sobel, laplacian, forward_differences, lambda i: magnitude(sobel(i))],
    ids=["sobel", "laplacian", "differences", "magnitude"],
)
def test_gradients_are_those_of_the_formula(image, function):
    assert gradients_agree(function, image)

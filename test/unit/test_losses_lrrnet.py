"""LRRNet's loss in both forms, written plainly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from losses_in_numpy import gradients_agree, images

from training.losses.lrrnet import gram_matrix, lrrnet_loss
from training.losses.perceptual import StructureFeatures
from training.losses.stretch import stretched

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def inputs():
    """Output, in a range of its own, infrared and visible, and a feature extractor."""
    output, infrared, visible = images(3, 16, 18)
    return 0.2 * output - 0.5, infrared, visible, StructureFeatures(255).double()


def _by_hand(inputs, reduce):
    output, infrared, visible, features = inputs
    low, high = (getattr(np, name)(output.numpy(), axis=(1, 2, 3), keepdims=True) for name in ("min", "max"))
    image = (output.numpy() - low) / (high - low + 1e-5)
    of_o, of_x, of_y = (
        [maps.numpy() for maps in features(i)] for i in (torch.from_numpy(image), infrared, visible)
    )

    def gram(maps):
        return np.stack([np.einsum("chw,dhw->cd", one, one) / one.size for one in maps])

    pixel = reduce((255 * image - 255 * visible.numpy()) ** 2)
    shallow = reduce((of_o[0] - of_y[0]) ** 2)
    middle = 0.01 * reduce((of_o[1] - (3 * of_x[1] + 0.5 * of_y[1])) ** 2)
    middle += 0.5 * reduce((of_o[2] - (3 * of_x[2] + 0.5 * of_y[2])) ** 2)
    deep = reduce((gram(of_o[3]) - gram(of_x[3])) ** 2)
    return 10 * pixel + 1.5 * shallow + middle + 2000 * deep


def test_the_default_is_the_formula_of_the_authors_code(inputs):
    assert float(lrrnet_loss(*inputs).total) == pytest.approx(_by_hand(inputs, np.mean), rel=1e-9)


def test_the_papers_form_has_squared_frobenius_norms(inputs):
    expected = _by_hand(inputs, lambda squares: squares.sum() / 2)  # of a batch of two
    assert float(lrrnet_loss(*inputs, variant="paper").total) == pytest.approx(expected, rel=1e-9)


def test_weights_may_be_given(inputs):
    loss = lrrnet_loss(*inputs, pixel_weight=2, shallow_weight=3, deep_weight=4, middle_weights=(1, 1))
    expected = 2 * loss.pixel + 3 * loss.shallow + loss.middle + 4 * loss.deep
    assert float(loss.total) == pytest.approx(float(expected))


def test_the_outputs_scale_does_not_matter(inputs):
    output, *others = inputs
    assert float(lrrnet_loss(7 * output + 40, *others).total) == pytest.approx(
        float(lrrnet_loss(output, *others).total), rel=1e-3
    )


def test_each_image_is_stretched_by_itself_or_the_batch_as_a_whole():
    batch = torch.tensor([[0.0, 1.0], [2.0, 4.0]]).reshape(2, 1, 1, 2)
    assert stretched(batch).flatten().tolist() == pytest.approx([0, 1, 0, 1], abs=1e-4)
    assert stretched(batch, whole_batch=True).flatten().tolist() == pytest.approx([0, 0.25, 0.5, 1], abs=1e-4)


def test_a_flat_output_becomes_black_with_finite_gradients():
    flat = torch.full((1, 1, 4, 4), 3.0, requires_grad=True)
    stretched(flat).square().sum().backward()
    assert not stretched(flat).any()
    assert torch.isfinite(flat.grad).all()


def test_the_gram_matrix_holds_each_channels_mean_square_over_the_number_of_channels():
    maps = torch.from_numpy(np.random.default_rng(2).standard_normal((2, 3, 4, 5)))
    diagonal = torch.diagonal(gram_matrix(maps), dim1=1, dim2=2)
    np.testing.assert_allclose(diagonal.numpy(), (maps**2).mean((2, 3)).numpy() / 3)


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_gradients_are_those_of_the_formula(inputs, variant):
    output, *others = inputs
    assert gradients_agree(lambda o: lrrnet_loss(o, *others, variant=variant).total / 1e6, output)

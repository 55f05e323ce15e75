"""DIDFuse's loss in both forms, written plainly, and what it prefers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from losses_in_numpy import gradients_agree, images, similarity
from losses_in_numpy import sobel as plain_sobel

from fusion_ros.networks.didfuse import Encoded
from training.losses.didfuse import didfuse_loss

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def inputs():
    """The pair, its encodings and its reconstructions, as the loss takes them; maps of 3 channels."""
    infrared, visible, infrared_again, visible_again = images(4, 9, 10)
    maps = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (2, 4, 2, 3, 9, 10)))
    return infrared, visible, tuple(Encoded(*of) for of in maps), (infrared_again, visible_again)


def _by_hand(inputs, detail_weight, norm, dissimilarity):
    infrared, visible, encoded, again = inputs
    total = np.tanh(norm((encoded[0].base - encoded[1].base).numpy()).mean())
    total -= detail_weight * np.tanh(norm((encoded[0].detail - encoded[1].detail).numpy()).mean())
    for image, copy in zip((infrared, visible), again, strict=True):
        pairs = list(zip(image[:, 0].numpy(), copy[:, 0].numpy(), strict=True))
        maps = np.stack([np.prod(similarity(a, b, border="reflect"), axis=0) for a, b in pairs])
        total += 2 * (((image - copy) ** 2).mean().item() + 5 * dissimilarity(maps).mean())
    edges = [plain_sobel(a) - plain_sobel(b) for a, b in pairs]  # of the visible image, the last one
    return total + 10 * np.abs(edges).mean()


def test_the_default_is_the_formula_of_the_conference_code(inputs):
    expected = _by_hand(inputs, 0.5, np.abs, lambda s: np.clip(1 - s, 0, 1) / 2)
    assert float(didfuse_loss(*inputs).total) == pytest.approx(expected, rel=1e-9)


def test_the_papers_form_is_the_journals_equation_5(inputs):
    expected = _by_hand(inputs, 0.05, np.square, lambda s: (1 - s) / 2)
    assert float(didfuse_loss(*inputs, variant="paper").total) == pytest.approx(expected, rel=1e-9)


def test_like_bases_and_unlike_details_with_true_reconstructions_are_best(inputs):
    infrared, visible, (first, second), _ = inputs
    true = (infrared, visible)
    alike = second._replace(base=first.base)
    wanted = didfuse_loss(infrared, visible, (first, alike), true)
    opposite = second._replace(base=-first.base, detail=first.detail)
    unwanted = didfuse_loss(infrared, visible, (first, opposite), true)
    for part in (wanted.base, wanted.infrared, wanted.visible, wanted.gradient):
        assert float(part) == pytest.approx(0, abs=1e-12)
    assert float(wanted.total) == pytest.approx(-0.5 * float(wanted.detail))
    assert float(wanted.total) < 0 < float(unwanted.total)


def test_weights_may_be_given(inputs):
    loss = didfuse_loss(*inputs, detail_weight=0.2, infrared_weight=3, visible_weight=4, gradient_weight=5)
    expected = loss.base - 0.2 * loss.detail + 3 * loss.infrared + 4 * loss.visible + 5 * loss.gradient
    assert float(loss.total) == pytest.approx(float(expected))


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_gradients_are_those_of_the_formula(inputs, variant):
    infrared, visible, (first, second), again = inputs

    def loss(base, detail, infrared_again, visible_again):
        encoded = (first._replace(base=base, detail=detail), second)
        return didfuse_loss(infrared, visible, encoded, (infrared_again, visible_again), variant=variant).total

    assert gradients_agree(loss, first.base, first.detail, *again)

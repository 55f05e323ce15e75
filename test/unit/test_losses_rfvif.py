"""RFVIF's loss against the paper's equations."""

from __future__ import annotations

import pytest
import torch
from losses_in_numpy import gradients_agree, halved, images

from fusion_ros.networks.rfvif import RFVIF, RFVIFSettings
from training.losses.perceptual import StructureFeatures
from training.losses.rfvif import rfvif_loss

pytestmark = pytest.mark.usefixtures("one_thread")

FEATURES = StructureFeatures().double()


@pytest.fixture
def inputs():
    """Fused, aligned at three scales, visible, registered infrared."""
    fused, visible, registered = images(3, 16, 24)
    aligned = [images(1, 16 // scale, 24 // scale, seed=scale)[0] for scale in (2, 4, 8)]
    return fused, aligned, visible, registered


def _plain_alignment(aligned, registered):
    total = 0.0
    scaled = list(registered[:, 0].numpy())
    for image in aligned:
        scaled = [halved(one) for one in scaled]
        total += sum(abs(one - of).mean() for one, of in zip(image[:, 0].numpy(), scaled, strict=True)) / 2
    return total


def test_the_defaults_are_the_papers_equations(inputs):
    fused, aligned, visible, registered = inputs
    pixel = 0.5 * (fused - visible).abs().mean() + 0.5 * (fused - registered).abs().mean()  # 16
    u, y, x = (FEATURES(image)[2] for image in (fused, visible, registered))
    perceptual = 0.4 * ((u - y) ** 2).mean() + 0.6 * ((u - x) ** 2).mean()  # 17
    alignment = _plain_alignment(aligned, registered)  # 7
    loss = rfvif_loss(fused, aligned, visible, registered, FEATURES)
    assert float(loss.alignment) == pytest.approx(alignment)
    assert float(loss.total) == pytest.approx(float(pixel) + float(perceptual) + 0.3 * alignment)  # 18


def test_shares_and_weight_may_be_given(inputs):
    _, aligned, visible, registered = inputs
    only_infrared = {"pixel_share": 1.0, "perceptual_share": 1.0, "alignment_weight": 0.0}
    assert float(rfvif_loss(registered, aligned, visible, registered, FEATURES, **only_infrared).total) == 0
    only_visible = {"pixel_share": 0.0, "perceptual_share": 0.0, "alignment_weight": 2.0}
    loss = rfvif_loss(visible, aligned, visible, registered, FEATURES, **only_visible)
    assert float(loss.total) == pytest.approx(2 * _plain_alignment(aligned, registered))


def test_what_the_network_gives_for_sides_that_are_no_multiples_of_eight_can_be_compared():
    network = RFVIF(RFVIFSettings(width=2, extraction_stages=1)).eval()
    infrared, visible = torch.rand(2, 1, 1, 21, 27)
    parts = network.unroll(infrared, visible)
    loss = rfvif_loss(parts.fused, parts.aligned, visible, infrared, StructureFeatures())
    loss.total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_gradients_are_those_of_the_formula(inputs):
    fused, aligned, visible, registered = inputs
    assert gradients_agree(
        lambda u, *levels: rfvif_loss(u, levels, visible, registered, FEATURES).total, fused, *aligned
    )
